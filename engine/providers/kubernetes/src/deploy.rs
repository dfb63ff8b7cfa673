//! Making a cluster be as objects say: wave by wave, with what each wave needs being there and ready before it begins.
//!
//! `kubernetes.apply` and `kubernetes.restore` differ in where the objects come from; all else is here. The same code
//! asks for a preview and does the work, so that what was announced is what is done.

pub(crate) mod added;
mod chunk;
mod diff;
mod filled;
mod halfway;
mod made;
mod motion;
mod namespaces;
mod newer;
mod object;
mod outcome;
mod priors;
mod prune;
mod ready;
mod recreate;
mod released;
mod results;
mod scaled;
mod watch;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jm_client_kubernetes::{Discovery, Keeper, Kubernetes, ObjectKey, Reader, ResourceKind, Wave};
use jm_step::{Change, ReadContext, StepContext, StepError, Unit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::chunk::Doing;
pub(crate) use self::chunk::reworded;
use self::halfway::Halfway;
use self::made::Made;
pub(crate) use self::object::Object;
use self::outcome::{Applied, Outcome};
use self::priors::Priors;
pub(crate) use self::priors::weight;
pub(crate) use self::prune::{ApplySet, check_applyset};
pub(crate) use self::results::Kept;
use crate::wait;

/// Kinds whose loss is a loss of data. No policy deletes them.
pub(crate) const NEVER_RECREATED: [&str; 4] = [
    "PersistentVolumeClaim",
    "PersistentVolume",
    "Namespace",
    "CustomResourceDefinition",
];

/// What becomes of a field that somebody else keeps at another value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnConflict {
    /// The step fails, and names field and manager.
    #[default]
    Fail,
    /// The field is taken over.
    Force,
}

/// How long answers are waited for after a stop: less than what a step is given to come to its end.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

fn stopped() -> StepError {
    StepError::cancelled("told to stop while the cluster was changed")
}

/// How objects are applied.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    pub(crate) on_conflict: OnConflict,
    /// Kinds of which an object that cannot be changed is deleted and made anew.
    pub(crate) recreate: BTreeSet<String>,
    /// Whether workloads are waited for.
    pub(crate) wait: bool,
    /// How long what a wave needs may take to be ready.
    pub(crate) patience: Duration,
    /// Whether the target's namespace is made where it is missing.
    pub(crate) create_namespace: bool,
    /// The set that the objects are counted among.
    pub(crate) applyset: Option<ApplySet>,
    /// When what is to be was read, where it may be older than what is there.
    pub(crate) as_of: Option<Timestamp>,
    /// Claims, by namespace and name, for which a volume is freed that is held for one of their name which is gone.
    pub(crate) claims: BTreeSet<(String, String)>,
}

/// Where objects come from.
pub(crate) trait Source {
    /// The waves that there are objects for, and how many of each.
    fn waves(&self) -> &BTreeMap<Wave, u64>;
    /// Objects that are to be there as well and are not applied this time: they stay of the set.
    fn besides(&self) -> &[Object] {
        &[]
    }
    /// Whether this namespace is among the objects of the first wave.
    fn brings_namespace(&self, _name: &str) -> bool {
        false
    }
    /// Objects of the whole source that add to the API, of this time or not: each by what a change of it is called, and what it
    /// adds.
    fn additions(&self) -> &[(String, String)] {
        &[]
    }
    /// All that are to be of the set, where there is one.
    fn members(&self) -> Vec<&ObjectKey> {
        Vec::new()
    }
    /// Begins to read the objects of a wave.
    fn open(&self, wave: Wave) -> impl Future<Output = Result<impl Chunks, StepError>> + Send;
}

/// Objects of one wave, some at a time.
pub(crate) trait Chunks: Send {
    /// The next ones; none at the end.
    fn next(&mut self) -> impl Future<Output = Result<Vec<Object>, StepError>> + Send;
}

/// How many objects there were, and what became of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// Made.
    pub created: u64,
    /// Changed.
    pub updated: u64,
    /// As they were to be already.
    pub unchanged: u64,
    /// Deleted and made anew.
    pub recreated: u64,
    /// Deleted, because they are of the set and not among the objects any more.
    pub pruned: u64,
}

/// Whether the cluster deletes the claims of an object with it, and what is in their volumes.
fn takes_its_claims(object: &Value) -> bool {
    let policy = object.pointer("/spec/persistentVolumeClaimRetentionPolicy/whenDeleted");
    policy.and_then(Value::as_str) == Some("Delete")
}

fn claims_would_go(key: &ObjectKey) -> StepError {
    StepError::conflict(format!(
        "{key} is not deleted: its claims, and the data in their volumes, would go with it"
    ))
    .hint("set `spec.persistentVolumeClaimRetentionPolicy.whenDeleted` of what is there to `Retain`, then try again")
}

impl Counts {
    /// For people.
    pub(crate) fn describe(&self) -> String {
        let all = [
            (self.created, "create"),
            (self.updated, "update"),
            (self.recreated, "recreate"),
            (self.pruned, "prune"),
            (self.unchanged, "leave unchanged"),
        ];
        let parts: Vec<String> = all
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{what} {count}"))
            .collect();
        if parts.is_empty() {
            "nothing".to_owned()
        } else {
            parts.join(", ")
        }
    }
}

/// An object, whatever the version of its API: group, kind, namespace and name.
type Named = (String, String, Option<String>, String);

/// Which object it is.
pub(crate) fn named(key: &ObjectKey) -> Named {
    let ObjectKey {
        kind, namespace, name, ..
    } = key;
    (key.group().to_owned(), kind.clone(), namespace.clone(), name.clone())
}

/// What was done, or would be.
pub(crate) struct Done {
    pub(crate) counts: Counts,
    pub(crate) changes: Vec<Change>,
    /// What an object says amiss, and who will undo what.
    pub(crate) warnings: Vec<String>,
    /// How many objects held what jm itself had written later.
    pub(crate) newer: u64,
    /// Whether any of them was not there.
    made: bool,
    /// What the server could not be asked about, since what it needs is not there yet.
    pub(crate) unasked: u64,
    /// A line of JSON for each object.
    results: Vec<u8>,
}

/// A deployment of objects.
pub(crate) struct Deploy<'d> {
    reader: &'d Reader,
    /// What writes; none in a preview.
    writer: Option<&'d Kubernetes>,
    context: Option<&'d StepContext>,
    /// What tells a preview what the steps before it are going to make.
    foretold: Option<&'d ReadContext>,
    policy: &'d Policy,
    discovery: Discovery,
    priors: Priors,
    keepers: BTreeMap<Keeper, (usize, String)>,
    /// Objects that keep their counts since none is written.
    kept_counts: Vec<String>,
    /// Objects that held what jm itself had written later.
    newer: Vec<String>,
    /// Volumes that were held for claims which are gone.
    freed: Vec<String>,
    done: Done,
    /// What became of objects of the chunk that is under way, each with its place in the chunk.
    arrived: Vec<(usize, Applied)>,
    /// Every object that was among them.
    named: BTreeSet<Named>,
    /// Namespaces and kinds that a preview has seen being made: what is in them cannot be asked about yet.
    announced: BTreeSet<String>,
    /// Whether any object was not there when the step came to it first.
    made: Made,
    /// Objects that are being written.
    writing: Halfway,
    /// Objects that are deleted and not made anew yet.
    deleted: Halfway,
    /// Groups that have got kinds on the way.
    added: Arc<BTreeSet<String>>,
    /// Namespaces that were looked at, and whether what is in them now will be gone, or why they take nothing in.
    namespaces: BTreeMap<String, Result<bool, StepError>>,
}

impl<'d> Deploy<'d> {
    /// What would be done. Asks the server, which does not do it.
    pub(crate) async fn preview(
        cx: &'d ReadContext,
        reader: &'d Reader,
        policy: &'d Policy,
        source: &impl Source,
    ) -> Result<Done, StepError> {
        let mut deploy = Self::new(reader, policy).await?;
        deploy.foretold = Some(cx);
        let early = source.additions().iter().filter(|(by, _)| cx.announced(by).is_some());
        deploy.announced.extend(early.map(|(_, added)| added.clone()));
        Box::pin(deploy.all(source)).await?;
        Ok(deploy.finish())
    }

    /// Does it, unless it is told to stop. What became of the objects is told and kept, however it ends; of what the server has
    /// not answered by then, that nobody knows.
    pub(crate) async fn run(
        cx: &'d StepContext,
        writer: &'d Kubernetes,
        policy: &'d Policy,
        source: &impl Source,
    ) -> Result<Kept, StepError> {
        let mut deploy = wait::unless_cancelled(cx, Self::new(writer, policy)).await?;
        deploy.writer = Some(writer);
        deploy.context = Some(cx);
        deploy.made = Made::before(cx)?;
        let ended = deploy.unless_cancelled(cx, source).await;
        deploy.settle(&mut Vec::new());
        for change in std::mem::take(&mut deploy.done.changes) {
            cx.changed(change).await;
        }
        deploy.done.made = deploy.made.anything().await;
        let done = deploy.finish();
        for warning in &done.warnings {
            cx.log(warning.clone()).await;
        }
        results::keep(cx, done, ended).await
    }

    /// All of it, or as much as is done when it is told to stop. What is being written by then is waited for, a moment long,
    /// and what was deleted is made anew first.
    async fn unless_cancelled(&mut self, cx: &StepContext, source: &impl Source) -> Result<(), StepError> {
        let (writing, deleted) = (self.writing.clone(), self.deleted.clone());
        let mut work = Box::pin(self.all(source));
        tokio::select! {
            biased;
            () = cx.cancelled() => {}
            ended = &mut work => return ended,
        }
        let at_rest = async {
            drop(tokio::time::timeout(LAST_ANSWERS, writing.none()).await);
            deleted.none().await;
        };
        tokio::select! {
            biased;
            () = at_rest => {}
            ended = &mut work => return ended,
        }
        let unknown = writing.left();
        drop(work);
        let unknown = unknown.into_iter().map(|key| (usize::MAX, Applied::unknown(key)));
        self.arrived.extend(unknown);
        Err(stopped())
    }

    async fn new(reader: &'d Reader, policy: &'d Policy) -> Result<Self, StepError> {
        Ok(Self {
            reader,
            writer: None,
            context: None,
            foretold: None,
            policy,
            discovery: reader.discover().await?,
            priors: Priors::default(),
            keepers: BTreeMap::new(),
            kept_counts: Vec::new(),
            newer: Vec::new(),
            freed: Vec::new(),
            done: Done {
                counts: Counts::default(),
                changes: Vec::new(),
                warnings: Vec::new(),
                newer: 0,
                made: false,
                unasked: 0,
                results: Vec::new(),
            },
            arrived: Vec::new(),
            named: BTreeSet::new(),
            announced: BTreeSet::new(),
            made: Made::default(),
            writing: Halfway::new(),
            deleted: Halfway::new(),
            added: Arc::default(),
            namespaces: BTreeMap::new(),
        })
    }

    fn finish(mut self) -> Done {
        let keepers = self.keepers.iter();
        let warnings = keepers.map(|(keeper, (count, example))| keeper.warning(*count, example));
        self.done.warnings.extend(warnings);
        self.done.warnings.extend(outcome::kept_counts(&self.kept_counts));
        self.done.warnings.extend(outcome::newer(&self.newer));
        self.done.warnings.extend(outcome::freed(&self.freed));
        self.done.newer = self.newer.len() as u64;
        self.done
    }

    async fn all(&mut self, source: &impl Source) -> Result<(), StepError> {
        let total: u64 = source.waves().values().sum();
        if self.policy.create_namespace && !source.brings_namespace(self.reader.namespace()) {
            self.own_namespace().await?;
        }
        let mut is_enrolled = false;
        for wave in source.waves().keys() {
            // Its parent lives in the namespace.
            if *wave > Wave::Namespaces && !std::mem::replace(&mut is_enrolled, true) {
                self.enrol(&source.members()).await?;
            }
            let mut chunks = source.open(*wave).await?;
            let mut made = Vec::new();
            loop {
                let chunk = chunks.next().await?;
                if chunk.is_empty() {
                    break;
                }
                made.extend(self.chunk(chunk).await?);
                if let Some(cx) = self.context {
                    cx.progress(self.named.len() as u64, Some(total), Unit::Items).await;
                }
            }
            self.priors = Priors::default();
            self.close(*wave, made).await?;
        }
        self.prune(source.besides()).await
    }

    /// Before the next wave: what it needs is ready, and what kinds there are is known anew.
    async fn close(&mut self, wave: Wave, made: Vec<(ResourceKind, ObjectKey)>) -> Result<(), StepError> {
        let Some(cx) = self.context else { return Ok(()) };
        if wave != Wave::Workloads || self.policy.wait {
            ready::wait(self.reader, cx, &made, self.policy.patience).await?;
        }
        if made.iter().any(|(kind, _)| added::adds(kind)) {
            self.discovery = self.rediscover(&made).await?;
        }
        Ok(())
    }

    /// Takes in what has arrived, in the order of the objects.
    fn settle(&mut self, failures: &mut Vec<(ObjectKey, StepError)>) {
        let mut arrived = std::mem::take(&mut self.arrived);
        arrived.sort_by_key(|(index, _)| *index);
        for (_, result) in arrived {
            self.take(result, failures);
        }
    }

    fn take(&mut self, result: Applied, failures: &mut Vec<(ObjectKey, StepError)>) {
        self.done.results.extend_from_slice(result.line().as_bytes());
        let Applied {
            key,
            outcome,
            keeper,
            changes,
            kept_count,
            was_newer,
            freed,
        } = result;
        let kept = kept_count.map(|count| format!("{key} ({count})"));
        self.kept_counts.extend(kept);
        self.newer.extend(was_newer.then(|| key.to_string()));
        self.freed.extend(freed);
        self.named.insert(named(&key));
        if let (Some(keeper), true) = (keeper, outcome.changes_something()) {
            let entry = self.keepers.entry(keeper).or_insert_with(|| (0, key.to_string()));
            entry.0 += 1;
        }
        let counts = &mut self.done.counts;
        match &outcome {
            Outcome::Created => counts.created += 1,
            Outcome::Updated => counts.updated += 1,
            Outcome::Unchanged => counts.unchanged += 1,
            Outcome::Recreated => counts.recreated += 1,
            Outcome::Pruned => counts.pruned += 1,
            Outcome::Unasked => {
                counts.created += 1;
                self.done.unasked += 1;
            }
            Outcome::Failed(_) | Outcome::Unknown => {}
        }
        self.done.changes.extend(changes);
        if let Outcome::Failed(error) = outcome {
            failures.push((key, error));
        }
    }

    fn kind_of(&self, key: &ObjectKey) -> Result<ResourceKind, StepError> {
        self.discovery
            .find(&key.api_version, &key.kind)
            .cloned()
            .ok_or_else(|| {
                let ObjectKey { api_version, kind, .. } = key;
                let served = self.discovery.preferred_of(key.group(), kind);
                let hint = match served.map(ResourceKind::api_version) {
                    Some(served) => format!("it is served in {served}: write the object in that version"),
                    None => "is its definition (CRD) among the objects, or its operator missing?".to_owned(),
                };
                StepError::not_found(format!("the API server has no kind {kind} in {api_version}")).hint(hint)
            })
    }

    fn doing(&self) -> Doing<'d> {
        Doing {
            reader: self.reader,
            writer: self.writer,
            context: self.context,
            made: self.made.clone(),
            writing: self.writing.clone(),
            deleted: self.deleted.clone(),
            added: self.added.clone(),
            policy: self.policy,
        }
    }
}
