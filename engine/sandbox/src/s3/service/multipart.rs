//! Multipart uploads: beginning, completing, giving up, listing.

use std::collections::BTreeMap;
use std::sync::Arc;

use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, ChecksumAlgorithm, ChecksumType,
    CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CompletedMultipartUpload, CreateMultipartUploadInput,
    CreateMultipartUploadOutput, ETag, Initiator, ListMultipartUploadsInput, ListMultipartUploadsOutput,
    MultipartUpload, Owner, ServerSideEncryption, StorageClass,
};
use s3s::{S3ErrorCode, S3Result};

use super::super::store::{
    After, Algorithm, Completion, Details, Headers, Kind, Upload, VersionId, Wanted, list_uploads,
};
use super::Service;
use super::conditions;
use super::convert::{Encoder, count, etag, filled, listed, owner, page_size, timestamp, upload};
use super::details::{self, refuse_unsupported, sent_checksums, sent_headers, with_checksums};
use super::errors::refused;
use super::listing::{apart, filter, place, place_id};
use super::reading::{checksum_type, encryption};

impl Service {
    pub(super) async fn begin_upload(
        &self,
        mut input: CreateMultipartUploadInput,
    ) -> S3Result<CreateMultipartUploadOutput> {
        refuse_unsupported!(input)?;
        let details = Details {
            headers: sent_headers!(input),
            metadata: details::metadata(input.metadata.take())?,
            tags: details::header_tags(input.tagging.as_deref())?,
        };
        let algorithm = details::algorithm(input.checksum_algorithm.as_ref().map(ChecksumAlgorithm::as_str))?;
        let kind = input.checksum_type.as_ref().map(kind).transpose()?;
        refuse_impossible(algorithm, kind)?;
        let key = input.key;
        let begun = self.with_bucket(&input.bucket, move |bucket| {
            bucket.begin_upload(&key, details, algorithm, kind)
        });
        let plan = begun.await?;
        let encryption = plan.details.headers.encryption.clone();
        Ok(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            checksum_algorithm: input.checksum_algorithm,
            checksum_type: plan.algorithm.map(|_| kind_name(plan.checksum().1)),
            key: Some(plan.key),
            server_side_encryption: encryption.map(ServerSideEncryption::from),
            upload_id: Some(plan.id.to_string()),
            ..Default::default()
        })
    }

    pub(super) async fn complete_upload(
        &self,
        input: CompleteMultipartUploadInput,
    ) -> S3Result<CompleteMultipartUploadOutput> {
        let checksums = sent_checksums!(input);
        let completion = Completion {
            parts: wanted(input.multipart_upload)?,
            checksums,
            size: input.mpu_object_size.and_then(|size| u64::try_from(size).ok()),
            condition: conditions::write(input.if_match, input.if_none_match)?,
        };
        let (key, id) = (input.key.clone(), upload(&input.upload_id)?);
        let completed = self.with_bucket(&input.bucket, move |bucket| {
            bucket.complete_upload(&key, id, &completion)
        });
        let written = completed.await?;
        let checksums = &written.object.checksums;
        Ok(with_checksums!(
            checksums,
            CompleteMultipartUploadOutput {
                checksum_type: Some(checksum_type(&written.object)),
                e_tag: Some(etag(&written.object.etag)),
                location: Some(format!("/{}/{}", input.bucket, input.key)),
                bucket: Some(input.bucket),
                key: Some(input.key),
                server_side_encryption: encryption(&written.object),
                version_id: written.version.map(|id| id.to_string()),
                ..Default::default()
            }
        ))
    }

    pub(super) async fn abort_upload(&self, input: AbortMultipartUploadInput) -> S3Result<AbortMultipartUploadOutput> {
        let (key, id) = (input.key, upload(&input.upload_id)?);
        self.with_bucket(&input.bucket, move |bucket| bucket.abort_upload(&key, id))
            .await?;
        Ok(AbortMultipartUploadOutput::default())
    }

    pub(super) fn uploads(&self, input: &ListMultipartUploadsInput) -> S3Result<ListMultipartUploadsOutput> {
        let encoder = Encoder::new(input.encoding_type.clone())?;
        let max = page_size(input.max_uploads, "max-uploads")?;
        let filter = filter(input.prefix.as_ref(), input.delimiter.as_ref());
        let mut by_key = BTreeMap::<String, Vec<Arc<Upload>>>::new();
        for upload in self.bucket(&input.bucket)?.uploads() {
            by_key.entry(upload.plan.key.clone()).or_default().push(upload);
        }
        let id = filled(input.upload_id_marker.clone())
            .map(|id| upload(&id))
            .transpose()?;
        let after = match (filled(input.key_marker.clone()), id) {
            (None, _) => After::Start,
            (Some(key), None) => After::marker(&filter, key),
            (Some(key), Some(id)) => After::Version(key, VersionId::Stamp(id)),
        };
        let page = list_uploads(&by_key, &filter, &after, max);
        let (uploads, prefixes) = apart(page.items, &encoder);
        Ok(ListMultipartUploadsOutput {
            bucket: Some(input.bucket.clone()),
            common_prefixes: listed(prefixes),
            delimiter: encoder.some(input.delimiter.as_deref()),
            encoding_type: encoder.kind(),
            is_truncated: Some(page.next.is_some()),
            key_marker: Some(encoder.text(input.key_marker.as_deref().unwrap_or_default())),
            max_uploads: Some(count(max)),
            next_key_marker: page.next.as_ref().and_then(place).map(|key| encoder.text(key)),
            next_upload_id_marker: page.next.as_ref().and_then(place_id),
            prefix: encoder.some(input.prefix.as_deref()),
            request_charged: None,
            upload_id_marker: input.upload_id_marker.clone(),
            uploads: listed(uploads.iter().map(|upload| described(upload, &encoder)).collect()),
        })
    }
}

fn kind(name: &ChecksumType) -> S3Result<Kind> {
    match name.as_str() {
        ChecksumType::FULL_OBJECT => Ok(Kind::Full),
        ChecksumType::COMPOSITE => Ok(Kind::Composite),
        _ => Err(refused(
            S3ErrorCode::InvalidRequest,
            "Value for x-amz-checksum-type header is invalid.",
        )),
    }
}

/// The name of what a checksum covers.
pub(super) fn kind_name(kind: Kind) -> ChecksumType {
    ChecksumType::from_static(match kind {
        Kind::Full => ChecksumType::FULL_OBJECT,
        Kind::Composite => ChecksumType::COMPOSITE,
    })
}

/// Some algorithms cannot be joined over parts, and one is never joined as a composite.
fn refuse_impossible(algorithm: Option<Algorithm>, kind: Option<Kind>) -> S3Result<()> {
    let impossible = matches!(
        (algorithm, kind),
        (Some(Algorithm::Sha1 | Algorithm::Sha256), Some(Kind::Full))
            | (Some(Algorithm::Crc64nvme) | None, Some(Kind::Composite))
    );
    if impossible {
        let message = "The checksum type cannot be used with the checksum algorithm.";
        return Err(refused(S3ErrorCode::InvalidRequest, message));
    }
    Ok(())
}

fn wanted(sent: Option<CompletedMultipartUpload>) -> S3Result<Vec<Wanted>> {
    let parts = sent.and_then(|upload| upload.parts).unwrap_or_default();
    let wanted: Option<Vec<_>> = parts
        .into_iter()
        .map(|part| {
            Some(Wanted {
                number: u16::try_from(part.part_number?).ok()?,
                checksums: sent_checksums!(part),
                etag: part.e_tag.map(ETag::into_value),
            })
        })
        .collect();
    let message = "The XML you provided was not well-formed or did not validate against our published schema";
    let malformed = || refused(S3ErrorCode::MalformedXML, message);
    wanted.filter(|parts| !parts.is_empty()).ok_or_else(malformed)
}

fn described(upload: &Upload, encoder: &Encoder) -> MultipartUpload {
    let plan = &upload.plan;
    MultipartUpload {
        checksum_algorithm: plan
            .algorithm
            .map(|algorithm| ChecksumAlgorithm::from_static(algorithm.name())),
        checksum_type: plan.algorithm.map(|_| kind_name(plan.checksum().1)),
        initiated: Some(timestamp(plan.initiated)),
        initiator: Some(initiator()),
        key: Some(encoder.text(&plan.key)),
        owner: Some(owner()),
        storage_class: plan.details.headers.storage_class.clone().map(StorageClass::from),
        upload_id: Some(plan.id.to_string()),
    }
}

/// Who began every upload.
pub(super) fn initiator() -> Initiator {
    let Owner { display_name, id } = owner();
    Initiator { display_name, id }
}
