//! The policy of AWS IAM that allows what steps need of a bucket, below the target's folder.

use std::collections::BTreeSet;

use jm_step::{Policy, PolicyForm, Rights};
use serde_json::{Value, json};

use crate::{Encryption, S3Reader};

/// Actions on the bucket whose listing can be held to a folder.
const BY_PREFIX: [&str; 2] = ["s3:ListBucket", "s3:ListBucketVersions"];
/// How the names of actions on objects end or go on; all others are on the bucket.
const ON_OBJECTS: [&str; 3] = ["Object", "MultipartUpload", "Version"];

const PUT: &str = "s3:PutObject";
/// What a store wants besides, where objects are written with a lock.
pub(crate) const LOCK: &str = "s3:PutObjectRetention";

impl S3Reader {
    /// The policy for these actions.
    pub fn policy_for(&self, needed: &Rights) -> Policy {
        let bucket = format!("arn:aws:s3:::{}", self.bucket());
        let objects = format!("{bucket}/{}*", self.prefix());
        let mut needed = BTreeSet::clone(needed);
        if self.0.object_lock.is_some() && needed.contains(PUT) {
            needed.insert(LOCK);
        }
        let on_objects = |right: &&str| !right.contains("Bucket") && ON_OBJECTS.iter().any(|on| right.contains(on));
        let of = |wanted: &dyn Fn(&&str) -> bool| -> Vec<&str> {
            needed.iter().copied().filter(|right| wanted(right)).collect()
        };
        let listing = of(&|right| BY_PREFIX.contains(right) && !self.prefix().is_empty());
        let rest = of(&|right| !on_objects(right) && !listing.contains(right));
        let mut statements = vec![
            statement("Bucket", &rest, &bucket),
            statement("Objects", &of(&|right| on_objects(right)), &objects),
        ];
        let mut list = statement("List", &listing, &bucket);
        // That a bucket is there is asked by the same action without a prefix.
        list["Condition"] = json!({ "StringLikeIfExists": { "s3:prefix": [format!("{}*", self.prefix())] } });
        statements.insert(0, list);
        if let Some(Encryption::KmsKey(key)) = &self.0.encryption {
            statements.push(statement("Key", &keys(&needed), key));
        }
        statements.retain(|statement| statement["Action"] != json!([]));
        let policy = json!({ "Version": "2012-10-17", "Statement": statements });
        Policy {
            form: PolicyForm::Iam,
            text: format!("{policy:#}\n"),
        }
    }
}

fn statement(id: &str, actions: &[&str], resource: &str) -> Value {
    json!({ "Sid": id, "Effect": "Allow", "Action": actions, "Resource": resource })
}

/// What a key has to be used for.
fn keys(needed: &BTreeSet<&'static str>) -> Vec<&'static str> {
    let mut keys = Vec::new();
    if needed.iter().any(|right| right.starts_with("s3:GetObject")) {
        keys.push("kms:Decrypt");
    }
    if needed.contains(PUT) {
        keys.push("kms:GenerateDataKey");
    }
    keys
}
