//! Whether a copy has the content of the version that it was made of, by what the store says of both.

use jm_client_s3::{Copied, NULL_VERSION, ObjectVersion, Pace, S3Reader};
use jm_step::StepError;

use crate::same;

/// Whether sums of the store tell that a copy has the content of its version; `false` where there are none of one kind. Most
/// copies have the ETag of their version, and then nothing is asked for. Where it is another one of as many parts, nobody can say
/// whether those had the same sizes.
///
/// # Errors
/// Where the content is another, or nothing is there.
pub(super) async fn copy(
    bucket: &S3Reader,
    pace: &Pace,
    version: &ObjectVersion,
    copied: &Copied,
) -> Result<bool, StepError> {
    if copied.etag.is_some() && copied.etag == version.etag {
        return Ok(true);
    }
    let made = copied.version_id.as_deref().unwrap_or(NULL_VERSION);
    let looks = tokio::try_join!(
        Box::pin(bucket.look_at(pace, &version.key, Some(&version.version_id))),
        Box::pin(bucket.look_at(pace, &version.key, Some(made))),
    );
    // Who may not look has nothing to compare.
    let Ok((Some(source), copy)) = looks else {
        return Ok(false);
    };
    let Some(copy) = copy else {
        return Err(differs(bucket, version, "is not there"));
    };
    // What has the id `null` may be of somebody who has written since.
    if made == NULL_VERSION && copy.etag != copied.etag {
        return Ok(false);
    }
    let same = same::by_sums(&source, &copy);
    if same == Some(false) {
        return Err(differs(bucket, version, "has other content, by the store's own sums"));
    }
    Ok(same.is_some())
}

fn differs(bucket: &S3Reader, version: &ObjectVersion, what: &str) -> StepError {
    let (url, id) = (bucket.url(&version.key), &version.version_id);
    StepError::failed(format!("`{url}`: the copy of its version `{id}` {what}")).hint(
        "no version of it was removed: look at that one with `s3.get`, and take it from elsewhere where it is damaged",
    )
}
