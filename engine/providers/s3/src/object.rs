//! `s3.object`: tells what an object is, by reading it.

use std::time::Duration;

use jm_client_s3::{Get, ObjectInfo, S3, S3Reader};
use jm_step::{Effect, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError, StepType};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::file;

/// Tells what an object is.
pub(crate) struct Object;

/// What is larger is not read for a preview.
const SOON_READ: u64 = 1 << 20;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// The object's key, relative to the target's prefix.
    key: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Output {
    /// The name of its bucket.
    #[serde(default)]
    bucket: String,
    /// Its size.
    bytes: u64,
    /// The SHA-256 of its content in lower-case hex, computed by whoever asks.
    sha256: String,
    /// Which version it is, where the bucket keeps versions.
    version_id: Option<String>,
    /// Such as `text/html`.
    content_type: Option<String>,
    /// Such as `public, max-age=0, must-revalidate`.
    cache_control: Option<String>,
}

impl StepType for Object {
    const NAME: &'static str = "s3.object";
    const SUMMARY: &'static str = "tells what an object is, with the SHA-256 of what is read";
    const EFFECT: Effect = Effect::ReadOnly;
    const REPEAT: Repeat = Repeat::Safe;
    const TIMEOUT: Duration = Duration::from_hours(1);
    type Input = Input;
    type Output = Output;

    fn roles(&self) -> Vec<Role> {
        vec![Role::of::<S3>("bucket")]
    }

    fn needs(&self, _: &Known) -> Vec<Need> {
        vec![Need::of("bucket", &["s3:ListBucket", "s3:GetObject"])]
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let bucket = cx.read::<S3>().await?;
        let url = bucket.url(&input.key);
        let info = bucket.head(&input.key, None).await?;
        let info = info.ok_or_else(|| StepError::not_found(format!("there is no object `{url}`")))?;
        let summary = format!("`{url}` has {} bytes", info.bytes);
        if info.bytes > SOON_READ {
            let known = json!({
                "bucket": bucket.bucket(), "bytes": info.bytes, "version_id": info.version_id, "content_type": info.content_type,
                "cache_control": info.cache_control,
            });
            return Ok(Preview::declared(format!("{summary}, which are read")).foresee(known));
        }
        Ok(Preview::verified(summary).predict(read(&bucket, input).await?))
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let bucket = cx.read::<S3>().await?;
        tokio::select! {
            output = read(&bucket, &input) => output,
            () = cx.cancelled() => Err(StepError::cancelled("told to stop while an object was read")),
        }
    }

    /// It only looks, so nothing of it can have stayed.
    async fn probe(&self, _: &ReadContext, _: &Input) -> Result<Probe<Output>, StepError> {
        Ok(Probe::NotStarted)
    }
}

async fn read(bucket: &S3Reader, input: &Input) -> Result<Output, StepError> {
    let stream = bucket.get(&input.key, Get::default()).await?;
    let ObjectInfo {
        version_id,
        content_type,
        cache_control,
        ..
    } = stream.info().clone();
    let sums = file::sums_of_object(stream).await?;
    Ok(Output {
        bucket: bucket.bucket().to_owned(),
        bytes: sums.bytes(),
        sha256: sums.sha256(),
        version_id,
        content_type,
        cache_control,
    })
}

#[cfg(test)]
mod tests {
    use jm_client_s3::Put;
    use jm_step::{Grade, StepErrorKind};
    use jm_testkit::StepBench;

    use super::*;
    use crate::store::stores;

    #[tokio::test]
    async fn what_is_read_is_told_and_a_large_object_is_not_read_for_a_preview() {
        for store in stores().await {
            let bucket = store.bucket("told").await;
            let put = Put {
                content_type: Some("text/html".to_owned()),
                ..Put::default()
            };
            bucket.put_bytes("page", "abc", put).await.expect("written");
            let large = vec![7; 2 << 20];
            bucket.put_bytes("large", large, Put::default()).await.expect("written");
            let bench = StepBench::new().with("bucket", store.connection("told").await);
            let page = json!({ "key": "page" });
            let preview = bench.preview(&Object, page.clone()).await.expect("a preview");
            let output = bench.run(&Object, page).await.output();
            assert_eq!(
                (preview.grade, preview.predicted.as_ref()),
                (Grade::Verified, Some(&output))
            );
            assert_eq!(output["bucket"], "told");
            assert_eq!(
                (&output["bytes"], &output["sha256"], &output["content_type"]),
                (
                    &json!(3),
                    &json!("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
                    &json!("text/html")
                ),
                "{}",
                store.name
            );
            let large = json!({ "key": "large" });
            let preview = bench.preview(&Object, large.clone()).await.expect("a preview");
            assert_eq!((preview.grade, preview.predicted), (Grade::Declared, None));
            assert_eq!(bench.run(&Object, large).await.output()["bytes"], json!(2 << 20));
            let error = bench.run(&Object, json!({ "key": "nothing" })).await.error();
            assert_eq!(error.kind(), StepErrorKind::NotFound, "{}", store.name);
        }
    }
}
