//! The versioned store: buckets of keys with their histories, in one folder on disk.
//!
//! It knows nothing of HTTP and is not asynchronous: whoever serves it calls it from threads that may block.

mod blob;
mod bucket;
mod checksum;
mod configuration;
mod disk;
mod error;
mod history;
mod listing;
mod load;
mod locks;
mod multipart;
mod object;
mod objects;
mod pins;
mod stamp;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use jm_step::clock;

pub(crate) use blob::{Blob, BlobWriter, Drafts, PIECE};
pub(crate) use bucket::Bucket;
pub(crate) use checksum::{Algorithm, Checksums, Kind, decode};
pub(crate) use configuration::{Aspect, of_new_buckets};
pub(crate) use error::StoreError;
pub(crate) use history::{History, VersionId, Versioning};
pub(crate) use listing::{
    After, Filter, Item, Listed, objects as list_objects, uploads as list_uploads, versions as list_versions,
};
use locks::{locked, read, write};
pub(crate) use multipart::{Completion, Part, Plan, Upload, Wanted};
pub(crate) use object::{Details, Headers, Object, Tag};
pub(crate) use objects::{Condition, Deleted, Reading, Written};
pub(crate) use stamp::Stamp;

use crate::SandboxError;
use bucket::{Settings, Shared};
use disk::BucketFolder;

/// The store of one server.
#[derive(Debug)]
pub(crate) struct Store {
    buckets_folder: PathBuf,
    tmp: PathBuf,
    buckets: RwLock<BTreeMap<String, Arc<Bucket>>>,
    shared: Shared,
    /// Held as long as the store lives.
    _lock: load::Lock,
}

impl Store {
    /// Opens the store in `root`, or begins one there. Refused while another server has it.
    pub(crate) fn open(root: &Path) -> Result<Self, SandboxError> {
        let buckets_folder = root.join("buckets");
        fs::create_dir_all(&buckets_folder).map_err(SandboxError::file("create", &buckets_folder))?;
        let lock = load::lock(&root.join("lock"))?;
        let tmp = root.join("tmp");
        load::empty(&tmp)?;
        let shared = Shared::default();
        let buckets = RwLock::new(load::buckets(&buckets_folder, &tmp, &shared)?);
        Ok(Self {
            buckets_folder,
            tmp,
            buckets,
            shared,
            _lock: lock,
        })
    }

    /// Makes a bucket. The caller has checked that the name is one.
    pub(crate) fn create_bucket(&self, name: &str, region: Option<String>) -> Result<Arc<Bucket>, StoreError> {
        let mut buckets = write(&self.buckets);
        if buckets.contains_key(name) {
            return Err(StoreError::BucketExists);
        }
        let settings = Settings {
            created: clock::now(),
            region,
            versioning: Versioning::Never,
            configuration: of_new_buckets(),
        };
        let path = self.buckets_folder.join(name);
        let draft = disk::unique(&self.tmp);
        bucket::create(&draft, &settings)
            .and_then(|()| fs::rename(&draft, &path))
            .map_err(StoreError::disk("create", &path))?;
        let folder = BucketFolder::new(path, self.tmp.clone());
        let bucket = Bucket::new(
            name,
            folder,
            self.shared.clone(),
            settings,
            BTreeMap::new(),
            BTreeMap::new(),
        );
        let bucket = Arc::new(bucket);
        buckets.insert(name.to_owned(), Arc::clone(&bucket));
        Ok(bucket)
    }

    /// The bucket of that name.
    pub(crate) fn bucket(&self, name: &str) -> Result<Arc<Bucket>, StoreError> {
        read(&self.buckets).get(name).cloned().ok_or(StoreError::NoSuchBucket)
    }

    /// All buckets, by name.
    pub(crate) fn buckets(&self) -> Vec<Arc<Bucket>> {
        read(&self.buckets).values().cloned().collect()
    }

    /// Removes an empty bucket.
    pub(crate) fn delete_bucket(&self, name: &str) -> Result<(), StoreError> {
        let mut buckets = write(&self.buckets);
        let bucket = buckets.get(name).ok_or(StoreError::NoSuchBucket)?;
        bucket.delete()?;
        buckets.remove(name);
        Ok(())
    }
}

/// How many data files a bucket has, for tests that look for what was left behind.
#[cfg(test)]
pub(crate) fn files_of(root: &Path, bucket: &str) -> usize {
    let data = root.join("buckets").join(bucket).join("data");
    disk::files(&data).map_or(0, |files| files.len())
}
