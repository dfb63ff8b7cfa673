//! `s3.versioning`: tells whether a bucket keeps versions.

use jm_client_s3::{S3, S3Reader, VersioningStatus};
use jm_step::{Effect, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError, StepType};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Tells whether a bucket keeps versions.
pub(crate) struct Versioning;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Output {
    /// The bucket's name.
    bucket: String,
    /// What keys of the target begin with in it, such as `site/`; empty for all of it.
    #[serde(default)]
    prefix: String,
    /// Whether it keeps versions. That asking is not allowed fails the step, and does not count as `never`.
    status: VersioningStatus,
    /// Whether a version can be deleted only with a second factor.
    mfa_delete: bool,
}

impl StepType for Versioning {
    const NAME: &'static str = "s3.versioning";
    const SUMMARY: &'static str = "tells whether a bucket keeps versions";
    const EFFECT: Effect = Effect::ReadOnly;
    const REPEAT: Repeat = Repeat::Safe;
    type Input = Input;
    type Output = Output;

    fn roles(&self) -> Vec<Role> {
        vec![Role::of::<S3>("bucket")]
    }

    fn needs(&self, _: &Known) -> Vec<Need> {
        vec![Need::of("bucket", &["s3:ListBucket", "s3:GetBucketVersioning"])]
    }

    async fn preview(&self, cx: &ReadContext, _: &Input) -> Result<Preview<Output>, StepError> {
        let bucket = cx.read::<S3>().await?;
        let output = look(&bucket).await?;
        let summary = match output.status {
            VersioningStatus::Enabled => format!("bucket `{}` keeps versions", output.bucket),
            VersioningStatus::Suspended => format!("bucket `{}` keeps no new versions", output.bucket),
            VersioningStatus::Never => format!("bucket `{}` never kept versions", output.bucket),
            VersioningStatus::Unsupported => format!("the store of bucket `{}` knows no versions", output.bucket),
        };
        Ok(Preview::verified(summary).predict(output))
    }

    async fn run(&self, cx: &StepContext, _: Input) -> Result<Output, StepError> {
        let bucket = cx.read::<S3>().await?;
        look(&bucket).await
    }

    /// It only looks, so nothing of it can have stayed.
    async fn probe(&self, _: &ReadContext, _: &Input) -> Result<Probe<Output>, StepError> {
        Ok(Probe::NotStarted)
    }
}

async fn look(bucket: &S3Reader) -> Result<Output, StepError> {
    let versioning = bucket.versioning().await?;
    Ok(Output {
        bucket: bucket.bucket().to_owned(),
        prefix: bucket.prefix().to_owned(),
        status: versioning.status,
        mfa_delete: versioning.mfa_delete,
    })
}

#[cfg(test)]
mod tests {
    use jm_step::{AnyStepType, Grade, StepErrorKind};
    use serde_json::json;

    use super::*;
    use crate::store::{stores, without_versions};

    #[tokio::test]
    async fn each_state_has_its_name() {
        for store in stores().await {
            let bucket = store.bucket("states").await;
            let bench = store.bench("states");
            for (keep, status) in [(None, "never"), (Some(true), "enabled"), (Some(false), "suspended")] {
                if let Some(keep) = keep {
                    bucket.set_versioning(keep).await.expect("set");
                }
                let preview = AnyStepType::preview(&Versioning, &bench.read(), json!({}))
                    .await
                    .expect("a preview");
                let (cx, _listener) = bench.step();
                let output = AnyStepType::run(&Versioning, &cx, json!({})).await.expect("an answer");
                assert_eq!(
                    (preview.grade, preview.predicted.as_ref()),
                    (Grade::Verified, Some(&output))
                );
                assert_eq!(
                    output,
                    json!({ "bucket": "states", "prefix": "", "status": status, "mfa_delete": false }),
                    "{}",
                    store.name
                );
            }
        }
    }

    #[tokio::test]
    async fn a_store_without_versions_is_not_one_that_never_kept_any() {
        let store = without_versions().await;
        store.bucket("plain").await;
        let (cx, _listener) = store.bench("plain").step();
        let output = AnyStepType::run(&Versioning, &cx, json!({})).await.expect("an answer");
        assert_eq!(output["status"], "unsupported");
    }

    #[tokio::test]
    async fn not_being_allowed_to_ask_is_not_never() {
        for store in stores().await {
            store.bucket("secretive").await;
            let bench = store.bench_with_secret("secretive", "wrong");
            let (cx, _listener) = bench.step();
            let error = AnyStepType::run(&Versioning, &cx, json!({}))
                .await
                .expect_err("not allowed");
            assert_eq!(error.kind(), StepErrorKind::Denied, "{}", store.name);
        }
    }
}
