//! What the credentials may do to a bucket, asked by requests that cannot have an effect: about keys that nobody has, an
//! upload that nobody began, a version that is not there.

use std::collections::BTreeMap;

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use jm_step::{Right, Rights, Standing, StepError, StepErrorKind};

use crate::policy::LOCK;
use crate::reader::status;
use crate::transport::{self, Failure};
use crate::{NULL_VERSION, S3Reader};

/// What is asked for, in this order.
const ASKED: [&str; 16] = [
    LIST,
    "s3:ListBucketVersions",
    "s3:ListBucketMultipartUploads",
    "s3:GetObject",
    "s3:GetObjectVersion",
    "s3:PutObject",
    "s3:AbortMultipartUpload",
    "s3:ListMultipartUploadParts",
    DELETE_VERSION,
    "s3:GetBucketVersioning",
    "s3:GetBucketPolicy",
    "s3:GetBucketPublicAccessBlock",
    "s3:GetBucketOwnershipControls",
    "s3:GetBucketTagging",
    "s3:GetEncryptionConfiguration",
    "s3:GetLifecycleConfiguration",
];
/// What only doing it would tell.
const NOT_ASKED: [&str; 15] = [
    "s3:CreateBucket",
    "s3:DeleteObject",
    "s3:GetObjectTagging",
    "s3:GetObjectVersionAcl",
    "s3:GetObjectVersionTagging",
    "s3:PutBucketOwnershipControls",
    "s3:PutBucketPolicy",
    "s3:PutBucketPublicAccessBlock",
    "s3:PutBucketTagging",
    "s3:PutBucketVersioning",
    "s3:PutEncryptionConfiguration",
    "s3:PutLifecycleConfiguration",
    "s3:PutObjectTagging",
    "s3:PutObjectVersionAcl",
    "s3:RestoreObject",
];
const LIST: &str = "s3:ListBucket";
const DELETE_VERSION: &str = "s3:DeleteObjectVersion";
/// Without the right to list, a store says of a key that is not there what it says of one that may not be read.
const HIDDEN_WITHOUT_LIST: [&str; 2] = ["s3:GetObject", "s3:GetObjectVersion"];
/// What reaches outside of the target's folder where it is given for the whole bucket.
const BY_KEY: [&str; 5] = [
    "s3:GetObject",
    "s3:PutObject",
    "s3:AbortMultipartUpload",
    "s3:ListMultipartUploadParts",
    DELETE_VERSION,
];
/// An upload that nobody began.
const NO_UPLOAD: &str = "jm-doctor-asks-about-an-upload-that-nobody-began";

/// Whether this is an action on a bucket or what is in it that steps use.
pub(crate) fn is_known(right: &str) -> bool {
    ASKED.contains(&right) || NOT_ASKED.contains(&right)
}

/// What a question told.
enum Told {
    May,
    MayNot,
    /// The store said neither.
    Neither(String),
}

impl S3Reader {
    /// How it stands with the rights that are needed, and which others the credentials have. Leaves nothing behind.
    pub async fn rights(&self, needed: &Rights) -> Result<Vec<Right>, StepError> {
        let mut told = BTreeMap::new();
        told.insert(LIST, self.may_list().await?);
        for right in ASKED.into_iter().skip(1) {
            told.insert(right, self.may(right, &self.full(&nobodys_key())).await);
        }
        if matches!(told[LIST], Told::MayNot) {
            for right in HIDDEN_WITHOUT_LIST {
                if matches!(told[right], Told::MayNot) {
                    let hidden = format!("the store does not tell without `{LIST}`");
                    told.insert(right, Told::Neither(hidden));
                }
            }
        }
        let mut rights: Vec<Right> = told
            .into_iter()
            .filter_map(|(right, told)| told.standing(right, needed.contains(right)))
            .collect();
        rights.extend(self.outside().await);
        let lock = (self.0.object_lock.is_some() && needed.contains("s3:PutObject")).then_some(LOCK);
        let not_asked = needed
            .iter()
            .filter(|right| NOT_ASKED.contains(right))
            .chain(lock.iter());
        rights.extend(not_asked.map(|right| Right::new(*right, Standing::NotAsked).note("only doing it would tell")));
        Ok(rights)
    }

    /// What the credentials may do beside the folder of the target, which no step does.
    async fn outside(&self) -> Vec<Right> {
        let mut rights = Vec::new();
        if self.prefix().is_empty() {
            return rights;
        }
        for right in BY_KEY {
            if let Told::May = self.may(right, &nobodys_key()).await {
                let everywhere = format!("{right} outside of `{}`", self.prefix());
                rights.push(Right::new(everywhere, Standing::Excess));
            }
        }
        rights
    }

    /// Credentials that the store does not know, and a bucket that is not there, are errors.
    async fn may_list(&self) -> Result<Told, StepError> {
        let doing = self.on_bucket("ask for the rights on", LIST);
        let call = self.0.client.list_objects_v2().bucket(&self.0.bucket);
        let call = call.prefix(&self.0.folder).max_keys(1).customize();
        match call.config_override(transport::brief()).send().await {
            Err(error) if !is_refusal(&error) => Err(doing.failed(&error)),
            outcome => Ok(told(outcome)),
        }
    }

    async fn may(&self, right: &'static str, key: &str) -> Told {
        let (client, bucket) = (&self.0.client, &self.0.bucket);
        match right {
            "s3:ListBucketVersions" => {
                let call = client.list_object_versions().bucket(bucket).prefix(&self.0.folder);
                told(call.max_keys(1).send().await)
            }
            "s3:ListBucketMultipartUploads" => {
                let call = client.list_multipart_uploads().bucket(bucket).prefix(&self.0.folder);
                told(call.max_uploads(1).send().await)
            }
            "s3:GetObject" => told(client.head_object().bucket(bucket).key(key).send().await),
            "s3:GetObjectVersion" => {
                let call = client.head_object().bucket(bucket).key(key);
                told(call.version_id(NULL_VERSION).send().await)
            }
            "s3:PutObject" => {
                let call = client.upload_part().bucket(bucket).key(key).upload_id(NO_UPLOAD);
                let call = call.part_number(1).body(ByteStream::from_static(b"jm"));
                told(call.send().await)
            }
            "s3:AbortMultipartUpload" => {
                let call = client.abort_multipart_upload().bucket(bucket).key(key);
                told(call.upload_id(NO_UPLOAD).send().await)
            }
            "s3:ListMultipartUploadParts" => {
                let call = client.list_parts().bucket(bucket).key(key);
                told(call.upload_id(NO_UPLOAD).send().await)
            }
            // Never without a version, which would leave a marker.
            DELETE_VERSION => {
                let call = client.delete_object().bucket(bucket).key(key);
                told(call.version_id(NULL_VERSION).send().await)
            }
            _ => self.ask_of_settings(right).await,
        }
    }

    async fn ask_of_settings(&self, right: &'static str) -> Told {
        let asked = match right {
            "s3:GetBucketVersioning" => self.versioning().await.map(drop),
            "s3:GetBucketPolicy" => self.policy().await.map(drop),
            "s3:GetBucketPublicAccessBlock" => self.public_access_block().await.map(drop),
            "s3:GetBucketOwnershipControls" => self.ownership().await.map(drop),
            "s3:GetBucketTagging" => self.bucket_tags().await.map(drop),
            "s3:GetEncryptionConfiguration" => self.default_encryption().await.map(drop),
            "s3:GetLifecycleConfiguration" => self.lifecycle().await.map(drop),
            _ => Err(StepError::failed("there is no question for it")),
        };
        match asked {
            Ok(()) => Told::May,
            Err(error) if error.kind() == StepErrorKind::Denied => Told::MayNot,
            Err(error) => Told::Neither(error.message().to_owned()),
        }
    }
}

impl Told {
    /// What is neither needed nor there is not worth a word.
    fn standing(self, right: &str, needed: bool) -> Option<Right> {
        match (self, needed) {
            (Self::May, true) => Some(Right::new(right, Standing::Held)),
            (Self::MayNot, true) => Some(Right::new(right, Standing::Missing)),
            (Self::May, false) => Some(Right::new(right, Standing::Excess)),
            (Self::Neither(why), true) => Some(Right::new(right, Standing::NotAsked).note(why)),
            (Self::MayNot | Self::Neither(_), false) => None,
        }
    }
}

/// An answer that is about the thing rather than about us says that we may.
fn told<T, E: ProvideErrorMetadata>(outcome: Result<T, Failure<E>>) -> Told {
    match outcome {
        Ok(_) => Told::May,
        Err(error) => match status(&error) {
            Some(403) => Told::MayNot,
            Some(400 | 404 | 405 | 409 | 412) => Told::May,
            Some(501) => Told::Neither("the store does not know the request".to_owned()),
            Some(other) => Told::Neither(format!("the store answered {other}")),
            None => Told::Neither("the store did not answer".to_owned()),
        },
    }
}

/// Whether credentials that the store knows lack a right.
fn is_refusal<E: ProvideErrorMetadata>(error: &Failure<E>) -> bool {
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
    status(error) == Some(403) && code == Some("AccessDenied")
}

/// A key that nobody has.
fn nobodys_key() -> String {
    format!("jm-doctor-{}", ulid::Ulid::new())
}
