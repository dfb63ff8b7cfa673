//! Some objects of one wave, applied at the same time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use jm_client_kubernetes::{
    ApplyError, FieldConflict, Keeper, Kubernetes, ObjectKey, Reader, ResourceKind, undoes_own,
};
use jm_step::{Change, StepContext, StepError, StepErrorKind};
use serde_json::Value;
use tokio::time::Instant;

use super::diff;
use super::halfway::Halfway;
use super::made::Made;
use super::namespaces::ending;
use super::object::Object;
use super::outcome::{Applied, Outcome};
use super::priors::Prior;
use super::{Deploy, OnConflict, Policy, filled, newer, ready, released, scaled, stopped, words};

/// Requests under way. More make an API server no faster, and fewer leave it waiting.
const AT_ONCE: usize = 32;
/// How long what a cluster has just taken in may take to count everywhere: each of its API servers serves a new kind once one
/// of them does, and a new quota lets nothing in until it is counted.
const SETTLES: Duration = Duration::from_secs(30);
/// The most objects that an error names.
const NAMED: usize = 5;

/// What applying one object takes.
pub(super) struct Doing<'d> {
    pub(super) reader: &'d Reader,
    pub(super) writer: Option<&'d Kubernetes>,
    pub(super) context: Option<&'d StepContext>,
    pub(super) made: Made,
    pub(super) writing: Halfway,
    pub(super) deleted: Halfway,
    pub(super) added: Arc<BTreeSet<String>>,
    pub(super) policy: &'d Policy,
}

/// An object whose kind is known, and what is known of it.
struct Ready {
    kind: ResourceKind,
    object: Object,
    prior: Prior,
    /// Whether what it needs is still to come, so that the server cannot be asked about it.
    early: bool,
}

impl Deploy<'_> {
    /// Applies objects, and tells which they were. Where some fail the others are done, and then it fails.
    pub(super) async fn chunk(&mut self, objects: Vec<Object>) -> Result<Vec<(ResourceKind, ObjectKey)>, StepError> {
        let mut failures = Vec::new();
        let ready = self.prepare(objects, &mut failures).await?;
        let keys: Vec<_> = ready
            .iter()
            .map(|one| (one.kind.clone(), one.object.key.clone()))
            .collect();
        let doing = self.doing();
        let work = ready.into_iter().enumerate().map(|(index, one)| {
            let doing = &doing;
            async move { (index, doing.one(one).await) }
        });
        let mut work = work.collect::<Vec<_>>().into_iter();
        // Told to stop, it begins with no other object.
        let work = std::iter::from_fn(|| if doing.is_stopped() { None } else { work.next() });
        let mut results = stream::iter(work).buffer_unordered(AT_ONCE);
        while let Some(result) = results.next().await {
            self.arrived.push(result);
        }
        self.settle(&mut failures);
        if !failures.is_empty() {
            return Err(failed(failures));
        }
        if doing.is_stopped() { Err(stopped()) } else { Ok(keys) }
    }

    /// Gives each object its kind and namespace, and looks at what is there already.
    async fn prepare(
        &mut self,
        objects: Vec<Object>,
        failures: &mut Vec<(ObjectKey, StepError)>,
    ) -> Result<Vec<Ready>, StepError> {
        // A workload of an earlier wave may have brought kinds along.
        if self.writer.is_some() && objects.iter().any(|object| self.kind_of(&object.key).is_err()) {
            self.discovery = self.reader.discover().await?;
        }
        let mut found = Vec::new();
        for mut object in objects {
            // Manifests were refused for it; an export comes back all the same, by the wave of the kind.
            if let Err(wrong) = object.check_wave() {
                self.done.warnings.push(wrong.message().to_owned());
            }
            if let Some(gone) = object.renew(&self.discovery) {
                let ObjectKey { api_version, .. } = &object.key;
                let warning = format!(
                    "{}: {gone} is not served here any more, applied as {api_version}",
                    object.key
                );
                self.done.warnings.push(warning);
            }
            let kind = match self.kind_of(&object.key) {
                Ok(kind) => kind,
                Err(_) if self.writer.is_none() && self.is_added_before(&object.key) => {
                    self.early(&object);
                    continue;
                }
                Err(error) => {
                    self.take(Applied::failed(object.key, error), failures);
                    continue;
                }
            };
            object.place(&kind, self.reader.namespace());
            self.hear_of(object.key.namespace.as_deref());
            match self.is_made_anew(&object.key).await {
                Ok(false) => {}
                Ok(true) => {
                    self.early(&object);
                    continue;
                }
                Err(error) => {
                    self.take(Applied::failed(object.key, error), failures);
                    continue;
                }
            }
            if let Some(set) = &self.policy.applyset {
                set.label(&mut object.value);
            }
            found.push((kind, object));
        }
        let wanted = found.iter().map(|(kind, object)| (kind, &object.key));
        self.priors.learn(self.reader, wanted).await?;
        let ready = found.into_iter().map(|(kind, object)| {
            let early = object
                .key
                .namespace
                .as_ref()
                .is_some_and(|namespace| self.announced.contains(namespace));
            Ready {
                prior: self.priors.of(&kind, &object.key),
                kind,
                object,
                early,
            }
        });
        let ready: Vec<Ready> = ready.collect();
        if self.writer.is_none() {
            for one in &ready {
                self.announce(&one.object);
            }
        }
        Ok(ready)
    }

    /// Remembers a namespace that a step before this one is going to make.
    fn hear_of(&mut self, namespace: Option<&str>) {
        let Some((cx, name)) = self.foretold.zip(namespace) else {
            return;
        };
        if cx.announced(&format!("namespace/{name}")).is_some() {
            self.announced.insert(name.to_owned());
        }
    }

    /// An object of a kind that is still to be added, or of a namespace that is still to be made anew.
    fn early(&mut self, object: &Object) {
        self.take(announced(object), &mut Vec::new());
    }
}

impl Doing<'_> {
    async fn one(&self, one: Ready) -> Applied {
        let key = one.object.key.clone();
        self.apply(one)
            .await
            .unwrap_or_else(|error| Applied::failed(key, error))
    }

    async fn apply(&self, one: Ready) -> Result<Applied, StepError> {
        let Ready {
            kind,
            object,
            prior,
            early,
        } = one;
        let key = &object.key;
        let mut prior = match prior {
            Prior::Absent => None,
            Prior::Known(object) => Some(*object),
            Prior::Ask => self.reader.object(&kind, key).await?,
        };
        if prior.as_ref().is_some_and(|prior| ending(prior).is_some()) {
            if self.writer.is_none() {
                return Ok(announced(&object));
            }
            self.until_gone(&kind, key).await?;
            prior = None;
        }
        if let (None, Some(cx)) = (&prior, self.context) {
            self.made.note(cx).await?;
        }
        if let Some(before) = &prior {
            newer::refuse(self.policy, &object, before)?;
        }
        let keeper = prior.as_ref().and_then(Keeper::of);
        // Who sets back what differs from a source does so with what is made as well.
        let keeper = keeper.or_else(|| Keeper::of(&object.value));
        let running = self.as_it_is(&kind, &object, prior.as_ref()).await?;
        let mut freed = None;
        let (outcome, changes, after) = match self.ask(&kind, key, running.as_ref().unwrap_or(&object.value)).await {
            Ok(after) => {
                let held = self.free(&kind, &object, &after).await?;
                freed = held.as_ref().map(|held| released::described(&object, held));
                let different = |before| {
                    let change = diff::update(&kind, key, before, &after);
                    match &held {
                        Some(held) => Some(released::told(&object, change, held)),
                        None => change,
                    }
                };
                let (outcome, change) = match &prior {
                    None => (Outcome::Created, Some(diff::create(key, &object.value))),
                    Some(before) => match different(before) {
                        Some(change) => (Outcome::Updated, Some(change)),
                        None => (Outcome::Unchanged, None),
                    },
                };
                (outcome, change.into_iter().collect(), after)
            }
            Err(ApplyError::Conflict(conflicts)) => return Err(conflict(key, &conflicts, keeper.as_ref())),
            Err(ApplyError::Immutable(why)) => {
                let refused = || StepError::invalid_input(format!("{key} is refused: {why}"));
                let before = prior.as_ref().ok_or_else(refused)?;
                self.recreate(&kind, &object, before, &why).await?;
                let changes = vec![Change::delete(key.to_string()), diff::create(key, &object.value)];
                (Outcome::Recreated, changes, object.value.clone())
            }
            // Its namespace is announced and not made, so the server knows nothing to say.
            Err(ApplyError::Failed(error)) if early && error.kind() == StepErrorKind::NotFound => {
                return Ok(announced(&object));
            }
            Err(ApplyError::Failed(error)) => return Err(error),
        };
        let was_newer = outcome.changes_something() && prior.is_some_and(|before| self.undoes_own(&before, &after));
        Ok(Applied {
            keeper,
            kept_count: running.and_then(|running| scaled::kept(&object.value, &running)),
            was_newer,
            freed,
            ..Applied::changed(object.key, outcome, changes)
        })
    }

    /// The object with what the one that is there keeps of its own; `None` where it is applied as it is written.
    async fn as_it_is(
        &self,
        kind: &ResourceKind,
        object: &Object,
        prior: Option<&Value>,
    ) -> Result<Option<Value>, StepError> {
        let Some(before) = prior else {
            // An attempt before this one may have deleted it.
            let count = self.made.count(&object.key).await;
            return Ok(count.map(|count| scaled::with_count(object, count)));
        };
        match filled::as_it_was_filled(object, before) {
            None => scaled::as_it_runs(self.reader, kind, object, before).await,
            filled => Ok(filled),
        }
    }

    /// Whether what jm itself has written after what is to come was read is overwritten.
    fn undoes_own(&self, before: &Value, after: &Value) -> bool {
        self.policy
            .as_of
            .is_some_and(|moment| undoes_own(before, after, moment))
    }

    fn is_stopped(&self) -> bool {
        self.context.is_some_and(|cx| cx.cancellation().is_cancelled())
    }

    /// Applies, or asks what applying would do.
    pub(super) async fn ask(&self, kind: &ResourceKind, key: &ObjectKey, object: &Value) -> Result<Value, ApplyError> {
        let force = self.policy.on_conflict == OnConflict::Force;
        let limit = Instant::now() + SETTLES.min(self.policy.patience);
        loop {
            let applied = match self.writer {
                Some(writer) => {
                    let _writing = self.writing.begin(key);
                    writer.apply(kind, key, object, force).await
                }
                None => self.reader.dry_run(kind, key, object, force).await,
            };
            match applied {
                Err(ApplyError::Failed(error))
                    if (self.is_not_served_yet(kind, &error) || is_not_counted_yet(&error))
                        && Instant::now() < limit =>
                {
                    tokio::time::sleep(ready::PAUSE).await;
                }
                applied => return applied.map(|applied| applied.object).map_err(words::quiet),
            }
        }
    }

    /// Whether an API server has not heard yet of a kind that another one said it serves. Of a namespace that is not there the
    /// answer says so.
    fn is_not_served_yet(&self, kind: &ResourceKind, error: &StepError) -> bool {
        error.kind() == StepErrorKind::NotFound
            && self.added.contains(&kind.group)
            && !error.message().contains("namespaces \"")
    }
}

/// What would be made, as far as can be told before what it needs is there.
fn announced(object: &Object) -> Applied {
    let changes = vec![diff::create(&object.key, &object.value)];
    Applied {
        keeper: Keeper::of(&object.value),
        ..Applied::changed(object.key.clone(), Outcome::Unasked, changes)
    }
}

/// Whether a quota of the namespace was not counted yet, by which nothing is let in that it counts.
fn is_not_counted_yet(error: &StepError) -> bool {
    error.kind() == StepErrorKind::Denied && error.message().contains(" is forbidden: status unknown for quota: ")
}

pub(super) fn conflict(key: &ObjectKey, conflicts: &[FieldConflict], keeper: Option<&Keeper>) -> StepError {
    let fields: Vec<String> = conflicts.iter().map(ToString::to_string).collect();
    let mut message = format!("{key} is also kept by others: {}", fields.join(", "));
    if let Some(keeper) = keeper {
        message.push_str("; ");
        message.push_str(&keeper.warning(1, &key.to_string()));
    }
    StepError::conflict(message).hint("leave the field out of the manifest, or take it over with `on_conflict: force`")
}

/// All that failed, in one error of the kind that says most.
fn failed(mut failures: Vec<(ObjectKey, StepError)>) -> StepError {
    let count = failures.len();
    // What others wait for, if anything: an answer that may come later is worth another attempt only if all of them are.
    failures.sort_by_key(|(_, error)| matches!(error.kind(), StepErrorKind::Unavailable | StepErrorKind::TimedOut));
    let named: Vec<String> = failures
        .iter()
        .take(NAMED)
        .map(|(_, error)| error.message().to_owned())
        .collect();
    let more = count.saturating_sub(NAMED);
    let mut message = named.join("; ");
    if more > 0 {
        message = format!("{message}; and {more} others");
    }
    let (_, first) = failures.swap_remove(0);
    reworded(&first, message)
}

/// The same error in other words.
pub(crate) fn reworded(error: &StepError, message: String) -> StepError {
    let other = StepError::new(error.kind(), message);
    match error.hint_text() {
        Some(hint) => other.hint(hint),
        None => other,
    }
}
