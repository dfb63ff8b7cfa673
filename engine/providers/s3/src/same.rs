//! Whether two versions of a key are the same to whoever reads it.

use jm_client_s3::{Get, ObjectInfo, ObjectVersion, Pace, S3Reader};
use jm_step::StepError;

use crate::file;

/// Compares a version of a key with another one (`wanted`): their headers, metadata, tags and keys, and their content by what a
/// listing and the sums of the store and of its writers tell. `None` where only reading both would tell.
pub(crate) async fn versions(
    bucket: &S3Reader,
    pace: &Pace,
    one: &ObjectVersion,
    wanted: &ObjectVersion,
) -> Result<Option<bool>, StepError> {
    let (first, second) = tokio::try_join!(
        Box::pin(bucket.look_at(pace, &one.key, Some(&one.version_id))),
        Box::pin(bucket.look_at(pace, &wanted.key, Some(&wanted.version_id))),
    )?;
    let (Some(first), Some(second)) = (first, second) else {
        return Ok(Some(false));
    };
    // What lies in an archive nobody can read.
    let sank = one.in_archive() && !wanted.in_archive();
    if sank || !told_alike(&first, &second) || !(bucket.chooses_keys() || has_key_of(&first, &second)) {
        return Ok(Some(false));
    }
    let by_etag = has_etag_of(one, wanted).then_some(true);
    let same = by_etag.or_else(|| by_sums(&first, &second));
    // Only of what has tags they are asked for.
    if same != Some(false) && first.tags > 0 {
        let (tags, wanted) = tokio::try_join!(
            Box::pin(bucket.tags_of(pace, one)),
            Box::pin(bucket.tags_of(pace, wanted)),
        )?;
        if tags != wanted {
            return Ok(Some(false));
        }
    }
    Ok(same)
}

/// The same; what nothing else tells is read.
pub(crate) async fn versions_if_read(
    bucket: &S3Reader,
    pace: &Pace,
    one: &ObjectVersion,
    wanted: &ObjectVersion,
) -> Result<bool, StepError> {
    match versions(bucket, pace, one, wanted).await? {
        Some(same) => Ok(same),
        None => Ok(sha256(bucket, one).await? == sha256(bucket, wanted).await?),
    }
}

/// Whether two versions surely have the same content, by what a listing tells.
pub(crate) fn has_etag_of(one: &ObjectVersion, other: &ObjectVersion) -> bool {
    !one.marker && !other.marker && one.bytes == other.bytes && one.etag.is_some() && one.etag == other.etag
}

/// Whether readers are told the same beside the content: all of it comes along with a copy.
fn told_alike(first: &ObjectInfo, second: &ObjectInfo) -> bool {
    first.content_type == second.content_type
        && first.cache_control == second.cache_control
        && first.headers == second.headers
        && first.tags == second.tags
        && first.metadata == second.metadata
}

/// Whether an object is encrypted with the KMS key of the wanted one. Where that has none, its copy gets what the bucket has.
fn has_key_of(found: &ObjectInfo, wanted: &ObjectInfo) -> bool {
    let key = |info: &ObjectInfo| info.encryption.as_ref().and_then(|keys| keys.kms_key.clone());
    key(wanted).is_none_or(|wanted| key(found) == Some(wanted))
}

/// Whether two objects have the same content, by sums that the store keeps; `None` where it has none of one kind.
pub(crate) fn by_sums(first: &ObjectInfo, second: &ObjectInfo) -> Option<bool> {
    if first.bytes != second.bytes {
        return Some(false);
    }
    if let (Some(one), Some(other)) = (first.etag_sum(), second.etag_sum()) {
        return Some(one == other);
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
