//! Who makes an object, and would make it again.

use serde_json::Value;

use crate::kind::{ObjectKey, group_of};

/// Groups whose kinds are Kubernetes' own.
const OWN: [&str; 19] = [
    "",
    "apps",
    "batch",
    "autoscaling",
    "policy",
    "extensions",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "rbac.authorization.k8s.io",
    "resource.k8s.io",
    "scheduling.k8s.io",
    "storage.k8s.io",
];

/// Whether a group's kinds are Kubernetes' own.
pub fn is_own_group(group: &str) -> bool {
    OWN.contains(&group)
}

/// What the control plane makes of its own kinds. People's tools name these as controllers of other things too, such as a
/// Deployment of the Secret that somebody put beside it; nobody makes those again.
const MADE: [(&str, &[&str]); 11] = [
    ("Deployment", &["ReplicaSet"]),
    ("ReplicaSet", &["Pod"]),
    ("ReplicationController", &["Pod"]),
    ("StatefulSet", &["Pod", "PersistentVolumeClaim", "ControllerRevision"]),
    ("DaemonSet", &["Pod", "ControllerRevision"]),
    ("CronJob", &["Job"]),
    ("Job", &["Pod"]),
    ("Pod", &["PersistentVolumeClaim", "ResourceClaim"]),
    ("Service", &["Endpoints", "EndpointSlice"]),
    ("Endpoints", &["EndpointSlice"]),
    ("Node", &["Pod", "Lease", "CSINode", "ResourceSlice"]),
];

/// The object that makes another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maker {
    /// Which one. Where its kind has namespaces, it is in that of what it makes.
    pub key: ObjectKey,
    /// Its UID: another one under its name has not made it.
    pub uid: String,
}

impl Maker {
    /// What makes an object, and would make it again; `None` where nothing does.
    pub fn of(object: &Value) -> Option<Self> {
        let owners = object.pointer("/metadata/ownerReferences")?.as_array()?;
        let owner = owners.iter().find(|owner| owner["controller"] == true)?;
        let text = |field: &str| owner[field].as_str().unwrap_or_default().to_owned();
        let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str);
        let maker = Self {
            key: ObjectKey {
                api_version: text("apiVersion"),
                kind: text("kind"),
                namespace: namespace.map(str::to_owned),
                name: text("name"),
            },
            uid: text("uid"),
        };
        maker.makes(object).then_some(maker)
    }

    /// Whether it is not only named as the controller. What controllers of custom resources make, only they know.
    fn makes(&self, object: &Value) -> bool {
        if !is_own_group(self.key.group()) {
            return true;
        }
        let version = object["apiVersion"].as_str().unwrap_or_default();
        let group = group_of(version);
        let made = MADE.iter().find(|(maker, _)| *maker == self.key.kind);
        is_own_group(group) && made.is_some_and(|(_, kinds)| kinds.iter().any(|kind| object["kind"] == **kind))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_kubernetes_own_kinds_each_makes_what_its_controller_makes_and_nothing_else() {
        let is_made = |maker: (&str, &str), made: (&str, &str)| {
            let object = json!({ "apiVersion": made.0, "kind": made.1, "metadata": { "name": "x", "namespace": "app",
                "ownerReferences": [{ "apiVersion": maker.0, "kind": maker.1, "name": "y", "uid": "u", "controller": true }] } });
            Maker::of(&object).is_some()
        };
        for (maker, made) in [
            (("apps/v1", "Deployment"), ("apps/v1", "ReplicaSet")),
            (("apps/v1", "ReplicaSet"), ("v1", "Pod")),
            (("apps/v1", "StatefulSet"), ("apps/v1", "ControllerRevision")),
            (("batch/v1", "CronJob"), ("batch/v1", "Job")),
            (("v1", "Pod"), ("v1", "PersistentVolumeClaim")),
            (("v1", "Service"), ("discovery.k8s.io/v1", "EndpointSlice")),
            (("cert-manager.io/v1", "Certificate"), ("v1", "Secret")),
            (("snapshot.storage.k8s.io/v1", "VolumeSnapshot"), ("v1", "ConfigMap")),
        ] {
            assert!(is_made(maker, made), "{maker:?} makes {made:?}");
        }
        for (maker, made) in [
            (("apps/v1", "Deployment"), ("v1", "Secret")),
            (("apps/v1", "Deployment"), ("v1", "Pod")),
            (("v1", "ConfigMap"), ("v1", "Secret")),
            (("batch/v1", "Job"), ("v1", "ConfigMap")),
            (("v1", "Node"), ("v1", "ConfigMap")),
            (("v1", "Service"), ("example.com/v1", "Endpoints")),
            (
                ("networking.k8s.io/v1", "Ingress"),
                ("cert-manager.io/v1", "Certificate"),
            ),
        ] {
            assert!(!is_made(maker, made), "{maker:?} does not make {made:?}");
        }
    }

    #[test]
    fn who_only_owns_an_object_does_not_make_it() {
        let owned = |controller: bool| {
            json!({ "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": { "name": "web-1", "namespace": "app", "ownerReferences": [
                { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "u", "controller": controller }] } })
        };
        let maker = Maker::of(&owned(true)).expect("a maker");
        assert_eq!(
            (maker.key.to_string().as_str(), maker.uid.as_str()),
            ("app deployment.apps/web", "u")
        );
        assert_eq!(Maker::of(&owned(false)), None);
    }
}
