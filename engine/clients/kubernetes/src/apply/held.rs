//! Volumes that outlived their claims. Whoever has a volume is told by its claim's UID, so that no claim gets it which only
//! has the name of the one that is gone.

use http::Method;
use jm_step::{StepError, StepErrorKind};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::Api;
use serde_json::{Value, json};

use super::{ApplyError, Unapplied, request, send};
use crate::connection::Kubernetes;
use crate::error::step_error;
use crate::kind::{ObjectKey, ResourceKind};
use crate::patience::Patience;
use crate::reader::Reader;

/// A claim that a volume is held for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldFor {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub claim: String,
    /// Its UID.
    pub uid: String,
    /// Whether the volume names the claim's version, too.
    has_version: bool,
}

impl HeldFor {
    /// For which claim a volume is held, where that one has left it and the volume is to be retained.
    pub fn of(volume: &Value) -> Option<Self> {
        let is = |pointer: &str, wanted: &str| volume.pointer(pointer).and_then(Value::as_str) == Some(wanted);
        let is_left = is("/apiVersion", "v1")
            && is("/kind", "PersistentVolume")
            && is("/status/phase", "Released")
            && is("/spec/persistentVolumeReclaimPolicy", "Retain")
            && volume["metadata"]["deletionTimestamp"].is_null();
        let claim = volume.pointer("/spec/claimRef").filter(|_| is_left)?;
        Some(Self {
            namespace: claim["namespace"].as_str()?.to_owned(),
            claim: claim["name"].as_str()?.to_owned(),
            uid: claim["uid"].as_str()?.to_owned(),
            has_version: !claim["resourceVersion"].is_null(),
        })
    }

    /// Whether a volume, as it is written, is of a claim of this name.
    pub fn is_named_by(&self, volume: &Value) -> bool {
        let claim = &volume["spec"]["claimRef"];
        claim["namespace"] == *self.namespace && claim["name"] == *self.claim
    }

    /// What frees the volume, if it is held for this very claim still.
    fn patch(&self) -> Value {
        let uid = "/spec/claimRef/uid";
        let mut patch = vec![
            json!({ "op": "test", "path": uid, "value": self.uid }),
            json!({ "op": "remove", "path": uid }),
        ];
        if self.has_version {
            patch.push(json!({ "op": "remove", "path": "/spec/claimRef/resourceVersion" }));
        }
        patch.into()
    }
}

impl Reader {
    /// Whether the claim that a volume is held for is there: one that only has its name is another one.
    pub async fn has_claim(&self, held: &HeldFor) -> Result<bool, StepError> {
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.client().clone(), &held.namespace);
        let doing = format!("cannot read claim `{}` in namespace `{}`", held.claim, held.namespace);
        let found = claims.get_metadata_opt(&held.claim).await;
        let found = found.map_err(|error| step_error(&doing, error))?;
        Ok(found.and_then(|claim| claim.metadata.uid).as_ref() == Some(&held.uid))
    }
}

impl Kubernetes {
    /// Lets a volume be of whichever claim has the name of the one that it is held for.
    pub async fn free(&self, kind: &ResourceKind, key: &ObjectKey, held: &HeldFor) -> Result<(), StepError> {
        let patch = held.patch().to_string();
        let mut patience = Patience::new();
        loop {
            let asked = request(Method::PATCH, &kind.path_of(key), "", "application/json-patch+json");
            let error = match send(self, key, asked, patch.as_bytes()).await {
                Ok(_) => return Ok(()),
                Err(Unapplied::TurnedAway(error) | Unapplied::Refused(ApplyError::Failed(error))) => error,
                Err(Unapplied::Refused(ApplyError::Immutable(why))) => StepError::invalid_input(why),
                Err(Unapplied::Refused(ApplyError::Conflict(_))) => StepError::conflict(format!("{key} is written to")),
            };
            // Of an attempt whose answer was lost nothing is left to be done.
            if error.kind() == StepErrorKind::InvalidInput && !self.is_held(kind, key, held).await? {
                return Ok(());
            }
            patience.after(error).await?;
        }
    }

    async fn is_held(&self, kind: &ResourceKind, key: &ObjectKey, held: &HeldFor) -> Result<bool, StepError> {
        let volume = self.object(kind, key).await?;
        Ok(volume.is_some_and(|volume| volume["spec"]["claimRef"]["uid"] == *held.uid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume() -> Value {
        json!({ "apiVersion": "v1", "kind": "PersistentVolume", "metadata": { "name": "x" }, "status": { "phase": "Released" },
            "spec": { "persistentVolumeReclaimPolicy": "Retain",
                "claimRef": { "namespace": "app", "name": "data", "uid": "u", "resourceVersion": "1" } } })
    }

    #[test]
    fn only_what_was_left_and_is_retained_is_freed() {
        let held = HeldFor::of(&volume()).expect("it was left");
        assert_eq!((held.claim.as_str(), held.uid.as_str()), ("data", "u"));
        for (pointer, other) in [
            ("/status/phase", "Bound"),
            ("/spec/persistentVolumeReclaimPolicy", "Delete"),
            ("/kind", "PersistentVolumeClaim"),
        ] {
            let mut volume = volume();
            *volume.pointer_mut(pointer).expect("it is there") = other.into();
            assert_eq!(HeldFor::of(&volume), None, "{other}");
        }
        let mut going = volume();
        going["metadata"]["deletionTimestamp"] = "2026-11-27T12:00:00Z".into();
        assert_eq!(HeldFor::of(&going), None);
        let mut free = volume();
        free["spec"]["claimRef"]["uid"].take();
        assert_eq!(HeldFor::of(&free), None);
    }

    #[test]
    fn a_claim_of_another_name_is_another_one() {
        let held = HeldFor::of(&volume()).expect("it was left");
        assert!(held.is_named_by(&volume()));
        for field in ["namespace", "name"] {
            let mut other = volume();
            other["spec"]["claimRef"][field] = "other".into();
            assert!(!held.is_named_by(&other), "{field}");
        }
        assert!(!held.is_named_by(&json!({ "spec": {} })));
    }

    #[test]
    fn what_is_not_there_is_not_taken_out() {
        let mut volume = volume();
        let removes = |volume: &Value| {
            HeldFor::of(volume)
                .expect("it was left")
                .patch()
                .as_array()
                .map(Vec::len)
        };
        assert_eq!(removes(&volume), Some(3));
        volume["spec"]["claimRef"]
            .as_object_mut()
            .expect("a map")
            .remove("resourceVersion");
        assert_eq!(removes(&volume), Some(2));
    }
}
