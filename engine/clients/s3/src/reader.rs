//! The side of a bucket that cannot write.

use std::fmt;
use std::sync::Arc;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::types::{BucketVersioningStatus, ChecksumMode, MfaDeleteStatus};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use jm_client_aws::given;
use jm_step::{OpenContext, StepError};

use crate::config::Config;
use crate::error::{Doing, region_named};
use crate::own::OwnUploads;
use crate::transport::{self, Failure};
use crate::{Compatibility, Encryption, ObjectInfo, ObjectLock, Pace};

/// A bucket without a single method that writes. Cheap to clone.
#[derive(Clone)]
pub struct S3Reader(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) client: Client,
    /// The same, without tries of its own: [`crate::Pace`] decides about those.
    pub(crate) once: Client,
    /// Where the store is; `AWS` where it is that.
    pub(crate) store: String,
    pub(crate) bucket: String,
    /// Empty, or ends with a slash.
    pub(crate) folder: String,
    pub(crate) compatibility: Compatibility,
    pub(crate) storage_class: Option<String>,
    pub(crate) encryption: Option<Encryption>,
    pub(crate) object_lock: Option<ObjectLock>,
    /// Whether every request names the account that the bucket has to belong to.
    pub(crate) owned: bool,
    /// Uploads that this machine began.
    pub(crate) own: OwnUploads,
}

/// Which bucket this is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketIdentity {
    /// Its name.
    pub name: String,
    /// Its owner's canonical id; `None` where the credentials may not ask or the store does not know.
    pub owner: Option<String>,
    /// Its region; `None` where the store does not say.
    pub region: Option<String>,
}

impl fmt::Display for BucketIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bucket {}", self.name)?;
        if let Some(owner) = &self.owner {
            write!(f, " of {owner}")?;
        }
        match &self.region {
            Some(region) => write!(f, " in {region}"),
            None => Ok(()),
        }
    }
}

/// Whether a bucket keeps the versions of its objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum VersioningStatus {
    /// Every version is kept.
    Enabled,
    /// Old versions are kept, new ones overwrite each other.
    Suspended,
    /// It never kept any.
    Never,
    /// The store itself knows no versions.
    Unsupported,
}

/// What a bucket does with versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versioning {
    /// Whether it keeps them.
    pub status: VersioningStatus,
    /// Whether a version can be deleted only with a second factor.
    pub mfa_delete: bool,
}

impl S3Reader {
    pub(crate) async fn open(config: &Config, cx: &OpenContext) -> Result<Self, StepError> {
        let Some(bucket) = given(Some(&config.bucket)) else {
            return Err(StepError::invalid_input("the bucket has no name").hint("set `bucket` in the targets file"));
        };
        let client = transport::client(config, cx).await?;
        Ok(Self(Arc::new(Shared {
            once: transport::without_tries(&client),
            client,
            store: transport::store(config, cx),
            bucket: bucket.to_owned(),
            folder: config.folder(),
            compatibility: config.compatibility,
            storage_class: given(config.storage_class.as_ref()).map(str::to_owned),
            encryption: config.encryption.clone(),
            object_lock: config.object_lock,
            owned: given(config.owner.as_ref()).is_some(),
            own: OwnUploads::of(&cx.environment),
        })))
    }

    /// The bucket's name.
    pub fn bucket(&self) -> &str {
        &self.0.bucket
    }

    /// What keys begin with in the bucket itself: those of the target are relative to it.
    pub fn prefix(&self) -> &str {
        &self.0.folder
    }

    /// Where a key really is, for people: `s3://bucket/prefix/key`.
    pub fn url(&self, key: &str) -> String {
        format!("s3://{}/{}{key}", self.0.bucket, self.0.folder)
    }

    /// Whether a store can copy from the other bucket to this one by itself.
    pub fn shares_store_with(&self, other: &Self) -> bool {
        self.0.store == other.0.store
    }

    /// Asks for a sign of life: that the bucket is there and the credentials may look at it.
    pub async fn ping(&self) -> Result<(), StepError> {
        self.head_bucket().await.map(drop)
    }

    /// Which bucket this is: its name, its owner and its region.
    pub async fn identity(&self) -> Result<BucketIdentity, StepError> {
        Ok(BucketIdentity {
            name: self.0.bucket.clone(),
            owner: self.owner().await?,
            region: self.head_bucket().await?,
        })
    }

    /// Whether the bucket keeps versions. That asking is not allowed is an error, and not "never".
    pub async fn versioning(&self) -> Result<Versioning, StepError> {
        let doing = self.on_bucket("read the versioning of", "s3:GetBucketVersioning");
        let call = self.0.client.get_bucket_versioning().bucket(&self.0.bucket);
        let output = match call.send().await {
            Err(error) if status(&error) == Some(501) => {
                return Ok(Versioning {
                    status: VersioningStatus::Unsupported,
                    mfa_delete: false,
                });
            }
            outcome => outcome.map_err(|error| doing.failed(&error))?,
        };
        let status = match output.status() {
            Some(BucketVersioningStatus::Enabled) => VersioningStatus::Enabled,
            Some(BucketVersioningStatus::Suspended) => VersioningStatus::Suspended,
            None => VersioningStatus::Never,
            Some(other) => {
                return Err(
                    StepError::failed(format!("{doing}: the store says `{}`", other.as_str()))
                        .hint("jm knows `Enabled` and `Suspended`; see what the store means"),
                );
            }
        };
        Ok(Versioning {
            status,
            mfa_delete: output.mfa_delete() == Some(&MfaDeleteStatus::Enabled),
        })
    }

    /// Whether the bucket is served as a website, so that objects in it may be redirects; `false` where nobody may say.
    pub async fn is_website(&self) -> bool {
        let call = self.0.client.get_bucket_website().bucket(&self.0.bucket);
        call.send().await.is_ok()
    }

    /// What the store says of an object, of its newest version where none is named; `None` where there is no such
    /// object or version. That the whole bucket is missing is an error.
    pub async fn head(&self, key: &str, version_id: Option<&str>) -> Result<Option<ObjectInfo>, StepError> {
        let doing = self.on_object("look at", key, "s3:GetObject");
        let call = self.0.client.head_object().bucket(&self.0.bucket).key(self.full(key));
        let call = call.set_version_id(version_id.map(str::to_owned));
        match call.checksum_mode(ChecksumMode::Enabled).send().await {
            Ok(output) => Ok(Some(ObjectInfo::of_head(&output, key.to_owned()))),
            Err(error) if is_absent(&error) => {
                // HEAD answers 404 for a missing bucket as well, without saying which it is.
                self.ping().await?;
                Ok(None)
            }
            Err(error) => Err(doing.failed(&error)),
        }
    }

    /// As [`Self::head`] tells, when it is its turn: one of many looks.
    pub async fn look_at(
        &self,
        pace: &Pace,
        key: &str,
        version_id: Option<&str>,
    ) -> Result<Option<ObjectInfo>, StepError> {
        let doing = self.on_object("look at", key, "s3:GetObject");
        let full = self.full(key);
        let head = || {
            let call = self.0.once.head_object().bucket(&self.0.bucket).key(&full);
            let call = call.set_version_id(version_id.map(str::to_owned));
            let call = call.checksum_mode(ChecksumMode::Enabled);
            async move {
                match call.send().await {
                    Err(error) if is_absent(&error) => Ok(None),
                    outcome => outcome.map(Some),
                }
            }
        };
        let Some(output) = pace.send(&doing, head).await? else {
            self.ping().await?;
            return Ok(None);
        };
        Ok(Some(ObjectInfo::of_head(&output, key.to_owned())))
    }

    /// The region that the store names, where it refuses requests that are signed for ours. What else may be wrong, the
    /// first call tells.
    pub(crate) async fn other_region(&self) -> Option<String> {
        let client = &self.0.once;
        let head = client.head_bucket().bucket(&self.0.bucket).customize();
        let refused = head.config_override(transport::glance()).send().await.err()?;
        let named = match region_named(&refused) {
            // What HEAD cannot say, a listing does.
            None if status(&refused) == Some(400) => {
                let list = client.list_objects_v2().bucket(&self.0.bucket).max_keys(1).customize();
                let refused = list.config_override(transport::glance()).send().await.err()?;
                region_named(&refused)
            }
            named => named,
        };
        let ours = client.config().region().map(AsRef::as_ref);
        named.filter(|named| Some(named.as_str()) != ours)
    }

    /// The bucket's region, where the store says it.
    async fn head_bucket(&self) -> Result<Option<String>, StepError> {
        let doing = self.on_bucket("reach", "s3:ListBucket");
        let call = self.0.client.head_bucket().bucket(&self.0.bucket).customize();
        let call = call.config_override(transport::brief());
        let output = match call.send().await {
            Ok(output) => output,
            Err(error) if is_absent(&error) => return Err(self.why_absent(&doing).await),
            Err(error) => return Err(doing.failed(&error)),
        };
        Ok(output.bucket_region().map(str::to_owned))
    }

    /// HEAD says no more than 404, which some stores also answer to credentials that they do not know.
    async fn why_absent(&self, doing: &Doing) -> StepError {
        let call = self.0.client.list_objects_v2().bucket(&self.0.bucket).max_keys(1);
        match call.customize().config_override(transport::brief()).send().await {
            Err(error) => doing.failed(&error),
            Ok(_) => StepError::unavailable(format!(
                "{doing}: the store says at once that it is there and that it is not"
            ))
            .hint("the bucket was made or removed at this moment: try again"),
        }
    }

    async fn owner(&self) -> Result<Option<String>, StepError> {
        let doing = self.on_bucket("read the owner of", "s3:GetBucketAcl");
        let call = self.0.client.get_bucket_acl().bucket(&self.0.bucket).customize();
        match call.config_override(transport::brief()).send().await {
            Ok(output) => {
                let id = output.owner().and_then(|owner| owner.id());
                Ok(id.filter(|id| !id.is_empty()).map(str::to_owned))
            }
            Err(error) if matches!(status(&error), Some(401 | 403 | 405 | 501)) => Ok(None),
            Err(error) => Err(doing.failed(&error)),
        }
    }

    /// The key as the store knows it.
    pub(crate) fn full(&self, key: &str) -> String {
        format!("{}{key}", self.0.folder)
    }

    pub(crate) fn on_object(&self, verb: &'static str, key: &str, permission: &'static str) -> Doing {
        Doing {
            verb,
            what: self.url(key),
            permission,
            owned: self.0.owned,
        }
    }

    pub(crate) fn on_bucket(&self, verb: &'static str, permission: &'static str) -> Doing {
        Doing {
            verb,
            what: format!("s3://{}", self.0.bucket),
            permission,
            owned: self.0.owned,
        }
    }
}

pub(crate) fn status<E>(error: &Failure<E>) -> Option<u16> {
    error.raw_response().map(|raw| raw.status().as_u16())
}

/// No such key or version. A marker asked for by its version answers 405 and is no content either.
pub(crate) fn is_absent<E: ProvideErrorMetadata>(error: &Failure<E>) -> bool {
    matches!(status(error), Some(404 | 405)) && error.as_service_error().and_then(|e| e.code()) != Some("NoSuchBucket")
}
