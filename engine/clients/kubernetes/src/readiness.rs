//! Whether an object is as far as others need it.

use serde_json::Value;

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
    let group = text("apiVersion").split_once('/').map_or("", |(group, _)| group);
    match (group, text("kind")) {
        ("", "Namespace") => namespace(object),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(object),
        ("", "PersistentVolumeClaim") if object["status"]["phase"] == "Lost" => {
            Readiness::Failed("its volume is lost".to_owned())
        }
        ("apps", "Deployment") => replicas(object, &["updatedReplicas", "readyReplicas", "availableReplicas"]),
        ("apps", "StatefulSet" | "ReplicaSet") | ("", "ReplicationController") => replicas(object, &["readyReplicas"]),
        ("apps", "DaemonSet") => daemon_set(object),
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
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    for condition in conditions.into_iter().flatten() {
        let kind = condition["type"].as_str().unwrap_or_default();
        if ["NamespaceFinalizersRemaining", "NamespaceContentRemaining"].contains(&kind)
            && condition["status"] == "True"
        {
            holders.extend(condition["message"].as_str().map(str::to_owned));
        }
    }
    Readiness::Waiting(format!("it is being deleted, and held by {}", holders.join("; ")))
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

fn number(object: &Value, pointer: &str) -> u64 {
    object.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
}

fn is_observed(object: &Value) -> bool {
    number(object, "/status/observedGeneration") >= number(object, "/metadata/generation")
}

fn replicas(object: &Value, counts: &[&str]) -> Readiness {
    let wanted = object.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(1);
    if object["spec"]["paused"] == true {
        return Readiness::Ready;
    }
    let late = conditions(object)
        .find(|one| one["type"] == "Progressing" && one["reason"] == "ProgressDeadlineExceeded" && is_observed(object));
    if let Some(late) = late {
        return Readiness::Failed(late["message"].as_str().unwrap_or("it does not get on").to_owned());
    }
    if !is_observed(object) {
        return Readiness::Waiting("its controller has not seen it yet".to_owned());
    }
    let least = counts
        .iter()
        .map(|field| number(object, &format!("/status/{field}")))
        .min()
        .unwrap_or(0);
    if least >= wanted {
        Readiness::Ready
    } else {
        Readiness::Waiting(format!("{least} of {wanted} replicas are ready"))
    }
}

fn daemon_set(object: &Value) -> Readiness {
    let (wanted, ready) = (
        number(object, "/status/desiredNumberScheduled"),
        number(object, "/status/numberReady"),
    );
    if is_observed(object) && ready >= wanted {
        Readiness::Ready
    } else {
        Readiness::Waiting(format!("{ready} of {wanted} pods are ready"))
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
            ] } });
        let Readiness::Waiting(why) = readiness(&namespace) else {
            panic!("not waiting")
        };
        assert!(why.contains("kubernetes") && why.contains("example.com/hold"), "{why}");
    }

    #[test]
    fn a_deployment_is_ready_when_its_controller_has_seen_it_and_all_are_there() {
        let deployment = |seen: u64, ready: u64| {
            json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "generation": 2 },
                "spec": { "replicas": 2 }, "status": { "observedGeneration": seen, "updatedReplicas": ready,
                "readyReplicas": ready, "availableReplicas": ready } })
        };
        assert!(matches!(readiness(&deployment(1, 2)), Readiness::Waiting(_)));
        assert!(matches!(readiness(&deployment(2, 1)), Readiness::Waiting(_)));
        assert_eq!(readiness(&deployment(2, 2)), Readiness::Ready);
    }
}
