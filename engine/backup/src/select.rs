//! Choosing a backup: the newest good one, not the first that is found, and with the reason for each that was passed over.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use jiff::{Timestamp, ToSpan};
use jm_step::StepError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::backups::{BackupsReader, explain};
use crate::catalogue::{BackupCopy, BackupRef, Catalogue, Entry, Status};
use crate::chain::Broken;
use crate::location::LocationName;
use crate::manifest::{Level, Manifest};
use crate::name::{BackupName, ContentKind, day};
use crate::observer::{Observer, Silent};
use crate::openpgp::{HEAD, opens};
use crate::refusals::{OTHER_KEY, cannot_open, damaged, of_another, of_another_kind};
use crate::tools::Toolbox;

/// Backups with such a label may hold the very damage that is to be mended.
const NEVER_LATEST: &str = "pre_restore";

/// Which backup is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// The newest good one.
    Latest,
    /// The newest good one of this moment or before it.
    LatestUntil(Timestamp),
    /// The newest good one of this day (UTC), from its first moment up to the next day's.
    Day(Timestamp, Timestamp),
    /// This one.
    Name(BackupName),
}

impl Which {
    /// How it is written, for people.
    pub const FORMS: &str = "`latest`, `latest<=2026-11-25T12:00:00Z`, a day (YYYYMMDD, UTC) or the name of a backup";

    /// Whether one of this moment may be meant.
    fn reaches(&self, at: Timestamp) -> bool {
        match self {
            Self::Latest | Self::Name(_) => true,
            Self::LatestUntil(time) => at <= *time,
            Self::Day(from, until) => (*from..*until).contains(&at),
        }
    }
}

impl FromStr for Which {
    type Err = StepError;
    fn from_str(text: &str) -> Result<Self, StepError> {
        let text = text.trim();
        if text == "latest" {
            return Ok(Self::Latest);
        }
        if let Some(time) = text.strip_prefix("latest<=") {
            return time.trim().parse().map(Self::LatestUntil).map_err(|_| {
                StepError::invalid_input(format!(
                    "`{}` is not a moment with its time and zone, such as `2026-11-25T12:00:00Z`",
                    time.trim().escape_debug()
                ))
                .hint("write it like `latest<=2026-11-25T12:00:00Z`")
            });
        }
        if text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit()) {
            let (from, until) = day(text).ok_or_else(|| {
                StepError::invalid_input(format!("`{text}` is not a day of the calendar")).hint("write YYYYMMDD")
            })?;
            return Ok(Self::Day(from, until));
        }
        text.parse().map(Self::Name)
    }
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("latest"),
            Self::LatestUntil(time) => write!(f, "latest<={time}"),
            Self::Day(from, _) => f.write_str(&from.strftime("%Y%m%d").to_string()),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// A backup that was passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Skipped {
    /// Which.
    pub name: BackupName,
    /// Why.
    pub why: String,
}

/// The backup that was chosen.
#[derive(Debug)]
pub struct Selection {
    /// It, with the copies that open.
    pub backup: BackupRef,
    /// Newer ones that would have been asked for and were not good.
    pub skipped: Vec<Skipped>,
    /// What else an operator should know: locations that are down, copies that are damaged.
    pub degraded: Vec<String>,
    /// What explains the choice without being a fault.
    pub notes: Vec<String>,
}

impl Selection {
    /// What makes the choice a degraded one, taken out of it: newer backups that were passed over, and what else it says.
    pub fn take_reasons(&mut self) -> Vec<String> {
        let passed_over = self
            .skipped
            .iter()
            .map(|skipped| format!("`{}` is newer and cannot be used: {}", skipped.name, skipped.why));
        passed_over.chain(std::mem::take(&mut self.degraded)).collect()
    }
}

/// How far a backup is proven before it is chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Prove {
    /// Each copy has the size that its manifest tells, and our key opens its beginning. Costs nothing; damage further on is
    /// found only while it is restored.
    #[default]
    Opens,
    /// One copy is also read to its end: its checksums are the manifest's, and it decrypts as a whole. Costs one reading of
    /// the backup; damage is found before anything is stopped for it.
    Whole,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Which backup.
    pub which: Which,
    /// Only copies of this location.
    pub from: Option<LocationName>,
    /// Of which kind of system.
    pub kind: ContentKind,
    /// Only backups of this database, or of this namespace. Left out, the catalogue must hold those of one, or of
    /// `prefer`.
    pub of: Option<String>,
    /// Those of this one, where `of` is left out. That of another database is refused then, for it would take the place of
    /// this one's data; that of another namespace is taken where the catalogue has no other.
    pub prefer: Option<String>,
    /// How far it has to be proven.
    pub prove: Prove,
}

impl Wanted {
    /// A backup of a database, from anywhere, of whichever database the catalogue is of; every copy only has to open.
    pub fn database(which: Which) -> Self {
        Self {
            which,
            from: None,
            kind: ContentKind::Database,
            of: None,
            prefer: None,
            prove: Prove::Opens,
        }
    }
}

impl BackupsReader {
    /// Chooses a backup, and proves that our key opens each copy that it names; where it has to be whole, reads the first of
    /// them that is to its end. What has no manifest is taken by name, or where nothing has one; then it is read to its end
    /// first. A backup that cannot be looked at for now is not passed over: that would lose data for want of patience.
    pub async fn select(
        &self,
        wanted: &Wanted,
        tools: &Toolbox,
        observer: &dyn Observer,
    ) -> Result<Selection, StepError> {
        if let Some(from) = wanted.from {
            self.location(from)?;
        }
        let catalogue = self.catalogue().await?;
        let Candidates { entries, unverified } = self.candidates(&catalogue, wanted)?;
        // Their age is only what their names say, and anybody who can write there can choose a name.
        let notes = unverified
            .iter()
            .map(|name| format!("`{name}` has no manifest, and is taken only by its name"))
            .collect();
        let mut skipped = Vec::new();
        let mut degraded = down(&catalogue);
        for entry in &entries {
            match self.good_copies(entry, wanted, tools, observer, &mut degraded).await {
                Ok(copies) => {
                    let broken = catalogue.broken.iter().filter(|broken| concerns(broken, entry, wanted));
                    degraded.extend(broken.map(Broken::to_string));
                    let backup = BackupRef::of(entry, &copies, self.prefix());
                    return Ok(Selection {
                        backup: BackupRef {
                            asked_of: wanted.of.clone(),
                            ..backup
                        },
                        skipped,
                        degraded,
                        notes,
                    });
                }
                Err(error) if matches!(wanted.which, Which::Name(_)) || error.kind().is_transient() => {
                    return Err(error);
                }
                Err(error) => skipped.push(Skipped {
                    name: entry.name.clone(),
                    why: error.message().to_owned(),
                }),
            }
        }
        Err(nothing(&catalogue, wanted, &skipped, &unverified))
    }

    fn candidates<'c>(&self, catalogue: &'c Catalogue, wanted: &Wanted) -> Result<Candidates<'c>, StepError> {
        if let Which::Name(name) = &wanted.which {
            return match catalogue.find(name) {
                Some(entry) if entry.kind() != wanted.kind => Err(of_another_kind(name, entry.kind(), wanted.kind)),
                found => {
                    let meant = wanted.of.as_ref().or(wanted.prefer.as_ref());
                    if let (Some(entry), Some(meant)) = (found, meant) {
                        entry.must_be_of(Some(meant), meant)?;
                    }
                    Ok(Candidates {
                        entries: found.into_iter().collect(),
                        unverified: Vec::new(),
                    })
                }
            };
        }
        let any_known = catalogue.newest_known().is_some();
        let of = of(catalogue, wanted)?;
        let (mut entries, mut unverified) = (Vec::new(), Vec::new());
        for entry in catalogue
            .entries
            .iter()
            .filter(|entry| self.is_asked_for(entry, wanted))
        {
            if let (Some(manifest), Some(of)) = (entry.manifest(), &of)
                && !is_of(manifest, of)
            {
                continue;
            }
            if any_known && matches!(entry.status, Status::Unverified) {
                unverified.push(&entry.name);
                continue;
            }
            entries.push(entry);
        }
        Ok(Candidates { entries, unverified })
    }

    fn is_asked_for(&self, entry: &Entry, wanted: &Wanted) -> bool {
        if entry.kind() != wanted.kind {
            return false;
        }
        let label = entry.label(self.prefix());
        wanted.which.reaches(entry.created_at()) && !label.is_some_and(|label| label.starts_with(NEVER_LATEST))
    }

    async fn good_copies(
        &self,
        entry: &Entry,
        wanted: &Wanted,
        tools: &Toolbox,
        observer: &dyn Observer,
        degraded: &mut Vec<String>,
    ) -> Result<Vec<BackupCopy>, StepError> {
        entry.believed()?;
        let here = |copy: &&BackupCopy| wanted.from.is_none_or(|from| copy.location == from);
        let mut good = Vec::new();
        let mut last = StepError::not_found(match wanted.from {
            Some(from) => format!("`{}` has no copy in {from}", entry.name),
            None => format!("`{}` has a manifest, but its file is gone", entry.name),
        });
        for copy in entry.copies.iter().filter(here) {
            // One copy that is whole is enough; another one is there to fall back on.
            let whole = wanted.prove == Prove::Whole && good.is_empty();
            let whole = whole || entry.manifest().is_none() && !matches!(wanted.which, Which::Name(_));
            let looked = match self.opens(entry, *copy).await {
                Ok(()) if whole => self.is_whole(entry, *copy, tools, observer).await,
                looked => looked,
            };
            match looked {
                Ok(()) => good.push(*copy),
                Err(error) => {
                    degraded.push(format!(
                        "the copy of `{}` in {} is not used: {error}",
                        entry.name, copy.location
                    ));
                    if !last.kind().is_transient() {
                        last = error;
                    }
                }
            }
        }
        if good.is_empty() {
            return Err(last);
        }
        Ok(good)
    }

    /// The size is right, and our key opens the beginning.
    async fn opens(&self, entry: &Entry, copy: BackupCopy) -> Result<(), StepError> {
        let location = self.location(copy.location)?;
        let (head, bytes) = location.head(entry.name.as_str(), HEAD).await?;
        if let Some(manifest) = entry.manifest() {
            if bytes != manifest.bytes.encrypted {
                return Err(damaged(
                    &entry.name,
                    &format!("it has {bytes} bytes of {}", manifest.bytes.encrypted),
                ));
            }
        }
        let passphrase = self.keys().passphrase().clone();
        let opened = tokio::task::spawn_blocking(move || opens(&head, &passphrase)).await;
        let opened = opened.map_err(|error| StepError::failed("a look at a backup was given up").source(error))?;
        opened.map_err(|error| cannot_open(entry, error))
    }

    /// It reads to its end. What a manifest tells of the bytes inside needs no program to look at them.
    async fn is_whole(
        &self,
        entry: &Entry,
        copy: BackupCopy,
        tools: &Toolbox,
        observer: &dyn Observer,
    ) -> Result<(), StepError> {
        let level = if entry.manifest().is_some() {
            Level::Decrypt
        } else {
            Level::Archive
        };
        let read = self.prove_copy(entry, copy, level, tools, observer).await;
        read.map(drop).map_err(|failure| explain(entry, failure))
    }

    /// The newest good backup of the same system that is older than this one.
    pub(crate) async fn next_older(&self, entry: &Entry, tools: &Toolbox) -> Result<Selection, StepError> {
        let before = entry.created_at().checked_sub(1.nanosecond());
        let before = before.map_err(|error| StepError::not_found("nothing is older").source(error))?;
        let wanted = Wanted {
            kind: entry.kind(),
            of: entry.manifest().map(Manifest::of),
            ..Wanted::database(Which::LatestUntil(before))
        };
        self.select(&wanted, tools, &Silent).await
    }
}

/// Whether a break in the chain bears on this choice: it is the chosen one, or it is newer and may have been chosen.
fn concerns(broken: &Broken, chosen: &Entry, wanted: &Wanted) -> bool {
    if broken.name == chosen.name {
        return true;
    }
    let at = broken.name.taken_at();
    let of = chosen.manifest().map(Manifest::of);
    let is_of_another = broken.of.is_some() && of.is_some() && broken.of != of;
    !matches!(wanted.which, Which::Name(_))
        && broken.name.format().kind() == wanted.kind
        && !is_of_another
        && !broken.name.stem().starts_with(NEVER_LATEST)
        && at >= chosen.name.taken_at()
        && wanted.which.reaches(at)
}

/// What may be chosen, newest first, and what might be were its name enough.
struct Candidates<'c> {
    entries: Vec<&'c Entry>,
    unverified: Vec<&'c BackupName>,
}

fn nothing(catalogue: &Catalogue, wanted: &Wanted, skipped: &[Skipped], unverified: &[&BackupName]) -> StepError {
    let from = wanted.from.map_or(String::new(), |from| format!(" in {from}"));
    let none = match &wanted.which {
        Which::Name(name) => format!("there is no backup `{name}`{from}"),
        which => format!("there is no good backup for `{which}`{from}"),
    };
    let no_good = skipped.iter().map(|skipped| skipped.why.clone());
    let unproven = unverified
        .iter()
        .map(|name| format!("`{name}` is unverified: it has no manifest, and only its name tells its age"));
    let message: Vec<String> = std::iter::once(none).chain(no_good).chain(unproven).collect();
    let mut near = neighbours(catalogue, wanted);
    // Nobody is sent to what was just found to be no good.
    near.retain(|name| !skipped.iter().any(|skipped| skipped.name == **name));
    let near: Vec<String> = near.into_iter().map(|name| format!("`{name}`")).collect();
    let of_another_key = |entry: &Entry| {
        matches!(entry.status, Status::OtherKey(_)) && skipped.iter().any(|skipped| skipped.name == entry.name)
    };
    let hint = if catalogue.entries.iter().any(of_another_key) {
        OTHER_KEY.to_owned()
    } else if let Some(name) = unverified.first() {
        format!(
            "what is unverified is taken only by its name: ask for `{name}`, and with `prove: whole` it is read to its end \
             before it is chosen"
        )
    } else if near.is_empty() {
        "no other backup is there: look at the target's directory and bucket".to_owned()
    } else {
        format!("near it are {}; `jm backup list` shows all", near.join(", "))
    };
    StepError::not_found(message.join("; ")).hint(hint)
}

fn neighbours<'c>(catalogue: &'c Catalogue, wanted: &Wanted) -> Vec<&'c BackupName> {
    let entries = || catalogue.entries.iter().filter(|entry| entry.kind() == wanted.kind);
    let moment = match &wanted.which {
        Which::Latest => return entries().take(3).map(|entry| &entry.name).collect(),
        Which::LatestUntil(time) | Which::Day(time, _) => *time,
        Which::Name(name) => name.taken_at(),
    };
    let after = entries().rfind(|entry| entry.created_at() >= moment);
    let before = entries().find(|entry| entry.created_at() < moment);
    before.into_iter().chain(after).map(|entry| &entry.name).collect()
}

/// A directory with backups of several databases, or of several namespaces, must not give the wrong one.
fn of(catalogue: &Catalogue, wanted: &Wanted) -> Result<Option<String>, StepError> {
    if wanted.of.is_some() {
        return Ok(wanted.of.clone());
    }
    let manifests = catalogue.entries.iter().filter_map(Entry::manifest);
    let manifests = manifests.filter(|manifest| manifest.kind() == wanted.kind);
    let several: BTreeSet<String> = manifests.clone().map(Manifest::of).collect();
    let preferred = wanted.prefer.as_ref();
    if several.len() < 2 {
        let newest = manifests.clone().next();
        return match (newest, preferred) {
            (Some(newest), Some(prefer)) if wanted.kind == ContentKind::Database && !is_of(newest, prefer) => {
                Err(of_another(&newest.name, &newest.of(), prefer))
            }
            _ => Ok(None),
        };
    }
    match preferred.filter(|prefer| manifests.clone().any(|manifest| is_of(manifest, prefer))) {
        Some(prefer) => Ok(Some(prefer.clone())),
        None => Err(StepError::invalid_input(format!(
            "the backups are of several {}: {}",
            wanted.kind.subjects(),
            several.into_iter().collect::<Vec<_>>().join(", ")
        ))
        .hint("say which one is meant with `of`")),
    }
}

/// Whether a backup is of this database, or holds this namespace.
fn is_of(manifest: &Manifest, of: &str) -> bool {
    match manifest.kubernetes() {
        Some(index) => index.namespaces.iter().any(|namespace| namespace == of),
        None => manifest.of() == of,
    }
}

fn down(catalogue: &Catalogue) -> Vec<String> {
    let down = catalogue.down.iter();
    down.map(|(name, error)| format!("backup location {name} does not answer: {error}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_read() {
        assert_eq!("latest".parse::<Which>().expect("which"), Which::Latest);
        for text in [
            "latest<=2024-01-15T14:30:00Z",
            "20240115",
            "journeyman_backup_20240115_020000.sql.gpg",
        ] {
            assert_eq!(text.parse::<Which>().expect(text).to_string(), text);
        }
        for bad in ["", "20240230", "2024.115", "latest<=yesterday", "../x", "a;b"] {
            assert!(bad.parse::<Which>().is_err(), "{bad}");
        }
    }
}
