//! Configuration of buckets that is stored and returned, and changes nothing here: nothing expires by lifecycle, the one
//! key may do everything whatever a policy says, and nobody is anonymous.

use s3s::dto::{
    BucketLifecycleConfiguration, DeleteBucketEncryptionInput, DeleteBucketEncryptionOutput,
    DeleteBucketLifecycleInput, DeleteBucketLifecycleOutput, DeleteBucketOwnershipControlsInput,
    DeleteBucketOwnershipControlsOutput, DeleteBucketPolicyInput, DeleteBucketPolicyOutput, DeleteBucketTaggingInput,
    DeleteBucketTaggingOutput, DeletePublicAccessBlockInput, DeletePublicAccessBlockOutput, GetBucketEncryptionInput,
    GetBucketEncryptionOutput, GetBucketLifecycleConfigurationInput, GetBucketLifecycleConfigurationOutput,
    GetBucketOwnershipControlsInput, GetBucketOwnershipControlsOutput, GetBucketPolicyInput, GetBucketPolicyOutput,
    GetBucketTaggingInput, GetBucketTaggingOutput, GetPublicAccessBlockInput, GetPublicAccessBlockOutput,
    ObjectOwnership, OwnershipControls, PublicAccessBlockConfiguration, PutBucketEncryptionInput,
    PutBucketEncryptionOutput, PutBucketLifecycleConfigurationInput, PutBucketLifecycleConfigurationOutput,
    PutBucketOwnershipControlsInput, PutBucketOwnershipControlsOutput, PutBucketPolicyInput, PutBucketPolicyOutput,
    PutBucketTaggingInput, PutBucketTaggingOutput, PutPublicAccessBlockInput, PutPublicAccessBlockOutput,
    ServerSideEncryptionConfiguration, Tagging,
};
use s3s::xml::{Deserialize, Deserializer, Serialize, Serializer};
use s3s::{S3Error, S3ErrorCode, S3Result};
use serde_json::Value;

use super::super::store::{Aspect, of_new_buckets};
use super::Service;
use super::details;
use super::errors::refused;

/// A bucket has at most so many tags.
const MOST_TAGS: usize = 50;

impl Service {
    /// The document of an aspect; what S3 says where there is none.
    fn document(&self, bucket: &str, aspect: Aspect) -> S3Result<String> {
        let found = self.bucket(bucket)?.settings().configuration.remove(&aspect);
        found.ok_or_else(|| absent(aspect))
    }

    fn configured<T: for<'xml> Deserialize<'xml>>(&self, bucket: &str, aspect: Aspect) -> S3Result<T> {
        let document = self.document(bucket, aspect)?;
        let mut reader = Deserializer::new(document.as_bytes());
        let read = T::deserialize(&mut reader);
        read.map_err(S3Error::internal_error)
    }

    async fn configure(&self, bucket: &str, aspect: Aspect, document: Option<String>) -> S3Result<()> {
        self.with_bucket(bucket, move |bucket| bucket.configure(aspect, document))
            .await
    }

    async fn configure_as(&self, bucket: &str, aspect: Aspect, value: &(impl Serialize + Sync)) -> S3Result<()> {
        let mut document = Vec::new();
        let written = value.serialize(&mut Serializer::new(&mut document));
        written.map_err(S3Error::internal_error)?;
        let document = String::from_utf8(document).map_err(S3Error::internal_error)?;
        self.configure(bucket, aspect, Some(document)).await
    }

    pub(super) fn bucket_encryption(&self, input: &GetBucketEncryptionInput) -> S3Result<GetBucketEncryptionOutput> {
        Ok(GetBucketEncryptionOutput {
            server_side_encryption_configuration: Some(self.configured(&input.bucket, Aspect::Encryption)?),
        })
    }

    pub(super) async fn set_bucket_encryption(
        &self,
        input: PutBucketEncryptionInput,
    ) -> S3Result<PutBucketEncryptionOutput> {
        let wanted: ServerSideEncryptionConfiguration = input.server_side_encryption_configuration;
        let rules = wanted.rules.iter();
        for default in rules.filter_map(|rule| rule.apply_server_side_encryption_by_default.as_ref()) {
            details::encryption(Some(default.sse_algorithm.as_str()), false)?;
        }
        self.configure_as(&input.bucket, Aspect::Encryption, &wanted).await?;
        Ok(PutBucketEncryptionOutput::default())
    }

    /// No bucket is without encryption: it gets that of a new one.
    pub(super) async fn reset_bucket_encryption(
        &self,
        input: DeleteBucketEncryptionInput,
    ) -> S3Result<DeleteBucketEncryptionOutput> {
        let document = of_new_buckets().remove(&Aspect::Encryption);
        self.configure(&input.bucket, Aspect::Encryption, document).await?;
        Ok(DeleteBucketEncryptionOutput::default())
    }

    pub(super) fn public_access(&self, input: &GetPublicAccessBlockInput) -> S3Result<GetPublicAccessBlockOutput> {
        let found: PublicAccessBlockConfiguration = self.configured(&input.bucket, Aspect::PublicAccess)?;
        Ok(GetPublicAccessBlockOutput {
            public_access_block_configuration: Some(found),
        })
    }

    pub(super) async fn set_public_access(
        &self,
        input: PutPublicAccessBlockInput,
    ) -> S3Result<PutPublicAccessBlockOutput> {
        let wanted = input.public_access_block_configuration;
        // What is not said is not blocked.
        let wanted = PublicAccessBlockConfiguration {
            block_public_acls: Some(wanted.block_public_acls.unwrap_or_default()),
            block_public_policy: Some(wanted.block_public_policy.unwrap_or_default()),
            ignore_public_acls: Some(wanted.ignore_public_acls.unwrap_or_default()),
            restrict_public_buckets: Some(wanted.restrict_public_buckets.unwrap_or_default()),
        };
        self.configure_as(&input.bucket, Aspect::PublicAccess, &wanted).await?;
        Ok(PutPublicAccessBlockOutput::default())
    }

    pub(super) async fn remove_public_access(
        &self,
        input: DeletePublicAccessBlockInput,
    ) -> S3Result<DeletePublicAccessBlockOutput> {
        self.configure(&input.bucket, Aspect::PublicAccess, None).await?;
        Ok(DeletePublicAccessBlockOutput::default())
    }

    pub(super) fn ownership(
        &self,
        input: &GetBucketOwnershipControlsInput,
    ) -> S3Result<GetBucketOwnershipControlsOutput> {
        let found: OwnershipControls = self.configured(&input.bucket, Aspect::Ownership)?;
        Ok(GetBucketOwnershipControlsOutput {
            ownership_controls: Some(found),
        })
    }

    pub(super) async fn set_ownership(
        &self,
        input: PutBucketOwnershipControlsInput,
    ) -> S3Result<PutBucketOwnershipControlsOutput> {
        let known = [
            ObjectOwnership::BUCKET_OWNER_ENFORCED,
            ObjectOwnership::BUCKET_OWNER_PREFERRED,
            ObjectOwnership::OBJECT_WRITER,
        ];
        let wanted = input.ownership_controls;
        let fits = matches!(&wanted.rules[..], [rule] if known.contains(&rule.object_ownership.as_str()));
        if !fits {
            let message = "The XML you provided was not well-formed or did not validate against our published schema";
            return Err(refused(S3ErrorCode::MalformedXML, message));
        }
        self.configure_as(&input.bucket, Aspect::Ownership, &wanted).await?;
        Ok(PutBucketOwnershipControlsOutput::default())
    }

    pub(super) async fn remove_ownership(
        &self,
        input: DeleteBucketOwnershipControlsInput,
    ) -> S3Result<DeleteBucketOwnershipControlsOutput> {
        self.configure(&input.bucket, Aspect::Ownership, None).await?;
        Ok(DeleteBucketOwnershipControlsOutput::default())
    }

    pub(super) fn lifecycle(
        &self,
        input: &GetBucketLifecycleConfigurationInput,
    ) -> S3Result<GetBucketLifecycleConfigurationOutput> {
        let found: BucketLifecycleConfiguration = self.configured(&input.bucket, Aspect::Lifecycle)?;
        Ok(GetBucketLifecycleConfigurationOutput {
            rules: Some(found.rules),
            transition_default_minimum_object_size: None,
        })
    }

    pub(super) async fn set_lifecycle(
        &self,
        input: PutBucketLifecycleConfigurationInput,
    ) -> S3Result<PutBucketLifecycleConfigurationOutput> {
        let wanted = input.lifecycle_configuration.filter(|wanted| !wanted.rules.is_empty());
        let Some(mut wanted) = wanted else {
            let message = "The XML you provided was not well-formed or did not validate against our published schema";
            return Err(refused(S3ErrorCode::MalformedXML, message));
        };
        for (number, rule) in wanted.rules.iter_mut().enumerate() {
            rule.id.get_or_insert_with(|| format!("rule-{number}"));
        }
        self.configure_as(&input.bucket, Aspect::Lifecycle, &wanted).await?;
        Ok(PutBucketLifecycleConfigurationOutput::default())
    }

    pub(super) async fn remove_lifecycle(
        &self,
        input: DeleteBucketLifecycleInput,
    ) -> S3Result<DeleteBucketLifecycleOutput> {
        self.configure(&input.bucket, Aspect::Lifecycle, None).await?;
        Ok(DeleteBucketLifecycleOutput::default())
    }

    pub(super) fn policy(&self, input: &GetBucketPolicyInput) -> S3Result<GetBucketPolicyOutput> {
        Ok(GetBucketPolicyOutput {
            policy: Some(self.document(&input.bucket, Aspect::Policy)?),
        })
    }

    pub(super) async fn set_policy(&self, input: PutBucketPolicyInput) -> S3Result<PutBucketPolicyOutput> {
        let is_policy = serde_json::from_str::<Value>(&input.policy).is_ok_and(|policy| policy["Statement"].is_array());
        if !is_policy {
            let message = "Policies must be valid JSON and the first byte must be '{'";
            return Err(refused(S3ErrorCode::MalformedPolicy, message));
        }
        self.configure(&input.bucket, Aspect::Policy, Some(input.policy))
            .await?;
        Ok(PutBucketPolicyOutput::default())
    }

    pub(super) async fn remove_policy(&self, input: DeleteBucketPolicyInput) -> S3Result<DeleteBucketPolicyOutput> {
        self.configure(&input.bucket, Aspect::Policy, None).await?;
        Ok(DeleteBucketPolicyOutput::default())
    }

    pub(super) fn bucket_tags(&self, input: &GetBucketTaggingInput) -> S3Result<GetBucketTaggingOutput> {
        let found: Tagging = self.configured(&input.bucket, Aspect::Tags)?;
        Ok(GetBucketTaggingOutput { tag_set: found.tag_set })
    }

    pub(super) async fn set_bucket_tags(&self, input: PutBucketTaggingInput) -> S3Result<PutBucketTaggingOutput> {
        if input.tagging.tag_set.len() > MOST_TAGS {
            let message = "Bucket tag count cannot be greater than 50";
            return Err(refused(S3ErrorCode::InvalidTag, message));
        }
        let none = input.tagging.tag_set.is_empty();
        if none {
            self.configure(&input.bucket, Aspect::Tags, None).await?;
        } else {
            self.configure_as(&input.bucket, Aspect::Tags, &input.tagging).await?;
        }
        Ok(PutBucketTaggingOutput::default())
    }

    pub(super) async fn remove_bucket_tags(
        &self,
        input: DeleteBucketTaggingInput,
    ) -> S3Result<DeleteBucketTaggingOutput> {
        self.configure(&input.bucket, Aspect::Tags, None).await?;
        Ok(DeleteBucketTaggingOutput::default())
    }
}

fn absent(aspect: Aspect) -> S3Error {
    let (code, message) = match aspect {
        Aspect::Encryption => (
            S3ErrorCode::ServerSideEncryptionConfigurationNotFoundError,
            "The server side encryption configuration was not found",
        ),
        Aspect::Lifecycle => (
            S3ErrorCode::NoSuchLifecycleConfiguration,
            "The lifecycle configuration does not exist",
        ),
        Aspect::Ownership => (
            S3ErrorCode::OwnershipControlsNotFoundError,
            "The bucket ownership controls were not found",
        ),
        Aspect::Policy => (S3ErrorCode::NoSuchBucketPolicy, "The bucket policy does not exist"),
        Aspect::Tags => (S3ErrorCode::NoSuchTagSet, "The TagSet does not exist"),
        Aspect::PublicAccess => {
            let code = S3ErrorCode::Custom("NoSuchPublicAccessBlockConfiguration".into());
            let mut error = refused(code, "The public access block configuration was not found");
            error.set_status_code(http::StatusCode::NOT_FOUND);
            return error;
        }
    };
    refused(code, message)
}
