//! `s3.remove_old_assets`: deletes the assets of a site that no release of the last days names.

use std::time::Duration;

use jiff::Timestamp;
use jm_client_s3::{S3, S3Reader};
use jm_step::{
    ArtefactRef, Change, Effect, InputIssue, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext,
    StepError, StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

mod decide;
mod run;
mod survey;
use decide::Counts;
use run::Progress;
use survey::Survey;

use crate::release;
use crate::sync::Names;

/// Deletes what no release of the last days names, where the newest one is the one that is live.
pub(crate) struct RemoveOldAssets;

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// What a release names that was live in these last days stays. A page that is still open somewhere goes on finding
    /// its scripts for so long.
    #[schemars(range(min = 1))]
    days: u32,
    /// So many of the newest releases count in any case, however old they are: one of them may have failed half-way.
    #[serde(default = "at_least")]
    #[schemars(range(min = 1))]
    at_least: usize,
    /// Which keys are assets, such as `static/*`: `*` stands for any characters, also for `/`. Nothing else is deleted.
    #[schemars(length(min = 1))]
    include: Vec<String>,
    /// Keys that are none.
    #[serde(default)]
    exclude: Vec<String>,
    /// What becomes of assets that no release names and that are older than the first one that was written down: they
    /// may be of releases before it, or of something else.
    #[serde(default)]
    unrecorded: Unrecorded,
    /// No more than this; where it would be more, the step fails and nothing is deleted.
    #[serde(default = "at_most")]
    at_most: u64,
    /// Deletes also in a bucket that keeps no versions, where nothing brings back what is deleted.
    #[serde(default)]
    without_versions: bool,
    /// The folder of the manifests, relative to the target's prefix.
    #[serde(default = "release::folder")]
    releases: String,
}

/// What becomes of assets from before the first release that was written down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Unrecorded {
    /// They stay.
    #[default]
    Keep,
    /// They are deleted once the first release is older than the days.
    Remove,
}

fn at_least() -> usize {
    3
}

fn at_most() -> u64 {
    10_000
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Output {
    /// Where, such as `s3://bucket/prefix`.
    place: String,
    /// How many releases are written down.
    releases: u64,
    /// Of how many of them everything stays.
    kept_releases: u64,
    /// The time of the oldest of those.
    #[schemars(with = "String")]
    kept_since: Timestamp,
    #[serde(flatten)]
    counts: Counts,
    /// The first that were deleted.
    names: Vec<String>,
    /// Whether the bucket keeps versions, so that what was deleted can be brought back.
    versions_kept: bool,
    /// All that were to be deleted when it began, one JSON object a line.
    list: Option<ArtefactRef>,
}

impl StepType for RemoveOldAssets {
    const NAME: &'static str = "s3.remove_old_assets";
    const SUMMARY: &'static str = "deletes the assets of a site that no release of the last days names";
    const EFFECT: Effect = Effect::Irreversible;
    const REPEAT: Repeat = Repeat::Safe;
    const TIMEOUT: Duration = Duration::from_hours(4);
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        let mut issues: Vec<InputIssue> = release::folder_issue(&input.releases).into_iter().collect();
        if input.days == 0 {
            issues.push(InputIssue::at("/days", "at least one day has to be kept"));
        }
        if input.at_least == 0 {
            issues.push(InputIssue::at(
                "/at_least",
                "the newest release is live: at least one has to stay",
            ));
        }
        if input.include.is_empty() {
            issues.push(
                InputIssue::at("/include", "nothing is said to be an asset")
                    .help("name the keys whose names change with their content, such as `static/*`"),
            );
        }
        if issues.is_empty() { Ok(()) } else { Err(issues) }
    }

    fn roles(&self) -> Vec<Role> {
        vec![Role::of::<S3>("bucket")]
    }

    fn needs(&self, _: &Known) -> Vec<Need> {
        vec![Need::of(
            "bucket",
            &[
                "s3:ListBucket",
                "s3:GetObject",
                "s3:GetBucketVersioning",
                "s3:DeleteObject",
            ],
        )]
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let bucket = cx.read::<S3>().await?;
        let survey = Survey::take(&bucket, input, cx.now()).await?;
        let output = survey.output(&bucket, survey.counts.clone());
        let summary = survey.summary(&bucket, input);
        Ok(if survey.doomed.is_empty() {
            Preview::verified(summary).predict(output)
        } else {
            Preview::computed(summary, vec![output.change()]).predict(output)
        })
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let bucket = cx.connect::<S3>().await?;
        run::remove(cx, &bucket, &input).await
    }

    /// Which are left is seen by whoever looks again.
    async fn probe(&self, cx: &ReadContext, _: &Input) -> Result<Probe<Output>, StepError> {
        Ok(match cx.checkpoint::<Progress>()? {
            None => Probe::NotStarted,
            Some(progress) => Probe::partial(format!(
                "{} assets are deleted, and it may be more",
                progress.deleted.count
            )),
        })
    }
}

impl Input {
    fn names(&self) -> Names {
        Names {
            include: self.include.clone(),
            exclude: self.exclude.clone(),
        }
    }

    /// Whether a key is an asset: the manifests themselves never are.
    fn means(&self, names: &Names, key: &str) -> bool {
        !key.starts_with(&self.releases) && names.mean(key)
    }
}

impl Output {
    /// What is deleted, for previews and journals.
    fn change(&self) -> Change {
        let mut change = Change::delete(format!("old assets in `{}`", self.place));
        let counts = &self.counts;
        change.before = Some(json!({ "count": counts.removed, "bytes": counts.bytes, "names": self.names }));
        change
    }
}

/// Where all of it is.
fn place(bucket: &S3Reader) -> String {
    bucket.url("")
}

#[cfg(test)]
mod tests;
