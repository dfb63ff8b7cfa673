//! `s3.record_release`: writes down in the bucket what a release consists of.

use std::path::PathBuf;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use jm_client_s3::{Put, S3, S3Reader};
use jm_step::{
    Change, Effect, InputIssue, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError,
    StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::file;
use crate::release::{self, Asset, Manifest};
use crate::sync::{Directory, LeftOut, Names};

/// Writes down what a release consists of.
pub(crate) struct RecordRelease;

/// So many names stand in an error.
const SHOWN: usize = 5;
/// So many files are read at a time.
const AT_ONCE: usize = 8;

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// The directory that is published: what the build made.
    directory: PathBuf,
    /// What the keys of its files start with, relative to the target's prefix, as in the `s3.sync` that publishes it.
    #[serde(default)]
    prefix: String,
    /// Only names that match one of these, such as `*.html`: `*` stands for any characters, also for `/`.
    #[serde(default)]
    include: Vec<String>,
    /// No names that match one of these.
    #[serde(default)]
    exclude: Vec<String>,
    /// The commit that it was built from. Empty: not known.
    #[serde(default)]
    commit: String,
    /// The folder of the manifests, relative to the target's prefix.
    #[serde(default = "release::folder")]
    releases: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Output {
    /// The key of its manifest: the release's name for `s3.verify_release`.
    release: String,
    /// When it was written down.
    #[schemars(with = "String")]
    recorded_at: Timestamp,
    /// The commit that it was built from; null where that is not known.
    commit: Option<String>,
    /// How many objects it consists of.
    objects: u64,
    /// Their size.
    bytes: u64,
}

/// Saved before anything is written, so that another attempt writes to the same key.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Begun {
    key: String,
    recorded_at: Timestamp,
}

impl StepType for RecordRelease {
    const NAME: &'static str = "s3.record_release";
    const SUMMARY: &'static str = "writes down in the bucket which objects a release consists of";
    const EFFECT: Effect = Effect::Reversible;
    const REPEAT: Repeat = Repeat::Safe;
    const TIMEOUT: Duration = Duration::from_mins(30);
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        match release::folder_issue(&input.releases) {
            None => Ok(()),
            Some(issue) => Err(vec![issue]),
        }
    }

    fn roles(&self) -> Vec<Role> {
        vec![Role::of::<S3>("bucket")]
    }

    fn needs(&self, _: &Known) -> Vec<Need> {
        vec![Need::of("bucket", &["s3:ListBucket", "s3:GetObject", "s3:PutObject"])]
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let bucket = cx.read::<S3>().await?;
        let manifest = input.manifest(cx.now()).await?;
        let summary = format!(
            "a release of {} objects, {} bytes, is written down under `{}`",
            manifest.objects.len(),
            manifest.bytes(),
            bucket.url(&input.releases)
        );
        let change = input.change(&bucket, &manifest);
        Ok(Preview::computed(summary, vec![change]).foresee(facts(&manifest)))
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let bucket = cx.connect::<S3>().await?;
        let begun = input.begin(cx).await?;
        let manifest = tokio::select! {
            manifest = input.manifest(begun.recorded_at) => manifest?,
            () = cx.cancelled() => return Err(StepError::cancelled("told to stop while the release was read")),
        };
        let text = serde_json::to_vec(&manifest)
            .map_err(|error| StepError::failed("the manifest cannot be written as JSON").source(error))?;
        let sha256 = hex::encode(Sha256::digest(&text));
        let is_there = bucket
            .head(&begun.key, None)
            .await?
            .is_some_and(|info| info.metadata.get("sha256") == Some(&sha256));
        if !is_there {
            bucket.put_bytes(&begun.key, text, as_manifest(sha256)).await?;
        }
        cx.changed(input.change(bucket.reader(), &manifest)).await;
        Ok(Output {
            release: begun.key,
            recorded_at: begun.recorded_at,
            objects: manifest.objects.len() as u64,
            bytes: manifest.bytes(),
            commit: manifest.commit,
        })
    }

    /// Whether the manifest is there is seen, and mended, by whoever reads the files again.
    async fn probe(&self, cx: &ReadContext, _: &Input) -> Result<Probe<Output>, StepError> {
        Ok(match cx.checkpoint::<Begun>()? {
            None => Probe::NotStarted,
            Some(begun) => Probe::partial(format!("`{}` was about to be written", begun.key)),
        })
    }
}

/// Viewers have no business with it, and a cache that keeps it does harm.
fn as_manifest(sha256: String) -> Put {
    Put {
        content_type: Some("application/json".to_owned()),
        cache_control: Some("private, no-store".to_owned()),
        metadata: [("sha256".to_owned(), sha256)].into(),
        ..Put::default()
    }
}

impl Input {
    /// Which manifest this is; the same for every attempt.
    async fn begin(&self, cx: &StepContext) -> Result<Begun, StepError> {
        if let Some(begun) = cx.checkpoint::<Begun>()? {
            return Ok(begun);
        }
        let recorded_at = cx.now();
        // Two that are written down in one second have two names.
        let word = hex::encode(Sha256::digest(cx.idempotency_key()));
        let begun = Begun {
            key: release::key(&self.releases, recorded_at, &word[..12]),
            recorded_at,
        };
        cx.save_checkpoint(&begun).await?;
        Ok(begun)
    }

    async fn manifest(&self, recorded_at: Timestamp) -> Result<Manifest, StepError> {
        let directory = Directory {
            root: self.directory.clone(),
            names: Names {
                include: self.include.clone(),
                exclude: self.exclude.clone(),
            },
            follow_links: false,
            manifests: None,
        };
        let (files, left_out) = directory.list().await?;
        if !left_out.is_empty() {
            return Err(self.unpublishable(&left_out));
        }
        if files.is_empty() {
            return Err(StepError::failed(format!(
                "there is nothing in `{}`, which is no release",
                self.directory.display()
            ))
            .hint("see what the build made, and where; look at `include` and `exclude`"));
        }
        let objects = stream::iter(files)
            .map(|(name, found)| async move {
                let sums = file::sums_of(&found.path, None).await?;
                Ok::<_, StepError>(Asset {
                    key: format!("{}{name}", self.prefix),
                    bytes: sums.bytes(),
                    sha256: sums.sha256(),
                })
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let commit = Some(self.commit.trim().to_owned()).filter(|commit| !commit.is_empty());
        Ok(Manifest::new(recorded_at, commit, objects))
    }

    /// What no object can be, a page may name all the same.
    fn unpublishable(&self, left_out: &[LeftOut]) -> StepError {
        let named = left_out.iter().take(SHOWN);
        let named: Vec<String> = named.map(|left| format!("`{}` ({})", left.name, left.reason)).collect();
        let more = if left_out.len() > SHOWN { ", …" } else { "" };
        StepError::failed(format!(
            "{} names in `{}` cannot be published, which would leave holes in the site: {}{more}",
            left_out.len(),
            self.directory.display(),
            named.join(", ")
        ))
        .hint("let the build put plain files there, with names in UTF-8, or leave out what the site does not need")
    }

    fn change(&self, bucket: &S3Reader, manifest: &Manifest) -> Change {
        Change::create(format!("release in `{}`", bucket.url(&self.releases)), facts(manifest))
    }
}

/// What is known of a release before it is written down.
fn facts(manifest: &Manifest) -> Value {
    json!({ "commit": manifest.commit, "objects": manifest.objects.len(), "bytes": manifest.bytes() })
}
