//! Objects that cannot be changed: deleted and made anew, where that is allowed, and only where the server will take what
//! comes in their place.

use jm_client_kubernetes::{ApplyError, ObjectKey, ResourceKind};
use jm_step::StepError;
use serde_json::Value;

use super::chunk::{Doing, conflict};
use super::object::Object;
use super::{NEVER_RECREATED, claims_would_go, ready, scaled, takes_its_claims, words};

impl Doing<'_> {
    pub(super) async fn recreate(
        &self,
        kind: &ResourceKind,
        object: &Object,
        before: &Value,
        why: &str,
    ) -> Result<(), StepError> {
        let key = &object.key;
        if takes_its_claims(before) {
            return Err(claims_would_go(key));
        }
        self.may_recreate(key, why)?;
        let scaled = scaled::as_it_ran(self.reader, kind, object, before).await?;
        let value = scaled.as_ref().unwrap_or(&object.value);
        self.would_be_taken(kind, key, value).await?;
        let (Some(writer), Some(cx)) = (self.writer, self.context) else {
            return Ok(());
        };
        if cx.cancellation().is_cancelled() {
            return Err(StepError::cancelled(format!("told to stop before {key} was deleted")));
        }
        if let Some(count) = scaled.as_ref().and_then(scaled::count) {
            self.made.note_count(cx, key, count).await?;
        }
        let _deleted = self.deleted.begin(key);
        let uid = before.pointer("/metadata/uid").and_then(Value::as_str);
        writer.delete(kind, key, uid).await?;
        ready::gone(self.reader, kind, key, self.policy.patience).await?;
        match self.ask(kind, key, value).await {
            Ok(_) => {
                self.made.forget_count(key).await;
                Ok(())
            }
            Err(ApplyError::Conflict(conflicts)) => Err(conflict(key, &conflicts, None)),
            Err(ApplyError::Immutable(why)) => Err(StepError::failed(format!("{key} is refused: {why}"))),
            Err(ApplyError::Failed(error)) => Err(error),
        }
    }

    fn may_recreate(&self, key: &ObjectKey, why: &str) -> Result<(), StepError> {
        if self.policy.recreate.contains(&key.kind) {
            return Ok(());
        }
        let hint = if NEVER_RECREATED.contains(&key.kind.as_str()) {
            "what it holds would be lost, so jm does not delete it: change it back, or make another one".to_owned()
        } else {
            format!("name {} in `recreate` to have it deleted and made anew", key.kind)
        };
        Err(StepError::conflict(format!("{key} cannot be changed: {why}")).hint(hint))
    }

    /// Asks before anything is deleted: what is refused afterwards would be gone.
    async fn would_be_taken(&self, kind: &ResourceKind, key: &ObjectKey, value: &Value) -> Result<(), StepError> {
        let asked = self.reader.would_create(kind, key, value).await;
        match asked.map_err(words::quiet_error) {
            // The port or address that the old one has until it is gone.
            Err(error) if key.kind == "Service" && error.message().contains("already allocated") => Ok(()),
            Err(error) => {
                let hint = error.hint_text().map_or_else(String::new, |hint| format!("; {hint}"));
                Err(error.hint(format!(
                    "nothing of it was deleted, for the API server would not take what is to come in its place{hint}"
                )))
            }
            Ok(()) => Ok(()),
        }
    }
}
