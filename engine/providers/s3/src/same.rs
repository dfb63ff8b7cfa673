//! Whether two versions have the same content.

use jm_client_s3::{Get, ObjectInfo, ObjectVersion, S3Reader};
use jm_step::StepError;

use crate::file;

/// Compares two versions of one key: by the sums that the store and their writers keep, and where those do not say and
/// it is worth it, by reading both.
pub(crate) async fn content(
    bucket: &S3Reader,
    one: &ObjectVersion,
    other: &ObjectVersion,
    read: bool,
) -> Result<bool, StepError> {
    let (Some(first), Some(second)) = (
        bucket.head(&one.key, Some(&one.version_id)).await?,
        bucket.head(&other.key, Some(&other.version_id)).await?,
    ) else {
        return Ok(false);
    };
    match by_sums(&first, &second) {
        Some(same) => Ok(same),
        None if read => Ok(sha256(bucket, one).await? == sha256(bucket, other).await?),
        None => Ok(false),
    }
}

fn by_sums(first: &ObjectInfo, second: &ObjectInfo) -> Option<bool> {
    if first.bytes != second.bytes {
        return Some(false);
    }
    let (one, other) = (first.checksum.as_ref()?, second.checksum.as_ref()?);
    (one.algorithm == other.algorithm).then(|| one.value == other.value)
}

async fn sha256(bucket: &S3Reader, version: &ObjectVersion) -> Result<String, StepError> {
    let get = Get {
        version_id: Some(version.version_id.clone()),
        ..Get::default()
    };
    let stream = bucket.get(&version.key, get).await?;
    Ok(file::sums_of_object(stream).await?.sha256())
}
