//! The side of a bucket that writes.

use std::ops::Deref;

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::operation::create_bucket::CreateBucketError;
use aws_sdk_s3::types::{
    BucketLocationConstraint, BucketVersioningStatus, CreateBucketConfiguration, VersioningConfiguration,
};
use jm_step::{OpenContext, StepError};

use crate::settings::failed;
use crate::transport::summed;
use crate::{Config, Pace, S3Reader};

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

    /// The same, where a store that is reached answers that the bucket is in another region than the configuration says: in
    /// that one, which is given out, too.
    pub(crate) async fn open_where_it_is(
        config: &Config,
        cx: &OpenContext,
    ) -> Result<(Self, Option<String>), StepError> {
        let bucket = Self::open(config, cx).await?;
        let Some(region) = bucket.other_region().await else {
            return Ok((bucket, None));
        };
        let there = Config {
            region: Some(region.clone()),
            ..config.clone()
        };
        Ok((Self::open(&there, cx).await?, Some(region)))
    }

    /// The same without a method that writes.
    pub fn reader(&self) -> &S3Reader {
        &self.reader
    }

    /// Makes the bucket. One that is ours already is no error.
    pub async fn create_bucket(&self) -> Result<(), StepError> {
        let doing = self.on_bucket("create", "s3:CreateBucket");
        let client = &self.0.client;
        let region = client.config().region().map(|region| region.as_ref().to_owned());
        // The oldest region is the one that must not be named.
        let constraint = region.filter(|region| region != "us-east-1").map(|region| {
            let constraint = BucketLocationConstraint::from(region.as_str());
            CreateBucketConfiguration::builder()
                .location_constraint(constraint)
                .build()
        });
        let call = client.create_bucket().bucket(&self.0.bucket);
        match call.set_create_bucket_configuration(constraint).send().await {
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(CreateBucketError::is_bucket_already_owned_by_you) =>
            {
                Ok(())
            }
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(CreateBucketError::is_bucket_already_exists) =>
            {
                Err(
                    StepError::conflict(format!("{doing}: somebody else has a bucket of this name"))
                        .hint("choose another name"),
                )
            }
            // Of a bucket that was just removed, the name is free only after a while.
            Err(error) if error.code() == Some("OperationAborted") => Err(StepError::unavailable(format!(
                "{doing}: the store still removes a bucket of this name"
            ))
            .hint("the name may take an hour to come free: try again, or let the step try for longer with `retry`")),
            outcome => outcome.map(drop).map_err(|error| doing.failed(&error)),
        }
    }

    /// Makes the bucket keep versions from now on, or stop keeping new ones.
    pub async fn set_versioning(&self, keep: bool) -> Result<(), StepError> {
        let doing = self.on_bucket("set the versioning of", "s3:PutBucketVersioning");
        let status = if keep {
            BucketVersioningStatus::Enabled
        } else {
            BucketVersioningStatus::Suspended
        };
        let versioning = VersioningConfiguration::builder().status(status).build();
        let call = self.0.client.put_bucket_versioning().bucket(&self.0.bucket);
        let call = call.versioning_configuration(versioning);
        let call = call.customize().mutate_request(summed(self.0.compatibility));
        let outcome = call.send().await;
        outcome.map(drop).map_err(|error| failed(&doing, "versioning", &error))
    }

    /// Deletes one of many objects when it is its turn, as [`Self::delete`] does without a version.
    pub async fn delete_one(&self, pace: &Pace, key: &str) -> Result<(), StepError> {
        let doing = self.on_object("delete", key, "s3:DeleteObject");
        let full = self.full(key);
        let call = || self.0.once.delete_object().bucket(&self.0.bucket).key(&full).send();
        pace.send(&doing, call).await.map(drop)
    }

    /// Deletes an object. Without a version, a bucket that keeps versions marks it as deleted; with one, that version
    /// is gone for good. An object that is not there is no error.
    pub async fn delete(&self, key: &str, version_id: Option<&str>) -> Result<(), StepError> {
        let doing = self.on_object("delete", key, "s3:DeleteObject");
        let call = self.0.client.delete_object().bucket(&self.0.bucket).key(self.full(key));
        let call = call.set_version_id(version_id.map(str::to_owned));
        match call.send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.until_when(doing.failed(&error), key, version_id).await),
        }
    }
}
