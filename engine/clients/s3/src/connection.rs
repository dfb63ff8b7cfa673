//! The connection that targets files name `s3`.

use std::ops::Deref;

use jm_client_aws::Access;
use jm_step::{
    Connection, Environment, Identity, InputIssue, NamedFile, OpenContext, Policy, Right, Rights, StepError,
};

use crate::transport::store;
use crate::{Config, S3Bucket, S3Reader, rights};

/// A target of provider `s3`.
pub struct S3 {
    bucket: S3Bucket,
    /// The region that the store named, where it is another than the targets file says.
    followed: Option<String>,
}

impl S3 {
    /// The bucket alone.
    pub fn into_bucket(self) -> S3Bucket {
        self.bucket
    }

    /// That it is asked in another region than its target says.
    fn elsewhere(&self) -> Option<String> {
        let region = self.followed.as_ref()?;
        Some(format!(
            "the store says that bucket `{}` is in region `{region}`, and is asked there; `region` in the targets file spares the detour",
            self.bucket.bucket()
        ))
    }

    /// That a look takes the place of conditions, which holds only as long as nobody else writes.
    fn unconditional(&self) -> Option<String> {
        let takes_none = !self.bucket.0.compatibility.has_conditional_writes();
        takes_none.then(|| {
            format!(
                "`compatibility` says that the store of bucket `{}` takes no conditions of writes: what must not be overwritten \
                 is looked at just before, and what another writer writes between that look and the write is overwritten; \
                 let nobody else write there meanwhile",
                self.bucket.bucket()
            )
        })
    }
}

impl Deref for S3 {
    type Target = S3Bucket;
    fn deref(&self) -> &S3Bucket {
        &self.bucket
    }
}

impl Connection for S3 {
    const PROVIDER: &'static str = "s3";
    type Config = Config;
    type Reader = S3Reader;

    async fn open(config: Config, cx: &OpenContext) -> Result<Self, StepError> {
        let (bucket, followed) = Box::pin(S3Bucket::open_where_it_is(&config, cx)).await?;
        Ok(Self { bucket, followed })
    }

    async fn ping(&self) -> Result<(), StepError> {
        self.bucket.ping().await
    }

    async fn identity(&self) -> Result<Identity, StepError> {
        Ok(Identity::single(self.bucket.identity().await?.to_string()))
    }

    fn notice(&self) -> Option<String> {
        let said: Vec<String> = self.elsewhere().into_iter().chain(self.unconditional()).collect();
        (!said.is_empty()).then(|| said.join("; "))
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
        self.bucket.reader()
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
