//! What is set for a bucket, what should be, and the difference.

use std::collections::{BTreeMap, BTreeSet};

use jm_client_s3::{
    DefaultEncryption, Lifecycle, LifecycleRule, Ownership, PublicAccessBlock, S3Bucket, S3Reader, VersioningStatus,
};
use jm_step::{Change, InputIssue, Known, Need, StepError};
use serde_json::{Map, Value, json};

use super::{Input, Output, PublicAccess, WantedVersioning};

/// Something that is not as it should be.
pub(super) enum Difference {
    PublicAccess {
        is: PublicAccessBlock,
        wanted: PublicAccessBlock,
    },
    Ownership {
        is: Option<Ownership>,
        wanted: Ownership,
    },
    Encryption {
        is: Option<DefaultEncryption>,
        wanted: DefaultEncryption,
    },
    Versioning {
        is: VersioningStatus,
        wanted: WantedVersioning,
    },
    /// Those of the wanted rules that are other or missing.
    Lifecycle {
        is: Lifecycle,
        wanted: Vec<LifecycleRule>,
    },
    /// Those of the wanted tags that are other or missing.
    Tags {
        is: BTreeMap<String, String>,
        wanted: BTreeMap<String, String>,
    },
    Policy {
        is: Option<Value>,
        wanted: Value,
    },
}

/// What it needs to be allowed: to look at what the input names, and to set it.
pub(super) fn needs(input: &Known) -> Vec<Need> {
    let of_settings: [(&str, &[&str]); 7] = [
        (
            "encryption",
            &["s3:GetEncryptionConfiguration", "s3:PutEncryptionConfiguration"],
        ),
        (
            "lifecycle",
            &["s3:GetLifecycleConfiguration", "s3:PutLifecycleConfiguration"],
        ),
        (
            "ownership",
            &["s3:GetBucketOwnershipControls", "s3:PutBucketOwnershipControls"],
        ),
        ("policy", &["s3:GetBucketPolicy", "s3:PutBucketPolicy"]),
        (
            "public_access",
            &["s3:GetBucketPublicAccessBlock", "s3:PutBucketPublicAccessBlock"],
        ),
        ("tags", &["s3:GetBucketTagging", "s3:PutBucketTagging"]),
        ("versioning", &["s3:PutBucketVersioning"]),
    ];
    let given = |field: &str| input.get(field).is_some_and(|given| !given.is_null());
    let mut needs = vec![Need::of("bucket", &["s3:ListBucket", "s3:GetBucketVersioning"])];
    if input.get("create").is_none_or(|create| *create == true) {
        needs.push(Need::of("bucket", &["s3:CreateBucket", "s3:ListBucketVersions"]));
    }
    let set = of_settings.into_iter().filter(|(field, _)| given(field));
    needs.extend(set.map(|(_, rights)| Need::of("bucket", rights)));
    needs
}

/// Looks at what the input names, in the order in which it is set: public access is blocked before anything else, and a
/// policy, which may shut out whoever sets it, comes last.
pub(super) async fn look(bucket: &S3Reader, input: &Input) -> Result<(Output, Vec<Difference>), StepError> {
    let versioning = bucket.versioning().await?.status;
    if versioning == VersioningStatus::Unsupported && input.versioning == Some(WantedVersioning::Enabled) {
        return Err(StepError::failed(format!(
            "bucket `{}` cannot keep versions: its store knows none",
            bucket.bucket()
        ))
        .hint("leave `versioning` out for this store"));
    }
    let mut all = Vec::new();
    all.extend(public_access(bucket, input).await?);
    all.extend(ownership(bucket, input).await?);
    all.extend(encryption(bucket, input).await?);
    if let Some(wanted) = input.versioning.filter(|wanted| !wanted.is_met_by(versioning)) {
        all.push(Difference::Versioning { is: versioning, wanted });
    }
    all.extend(lifecycle(bucket, input).await?);
    all.extend(tags(bucket, input).await?);
    all.extend(policy(bucket, input).await?);
    let mut changed: Vec<String> = all.iter().map(|difference| difference.name().to_owned()).collect();
    changed.sort();
    let becomes = |difference: &Difference| match difference {
        Difference::Versioning { wanted, .. } => Some(wanted.status()),
        _ => None,
    };
    let output = Output {
        bucket: bucket.bucket().to_owned(),
        created: false,
        versioning_before: Some(versioning),
        versioning: all.iter().find_map(becomes).unwrap_or(versioning),
        changed,
    };
    Ok((output, all))
}

async fn public_access(bucket: &S3Reader, input: &Input) -> Result<Option<Difference>, StepError> {
    let Some(wanted) = input.public_access.map(PublicAccess::block) else {
        return Ok(None);
    };
    let is = bucket.public_access_block().await?;
    Ok((is != wanted).then_some(Difference::PublicAccess { is, wanted }))
}

async fn ownership(bucket: &S3Reader, input: &Input) -> Result<Option<Difference>, StepError> {
    let Some(wanted) = input.ownership else { return Ok(None) };
    let is = bucket.ownership().await?;
    Ok((is != Some(wanted)).then_some(Difference::Ownership { is, wanted }))
}

async fn encryption(bucket: &S3Reader, input: &Input) -> Result<Option<Difference>, StepError> {
    let Some(keys) = input.encryption.clone() else {
        return Ok(None);
    };
    let is = bucket.default_encryption().await?;
    let as_it_is = is.as_ref().is_some_and(|is| is.bucket_key);
    let wanted = DefaultEncryption {
        keys,
        bucket_key: input.bucket_key.unwrap_or(as_it_is),
    };
    Ok((is.as_ref() != Some(&wanted)).then_some(Difference::Encryption { is, wanted }))
}

async fn lifecycle(bucket: &S3Reader, input: &Input) -> Result<Option<Difference>, StepError> {
    if input.lifecycle.is_empty() {
        return Ok(None);
    }
    let is = bucket.lifecycle().await?;
    let mut wanted = input.lifecycle.clone();
    wanted.retain(|rule| is.rule(&rule.id).flatten().as_ref() != Some(rule));
    Ok((!wanted.is_empty()).then_some(Difference::Lifecycle { is, wanted }))
}

async fn tags(bucket: &S3Reader, input: &Input) -> Result<Option<Difference>, StepError> {
    if input.tags.is_empty() {
        return Ok(None);
    }
    let is = bucket.bucket_tags().await?;
    let mut wanted = input.tags.clone();
    wanted.retain(|key, value| is.get(key) != Some(value));
    Ok((!wanted.is_empty()).then_some(Difference::Tags { is, wanted }))
}

async fn policy(bucket: &S3Reader, input: &Input) -> Result<Option<Difference>, StepError> {
    let Some(wanted) = input.policy.clone().map(Value::Object) else {
        return Ok(None);
    };
    let is = bucket.policy().await?;
    Ok((is.as_ref() != Some(&wanted)).then_some(Difference::Policy { is, wanted }))
}

impl WantedVersioning {
    fn is_met_by(self, status: VersioningStatus) -> bool {
        let keeps = status == VersioningStatus::Enabled;
        keeps == (self == Self::Enabled)
    }

    fn status(self) -> VersioningStatus {
        match self {
            Self::Enabled => VersioningStatus::Enabled,
            Self::Suspended => VersioningStatus::Suspended,
        }
    }
}

impl PublicAccess {
    fn block(self) -> PublicAccessBlock {
        match self {
            Self::Blocked => PublicAccessBlock::ALL,
            Self::Allowed => PublicAccessBlock::default(),
        }
    }
}

impl Difference {
    /// The field of the input that it is about.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::PublicAccess { .. } => "public_access",
            Self::Ownership { .. } => "ownership",
            Self::Encryption { .. } => "encryption",
            Self::Versioning { .. } => "versioning",
            Self::Lifecycle { .. } => "lifecycle",
            Self::Tags { .. } => "tags",
            Self::Policy { .. } => "policy",
        }
    }

    /// What is set, field by field.
    pub(super) fn change(&self, bucket: &str) -> Change {
        let (before, after) = match self {
            Self::PublicAccess { is, wanted } => (json!(is), json!(wanted)),
            Self::Ownership { is, wanted } => (json!(is), json!(wanted)),
            Self::Encryption { is, wanted } => (json!(is), json!(wanted)),
            Self::Versioning { is, wanted } => (json!(is), json!(wanted)),
            Self::Lifecycle { is, wanted } => {
                let before = |rule: &LifecycleRule| match is.rule(&rule.id) {
                    None => (rule.id.clone(), Value::Null),
                    Some(found) => (
                        rule.id.clone(),
                        found.map_or(json!("another rule"), |found| json!(found)),
                    ),
                };
                let after = |rule: &LifecycleRule| (rule.id.clone(), json!(rule));
                let before: Map<String, Value> = wanted.iter().map(before).collect();
                let after: Map<String, Value> = wanted.iter().map(after).collect();
                (json!(before), json!(after))
            }
            Self::Tags { is, wanted } => {
                let before: Map<String, Value> = wanted.keys().map(|key| (key.clone(), json!(is.get(key)))).collect();
                (json!(before), json!(wanted))
            }
            Self::Policy { is, wanted } => (json!(is), wanted.clone()),
        };
        Change::update(format!("{} of bucket `{bucket}`", self.name()), before, after)
    }

    /// Sets it.
    pub(super) async fn apply(&self, bucket: &S3Bucket) -> Result<(), StepError> {
        match self {
            Self::PublicAccess { wanted, .. } => bucket.set_public_access_block(*wanted).await,
            Self::Ownership { wanted, .. } => bucket.set_ownership(*wanted).await,
            Self::Encryption { wanted, .. } => bucket.set_default_encryption(wanted).await,
            Self::Versioning { wanted, .. } => bucket.set_versioning(*wanted == WantedVersioning::Enabled).await,
            Self::Lifecycle { is, wanted } => bucket.set_lifecycle(is.with(wanted)?).await,
            Self::Tags { is, wanted } => {
                let mut whole = is.clone();
                whole.extend(wanted.clone());
                bucket.set_bucket_tags(&whole).await
            }
            Self::Policy { wanted, .. } => bucket.set_policy(wanted).await,
        }
    }
}

impl Input {
    /// What is set for a new bucket, by field.
    pub(super) fn wanted(&self) -> Map<String, Value> {
        let some = |there: bool, value: Value| there.then_some(value);
        let fields = [
            (
                "versioning",
                some(
                    self.versioning == Some(WantedVersioning::Enabled),
                    json!(self.versioning),
                ),
            ),
            ("encryption", some(self.encryption.is_some(), json!(self.encryption))),
            (
                "public_access",
                some(self.public_access.is_some(), json!(self.public_access)),
            ),
            ("ownership", some(self.ownership.is_some(), json!(self.ownership))),
            ("lifecycle", some(!self.lifecycle.is_empty(), json!(self.lifecycle))),
            ("tags", some(!self.tags.is_empty(), json!(self.tags))),
            ("policy", some(self.policy.is_some(), json!(self.policy))),
        ];
        let given = fields
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)));
        given.collect()
    }
}

/// What the schema cannot say.
pub(super) fn issues(input: &Input) -> Vec<InputIssue> {
    let mut issues = Vec::new();
    if input.bucket_key.is_some() && input.encryption.is_none() {
        let issue = InputIssue::at("/bucket_key", "a bucket key belongs to an encryption");
        issues.push(issue.help("give `encryption: { kms-key: … }` too"));
    }
    let mut ids = BTreeSet::new();
    for (number, rule) in input.lifecycle.iter().enumerate() {
        let at = |field: &str| format!("/lifecycle/{number}{field}");
        if rule.id.is_empty() || !ids.insert(&rule.id) {
            issues.push(InputIssue::at(at("/id"), "each rule has an id of its own"));
        }
        if !rule.acts() {
            let issue = InputIssue::at(at(""), format!("rule `{}` does nothing", rule.id));
            issues.push(issue.help("say when something expires or moves"));
        }
        if rule.keep_old_versions.is_some() && rule.expire_old_versions_after_days.is_none() {
            let issue = InputIssue::at(at("/keep_old_versions"), "no old version expires");
            issues.push(issue.help("give `expire_old_versions_after_days` too"));
        }
        if rule.remove_lone_markers && rule.expire_after_days.is_some() {
            let issue = InputIssue::at(
                at("/remove_lone_markers"),
                "where objects expire, lone markers go anyway",
            );
            issues.push(issue.help("leave one of the two out"));
        }
        let days = [
            ("/expire_after_days", rule.expire_after_days),
            ("/expire_old_versions_after_days", rule.expire_old_versions_after_days),
            ("/abort_uploads_after_days", rule.abort_uploads_after_days),
        ];
        for (field, _) in days.iter().filter(|(_, days)| *days == Some(0)) {
            issues.push(InputIssue::at(at(field), "at least one day has to pass"));
        }
    }
    for key in input.tags.keys().filter(|key| key.starts_with("aws:")) {
        issues.push(InputIssue::at(
            "/tags",
            format!("`{key}`: AWS alone sets tags that begin with `aws:`"),
        ));
    }
    issues
}
