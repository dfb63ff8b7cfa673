//! `s3.get`: brings an object to a file.

#![expect(clippy::disallowed_methods, reason = "what is got is written to a file")]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use jm_client_s3::{Checksum, Get, ObjectInfo, S3, S3Reader};
use jm_step::{
    Change, Effect, InputIssue, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError,
    StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::file::{self, Sums, partial};
use crate::receive::receive;

/// Brings an object to a file.
pub(crate) struct Download;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// The object's key, relative to the target's prefix.
    key: String,
    /// Which version of it; the newest where not given.
    #[serde(default)]
    version_id: Option<String>,
    /// From which byte on; from the first where not given.
    #[serde(default)]
    offset: u64,
    /// So many bytes at most; all to the end where not given.
    #[serde(default)]
    #[schemars(range(min = 1))]
    length: Option<u64>,
    /// Where it goes. It appears there whole or not at all; until then it grows beside it, as `FILE.jm-partial`.
    file: PathBuf,
    /// The SHA-256 that the content of the file has to have, in hex.
    #[serde(default)]
    #[schemars(regex(pattern = r"^[0-9a-fA-F]{64}$"))]
    sha256: Option<String>,
    /// Overwrites a file with other content.
    #[serde(default)]
    force: bool,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Output {
    /// Where it is now.
    #[schemars(extend("x-jm-on-this-machine" = true))]
    file: PathBuf,
    /// Which version it is, where the bucket keeps versions.
    version_id: Option<String>,
    /// The file's size.
    bytes: u64,
    /// The file's SHA-256 in lower-case hex.
    sha256: String,
    /// What proves that it is what was once written.
    verified_by: VerifiedBy,
}

/// What proves that a file is what was once written, the strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum VerifiedBy {
    /// The SHA-256 that the plan gave or the writer wrote beside the object.
    Sha256,
    /// The checksum that the store keeps over the whole object, or its ETag where that is an MD5.
    StoreChecksum,
    /// Its size alone: nobody wrote a checksum, or it is a part of an object.
    Size,
}

/// Saved before the first byte: `FILE.jm-partial` belongs to this content.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Begun {
    etag: Option<String>,
    version_id: Option<String>,
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    length: Option<u64>,
}

impl StepType for Download {
    const NAME: &'static str = "s3.get";
    const SUMMARY: &'static str = "brings an object to a file";
    const EFFECT: Effect = Effect::Irreversible;
    const REPEAT: Repeat = Repeat::Safe;
    const TIMEOUT: Duration = Duration::from_hours(1);
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        let issues = issues(input);
        if issues.is_empty() { Ok(()) } else { Err(issues) }
    }

    fn roles(&self) -> Vec<Role> {
        vec![Role::of::<S3>("bucket")]
    }

    /// Where the bucket keeps versions, the one that was found is read, and no other.
    fn needs(&self, _: &Known) -> Vec<Need> {
        let rights = &["s3:ListBucket", "s3:GetObject", "s3:GetObjectVersion"];
        vec![Need::of("bucket", rights)]
    }

    /// Only what overwrites cannot be taken back.
    fn effect(&self, input: &Known) -> Effect {
        match input.get("force").and_then(serde_json::Value::as_bool) {
            Some(true) => Effect::Irreversible,
            _ => Effect::Reversible,
        }
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let bucket = cx.read::<S3>().await?;
        let info = find(&bucket, input).await?;
        match here(&bucket, input, &info).await? {
            Here::Same(output) => {
                Ok(Preview::verified(format!("`{}` is there already", input.file.display())).predict(output))
            }
            here => {
                let summary = format!(
                    "brings {} bytes of `{}` to `{}`",
                    input.size(&info),
                    bucket.url(&input.key),
                    input.file.display()
                );
                Ok(Preview::computed(summary, vec![here.change(&bucket, input, &info)?]))
            }
        }
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let bucket = cx.read::<S3>().await?;
        let info = find(&bucket, &input).await?;
        let here = here(&bucket, &input, &info).await?;
        if let Here::Same(output) = here {
            return Ok(output);
        }
        let change = here.change(&bucket, &input, &info)?;
        let (sums, verified_by) = match brought(cx, &bucket, &input, &info).await? {
            Ok(brought) => brought,
            Err(error) => {
                cx.log(format!("{error}: it is fetched once more")).await;
                brought(cx, &bucket, &input, &info).await??
            }
        };
        file::put_in_place(&partial(&input.file), &input.file, input.force).await?;
        cx.changed(change).await;
        Ok(output(&input, &info, &sums, verified_by))
    }

    async fn probe(&self, cx: &ReadContext, input: &Input) -> Result<Probe<Output>, StepError> {
        let bucket = cx.read::<S3>().await?;
        let info = find(&bucket, input).await?;
        Ok(match here(&bucket, input, &info).await? {
            Here::Same(output) => Probe::Succeeded(output),
            _ if partial(&input.file).exists() => {
                Probe::partial(format!("`{}` is not finished", partial(&input.file).display()))
            }
            _ => Probe::NotStarted,
        })
    }
}

impl Input {
    /// Only a part of the object is wanted.
    fn is_part(&self) -> bool {
        self.offset > 0 || self.length.is_some()
    }

    /// How many bytes the file has in the end.
    fn size(&self, info: &ObjectInfo) -> u64 {
        let rest = info.bytes.saturating_sub(self.offset);
        self.length.map_or(rest, |length| rest.min(length))
    }

    /// What the content is compared with beside the SHA-256 that the plan gives, which stands above an ETag.
    fn checksum(&self, info: &ObjectInfo) -> Option<Checksum> {
        let sum = if self.sha256.is_some() {
            info.checksum.clone()
        } else {
            info.sum()
        };
        sum.filter(|_| !self.is_part())
    }

    /// What of the object is still to come after so many bytes.
    fn rest(&self, info: &ObjectInfo, have: u64) -> Get {
        Get {
            // The store does not name the version that a bucket had before it kept any; who asks for that one does.
            version_id: self.version_id.clone().or_else(|| info.version_id.clone()),
            offset: self.offset + have,
            length: self.length.map(|_| self.size(info) - have),
            etag: info.etag.clone(),
            // The sums are compared with it, which are over what an earlier attempt brought, too.
            unchecked: true,
        }
    }
}

/// What is at the file's place.
enum Here {
    Nothing,
    Same(Output),
    Other { bytes: u64 },
}

impl Here {
    /// What is done about it.
    fn change(&self, bucket: &S3Reader, input: &Input, info: &ObjectInfo) -> Result<Change, StepError> {
        let object = format!("file `{}`", input.file.display());
        let after = json!({ "bytes": input.size(info), "from": bucket.url(&input.key) });
        match self {
            Self::Other { bytes } if input.force => Ok(Change::update(object, json!({ "bytes": bytes }), after)),
            Self::Other { .. } => Err(file::is_there(&input.file)),
            _ => Ok(Change::create(object, after)),
        }
    }
}

fn issues(input: &Input) -> Vec<InputIssue> {
    let mut issues = Vec::new();
    if input.key.is_empty() {
        issues.push(InputIssue::at("/key", "a key is missing"));
    }
    if input.file.file_name().is_none() {
        let issue = InputIssue::at("/file", format!("`{}` is not the name of a file", input.file.display()));
        issues.push(issue.help("name the file itself, not the folder that it goes into"));
    }
    if input.length == Some(0) {
        issues.push(InputIssue::at("/length", "at least one byte has to be wanted"));
    }
    if input
        .sha256
        .as_ref()
        .is_some_and(|sha256| sha256.len() != 64 || hex::decode(sha256).is_err())
    {
        issues.push(InputIssue::at("/sha256", "a SHA-256 has 64 hexadecimal digits"));
    }
    issues
}

async fn find(bucket: &S3Reader, input: &Input) -> Result<ObjectInfo, StepError> {
    let info = bucket.head(&input.key, input.version_id.as_deref()).await?;
    let info = info.ok_or_else(|| {
        StepError::not_found(format!("`{}` is not there", bucket.url(&input.key)))
            .hint("list what is there, and correct `key` or `version_id`")
    })?;
    if input.offset > 0 && input.offset >= info.bytes {
        return Err(StepError::not_found(format!(
            "`{}` ends before byte {}: it has {} bytes",
            bucket.url(&input.key),
            input.offset,
            info.bytes
        ))
        .hint("correct `offset`, or name another version"));
    }
    if info.archived {
        return Err(StepError::failed(format!(
            "`{}` is in an archive class and cannot be read directly",
            bucket.url(&input.key)
        ))
        .hint("ask for it with `aws s3api restore-object`, wait until it is there, then try again"));
    }
    Ok(info)
}

async fn here(bucket: &S3Reader, input: &Input, info: &ObjectInfo) -> Result<Here, StepError> {
    let bytes = match tokio::fs::metadata(&input.file).await {
        Ok(meta) if meta.is_dir() => {
            return Err(
                StepError::invalid_input(format!("`{}` is a folder", input.file.display()))
                    .hint("name the file itself, not the folder that it goes into"),
            );
        }
        Ok(meta) => meta.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Here::Nothing),
        Err(error) => return Err(file::failed("look at", &input.file, error)),
    };
    if bytes != input.size(info) {
        return Ok(Here::Other { bytes });
    }
    let sums = file::sums_of(&input.file, input.checksum(info).as_ref()).await?;
    let verdict = verdict(input, info, &sums);
    // Nothing speaks for a part of an object, or where the store keeps no checksum, but the content itself.
    if matches!(verdict, Ok(VerifiedBy::Size)) {
        let theirs = file::sums_of_object(bucket.get(&input.key, input.rest(info, 0)).await?).await?;
        return Ok(if theirs.sha256() == sums.sha256() {
            Here::Same(output(input, info, &sums, VerifiedBy::Size))
        } else {
            Here::Other { bytes }
        });
    }
    Ok(match verdict {
        Err(_) => Here::Other { bytes },
        Ok(verified_by) => Here::Same(output(input, info, &sums, verified_by)),
    })
}

/// Fetches it, and says what proves it. An error inside is that of what came: it was damaged on its way or in the store.
async fn brought(
    cx: &StepContext,
    bucket: &S3Reader,
    input: &Input,
    info: &ObjectInfo,
) -> Result<Result<(Sums, VerifiedBy), StepError>, StepError> {
    let sums = fetch(cx, bucket, input, info).await?;
    let proven = proven(bucket, input, info, &sums);
    if proven.is_err() {
        // What is wrong must not be gone on with.
        drop(tokio::fs::remove_file(&partial(&input.file)).await);
    }
    Ok(proven.map(|verified_by| (sums, verified_by)))
}

/// Brings what is missing to `FILE.jm-partial`.
async fn fetch(cx: &StepContext, bucket: &S3Reader, input: &Input, info: &ObjectInfo) -> Result<Sums, StepError> {
    let begun = Begun {
        etag: info.etag.clone(),
        version_id: info.version_id.clone(),
        offset: input.offset,
        length: input.length,
    };
    let goes_on = begun.etag.is_some() && cx.checkpoint::<Begun>()?.as_ref() == Some(&begun);
    let path = partial(&input.file);
    let mut sums = if goes_on && path.exists() {
        file::sums_of(&path, input.checksum(info).as_ref()).await?
    } else {
        Sums::new(input.checksum(info).as_ref())
    };
    let size = input.size(info);
    if sums.bytes() > size {
        sums = Sums::new(input.checksum(info).as_ref());
    }
    cx.save_checkpoint(&begun).await?;
    let file = file::open_after(&path, sums.bytes()).map_err(|error| file::failed("write", &path, error))?;
    let written = file.try_clone().map_err(|error| file::failed("write", &path, error))?;
    let done = Arc::new(AtomicU64::new(sums.bytes()));
    if sums.bytes() < size {
        let stream = bucket.get(&input.key, input.rest(info, sums.bytes())).await?;
        let receiving = receive(stream, file, &path, sums, done.clone());
        sums = file::with_progress(cx, &done, size, receiving).await?;
    }
    tokio::task::spawn_blocking(move || written.sync_all())
        .await
        .map_err(|error| StepError::failed("writing the file was ended").source(error))?
        .map_err(|error| file::failed("write", &path, error))?;
    Ok(sums)
}

fn proven(bucket: &S3Reader, input: &Input, info: &ObjectInfo, sums: &Sums) -> Result<VerifiedBy, StepError> {
    verdict(input, info, sums).map_err(|reason| {
        StepError::failed(format!(
            "`{}` is not what was written: {reason}",
            bucket.url(&input.key)
        ))
        .hint("take another version of it, or another copy")
        .evidence(json!({ "bytes": sums.bytes(), "expected_bytes": input.size(info), "sha256": sums.sha256() }))
    })
}

/// What proves the content, or why it is wrong.
fn verdict(input: &Input, info: &ObjectInfo, sums: &Sums) -> Result<VerifiedBy, String> {
    let size = input.size(info);
    if sums.bytes() != size {
        return Err(format!("it has {} bytes and should have {size}", sums.bytes()));
    }
    if sums.agrees() == Some(false) {
        return Err("its content does not match the checksum that the store keeps".to_owned());
    }
    let of_whole = info.metadata.get("sha256").filter(|_| !input.is_part());
    let expected = input.sha256.as_ref().or(of_whole);
    match expected {
        Some(expected) if !expected.eq_ignore_ascii_case(&sums.sha256()) => {
            Err(format!("its SHA-256 is {} and should be {expected}", sums.sha256()))
        }
        Some(_) => Ok(VerifiedBy::Sha256),
        None if sums.agrees() == Some(true) => Ok(VerifiedBy::StoreChecksum),
        None => Ok(VerifiedBy::Size),
    }
}

fn output(input: &Input, info: &ObjectInfo, sums: &Sums, verified_by: VerifiedBy) -> Output {
    Output {
        file: input.file.clone(),
        version_id: info.version_id.clone(),
        bytes: sums.bytes(),
        sha256: sums.sha256(),
        verified_by,
    }
}

#[cfg(test)]
mod tests;
