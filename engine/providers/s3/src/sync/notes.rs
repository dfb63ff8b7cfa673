//! What a sync has saved while it is under way: what was planned, and which uploads of large files it has begun.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;
use jm_client_s3::{BegunUpload, Put, S3Bucket, Uploaded};
use jm_step::{StepContext, StepError};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::decide::Counts;
use crate::begun::Noted;
use crate::file::Sums;

/// Saved before the first effect, and with each large file that is begun.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Progress {
    pub(super) planned: Counts,
    /// When the first attempt began, by this machine's clock.
    #[serde(default)]
    pub(super) began: Option<Timestamp>,
    /// Uploads of large files, by their names: those that are under way, or were left without an answer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) uploads: BTreeMap<String, Noted>,
}

/// What is saved, for all that are at work.
pub(super) struct Notes<'a> {
    cx: &'a StepContext,
    progress: Mutex<Progress>,
}

impl<'a> Notes<'a> {
    pub(super) fn new(cx: &'a StepContext, progress: Progress) -> Self {
        Self {
            cx,
            progress: Mutex::new(progress),
        }
    }

    pub(super) async fn save(&self) -> Result<(), StepError> {
        let progress = self.progress.lock().await;
        self.cx.save_checkpoint(&*progress).await
    }

    /// The upload of a large file that an attempt before this one has begun, with the parts that were sent; otherwise a new one.
    pub(super) async fn begun(
        &self,
        bucket: &S3Bucket,
        name: &str,
        key: &str,
        put: &Put,
        sums: &Sums,
    ) -> Result<BegunUpload, StepError> {
        let noted = self.progress.lock().await.uploads.get(name).cloned();
        if let Some(noted) = noted
            && let Some(found) = noted.find(self.cx, bucket, key, sums).await?
        {
            return Ok(found);
        }
        let new = bucket.begin_upload(key, put).await?;
        let mut progress = self.progress.lock().await;
        progress.uploads.insert(name.to_owned(), Noted::new(&new, sums));
        // Under the lock, so that what is saved last is the newest.
        self.cx.save_checkpoint(&*progress).await?;
        Ok(new)
    }

    /// What became an object, or was ended for good, is not gone on with. This is saved with what is begun next.
    pub(super) async fn ended(&self, name: &str, sent: &Result<Uploaded, StepError>) {
        if sent.as_ref().err().is_none_or(|error| !error.kind().is_transient()) {
            self.progress.lock().await.uploads.remove(name);
        }
    }
}

/// The ids of uploads.
pub(super) fn ids(uploads: &BTreeMap<String, Noted>) -> HashSet<&str> {
    uploads.values().map(|noted| noted.upload.as_str()).collect()
}
