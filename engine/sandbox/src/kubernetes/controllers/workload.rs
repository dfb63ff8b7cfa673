//! What all controllers of pods share.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::object::{self, items, number, text};

/// A pod from the template of a workload, with a name of its own.
pub(super) fn pod(owner: &Value, name: &str) -> Value {
    let template = &owner["spec"]["template"];
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": object::namespace(owner),
            "ownerReferences": [object::controller_reference(owner)],
        },
        "spec": template["spec"],
    });
    for field in ["labels", "annotations"] {
        if let Some(given) = template["metadata"].get(field) {
            pod["metadata"][field] = given.clone();
        }
    }
    pod
}

/// A pod whose name ends in random letters.
pub(super) fn unnamed_pod(owner: &Value) -> Value {
    let prefix = format!("{}-", object::name(owner));
    let mut pod = pod(owner, &format!("{prefix}{}", object::name_suffix(5)));
    pod["metadata"]["generateName"] = json!(prefix);
    pod
}

/// Does the pod count: neither over nor on its way out?
pub(super) fn is_active(pod: &Value) -> bool {
    !object::is_terminating(pod) && !is_over(pod)
}

pub(super) fn is_over(pod: &Value) -> bool {
    ["Succeeded", "Failed"].contains(&text(pod, "/status/phase"))
}

fn ready_condition(pod: &Value) -> Option<&Value> {
    items(pod, "/status/conditions")
        .iter()
        .find(|one| one["type"] == "Ready" && one["status"] == "True")
}

pub(super) fn is_ready(pod: &Value) -> bool {
    ready_condition(pod).is_some()
}

/// Has it been ready for as long as its workload asks?
pub(super) fn is_available(pod: &Value, least_seconds: i64) -> bool {
    let Some(condition) = ready_condition(pod) else {
        return false;
    };
    let since = text(condition, "/lastTransitionTime").parse::<jiff::Timestamp>();
    least_seconds == 0
        || since.is_ok_and(|since| since.as_second() + least_seconds <= jm_step::clock::now().as_second())
}

/// How many pods are ready, and how many have been for long enough.
pub(super) fn count_ready(pods: &[Arc<Value>], least_seconds: i64) -> (usize, usize) {
    let ready = pods.iter().filter(|pod| is_ready(pod)).count();
    let available = pods.iter().filter(|pod| is_available(pod, least_seconds)).count();
    (ready, available)
}

/// Writes a count, or leaves it out at nought as the real types do.
pub(super) fn set_count(status: &mut Value, field: &str, count: i64) {
    if count == 0 {
        object::remove(status, &[field]);
    } else {
        object::set(status, &[field], json!(count));
    }
}

/// Notes that the wanted state was seen.
pub(super) fn observe(object: &mut Value) {
    let generation = number(object, "/metadata/generation");
    object::set(object, &["status", "observedGeneration"], json!(generation));
}

/// Sets a condition; its time of transition stays where its status does.
pub(super) fn set_condition(object: &mut Value, kind: &str, status: bool, reason: &str, message: &str) {
    let status = if status { "True" } else { "False" };
    let old = condition(object, kind).cloned();
    let same = |field: &str, value: &str| old.as_ref().is_some_and(|old| old[field] == value);
    if same("status", status) && same("reason", reason) && same("message", message) {
        return;
    }
    let now = object::now();
    let since = if same("status", status) {
        old.map(|old| old["lastTransitionTime"].clone())
    } else {
        None
    };
    let fresh = json!({
        "type": kind, "status": status, "lastUpdateTime": now, "lastTransitionTime": since.unwrap_or_else(|| json!(now)),
        "reason": reason, "message": message,
    });
    let conditions = object::slot(object, &["status", "conditions"]);
    if !conditions.is_array() {
        *conditions = json!([]);
    }
    if let Value::Array(conditions) = conditions {
        conditions.retain(|one| one["type"] != kind);
        conditions.push(fresh);
    }
}

/// The condition of a type.
pub(super) fn condition<'v>(object: &'v Value, kind: &str) -> Option<&'v Value> {
    items(object, "/status/conditions")
        .iter()
        .find(|one| one["type"] == kind)
}

/// `25%` or a number, of a whole; upwards for a surge, downwards for what may be missing.
pub(super) fn share(value: &Value, of: i64, upwards: bool) -> i64 {
    match value {
        Value::String(text) => {
            let percent = text.trim_end_matches('%').parse::<i64>().unwrap_or_default();
            if upwards {
                (of * percent + 99) / 100
            } else {
                of * percent / 100
            }
        }
        other => other.as_i64().unwrap_or_default(),
    }
}

/// The pods in the order in which they are given up: those that are not ready first, then the newest.
pub(super) fn least_wanted_first(pods: &mut [Arc<Value>]) {
    pods.sort_by(|a, b| {
        let age = |pod: &Value| text(pod, "/metadata/creationTimestamp").to_owned();
        let assigned = |pod: &Value| !text(pod, "/spec/nodeName").is_empty();
        assigned(a)
            .cmp(&assigned(b))
            .then(is_ready(a).cmp(&is_ready(b)))
            .then(age(b).cmp(&age(a)))
            .then(object::name(a).cmp(object::name(b)))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_rounded_for_safety() {
        assert_eq!(share(&json!("25%"), 10, true), 3);
        assert_eq!(share(&json!("25%"), 10, false), 2);
        assert_eq!(share(&json!(4), 10, false), 4);
    }

    #[test]
    fn a_condition_keeps_its_time_while_its_status_stays() {
        let mut object = json!({"status": {"conditions": [
            {"type": "Available", "status": "True", "reason": "A", "message": "", "lastTransitionTime": "t"}]}});
        set_condition(&mut object, "Available", true, "B", "");
        assert_eq!(condition(&object, "Available").unwrap()["lastTransitionTime"], "t");
        set_condition(&mut object, "Available", false, "C", "");
        assert_ne!(condition(&object, "Available").unwrap()["lastTransitionTime"], "t");
    }
}
