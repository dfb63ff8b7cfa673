//! Deletes, a thousand at a time, for as long as what was looked at still holds.

use jiff::Timestamp;
use jm_client_s3::{ObjectSummary, Pace, S3};
use jm_step::{ArtefactRef, StepContext, StepError, Unit};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::survey::{SHOWN, Survey};
use super::{Input, Output};

/// As many as one request deletes.
const BATCH: usize = 1000;

/// Saved before the first is deleted, so that whoever goes on deletes by the same days, and tells the whole of it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Progress {
    now: Timestamp,
    pub(super) removed: u64,
    bytes: u64,
    names: Vec<String>,
    list: ArtefactRef,
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
    let planned = match before {
        Some(before) => before,
        None if survey.doomed.is_empty() => return Ok(output),
        None => begin(cx, now, &survey, &output).await?,
    };
    let failed = delete_all(cx, bucket, input, &survey).await?;
    output.take(planned, failed.len() as u64);
    let Some((key, error)) = failed.first() else {
        cx.changed(output.change()).await;
        return Ok(output);
    };
    cx.save_output(&output).await?;
    let message = format!(
        "{} assets could not be deleted, the first `{key}`: {}",
        failed.len(),
        error.message()
    );
    let first: Vec<_> = failed.iter().take(SHOWN).map(|(key, _)| key).collect();
    Err(StepError::new(error.kind(), message)
        .hint("the others are deleted; mend it and try again")
        .evidence(json!({ "first": first })))
}

async fn begin(cx: &StepContext, now: Timestamp, survey: &Survey, output: &Output) -> Result<Progress, StepError> {
    let progress = Progress {
        now,
        removed: survey.counts.removed,
        bytes: survey.counts.bytes,
        names: output.names.clone(),
        list: cx.artefact("old-assets.jsonl", lines(&survey.doomed)?).await?,
    };
    cx.save_checkpoint(&progress).await?;
    Ok(progress)
}

/// Those that could not be deleted, and why.
async fn delete_all(
    cx: &StepContext,
    bucket: &S3,
    input: &Input,
    survey: &Survey,
) -> Result<Vec<(String, StepError)>, StepError> {
    let pace = Pace::new(1, 1);
    let (mut failed, mut done) = (Vec::new(), 0);
    for batch in survey.doomed.chunks(BATCH) {
        survey.still_holds(bucket.reader(), input).await?;
        if cx.cancellation().is_cancelled() {
            return Err(StepError::cancelled("told to stop between two thousands of assets"));
        }
        let keys = batch.iter().map(|object| object.key.clone()).collect();
        failed.extend(bucket.delete_many(&pace, keys).await?);
        done += batch.len() as u64;
        cx.progress(done, Some(survey.doomed.len() as u64), Unit::Items).await;
    }
    Ok(failed)
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
    /// What an attempt before this one was about to delete and this one did not find was deleted by it.
    fn take(&mut self, planned: Progress, failed: u64) {
        let counts = &mut self.counts;
        counts.looked_at += planned.removed.saturating_sub(counts.removed);
        counts.removed = planned.removed.saturating_sub(failed);
        counts.failed = failed;
        counts.bytes = planned.bytes;
        self.names = planned.names;
        self.list = Some(planned.list);
    }
}
