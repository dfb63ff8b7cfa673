//! Deletes, a thousand at a time, for as long as what was looked at still holds.

use std::collections::HashSet;

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use jm_client_s3::{ObjectSummary, Pace, S3, S3Reader};
use jm_step::{ArtefactRef, StepContext, StepError, Unit};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::survey::{SHOWN, Survey};
use super::{Input, Output};

/// As many as one request deletes.
const BATCH: usize = 1000;
/// So many keys are looked for at a time.
const AT_ONCE: usize = 16;

/// Saved before each batch is deleted, so that whoever goes on deletes by the same days, and tells the whole of it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Progress {
    now: Timestamp,
    /// All that was to be deleted when it began.
    list: ArtefactRef,
    pub(super) deleted: Deleted,
    /// Those that are being deleted, with their sizes.
    batch: Vec<(String, u64)>,
}

/// What is gone.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Deleted {
    pub(super) count: u64,
    bytes: u64,
    /// The first of them.
    names: Vec<String>,
}

pub(super) async fn remove(cx: &StepContext, bucket: &S3, input: &Input) -> Result<Output, StepError> {
    let before = cx.checkpoint::<Progress>()?;
    let now = before.as_ref().map_or_else(|| cx.now(), |before| before.now);
    let survey = tokio::select! {
        survey = Survey::take(bucket.reader(), input, now) => survey?,
        () = cx.cancelled() => return Err(StepError::cancelled("told to stop while assets were looked at")),
    };
    cx.log(survey.summary(bucket.reader(), input)).await;
    let mut output = survey.output(bucket.reader(), survey.counts.clone());
    let mut progress = match before {
        Some(mut before) => {
            before.settle(bucket.reader()).await?;
            before
        }
        None if survey.doomed.is_empty() => return Ok(output),
        None => Progress::begin(cx, now, &survey).await?,
    };
    let earlier = progress.deleted.count;
    let ended = delete_all(cx, bucket, input, &survey, &mut progress).await;
    let failed = ended.as_ref().map_or(0, |failed| failed.len() as u64);
    output.take(progress, earlier, failed);
    let error = match ended {
        Ok(failed) => match failed.first() {
            None => {
                cx.changed(output.change()).await;
                return Ok(output);
            }
            Some((key, error)) => not_all(&failed, key, error),
        },
        Err(error) => error,
    };
    cx.save_output(&output).await?;
    Err(error)
}

fn not_all(failed: &[(String, StepError)], key: &str, error: &StepError) -> StepError {
    let message = format!(
        "{} assets could not be deleted, the first `{key}`: {}",
        failed.len(),
        error.message()
    );
    let first: Vec<_> = failed.iter().take(SHOWN).map(|(key, _)| key).collect();
    StepError::new(error.kind(), message)
        .hint("the others are deleted; mend it and try again")
        .evidence(json!({ "first": first }))
}

/// Those that could not be deleted, and why.
async fn delete_all(
    cx: &StepContext,
    bucket: &S3,
    input: &Input,
    survey: &Survey,
    progress: &mut Progress,
) -> Result<Vec<(String, StepError)>, StepError> {
    let pace = Pace::new(1, 1);
    let (mut failed, mut done) = (Vec::new(), 0);
    for batch in survey.doomed.chunks(BATCH) {
        survey.still_holds(bucket.reader(), input).await?;
        if cx.cancellation().is_cancelled() {
            return Err(StepError::cancelled("told to stop between two thousands of assets"));
        }
        progress.batch = batch.iter().map(|object| (object.key.clone(), object.bytes)).collect();
        cx.save_checkpoint(&*progress).await?;
        let keys = batch.iter().map(|object| object.key.clone()).collect();
        let refused = bucket.delete_many(&pace, keys).await?;
        progress.count_all_but(|key| refused.iter().any(|(refused, _)| refused == key));
        failed.extend(refused);
        done += batch.len() as u64;
        cx.progress(done, Some(survey.doomed.len() as u64), Unit::Items).await;
    }
    Ok(failed)
}

impl Progress {
    async fn begin(cx: &StepContext, now: Timestamp, survey: &Survey) -> Result<Self, StepError> {
        Ok(Self {
            now,
            list: cx.artefact("old-assets.jsonl", lines(&survey.doomed)?).await?,
            deleted: Deleted::default(),
            batch: Vec::new(),
        })
    }

    /// Of a batch whose answer nobody has seen, what is not there any more was deleted. What is there may be named by a
    /// release that came meanwhile.
    async fn settle(&mut self, bucket: &S3Reader) -> Result<(), StepError> {
        let looks = self.batch.iter().map(|(key, _)| async move {
            let is_there = bucket.head(key, None).await?.is_some();
            Ok::<_, StepError>(is_there.then(|| key.clone()))
        });
        let looks: Vec<_> = looks.collect();
        let there: Vec<Option<String>> = stream::iter(looks).buffered(AT_ONCE).try_collect().await?;
        let there: HashSet<String> = there.into_iter().flatten().collect();
        self.count_all_but(|key| there.contains(key));
        Ok(())
    }

    /// The batch has come to its end.
    fn count_all_but(&mut self, is_left: impl Fn(&str) -> bool) {
        for (key, bytes) in std::mem::take(&mut self.batch) {
            if is_left(&key) {
                continue;
            }
            self.deleted.count += 1;
            self.deleted.bytes += bytes;
            if self.deleted.names.len() < SHOWN {
                self.deleted.names.push(key);
            }
        }
    }
}

/// All that is deleted, for whoever wants it back.
fn lines(doomed: &[ObjectSummary]) -> Result<Vec<u8>, StepError> {
    let mut lines = Vec::new();
    for object in doomed {
        let line = json!({
            "key": object.key, "bytes": object.bytes, "etag": object.etag, "last_modified": object.last_modified,
        });
        serde_json::to_writer(&mut lines, &line)
            .map_err(|error| StepError::failed("an asset cannot be written as JSON").source(error))?;
        lines.push(b'\n');
    }
    Ok(lines)
}

impl Output {
    /// The counts of the whole step: `earlier` were deleted by attempts before this one, which the survey could not see.
    fn take(&mut self, progress: Progress, earlier: u64, failed: u64) {
        let counts = &mut self.counts;
        counts.looked_at += earlier;
        counts.removed = progress.deleted.count;
        counts.bytes = progress.deleted.bytes;
        counts.failed = failed;
        self.names = progress.deleted.names;
        self.list = Some(progress.list);
    }
}
