//! `s3.restore_versions`: brings a prefix back to how it was at a time, or undeletes what is in it.
//!
//! A moment is restored by the times that the store lists. Those of S3 are when a version was written, in whole seconds
//! (of an upload in parts: when it was begun). Versitygw dates an old version by when it was overwritten, and the client
//! goes by its ids, which are ULIDs; what was overwritten under the id `null` there, and a marker of that id, has no time at all, and a
//! key whose moment hangs on it is refused.
//!
//! A copy takes content, type, headers, metadata, tags and storage class along, and its redirect where the bucket is a
//! website, which costs a look at each version. Where ACLs count, the rights that a version gives to others are given again;
//! where they cannot be, the step ends degraded. Each copy is compared with its version by ETag or checksum.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use jm_client_s3::{ArchiveTier, S3, S3Reader, VersioningStatus};
use jm_step::{
    ArtefactRef, Change, Effect, InputIssue, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext,
    StepError, StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

mod act;
mod choose;
mod foresee;
mod progress;
mod run;
mod verify;
mod walk;
use crate::PATIENCE;
use choose::Wish;
use foresee::Foreseen;
use progress::{Counts, Failure, Progress};
use walk::Rules;

/// Brings back what was deleted or overwritten.
pub(crate) struct RestoreVersions;

/// So many keys stand as examples in what is told.
const EXAMPLES: usize = 5;
/// How far the clocks of this machine and of the store may be apart.
const SKEW: SignedDuration = SignedDuration::from_mins(15);

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// Only keys that start with this, relative to the target's prefix.
    #[serde(default)]
    prefix: String,
    /// The moment, such as `2026-11-25T08:00:00Z`: every key becomes what it was then, and what was deleted then stays
    /// deleted. Without it, or where it is empty, what is deleted now is undeleted, and what was overwritten stays.
    #[serde(default)]
    as_of: Option<String>,
    /// What becomes of keys that did not exist at that moment, or were deleted.
    #[serde(default)]
    created_since: CreatedSince,
    /// What becomes of versions that lie in an archive.
    #[serde(default)]
    archived: Archived,
    /// So many versions are asked for at a time, and about so many keys changed between two saved points: fewer for a
    /// store that is slow to list.
    #[serde(default = "page")]
    #[schemars(range(min = 1, max = 1000))]
    page: u16,
    /// At most so many requests at once; there are fewer where the store asks to slow down.
    #[serde(default = "most_at_once")]
    #[schemars(range(min = 1, max = 1000))]
    concurrency: usize,
}

/// What becomes of keys that did not exist at the moment that is restored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum CreatedSince {
    /// They stay.
    #[default]
    Keep,
    /// They are marked as deleted; their versions stay.
    Hide,
}

/// What becomes of wanted versions that lie in an archive (`GLACIER`, `DEEP_ARCHIVE`, or sunk by themselves in
/// `INTELLIGENT_TIERING`): those that have to be copied, and those that come back as their markers go.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Archived {
    /// Asks for them, which the store charges for, and waits until they are there. Otherwise what was overwritten stays so, and
    /// what was deleted comes back and cannot be read.
    ask: bool,
    /// How soon, and at what price.
    tier: ArchiveTier,
    /// For how many days the store keeps them at hand.
    days: u16,
}

impl Default for Archived {
    fn default() -> Self {
        Self {
            ask: true,
            tier: ArchiveTier::Standard,
            days: 7,
        }
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Output {
    /// Where, such as `s3://bucket/prefix`.
    place: String,
    /// The moment that was restored; null where it was an undelete.
    #[schemars(with = "Option<String>")]
    as_of: Option<Timestamp>,
    #[serde(flatten)]
    counts: Counts,
    /// Of how many of the keys that were copied back the copy has the content of its version, by an ETag or a checksum.
    #[serde(default)]
    verified: u64,
    /// The first of the keys that could not be brought back.
    failures: Vec<Failure>,
    /// All of them that are known, one JSON object a line; null where those are the ones of `failures`.
    all_failures: Option<ArtefactRef>,
    /// Where it failed: when its first attempt began. Whoever tries again in the same run leaves alone what others wrote later.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    began: Option<Timestamp>,
}

impl Output {
    /// Whether it tells of the same restore.
    fn is_of(&self, input: &Input, bucket: &S3Reader) -> bool {
        (&self.place, self.as_of) == (&bucket.url(&input.prefix), input.moment())
    }
}

impl StepType for RestoreVersions {
    const NAME: &'static str = "s3.restore_versions";
    const SUMMARY: &'static str = "brings a prefix back to how it was at a time, or undeletes what is in it";
    // Markers are removed and versions added; no content is ever deleted.
    const EFFECT: Effect = Effect::Reversible;
    const REPEAT: Repeat = Repeat::Safe;
    // Out of the deepest archive, the cheapest way takes two days.
    const TIMEOUT: Duration = Duration::from_hours(72);
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        let mut issues = Vec::new();
        if let Err(issue) = input.wish() {
            issues.push(issue);
        }
        if !(1..=1000).contains(&input.page) {
            issues.push(InputIssue::at("/page", "a page holds from 1 to 1000 versions"));
        }
        if input.concurrency == 0 {
            issues.push(InputIssue::at("/concurrency", "at least one request has to be allowed"));
        }
        if input.created_since == CreatedSince::Hide && matches!(input.wish(), Ok(Wish::Undelete)) {
            issues.push(
                InputIssue::at(
                    "/created_since",
                    "without `as_of` there is no moment to have been created since",
                )
                .help("give `as_of`, or leave `created_since` out"),
            );
        }
        if issues.is_empty() { Ok(()) } else { Err(issues) }
    }

    fn roles(&self) -> Vec<Role> {
        vec![Role::of::<S3>("bucket")]
    }

    /// What was deleted comes back as its marker goes; what was overwritten, by a copy, and so do keys whose markers need a
    /// second factor.
    fn needs(&self, input: &Known) -> Vec<Need> {
        let mut needs = vec![Need::of(
            "bucket",
            &[
                "s3:ListBucket",
                "s3:ListBucketVersions",
                "s3:GetBucketVersioning",
                "s3:GetBucketOwnershipControls",
                "s3:DeleteObjectVersion",
                "s3:GetObject",
                "s3:GetObjectVersion",
                "s3:GetObjectVersionAcl",
                "s3:GetObjectVersionTagging",
                "s3:PutObject",
                "s3:PutObjectTagging",
                "s3:PutObjectVersionAcl",
                "s3:AbortMultipartUpload",
                "s3:RestoreObject",
            ],
        )];
        if input.text("created_since") == Some("hide") {
            needs.push(Need::of("bucket", &["s3:DeleteObject"]));
        }
        needs
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let bucket = cx.read::<S3>().await?;
        let rules = input.rules(cx, &bucket).await?;
        Foreseen::look(cx, &bucket, input, rules, PATIENCE)
            .await?
            .preview(&bucket, input)
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let bucket = cx.connect::<S3>().await?;
        let rules = input.rules(cx, bucket.reader()).await?;
        let done = run::restore(cx, &bucket, &input, rules).await?;
        for change in input.changes(bucket.reader(), &done.progress.counts) {
            cx.changed(change).await;
        }
        let Some(error) = done.error else {
            let Progress { counts, failures, .. } = done.progress;
            return Ok(input.output(bucket.reader(), counts, failures.first));
        };
        let anew = done.progress.anew();
        let mut output = input.failed(bucket.reader(), done.progress);
        output.all_failures = done.all_failures;
        cx.save_output(&output).await?;
        cx.save_checkpoint(anew).await?;
        Err(error)
    }

    async fn probe(&self, cx: &ReadContext, _: &Input) -> Result<Probe<Output>, StepError> {
        Ok(match cx.checkpoint::<Progress>()? {
            None => Probe::NotStarted,
            Some(progress) => Probe::partial(match progress.after {
                Some(key) => format!("{} keys are done, up to `{key}`", progress.counts.keys),
                None => "the first keys are under way".to_owned(),
            }),
        })
    }
}

fn page() -> u16 {
    1000
}

fn most_at_once() -> usize {
    128
}

impl Input {
    fn wish(&self) -> Result<Wish, InputIssue> {
        match self.as_of.as_deref().map(str::trim) {
            None | Some("") => Ok(Wish::Undelete),
            Some(text) => text.parse().map(Wish::AsOf).map_err(|_| {
                InputIssue::at("/as_of", format!("`{text}` is not a moment"))
                    .help("write it like `2026-11-25T08:00:00Z`")
            }),
        }
    }

    /// What is to be done, as the bucket is. One that never kept versions has nothing to bring back.
    async fn rules(&self, cx: &ReadContext, bucket: &S3Reader) -> Result<Rules, StepError> {
        let wish = self
            .wish()
            .map_err(|issue| StepError::invalid_input(issue.message.clone()))?;
        is_past(wish, cx.now())?;
        let versioning = bucket.versioning().await?;
        let status = versioning.status;
        // In a dry run, a step before this one may let the bucket keep versions again.
        let announced = cx.announced(&format!("versioning of bucket `{}`", bucket.bucket()));
        let keeps = status == VersioningStatus::Enabled || announced == Some(&json!(VersioningStatus::Enabled));
        if matches!(status, VersioningStatus::Never | VersioningStatus::Unsupported) {
            return Err(StepError::not_found(format!(
                "`{}` never kept versions: there is nothing to bring back from it",
                bucket.url("")
            ))
            .hint("take what is missing from another copy, and let the bucket keep versions from now on"));
        }
        Ok(Rules {
            wish,
            hide: self.created_since == CreatedSince::Hide,
            nulls_are_lost: !keeps,
            markers_stay: versioning.mfa_delete,
            by_kms: bucket.may_encrypt_by_kms().await?,
            ask_archive: self.archived.ask,
            only_archived: false,
            since: None,
            page: self.page,
        })
    }

    fn output(&self, bucket: &S3Reader, counts: Counts, failures: Vec<Failure>) -> Output {
        Output {
            place: bucket.url(&self.prefix),
            as_of: self.moment(),
            verified: counts.verified(),
            counts,
            failures,
            all_failures: None,
            began: None,
        }
    }

    fn moment(&self) -> Option<Timestamp> {
        match self.wish() {
            Ok(Wish::AsOf(at)) => Some(at),
            _ => None,
        }
    }

    /// The output of an attempt that failed.
    fn failed(&self, bucket: &S3Reader, progress: Progress) -> Output {
        let began = Some(progress.since());
        Output {
            began,
            ..self.output(bucket, progress.counts, progress.failures.first)
        }
    }

    /// What is told where no version is as old as the moment: then every key counts as new.
    fn too_early(&self, counts: &Counts) -> Option<String> {
        let (at, oldest) = self.moment().zip(counts.oldest)?;
        (oldest > at).then(|| {
            format!(
                "nothing was there at {at}: the oldest of the versions that are left is of {oldest}; see whether the moment \
                 and its time zone are the ones that are meant (`Z` is UTC)"
            )
        })
    }

    fn changes(&self, bucket: &S3Reader, counts: &Counts) -> Vec<Change> {
        let asked_for = if self.archived.ask { counts.in_archive().0 } else { 0 };
        let kinds = [
            ("deleted", counts.undeleted, "there again"),
            ("overwritten", counts.copied_back, "as before"),
            ("new", counts.hidden, "marked as deleted"),
            ("archived", asked_for, "asked for"),
        ];
        kinds
            .into_iter()
            .filter(|(_, keys, _)| *keys > 0)
            .map(|(kind, keys, after)| {
                let object = objects(kind, bucket, &self.prefix);
                Change::update(object, json!({ "keys": keys }), json!({ "keys": keys, "state": after }))
            })
            .collect()
    }
}

/// A moment that is yet to come is none that anything can be brought back to: every key would count as it was.
fn is_past(wish: Wish, now: Timestamp) -> Result<(), StepError> {
    match wish {
        Wish::AsOf(at) if at > now + SKEW => Err(StepError::invalid_input(format!(
            "`as_of` is {at}, which is yet to come: it is {now}"
        ))
        .hint("write the moment with its time zone, such as `2026-11-25T08:00:00+02:00`; `Z` is UTC")),
        _ => Ok(()),
    }
}

/// What is changed under a prefix, as steps after this one ask for it in a dry run.
fn objects(kind: &str, bucket: &S3Reader, prefix: &str) -> String {
    format!("{kind} objects under `{}`", bucket.url(prefix))
}

/// Whether a step before this one brings back what was deleted under a prefix.
pub(crate) fn undeletes(cx: &ReadContext, bucket: &S3Reader, prefix: &str) -> bool {
    cx.announced(&objects("deleted", bucket, prefix)).is_some()
}

/// The examples among so many keys.
fn some(count: u64, examples: &[String]) -> String {
    let shown: Vec<String> = examples.iter().map(|key| format!("`{key}`")).collect();
    let more = if count > examples.len() as u64 { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests;
