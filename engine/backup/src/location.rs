//! Where copies of backups lie: a directory of this machine (`local`), a bucket (`s3`). What differs between them ends
//! here; everything above sees names, bytes and flows.

mod bucket;
mod directory;

use bytes::Bytes;
use jiff::Timestamp;
use jm_client_s3::S3Bucket;
use jm_step::StepError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub(crate) use directory::Directory;

use crate::flow::{Failure, Flow};

/// The most that a manifest may have: an inventory of a hundred thousand tables.
const LARGEST_MANIFEST: u64 = 64 << 20;

/// A location's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LocationName {
    /// The directory.
    Local,
    /// The bucket.
    S3,
}

impl LocationName {
    /// As people write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::S3 => "s3",
        }
    }
}

impl std::fmt::Display for LocationName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A file that a location has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) file: String,
    pub(crate) bytes: u64,
}

/// A copy that was written to its end, durably, and has not got its name yet or is not counted yet.
pub(crate) enum Stored {
    Local(directory::Unnamed),
    S3 { file: String },
}

/// What tells of a file's content without a look at it.
pub(crate) enum Trace {
    /// The SHA-256 that whoever wrote it has noted beside it.
    Noted(String),
    /// Nobody has written it since its manifest, which is written last.
    AsManifest,
    /// Nothing: it was written after its manifest.
    Later,
}

/// A place for copies.
#[derive(Clone)]
pub(crate) enum Location {
    Local(Directory),
    S3(S3Bucket),
}

impl Location {
    pub(crate) fn name(&self) -> LocationName {
        match self {
            Self::Local(_) => LocationName::Local,
            Self::S3(_) => LocationName::S3,
        }
    }

    /// For people: a path or a URL.
    pub(crate) fn address(&self) -> String {
        match self {
            Self::Local(directory) => directory.path().display().to_string(),
            Self::S3(bucket) => bucket.url(""),
        }
    }

    pub(crate) async fn ping(&self) -> Result<(), StepError> {
        match self {
            Self::Local(directory) => directory.list().await.map(drop),
            Self::S3(bucket) => bucket.ping().await,
        }
    }

    /// Which location this really is; `None` where nothing was ever written to it.
    pub(crate) async fn identity(&self) -> Result<Option<String>, StepError> {
        match self {
            Self::Local(directory) => directory.identity().await,
            Self::S3(bucket) => Ok(Some(bucket.identity().await?.to_string())),
        }
    }

    pub(crate) async fn list(&self) -> Result<Vec<Found>, StepError> {
        match self {
            Self::Local(directory) => directory.list().await,
            Self::S3(bucket) => bucket::list(bucket).await,
        }
    }

    /// A manifest's text.
    pub(crate) async fn small(&self, file: &str) -> Result<Bytes, StepError> {
        match self {
            Self::Local(directory) => directory.small(file, LARGEST_MANIFEST).await,
            Self::S3(bucket) => bucket.get_bytes(file, LARGEST_MANIFEST).await,
        }
    }

    /// The first bytes of a file, and how many it has in all.
    pub(crate) async fn head(&self, file: &str, length: u64) -> Result<(Bytes, u64), StepError> {
        match self {
            Self::Local(directory) => directory.head(file, length).await,
            Self::S3(bucket) => bucket::head(bucket, file, length).await,
        }
    }

    /// All bytes of a file.
    pub(crate) async fn read(&self, file: &str) -> Result<Flow, StepError> {
        match self {
            Self::Local(directory) => directory.read(file).await,
            Self::S3(bucket) => bucket::read(bucket, file).await,
        }
    }

    /// Writes a file, all but its name. Where this fails, or is dropped, nothing is left.
    pub(crate) async fn store(&self, file: &str, flow: Flow) -> Result<Stored, Failure> {
        match self {
            Self::Local(directory) => directory.store(file, flow).await.map(Stored::Local),
            Self::S3(bucket) => bucket::store(bucket, file, flow).await,
        }
    }

    /// Gives a copy its name, and then, last, its manifest: from here on it counts.
    pub(crate) async fn commit(&self, stored: Stored, manifest_file: &str, manifest: Bytes) -> Result<(), StepError> {
        match (self, stored) {
            (Self::Local(directory), Stored::Local(copy)) => directory.commit(copy, manifest_file, manifest).await,
            (Self::S3(bucket), Stored::S3 { .. }) => bucket::put_manifest(bucket, manifest_file, manifest).await,
            _ => Err(StepError::failed("a copy was given to a location that it is not of")),
        }
    }

    /// Takes back what was stored and is not to count.
    pub(crate) async fn discard(&self, stored: Stored) -> Result<(), StepError> {
        match (self, stored) {
            (Self::S3(bucket), Stored::S3 { file, .. }) => bucket.delete(&file, None).await,
            // An unnamed local file goes when it is dropped.
            _ => Ok(()),
        }
    }

    /// Ends uploads of backups that were begun before this moment and never finished; tells to which files.
    pub(crate) async fn end_uploads(&self, before: Timestamp) -> Result<Vec<String>, StepError> {
        match self {
            Self::Local(_) => Ok(Vec::new()),
            Self::S3(bucket) => bucket::end_uploads(bucket, before).await,
        }
    }

    /// What tells of a file's content, as far as that is kept: of local files it is not.
    pub(crate) async fn trace(&self, file: &str, manifest: &str) -> Result<Trace, StepError> {
        match self {
            Self::Local(_) => Ok(Trace::AsManifest),
            Self::S3(bucket) => bucket::trace(bucket, file, manifest).await,
        }
    }

    /// The SHA-256 of a file, all of which is read for it.
    pub(crate) async fn sha256(&self, file: &str) -> Result<String, StepError> {
        let mut flow = self.read(file).await?;
        let mut hasher = Sha256::new();
        while let Some(bytes) = flow.next().await.map_err(Failure::into_error)? {
            hasher.update(&bytes);
        }
        Ok(hex::encode(hasher.finalize()))
    }

    /// How many bytes are free, where that can be told.
    pub(crate) fn free_bytes(&self) -> Option<u64> {
        match self {
            Self::Local(directory) => directory.free_bytes(),
            Self::S3(_) => None,
        }
    }
}
