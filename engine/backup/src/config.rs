//! What a targets file says of a backup target.

use jm_client_s3::given;
use jm_step::{Environment, InputIssue, Secret};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::key::Passphrase;
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

/// What reading backups needs of the bucket.
pub const READING: &[&str] = &["s3:ListBucket", "s3:GetObject"];
/// What making them needs of it. Uploads that a dead run left are ended, where they may be listed.
pub const MAKING: &[&str] = &[
    "s3:ListBucket",
    "s3:GetObject",
    "s3:PutObject",
    "s3:AbortMultipartUpload",
    "s3:ListBucketMultipartUploads",
];

/// The class of what is seldom read, and then at once.
const SELDOM_READ: &str = "STANDARD_IA";

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
    /// The account that it has to belong to, by its twelve digits: the store refuses every request where it is
    /// another's, as it is where somebody else has taken the name of a bucket that was lost.
    #[serde(default)]
    pub owner: Option<String>,
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
    /// What of AWS's newer protocol the store has.
    #[serde(default)]
    pub compatibility: jm_client_s3::Compatibility,
    /// The storage class of new copies. Default: `STANDARD_IA` on AWS, elsewhere the bucket's own.
    #[serde(default)]
    pub storage_class: Option<String>,
    /// How the store encrypts what is encrypted already. Default: as the bucket says.
    #[serde(default)]
    pub encryption: Option<jm_client_s3::Encryption>,
    /// For how long new copies are locked against deletion, in a bucket that was made with Object Lock.
    #[serde(default)]
    pub object_lock: Option<jm_client_s3::ObjectLock>,
    /// How slow the line to the store may be.
    #[serde(default)]
    pub line: jm_client_s3::Floor,
}

fn thirty() -> u32 {
    30
}

fn journeyman_backup() -> String {
    "journeyman_backup".to_owned()
}

impl Config {
    /// What a schema cannot say.
    pub(crate) fn check(&self, environment: &Environment) -> Vec<InputIssue> {
        let mut issues = Vec::new();
        if !is_label(&self.prefix) {
            issues.push(
                InputIssue::at("/prefix", "the `prefix` of backups does not fit into their names")
                    .help("up to 40 lower-case letters, digits, `_` and `-`, such as `journeyman_backup`"),
            );
        }
        if !(1..=36_500).contains(&self.retention_days) {
            issues.push(
                InputIssue::at("/retention_days", "`retention_days` is not between 1 and 36500").help("such as `30`"),
            );
        }
        if let Err(error) = Passphrase::new(&self.key) {
            issues.push(InputIssue::of("/key", &error));
        }
        if self.s3.enabled && self.s3.bucket.trim().is_empty() {
            issues.push(
                InputIssue::at("/s3/bucket", "S3 is enabled for backups, but no bucket is named")
                    .help("set BACKUP_S3_BUCKET to the bucket's name, or AWS_ENABLED=false"),
            );
        }
        if let Some(error) = self
            .s3
            .client(environment)
            .and_then(|client| client.check_access(environment))
        {
            issues.push(InputIssue::of("/s3", &error));
        }
        let class = self.s3.storage_class.as_deref().unwrap_or_default();
        if self.directory.is_empty() && self.s3.enabled && jm_client_s3::is_archive(class) {
            issues.push(
                InputIssue::at(
                    "/s3/storage_class",
                    format!("backups would lie in `{class}` alone, from where reading one takes hours"),
                )
                .help("`STANDARD_IA` or `GLACIER_IR`, which are read at once; or keep copies in a `directory` as well"),
            );
        }
        if self.directory.is_empty() && !self.s3.enabled {
            issues.push(
                InputIssue::at(
                    "/directory",
                    "backups have no location: neither a directory nor a bucket",
                )
                .help("set BACKUP_DIR, or AWS_ENABLED=true and BACKUP_S3_BUCKET"),
            );
        }
        issues
    }
}

impl S3Config {
    /// What the bucket is reached with. On AWS, copies lie in the class for what is seldom read.
    pub(crate) fn client(&self, environment: &Environment) -> Option<jm_client_s3::Config> {
        let client = self.enabled.then(|| jm_client_s3::Config {
            bucket: self.bucket.trim().to_owned(),
            prefix: self.prefix.clone().unwrap_or_else(|| "backups/".to_owned()),
            owner: self.owner.clone(),
            region: self.region.clone(),
            endpoint: self.endpoint.clone(),
            path_style: self.path_style,
            profile: self.profile.clone(),
            access_key_id: self.access_key_id.clone(),
            secret_access_key: self.secret_access_key.clone(),
            session_token: self.session_token.clone(),
            compatibility: self.compatibility,
            storage_class: self.storage_class.clone(),
            encryption: self.encryption.clone(),
            object_lock: self.object_lock,
            line: self.line,
        })?;
        let storage_class = given(client.storage_class.as_ref())
            .or_else(|| client.is_aws(environment).then_some(SELDOM_READ))
            .map(str::to_owned);
        Some(jm_client_s3::Config {
            storage_class,
            ..client
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wrong(config: serde_json::Value) -> Vec<String> {
        let config: Config = serde_json::from_value(config).expect("fits the schema");
        let issues = config.check(&Environment::default());
        issues.into_iter().map(|issue| issue.pointer).collect()
    }

    #[test]
    fn copies_on_aws_are_seldom_read() {
        let aws = Environment::default();
        let elsewhere = Environment::new([("AWS_ENDPOINT_URL".to_owned(), "http://minio:9000".to_owned())]);
        for (class, environment, expected) in [
            ("", &aws, Some("STANDARD_IA")),
            ("", &elsewhere, None),
            ("GLACIER_IR", &aws, Some("GLACIER_IR")),
            ("STANDARD", &elsewhere, Some("STANDARD")),
        ] {
            let config: S3Config =
                serde_json::from_value(json!({ "enabled": true, "bucket": "b", "storage_class": class }))
                    .expect("fits");
            let client = config.client(environment).expect("enabled");
            assert_eq!(client.storage_class.as_deref(), expected, "{class}");
        }
    }

    #[test]
    fn what_cannot_work_is_refused_before_anything_starts() {
        let nothing: [&str; 0] = [];
        for (config, places) in [
            (json!({ "directory": "/b", "key": "k" }), &nothing[..]),
            (
                json!({ "s3": { "enabled": true, "bucket": "b" }, "key": "k" }),
                &nothing,
            ),
            (
                json!({ "s3": { "enabled": true, "bucket": "b", "storage_class": "DEEP_ARCHIVE" }, "key": "k" }),
                &["/s3/storage_class"],
            ),
            (
                json!({ "directory": "/b", "s3": { "enabled": true, "bucket": "b", "storage_class": "GLACIER" }, "key": "k" }),
                &nothing,
            ),
            (json!({ "key": "" }), &["/key", "/directory"]),
            (
                json!({ "directory": "/b", "s3": { "enabled": true }, "key": "k" }),
                &["/s3/bucket"],
            ),
            (
                json!({ "s3": { "enabled": true, "bucket": "b", "endpoint": "minio:9000" }, "key": "k" }),
                &["/s3"],
            ),
            (
                json!({ "directory": "/b", "key": "k", "retention_days": 0, "prefix": "../x" }),
                &["/prefix", "/retention_days"],
            ),
        ] {
            assert_eq!(wrong(config.clone()), places, "{config}");
        }
    }
}
