//! The side of a bucket that writes.

use std::ops::Deref;

use jm_step::{OpenContext, StepError};

use crate::{Config, S3Reader};

/// A bucket, or the part of it under a prefix, with everything that [`S3Reader`] has. Cheap to clone.
#[derive(Clone)]
pub struct S3Bucket {
    reader: S3Reader,
}

impl Deref for S3Bucket {
    type Target = S3Reader;
    fn deref(&self) -> &S3Reader {
        &self.reader
    }
}

impl S3Bucket {
    /// Makes the client; the store is not reached before the first call. Keys that the configuration or the
    /// environment holds are registered with the masker.
    pub async fn open(config: &Config, cx: &OpenContext) -> Result<Self, StepError> {
        let reader = S3Reader::open(config, cx).await?;
        Ok(Self { reader })
    }

    /// The same without a method that writes.
    pub fn reader(&self) -> &S3Reader {
        &self.reader
    }

    /// Deletes an object. Without a version, a bucket that keeps versions marks it as deleted; with one, that version
    /// is gone for good. An object that is not there is no error.
    pub async fn delete(&self, key: &str, version_id: Option<&str>) -> Result<(), StepError> {
        let doing = self.on_object("delete", key, "s3:DeleteObject");
        let call = self.0.client.delete_object().bucket(&self.0.bucket).key(self.full(key));
        let call = call.set_version_id(version_id.map(str::to_owned));
        call.send().await.map(drop).map_err(|error| doing.failed(&error))
    }
}
