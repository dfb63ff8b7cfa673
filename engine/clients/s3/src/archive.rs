//! Archived versions: asked for, so that they can be read and copied after some hours.

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::types::{GlacierJobParameters, RestoreRequest, Tier};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use jm_step::StepError;

use crate::{ObjectVersion, S3Bucket};

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
    /// Asks for an archived version. One that was asked for already is no error.
    pub async fn ask_for_archived(
        &self,
        version: &ObjectVersion,
        days: u16,
        tier: ArchiveTier,
    ) -> Result<(), StepError> {
        let doing = self.on_object("bring back from the archive", &version.key, "s3:RestoreObject");
        let job = GlacierJobParameters::builder().tier(tier.into()).build();
        let job = job.map_err(|error| StepError::failed(format!("{doing}: no tier")).source(error))?;
        let request = RestoreRequest::builder()
            .days(i32::from(days))
            .glacier_job_parameters(job)
            .build();
        let call = self.0.client.restore_object().bucket(&self.0.bucket);
        let outcome = call
            .key(self.full(&version.key))
            .version_id(&version.version_id)
            .restore_request(request)
            .send()
            .await;
        match outcome {
            Err(error) if error.code() == Some("RestoreAlreadyInProgress") => Ok(()),
            outcome => outcome.map(drop).map_err(|error| doing.failed(&error)),
        }
    }
}
