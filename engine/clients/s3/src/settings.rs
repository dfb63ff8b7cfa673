//! What is set for a bucket beside its versioning: looked at one by one, for each needs a permission of its own, and not
//! every store knows them all.

use std::collections::BTreeMap;
use std::error::Error;

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::types::{
    BucketLifecycleConfiguration, LifecycleRule as SdkRule, ObjectOwnership, OwnershipControls, OwnershipControlsRule,
    PublicAccessBlockConfiguration, ServerSideEncryption, ServerSideEncryptionByDefault,
    ServerSideEncryptionConfiguration, ServerSideEncryptionRule, Tag, Tagging,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use jm_step::{StepError, StepErrorKind};

use crate::error::Doing;
use crate::reader::status;
use crate::transport::{Failure, summed};
use crate::{Encryption, LifecycleRule, S3Bucket, S3Reader};

/// How a bucket encrypts what is written without a word about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DefaultEncryption {
    /// With which keys.
    pub keys: Encryption,
    /// Whether a key of the bucket's own stands between KMS and its objects, which saves requests to KMS.
    pub bucket_key: bool,
}

/// Which kinds of public access are blocked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PublicAccessBlock {
    /// Requests that would make something public by an ACL are refused.
    pub block_public_acls: bool,
    /// ACLs that make something public count for nothing.
    pub ignore_public_acls: bool,
    /// Policies that would make something public are refused.
    pub block_public_policy: bool,
    /// Only the account itself and services of AWS reach a bucket with a public policy.
    pub restrict_public_buckets: bool,
}

impl PublicAccessBlock {
    /// Everything is blocked.
    pub const ALL: Self = Self {
        block_public_acls: true,
        ignore_public_acls: true,
        block_public_policy: true,
        restrict_public_buckets: true,
    };
}

/// Who owns what others write to a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Ownership {
    /// The bucket's owner; ACLs count for nothing.
    BucketOwnerEnforced,
    /// The bucket's owner, where the writer says so.
    BucketOwnerPreferred,
    /// Whoever writes it.
    ObjectWriter,
}

/// The lifecycle rules of a bucket as the store has them, also those that jm cannot say.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Lifecycle(pub(crate) Vec<SdkRule>);

impl Lifecycle {
    /// The rule of this id; `None` where there is none, `Some(None)` for one that says what a [`LifecycleRule`] cannot.
    pub fn rule(&self, id: &str) -> Option<Option<LifecycleRule>> {
        let found = self.0.iter().find(|rule| rule.id() == Some(id));
        found.map(LifecycleRule::read)
    }

    /// The same with these in the place of those with their ids.
    pub fn with(&self, rules: &[LifecycleRule]) -> Result<Self, StepError> {
        let named = |rule: &SdkRule| rules.iter().any(|wanted| rule.id() == Some(wanted.id.as_str()));
        let mut all: Vec<SdkRule> = self.0.iter().filter(|rule| !named(rule)).cloned().collect();
        for rule in rules {
            all.push(rule.written()?);
        }
        Ok(Self(all))
    }
}

/// What a store answers that has none, or that knows no such setting.
fn told<T, E>(
    doing: &Doing,
    absent: &str,
    setting: &str,
    outcome: Result<T, Failure<E>>,
) -> Result<Option<T>, StepError>
where
    E: Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    match outcome {
        Ok(output) => Ok(Some(output)),
        Err(error) if error.code() == Some(absent) => Ok(None),
        Err(error) => Err(failed(doing, setting, &error)),
    }
}

/// A failed call about a setting, which not every store has.
pub(crate) fn failed<E>(doing: &Doing, setting: &str, error: &Failure<E>) -> StepError
where
    E: Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    if status(error) == Some(501) {
        return StepError::failed(format!("{doing}: the store does not know this setting"))
            .hint(format!("leave `{setting}` out for this store"));
    }
    doing.failed(error)
}

fn incomplete(doing: &Doing, error: impl Error + Send + Sync + 'static) -> StepError {
    StepError::failed(format!("{doing}: the request could not be made")).source(error)
}

impl S3Reader {
    /// Whether there is such a bucket. One that the credentials may not look at is an error, for somebody else may have it.
    pub async fn exists(&self) -> Result<bool, StepError> {
        match self.ping().await {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == jm_step::StepErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// How the bucket encrypts what is written without a word about it; `None` where it does not.
    pub async fn default_encryption(&self) -> Result<Option<DefaultEncryption>, StepError> {
        let doing = self.on_bucket("read the encryption of", "s3:GetEncryptionConfiguration");
        let call = self.0.client.get_bucket_encryption().bucket(&self.0.bucket).send();
        let absent = "ServerSideEncryptionConfigurationNotFoundError";
        let output = told(&doing, absent, "encryption", call.await)?;
        let rules = output.and_then(|output| output.server_side_encryption_configuration);
        let rule = rules.and_then(|configuration| configuration.rules.into_iter().next());
        let Some(rule) = rule else { return Ok(None) };
        let bucket_key = rule.bucket_key_enabled() == Some(true);
        let Some(default) = rule.apply_server_side_encryption_by_default else {
            return Ok(None);
        };
        let keys = match default.sse_algorithm {
            ServerSideEncryption::Aes256 => Encryption::S3,
            // Without an id it is the account's own key for S3.
            _ => Encryption::KmsKey(default.kms_master_key_id.unwrap_or_else(|| "alias/aws/s3".to_owned())),
        };
        Ok(Some(DefaultEncryption { keys, bucket_key }))
    }

    /// Whether versions may be encrypted by KMS: by the bucket's default, or because whoever wrote one named a key. The ETags
    /// of such versions are no sums of their content. Only a store that knows no encryption of its own has none; where
    /// asking is not allowed, it may.
    pub async fn may_encrypt_by_kms(&self) -> Result<bool, StepError> {
        match self.default_encryption().await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == StepErrorKind::Denied => Ok(true),
            // A store that knows no such setting.
            Err(error) if error.kind() == StepErrorKind::Failed => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the target says how objects are encrypted, whatever the bucket says.
    pub fn chooses_keys(&self) -> bool {
        self.0.encryption.is_some()
    }

    /// Which public access is blocked; nothing is where the bucket says nothing.
    pub async fn public_access_block(&self) -> Result<PublicAccessBlock, StepError> {
        let doing = self.on_bucket("read the public access block of", "s3:GetBucketPublicAccessBlock");
        let call = self.0.client.get_public_access_block().bucket(&self.0.bucket).send();
        let absent = "NoSuchPublicAccessBlockConfiguration";
        let output = told(&doing, absent, "public_access", call.await)?;
        let found = output.and_then(|output| output.public_access_block_configuration);
        let blocks = |set: Option<bool>| set == Some(true);
        Ok(
            found.map_or_else(PublicAccessBlock::default, |found| PublicAccessBlock {
                block_public_acls: blocks(found.block_public_acls),
                ignore_public_acls: blocks(found.ignore_public_acls),
                block_public_policy: blocks(found.block_public_policy),
                restrict_public_buckets: blocks(found.restrict_public_buckets),
            }),
        )
    }

    /// Who owns what others write; `None` where the bucket says nothing.
    pub async fn ownership(&self) -> Result<Option<Ownership>, StepError> {
        let doing = self.on_bucket("read the ownership of", "s3:GetBucketOwnershipControls");
        let call = self
            .0
            .client
            .get_bucket_ownership_controls()
            .bucket(&self.0.bucket)
            .send();
        let output = told(&doing, "OwnershipControlsNotFoundError", "ownership", call.await)?;
        let rules = output.and_then(|output| output.ownership_controls);
        let Some(rule) = rules.and_then(|controls| controls.rules.into_iter().next()) else {
            return Ok(None);
        };
        match rule.object_ownership {
            ObjectOwnership::BucketOwnerEnforced => Ok(Some(Ownership::BucketOwnerEnforced)),
            ObjectOwnership::BucketOwnerPreferred => Ok(Some(Ownership::BucketOwnerPreferred)),
            ObjectOwnership::ObjectWriter => Ok(Some(Ownership::ObjectWriter)),
            other => Err(StepError::failed(format!(
                "{doing}: the store says `{}`",
                other.as_str()
            ))),
        }
    }

    /// The rules by which objects expire or move to other classes.
    pub async fn lifecycle(&self) -> Result<Lifecycle, StepError> {
        let doing = self.on_bucket("read the lifecycle of", "s3:GetLifecycleConfiguration");
        let call = self.0.client.get_bucket_lifecycle_configuration();
        let call = call.bucket(&self.0.bucket).send();
        let output = told(&doing, "NoSuchLifecycleConfiguration", "lifecycle", call.await)?;
        Ok(Lifecycle(output.and_then(|output| output.rules).unwrap_or_default()))
    }

    /// The bucket's tags.
    pub async fn bucket_tags(&self) -> Result<BTreeMap<String, String>, StepError> {
        let doing = self.on_bucket("read the tags of", "s3:GetBucketTagging");
        let call = self.0.client.get_bucket_tagging().bucket(&self.0.bucket).send();
        let output = told(&doing, "NoSuchTagSet", "tags", call.await)?;
        let tags = output.map(|output| output.tag_set).unwrap_or_default();
        Ok(tags.into_iter().map(|tag| (tag.key, tag.value)).collect())
    }

    /// The bucket's policy.
    pub async fn policy(&self) -> Result<Option<Value>, StepError> {
        let doing = self.on_bucket("read the policy of", "s3:GetBucketPolicy");
        let call = self.0.client.get_bucket_policy().bucket(&self.0.bucket).send();
        let output = told(&doing, "NoSuchBucketPolicy", "policy", call.await)?;
        let Some(text) = output.and_then(|output| output.policy).filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        let policy = serde_json::from_str(&text);
        policy
            .map(Some)
            .map_err(|error| StepError::failed(format!("{doing}: the store's answer is no JSON")).source(error))
    }
}

impl S3Bucket {
    /// Encrypts this way what is written without a word about it.
    pub async fn set_default_encryption(&self, wanted: &DefaultEncryption) -> Result<(), StepError> {
        let doing = self.on_bucket("set the encryption of", "s3:PutEncryptionConfiguration");
        let (algorithm, key) = match &wanted.keys {
            Encryption::S3 => (ServerSideEncryption::Aes256, None),
            Encryption::KmsKey(key) => (ServerSideEncryption::AwsKms, Some(key.clone())),
        };
        let default = ServerSideEncryptionByDefault::builder()
            .sse_algorithm(algorithm)
            .set_kms_master_key_id(key)
            .build()
            .map_err(|error| incomplete(&doing, error))?;
        let rule = ServerSideEncryptionRule::builder()
            .apply_server_side_encryption_by_default(default)
            .bucket_key_enabled(wanted.bucket_key)
            .build();
        let configuration = ServerSideEncryptionConfiguration::builder().rules(rule).build();
        let configuration = configuration.map_err(|error| incomplete(&doing, error))?;
        let call = self.0.client.put_bucket_encryption().bucket(&self.0.bucket);
        let outcome = call
            .server_side_encryption_configuration(configuration)
            .customize()
            .mutate_request(summed(self.0.compatibility))
            .send()
            .await;
        outcome.map(drop).map_err(|error| failed(&doing, "encryption", &error))
    }

    /// Blocks public access, or lets it be.
    pub async fn set_public_access_block(&self, wanted: PublicAccessBlock) -> Result<(), StepError> {
        let doing = self.on_bucket("set the public access block of", "s3:PutBucketPublicAccessBlock");
        let configuration = PublicAccessBlockConfiguration::builder()
            .block_public_acls(wanted.block_public_acls)
            .ignore_public_acls(wanted.ignore_public_acls)
            .block_public_policy(wanted.block_public_policy)
            .restrict_public_buckets(wanted.restrict_public_buckets)
            .build();
        let call = self.0.client.put_public_access_block().bucket(&self.0.bucket);
        let outcome = call
            .public_access_block_configuration(configuration)
            .customize()
            .mutate_request(summed(self.0.compatibility))
            .send()
            .await;
        outcome
            .map(drop)
            .map_err(|error| failed(&doing, "public_access", &error))
    }

    /// Says who owns what others write.
    pub async fn set_ownership(&self, wanted: Ownership) -> Result<(), StepError> {
        let doing = self.on_bucket("set the ownership of", "s3:PutBucketOwnershipControls");
        let ownership = match wanted {
            Ownership::BucketOwnerEnforced => ObjectOwnership::BucketOwnerEnforced,
            Ownership::BucketOwnerPreferred => ObjectOwnership::BucketOwnerPreferred,
            Ownership::ObjectWriter => ObjectOwnership::ObjectWriter,
        };
        let rule = OwnershipControlsRule::builder().object_ownership(ownership).build();
        let rule = rule.map_err(|error| incomplete(&doing, error))?;
        let controls = OwnershipControls::builder().rules(rule).build();
        let controls = controls.map_err(|error| incomplete(&doing, error))?;
        let call = self.0.client.put_bucket_ownership_controls().bucket(&self.0.bucket);
        let outcome = call
            .ownership_controls(controls)
            .customize()
            .mutate_request(summed(self.0.compatibility))
            .send()
            .await;
        outcome.map(drop).map_err(|error| failed(&doing, "ownership", &error))
    }

    /// Puts these rules in the place of all that there were.
    pub async fn set_lifecycle(&self, wanted: Lifecycle) -> Result<(), StepError> {
        let doing = self.on_bucket("set the lifecycle of", "s3:PutLifecycleConfiguration");
        let configuration = BucketLifecycleConfiguration::builder()
            .set_rules(Some(wanted.0))
            .build()
            .map_err(|error| incomplete(&doing, error))?;
        let call = self.0.client.put_bucket_lifecycle_configuration();
        let call = call.bucket(&self.0.bucket).lifecycle_configuration(configuration);
        let outcome = call
            .customize()
            .mutate_request(summed(self.0.compatibility))
            .send()
            .await;
        outcome.map(drop).map_err(|error| failed(&doing, "lifecycle", &error))
    }

    /// Puts these tags in the place of all that there were.
    pub async fn set_bucket_tags(&self, wanted: &BTreeMap<String, String>) -> Result<(), StepError> {
        let doing = self.on_bucket("set the tags of", "s3:PutBucketTagging");
        let tags: Vec<Tag> = wanted
            .iter()
            .map(|(key, value)| Tag::builder().key(key).value(value).build())
            .collect::<Result<_, _>>()
            .map_err(|error| incomplete(&doing, error))?;
        let tagging = Tagging::builder().set_tag_set(Some(tags)).build();
        let tagging = tagging.map_err(|error| incomplete(&doing, error))?;
        let call = self.0.client.put_bucket_tagging().bucket(&self.0.bucket);
        let outcome = call
            .tagging(tagging)
            .customize()
            .mutate_request(summed(self.0.compatibility))
            .send()
            .await;
        outcome.map(drop).map_err(|error| failed(&doing, "tags", &error))
    }

    /// Puts a policy in the place of the one there was.
    pub async fn set_policy(&self, wanted: &Value) -> Result<(), StepError> {
        let doing = self.on_bucket("set the policy of", "s3:PutBucketPolicy");
        let call = self.0.client.put_bucket_policy().bucket(&self.0.bucket);
        let outcome = call
            .policy(wanted.to_string())
            .customize()
            .mutate_request(summed(self.0.compatibility))
            .send()
            .await;
        outcome.map(drop).map_err(|error| failed(&doing, "policy", &error))
    }
}
