//! Whether an object is as far as others need it.

use kube::core::DynamicObject;
use serde_json::Value;

use crate::keep::has_ended;
use crate::kind::group_of;
use crate::workload::Workload;
use crate::workload_ref::{Kind, WorkloadRef};

/// How far an object is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// Others may build on it.
    Ready,
    /// Not yet, for this reason.
    Waiting(String),
    /// It never will be, for this reason.
    Failed(String),
}

/// How far an object is. Of a kind about which nothing is known, being there is enough.
pub fn readiness(object: &Value) -> Readiness {
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    let group = group_of(text("apiVersion"));
    match (group, text("kind")) {
        ("", "Namespace") => namespace(object),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(object),
        ("", "PersistentVolumeClaim") if object["status"]["phase"] == "Lost" => {
            Readiness::Failed("its volume is lost".to_owned())
        }
        ("", "ResourceQuota") => quota(object),
        ("apps", "Deployment") => workload(Kind::Deployment, object),
        ("apps", "StatefulSet") => workload(Kind::StatefulSet, object),
        ("apps", "DaemonSet") => workload(Kind::DaemonSet, object),
        ("apps", "ReplicaSet") | ("", "ReplicationController") => replicas(object),
        ("", "Pod") => pod(object),
        ("apiregistration.k8s.io", "APIService") => condition(object, "Available"),
        _ => Readiness::Ready,
    }
}

fn namespace(object: &Value) -> Readiness {
    if object.pointer("/metadata/deletionTimestamp").is_none() {
        return Readiness::Ready;
    }
    let mut holders: Vec<String> = object
        .pointer("/spec/finalizers")
        .into_iter()
        .chain(object.pointer("/metadata/finalizers"))
        .filter_map(Value::as_array)
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    // Each of them tells of something that is left, or that cannot be looked for.
    let unsettled = conditions(object).filter(|condition| condition["status"] == "True");
    holders.extend(unsettled.filter_map(|condition| condition["message"].as_str().map(str::to_owned)));
    Readiness::Waiting(format!("it is being deleted, and held by {}", holders.join("; ")))
}

/// Until its controller has counted, the API server lets nothing in that the quota counts.
fn quota(object: &Value) -> Readiness {
    let counted = object.pointer("/status/hard").and_then(Value::as_object);
    let mut wanted = object
        .pointer("/spec/hard")
        .and_then(Value::as_object)
        .into_iter()
        .flatten();
    if wanted.all(|(name, _)| counted.is_some_and(|counted| counted.contains_key(name))) {
        Readiness::Ready
    } else {
        Readiness::Waiting("its controller has not counted yet".to_owned())
    }
}

fn definition(object: &Value) -> Readiness {
    let refused = conditions(object).find(|one| one["type"] == "NamesAccepted" && one["status"] == "False");
    match refused {
        Some(refused) => Readiness::Failed(format!(
            "its names are not accepted: {}",
            refused["message"].as_str().unwrap_or_default()
        )),
        None => condition(object, "Established"),
    }
}

fn conditions(object: &Value) -> impl Iterator<Item = &Value> {
    let all = object.pointer("/status/conditions").and_then(Value::as_array);
    all.into_iter().flatten()
}

fn condition(object: &Value, name: &str) -> Readiness {
    match conditions(object).find(|one| one["type"] == name) {
        Some(one) if one["status"] == "True" => Readiness::Ready,
        Some(one) => Readiness::Waiting(format!(
            "it is not {name}: {}",
            one["message"].as_str().unwrap_or_default()
        )),
        None => Readiness::Waiting(format!("it is not {name} yet")),
    }
}

/// One that serves for as long as it is there, of which others may need that it does. One that is over, that is to come to an
/// end, or that somebody holds back is not waited for.
fn pod(object: &Value) -> Readiness {
    let serves = object["spec"]["restartPolicy"]
        .as_str()
        .is_none_or(|policy| policy == "Always");
    let is_held = object["spec"]["schedulingGates"]
        .as_array()
        .is_some_and(|gates| !gates.is_empty());
    if has_ended(object) || !serves || is_held {
        return Readiness::Ready;
    }
    condition(object, "Ready")
}

fn number(object: &Value, pointer: &str) -> u64 {
    object.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
}

fn is_observed(object: &Value) -> bool {
    number(object, "/status/observedGeneration") >= number(object, "/metadata/generation")
}

/// As `kubectl rollout status` sees it: every replica runs the newest template and is available, and no old one is left.
fn workload(kind: Kind, object: &Value) -> Readiness {
    let Ok(read) = serde_json::from_value::<DynamicObject>(object.clone()) else {
        return Readiness::Failed("it is no workload that can be read".to_owned());
    };
    let name = read.metadata.name.clone().unwrap_or_default();
    let state = Workload::read(&WorkloadRef { kind, name }, &read);
    if state.is_back() {
        return Readiness::Ready;
    }
    if !state.observed {
        return Readiness::Waiting("its controller has not seen it yet".to_owned());
    }
    // Pods of an older template are scaled all the same; where there was no rollout yet, nothing makes any.
    if state.paused && state.revision.is_none() {
        let go_on = format!("`kubectl rollout resume {}`", state.workload);
        return Readiness::Failed(format!(
            "it is paused and has never run, so that nothing makes its pods: {go_on}"
        ));
    }
    // Over a deadline of its own it may come up all the same, as what gets its node late does: whoever waits has a time, too.
    Readiness::Waiting(state.progress())
}

/// What has no rollouts: its pods are there and ready.
fn replicas(object: &Value) -> Readiness {
    let wanted = object.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(1);
    if !is_observed(object) {
        return Readiness::Waiting("its controller has not seen it yet".to_owned());
    }
    let ready = number(object, "/status/readyReplicas");
    if ready >= wanted {
        Readiness::Ready
    } else {
        Readiness::Waiting(format!("{ready} of {wanted} replicas are ready"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_namespace_that_goes_away_tells_what_holds_it() {
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace",
            "metadata": { "name": "x", "deletionTimestamp": "t" }, "spec": { "finalizers": ["kubernetes"] },
            "status": { "conditions": [
                { "type": "NamespaceFinalizersRemaining", "status": "True", "message": "example.com/hold in 1 resource instances" },
                { "type": "NamespaceDeletionDiscoveryFailure", "status": "True", "message": "metrics.k8s.io/v1beta1 is away" },
                { "type": "NamespaceDeletionContentFailure", "status": "False", "message": "all is deleted" },
            ] } });
        let Readiness::Waiting(why) = readiness(&namespace) else {
            panic!("not waiting")
        };
        for holder in ["kubernetes", "example.com/hold", "metrics.k8s.io"] {
            assert!(why.contains(holder), "{why}");
        }
        assert!(!why.contains("all is deleted"), "{why}");
    }

    #[test]
    fn a_pod_that_serves_is_ready_once_it_says_so_and_others_are_not_waited_for() {
        let pod = |spec: Value, status: Value| {
            readiness(&json!({ "apiVersion": "v1", "kind": "Pod", "spec": spec, "status": status }))
        };
        let ready = |status: &str| json!([{ "type": "Ready", "status": status, "message": "pulling" }]);
        let pending = || json!({ "phase": "Pending", "conditions": ready("False") });
        for (spec, status, found) in [
            (
                json!({}),
                json!({ "phase": "Running", "conditions": ready("True") }),
                Readiness::Ready,
            ),
            (
                json!({}),
                pending(),
                Readiness::Waiting("it is not Ready: pulling".to_owned()),
            ),
            (
                json!({ "restartPolicy": "Always" }),
                json!({}),
                Readiness::Waiting("it is not Ready yet".to_owned()),
            ),
            (json!({ "restartPolicy": "Never" }), pending(), Readiness::Ready),
            (
                json!({ "schedulingGates": [{ "name": "x" }] }),
                pending(),
                Readiness::Ready,
            ),
            (
                json!({}),
                json!({ "phase": "Failed", "conditions": ready("False") }),
                Readiness::Ready,
            ),
        ] {
            assert_eq!(pod(spec.clone(), status), found, "{spec}");
        }
    }

    #[test]
    fn a_quota_is_ready_once_it_is_counted() {
        let quota = |hard: Value, status: Value| {
            readiness(
                &json!({ "apiVersion": "v1", "kind": "ResourceQuota", "spec": { "hard": hard }, "status": status }),
            )
        };
        let hard = || json!({ "pods": "4", "requests.cpu": "1000m" });
        assert!(matches!(quota(hard(), json!({})), Readiness::Waiting(_)));
        assert!(matches!(
            quota(hard(), json!({ "hard": { "pods": "4" } })),
            Readiness::Waiting(_)
        ));
        let counted = json!({ "hard": { "pods": "4", "requests.cpu": "1" } });
        assert_eq!(quota(hard(), counted), Readiness::Ready);
        assert_eq!(quota(json!({}), json!({})), Readiness::Ready, "it counts nothing");
    }

    fn deployment(status: &Value) -> Readiness {
        readiness(
            &json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web", "generation": 2 },
            "spec": { "replicas": 2 }, "status": status }),
        )
    }

    #[test]
    fn a_deployment_is_ready_when_its_controller_has_seen_it_and_all_are_there() {
        let of = |seen: u64, ready: u64| {
            deployment(
                &json!({ "observedGeneration": seen, "replicas": 2, "updatedReplicas": ready,
                "readyReplicas": ready, "availableReplicas": ready }),
            )
        };
        assert!(matches!(of(1, 2), Readiness::Waiting(_)));
        assert!(matches!(of(2, 1), Readiness::Waiting(_)));
        assert_eq!(of(2, 2), Readiness::Ready);
    }

    #[test]
    fn a_paused_deployment_is_ready_as_far_as_it_can_be() {
        let paused = |annotations: Value, ready: u64| {
            readiness(
                &json!({ "apiVersion": "apps/v1", "kind": "Deployment", "spec": { "replicas": 2, "paused": true },
                "metadata": { "name": "web", "generation": 2, "annotations": annotations },
                "status": { "observedGeneration": 2, "replicas": ready, "readyReplicas": ready, "availableReplicas": ready } }),
            )
        };
        let Readiness::Failed(why) = paused(json!({}), 0) else {
            panic!("it was made paused, and nothing makes its pods")
        };
        assert!(why.contains("paused"), "{why}");
        let ran = json!({ "deployment.kubernetes.io/revision": "3" });
        assert!(matches!(paused(ran.clone(), 1), Readiness::Waiting(_)));
        assert_eq!(paused(ran, 2), Readiness::Ready);
    }

    #[test]
    fn old_pods_that_still_serve_make_nothing_ready() {
        // Of the new template one pod hangs, and the two old ones are kept.
        let hangs = json!({ "observedGeneration": 2, "replicas": 3, "updatedReplicas": 1, "readyReplicas": 2,
            "availableReplicas": 2 });
        let Readiness::Waiting(why) = deployment(&hangs) else {
            panic!("ready")
        };
        assert!(why.contains("1 of 2") && why.contains("newest template"), "{why}");
        let left = json!({ "observedGeneration": 2, "replicas": 3, "updatedReplicas": 2, "readyReplicas": 3,
            "availableReplicas": 3 });
        assert!(matches!(deployment(&left), Readiness::Waiting(_)), "an old one is left");
        let set = json!({ "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": { "name": "db", "generation": 2 },
            "spec": { "replicas": 2 }, "status": { "observedGeneration": 2, "replicas": 2, "updatedReplicas": 0,
                "readyReplicas": 2, "availableReplicas": 2 } });
        assert!(matches!(readiness(&set), Readiness::Waiting(_)));
        let agents = json!({ "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": { "name": "a", "generation": 2 },
            "spec": {}, "status": { "observedGeneration": 2, "desiredNumberScheduled": 2, "currentNumberScheduled": 2,
                "updatedNumberScheduled": 1, "numberReady": 2, "numberAvailable": 2 } });
        assert!(matches!(readiness(&agents), Readiness::Waiting(_)));
    }
}
