//! Archived versions: asked for, so that they can be read and copied after some hours.

use aws_sdk_s3::error::{BuildError, ProvideErrorMetadata};
use aws_sdk_s3::types::{GlacierJobParameters, RestoreRequest, Tier};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use jm_step::StepError;

use crate::{ObjectVersion, Pace, S3Bucket};

/// How soon, and at what price, an archived version is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ArchiveTier {
    /// Minutes, for the highest price; not for the deepest archive.
    Expedited,
    /// Three to five hours; twelve for the deepest archive.
    #[default]
    Standard,
    /// Five to twelve hours, for the lowest price; two days for the deepest archive.
    Bulk,
}

/// Whether objects of this class have to be brought back before they can be read. Of those in `INTELLIGENT_TIERING` only
/// each itself tells.
pub fn is_archive(class: &str) -> bool {
    matches!(class, "GLACIER" | "DEEP_ARCHIVE")
}

impl From<ArchiveTier> for Tier {
    fn from(tier: ArchiveTier) -> Self {
        match tier {
            ArchiveTier::Expedited => Self::Expedited,
            ArchiveTier::Standard => Self::Standard,
            ArchiveTier::Bulk => Self::Bulk,
        }
    }
}

impl S3Bucket {
    /// Asks for an archived version. Whether it has to be waited for, as has one that was asked for already: what the store has
    /// at hand has not, nor anything of a store that knows no archive, whatever classes it tells.
    pub async fn ask_for_archived(
        &self,
        pace: &Pace,
        version: &ObjectVersion,
        days: u16,
        tier: ArchiveTier,
    ) -> Result<bool, StepError> {
        let doing = self.on_object("bring back from the archive", &version.key, "s3:RestoreObject");
        let request = request(version, days, tier);
        let request = request.map_err(|error| StepError::failed(format!("{doing}: no tier")).source(error))?;
        let key = self.full(&version.key);
        let ask = || {
            let call = self.0.once.restore_object().bucket(&self.0.bucket).key(&key);
            let call = call.version_id(&version.version_id).restore_request(request.clone());
            async move {
                let Err(error) = call.send().await else { return Ok(true) };
                match error.code() {
                    Some("RestoreAlreadyInProgress") => Ok(true),
                    Some("ObjectAlreadyInActiveTierError" | "NotImplemented") => Ok(false),
                    _ => Err(error),
                }
            }
        };
        pace.send(&doing, ask).await
    }
}

fn request(version: &ObjectVersion, days: u16, tier: ArchiveTier) -> Result<RestoreRequest, BuildError> {
    let job = GlacierJobParameters::builder().tier(tier.into()).build()?;
    // What sank by itself comes up for good.
    let days = (!version.may_be_archived()).then(|| i32::from(days));
    Ok(RestoreRequest::builder()
        .set_days(days)
        .glacier_job_parameters(job)
        .build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_copy_out_of_an_archive_is_for_some_days() {
        for (class, days) in [
            ("GLACIER", Some(7)),
            ("DEEP_ARCHIVE", Some(7)),
            ("INTELLIGENT_TIERING", None),
        ] {
            let version = ObjectVersion {
                key: "k".to_owned(),
                version_id: "v".to_owned(),
                marker: false,
                latest: true,
                bytes: 1,
                etag: None,
                last_modified: None,
                storage_class: Some(class.to_owned()),
            };
            let request = request(&version, 7, ArchiveTier::Bulk).expect("a request");
            assert_eq!(request.days(), days, "{class}");
        }
    }
}
