//! Uploads in parts that were begun under a prefix and never finished.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};
use jm_client_s3::{S3Bucket, UnfinishedUpload};
use jm_step::StepContext;

/// So far may the store's clock be behind this machine's.
const MARGIN: SignedDuration = SignedDuration::from_mins(1);

/// Uploads that attempts before this one have saved, by their ids: those are of this run, wherever it went on.
#[derive(Default)]
pub(crate) struct Saved<'a> {
    /// With these this attempt goes on.
    pub(crate) going_on: HashSet<&'a str>,
    /// All of them.
    pub(crate) begun: HashSet<&'a str>,
}

/// Ends those of its own keys that an attempt before this one, or another run of this machine, left when it was killed, and that
/// nobody is at; and tells of all others. Nothing depends on it, so nothing of it fails the step.
///
/// Whose they are this machine's notes tell, and what the run has saved: the time at which an upload was begun, which is all that
/// a store tells, would let a run that goes on end what somebody else began meanwhile.
pub(crate) async fn end_own(
    cx: &StepContext,
    bucket: &S3Bucket,
    prefix: &str,
    began: Option<Timestamp>,
    is_own: impl Fn(&str) -> bool,
) {
    end_own_but(cx, bucket, prefix, began, &Saved::default(), is_own).await;
}

/// As [`end_own`], with what is saved.
pub(crate) async fn end_own_but(
    cx: &StepContext,
    bucket: &S3Bucket,
    prefix: &str,
    began: Option<Timestamp>,
    saved: &Saved<'_>,
    is_own: impl Fn(&str) -> bool,
) {
    let unfinished = match bucket.unfinished_uploads(prefix).await {
        Ok(unfinished) => unfinished,
        Err(error) => return cx.log(format!("nothing is known of unfinished uploads: {error}")).await,
    };
    let mut others = Vec::new();
    for upload in unfinished {
        if saved.going_on.contains(upload.id()) {
            continue;
        }
        let is_ours = saved.begun.contains(upload.id()) || upload.is_left();
        if !is_ours || !is_own(&upload.key) {
            others.push(upload);
            continue;
        }
        let url = bucket.url(&upload.key);
        match bucket.end_upload(&upload.key, upload.id()).await {
            Ok(()) => cx.log(format!("an upload to `{url}` that was cut off is ended")).await,
            Err(error) => cx.log(error.to_string()).await,
        }
    }
    tell_of_others(cx, bucket, prefix, &others).await;
    let since = began.map(|began| began - MARGIN);
    others.retain(|upload| is_own(&upload.key) && since.is_some_and(|since| upload.initiated >= Some(since)));
    tell_of_meanwhile(cx, &others).await;
}

async fn tell_of_others(cx: &StepContext, bucket: &S3Bucket, prefix: &str, others: &[UnfinishedUpload]) {
    let oldest = others.iter().filter_map(|upload| upload.initiated).min();
    if let (Some(first), Some(oldest)) = (others.first(), oldest) {
        cx.log(format!(
            "{} uploads in parts were begun under `{}` and not finished, the oldest at {oldest}, such as to `{}`: a \
             lifecycle rule with `abort_uploads_after_days` (`s3.bucket`) ends what is forgotten",
            others.len(),
            bucket.url(prefix),
            first.key
        ))
        .await;
    }
}

/// Notes stay on the machine that wrote them: a run that was taken to another one cannot tell its own from those of others.
async fn tell_of_meanwhile(cx: &StepContext, meanwhile: &[UnfinishedUpload]) {
    if let Some(first) = meanwhile.first() {
        cx.log(format!(
            "{} of them go to keys of this step, such as `{}`, and were begun since its first attempt: where that was on \
             another machine, it may have left them; they may as well be somebody else's, and are left alone",
            meanwhile.len(),
            first.key
        ))
        .await;
    }
}
