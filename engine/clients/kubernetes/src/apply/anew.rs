//! Whether an object could be made anew in the place of one that is there.

use http::Method;
use jm_step::{StepError, StepErrorKind};
use serde_json::Value;

use super::{ApplyError, Unapplied, body, dry_run, request, send};
use crate::kind::{ObjectKey, ResourceKind};
use crate::patience::Patience;
use crate::reader::Reader;

impl Reader {
    /// Asks the server whether it would take an object if none of its name were there. Nothing is written: the request
    /// says `dryRun=All`, always.
    pub async fn would_create(&self, kind: &ResourceKind, key: &ObjectKey, object: &Value) -> Result<(), StepError> {
        let body = body(key, object)?;
        let path = kind.path(key.namespace.as_deref());
        let mut patience = Patience::new();
        loop {
            let create = request(Method::POST, &path, dry_run(true), "application/json");
            match send(self, key, create, &body).await {
                // That one is there is found last, when nothing is wrong with what was sent.
                Ok(_) | Err(Unapplied::Refused(ApplyError::Conflict(_))) => return Ok(()),
                Err(Unapplied::Refused(ApplyError::Failed(error))) if error.kind() == StepErrorKind::Conflict => {
                    return Ok(());
                }
                Err(Unapplied::TurnedAway(error)) => return Err(error),
                Err(Unapplied::Refused(ApplyError::Immutable(why))) => {
                    return Err(StepError::invalid_input(format!("{key} is refused: {why}")));
                }
                Err(Unapplied::Refused(ApplyError::Failed(error))) => patience.after(error).await?,
            }
        }
    }
}
