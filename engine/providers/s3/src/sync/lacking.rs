//! `s3.lacking`: tells what a bucket has of which another one keeps no version.
//!
//! Where a bucket was brought back as of a moment, a copy of today cannot fill what is missing from it; but it tells which
//! keys those are of which nobody can say any more what they were.

use std::time::Duration;

use jm_client_s3::S3;
use jm_step::{Effect, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError, StepType};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::copy::{FROM, TO};
use super::decide::SHOWN;
use super::pattern::Names;
use super::side::{Objects, Side};

/// Tells what a bucket has of which another one keeps no version.
pub(crate) struct Lacking;

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// Only keys of the first bucket that start with this, relative to its target's prefix. Names are relative to it.
    #[serde(default)]
    from_prefix: String,
    /// What keys of the second bucket start with, relative to its target's prefix.
    #[serde(default)]
    to_prefix: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Output {
    /// How many names the first bucket has.
    looked_at: u64,
    /// Of how many of them the second one keeps no version, and no object.
    lacking: u64,
    /// The first of those.
    names: Vec<String>,
}

impl StepType for Lacking {
    const NAME: &'static str = "s3.lacking";
    const SUMMARY: &'static str = "tells what a bucket has of which another one keeps no version";
    const EFFECT: Effect = Effect::ReadOnly;
    const REPEAT: Repeat = Repeat::Safe;
    const TIMEOUT: Duration = Duration::from_hours(1);
    type Input = Input;
    type Output = Output;

    fn roles(&self) -> Vec<Role> {
        vec![Role::of::<S3>(FROM), Role::of::<S3>(TO)]
    }

    fn needs(&self, _: &Known) -> Vec<Need> {
        vec![
            Need::of(FROM, &["s3:ListBucket"]),
            Need::of(TO, &["s3:ListBucket", "s3:ListBucketVersions"]),
        ]
    }

    /// Listing may take minutes, so a preview only sees that both answer.
    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let (from, to) = (cx.read_as::<S3>(FROM).await?, cx.read_as::<S3>(TO).await?);
        tokio::try_join!(from.ping(), to.ping())?;
        Ok(Preview::declared(format!(
            "tells what `{}` has of which `{}` keeps no version",
            from.url(&input.from_prefix),
            to.url(&input.to_prefix)
        )))
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let (from, to) = (cx.read_as::<S3>(FROM).await?, cx.read_as::<S3>(TO).await?);
        let from = Objects::new(&from, &input.from_prefix, Names::default());
        let to = Objects::new(&to, &input.to_prefix, Names::default());
        tokio::select! {
            output = compared(from, &to) => output,
            () = cx.cancelled() => Err(StepError::cancelled("told to stop while two buckets were compared")),
        }
    }

    /// It only looks, so nothing of it can have stayed.
    async fn probe(&self, _: &ReadContext, _: &Input) -> Result<Probe<Output>, StepError> {
        Ok(Probe::NotStarted)
    }
}

async fn compared(from: Objects, to: &Objects) -> Result<Output, StepError> {
    let (all, _) = Side::Bucket(from).list_as_source(&Side::Bucket(to.clone())).await?;
    let kept = to.with_versions(all.keys().map(String::as_str).collect()).await?;
    let mut lacking = all.keys().filter(|name| !kept.contains(*name));
    let names: Vec<String> = lacking.by_ref().take(SHOWN).cloned().collect();
    Ok(Output {
        looked_at: all.len() as u64,
        lacking: (names.len() + lacking.count()) as u64,
        names,
    })
}
