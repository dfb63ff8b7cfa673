//! What has to be done so that the one side has what the other has: looked at, and not yet done.

use std::collections::{BTreeSet, HashSet};

use futures::{StreamExt, TryStreamExt, stream};
use jm_step::{Change, StepError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::compare::{Comparer, Verdict};
use super::directory::{LeftOut, Manifests};
use super::hash::Forms;
use super::known::KnownSums;
use super::pattern::HeaderRule;
use super::side::{All, Found, Side};
use crate::file;

/// So many names are compared at a time.
const AT_ONCE: usize = 16;
/// So many names stand as examples in a change and in an output.
pub(super) const SHOWN: usize = 20;

/// What becomes of what is there already, with other content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Existing {
    /// It is overwritten. A bucket that keeps versions keeps the old content too.
    #[default]
    Overwrite,
    /// It stays, and is counted as kept.
    Keep,
    /// It fails the step before anything is written.
    Fail,
}

/// What the source does not have is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Deletion {
    /// No more than this; where it would be more, the step fails and nothing is written or deleted.
    pub(crate) at_most: u64,
}

/// How a sync is done.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) existing: Existing,
    pub(super) delete: Option<Deletion>,
    pub(super) headers: Vec<HeaderRule>,
    pub(super) manifests: Option<Manifests>,
}

impl Rules {
    /// Which names have hashes, where a rule asks for it.
    fn forms(&self, source: &All) -> Forms {
        let asks = self.headers.iter().any(|rule| rule.hashed);
        let names = source.keys().filter(|_| asks);
        Forms::of(names.map(String::as_str))
    }
}

/// What was found and is done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Counts {
    /// Names that the source has.
    pub(crate) looked_at: u64,
    /// Names that were the same on both sides.
    pub(crate) unchanged: u64,
    /// Names that were missing and are there now.
    pub(crate) created: u64,
    /// Names whose other content, or headers, was overwritten.
    pub(crate) overwritten: u64,
    /// The bytes of both.
    pub(crate) bytes: u64,
    /// Names that the source did not have and that were deleted.
    pub(crate) deleted: u64,
    /// Names with other content that were left as they are.
    pub(crate) kept: u64,
    /// Names that could not be transferred.
    pub(crate) failed: u64,
    /// Names that went from bucket to bucket and of which no sum tells whether they are as they were written.
    #[serde(default)]
    pub(crate) unverified: u64,
}

/// One name that is transferred.
#[derive(Debug, Clone)]
pub(super) struct Transfer {
    pub(super) name: String,
    pub(super) from: Found,
    /// Something is overwritten.
    pub(super) overwrites: bool,
    /// A manifest comes after everything that it speaks for.
    pub(super) last: bool,
}

/// All that is to be done.
#[derive(Debug, Clone, Default)]
pub(super) struct Plan {
    pub(super) transfers: Vec<Transfer>,
    pub(super) deletions: Vec<String>,
    pub(super) kept: Vec<String>,
    pub(super) left_out: Vec<LeftOut>,
    pub(super) counts: Counts,
    /// Which names have hashes, by all of the source.
    pub(super) forms: Forms,
    /// Of those that count as unchanged: which a step before this one brings back.
    pub(super) coming_back: u64,
}

/// Looks at both sides, with what is known of files. Whatever cannot be listed or read is an error, before anything is done.
pub(super) async fn decide(from: &Side, to: &Side, rules: &Rules, known: &KnownSums) -> Result<Plan, StepError> {
    let (mut source, mut left_out) = from.list_as_source(to).await?;
    if let Some(manifests) = &rules.manifests {
        left_out.extend(prove(&mut source, manifests).await?);
    }
    let mut plan = Plan::default();
    plan.counts.looked_at = source.len() as u64;
    let forms = rules.forms(&source);
    let comparer = Comparer {
        from,
        to,
        rules: &rules.headers,
        forms: &forms,
        known,
    };
    // What is the same on both sides is counted, and held no longer; the destination is never held as a whole.
    let mut surplus = Surplus::default();
    let there = to.as_destination().await?;
    let both = there.try_filter_map(|(name, there)| {
        let found = source.remove(&name);
        if rules.delete.is_some() {
            surplus.take(&name, found.is_some());
        }
        std::future::ready(Ok(found.map(|found| (name, found, there))))
    });
    let mut compared = both
        .map_ok(|(name, found, there)| {
            let comparer = &comparer;
            async move {
                let verdict = Box::pin(comparer.compare(&name, &found, &there)).await?;
                Ok::<_, StepError>((name, found, verdict))
            }
        })
        .try_buffered(AT_ONCE);
    while let Some((name, found, verdict)) = compared.try_next().await? {
        plan.take(name, found, Some(verdict), rules);
    }
    drop(compared);
    plan.forms = forms;
    for (name, found) in source {
        plan.take(name, found, None, rules);
    }
    plan.transfers.sort_by(|one, other| one.name.cmp(&other.name));
    plan.kept.sort();
    plan.deletions = deletions(
        from,
        rules,
        surplus.names(&left_out, rules.manifests.as_ref()),
        plan.counts.looked_at,
    )?;
    plan.left_out = left_out;
    if rules.existing == Existing::Fail && !plan.kept.is_empty() {
        return Err(in_the_way(to, &plan.kept));
    }
    Ok(plan)
}

/// Leaves out what is not what its manifest says, and the manifest with it.
async fn prove(source: &mut All, manifests: &Manifests) -> Result<Vec<LeftOut>, StepError> {
    let vouched: Vec<_> = source
        .iter()
        .filter_map(|(name, found)| match found {
            Found::File(file) => Some((name.clone(), file.path.clone(), file.vouched.clone()?)),
            Found::Object(_) => None,
        })
        .collect();
    let wrong: Vec<Option<String>> = stream::iter(vouched)
        .map(|(name, path, vouched)| async move {
            let sums = file::sums_of(&path, None).await?;
            Ok::<_, StepError>((sums.sha256() != vouched).then_some(name))
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let leave_out = |name: String| {
        source.remove(&name);
        source.remove(&format!("{name}{}", manifests.ending));
        LeftOut {
            name,
            reason: "its content is not what its manifest says".to_owned(),
        }
    };
    Ok(wrong.into_iter().flatten().map(leave_out).collect())
}

/// What the destination has and the source does not.
#[derive(Debug, Default)]
struct Surplus {
    only_there: BTreeSet<String>,
    /// A listing may tell a name twice, and the second time nobody waits for it.
    on_both: HashSet<String>,
}

impl Surplus {
    fn take(&mut self, name: &str, is_on_both: bool) {
        if is_on_both {
            self.on_both.insert(name.to_owned());
        } else {
            self.only_there.insert(name.to_owned());
        }
    }

    /// What the source has and is not transferred is not missing, nor is what lies in it: it may be a link to a directory. Nor
    /// is the manifest that it has beside it.
    fn names(self, left_out: &[LeftOut], manifests: Option<&Manifests>) -> Vec<String> {
        let left_out: HashSet<&str> = left_out.iter().map(|left| left.name.as_str()).collect();
        let is_left_out = |name: &str| {
            let of_manifest = manifests.and_then(|manifests| name.strip_suffix(&manifests.ending));
            let folders = name.match_indices('/').map(|(end, _)| &name[..end]);
            folders
                .chain([name])
                .chain(of_manifest)
                .any(|name| left_out.contains(name))
        };
        let is_surplus = |name: &String| !self.on_both.contains(name) && !is_left_out(name);
        self.only_there.into_iter().filter(is_surplus).collect()
    }
}

/// What of the surplus is deleted.
fn deletions(from: &Side, rules: &Rules, surplus: Vec<String>, looked_at: u64) -> Result<Vec<String>, StepError> {
    let Some(limit) = rules.delete else {
        return Ok(Vec::new());
    };
    if !surplus.is_empty() && looked_at == 0 {
        return Err(StepError::refused(format!(
            "`{}` has nothing, so that everything at the other side would be deleted",
            from.shown()
        ))
        .hint("see whether it is the right place; to empty the other side is nothing that a sync does"));
    }
    if surplus.len() as u64 > limit.at_most {
        let first: Vec<_> = surplus.iter().take(SHOWN).collect();
        return Err(StepError::refused(format!(
            "{} names would be deleted, and no more than {} may be",
            surplus.len(),
            limit.at_most
        ))
        .hint("look at them; where they are to go, raise `delete.at_most`")
        .evidence(json!({ "first": first })));
    }
    Ok(surplus)
}

fn in_the_way(to: &Side, kept: &[String]) -> StepError {
    let first: Vec<_> = kept.iter().take(SHOWN).collect();
    StepError::conflict(format!(
        "{} of the {} in `{}` have other content, the first `{}`",
        kept.len(),
        to.kind(),
        to.shown(),
        first[0]
    ))
    .hint("look at both; `existing: keep` leaves them, `existing: overwrite` does not")
    .evidence(json!({ "first": first }))
}

impl Plan {
    fn take(&mut self, name: String, from: Found, verdict: Option<Verdict>, rules: &Rules) {
        let overwrites = match verdict {
            None => false,
            Some(Verdict::Same) => {
                self.counts.unchanged += 1;
                return;
            }
            Some(_) if rules.existing != Existing::Overwrite => {
                self.counts.kept += 1;
                self.kept.push(name);
                return;
            }
            Some(_) => true,
        };
        if overwrites {
            self.counts.overwritten += 1;
        } else {
            self.counts.created += 1;
        }
        self.counts.bytes += from.bytes();
        let ending = rules.manifests.as_ref().map(|manifests| manifests.ending.as_str());
        self.transfers.push(Transfer {
            last: ending.is_some_and(|ending| name.ends_with(ending)),
            name,
            from,
            overwrites,
        });
    }

    /// The names that are missing at the destination.
    pub(super) fn missing(&self) -> HashSet<&str> {
        let missing = self.transfers.iter().filter(|transfer| !transfer.overwrites);
        missing.map(|transfer| transfer.name.as_str()).collect()
    }

    /// What comes back by itself before this is done, and is then the same, as far as anybody can say.
    pub(super) fn come_back(&mut self, names: &HashSet<String>) {
        let counts = &mut self.counts;
        self.transfers.retain(|transfer| {
            let comes = names.contains(&transfer.name);
            if comes {
                counts.created -= 1;
                counts.bytes -= transfer.from.bytes();
                counts.unchanged += 1;
            }
            !comes
        });
        self.coming_back = names.len() as u64;
    }

    /// Nothing is to be done.
    pub(super) fn is_empty(&self) -> bool {
        self.transfers.is_empty() && self.deletions.is_empty()
    }

    /// What is done if all goes well.
    pub(super) fn planned(&self) -> Counts {
        Counts {
            deleted: self.deletions.len() as u64,
            ..self.counts.clone()
        }
    }

    /// One line for people.
    pub(super) fn summary(&self, from: &Side, to: &Side) -> String {
        let counts = self.planned();
        let mut said = Vec::new();
        let kinds = [
            (counts.created, "are new"),
            (counts.overwritten, "are overwritten"),
            (counts.deleted, "are deleted"),
        ];
        for (count, what) in kinds.into_iter().filter(|(count, _)| *count > 0) {
            said.push(format!("{count} {what}"));
        }
        if said.is_empty() {
            said.push("nothing is to be done".to_owned());
        } else if counts.bytes > 0 {
            said.push(format!("{} bytes go over", counts.bytes));
        }
        if self.coming_back > 0 {
            said.push(format!("{} come back by a step before", self.coming_back));
        }
        if counts.kept > 0 {
            said.push(format!("{} with other content are kept", counts.kept));
        }
        if !self.left_out.is_empty() {
            said.push(format!("{} are left out", self.left_out.len()));
        }
        said.push(format!("{} of {} are the same", counts.unchanged, counts.looked_at));
        format!("`{}` to `{}`: {}", from.shown(), to.shown(), said.join(", "))
    }

    /// What would go where.
    pub(super) fn changes(&self, to: &Side) -> Vec<Change> {
        let place = format!("{} in `{}`", to.kind(), to.shown());
        let of = |overwrites: bool| {
            self.transfers
                .iter()
                .filter(move |transfer| transfer.overwrites == overwrites)
        };
        let told = |transfers: Vec<&Transfer>| {
            let bytes: u64 = transfers.iter().map(|transfer| transfer.from.bytes()).sum();
            let names = transfers.iter().map(|transfer| transfer.name.as_str());
            json!({ "count": transfers.len(), "bytes": bytes, "names": names_of(names) })
        };
        let mut changes = Vec::new();
        let (new, other): (Vec<_>, Vec<_>) = (of(false).collect(), of(true).collect());
        if !new.is_empty() {
            changes.push(Change::create(format!("new {place}"), told(new)));
        }
        if !other.is_empty() {
            let names = names_of(other.iter().map(|transfer| transfer.name.as_str()));
            changes.push(Change::update(
                format!("other {place}"),
                json!({ "names": names }),
                told(other),
            ));
        }
        if !self.deletions.is_empty() {
            let names = names_of(self.deletions.iter().map(String::as_str));
            let mut change = Change::delete(format!("surplus {place}"));
            change.before = Some(json!({ "count": self.deletions.len(), "names": names }));
            changes.push(change);
        }
        changes
    }
}

/// The first names, and a sign that there are more.
fn names_of<'n>(names: impl Iterator<Item = &'n str>) -> Value {
    let mut shown: Vec<&str> = names.take(SHOWN + 1).collect();
    if shown.len() > SHOWN {
        shown[SHOWN] = "…";
    }
    json!(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_a_listing_tells_twice_is_no_surplus() {
        let mut surplus = Surplus::default();
        for (name, is_on_both) in [("a", true), ("a", false), ("b", false), ("b", false), ("c", false)] {
            surplus.take(name, is_on_both);
        }
        assert_eq!(surplus.names(&[link("c")], None), ["b"]);
    }

    #[test]
    fn what_lies_behind_a_link_to_a_directory_is_no_surplus() {
        let mut surplus = Surplus::default();
        for name in ["static", "static-old/a", "static/a", "static/b/c", "static0"] {
            surplus.take(name, false);
        }
        assert_eq!(surplus.names(&[link("static")], None), ["static-old/a", "static0"]);
    }

    fn link(name: &str) -> LeftOut {
        LeftOut {
            name: name.to_owned(),
            reason: "it is a symbolic link".to_owned(),
        }
    }
}
