//! Which objects a backup leaves out: what comes by itself in any cluster, and what means nothing elsewhere.

use serde_json::Value;

use crate::kind::group_of;

/// Kinds that are never kept: records of what happened, of machines, and of who leads.
const NEVER: [(&str, &str); 18] = [
    ("", "Event"),
    ("events.k8s.io", "Event"),
    ("coordination.k8s.io", "Lease"),
    ("coordination.k8s.io", "LeaseCandidate"),
    ("", "Node"),
    ("", "Binding"),
    ("", "ComponentStatus"),
    ("storage.k8s.io", "CSINode"),
    ("storage.k8s.io", "VolumeAttachment"),
    ("networking.k8s.io", "IPAddress"),
    ("certificates.k8s.io", "CertificateSigningRequest"),
    ("certificates.k8s.io", "PodCertificateRequest"),
    ("metrics.k8s.io", "PodMetrics"),
    ("metrics.k8s.io", "NodeMetrics"),
    ("resource.k8s.io", "ResourceSlice"),
    ("internal.apiserver.k8s.io", "StorageVersion"),
    ("storagemigration.k8s.io", "StorageVersionMigration"),
    ("apiserver.k8s.io", "StorageVersion"),
];

/// Whether nothing of a kind is ever kept.
pub fn is_never_kept(group: &str, kind: &str) -> bool {
    NEVER.contains(&(group, kind))
}

/// Why an object is left out, whoever makes it ([`Maker`](crate::Maker)); `None` where it is kept.
pub fn left_out(object: &Value) -> Option<&'static str> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    if object.pointer("/metadata/deletionTimestamp").is_some() {
        return Some("is being deleted");
    }
    let group = group_of(text("/apiVersion"));
    match (group, text("/kind")) {
        ("", "ConfigMap") if text("/metadata/name") == "kube-root-ca.crt" => Some("is made in every namespace"),
        ("", "ConfigMap" | "Endpoints") if is_leader(object) => Some("records who leads"),
        ("", "Secret") if is_generated_token(object) => Some("is a token that a controller made"),
        ("", "Secret") if text("/type") == "bootstrap.kubernetes.io/token" => Some("lets machines join this cluster"),
        _ if has_ended(object) => Some("has ended, and would run again"),
        ("storage.k8s.io", "CSIStorageCapacity") if label(object, "csi.storage.k8s.io/managed-by").is_some() => {
            Some("is made by a storage driver")
        }
        ("", "PersistentVolume") if annotation(object, "pv.kubernetes.io/provisioned-by").is_some() => {
            Some("is made for its claim by a storage driver")
        }
        _ => None,
    }
}

/// Whether an object of a kind without namespaces is one that Kubernetes makes itself.
pub fn is_built_in(object: &Value) -> bool {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let group = group_of(text("/apiVersion"));
    let name = text("/metadata/name");
    match (group, text("/kind")) {
        ("", "Namespace") => name == "default" || name.starts_with("kube-"),
        ("rbac.authorization.k8s.io", _) => {
            label(object, "kubernetes.io/bootstrapping").is_some() || name.starts_with("system:")
        }
        ("scheduling.k8s.io", _) => name.starts_with("system-"),
        ("networking.k8s.io", "ServiceCIDR") => name == "kubernetes",
        ("flowcontrol.apiserver.k8s.io", _) => annotation(object, "apf.kubernetes.io/autoupdate-spec").is_some(),
        ("apiregistration.k8s.io", _) => object.pointer("/spec/service").is_none_or(Value::is_null),
        ("certificates.k8s.io", "ClusterTrustBundle") => name.contains(':'),
        _ => false,
    }
}

fn is_leader(object: &Value) -> bool {
    annotation(object, "control-plane.alpha.kubernetes.io/leader").is_some()
}

/// `ACCOUNT-token-XXXXX`. One that somebody made and named is kept, without its token.
fn is_generated_token(object: &Value) -> bool {
    if object["type"] != "kubernetes.io/service-account-token" {
        return false;
    }
    let name = object
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let account = annotation(object, "kubernetes.io/service-account.name").unwrap_or_default();
    let rest = name.strip_prefix(account).and_then(|rest| rest.strip_prefix("-token-"));
    rest.is_some_and(|rest| rest.len() == 5 && rest.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// Whether an object is a pod or a job that is over.
pub fn has_ended(object: &Value) -> bool {
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    match (group_of(text("apiVersion")), text("kind")) {
        ("", "Pod") => matches!(object["status"]["phase"].as_str(), Some("Succeeded" | "Failed")),
        ("batch", "Job") => {
            let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
            let mut conditions = conditions.into_iter().flatten();
            conditions.any(|one| (one["type"] == "Complete" || one["type"] == "Failed") && one["status"] == "True")
        }
        _ => false,
    }
}

fn annotation<'o>(object: &'o Value, name: &str) -> Option<&'o str> {
    object.pointer("/metadata/annotations")?.get(name)?.as_str()
}

fn label<'o>(object: &'o Value, name: &str) -> Option<&'o str> {
    object.pointer("/metadata/labels")?.get(name)?.as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn token(name: &str) -> Value {
        json!({ "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
            "metadata": { "name": name, "annotations": { "kubernetes.io/service-account.name": "web" } } })
    }

    #[test]
    fn what_comes_by_itself_is_left_out() {
        assert!(left_out(&token("web-token-x7k2p")).is_some());
        assert_eq!(left_out(&token("web-for-ci")), None);
        let root = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "kube-root-ca.crt" } });
        assert!(left_out(&root).is_some());
        let ended = json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "x" },
            "status": { "conditions": [{ "type": "Complete", "status": "True" }] } });
        assert!(left_out(&ended).is_some());
    }

    #[test]
    fn what_a_cluster_brings_along_is_known() {
        let role = json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": { "name": "view", "labels": { "kubernetes.io/bootstrapping": "rbac-defaults" } } });
        assert!(is_built_in(&role));
        let own = json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": { "name": "mine" } });
        assert!(!is_built_in(&own));
    }
}
