//! `s3.copy`: makes a bucket as another bucket is.
//!
//! A step type of its own beside `s3.sync`, for it has two buckets to be told apart, and a sync with a directory has one.

use std::sync::Arc;
use std::time::Duration;

use jm_client_s3::{S3, S3Reader};
use jm_step::{
    Effect, InputIssue, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError, StepType,
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::act::Writable;
use super::decide::{Deletion, Existing, Rules};
use super::pattern::Names;
use super::run::{Output, Sync};
use super::side::{Objects, Side};
use crate::restore_versions::undeletes;

use super::{concurrency_issue, effect, most_at_once, probe, to_fill};

/// Makes a bucket as another bucket is.
pub(crate) struct Copy;

/// The bucket that is read.
pub(super) const FROM: &str = "from";
/// The one that it is compared with, or that becomes like it.
pub(super) const TO: &str = "to";

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// Only keys of the first bucket that start with this, relative to its target's prefix. Names are relative to it.
    #[serde(default)]
    from_prefix: String,
    /// What keys of the second bucket start with, relative to its target's prefix.
    #[serde(default)]
    to_prefix: String,
    /// Only names that match one of these, such as `*.html`: `*` stands for any characters, also for `/`.
    #[serde(default)]
    include: Vec<String>,
    /// No names that match one of these.
    #[serde(default)]
    exclude: Vec<String>,
    /// What becomes of what is there already with other content.
    #[serde(default)]
    existing: Existing,
    /// Deletes what the first bucket does not have. Left out: nothing is deleted.
    #[serde(default)]
    delete: Option<Deletion>,
    /// At most so many requests at once; there are fewer where the store asks to slow down.
    #[serde(default = "most_at_once")]
    #[schemars(range(min = 1, max = 256))]
    concurrency: usize,
}

impl StepType for Copy {
    const NAME: &'static str = "s3.copy";
    const SUMMARY: &'static str = "makes a bucket as another bucket is, inside the store where it can";
    const EFFECT: Effect = Effect::Irreversible;
    const REPEAT: Repeat = Repeat::Safe;
    const TIMEOUT: Duration = Duration::from_hours(12);
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        match concurrency_issue(input.concurrency) {
            None => Ok(()),
            Some(issue) => Err(vec![issue]),
        }
    }

    fn roles(&self) -> Vec<Role> {
        vec![Role::of::<S3>(FROM), Role::of::<S3>(TO)]
    }

    /// Inside a store the one side's credentials may read the other side; where they may not, the content goes through jm.
    fn needs(&self, input: &Known) -> Vec<Need> {
        let mut needs = to_fill(TO, input);
        needs.push(Need::of(TO, &["s3:PutObjectTagging"]));
        needs.push(Need::of(
            FROM,
            &["s3:ListBucket", "s3:GetObject", "s3:GetObjectTagging"],
        ));
        needs
    }

    fn effect(&self, input: &Known) -> Effect {
        effect(input)
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let (from, to) = (cx.read_as::<S3>(FROM).await?, cx.read_as::<S3>(TO).await?);
        let versions_first = undeletes(cx, &to, &input.to_prefix);
        input.sync(from.clone(), to.clone())?.preview(cx, versions_first).await
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let from = cx.read_as::<S3>(FROM).await?;
        let to = cx.connect_as::<S3>(TO).await?;
        let sync = input.sync(from.clone(), to.reader().clone())?;
        let bucket: Option<Arc<dyn Writable>> = Some(to);
        sync.run(cx, bucket).await
    }

    async fn probe(&self, cx: &ReadContext, _: &Input) -> Result<Probe<Output>, StepError> {
        probe(cx)
    }
}

impl Input {
    fn sync(&self, from: S3Reader, to: S3Reader) -> Result<Sync, StepError> {
        if from.url(&self.from_prefix) == to.url(&self.to_prefix) && from.shares_store_with(&to) {
            return Err(StepError::invalid_input(format!(
                "`{}` cannot be copied to itself",
                from.url(&self.from_prefix)
            ))
            .hint("name two targets: `targets: { from: …, to: … }`"));
        }
        let names = Names {
            include: self.include.clone(),
            exclude: self.exclude.clone(),
        };
        Ok(Sync {
            from: Side::Bucket(Objects::new(&from, &self.from_prefix, names.clone())),
            to: Side::Bucket(Objects::new(&to, &self.to_prefix, names)),
            rules: Rules {
                existing: self.existing,
                delete: self.delete,
                headers: Vec::new(),
                manifests: None,
            },
            concurrency: self.concurrency,
        })
    }
}
