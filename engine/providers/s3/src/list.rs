//! `s3.list`: counts the objects under a prefix, and names the newest of them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use jm_client_s3::{Newest, ObjectSummary, S3, S3Reader};
use jm_step::{
    Effect, InputIssue, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError, StepType, Unit,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Counts objects, and names the newest.
pub(crate) struct List;

/// How often progress is told.
const TICK: Duration = Duration::from_millis(250);
/// So many objects have room in an output.
const MOST: usize = 1000;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// Only keys that start with this, relative to the target's prefix.
    #[serde(default)]
    prefix: String,
    /// So many are named, the newest first.
    #[serde(default = "twenty")]
    #[schemars(range(max = 1000))]
    newest: usize,
}

fn twenty() -> usize {
    20
}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Output {
    /// Where, such as `s3://bucket/prefix`.
    place: String,
    /// How many objects there are.
    objects: u64,
    /// The bytes of all of them.
    bytes: u64,
    /// The newest, newest first.
    newest: Vec<Listed>,
}

/// One object.
#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Listed {
    /// The key, relative to the target's prefix.
    key: String,
    /// Its size.
    bytes: u64,
    /// When it was written.
    #[schemars(with = "Option<String>")]
    last_modified: Option<Timestamp>,
    /// Such as `STANDARD_IA`.
    storage_class: Option<String>,
}

impl From<ObjectSummary> for Listed {
    fn from(object: ObjectSummary) -> Self {
        Self {
            key: object.key,
            bytes: object.bytes,
            last_modified: object.last_modified,
            storage_class: object.storage_class,
        }
    }
}

impl StepType for List {
    const NAME: &'static str = "s3.list";
    const SUMMARY: &'static str = "counts the objects under a prefix, and names the newest";
    const EFFECT: Effect = Effect::ReadOnly;
    const REPEAT: Repeat = Repeat::Safe;
    const TIMEOUT: Duration = Duration::from_hours(1);
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        if input.newest > MOST {
            let issue = InputIssue::at("/newest", format!("an output has room for {MOST} objects"));
            return Err(vec![issue.help("narrow it down by `prefix`")]);
        }
        Ok(())
    }

    fn roles(&self) -> Vec<Role> {
        vec![Role::of::<S3>("bucket")]
    }

    fn needs(&self, _: &Known) -> Vec<Need> {
        vec![Need::of("bucket", &["s3:ListBucket"])]
    }

    /// Counting may take minutes, so a preview only sees that it can be done.
    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let bucket = cx.read::<S3>().await?;
        bucket.list(&input.prefix).next().await.transpose()?;
        Ok(Preview::declared(format!(
            "counts the objects under `{}`",
            bucket.url(&input.prefix)
        )))
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let bucket = cx.read::<S3>().await?;
        let Newest { count, bytes, newest } = counted(cx, &bucket, &input).await?;
        Ok(Output {
            place: bucket.url(&input.prefix),
            objects: count,
            bytes,
            newest: newest.into_iter().map(Listed::from).collect(),
        })
    }

    /// It only looks, so nothing of it can have stayed.
    async fn probe(&self, _: &ReadContext, _: &Input) -> Result<Probe<Output>, StepError> {
        Ok(Probe::NotStarted)
    }
}

async fn counted(cx: &StepContext, bucket: &S3Reader, input: &Input) -> Result<Newest, StepError> {
    let so_far = AtomicU64::new(0);
    let counting = bucket.newest(&input.prefix, input.newest, |count| {
        so_far.store(count, Ordering::Relaxed);
    });
    let mut counting = std::pin::pin!(counting);
    loop {
        tokio::select! {
            counted = &mut counting => return counted,
            () = cx.cancelled() => return Err(StepError::cancelled("told to stop while listing objects")),
            () = tokio::time::sleep(TICK) => cx.progress(so_far.load(Ordering::Relaxed), None, Unit::Items).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use jm_client_s3::Put;
    use jm_step::{AnyStepType, Grade};
    use serde_json::json;

    use super::*;
    use crate::store::stores;

    #[tokio::test]
    async fn the_newest_come_first_and_all_are_counted() {
        for store in stores().await {
            let bucket = store.bucket("listed").await;
            for key in ["a/1", "a/2", "b/1"] {
                bucket.put_bytes(key, key, Put::default()).await.expect("written");
            }
            // Times have whole seconds on some stores.
            tokio::time::sleep(Duration::from_millis(1100)).await;
            bucket.put_bytes("a/1", "newer", Put::default()).await.expect("written");
            let bench = store.bench("listed");
            let input = json!({ "prefix": "a/", "newest": 1 });
            let preview = AnyStepType::preview(&List, &bench.read(), input.clone())
                .await
                .expect("a preview");
            assert_eq!(preview.grade, Grade::Declared);
            let (cx, listener) = bench.step();
            let output = AnyStepType::run(&List, &cx, input).await.expect("an output");
            drop(listener.told(cx).await);
            assert_eq!(
                (&output["objects"], &output["bytes"]),
                (&json!(2), &json!(8)),
                "{}",
                store.name
            );
            assert_eq!(output["newest"].as_array().expect("a list").len(), 1);
            assert_eq!(output["newest"][0]["key"], "a/1", "{}", store.name);
        }
        AnyStepType::check(&List, &json!({ "newest": 1001 })).expect_err("too many");
    }
}
