//! Carries a plan out: many names at a time, each whole or not at all.

#![expect(clippy::disallowed_methods, reason = "one side of a sync is a directory")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use jm_client_s3::{Pace, Put, S3Bucket};
use jm_step::StepError;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::decide::{Existing, Rules, Transfer};
use super::directory::{FileFound, place};
use super::hash::Forms;
use super::notes::Notes;
use super::pattern::headers_of;
use super::side::{Found, Objects, Side};
use super::unsettled::Unsettled;
use crate::file::{self, Unchanged};

/// Files up to this size are read whole; what is larger is sent in parts, and few at a time.
pub(super) const SMALL: u64 = 1 << 20;
/// What is larger goes on where an attempt before this one was cut off; of what is not, sending it again costs less than writing
/// down how far it is.
pub(super) const AT_ONCE: u64 = 32 << 20;
/// So many large ones at a time: each holds some parts in memory.
const LARGE_AT_ONCE: usize = 4;
/// So often is a small file read that changes while it is read.
const READS: u32 = 3;

/// Carries transfers out.
pub(super) struct Worker<'a> {
    from: Side,
    to: Side,
    /// The writing side of the bucket that things go to.
    bucket: Option<Arc<dyn Writable>>,
    pub(super) rules: Rules,
    forms: Forms,
    pub(super) pace: Pace,
    notes: &'a Notes<'a>,
    large: Semaphore,
    pub(super) unsettled: Arc<Unsettled>,
    /// Bytes that went over.
    pub(super) done: Arc<AtomicU64>,
    /// Copies of which no sum tells whether they are as their sources.
    pub(super) unverified: AtomicU64,
}

/// A connection that gives the writing side of a bucket.
pub(super) trait Writable: Send + Sync {
    fn bucket(&self) -> &S3Bucket;
}

impl Writable for jm_client_s3::S3 {
    fn bucket(&self) -> &S3Bucket {
        self
    }
}

impl<'a> Worker<'a> {
    pub(super) fn new(
        from: Side,
        to: Side,
        bucket: Option<Arc<dyn Writable>>,
        (rules, forms): (Rules, Forms),
        pace: Pace,
        notes: &'a Notes<'a>,
    ) -> Self {
        Self {
            from,
            to,
            bucket,
            rules,
            forms,
            pace,
            notes,
            large: Semaphore::new(LARGE_AT_ONCE),
            unsettled: Arc::default(),
            done: Arc::default(),
            unverified: AtomicU64::default(),
        }
    }

    /// Transfers one name.
    pub(super) async fn transfer(&self, transfer: &Transfer) -> Result<(), StepError> {
        match (&transfer.from, &self.from, &self.to) {
            (Found::File(file), _, Side::Bucket(to)) => self.upload(transfer, file, to).await,
            (Found::Object(object), Side::Bucket(from), Side::Directory(to)) => {
                let _turn = self.large_turn(object.bytes).await;
                self.download(&transfer.name, object, from, &to.root).await
            }
            (Found::Object(object), Side::Bucket(from), Side::Bucket(to)) => {
                self.copy(transfer, object, from, to).await
            }
            _ => Err(StepError::failed("a sync has a bucket on one side")),
        }
    }

    /// Deletes one name at the destination.
    pub(super) async fn delete(&self, name: &str) -> Result<(), StepError> {
        match &self.to {
            Side::Bucket(to) => self.bucket()?.delete_one(&self.pace, &to.key(name)).await,
            Side::Directory(to) => {
                let path = place(&to.root, name).map_err(StepError::failed)?;
                self.unsettled.note(&path, 0);
                match tokio::fs::remove_file(&path).await {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        Err(file::failed("delete", &path, error))
                    }
                    _ => Ok(()),
                }
            }
        }
    }

    /// What was written to a directory is on disk.
    pub(super) async fn settle(&self) -> Result<(), StepError> {
        let Side::Directory(to) = &self.to else { return Ok(()) };
        let (root, unsettled) = (to.root.clone(), self.unsettled.clone());
        let synced = tokio::task::spawn_blocking(move || unsettled.settle(&root));
        synced
            .await
            .map_err(|error| StepError::failed("writing to disk was ended").source(error))?
    }

    pub(super) fn bucket(&self) -> Result<&S3Bucket, StepError> {
        let bucket = self.bucket.as_deref().map(Writable::bucket);
        bucket.ok_or_else(|| StepError::failed("there is no bucket to write to"))
    }

    pub(super) async fn large_turn(&self, bytes: u64) -> Option<tokio::sync::SemaphorePermit<'_>> {
        if bytes <= SMALL {
            return None;
        }
        // The semaphore is never closed.
        self.large.acquire().await.ok()
    }

    pub(super) fn put(&self, transfer: &Transfer, sha256: &str) -> Put {
        let headers = headers_of(&self.rules.headers, &self.forms, &transfer.name);
        Put {
            content_type: headers.content_type,
            cache_control: headers.cache_control,
            metadata: [("sha256".to_owned(), sha256.to_owned())].into(),
            // What came there meanwhile is not known to be the same.
            if_absent: !transfer.overwrites && self.rules.existing != Existing::Overwrite,
            bytes: Some(transfer.from.bytes()),
            ..Put::default()
        }
    }

    async fn upload(&self, transfer: &Transfer, file: &FileFound, to: &Objects) -> Result<(), StepError> {
        let key = to.key(&transfer.name);
        if file.bytes <= SMALL {
            let content = whole(file).await?;
            let sha256 = hex::encode(Sha256::digest(&content));
            is_vouched(file, &sha256)?;
            let bytes = content.len() as u64;
            let put = self.put(transfer, &sha256);
            self.bucket()?.put_small(&self.pace, &key, content, &put).await?;
            self.done.fetch_add(bytes, Ordering::Relaxed);
            return Ok(());
        }
        let _turn = self.large_turn(file.bytes).await;
        let sums = file::sums_before_upload(&file.path, None).await?;
        let sha256 = sums.sha256();
        is_vouched(file, &sha256)?;
        let stream = Unchanged::open(&file.path, &sums, self.done.clone()).await?;
        let (bucket, put) = (self.bucket()?, self.put(transfer, &sha256));
        if file.bytes <= AT_ONCE {
            return bucket.put(&key, stream, put).await.map(drop);
        }
        let begun = self.notes.begun(bucket, &transfer.name, &key, &put, &sums).await?;
        let sent = bucket.finish_upload(&key, stream, &put, begun).await;
        self.notes.ended(&transfer.name, &sent).await;
        sent.map(drop)
    }
}

/// A small file as it was at one moment.
async fn whole(file: &FileFound) -> Result<Bytes, StepError> {
    let mut now = file.clone();
    for _ in 0..READS {
        let reading = now.clone();
        let read = tokio::task::spawn_blocking(move || {
            let content = std::fs::read(&reading.path).map_err(|error| file::failed("read", &reading.path, error))?;
            let same = reading.is_unchanged() && content.len() as u64 == reading.bytes;
            Ok::<_, StepError>((content, same))
        });
        let read = read.await;
        let (content, same) = read.map_err(|error| StepError::failed("reading a file was ended").source(error))??;
        if same {
            return Ok(content.into());
        }
        now.refresh()
            .map_err(|error| file::failed("look at", &file.path, error))?;
    }
    Err(
        StepError::conflict(format!("`{}` changed while it was read", file.path.display()))
            .hint("let whatever writes to it finish, then try again"),
    )
}

fn is_vouched(file: &FileFound, sha256: &str) -> Result<(), StepError> {
    match &file.vouched {
        Some(vouched) if vouched != sha256 => Err(StepError::conflict(format!(
            "`{}` is not what its manifest says any more",
            file.path.display()
        ))
        .hint("let whatever writes to it finish, then try again")),
        _ => Ok(()),
    }
}
