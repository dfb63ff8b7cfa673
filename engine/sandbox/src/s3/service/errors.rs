//! What the store refuses, as S3 says it.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use s3s::dto::{Timestamp, TimestampFormat};
use s3s::{S3Error, S3ErrorCode};

use super::super::store::StoreError;
use super::convert::timestamp;

/// An error with a sentence.
pub(super) fn refused(code: S3ErrorCode, message: impl Into<Cow<'static, str>>) -> S3Error {
    S3Error::with_message(code, message)
}

/// An error with headers. S3's errors are XML; headers given here would replace that one.
pub(super) fn with_headers(
    code: S3ErrorCode,
    message: &'static str,
    headers: impl IntoIterator<Item = (HeaderName, String)>,
) -> S3Error {
    let mut error = refused(code, message);
    let xml = (header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    let given = headers
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.parse().ok()?)));
    error.set_headers(given.chain([xml]).collect::<HeaderMap>());
    error
}

/// A moment as a header has it.
pub(super) fn http_date(time: &Timestamp) -> String {
    let mut text = Vec::new();
    match time.format(TimestampFormat::HttpDate, &mut text) {
        Ok(()) => String::from_utf8_lossy(&text).into_owned(),
        Err(_) => String::new(),
    }
}

const DELETE_MARKER: HeaderName = HeaderName::from_static("x-amz-delete-marker");
const VERSION_ID: HeaderName = HeaderName::from_static("x-amz-version-id");

impl From<StoreError> for S3Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NoSuchKey { marker: Some(version) } => with_headers(
                S3ErrorCode::NoSuchKey,
                "The specified key does not exist.",
                [(DELETE_MARKER, "true".into()), (VERSION_ID, version.to_string())],
            ),
            StoreError::IsMarker { version, modified } => with_headers(
                S3ErrorCode::MethodNotAllowed,
                "The specified method is not allowed against this resource.",
                [
                    (header::ALLOW, "DELETE".into()),
                    (header::LAST_MODIFIED, http_date(&timestamp(modified))),
                    (DELETE_MARKER, "true".into()),
                    (VERSION_ID, version.to_string()),
                ],
            ),
            StoreError::Disk { .. } | StoreError::Damaged(_) => {
                tracing::error!(%error, "the S3 stand-in's disk");
                Self::internal_error(error)
            }
            error => refused(code(&error), sentence(&error)),
        }
    }
}

fn code(error: &StoreError) -> S3ErrorCode {
    match error {
        StoreError::NoSuchBucket => S3ErrorCode::NoSuchBucket,
        StoreError::BucketExists => S3ErrorCode::BucketAlreadyOwnedByYou,
        StoreError::BucketNotEmpty => S3ErrorCode::BucketNotEmpty,
        StoreError::NoSuchKey { .. } => S3ErrorCode::NoSuchKey,
        StoreError::NoSuchVersion => S3ErrorCode::NoSuchVersion,
        StoreError::InvalidVersionId => S3ErrorCode::InvalidArgument,
        StoreError::IsMarker { .. } => S3ErrorCode::MethodNotAllowed,
        StoreError::PreconditionFailed(_) => S3ErrorCode::PreconditionFailed,
        StoreError::NoSuchUpload => S3ErrorCode::NoSuchUpload,
        StoreError::InvalidPart(_) => S3ErrorCode::InvalidPart,
        StoreError::InvalidPartOrder => S3ErrorCode::InvalidPartOrder,
        StoreError::PartTooSmall { .. } => S3ErrorCode::EntityTooSmall,
        StoreError::WrongSize { .. } => S3ErrorCode::InvalidRequest,
        StoreError::WrongChecksum(_) => S3ErrorCode::BadDigest,
        StoreError::Disk { .. } | StoreError::Damaged(_) => S3ErrorCode::InternalError,
    }
}

fn sentence(error: &StoreError) -> Cow<'static, str> {
    match error {
        StoreError::NoSuchBucket => "The specified bucket does not exist".into(),
        StoreError::BucketExists => {
            "Your previous request to create the named bucket succeeded and you already own it.".into()
        }
        StoreError::BucketNotEmpty => {
            "The bucket you tried to delete is not empty. You must delete all versions in the bucket.".into()
        }
        StoreError::NoSuchKey { .. } => "The specified key does not exist.".into(),
        StoreError::NoSuchVersion => "The specified version does not exist.".into(),
        StoreError::InvalidVersionId => "Invalid version id specified".into(),
        StoreError::PreconditionFailed(header) => {
            format!("At least one of the pre-conditions you specified did not hold: {header}").into()
        }
        StoreError::NoSuchUpload => "The specified upload does not exist. The upload ID may be invalid, or the \
            upload may have been aborted or completed."
            .into(),
        StoreError::InvalidPart(part) => format!(
            "One or more of the specified parts could not be found. The part may not have been uploaded, or the \
             specified entity tag may not match the part's entity tag: part {part}"
        )
        .into(),
        StoreError::InvalidPartOrder => {
            "The list of parts was not in ascending order. Parts must be ordered by part number.".into()
        }
        StoreError::PartTooSmall { part, size } => {
            format!("Your proposed upload is smaller than the minimum allowed size: part {part} has {size} bytes")
                .into()
        }
        StoreError::WrongSize { actual } => {
            format!("The provided 'x-amz-mp-object-size' header does not match what was computed: {actual}").into()
        }
        StoreError::WrongChecksum(algorithm) => {
            format!("The {} you specified did not match what we received.", algorithm.name()).into()
        }
        other => other.to_string().into(),
    }
}
