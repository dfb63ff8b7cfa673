//! One object that goes from bucket to bucket: inside the store where that can be, else through here. What comes is held to what
//! was written, by whatever tells of that; of what nothing tells is counted.

use std::io;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use jm_client_s3::{Checksum, Copied, Get, ObjectInfo, ObjectStream, ObjectSummary, Put, S3Bucket, is_etag_of_parts};
use jm_step::{StepError, StepErrorKind};
use tokio::io::{AsyncRead, ReadBuf};

use super::act::Worker;
use super::decide::{Existing, Transfer};
use super::side::Objects;
use crate::file::Sums;
use crate::same;

impl Worker<'_> {
    pub(super) async fn copy(
        &self,
        transfer: &Transfer,
        object: &ObjectSummary,
        from: &Objects,
        to: &Objects,
    ) -> Result<(), StepError> {
        let (bucket, key) = (self.bucket()?, to.key(&transfer.name));
        let within = bucket.shares_store_with(&from.bucket) && S3Bucket::copies_whole(object);
        let copied = if within && self.may_replace(transfer, to).await? {
            match bucket.copy_from(&self.pace, &from.bucket, object, &key).await {
                // The one side's credentials may not read the other side.
                Err(error) if error.kind() == StepErrorKind::Denied => None,
                outcome => Some(outcome?),
            }
        } else {
            None
        };
        let is_proven = if let Some(copied) = copied {
            self.is_proven(object, &copied, from, &key).await?
        } else {
            let _turn = self.large_turn(object.bytes).await;
            match self.pass_on(transfer, object, from, &key).await {
                // What was damaged on its way comes whole the second time; what is damaged in the store does not.
                Err(error) if error.kind() == StepErrorKind::Failed => {
                    self.pass_on(transfer, object, from, &key).await?
                }
                outcome => outcome?,
            }
        };
        self.unverified.fetch_add(u64::from(!is_proven), Ordering::Relaxed);
        self.done.fetch_add(object.bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Reads an object and writes it to the other bucket. Whether anything tells that it is as it was written.
    async fn pass_on(
        &self,
        transfer: &Transfer,
        object: &ObjectSummary,
        from: &Objects,
        key: &str,
    ) -> Result<bool, StepError> {
        let get = Get {
            etag: object.etag.clone(),
            ..Get::default()
        };
        let stream = from.bucket.get(&object.key, get).await?;
        let info = stream.info().clone();
        let tags = match info.tags {
            0 => None,
            _ => from.bucket.tags(&object.key).await?,
        };
        let told = info.metadata.get("sha256").cloned();
        let is_told = told.is_some() || info.sum().as_ref().and_then(Checksum::hasher).is_some();
        let of_parts = if is_told {
            None
        } else {
            // Without naming its version, which asks for more rights.
            let newest = ObjectInfo {
                version_id: None,
                ..info.clone()
            };
            from.bucket.sum_of_parts(&self.pace, &newest).await?
        };
        let is_proven = is_told || of_parts.is_some();
        let put = Put {
            content_type: info.content_type,
            cache_control: info.cache_control,
            headers: info.headers,
            tags,
            metadata: info.metadata,
            ..self.put(transfer, "")
        };
        let held = Held {
            stream,
            sums: Sums::new(of_parts.as_ref()),
            told,
            url: from.bucket.url(&object.key),
        };
        self.bucket()?.put(key, held, put).await?;
        Ok(is_proven)
    }

    /// Whether sums tell that a copy made inside the store is as its source. A store that has lost a bit copies what it has, and its
    /// sums tell. Most copies have the ETag of what they are of; of those that have another, sums of one kind tell, where the store
    /// keeps such.
    async fn is_proven(
        &self,
        object: &ObjectSummary,
        copied: &Copied,
        from: &Objects,
        key: &str,
    ) -> Result<bool, StepError> {
        // One request makes no parts: a copy that has their ETag was given it, and nobody has computed it.
        let is_computed = |etag: &String| !is_etag_of_parts(etag);
        if copied.etag.as_ref().is_some_and(is_computed) && copied.etag == object.etag {
            return Ok(true);
        }
        let bucket = self.bucket()?;
        let looks = tokio::try_join!(
            Box::pin(from.bucket.look_at(&self.pace, &object.key, None)),
            Box::pin(bucket.look_at(&self.pace, key, None)),
        );
        // Who may not look has nothing to compare, and what somebody wrote since, which another ETag tells, is no copy.
        let Ok((Some(source), Some(copy))) = looks else {
            return Ok(false);
        };
        if source.etag != object.etag || copy.etag != copied.etag {
            return Ok(false);
        }
        match same::by_sums(&source, &copy) {
            Some(false) => Err(is_other(&from.bucket.url(&object.key), &bucket.url(key))),
            same => Ok(same.is_some()),
        }
    }

    /// A copy inside the store takes no condition about what is there: it is looked at just before.
    async fn may_replace(&self, transfer: &Transfer, to: &Objects) -> Result<bool, StepError> {
        if transfer.overwrites || self.rules.existing == Existing::Overwrite {
            return Ok(true);
        }
        Ok(to.bucket.head(&to.key(&transfer.name), None).await?.is_none())
    }
}

fn is_other(source: &str, copy: &str) -> StepError {
    StepError::failed(format!(
        "`{copy}` is a copy of `{source}` and has other content, by the store's own sums"
    ))
    .hint("what the store has of it is damaged: take it from elsewhere")
}

/// What the bytes of an object turned out to be.
pub(super) fn not_as_written(url: &str, sums: &Sums) -> StepError {
    let (bytes, sha256) = (sums.bytes(), sums.sha256());
    StepError::failed(format!(
        "`{url}` is not what was written: {bytes} bytes with SHA-256 {sha256}"
    ))
    .hint("take another version of it, or another copy")
}

/// Whether bytes are other than what their writer told the SHA-256 of, or than the sum that they were read for.
pub(super) fn differs(sums: &Sums, told: Option<&str>) -> bool {
    told.is_some_and(|told| !told.eq_ignore_ascii_case(&sums.sha256())) || sums.agrees() == Some(false)
}

/// An object that is read to be written elsewhere. Where it is not what was written it has an error for an end, so that whoever
/// reads it makes nothing of it.
struct Held {
    stream: ObjectStream,
    sums: Sums,
    /// The SHA-256 that its writer told.
    told: Option<String>,
    url: String,
}

impl AsyncRead for Held {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let Poll::Ready(Ok(())) = polled else { return polled };
        let read = &buffer.filled()[before..];
        if !read.is_empty() {
            self.sums.update(read);
        } else if differs(&self.sums, self.told.as_deref()) {
            return Poll::Ready(Err(io::Error::other(not_as_written(&self.url, &self.sums))));
        }
        Poll::Ready(Ok(()))
    }
}
