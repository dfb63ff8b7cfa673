//! Copying objects, of any version, within and between buckets.

use std::collections::BTreeSet;

use s3s::dto::{
    ChecksumAlgorithm, CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource, MetadataDirective,
    TaggingDirective,
};
use s3s::{S3Error, S3ErrorCode, S3Result};

use super::super::store::{
    Algorithm, Bucket as Stored, Condition, Details, Drafts, Headers, Kind, Object, Reading, StoreError, VersionId,
    Written,
};
use super::Service;
use super::conditions::ReadConditions;
use super::convert::{LARGEST_PUT, etag, timestamp, version};
use super::details::{self, refuse_unsupported, sent_headers, with_checksums};
use super::errors::refused;
use super::reading::{checksum_type, encryption};

impl Service {
    pub(super) async fn copy(&self, mut input: CopyObjectInput) -> S3Result<CopyObjectOutput> {
        refuse_unsupported!(input)?;
        let conditions = ReadConditions {
            if_match: input.copy_source_if_match.take(),
            if_none_match: input.copy_source_if_none_match.take(),
            if_modified_since: input.copy_source_if_modified_since.take(),
            if_unmodified_since: input.copy_source_if_unmodified_since.take(),
        };
        let source = self.source(&input.copy_source, &conditions).await?;
        refuse_no_change(&input, &source)?;
        if source.object().size > LARGEST_PUT {
            let message = "The specified copy source is larger than the maximum allowable size for a copy source";
            return Err(refused(S3ErrorCode::InvalidRequest, message));
        }
        let details = copied_details(&mut input, &source)?;
        let named = details::algorithm(input.checksum_algorithm.as_ref().map(ChecksumAlgorithm::as_str))?;
        let (target, key, from) = (self.bucket(&input.bucket)?, input.key, source.version);
        let written = super::blocking(move || {
            let (object, drafts) = duplicate(&target, &source, details, named)?;
            Ok(target.put(&key, object, drafts, &Condition::default())?)
        });
        Ok(answer(&written.await?, from))
    }

    /// The object that a copy reads from.
    pub(super) async fn source(&self, named: &CopySource, conditions: &ReadConditions) -> S3Result<Reading> {
        let CopySource::Bucket {
            bucket,
            key,
            version_id,
        } = named
        else {
            let message = "This server has no access points";
            return Err(refused(S3ErrorCode::NotImplemented, message));
        };
        let (key, id) = (key.to_string(), version(version_id.as_deref())?);
        let found = self.with_bucket(bucket, move |bucket| match bucket.read(&key, id) {
            Err(StoreError::IsMarker { .. }) => Ok(None),
            found => found.map(Some),
        });
        let marker = "The source of a copy request may not specifically refer to a delete marker by version id.";
        let reading = found
            .await?
            .ok_or_else(|| refused(S3ErrorCode::InvalidRequest, marker))?;
        conditions.check_source(&reading)?;
        Ok(reading)
    }
}

/// A copy of an object onto itself has to change something.
fn refuse_no_change(input: &CopyObjectInput, source: &Reading) -> S3Result<()> {
    let CopySource::Bucket { bucket, key, .. } = &input.copy_source else {
        return Ok(());
    };
    let same = **bucket == *input.bucket && **key == *input.key && source.current;
    let changes = replaces(input.metadata_directive.as_ref())
        || input.storage_class.is_some()
        || input.website_redirect_location.is_some()
        || input.server_side_encryption.is_some()
        || input.checksum_algorithm.is_some();
    if same && !changes {
        let message = "This copy request is illegal because it is trying to copy an object to itself without \
                       changing the object's metadata, storage class, website redirect location or encryption \
                       attributes.";
        return Err(refused(S3ErrorCode::InvalidRequest, message));
    }
    Ok(())
}

fn replaces(directive: Option<&MetadataDirective>) -> bool {
    directive.is_some_and(|directive| directive.as_str() == MetadataDirective::REPLACE)
}

/// What the copy says of itself: the source's words or the request's, as the directives want. Storage class,
/// redirect and encryption are never copied.
fn copied_details(input: &mut CopyObjectInput, source: &Reading) -> S3Result<Details> {
    let old = &source.object().details;
    let sent = sent_headers!(input);
    let (headers, metadata) = if replaces(input.metadata_directive.as_ref()) {
        (sent, details::metadata(input.metadata.take())?)
    } else {
        let kept = Headers {
            website_redirect_location: sent.website_redirect_location,
            storage_class: sent.storage_class,
            encryption: sent.encryption,
            ..old.headers.clone()
        };
        (kept, old.metadata.clone())
    };
    let directive = input.tagging_directive.as_ref().map(TaggingDirective::as_str);
    let tags = match directive {
        Some(TaggingDirective::REPLACE) => details::header_tags(input.tagging.as_deref())?,
        _ => old.tags.clone(),
    };
    Ok(Details {
        headers,
        metadata,
        tags,
    })
}

/// The copied object: by second names of the same bytes where its digests are known, and else by reading them.
fn duplicate(
    target: &Stored,
    source: &Reading,
    details: Details,
    named: Option<Algorithm>,
) -> Result<(Object, Drafts), S3Error> {
    let object = source.object();
    let kept: Vec<_> = object.checksums.values.keys().copied().collect();
    let wanted = named.map_or(kept, |algorithm| vec![algorithm]);
    let known = object.checksums.kind == Kind::Full && wanted.iter().all(|a| object.checksums.values.contains_key(a));
    if object.upload.is_some() || !known {
        let mut writer = target.writer(&wanted.into_iter().collect::<BTreeSet<_>>())?;
        for piece in source.pieces(0, object.size) {
            writer.copy_from(&mut source.open(piece)?)?;
        }
        return Ok(writer.finish()?.into_object(details));
    }
    let (segments, drafts) = target.link(source)?;
    let mut copy = Object {
        segments,
        details,
        ..Object::clone(object)
    };
    copy.checksums.retain(&wanted.into_iter().collect());
    Ok((copy, drafts))
}

fn answer(written: &Written, from: Option<VersionId>) -> CopyObjectOutput {
    let checksums = &written.object.checksums;
    let result = with_checksums!(
        checksums,
        CopyObjectResult {
            checksum_type: Some(checksum_type(&written.object)),
            e_tag: Some(etag(&written.object.etag)),
            last_modified: Some(timestamp(written.modified)),
        }
    );
    CopyObjectOutput {
        copy_object_result: Some(result),
        copy_source_version_id: from.map(|id| id.to_string()),
        server_side_encryption: encryption(&written.object),
        version_id: written.version.map(|id| id.to_string()),
        ..Default::default()
    }
}
