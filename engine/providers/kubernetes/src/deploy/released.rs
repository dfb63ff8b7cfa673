//! Volumes that outlived their claims: each is of the claim that comes back under the name of the one that is gone, which
//! would wait for it for ever.

use jm_client_kubernetes::{HeldFor, ResourceKind};
use jm_step::{Change, StepError};

use super::chunk::Doing;
use super::diff;
use super::object::Object;

impl Doing<'_> {
    /// Frees a volume that is held for a claim which is gone, where it is that claim's as it comes back, too, and one of its
    /// name comes back with it. `after` is the volume as it is, but for that. For whom it was held.
    pub(super) async fn free(
        &self,
        kind: &ResourceKind,
        object: &Object,
        after: &serde_json::Value,
    ) -> Result<Option<HeldFor>, StepError> {
        let held = HeldFor::of(after).filter(|held| self.comes_back(held) && held.is_named_by(&object.value));
        let Some(held) = held else { return Ok(None) };
        if self.reader.has_claim(&held).await? {
            return Ok(None);
        }
        if let Some(writer) = self.writer {
            let _writing = self.writing.begin(&object.key);
            writer.free(kind, &object.key, &held).await?;
        }
        Ok(Some(held))
    }

    fn comes_back(&self, held: &HeldFor) -> bool {
        let claim = (held.namespace.clone(), held.claim.clone());
        self.policy.claims.contains(&claim)
    }
}

/// The change of a volume, with what frees it.
pub(super) fn told(object: &Object, change: Option<Change>, held: &HeldFor) -> Change {
    diff::without(&object.key, change, "spec.claimRef.uid", held.uid.clone())
}

/// The volume, and for which claim it is free.
pub(super) fn described(object: &Object, held: &HeldFor) -> String {
    format!("{} (`{}` in `{}`)", object.key, held.claim, held.namespace)
}
