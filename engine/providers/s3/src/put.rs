//! `s3.put`: writes a file to the bucket.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use jiff::Timestamp;
use jm_client_s3::{BegunUpload, Get, ObjectInfo, Put, S3, S3Bucket, S3Reader, is_written_in_parts};
use jm_step::{
    Change, Effect, InputIssue, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError,
    StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::begun::Noted;
use crate::file::{self, Sums, Unchanged};
use crate::sync::headers;
use crate::unfinished::{self, Saved};

/// Writes a file to the bucket.
pub(crate) struct Upload;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// What is written.
    file: PathBuf,
    /// The object's key, relative to the target's prefix.
    key: String,
    /// Such as `application/pgp-encrypted`. Default: by the key's ending.
    #[serde(default)]
    content_type: Option<String>,
    /// Such as `public, max-age=31536000, immutable`.
    #[serde(default)]
    cache_control: Option<String>,
    /// Overwrites an object with other content. A bucket that keeps versions keeps that one too.
    #[serde(default)]
    force: bool,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Output {
    /// The object's key.
    key: String,
    /// Its version, where the bucket keeps versions.
    version_id: Option<String>,
    /// Its size.
    bytes: u64,
    /// Its SHA-256 in lower-case hex; it stands in the object's metadata as well.
    sha256: String,
    /// Whether the same content was there already, so that nothing was sent.
    already_there: bool,
}

impl StepType for Upload {
    const NAME: &'static str = "s3.put";
    const SUMMARY: &'static str = "writes a file to a bucket";
    const EFFECT: Effect = Effect::Irreversible;
    const REPEAT: Repeat = Repeat::Safe;
    const TIMEOUT: Duration = Duration::from_hours(1);
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        match input.key.as_str() {
            "" => Err(vec![InputIssue::at("/key", "a key is missing")]),
            key if key.ends_with('/') => Err(vec![
                InputIssue::at("/key", "the key ends like a folder").help("name the object itself"),
            ]),
            _ => Ok(()),
        }
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
                "s3:PutObject",
                "s3:AbortMultipartUpload",
                "s3:ListBucketMultipartUploads",
                "s3:ListMultipartUploadParts",
            ],
        )]
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
        let url = bucket.url(&input.key);
        let (there, sums) = look(&bucket, input).await?;
        match there {
            There::Same(info) => {
                Ok(Preview::verified(format!("`{url}` is there already")).predict(already(input, *info, &sums)))
            }
            there => {
                let summary = format!("writes {} bytes to `{url}`", sums.bytes());
                Ok(Preview::computed(summary, vec![there.change(&bucket, input, &sums)?]))
            }
        }
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let bucket = cx.connect::<S3>().await?;
        let (there, sums) = look(&bucket, &input).await?;
        if let There::Same(info) = there {
            return Ok(already(&input, *info, &sums));
        }
        let change = there.change(&bucket, &input, &sums)?;
        let done = Arc::new(AtomicU64::new(0));
        let file = Unchanged::open(&input.file, &sums, done.clone()).await?;
        let put = Put {
            content_type: input.content_type(),
            cache_control: input.cache_control.clone(),
            metadata: BTreeMap::from([("sha256".to_owned(), sums.sha256())]),
            if_absent: matches!(there, There::Nothing) && !input.force,
            bytes: Some(sums.bytes()),
            ..Put::default()
        };
        let uploading = async {
            if !is_written_in_parts(sums.bytes()) {
                return bucket.put(&input.key, file, put).await;
            }
            let begun = begun(cx, &bucket, &input.key, &put, &sums).await?;
            bucket.finish_upload(&input.key, file, &put, begun).await
        };
        let uploaded = file::with_progress(cx, &done, sums.bytes(), Box::pin(uploading)).await?;
        cx.changed(change).await;
        Ok(Output {
            key: input.key,
            version_id: uploaded.version_id,
            bytes: uploaded.bytes,
            sha256: sums.sha256(),
            already_there: false,
        })
    }

    /// An object appears whole or not at all.
    async fn probe(&self, cx: &ReadContext, input: &Input) -> Result<Probe<Output>, StepError> {
        let bucket = cx.read::<S3>().await?;
        let (there, sums) = look(&bucket, input).await?;
        Ok(match there {
            There::Same(info) => Probe::Succeeded(already(input, *info, &sums)),
            // What was begun may have left an upload in parts, which only this step knows to be its own.
            _ if cx.checkpoint::<Begun>()?.is_some() => Probe::partial("the object is not there as a whole"),
            _ => Probe::NotStarted,
        })
    }
}

/// Saved before an upload in parts, and once it has an id.
#[derive(Debug, Serialize, Deserialize)]
struct Begun {
    /// When the first attempt began, by this machine's clock.
    began: Timestamp,
    #[serde(flatten)]
    noted: Option<Noted>,
}

/// The upload that an attempt before this one has begun, with the parts that were sent; otherwise a new one.
async fn begun(
    cx: &StepContext,
    bucket: &S3Bucket,
    key: &str,
    put: &Put,
    sums: &Sums,
) -> Result<BegunUpload, StepError> {
    let before = cx.checkpoint::<Begun>()?;
    let found = match before.as_ref().and_then(|before| before.noted.as_ref()) {
        Some(noted) => noted.find(cx, bucket, key, sums).await?,
        None => None,
    };
    let began = before.as_ref().map(|before| before.began);
    let saved = Saved {
        going_on: found.iter().map(BegunUpload::id).collect(),
        ..Saved::default()
    };
    unfinished::end_own_but(cx, bucket, key, began, &saved, |one| one == key).await;
    if let Some(found) = found {
        return Ok(found);
    }
    let began = began.unwrap_or_else(|| cx.now());
    cx.save_checkpoint(&Begun { began, noted: None }).await?;
    let new = bucket.begin_upload(key, put).await?;
    let noted = Some(Noted::new(&new, sums));
    cx.save_checkpoint(&Begun { began, noted }).await?;
    Ok(new)
}

impl Input {
    fn content_type(&self) -> Option<String> {
        let given = self.content_type.clone();
        given.or_else(|| headers(&self.key).content_type)
    }

    /// Whether an object has the headers that are asked for. Those that are not are nobody's business.
    fn has_headers(&self, info: &ObjectInfo) -> bool {
        let fits = |wanted: &Option<String>, there: &Option<String>| wanted.is_none() || wanted == there;
        fits(&self.content_type, &info.content_type) && fits(&self.cache_control, &info.cache_control)
    }
}

/// What the bucket has under the key.
enum There {
    Nothing,
    Same(Box<ObjectInfo>),
    /// The same content with other headers: to write it again loses nothing.
    OtherHeaders(Box<ObjectInfo>),
    Other {
        bytes: u64,
    },
}

impl There {
    /// What is done about it.
    fn change(&self, bucket: &S3Reader, input: &Input, sums: &Sums) -> Result<Change, StepError> {
        let url = bucket.url(&input.key);
        let object = format!("object `{url}`");
        let after = json!({ "bytes": sums.bytes(), "sha256": sums.sha256() });
        match self {
            Self::Other { bytes } if input.force => Ok(Change::update(object, json!({ "bytes": bytes }), after)),
            Self::OtherHeaders(info) => Ok(Change::update(
                format!("headers of {object}"),
                json!({ "content_type": info.content_type, "cache_control": info.cache_control }),
                json!({ "content_type": input.content_type(), "cache_control": input.cache_control }),
            )),
            Self::Other { .. } => Err(
                StepError::conflict(format!("`{url}` is there already, with other content"))
                    .hint("choose another key, or set `force: true` to overwrite it"),
            ),
            _ => Ok(Change::create(object, after)),
        }
    }
}

/// Looks at the object first, so that one reading of the file gives the sum that the store keeps as well.
async fn look(bucket: &S3Reader, input: &Input) -> Result<(There, Sums), StepError> {
    let info = bucket.head(&input.key, None).await?;
    let of_store = |info: &ObjectInfo| info.checksum.clone().or_else(|| info.etag_sum());
    let checksum = info.as_ref().and_then(of_store);
    let sums = file::sums_before_upload(&input.file, checksum.as_ref()).await?;
    let there = match info {
        None => There::Nothing,
        Some(info) if same(bucket, &info, &sums).await? => {
            if input.has_headers(&info) {
                There::Same(Box::new(info))
            } else {
                There::OtherHeaders(Box::new(info))
            }
        }
        Some(info) => There::Other { bytes: info.bytes },
    };
    Ok((there, sums))
}

/// Whether an object has this content: by the store's checksum or an ETag that is one, and by SHA-256 where its writer told it;
/// else by reading it.
async fn same(bucket: &S3Reader, info: &ObjectInfo, sums: &Sums) -> Result<bool, StepError> {
    if info.bytes != sums.bytes() || sums.agrees() == Some(false) {
        return Ok(false);
    }
    if let Some(sha256) = info.metadata.get("sha256") {
        return Ok(sha256.eq_ignore_ascii_case(&sums.sha256()));
    }
    if sums.agrees() == Some(true) {
        return Ok(true);
    }
    let get = Get {
        version_id: info.version_id.clone(),
        etag: info.etag.clone(),
        ..Get::default()
    };
    let theirs = file::sums_of_object(bucket.get(&info.key, get).await?).await?;
    Ok(theirs.sha256() == sums.sha256())
}

fn already(input: &Input, info: ObjectInfo, sums: &Sums) -> Output {
    Output {
        key: input.key.clone(),
        version_id: info.version_id,
        bytes: sums.bytes(),
        sha256: sums.sha256(),
        already_there: true,
    }
}

#[cfg(test)]
mod tests;
