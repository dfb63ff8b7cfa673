//! The connection that targets files name `s3`.

use std::ops::Deref;

use jm_client_aws::Access;
use jm_step::{
    Connection, Environment, Identity, InputIssue, NamedFile, OpenContext, Policy, Right, Rights, StepError,
};

use crate::transport::store;
use crate::{Config, S3Bucket, S3Reader, rights};

/// A target of provider `s3`.
pub struct S3(S3Bucket);

impl Deref for S3 {
    type Target = S3Bucket;
    fn deref(&self) -> &S3Bucket {
        &self.0
    }
}

impl Connection for S3 {
    const PROVIDER: &'static str = "s3";
    type Config = Config;
    type Reader = S3Reader;

    async fn open(config: Config, cx: &OpenContext) -> Result<Self, StepError> {
        S3Bucket::open(&config, cx).await.map(Self)
    }

    async fn ping(&self) -> Result<(), StepError> {
        self.0.ping().await
    }

    async fn identity(&self) -> Result<Identity, StepError> {
        Ok(Identity::single(self.0.identity().await?.to_string()))
    }

    fn check(config: &Config, environment: &Environment) -> Vec<InputIssue> {
        let mut issues = Vec::new();
        if config.bucket.trim().is_empty() {
            issues.push(InputIssue::at("/bucket", "no bucket is named").help("write the bucket's name"));
        }
        issues.extend(config.check_access(environment).map(|error| InputIssue::of("", &error)));
        issues
    }

    fn files(_: &Config, environment: &Environment) -> Vec<NamedFile> {
        Access::files(environment)
    }

    /// A bucket's name says which one it is, within its store.
    fn address(config: &Config, cx: &OpenContext) -> Option<String> {
        Some(format!("{} at {}", config.bucket, store(config, cx)))
    }

    fn reader(&self) -> &S3Reader {
        self.0.reader()
    }

    fn knows_right(right: &str) -> bool {
        rights::is_known(right)
    }

    async fn rights(reader: &S3Reader, needed: &Rights) -> Result<Vec<Right>, StepError> {
        reader.rights(needed).await
    }

    async fn policy(reader: &S3Reader, needed: &Rights, _: &str) -> Result<Option<Policy>, StepError> {
        Ok(Some(reader.policy_for(needed)))
    }
}
