//! Reading the store back at the start, and removing what a killed process left behind.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::bucket::{Bucket, Index, Settings, Shared};
use super::disk::{self, BucketFolder};
use super::history::History;
use super::multipart::{Upload, Uploads};
use super::stamp::Stamp;
use crate::SandboxError;

/// A store's lock. The system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough: a child process just being started may hold the same open file a moment longer.
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "the lock of the S3 stand-in's folder");
        }
    }
}

/// Takes the store for this process.
pub(super) fn lock(path: &Path) -> Result<Lock, SandboxError> {
    let file = File::create(path).map_err(SandboxError::file("create", path))?;
    let taken = file.try_lock().map_err(|error| match error {
        TryLockError::Error(error) => error,
        TryLockError::WouldBlock => io::Error::new(
            io::ErrorKind::WouldBlock,
            "another server keeps its state here; stop it or choose another folder",
        ),
    });
    taken.map_err(SandboxError::file("lock", path))?;
    Ok(Lock(file))
}

/// Makes the folder for files under way, empty.
pub(super) fn empty(tmp: &Path) -> Result<(), SandboxError> {
    match fs::remove_dir_all(tmp) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
    .and_then(|()| fs::create_dir(tmp))
    .map_err(SandboxError::file("empty", tmp))
}

/// Reads all buckets.
pub(super) fn buckets(
    folder: &Path,
    tmp: &Path,
    shared: &Shared,
) -> Result<BTreeMap<String, Arc<Bucket>>, SandboxError> {
    let mut buckets = BTreeMap::new();
    for path in disk::entries(folder)? {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        let bucket = bucket(name, BucketFolder::new(path.clone(), tmp.to_path_buf()), shared)?;
        buckets.insert(name.to_owned(), Arc::new(bucket));
    }
    Ok(buckets)
}

fn bucket(name: &str, folder: BucketFolder, shared: &Shared) -> Result<Bucket, SandboxError> {
    let settings: Settings = disk::load(&folder.settings())?;
    let index = histories(&folder)?;
    let uploads = uploads(&folder, &index)?;
    let named = named(&index, &uploads);
    for stamp in &named {
        shared.stamps.observe(*stamp);
    }
    for file in disk::files(&folder.data())? {
        let stamp = file.file_name().and_then(|name| name.to_str()?.parse().ok());
        if stamp.is_none_or(|stamp| !named.contains(&stamp)) {
            fs::remove_file(&file).map_err(SandboxError::file("remove", &file))?;
        }
    }
    Ok(Bucket::new(name, folder, shared.clone(), settings, index, uploads))
}

fn histories(folder: &BucketFolder) -> Result<Index, SandboxError> {
    let mut index = Index::new();
    for file in disk::files(&folder.histories())? {
        let history: History = disk::load(&file)?;
        index.insert(history.key.clone(), Arc::new(history));
    }
    Ok(index)
}

/// The uploads under way. One that a killed process had made an object of, but not yet removed, is removed.
fn uploads(folder: &BucketFolder, index: &Index) -> Result<Uploads, SandboxError> {
    let done = completed(index);
    let mut uploads = Uploads::new();
    for path in disk::entries(&folder.uploads())? {
        match Upload::load(&path)? {
            Some(upload) if !done.contains(&upload.plan.id) => {
                uploads.insert((upload.plan.key.clone(), upload.plan.id), Arc::new(upload));
            }
            _ => fs::remove_dir_all(&path).map_err(SandboxError::file("remove", &path))?,
        }
    }
    Ok(uploads)
}

fn completed(index: &Index) -> BTreeSet<Stamp> {
    let versions = index.values().flat_map(|history| &history.versions);
    let objects = versions.filter_map(|version| version.object.as_ref());
    objects.filter_map(|object| object.upload).collect()
}

/// Every stamp that a history or an upload names; among them all data files to keep.
fn named(index: &Index, uploads: &Uploads) -> HashSet<Stamp> {
    let mut named = HashSet::new();
    for version in index.values().flat_map(|history| &history.versions) {
        named.insert(version.stamp);
        let segments = version.object.iter().flat_map(|object| &object.segments);
        named.extend(segments.map(|segment| segment.file));
    }
    for ((_, id), upload) in uploads {
        named.insert(*id);
        named.extend(upload.parts().iter().map(|part| part.segment.file));
    }
    named
}
