//! What the server put into an object, taken out again: what is left is what somebody wrote, and can be written to
//! another cluster.
//!
//! Where the server allocates a value that people may also choose (a node port, the families of a service's addresses),
//! the fields' managers tell which it was: what was chosen is managed by whoever chose it.

mod kinds;
mod volumes;

pub use volumes::KeptVolumes;

use serde_json::{Map, Value};

/// Fields of `metadata` that are the server's.
const METADATA: [&str; 9] = [
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
    "ownerReferences",
];

/// Annotations that controllers and clients keep their own books with.
const ANNOTATIONS: [&str; 14] = [
    // Holds the whole object again, values of Secrets too.
    "kubectl.kubernetes.io/last-applied-configuration",
    "deployment.kubernetes.io/revision",
    "deployment.kubernetes.io/revision-history",
    "deployment.kubernetes.io/desired-replicas",
    "deployment.kubernetes.io/max-replicas",
    "deprecated.daemonset.template.generation",
    "pv.kubernetes.io/bind-completed",
    "pv.kubernetes.io/bound-by-controller",
    "volume.beta.kubernetes.io/storage-provisioner",
    "volume.kubernetes.io/storage-provisioner",
    "volume.kubernetes.io/selected-node",
    "endpoints.kubernetes.io/last-change-trigger-time",
    "batch.kubernetes.io/job-tracking",
    "kubernetes.io/service-account.uid",
];

/// Finalizers that the control plane sets itself.
const FINALIZERS: [&str; 7] = [
    "kubernetes.io/pvc-protection",
    "kubernetes.io/pv-protection",
    "kubernetes.io/vac-protection",
    "service.kubernetes.io/load-balancer-cleanup",
    "batch.kubernetes.io/job-tracking",
    "foregroundDeletion",
    "orphan",
];

/// Takes out what the server manages. `has_status` is whether the kind has its status apart; `volumes` are those that come
/// back with the object.
pub fn strip(object: &mut Value, has_status: bool, volumes: &KeptVolumes) {
    let managed = object.pointer("/metadata/managedFields").cloned();
    kinds::strip(object, managed.as_ref(), volumes);
    let Some(fields) = object.as_object_mut() else { return };
    if has_status {
        fields.remove("status");
    }
    let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    for field in METADATA {
        metadata.remove(field);
    }
    forget(metadata, "annotations", |name| ANNOTATIONS.contains(&name));
    if let Some(finalizers) = metadata.get_mut("finalizers").and_then(Value::as_array_mut) {
        finalizers.retain(|name| !name.as_str().is_some_and(|name| FINALIZERS.contains(&name)));
    }
    for field in ["annotations", "labels", "finalizers"] {
        drop_empty(metadata, field);
    }
}

/// Takes out only what no writer may say: what is left of a manifest that somebody saved from a cluster.
pub fn strip_bookkeeping(object: &mut Value) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    for field in METADATA.iter().filter(|field| **field != "ownerReferences") {
        metadata.remove(*field);
    }
    forget(metadata, "annotations", |name| name == ANNOTATIONS[0]);
    drop_empty(metadata, "annotations");
}

/// Removes entries of a map in a map by name.
fn forget(fields: &mut Map<String, Value>, map: &str, is_forgotten: impl Fn(&str) -> bool) {
    if let Some(entries) = fields.get_mut(map).and_then(Value::as_object_mut) {
        entries.retain(|name, _| !is_forgotten(name));
    }
}

fn drop_empty(fields: &mut Map<String, Value>, field: &str) {
    let is_empty = match fields.get(field) {
        Some(Value::Object(entries)) => entries.is_empty(),
        Some(Value::Array(entries)) => entries.is_empty(),
        Some(Value::Null) => true,
        _ => false,
    };
    if is_empty {
        fields.remove(field);
    }
}

/// Whether anybody manages a field: one of the sets of fields names it. Where nothing tells who manages what, as `kubectl get`
/// leaves it out, a value may be one that was chosen.
fn is_managed(managed: Option<&Value>, field: &str) -> bool {
    is_in_a_set(managed, |fields| has(fields, &format!("f:{field}")))
}

/// The same of a field of one port of a service, which sets of fields know by number and protocol.
fn is_managed_of_port(managed: Option<&Value>, port: &Map<String, Value>, field: &str) -> bool {
    let is_its = |key: &str| {
        let key = key
            .strip_prefix("k:")
            .and_then(|key| serde_json::from_str::<Value>(key).ok());
        let protocol = port.get("protocol").and_then(Value::as_str).unwrap_or("TCP");
        key.is_some_and(|key| {
            Some(&key["port"]) == port.get("port") && key["protocol"].as_str().unwrap_or("TCP") == protocol
        })
    };
    is_in_a_set(managed, |fields| {
        let ports = fields.pointer("/f:spec/f:ports").and_then(Value::as_object);
        let mut its = ports.into_iter().flatten().filter(|(key, _)| is_its(key));
        its.any(|(_, inner)| has(inner, &format!("f:{field}")))
    })
}

fn is_in_a_set(managed: Option<&Value>, is_in: impl Fn(&Value) -> bool) -> bool {
    let entries = managed.and_then(Value::as_array);
    entries.is_none_or(|entries| entries.iter().filter_map(|entry| entry.get("fieldsV1")).any(is_in))
}

fn has(fields: &Value, wanted: &str) -> bool {
    let mut all = fields.as_object().into_iter().flatten();
    all.any(|(name, inner)| name == wanted || has(inner, wanted))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stripped(mut object: Value) -> Value {
        strip(&mut object, true, &KeptVolumes::default());
        object
    }

    #[test]
    fn what_is_the_servers_goes_and_the_rest_stays() {
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": { "a": "b" }, "status": {},
            "metadata": {
                "name": "x", "namespace": "app", "uid": "u", "resourceVersion": "1", "generation": 2,
                "creationTimestamp": "t", "managedFields": [], "ownerReferences": [{}], "labels": { "app": "x" },
                "annotations": { "kubectl.kubernetes.io/last-applied-configuration": "{}", "mine": "1" },
                "finalizers": ["kubernetes.io/pvc-protection", "example.com/mine"],
            },
        });
        let left = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": { "a": "b" },
            "metadata": {
                "name": "x", "namespace": "app", "labels": { "app": "x" }, "annotations": { "mine": "1" },
                "finalizers": ["example.com/mine"],
            },
        });
        assert_eq!(stripped(object), left);
    }

    #[test]
    fn a_node_port_that_was_chosen_stays() {
        let service = |managed: Value| {
            json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": { "name": "x", "managedFields": [{ "manager": "m", "fieldsV1": managed }] },
                "spec": {
                    "type": "NodePort", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ipFamilies": ["IPv4"],
                    "ports": [{ "port": 80, "nodePort": 30080 }],
                },
            })
        };
        let chosen = json!({ "f:spec": { "f:ports": { "k:{\"port\":80,\"protocol\":\"TCP\"}": { ".": {}, "f:nodePort": {} } } } });
        assert_eq!(
            stripped(service(chosen))["spec"],
            json!({ "type": "NodePort", "ports": [{ "port": 80, "nodePort": 30080 }] })
        );
        // What was chosen for one port was not for the other, which shares its number.
        let mut two = service(json!({ "f:spec": { "f:ports": {
            "k:{\"port\":80,\"protocol\":\"TCP\"}": { "f:nodePort": {} }, "k:{\"port\":80,\"protocol\":\"UDP\"}": { "f:port": {} } } } }));
        two["spec"]["ports"] = json!([{ "port": 80, "protocol": "TCP", "nodePort": 30080 },
            { "port": 80, "protocol": "UDP", "nodePort": 31234 }]);
        assert_eq!(
            stripped(two)["spec"]["ports"],
            json!([{ "port": 80, "protocol": "TCP", "nodePort": 30080 }, { "port": 80, "protocol": "UDP" }])
        );
        let given = json!({ "f:spec": { "f:ports": {} } });
        assert_eq!(
            stripped(service(given))["spec"],
            json!({ "type": "NodePort", "ports": [{ "port": 80 }] })
        );
    }

    #[test]
    fn what_kubectl_has_saved_keeps_what_may_have_been_chosen() {
        let service = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "x" },
            "spec": { "type": "NodePort", "clusterIP": "10.0.0.1", "ipFamilies": ["IPv4"],
                "ports": [{ "port": 80, "nodePort": 30080 }] } });
        let left = json!({ "type": "NodePort", "ipFamilies": ["IPv4"], "ports": [{ "port": 80, "nodePort": 30080 }] });
        assert_eq!(stripped(service)["spec"], left);
    }

    #[test]
    fn a_headless_service_stays_headless() {
        let service = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "x" },
            "spec": { "clusterIP": "None", "clusterIPs": ["None"] } });
        assert_eq!(stripped(service)["spec"]["clusterIP"], "None");
    }

    #[test]
    fn a_job_gets_a_selector_of_its_own_again() {
        let labels = json!({ "batch.kubernetes.io/controller-uid": "u", "controller-uid": "u", "job-name": "x",
            "batch.kubernetes.io/job-name": "x", "app": "x" });
        let job = json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "x", "labels": labels },
            "spec": { "selector": { "matchLabels": { "controller-uid": "u" } },
                "template": { "metadata": { "labels": labels, "creationTimestamp": null }, "spec": {} } } });
        let left = stripped(job);
        assert_eq!(
            left["spec"],
            json!({ "template": { "metadata": { "labels": { "app": "x" } }, "spec": {} } })
        );
        assert_eq!(left["metadata"]["labels"], json!({ "app": "x" }));
    }

    #[test]
    fn a_claim_forgets_a_volume_that_it_was_given() {
        let claim = |annotations: Value| {
            json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "metadata": { "name": "x", "annotations": annotations },
                "spec": { "volumeName": "pv-1", "storageClassName": "fast", "dataSource": { "name": "snapshot" },
                    "dataSourceRef": { "name": "snapshot" } } })
        };
        let given = claim(json!({ "pv.kubernetes.io/bound-by-controller": "yes" }));
        assert_eq!(stripped(given)["spec"], json!({ "storageClassName": "fast" }));
        let chosen = claim(json!({}));
        assert_eq!(stripped(chosen.clone())["spec"], chosen["spec"]);
    }

    #[test]
    fn a_claim_and_a_volume_that_both_come_back_keep_each_other() {
        let volume = |name: &str, annotations: Value| {
            json!({ "apiVersion": "v1", "kind": "PersistentVolume", "metadata": { "name": name, "annotations": annotations },
                "spec": { "claimRef": { "namespace": "app", "name": "x", "uid": "u", "resourceVersion": "1" } } })
        };
        let by_hand = volume("pv-1", json!({ "pv.kubernetes.io/bound-by-controller": "yes" }));
        let made = volume("pv-2", json!({ "pv.kubernetes.io/provisioned-by": "csi.example.com" }));
        let mut volumes = KeptVolumes::default();
        volumes.see(&by_hand);
        volumes.see(&made);
        let claim = |volume: &str| {
            let mut claim = json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": "x",
                "annotations": { "pv.kubernetes.io/bound-by-controller": "yes" } }, "spec": { "volumeName": volume } });
            strip(&mut claim, true, &volumes);
            claim["spec"].clone()
        };
        assert_eq!(claim("pv-1"), json!({ "volumeName": "pv-1" }));
        assert_eq!(claim("pv-2"), json!({}), "another one is made for it");
        let left = stripped(by_hand);
        assert_eq!(left["spec"], json!({ "claimRef": { "namespace": "app", "name": "x" } }));
    }
}
