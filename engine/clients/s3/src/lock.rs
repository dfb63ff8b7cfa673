//! Object Lock: new objects that nobody can delete for a while, not even with the credentials that wrote them.

use aws_sdk_s3::types::ObjectLockMode;
use aws_smithy_types::DateTime;
use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use jm_step::{StepError, clock};

use crate::S3Bucket;
use crate::error::is_locked;

/// How long new objects are locked, in a bucket that was made with Object Lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ObjectLock {
    /// Who may lift the lock.
    #[serde(default)]
    pub mode: LockMode,
    /// For so many days from when it is written, a version cannot be deleted.
    #[schemars(range(min = 1, max = 36500))]
    pub days: u32,
}

/// Who may delete a version that is locked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LockMode {
    /// Who has `s3:BypassGovernanceRetention`.
    #[default]
    Governance,
    /// Nobody, the account's owner neither.
    Compliance,
}

impl S3Bucket {
    /// What a new object is written with.
    pub(crate) fn lock(&self) -> (Option<ObjectLockMode>, Option<DateTime>) {
        let Some(ObjectLock { mode, days }) = self.0.object_lock else {
            return (None, None);
        };
        let until = clock::now() + SignedDuration::from_hours(24 * i64::from(days));
        let mode = match mode {
            LockMode::Governance => ObjectLockMode::Governance,
            LockMode::Compliance => ObjectLockMode::Compliance,
        };
        (Some(mode), Some(DateTime::from_secs(until.as_second())))
    }

    /// The same refusal, with when the lock ends where that is the reason.
    pub(crate) async fn until_when(&self, error: StepError, key: &str, version_id: Option<&str>) -> StepError {
        if !is_locked(error.message()) {
            return error;
        }
        match self
            .head(key, version_id)
            .await
            .ok()
            .flatten()
            .and_then(|info| info.locked_until)
        {
            Some(until) => error.hint(format!(
                "it can be deleted after {until:.0}: leave it until then, and nothing of it is lost"
            )),
            None => error,
        }
    }
}
