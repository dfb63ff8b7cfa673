//! Putting objects.

use std::collections::BTreeSet;

use s3s::dto::{ChecksumAlgorithm, PutObjectInput, PutObjectOutput};
use s3s::{S3ErrorCode, S3Request, S3Result};

use super::super::store::{Algorithm, Details, Headers};
use super::Service;
use super::body::{self, Expected};
use super::conditions;
use super::convert::{LARGEST_PUT, etag, size};
use super::details::{self, refuse_unsupported, sent_checksums, sent_headers, with_checksums};
use super::errors::refused;
use super::reading::{checksum_type, encryption};

impl Service {
    pub(super) async fn put(&self, mut request: S3Request<PutObjectInput>) -> S3Result<PutObjectOutput> {
        let input = &mut request.input;
        refuse_unsupported!(input)?;
        if input.write_offset_bytes.is_some() {
            return Err(refused(
                S3ErrorCode::NotImplemented,
                "This server appends nothing to objects",
            ));
        }
        let condition = conditions::write(input.if_match.take(), input.if_none_match.take())?;
        let details = Details {
            headers: sent_headers!(input),
            metadata: details::metadata(input.metadata.take())?,
            tags: details::header_tags(input.tagging.as_deref())?,
        };
        let body = input.body.take();
        let (expected, wanted) = put_expected(&request)?;
        let (bucket, key) = (self.bucket(&request.input.bucket)?, request.input.key);
        let mut blob = body::receive(bucket.clone(), body, expected, &wanted).await?;
        blob.checksums.retain(&wanted);
        let written = super::blocking(move || {
            let (object, drafts) = blob.into_object(details);
            Ok(bucket.put(&key, object, drafts, &condition)?)
        });
        let written = written.await?;
        let checksums = &written.object.checksums;
        Ok(with_checksums!(
            checksums,
            PutObjectOutput {
                checksum_type: Some(checksum_type(&written.object)),
                e_tag: Some(etag(&written.object.etag)),
                server_side_encryption: encryption(&written.object),
                version_id: written.version.map(|id| id.to_string()),
                ..Default::default()
            }
        ))
    }
}

/// What a put says of its body, and the checksums to keep: the client's, or else S3's default.
fn put_expected(request: &S3Request<PutObjectInput>) -> S3Result<(Expected, BTreeSet<Algorithm>)> {
    let input = &request.input;
    if input.content_length.is_some_and(|length| size(LARGEST_PUT) < length) {
        let message = "Your proposed upload exceeds the maximum allowed size";
        return Err(refused(S3ErrorCode::EntityTooLarge, message));
    }
    let named = details::algorithm(input.checksum_algorithm.as_ref().map(ChecksumAlgorithm::as_str))?;
    let framing = (input.content_length, input.content_md5.clone());
    let expected = Expected::new(request, framing, sent_checksums!(input), named)?;
    let mut wanted = expected.algorithms();
    if wanted.is_empty() {
        wanted.insert(Algorithm::Crc64nvme);
    }
    Ok((expected, wanted))
}
