//! What a targets file says of a backup target.

use jm_step::{Secret, StepError};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::name::is_label;

/// A target with `provider: backup`: a directory, a bucket, or both. It is up when one of them answers.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "backup target")]
pub struct Config {
    /// A directory of this machine, such as `/var/backups/journeyman`. Empty or left out: none.
    #[serde(default)]
    pub directory: String,
    /// A bucket.
    #[serde(default)]
    pub s3: S3Config,
    /// The passphrase that encrypts the backups. One newline at its end is dropped, as gpg does.
    pub key: Secret,
    /// How many days a backup is kept.
    #[serde(default = "thirty")]
    #[schemars(range(min = 1, max = 36500))]
    pub retention_days: u32,
    /// What the names of backups without a label begin with.
    #[serde(default = "journeyman_backup")]
    pub prefix: String,
}

/// The bucket of a backup target. What is left out follows the AWS SDK's own chain.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct S3Config {
    /// Whether the bucket is used.
    #[serde(default)]
    pub enabled: bool,
    /// Its name.
    #[serde(default)]
    pub bucket: String,
    /// The folder in it. Default: `backups/`.
    #[serde(default)]
    pub prefix: Option<String>,
    /// Its region, such as `eu-central-1`.
    #[serde(default)]
    pub region: Option<String>,
    /// The store's address where it is not AWS.
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
    /// The session token, where the credentials are temporary.
    #[serde(default)]
    pub session_token: Option<Secret>,
    /// `when_required` for stores that refuse newer checksums.
    #[serde(default)]
    pub checksums: jm_client_s3::Checksums,
    /// The storage class of new objects, such as `STANDARD_IA`.
    #[serde(default)]
    pub storage_class: Option<String>,
    /// How the store encrypts what is encrypted already. Default: as the bucket says.
    #[serde(default)]
    pub encryption: Option<jm_client_s3::Encryption>,
}

fn thirty() -> u32 {
    30
}

fn journeyman_backup() -> String {
    "journeyman_backup".to_owned()
}

impl Config {
    /// What a schema cannot say.
    pub(crate) fn check(&self) -> Result<(), StepError> {
        if !is_label(&self.prefix) {
            return Err(
                StepError::invalid_input("the `prefix` of backups does not fit into their names")
                    .hint("up to 40 lower-case letters, digits, `_` and `-`, such as `journeyman_backup`"),
            );
        }
        if !(1..=36_500).contains(&self.retention_days) {
            return Err(
                StepError::invalid_input("`retention_days` is not between 1 and 36500").hint("set RETENTION_DAYS")
            );
        }
        if self.s3.enabled && self.s3.bucket.trim().is_empty() {
            return Err(
                StepError::invalid_input("S3 is enabled for backups, but no bucket is named")
                    .hint("set BACKUP_S3_BUCKET, or AWS_ENABLED=false"),
            );
        }
        if self.directory.is_empty() && !self.s3.enabled {
            return Err(
                StepError::invalid_input("backups have no location: neither a directory nor a bucket")
                    .hint("set BACKUP_DIR, or AWS_ENABLED=true and BACKUP_S3_BUCKET"),
            );
        }
        Ok(())
    }
}

impl S3Config {
    pub(crate) fn client(&self) -> Option<jm_client_s3::Config> {
        self.enabled.then(|| jm_client_s3::Config {
            bucket: self.bucket.trim().to_owned(),
            prefix: self.prefix.clone().unwrap_or_else(|| "backups/".to_owned()),
            region: self.region.clone(),
            endpoint: self.endpoint.clone(),
            path_style: self.path_style,
            profile: self.profile.clone(),
            access_key_id: self.access_key_id.clone(),
            secret_access_key: self.secret_access_key.clone(),
            session_token: self.session_token.clone(),
            checksums: self.checksums,
            storage_class: self.storage_class.clone(),
            encryption: self.encryption.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(config: serde_json::Value) -> Result<(), StepError> {
        serde_json::from_value::<Config>(config)
            .expect("fits the schema")
            .check()
    }

    #[test]
    fn what_cannot_work_is_refused_before_anything_starts() {
        assert!(check(json!({ "directory": "/b", "key": "k" })).is_ok());
        assert!(check(json!({ "s3": { "enabled": true, "bucket": "b" }, "key": "k" })).is_ok());
        for bad in [
            json!({ "key": "k" }),
            json!({ "directory": "/b", "s3": { "enabled": true }, "key": "k" }),
            json!({ "directory": "/b", "key": "k", "retention_days": 0 }),
            json!({ "directory": "/b", "key": "k", "prefix": "../x" }),
        ] {
            assert!(check(bad.clone()).is_err(), "{bad}");
        }
    }
}
