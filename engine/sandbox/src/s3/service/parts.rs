//! The parts of multipart uploads: uploading, copying, listing.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use s3s::dto::{
    ChecksumAlgorithm, CopyPartResult, ListPartsInput, ListPartsOutput, Part, StorageClass, UploadPartCopyInput,
    UploadPartCopyOutput, UploadPartInput, UploadPartOutput,
};
use s3s::{S3ErrorCode, S3Request, S3Result};

use super::super::store::{Algorithm, Part as Stored, Plan, Reading};
use super::Service;
use super::body::{self, Expected};
use super::conditions::ReadConditions;
use super::convert::{LARGEST_PUT, count, etag, listed, owner, page_size, size, timestamp, upload};
use super::details::{self, sent_checksums, with_checksums};
use super::errors::refused;
use super::multipart::{initiator, kind_name};

impl Service {
    pub(super) async fn put_part(&self, mut request: S3Request<UploadPartInput>) -> S3Result<UploadPartOutput> {
        let body = request.input.body.take();
        let input = &request.input;
        details::encryption(None, input.sse_customer_algorithm.is_some())?;
        let (number, id) = (part_number(input.part_number)?, upload(&input.upload_id)?);
        let bucket = self.bucket(&input.bucket)?;
        let plan = bucket.upload(&input.key, id)?.plan.clone();
        let named = details::algorithm(input.checksum_algorithm.as_ref().map(ChecksumAlgorithm::as_str))?;
        let framing = (input.content_length, input.content_md5.clone());
        let expected = Expected::new(&request, framing, sent_checksums!(input), named)?;
        let (shown, wanted) = (expected.algorithms(), wanted(&plan));
        let blob = body::receive(bucket.clone(), body, expected, &wanted).await?;
        let put = super::blocking(move || Ok(bucket.put_part(&plan.key, id, number, blob)?));
        let part = put.await?;
        let mut checksums = part.checksums.clone();
        checksums.retain(if shown.is_empty() { &wanted } else { &shown });
        Ok(with_checksums!(
            checksums,
            UploadPartOutput {
                e_tag: Some(etag(&part.etag)),
                ..Default::default()
            }
        ))
    }

    pub(super) async fn copy_part(&self, input: UploadPartCopyInput) -> S3Result<UploadPartCopyOutput> {
        let (number, id) = (part_number(input.part_number)?, upload(&input.upload_id)?);
        let bucket = self.bucket(&input.bucket)?;
        let plan = bucket.upload(&input.key, id)?.plan.clone();
        let conditions = ReadConditions {
            if_match: input.copy_source_if_match,
            if_none_match: input.copy_source_if_none_match,
            if_modified_since: input.copy_source_if_modified_since,
            if_unmodified_since: input.copy_source_if_unmodified_since,
        };
        let source = self.source(&input.copy_source, &conditions).await?;
        let bytes = copied_range(input.copy_source_range.as_deref(), &source)?;
        let (from, wanted) = (source.version, wanted(&plan));
        let copied = super::blocking(move || {
            let mut writer = bucket.writer(&wanted)?;
            for piece in source.pieces(bytes.start, bytes.end) {
                writer.copy_from(&mut source.open(piece)?)?;
            }
            Ok(bucket.put_part(&plan.key, id, number, writer.finish()?)?)
        });
        let part = copied.await?;
        let checksums = &part.checksums;
        let result = with_checksums!(
            checksums,
            CopyPartResult {
                e_tag: Some(etag(&part.etag)),
                last_modified: Some(timestamp(part.modified)),
            }
        );
        Ok(UploadPartCopyOutput {
            copy_part_result: Some(result),
            copy_source_version_id: from.map(|id| id.to_string()),
            ..Default::default()
        })
    }

    pub(super) fn parts(&self, input: &ListPartsInput) -> S3Result<ListPartsOutput> {
        let upload = self
            .bucket(&input.bucket)?
            .upload(&input.key, upload(&input.upload_id)?)?;
        let max = page_size(input.max_parts, "max-parts")?;
        let after = input.part_number_marker.unwrap_or_default();
        let mut parts = upload.parts();
        parts.retain(|part| i32::from(part.number) > after);
        let more = parts.len() > max;
        parts.truncate(max);
        let plan = &upload.plan;
        Ok(ListPartsOutput {
            bucket: Some(input.bucket.clone()),
            checksum_algorithm: plan
                .algorithm
                .map(|algorithm| ChecksumAlgorithm::from_static(algorithm.name())),
            checksum_type: plan.algorithm.map(|_| kind_name(plan.checksum().1)),
            initiator: Some(initiator()),
            is_truncated: Some(more && max > 0),
            key: Some(input.key.clone()),
            max_parts: Some(count(max)),
            next_part_number_marker: parts.last().filter(|_| more).map(|part| i32::from(part.number)),
            owner: Some(owner()),
            part_number_marker: Some(after),
            parts: listed(parts.iter().map(described).collect()),
            storage_class: plan.details.headers.storage_class.clone().map(StorageClass::from),
            upload_id: Some(input.upload_id.clone()),
            ..Default::default()
        })
    }
}

/// The checksum that every part needs, so that the object can have it.
fn wanted(plan: &Plan) -> BTreeSet<Algorithm> {
    BTreeSet::from([plan.checksum().0])
}

fn part_number(number: i32) -> S3Result<u16> {
    let number = u16::try_from(number)
        .ok()
        .filter(|number| (1..=10_000).contains(number));
    let message = "Part number must be an integer between 1 and 10000, inclusive";
    number.ok_or_else(|| refused(S3ErrorCode::InvalidArgument, message))
}

/// The bytes that a part copies: a range has to lie within the source.
fn copied_range(header: Option<&str>, source: &Reading) -> S3Result<Range<u64>> {
    let whole = source.object().size;
    let invalid = || {
        refused(
            S3ErrorCode::InvalidArgument,
            "The x-amz-copy-source-range value must be of the form \
        bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy",
        )
    };
    let bytes = match header {
        None => 0..whole,
        Some(header) => match s3s::dto::Range::parse(header).map_err(|_| invalid())? {
            s3s::dto::Range::Int {
                first,
                last: Some(last),
            } if last < whole => first..last + 1,
            _ => return Err(invalid()),
        },
    };
    if bytes.end - bytes.start > LARGEST_PUT {
        let message = "The specified copy source is larger than the maximum allowable size for a copy source";
        return Err(refused(S3ErrorCode::InvalidRequest, message));
    }
    Ok(bytes)
}

fn described(part: &Arc<Stored>) -> Part {
    let checksums = &part.checksums;
    with_checksums!(
        checksums,
        Part {
            e_tag: Some(etag(&part.etag)),
            last_modified: Some(timestamp(part.modified)),
            part_number: Some(i32::from(part.number)),
            size: Some(size(part.segment.size)),
        }
    )
}
