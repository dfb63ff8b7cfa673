//! A bucket: its settings, the histories of its keys, and the locks that keep changes apart.
//!
//! Locks are taken in this order and never the other way: the bucket's state, a key, then the index or the
//! uploads for a moment. Whoever changes a key holds the state for reading, so that settings and existence of
//! the bucket stay as they are meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard};

use jiff::Timestamp;
use jm_step::clock;
use serde::{Deserialize, Serialize};

use super::blob::BlobWriter;
use super::checksum::Algorithm;
use super::configuration::{Aspect, Configuration};
use super::disk::{self, BucketFolder};
use super::error::StoreError;
use super::history::{History, Version, VersionId, Versioning};
use super::multipart::Uploads;
use super::pins::Pins;
use super::stamp::Stamps;
use super::{locked, read, write};

/// How many keys of a bucket can be changed at the same time, at most.
const STRIPES: usize = 64;

/// The histories of a bucket by key, in the byte order in which S3 lists.
pub(crate) type Index = BTreeMap<String, Arc<History>>;

/// What is set for a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) created: Timestamp,
    /// None is `us-east-1`.
    pub(crate) region: Option<String>,
    #[serde(default)]
    pub(crate) versioning: Versioning,
    #[serde(default)]
    pub(crate) configuration: Configuration,
}

#[derive(Debug)]
struct State {
    settings: Settings,
    deleted: bool,
}

/// What all buckets of a store share.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shared {
    pub(crate) stamps: Arc<Stamps>,
    pub(crate) pins: Arc<Pins>,
}

/// One bucket.
#[derive(Debug)]
pub(crate) struct Bucket {
    pub(crate) name: String,
    pub(super) folder: BucketFolder,
    pub(super) shared: Shared,
    state: RwLock<State>,
    index: RwLock<Index>,
    pub(super) uploads: RwLock<Uploads>,
    keys: Vec<Mutex<()>>,
}

impl Bucket {
    /// A bucket over what `folder` holds already.
    pub(super) fn new(
        name: &str,
        folder: BucketFolder,
        shared: Shared,
        settings: Settings,
        index: Index,
        uploads: Uploads,
    ) -> Self {
        let deleted = false;
        Self {
            name: name.to_owned(),
            folder,
            shared,
            state: RwLock::new(State { settings, deleted }),
            index: RwLock::new(index),
            uploads: RwLock::new(uploads),
            keys: (0..STRIPES).map(|_| Mutex::default()).collect(),
        }
    }

    /// What is set for the bucket.
    pub(crate) fn settings(&self) -> Settings {
        read(&self.state).settings.clone()
    }

    /// Switches versioning on or off.
    pub(crate) fn set_versioning(&self, versioning: Versioning) -> Result<(), StoreError> {
        self.set(|settings| settings.versioning = versioning)
    }

    /// Puts a document in the place of the one before, or takes it away.
    pub(crate) fn configure(&self, aspect: Aspect, document: Option<String>) -> Result<(), StoreError> {
        self.set(|settings| {
            match document {
                Some(document) => settings.configuration.insert(aspect, document),
                None => settings.configuration.remove(&aspect),
            };
        })
    }

    fn set(&self, change: impl FnOnce(&mut Settings)) -> Result<(), StoreError> {
        let mut state = write(&self.state);
        if state.deleted {
            return Err(StoreError::NoSuchBucket);
        }
        let mut settings = state.settings.clone();
        change(&mut settings);
        self.folder.save(&self.folder.settings(), &settings)?;
        state.settings = settings;
        Ok(())
    }

    /// Removes the bucket for good. Refused while it holds a version or a marker; uploads under way go with it.
    pub(super) fn delete(&self) -> Result<(), StoreError> {
        let mut state = write(&self.state);
        if !read(&self.index).is_empty() {
            return Err(StoreError::BucketNotEmpty);
        }
        // Out of sight is gone: what is left of a removal that fails goes at the next start.
        state.deleted = true;
        self.folder.discard(self.folder.path())
    }

    /// Begins a data file in this bucket.
    pub(crate) fn writer(&self, algorithms: &BTreeSet<Algorithm>) -> Result<BlobWriter, StoreError> {
        BlobWriter::create(&self.folder, self.shared.stamps.next(), algorithms)
    }

    /// Looks at the index: for listings.
    pub(crate) fn with_index<T>(&self, look: impl FnOnce(&Index) -> T) -> T {
        look(&read(&self.index))
    }

    /// Takes a key for oneself. Refused when the bucket is gone.
    pub(super) fn hold<'a>(&'a self, key: &'a str) -> Result<Held<'a>, StoreError> {
        let state = read(&self.state);
        if state.deleted {
            return Err(StoreError::NoSuchBucket);
        }
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let stripe = usize::try_from(hasher.finish() % STRIPES as u64).unwrap_or_default();
        let lock = locked(&self.keys[stripe]);
        let versioning = state.settings.versioning;
        Ok(Held {
            bucket: self,
            key,
            versioning,
            _state: state,
            _lock: lock,
        })
    }
}

/// A key that nobody else changes meanwhile.
pub(super) struct Held<'a> {
    bucket: &'a Bucket,
    key: &'a str,
    pub(super) versioning: Versioning,
    _state: RwLockReadGuard<'a, State>,
    _lock: MutexGuard<'a, ()>,
}

impl Held<'_> {
    /// The key's history; an empty one for a key that was never written.
    pub(super) fn history(&self) -> Arc<History> {
        let found = read(&self.bucket.index).get(self.key).cloned();
        found.unwrap_or_else(|| Arc::new(History::new(self.key)))
    }

    /// The id that a reply shows: none in a bucket that never had versions.
    pub(super) fn shown(&self, version: &Version) -> Option<VersionId> {
        (self.versioning != Versioning::Never).then(|| version.id())
    }

    /// A version for the end of the history: the stamp and the moment of it.
    pub(super) fn moment(&self) -> (super::stamp::Stamp, Timestamp) {
        (self.bucket.shared.stamps.next(), clock::now())
    }

    /// Puts `after` in the place of the key's history, on disk first, and then removes the bytes of `gone`.
    pub(super) fn replace(&self, after: History, gone: Option<Version>) -> Result<(), StoreError> {
        let path = self.bucket.folder.history(self.key);
        if after.versions.is_empty() {
            disk::remove(&path)?;
            write(&self.bucket.index).remove(self.key);
        } else {
            self.bucket.folder.save(&path, &after)?;
            write(&self.bucket.index).insert(self.key.to_owned(), Arc::new(after));
        }
        if let Some(object) = gone.and_then(|version| version.object) {
            self.bucket.shared.pins.remove(&self.bucket.folder, &object);
        }
        Ok(())
    }
}

/// Makes the folders and settings of a new bucket at `folder`.
pub(super) fn create(folder: &Path, settings: &Settings) -> std::io::Result<()> {
    for inner in ["objects", "data", "uploads"] {
        std::fs::create_dir_all(folder.join(inner))?;
    }
    std::fs::write(folder.join("bucket.json"), serde_json::to_vec(settings)?)
}
