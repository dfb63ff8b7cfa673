//! The namespaces that objects go into: there, and not on their way out.

use jm_client_kubernetes::{ObjectKey, Readiness, ResourceKind, Wave, readiness};
use jm_step::{StepError, StepErrorKind};
use serde_json::Value;

use super::chunk::{Doing, reworded};
use super::object::Object;
use super::{Deploy, ready};

/// What holds a namespace that is being deleted; none of what is not.
pub(super) fn ending(object: &Value) -> Option<String> {
    if object["kind"] != "Namespace" {
        return None;
    }
    match readiness(object) {
        Readiness::Waiting(why) => Some(why),
        _ => None,
    }
}

impl Deploy<'_> {
    /// Makes the target's namespace where it is missing, or will be once it is gone.
    pub(super) async fn own_namespace(&mut self) -> Result<(), StepError> {
        let object = Object::namespace(self.reader.namespace())?;
        let kind = self.kind_of(&object.key)?;
        let found = self.reader.object(&kind, &object.key).await?;
        if found.is_some_and(|found| ending(&found).is_none()) {
            return Ok(());
        }
        let made = self.chunk(vec![object]).await?;
        self.close(Wave::Namespaces, made).await
    }

    /// Looks at a namespace before the first object goes into it. One that is being deleted takes nothing in, and takes along
    /// what is there: a preview says whether it will be made anew by then; a run waits for its end, and says what is missing.
    pub(super) async fn is_made_anew(&mut self, key: &ObjectKey) -> Result<bool, StepError> {
        let Some(name) = &key.namespace else { return Ok(false) };
        if !self.namespaces.contains_key(name) {
            let found = self.is_ending(name).await;
            self.namespaces.insert(name.clone(), found);
        }
        match &self.namespaces[name] {
            Ok(is_ending) => Ok(*is_ending),
            Err(error) => Err(reworded(error, format!("{key}: {}", error.message()))),
        }
    }

    async fn is_ending(&self, name: &str) -> Result<bool, StepError> {
        let key = Object::namespace(name)?.key;
        let kind = self.kind_of(&key)?;
        let found = match self.reader.object(&kind, &key).await {
            Ok(found) => found,
            // Who may not see it is told by the server what it refuses.
            Err(error) if error.kind() == StepErrorKind::Denied => return Ok(false),
            Err(error) => return Err(error),
        };
        let Some(why) = found.as_ref().and_then(ending) else {
            return Ok(false);
        };
        if self.writer.is_none() && self.announced.contains(name) {
            return Ok(true);
        }
        let make_it = "bring the namespace back first: it is an object, too, of the wave `namespaces`";
        if self.writer.is_none() {
            return Err(StepError::conflict(format!("namespace `{name}` takes nothing in: {why}")).hint(make_it));
        }
        self.doing().until_gone(&kind, &key).await?;
        Err(StepError::not_found(format!("namespace `{name}` was being deleted, and is gone")).hint(make_it))
    }
}

impl Doing<'_> {
    /// Waits for the end of a namespace that is being deleted.
    pub(super) async fn until_gone(&self, kind: &ResourceKind, key: &ObjectKey) -> Result<(), StepError> {
        let Some(cx) = self.context else { return Ok(()) };
        let limit = tokio::time::Instant::now() + self.policy.patience;
        let mut told = None;
        while let Some(why) = self.reader.object(kind, key).await?.as_ref().and_then(ending) {
            if tokio::time::Instant::now() > limit {
                return Err(
                    StepError::failed(format!("namespace `{}` does not go away: {why}", key.name))
                        .hint("let its finalizers be worked off, or remove them by hand; jm does not"),
                );
            }
            if told.as_ref() != Some(&why) {
                cx.log(format!("waiting for the end of namespace `{}`: {why}", key.name))
                    .await;
                told = Some(why);
            }
            tokio::time::sleep(ready::PAUSE).await;
        }
        Ok(())
    }
}
