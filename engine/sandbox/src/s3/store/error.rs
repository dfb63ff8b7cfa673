//! What the store refuses, and what goes wrong with its disk.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::checksum::Algorithm;
use super::history::VersionId;

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("bucket does not exist")]
    NoSuchBucket,
    #[error("bucket exists already")]
    BucketExists,
    #[error("bucket still has versions or delete markers")]
    BucketNotEmpty,
    /// There is no such object now; `marker` is the delete marker that hides it.
    #[error("object does not exist")]
    NoSuchKey { marker: Option<VersionId> },
    #[error("version does not exist")]
    NoSuchVersion,
    #[error("not a version id")]
    InvalidVersionId,
    /// The version asked for by its id is a delete marker.
    #[error("version is a delete marker")]
    IsMarker { version: VersionId, modified: Timestamp },
    /// The condition of that header does not hold.
    #[error("condition {0} does not hold")]
    PreconditionFailed(&'static str),
    #[error("upload does not exist")]
    NoSuchUpload,
    #[error("part {0} is not there or differs")]
    InvalidPart(u16),
    #[error("parts are not in ascending order")]
    InvalidPartOrder,
    #[error("part {part} has {size} bytes")]
    PartTooSmall { part: u16, size: u64 },
    #[error("object has {actual} bytes")]
    WrongSize { actual: u64 },
    #[error("{} differs", .0.name())]
    WrongChecksum(Algorithm),
    #[error("cannot {action} `{}`: {source}", path.display())]
    Disk {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// A data file has not the size that was recorded.
    #[error("data file `{}` is damaged", .0.display())]
    Damaged(PathBuf),
}

impl StoreError {
    /// The error for a file operation: `result.map_err(StoreError::disk("write", path))`.
    pub(crate) fn disk(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| Self::Disk { action, path, source }
    }
}
