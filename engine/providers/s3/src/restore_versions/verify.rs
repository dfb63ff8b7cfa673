//! Whether a copy has the content of the version that it was made of, by what the store says of both.

use jm_client_s3::{Copied, NULL_VERSION, ObjectInfo, ObjectVersion, Pace, S3Reader};
use jm_step::StepError;

use super::walk::CopyBack;
use crate::same;

/// Whether sums of the store tell that a copy has the content of its version; `false` where there are none of one kind. Most
/// copies have the ETag of their version, and then nothing is asked for. Where it is another one of as many parts, nobody can say
/// whether those had the same sizes.
///
/// # Errors
/// Where the content is another, or nothing is there.
pub(super) async fn copy(bucket: &S3Reader, pace: &Pace, back: &CopyBack, copied: &Copied) -> Result<bool, StepError> {
    let version = &back.target;
    if copied.etag.is_some() && copied.etag == version.etag {
        return Ok(true);
    }
    // A store may name no version of a copy, also where it keeps versions: then what the key has now is looked at.
    let made = copied.version_id.as_deref();
    let looks = tokio::try_join!(
        Box::pin(bucket.look_at(pace, &version.key, Some(&version.version_id))),
        Box::pin(bucket.look_at(pace, &version.key, made)),
    );
    // Who may not look has nothing to compare.
    let Ok((Some(source), copy)) = looks else {
        return Ok(false);
    };
    let is_sure = made.is_some_and(|id| id != NULL_VERSION);
    let copy = match copy {
        Some(copy) if is_sure || copy.etag == copied.etag => copy,
        None if is_sure => return Err(differs(bucket, version, "is not there")),
        there if is_untouched(&back.latest, there.as_ref()) => return Err(differs(bucket, version, "is not there")),
        // Somebody has written or deleted since.
        _ => return Ok(false),
    };
    let same = same::by_sums(&source, &copy);
    if same == Some(false) {
        return Err(differs(bucket, version, "has other content, by the store's own sums"));
    }
    Ok(same.is_some())
}

/// Whether what is there is what was there before the copy.
fn is_untouched(before: &ObjectVersion, there: Option<&ObjectInfo>) -> bool {
    let Some(there) = there else { return before.marker };
    let id = there.version_id.as_deref().unwrap_or(NULL_VERSION);
    !before.marker && id == before.version_id && there.etag == before.etag
}

fn differs(bucket: &S3Reader, version: &ObjectVersion, what: &str) -> StepError {
    let (url, id) = (bucket.url(&version.key), &version.version_id);
    StepError::failed(format!("`{url}`: the copy of its version `{id}` {what}")).hint(
        "no version of it was removed: look at that one with `s3.get`, and take it from elsewhere where it is damaged",
    )
}
