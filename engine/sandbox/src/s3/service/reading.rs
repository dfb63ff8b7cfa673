//! Getting objects, whole and in part, or only what is known of them.

use std::ops;

use http::HeaderName;
use s3s::dto::{
    ChecksumType, GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, Range, ServerSideEncryption,
    StorageClass, Timestamp, TimestampFormat,
};
use s3s::{S3Error, S3ErrorCode, S3Response, S3Result};

use super::super::store::{Algorithm, Kind, Object, Reading};
use super::Service;
use super::body;
use super::conditions::ReadConditions;
use super::convert::{count, etag, size, timestamp, version};
use super::details::{self, with_checksums};
use super::errors::refused;

/// The reply of that type that describes an object. Get and head say the same.
macro_rules! describe {
    ($output:ident, $reading:expr, $window:expr, $asked:expr) => {{
        let object = $reading.object();
        let headers = &object.details.headers;
        let checksums = details::shown(&object.checksums, $asked);
        with_checksums!(
            checksums,
            $output {
                accept_ranges: Some("bytes".to_owned()),
                cache_control: headers.cache_control.clone(),
                checksum_type: $asked.then(|| checksum_type(object)),
                content_disposition: headers.content_disposition.clone(),
                content_encoding: headers.content_encoding.clone(),
                content_language: headers.content_language.clone(),
                content_length: Some(size($window.bytes.end - $window.bytes.start)),
                content_range: $window.header(object),
                content_type: Some(headers.content_type.clone().unwrap_or_else(|| DEFAULT_TYPE.to_owned())),
                e_tag: Some(etag(&object.etag)),
                expires: headers.expires.as_deref().and_then(parsed),
                last_modified: Some(timestamp($reading.modified)),
                metadata: Some(object.details.metadata.clone().into_iter().collect()),
                parts_count: $window.parts.map(count),
                server_side_encryption: encryption(object),
                storage_class: storage_class(object),
                version_id: $reading.version.map(|id| id.to_string()),
                website_redirect_location: headers.website_redirect_location.clone(),
                ..Default::default()
            }
        )
    }};
}

/// The type of objects that were put without one.
const DEFAULT_TYPE: &str = "binary/octet-stream";
/// How many tags an object has: the output of GET has a field for it, and that of HEAD has none.
const TAG_COUNT: HeaderName = HeaderName::from_static("x-amz-tagging-count");

impl Service {
    pub(super) async fn get(&self, input: GetObjectInput) -> S3Result<GetObjectOutput> {
        details::encryption(None, input.sse_customer_algorithm.is_some())?;
        let reading = self.find(&input.bucket, input.key, input.version_id.as_deref()).await?;
        let conditions = ReadConditions {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since,
            if_unmodified_since: input.if_unmodified_since,
        };
        conditions.check(&reading)?;
        let window = Window::new(reading.object(), input.range, input.part_number)?;
        let asked = input.checksum_mode.is_some() && !window.partial;
        let tags = reading.object().details.tags.len();
        let mut output = describe!(GetObjectOutput, reading, window, asked);
        output.tag_count = (tags > 0).then(|| count(tags));
        output.body = Some(body::send(reading, window.bytes).await?);
        Ok(output)
    }

    pub(super) async fn head(&self, input: HeadObjectInput) -> S3Result<S3Response<HeadObjectOutput>> {
        details::encryption(None, input.sse_customer_algorithm.is_some())?;
        let reading = self.find(&input.bucket, input.key, input.version_id.as_deref()).await?;
        let conditions = ReadConditions {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since,
            if_unmodified_since: input.if_unmodified_since,
        };
        conditions.check(&reading)?;
        let window = Window::new(reading.object(), input.range, input.part_number)?;
        let asked = input.checksum_mode.is_some() && !window.partial;
        let tags = reading.object().details.tags.len();
        let mut response = S3Response::new(describe!(HeadObjectOutput, reading, window, asked));
        if tags > 0 {
            response.headers.insert(TAG_COUNT, tags.into());
        }
        Ok(response)
    }

    /// The object that a request means.
    pub(super) async fn find(&self, bucket: &str, key: String, id: Option<&str>) -> S3Result<Reading> {
        let id = version(id)?;
        self.with_bucket(bucket, move |bucket| bucket.read(&key, id)).await
    }
}

/// The part of an object that a reply has.
#[derive(Debug, PartialEq, Eq)]
struct Window {
    bytes: ops::Range<u64>,
    /// Whether the reply is a 206.
    partial: bool,
    /// How many parts there are, where the request asked for one.
    parts: Option<usize>,
}

impl Window {
    fn new(object: &Object, range: Option<Range>, part: Option<i32>) -> S3Result<Self> {
        match (range, part) {
            (Some(_), Some(_)) => {
                let message = "Cannot specify both Range header and partNumber query parameter";
                Err(refused(S3ErrorCode::InvalidRequest, message))
            }
            (Some(range), None) => {
                let message = "The requested range is not satisfiable";
                let bytes = range
                    .check(object.size)
                    .map_err(|_| refused(S3ErrorCode::InvalidRange, message))?;
                let (partial, parts) = (true, None);
                Ok(Self { bytes, partial, parts })
            }
            (None, Some(part)) => Self::part(object, part),
            (None, None) => Ok(Self {
                bytes: 0..object.size,
                partial: false,
                parts: None,
            }),
        }
    }

    fn part(object: &Object, part: i32) -> S3Result<Self> {
        let place = usize::try_from(part).ok().and_then(|part| part.checked_sub(1));
        let segment = place.and_then(|place| Some((place, object.segments.get(place)?)));
        let (place, segment) = segment.ok_or_else(no_such_part)?;
        let start = object.segments[..place].iter().map(|segment| segment.size).sum();
        Ok(Self {
            bytes: start..start + segment.size,
            partial: segment.size > 0,
            parts: object.upload.map(|_| object.segments.len()),
        })
    }

    fn header(&self, object: &Object) -> Option<String> {
        let ops::Range { start, end } = self.bytes;
        self.partial
            .then(|| format!("bytes {start}-{}/{}", end.saturating_sub(1), object.size))
    }
}

fn no_such_part() -> S3Error {
    let mut error = refused(
        S3ErrorCode::Custom("InvalidPartNumber".into()),
        "The requested partnumber is not satisfiable",
    );
    error.set_status_code(http::StatusCode::RANGE_NOT_SATISFIABLE);
    error
}

fn parsed(date: &str) -> Option<Timestamp> {
    Timestamp::parse(TimestampFormat::HttpDate, date).ok()
}

/// What the checksums of an object cover.
pub(super) fn checksum_type(object: &Object) -> ChecksumType {
    ChecksumType::from_static(match object.checksums.kind {
        Kind::Full => ChecksumType::FULL_OBJECT,
        Kind::Composite => ChecksumType::COMPOSITE,
    })
}

/// The encryption that the client asked for.
pub(super) fn encryption(object: &Object) -> Option<ServerSideEncryption> {
    object
        .details
        .headers
        .encryption
        .clone()
        .map(ServerSideEncryption::from)
}

/// The storage class; S3 leaves out the standard one.
fn storage_class(object: &Object) -> Option<StorageClass> {
    let class = object.details.headers.storage_class.clone();
    class
        .filter(|class| class != StorageClass::STANDARD)
        .map(StorageClass::from)
}
