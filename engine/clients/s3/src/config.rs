//! What a targets file says of a bucket.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use jm_client_aws::Floor;
use jm_step::{Environment, Secret, StepError};

use crate::ObjectLock;
use crate::transport::access;

/// What of AWS's newer protocol a store has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Compatibility {
    /// All of it, as AWS: CRC-64/NVME of every part and of the whole object, which the store checks and keeps, and writes
    /// on the condition that nothing is there.
    #[default]
    Full,
    /// It refuses newer checksums, or computes others: requests carry `Content-MD5`, which every store checks.
    NoChecksums,
    /// It refuses or ignores conditions of writes: what is there is looked at just before. Between the look and the write
    /// another writer may come.
    NoConditionalWrites,
    /// It has neither.
    Basic,
}

impl Compatibility {
    /// Whether parts and objects carry CRC-64/NVME.
    pub(crate) fn has_checksums(self) -> bool {
        matches!(self, Self::Full | Self::NoConditionalWrites)
    }

    /// Whether a write may say that nothing has to be there.
    pub(crate) fn has_conditional_writes(self) -> bool {
        matches!(self, Self::Full | Self::NoChecksums)
    }
}

/// How the store encrypts what it keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Encryption {
    /// With keys of the store's own (SSE-S3).
    S3,
    /// With this KMS key, by id or ARN.
    KmsKey(String),
}

/// One bucket, or the part of it under a prefix. What is left out follows the AWS SDK's own chain: environment,
/// profile, web identity, container and instance credentials.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The bucket's name.
    pub bucket: String,
    /// Only the keys that start with this folder, such as `backups/`; names that steps use are relative to it.
    #[serde(default)]
    pub prefix: String,
    /// The account that the bucket has to belong to, by its twelve digits: the store refuses every request where it is
    /// another's, as it is where somebody else has taken the name of a bucket that was lost.
    #[serde(default)]
    pub owner: Option<String>,
    /// The bucket's region, such as `eu-central-1`.
    #[serde(default)]
    pub region: Option<String>,
    /// The store's address where it is not AWS, such as `https://s3.example.com`.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// Whether the bucket is named in the path instead of the host. Default: where an endpoint is given.
    #[serde(default)]
    pub path_style: Option<bool>,
    /// A profile of `~/.aws/config`.
    #[serde(default)]
    pub profile: Option<String>,
    /// The access key, where it does not come from the SDK's chain.
    #[serde(default)]
    pub access_key_id: Option<String>,
    /// The secret that belongs to `access_key_id`.
    #[serde(default)]
    pub secret_access_key: Option<Secret>,
    /// The session token that belongs to `access_key_id`, where the credentials are temporary.
    #[serde(default)]
    pub session_token: Option<Secret>,
    /// What of AWS's newer protocol the store has.
    #[serde(default)]
    pub compatibility: Compatibility,
    /// The storage class of new objects, such as `STANDARD_IA`. Default: the bucket's own.
    #[serde(default)]
    pub storage_class: Option<String>,
    /// How the store encrypts new objects. Default: as the bucket says.
    #[serde(default)]
    pub encryption: Option<Encryption>,
    /// For how long new objects are locked against deletion, in a bucket that was made with Object Lock. Default: as the
    /// bucket says.
    #[serde(default)]
    pub object_lock: Option<ObjectLock>,
    /// How slow the line to the store may be.
    #[serde(default)]
    pub line: Floor,
}

impl Config {
    /// A bucket, with everything else as the SDK's chain says.
    pub fn new(bucket: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            ..Self::default()
        }
    }

    /// Whether the store is AWS's own.
    pub fn is_aws(&self, environment: &Environment) -> bool {
        access(self).endpoint(environment).is_none()
    }

    /// What is wrong with the way to the store: its address, or half a pair of keys.
    pub fn check_access(&self, environment: &Environment) -> Option<StepError> {
        access(self).check(environment).err()
    }

    /// The prefix with one slash at its end and none before it; empty for the whole bucket.
    pub(crate) fn folder(&self) -> String {
        match self.prefix.trim_matches('/') {
            "" => String::new(),
            folder => format!("{folder}/"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_become_folders() {
        for (prefix, folder) in [("", ""), ("/", ""), ("a", "a/"), ("/a/b/", "a/b/")] {
            let config = Config {
                prefix: prefix.to_owned(),
                ..Config::new("b")
            };
            assert_eq!(config.folder(), folder);
        }
    }

    #[test]
    fn a_config_is_read_strictly_and_does_not_show_its_secret() {
        let config: Config = serde_json::from_value(serde_json::json!({
            "bucket": "b", "compatibility": "no-checksums", "access_key_id": "id", "secret_access_key": "hunter22",
            "encryption": { "kms-key": "alias/backups" },
        }))
        .expect("fits");
        assert_eq!(config.compatibility, Compatibility::NoChecksums);
        assert_eq!(config.encryption, Some(Encryption::KmsKey("alias/backups".to_owned())));
        assert!(!format!("{config:?}").contains("hunter22"));
        serde_json::from_value::<Config>(serde_json::json!({ "bucket": "b", "reigon": "x" })).expect_err("misspelt");
    }
}
