//! `s3.verify_release`: proves that a release is in the bucket as it was written down.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use jiff::Timestamp;
use jm_client_s3::{S3, S3Reader};
use jm_step::{
    Effect, InputIssue, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError, StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::file;
use crate::release::{self, Asset, Release};
use crate::sync::Names;
use crate::whole::{self, Differences};

/// Proves that a release is in the bucket as it was written down.
pub(crate) struct VerifyRelease;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// Which one: the key of its manifest, with or without folder and ending, or `latest`.
    #[serde(default = "latest")]
    release: String,
    /// Only keys that match one of these, such as `static/*`: `*` stands for any characters, also for `/`. Of an older
    /// release, pages have other content by now.
    #[serde(default)]
    include: Vec<String>,
    /// No keys that match one of these.
    #[serde(default)]
    exclude: Vec<String>,
    /// So many objects are read and their SHA-256 compared, others for each run; `0` for all of them. That each is there
    /// and has its size is always seen.
    #[serde(default)]
    sample: u64,
    /// The folder of the manifests, relative to the target's prefix.
    #[serde(default = "release::folder")]
    releases: String,
}

fn latest() -> String {
    "latest".to_owned()
}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Output {
    /// The key of its manifest.
    release: String,
    /// When it was written down.
    #[schemars(with = "String")]
    recorded_at: Timestamp,
    /// The commit that it was built from; null where that is not known.
    commit: Option<String>,
    /// How many of its objects are there with their size.
    objects: u64,
    /// How many of them were read and have the content that was written down.
    read: u64,
    /// The bytes that were read.
    bytes: u64,
}

impl StepType for VerifyRelease {
    const NAME: &'static str = "s3.verify_release";
    const SUMMARY: &'static str = "proves by checksum that a release is in the bucket as it was written down";
    const EFFECT: Effect = Effect::ReadOnly;
    const REPEAT: Repeat = Repeat::Safe;
    const TIMEOUT: Duration = Duration::from_hours(1);
    const GATE: bool = true;
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        let mut issues: Vec<InputIssue> = release::folder_issue(&input.releases).into_iter().collect();
        if input.release.trim().is_empty() {
            issues.push(
                InputIssue::at("/release", "no release is named").help("write `latest`, or the key of a manifest"),
            );
        }
        if issues.is_empty() { Ok(()) } else { Err(issues) }
    }

    fn roles(&self) -> Vec<Role> {
        vec![Role::of::<S3>("bucket")]
    }

    fn needs(&self, _: &Known) -> Vec<Need> {
        vec![Need::of("bucket", &["s3:ListBucket", "s3:GetObject"])]
    }

    /// Reading may take an hour, so a preview sees what a listing tells.
    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let bucket = cx.read::<S3>().await?;
        let (release, assets) = input.find(&bucket).await?;
        are_listed(&bucket, &release, &assets).await?;
        let read = input.chosen(&assets, cx.idempotency_key()).len();
        Ok(Preview::declared(format!(
            "all {} objects of `{}` are there with their sizes; reads {read} of them",
            assets.len(),
            bucket.url(&release.key)
        ))
        .foresee(json!({
            "release": release.key, "recorded_at": release.manifest.recorded_at, "commit": release.manifest.commit,
            "objects": assets.len(), "read": read,
        })))
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let bucket = cx.read::<S3>().await?;
        let looked_at = async {
            let (release, assets) = input.find(&bucket).await?;
            are_listed(&bucket, &release, &assets).await?;
            Ok::<_, StepError>((release, assets))
        };
        let (release, assets) = tokio::select! {
            found = looked_at => found?,
            () = cx.cancelled() => return Err(StepError::cancelled("told to stop while the release was looked for")),
        };
        let chosen = input.chosen(&assets, cx.idempotency_key());
        let bytes = chosen.iter().map(|asset| asset.bytes).sum();
        let done = AtomicU64::new(0);
        let found = file::with_progress(cx, &done, bytes, whole::by_content(&bucket, &chosen, &done)).await?;
        if !found.is_none() {
            return Err(not_whole(&bucket, &release, &found));
        }
        Ok(Output {
            release: release.key,
            recorded_at: release.manifest.recorded_at,
            commit: release.manifest.commit,
            objects: assets.len() as u64,
            read: chosen.len() as u64,
            bytes,
        })
    }

    /// It only looks, so nothing of it can have stayed.
    async fn probe(&self, _: &ReadContext, _: &Input) -> Result<Probe<Output>, StepError> {
        Ok(Probe::NotStarted)
    }
}

impl Input {
    /// The release, and those of its objects that are meant.
    async fn find(&self, bucket: &S3Reader) -> Result<(Release, Vec<Asset>), StepError> {
        let mut release = release::find(bucket, &self.releases, self.release.trim()).await?;
        let names = Names {
            include: self.include.clone(),
            exclude: self.exclude.clone(),
        };
        let mut assets = std::mem::take(&mut release.manifest.objects);
        assets.retain(|asset| names.mean(&asset.key));
        if assets.is_empty() {
            return Err(StepError::failed(format!(
                "`{}` names nothing that is to be verified",
                bucket.url(&release.key)
            ))
            .hint("look at `include` and `exclude`"));
        }
        Ok((release, assets))
    }

    /// Those that are read: the first in an order that is another one for each run.
    fn chosen<'a>(&self, assets: &'a [Asset], word: &str) -> Vec<&'a Asset> {
        let mut chosen: Vec<&Asset> = assets.iter().collect();
        let most = usize::try_from(self.sample).unwrap_or(usize::MAX);
        if most > 0 && most < chosen.len() {
            chosen.sort_by_cached_key(|asset| Sha256::digest(format!("{word} {}", asset.key)));
            chosen.truncate(most);
        }
        chosen
    }
}

/// Whether all are there with their sizes, by a listing.
async fn are_listed(bucket: &S3Reader, release: &Release, assets: &[Asset]) -> Result<(), StepError> {
    let found = whole::by_listing(bucket, assets).await?;
    if found.is_none() {
        Ok(())
    } else {
        Err(not_whole(bucket, release, &found))
    }
}

fn not_whole(bucket: &S3Reader, release: &Release, found: &Differences) -> StepError {
    StepError::failed(format!(
        "the release `{}` is not whole: of its objects, {found}",
        bucket.url(&release.key)
    ))
    .hint(
        "publish it again (`plans/cdn-recovery.yaml` with its commit), or bring versions back (`s3.restore_versions`)",
    )
    .evidence(found.evidence())
}

#[cfg(test)]
mod tests;
