//! Uploads in parts that were begun under a prefix and never finished.

use jiff::{SignedDuration, Timestamp};
use jm_client_s3::{S3Bucket, UnfinishedUpload};
use jm_step::StepContext;

/// So far may the store's clock be behind this machine's. What was begun longer before is somebody else's: it is better
/// told than ended.
const MARGIN: SignedDuration = SignedDuration::from_mins(1);

/// Ends those of its own keys that an attempt before this one left when it was killed, since it began, or another run of this
/// machine that nobody goes on with; and tells of all others. Nothing depends on it, so nothing of it fails the step.
pub(crate) async fn end_own(
    cx: &StepContext,
    bucket: &S3Bucket,
    prefix: &str,
    began: Option<Timestamp>,
    is_own: impl Fn(&str) -> bool,
) {
    end_own_but(cx, bucket, prefix, began, |_| false, is_own).await;
}

/// As [`end_own`], but for those with which this attempt goes on, by their ids.
pub(crate) async fn end_own_but(
    cx: &StepContext,
    bucket: &S3Bucket,
    prefix: &str,
    began: Option<Timestamp>,
    is_kept: impl Fn(&str) -> bool,
    is_own: impl Fn(&str) -> bool,
) {
    let is_other = |upload: &UnfinishedUpload| !is_kept(upload.id());
    let unfinished: Vec<UnfinishedUpload> = match bucket.unfinished_uploads(prefix).await {
        Ok(unfinished) => unfinished.into_iter().filter(is_other).collect(),
        Err(error) => return cx.log(format!("nothing is known of unfinished uploads: {error}")).await,
    };
    let since = began.map(|began| began - MARGIN);
    let mut others = Vec::new();
    for upload in unfinished {
        let is_of_run = since.is_some_and(|since| upload.initiated.is_some_and(|time| time >= since));
        let is_ours = is_of_run || upload.is_left();
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
