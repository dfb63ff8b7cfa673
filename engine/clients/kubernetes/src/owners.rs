//! Whose pods they are: labels alone cannot tell, for the selectors of two workloads may overlap.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::pod::PodState;
use crate::stateful::Turns;
use crate::workload::{REVISION, Workload};

/// What may own the pods of a workload.
pub(crate) struct Owners {
    /// By UID, each with whether it is of the newest template; `None` where it cannot be told.
    known: Option<BTreeMap<String, bool>>,
    /// Of a StatefulSet: how it goes from one template to the next.
    turns: Option<Turns>,
}

impl Owners {
    /// The workload owns its pods itself, as a StatefulSet does.
    pub(crate) fn itself(workload: &Workload) -> Self {
        Self {
            known: Some(BTreeMap::from([(workload.uid.clone(), true)])),
            turns: workload.turns.clone(),
        }
    }

    /// Those of these ReplicaSets that belong to the workload.
    pub(crate) fn sets(workload: &Workload, sets: &[ReplicaSet]) -> Self {
        let ours = sets
            .iter()
            .filter(|set| controller(&set.metadata).is_some_and(|owner| owner.uid == workload.uid));
        let known = ours.filter_map(|set| Some((set.metadata.uid.clone()?, is_newest(workload, set))));
        Self {
            known: Some(known.collect()),
            turns: None,
        }
    }

    /// It cannot be told: every pod counts.
    pub(crate) fn unknown() -> Self {
        Self {
            known: None,
            turns: None,
        }
    }

    /// The pod in short; `None` where it is another workload's. A pod that nothing controls counts: whatever it is, it
    /// runs under the workload's labels.
    pub(crate) fn state(&self, pod: &Pod) -> Option<PodState> {
        let is_of_newest = match (&self.known, controller(&pod.metadata)) {
            (Some(known), Some(owner)) => *known.get(&owner.uid)?,
            _ => true,
        };
        let newest = is_of_newest && self.turns.as_ref().is_none_or(|turns| turns.is_through(pod));
        let in_order = self.turns.as_ref().is_some_and(Turns::waits_for_ready);
        let state = PodState::read(pod);
        Some(PodState {
            newest,
            holds_up: in_order && !newest && !state.ready && !state.going && !state.ended,
            ..state
        })
    }
}

/// What makes an object, if anything does.
pub(crate) fn controller(of: &ObjectMeta) -> Option<&OwnerReference> {
    let owners = of.owner_references.as_ref()?;
    owners.iter().find(|owner| owner.controller == Some(true))
}

fn is_newest(workload: &Workload, set: &ReplicaSet) -> bool {
    let revision = set.metadata.annotations.as_ref().and_then(|all| all.get(REVISION));
    match (&workload.revision, revision) {
        (Some(wanted), Some(found)) => wanted == found,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn workload() -> Workload {
        let object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "spec": {},
            "metadata": { "name": "web", "uid": "web-uid", "annotations": { (REVISION): "2" } },
        });
        Workload::read(
            &"deployment/web".parse().unwrap(),
            &serde_json::from_value(object).unwrap(),
        )
    }

    fn set(uid: &str, owner: &str, revision: &str) -> ReplicaSet {
        let owners =
            json!([{ "apiVersion": "apps/v1", "kind": "Deployment", "name": "x", "uid": owner, "controller": true }]);
        let annotations = json!({ (REVISION): revision });
        let metadata = json!({ "uid": uid, "ownerReferences": owners, "annotations": annotations });
        serde_json::from_value(json!({ "metadata": metadata })).unwrap()
    }

    fn pod(owner: Option<&str>) -> Pod {
        let owners: Vec<_> = owner
            .map(|uid| json!({ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "x", "uid": uid, "controller": true }))
            .into_iter()
            .collect();
        serde_json::from_value(json!({ "metadata": { "name": "p", "ownerReferences": owners } })).unwrap()
    }

    #[test]
    fn pods_of_another_workload_are_not_ours() {
        let sets = [
            set("new", "web-uid", "2"),
            set("old", "web-uid", "1"),
            set("other", "other-uid", "2"),
        ];
        let owners = Owners::sets(&workload(), &sets);
        let newest = |owner: Option<&str>| owners.state(&pod(owner)).map(|pod| pod.newest);
        assert_eq!(newest(Some("new")), Some(true));
        assert_eq!(newest(Some("old")), Some(false));
        assert_eq!(newest(Some("other")), None);
        assert_eq!(newest(None), Some(true), "what nobody controls runs all the same");
        assert!(Owners::unknown().state(&pod(Some("other"))).is_some());
    }
}
