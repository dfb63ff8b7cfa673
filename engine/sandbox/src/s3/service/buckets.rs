//! Buckets: making, finding, removing, and whether they keep versions.

use s3s::dto::{
    Bucket, BucketCannedACL, BucketLocationConstraint, BucketVersioningStatus, CreateBucketInput, CreateBucketOutput,
    DeleteBucketInput, DeleteBucketOutput, GetBucketLocationInput, GetBucketLocationOutput, GetBucketVersioningInput,
    GetBucketVersioningOutput, HeadBucketInput, HeadBucketOutput, ListBucketsInput, ListBucketsOutput, MFADelete,
    PutBucketVersioningInput, PutBucketVersioningOutput,
};
use s3s::{S3ErrorCode, S3Result};

use super::super::store::{Bucket as Stored, Versioning};
use super::Service;
use super::convert::{owner, timestamp};
use super::details;
use super::errors::refused;

/// The region of buckets that name none.
const DEFAULT_REGION: &str = "us-east-1";

impl Service {
    pub(super) async fn create_bucket(&self, input: CreateBucketInput) -> S3Result<CreateBucketOutput> {
        if input.object_lock_enabled_for_bucket == Some(true) {
            let message = "This server has no object lock";
            return Err(refused(S3ErrorCode::NotImplemented, message));
        }
        let grants = input.grant_full_control.or(input.grant_read).or(input.grant_write);
        details::acl(input.acl.as_ref().map(BucketCannedACL::as_str), grants.is_some())?;
        let configured = input.create_bucket_configuration.and_then(|c| c.location_constraint);
        let region = configured.map(|region| region.as_str().to_owned());
        let region = region.filter(|region| region != DEFAULT_REGION);
        let name = input.bucket;
        let location = Some(format!("/{name}"));
        self.blocking(move |store| store.create_bucket(&name, region)).await?;
        Ok(CreateBucketOutput { location })
    }

    pub(super) fn head_bucket(&self, input: &HeadBucketInput) -> S3Result<HeadBucketOutput> {
        let bucket = self.bucket(&input.bucket)?;
        Ok(HeadBucketOutput {
            bucket_region: Some(region(&bucket)),
            ..Default::default()
        })
    }

    pub(super) async fn delete_bucket(&self, input: DeleteBucketInput) -> S3Result<DeleteBucketOutput> {
        self.blocking(move |store| store.delete_bucket(&input.bucket)).await?;
        Ok(DeleteBucketOutput::default())
    }

    pub(super) fn list_buckets(&self, input: &ListBucketsInput) -> S3Result<ListBucketsOutput> {
        let most = input.max_buckets.map_or(Ok(10_000), usize::try_from);
        let most = most.map_err(|_| refused(S3ErrorCode::InvalidArgument, "max-buckets must be 1 to 10000"))?;
        let prefix = input.prefix.clone().unwrap_or_default();
        let after = input.continuation_token.as_deref().unwrap_or_default();
        let mut found: Vec<_> = self.store.buckets();
        found.retain(|bucket| bucket.name.starts_with(&prefix) && bucket.name.as_str() > after);
        found.retain(|bucket| {
            input
                .bucket_region
                .as_ref()
                .is_none_or(|wanted| *wanted == region(bucket))
        });
        let more = found.len() > most;
        found.truncate(most);
        Ok(ListBucketsOutput {
            continuation_token: found.last().filter(|_| more).map(|bucket| bucket.name.clone()),
            buckets: Some(found.iter().map(|bucket| described(bucket)).collect()),
            owner: Some(owner()),
            prefix: input.prefix.clone(),
        })
    }

    pub(super) fn bucket_location(&self, input: &GetBucketLocationInput) -> S3Result<GetBucketLocationOutput> {
        let region = self.bucket(&input.bucket)?.settings().region;
        Ok(GetBucketLocationOutput {
            location_constraint: region.map(BucketLocationConstraint::from),
        })
    }

    pub(super) fn versioning(&self, input: &GetBucketVersioningInput) -> S3Result<GetBucketVersioningOutput> {
        let status = match self.bucket(&input.bucket)?.settings().versioning {
            Versioning::Never => None,
            Versioning::Enabled => Some(BucketVersioningStatus::ENABLED),
            Versioning::Suspended => Some(BucketVersioningStatus::SUSPENDED),
        };
        Ok(GetBucketVersioningOutput {
            mfa_delete: None,
            status: status.map(BucketVersioningStatus::from_static),
        })
    }

    pub(super) async fn set_versioning(&self, input: PutBucketVersioningInput) -> S3Result<PutBucketVersioningOutput> {
        let asked = input.versioning_configuration;
        if asked.mfa_delete.is_some_and(|mfa| mfa.as_str() == MFADelete::ENABLED) {
            let message = "This server has no MFA delete";
            return Err(refused(S3ErrorCode::NotImplemented, message));
        }
        let versioning = match asked.status.as_ref().map(BucketVersioningStatus::as_str) {
            Some(BucketVersioningStatus::ENABLED) => Versioning::Enabled,
            Some(BucketVersioningStatus::SUSPENDED) => Versioning::Suspended,
            _ => {
                let message = "The Versioning element must be specified as Enabled or Suspended";
                return Err(refused(S3ErrorCode::IllegalVersioningConfigurationException, message));
            }
        };
        self.with_bucket(&input.bucket, move |bucket| bucket.set_versioning(versioning))
            .await?;
        Ok(PutBucketVersioningOutput::default())
    }
}

fn region(bucket: &Stored) -> String {
    bucket.settings().region.unwrap_or_else(|| DEFAULT_REGION.to_owned())
}

fn described(bucket: &Stored) -> Bucket {
    Bucket {
        bucket_region: Some(region(bucket)),
        creation_date: Some(timestamp(bucket.settings().created)),
        name: Some(bucket.name.clone()),
    }
}
