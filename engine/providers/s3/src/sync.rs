//! `s3.sync`: makes a bucket as a directory is, or a directory as a bucket is.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jm_client_s3::{S3, S3Reader};
use jm_step::{
    Effect, InputIssue, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError, StepType,
};
use schemars::JsonSchema;
use serde::Deserialize;

mod across;
mod act;
mod compare;
mod decide;
mod directory;
mod download;
mod hash;
mod known;
mod notes;
mod pattern;
mod run;
mod side;
mod unsettled;
use act::Writable;
use decide::{Deletion, Existing};
use directory::Manifests;
pub(crate) use directory::{Directory, LeftOut};
use notes::Progress;
use pattern::{HeaderRule, issues as header_issues};
pub(crate) use pattern::{Names, headers};
pub(crate) use run::Output;
use run::Sync;
use side::{Objects, Side};

use crate::restore_versions::undeletes;

mod copy;
mod lacking;
pub(crate) use copy::Copy;
pub(crate) use lacking::Lacking;

/// Makes one side as the other is.
pub(crate) struct SyncStep;

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// The directory.
    directory: PathBuf,
    /// Which side becomes as the other is.
    #[serde(default)]
    to: To,
    /// Only keys that start with this, relative to the target's prefix, such as `static/`. Names are relative to it.
    #[serde(default)]
    prefix: String,
    /// Only names that match one of these, such as `*.html`: `*` stands for any characters, also for `/`.
    #[serde(default)]
    include: Vec<String>,
    /// No names that match one of these.
    #[serde(default)]
    exclude: Vec<String>,
    /// What becomes of what is there already with other content.
    #[serde(default)]
    existing: Existing,
    /// Deletes what the source does not have. Left out: nothing is deleted.
    #[serde(default)]
    delete: Option<Deletion>,
    /// Headers of objects by their names; the first rule that matches counts. An object with the right content and other
    /// headers is written anew.
    #[serde(default)]
    headers: Vec<HeaderRule>,
    /// Only files beside which a manifest lies that tells their SHA-256, and only if they have it; a manifest goes up
    /// after everything else. For directories in which finished files lie beside others.
    #[serde(default)]
    manifests: Option<Manifests>,
    /// Takes what symbolic links to files lead to; otherwise links are left out.
    #[serde(default)]
    follow_links: bool,
    /// At most so many requests at once; there are fewer where the store asks to slow down.
    #[serde(default = "most_at_once")]
    #[schemars(range(min = 1, max = 256))]
    concurrency: usize,
}

/// Which side becomes as the other is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum To {
    /// The bucket gets what the directory has.
    #[default]
    Bucket,
    /// The directory gets what the bucket has.
    Directory,
}

fn most_at_once() -> usize {
    64
}

/// What it needs of a bucket that gets what another side has. An upload that an earlier attempt left is gone on with or ended.
fn to_fill(role: &'static str, input: &Known) -> Vec<Need> {
    let mut needs = vec![Need::of(
        role,
        &[
            "s3:ListBucket",
            "s3:GetObject",
            "s3:PutObject",
            "s3:AbortMultipartUpload",
            "s3:ListBucketMultipartUploads",
            "s3:ListMultipartUploadParts",
        ],
    )];
    if input.get("delete").is_some_and(|delete| !delete.is_null()) {
        needs.push(Need::of(role, &["s3:DeleteObject"]));
    }
    needs
}

impl StepType for SyncStep {
    const NAME: &'static str = "s3.sync";
    const SUMMARY: &'static str = "makes a bucket as a directory is, or a directory as a bucket is";
    const EFFECT: Effect = Effect::Irreversible;
    const REPEAT: Repeat = Repeat::Safe;
    const TIMEOUT: Duration = Duration::from_hours(4);
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        let mut issues = header_issues(&input.headers);
        issues.extend(concurrency_issue(input.concurrency));
        if input.to == To::Directory {
            let for_uploads = [
                ("/headers", !input.headers.is_empty()),
                ("/manifests", input.manifests.is_some()),
                ("/follow_links", input.follow_links),
            ];
            for (field, _) in for_uploads.into_iter().filter(|(_, given)| *given) {
                issues.push(
                    InputIssue::at(field, "it is about files that go to a bucket")
                        .help("leave it out with `to: directory`"),
                );
            }
        }
        if input
            .manifests
            .as_ref()
            .is_some_and(|manifests| manifests.ending.is_empty())
        {
            issues.push(InputIssue::at(
                "/manifests/ending",
                "a manifest has another name than its file",
            ));
        }
        if issues.is_empty() { Ok(()) } else { Err(issues) }
    }

    fn roles(&self) -> Vec<Role> {
        vec![Role::of::<S3>("bucket")]
    }

    fn needs(&self, input: &Known) -> Vec<Need> {
        match input.text("to") {
            Some("directory") => vec![Need::of("bucket", &["s3:ListBucket", "s3:GetObject"])],
            _ => to_fill("bucket", input),
        }
    }

    fn effect(&self, input: &Known) -> Effect {
        effect(input)
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let bucket = cx.read::<S3>().await?;
        let versions_first = input.to == To::Bucket && undeletes(cx, &bucket, &input.prefix);
        input.sync(bucket.clone()).preview(cx, versions_first).await
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let connection = cx.connect::<S3>().await?;
        let sync = input.sync(connection.reader().clone());
        let bucket: Option<Arc<dyn Writable>> = Some(connection);
        sync.run(cx, bucket).await
    }

    async fn probe(&self, cx: &ReadContext, _: &Input) -> Result<Probe<Output>, StepError> {
        probe(cx)
    }
}

/// Only what overwrites or deletes cannot be taken back.
fn effect(input: &Known) -> Effect {
    let overwrites = !matches!(input.text("existing"), Some("keep" | "fail"));
    let deletes = input.get("delete").is_some_and(|delete| !delete.is_null());
    if overwrites || deletes {
        Effect::Irreversible
    } else {
        Effect::Reversible
    }
}

/// Each name that is there is whole; which ones are is seen by whoever compares both sides again.
fn probe(cx: &ReadContext) -> Result<Probe<Output>, StepError> {
    Ok(match cx.checkpoint::<Progress>()? {
        None => Probe::NotStarted,
        Some(_) => Probe::partial("it was begun; what is there already is not sent again"),
    })
}

fn concurrency_issue(concurrency: usize) -> Option<InputIssue> {
    let fits = (1..=256).contains(&concurrency);
    (!fits).then(|| InputIssue::at("/concurrency", "from 1 to 256 requests at once"))
}

impl Input {
    fn sync(&self, bucket: S3Reader) -> Sync {
        let names = Names {
            include: self.include.clone(),
            exclude: self.exclude.clone(),
        };
        let directory = Side::Directory(Directory {
            root: self.directory.clone(),
            names: names.clone(),
            // A link at the destination is a file like others: it is overwritten, and not what it leads to.
            follow_links: self.follow_links || self.to == To::Directory,
            manifests: self.manifests.clone(),
        });
        let objects = Side::Bucket(Objects {
            bucket,
            prefix: self.prefix.clone(),
            names,
        });
        let (from, to) = match self.to {
            To::Bucket => (directory, objects),
            To::Directory => (objects, directory),
        };
        Sync {
            from,
            to,
            rules: decide::Rules {
                existing: self.existing,
                delete: self.delete,
                headers: self.headers.clone(),
                manifests: self.manifests.clone(),
            },
            concurrency: self.concurrency,
        }
    }
}

#[cfg(test)]
mod tests;
