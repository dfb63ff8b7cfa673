//! Deleting objects, one and many.

use std::sync::Arc;

use s3s::dto::{
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ETag, Error,
    ObjectIdentifier,
};
use s3s::{S3Error, S3ErrorCode, S3Result};

use super::super::store::{Bucket as Stored, Condition, Deleted, StoreError, VersionId};
use super::Service;
use super::conditions;
use super::convert::{listed, version};
use super::errors::refused;

/// DeleteObjects takes at most this many keys.
const MOST_DELETES: usize = 1000;

impl Service {
    pub(super) async fn delete(&self, input: DeleteObjectInput) -> S3Result<DeleteObjectOutput> {
        if input.if_match_size.is_some() || input.if_match_last_modified_time.is_some() {
            let message = "This server knows no conditions on size and time of what is deleted";
            return Err(refused(S3ErrorCode::NotImplemented, message));
        }
        let condition = conditions::write(input.if_match, None)?;
        let (key, id) = (input.key, version(input.version_id.as_deref())?);
        let delete = move |bucket: Arc<Stored>| match id {
            None => bucket.delete_key(&key, &condition),
            Some(id) => bucket.delete_version(&key, id, &condition),
        };
        let deleted = self.with_bucket(&input.bucket, delete).await?;
        Ok(DeleteObjectOutput {
            delete_marker: deleted.marker.then_some(true),
            version_id: deleted.version.map(|id| id.to_string()),
            ..Default::default()
        })
    }

    pub(super) async fn delete_many(&self, input: DeleteObjectsInput) -> S3Result<DeleteObjectsOutput> {
        let objects = input.delete.objects;
        if objects.is_empty() || objects.len() > MOST_DELETES {
            let message = "The XML you provided was not well-formed or did not validate against our published schema";
            return Err(refused(S3ErrorCode::MalformedXML, message));
        }
        let quiet = input.delete.quiet.unwrap_or_default();
        let delete = move |bucket: Arc<Stored>| Ok(objects.into_iter().map(|one| delete_one(&bucket, one)).collect());
        let results: Vec<_> = self.with_bucket(&input.bucket, delete).await?;
        let (mut deleted, mut errors) = (Vec::new(), Vec::new());
        for result in results {
            match result {
                Ok(done) => deleted.push(done),
                Err(error) => errors.push(error),
            }
        }
        Ok(DeleteObjectsOutput {
            deleted: listed(deleted).filter(|_| !quiet),
            errors: listed(errors),
            request_charged: None,
        })
    }
}

fn delete_one(bucket: &Stored, one: ObjectIdentifier) -> Result<DeletedObject, Error> {
    let done = delete_identified(bucket, &one);
    match done {
        Ok((asked, deleted)) => Ok(DeletedObject {
            delete_marker: deleted.marker.then_some(true),
            delete_marker_version_id: deleted.version.filter(|_| deleted.marker).map(|id| id.to_string()),
            key: Some(one.key),
            version_id: asked.map(|id| id.to_string()),
        }),
        Err(error) => {
            let error = S3Error::from(error);
            Err(Error {
                code: Some(error.code().as_str().to_owned()),
                key: Some(one.key),
                message: error.message().map(str::to_owned),
                version_id: one.version_id,
            })
        }
    }
}

fn delete_identified(bucket: &Stored, one: &ObjectIdentifier) -> Result<(Option<VersionId>, Deleted), StoreError> {
    let condition = Condition {
        if_match: one.e_tag.clone().map(ETag::into_value),
        if_none: false,
    };
    let id = version(one.version_id.as_deref())?;
    let deleted = match id {
        None => bucket.delete_key(&one.key, &condition),
        Some(id) => bucket.delete_version(&one.key, id, &condition),
    };
    deleted.map(|deleted| (id, deleted))
}
