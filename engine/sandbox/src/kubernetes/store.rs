//! The objects: in memory for reading, in a log on disk for a restart, with the last changes for watchers.
//!
//! One revision counts all changes, as etcd's does. A change is on disk (written, not synced: it outlives the
//! process, not the machine) before it can be seen.

mod log;

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::sync::watch;

use self::log::Log;
use super::object;
use super::status::ApiError;
use crate::SandboxError;

/// How many changes are kept for watchers that begin in the past.
const HISTORY: usize = 10_000;

/// Where an object is: resource, namespace (empty for those of the whole cluster), name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) resource: String,
    pub(super) namespace: String,
    pub(super) name: String,
}

impl Key {
    pub(super) fn new(resource: &str, namespace: &str, name: &str) -> Self {
        Self {
            resource: resource.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    /// The key of an object that is stored under `resource`.
    pub(super) fn of(resource: &str, object: &Value) -> Self {
        Self::new(resource, object::namespace(object), object::name(object))
    }
}

/// One change: what was there before, and what is there now.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) revision: u64,
    pub(super) key: Key,
    pub(super) old: Option<Arc<Value>>,
    pub(super) new: Option<Arc<Value>>,
}

#[derive(Debug)]
struct State {
    objects: BTreeMap<Key, Arc<Value>>,
    revision: u64,
    history: VecDeque<Arc<Change>>,
    /// The revision before the first change in `history`.
    forgotten: u64,
    log: Log,
}

/// All objects of the cluster.
#[derive(Debug)]
pub(super) struct Store {
    state: Mutex<State>,
    revision: watch::Sender<u64>,
}

/// The changes after a revision, and the revision up to which they go.
pub(super) struct Changes {
    pub(super) changes: Vec<Arc<Change>>,
    pub(super) until: u64,
}

impl Store {
    /// Opens the store whose log is under `root`, with everything that was written before.
    pub(super) fn open(root: &Path) -> Result<Self, SandboxError> {
        let (log, replayed) = Log::open(&root.join("objects.jsonl"))?;
        let mut state = State {
            objects: replayed.snapshot,
            revision: replayed.revision,
            history: VecDeque::new(),
            forgotten: replayed.revision,
            log,
        };
        for record in replayed.records {
            state.apply(record.revision, record.key, record.object);
        }
        let (revision, _) = watch::channel(state.revision);
        Ok(Self {
            state: Mutex::new(state),
            revision,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics half-way through a change, so a poisoned state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hears of every new revision.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    pub(super) fn get(&self, key: &Key) -> Option<Arc<Value>> {
        self.lock().objects.get(key).cloned()
    }

    /// The objects of a resource in the order of their names, and the revision at which this was so.
    pub(super) fn list(&self, resource: &str, namespace: Option<&str>) -> (u64, Vec<Arc<Value>>) {
        let state = self.lock();
        let from = Key::new(resource, namespace.unwrap_or_default(), "");
        let objects = state
            .objects
            .range(from..)
            .take_while(|(key, _)| key.resource == resource && namespace.is_none_or(|wanted| key.namespace == wanted))
            .map(|(_, object)| Arc::clone(object))
            .collect();
        (state.revision, objects)
    }

    /// Every object of a resource.
    pub(super) fn all(&self, resource: &str) -> Vec<Arc<Value>> {
        self.list(resource, None).1
    }

    /// The keys of everything in a namespace.
    pub(super) fn keys_in(&self, namespace: &str) -> Vec<Key> {
        self.lock()
            .objects
            .keys()
            .filter(|key| key.namespace == namespace)
            .cloned()
            .collect()
    }

    /// Is there an object with this UID?
    pub(super) fn all_uids(&self) -> std::collections::HashSet<String> {
        self.lock()
            .objects
            .values()
            .map(|object| object::uid(object).to_owned())
            .collect()
    }

    /// Every object that names an owner, with its key.
    pub(super) fn owned(&self) -> Vec<(Key, Arc<Value>)> {
        let state = self.lock();
        let owned = state.objects.iter().filter(|(_, object)| {
            !object::items(object, "/metadata/ownerReferences").is_empty()
                || !object::items(object, "/metadata/finalizers").is_empty()
        });
        owned.map(|(key, object)| (key.clone(), Arc::clone(object))).collect()
    }

    /// The changes of one resource after a revision.
    ///
    /// # Errors
    /// `Expired` where some of them are no longer kept, or the revision has not been reached in this store's life.
    pub(super) fn changes_since(&self, revision: u64, resource: &str) -> Result<Changes, ApiError> {
        let state = self.lock();
        if revision < state.forgotten {
            return Err(ApiError::expired(revision, state.forgotten));
        }
        let first = state.history.partition_point(|change| change.revision <= revision);
        let changes = state
            .history
            .range(first..)
            .filter(|change| change.key.resource == resource);
        Ok(Changes {
            changes: changes.cloned().collect(),
            until: state.revision,
        })
    }

    /// Changes objects, all together or not at all.
    ///
    /// # Errors
    /// What `work` says; or `InternalError` where the change cannot be written to disk. Nothing changed then.
    pub(super) fn write<T>(
        &self,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let mut state = self.lock();
        let mut transaction = Transaction {
            next: state.revision + 1,
            state: &state,
            staged: BTreeMap::new(),
            dry: false,
        };
        let outcome = work(&mut transaction)?;
        let Transaction { staged, dry, .. } = transaction;
        if !dry && !staged.is_empty() {
            state.commit(staged.into_values().collect())?;
            self.revision.send_replace(state.revision);
        }
        Ok(outcome)
    }

    /// Writes the log anew with what there is now, so that no watcher can begin in the past.
    #[cfg(test)]
    pub(super) fn forget_history(&self) {
        let mut state = self.lock();
        state.history.clear();
        state.forgotten = state.revision;
    }
}

impl State {
    fn commit(&mut self, mut staged: Vec<Staged>) -> Result<(), ApiError> {
        staged.sort_by_key(|change| change.revision);
        let written = self.log.append(&staged);
        written.map_err(|error| ApiError::internal(format!("the change could not be written to disk: {error}")))?;
        for change in staged {
            self.apply(change.revision, change.key, change.object);
        }
        if self.log.wants_compaction(self.objects.len()) {
            // The change itself is written; a log that stays long is tried again with the next one.
            if let Err(error) = self.log.compact(self.revision, &self.objects) {
                tracing::warn!(%error, "the sandbox's log could not be written anew");
            }
        }
        Ok(())
    }

    fn apply(&mut self, revision: u64, key: Key, new: Option<Arc<Value>>) {
        let old = match &new {
            Some(object) => self.objects.insert(key.clone(), Arc::clone(object)),
            None => self.objects.remove(&key),
        };
        self.revision = self.revision.max(revision);
        self.history.push_back(Arc::new(Change {
            revision,
            key,
            old,
            new,
        }));
        if self.history.len() > HISTORY
            && let Some(gone) = self.history.pop_front()
        {
            self.forgotten = gone.revision;
        }
    }
}

/// A change that is not yet made.
#[derive(Debug)]
struct Staged {
    revision: u64,
    key: Key,
    object: Option<Arc<Value>>,
}

/// Changes that belong together; nobody sees them before they are all made.
pub(super) struct Transaction<'s> {
    state: &'s State,
    staged: BTreeMap<Key, Staged>,
    next: u64,
    dry: bool,
}

impl Transaction<'_> {
    /// Lets everything be computed and nothing be changed.
    pub(super) fn only_try(&mut self, dry: bool) {
        self.dry = dry;
    }

    pub(super) fn get(&self, key: &Key) -> Option<Arc<Value>> {
        match self.staged.get(key) {
            Some(staged) => staged.object.clone(),
            None => self.state.objects.get(key).cloned(),
        }
    }

    /// Puts an object in its place with a new revision; one that is equal to what is there stays as it is.
    pub(super) fn put(&mut self, key: &Key, mut object: Value) -> Arc<Value> {
        if let Some(old) = self.get(key) {
            object::set(
                &mut object,
                &["metadata", "resourceVersion"],
                old["metadata"]["resourceVersion"].clone(),
            );
            if *old == object {
                return old;
            }
        }
        let revision = self.take_revision();
        object::set(
            &mut object,
            &["metadata", "resourceVersion"],
            json!(revision.to_string()),
        );
        let object = Arc::new(object);
        self.staged.insert(
            key.clone(),
            Staged {
                revision,
                key: key.clone(),
                object: Some(Arc::clone(&object)),
            },
        );
        object
    }

    /// Takes an object away.
    pub(super) fn delete(&mut self, key: &Key) {
        let revision = self.take_revision();
        self.staged.insert(
            key.clone(),
            Staged {
                revision,
                key: key.clone(),
                object: None,
            },
        );
    }

    fn take_revision(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }
}

#[cfg(test)]
mod tests;
