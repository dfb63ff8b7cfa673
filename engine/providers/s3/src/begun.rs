//! Uploads in parts that are written down, so that whoever goes on finishes them.

use jm_client_s3::{BegunUpload, S3Bucket};
use jm_step::{StepContext, StepError};
use serde::{Deserialize, Serialize};

use crate::file::Sums;

/// An upload, as it is saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Noted {
    /// Its id.
    pub(crate) upload: String,
    /// Of which content it is: parts of another are of no use.
    pub(crate) sha256: String,
}

impl Noted {
    pub(crate) fn new(begun: &BegunUpload, sums: &Sums) -> Self {
        Self {
            upload: begun.id().to_owned(),
            sha256: sums.sha256(),
        }
    }

    /// The upload with the parts that were sent, unless it is over. One of other content is ended, and so is one of which the
    /// store does not say what it has, or nobody may ask: then all of it is sent again.
    pub(crate) async fn find(
        &self,
        cx: &StepContext,
        bucket: &S3Bucket,
        key: &str,
        sums: &Sums,
    ) -> Result<Option<BegunUpload>, StepError> {
        if self.sha256 != sums.sha256() {
            self.end(cx, bucket, key).await;
            return Ok(None);
        }
        match bucket.begun_upload(key, &self.upload).await {
            Ok(Some(found)) => {
                let (url, there, all) = (bucket.url(key), found.bytes(), sums.bytes());
                cx.log(format!(
                    "the store has {there} of {all} bytes of `{url}` from before: what of them is of this file is not sent again"
                ))
                .await;
                Ok(Some(found))
            }
            Err(error) if !error.kind().is_transient() => {
                cx.log(format!("all of it is sent again: {error}")).await;
                self.end(cx, bucket, key).await;
                Ok(None)
            }
            outcome => outcome,
        }
    }

    /// Nothing depends on it, so nothing of it fails the step.
    async fn end(&self, cx: &StepContext, bucket: &S3Bucket, key: &str) {
        if let Err(error) = bucket.end_upload(key, &self.upload).await {
            cx.log(error.to_string()).await;
        }
    }
}
