//! One resource at two versions: how it is stored, and how it is shown.

use std::sync::Arc;

use serde_json::{Value, json};

use super::kinds::Kind;
use super::object;

/// The object as a version shows it.
pub(super) fn shown(kind: &Kind, stored: &Arc<Value>) -> Arc<Value> {
    match (kind.group, kind.version, kind.stored_as) {
        ("autoscaling", "v1", _) => Arc::new(autoscaler_v1(stored)),
        ("events.k8s.io", ..) => Arc::new(event_v1(stored)),
        _ if kind.custom && object::text(stored, "/apiVersion") != kind.api_version() => {
            let mut shown = (**stored).clone();
            shown["apiVersion"] = json!(kind.api_version());
            Arc::new(shown)
        }
        _ => Arc::clone(stored),
    }
}

/// The object as it is stored.
pub(super) fn stored(kind: &Kind, mut shown: Value) -> Value {
    match (kind.group, kind.version) {
        ("autoscaling", "v1") => autoscaler_v2(&mut shown),
        ("events.k8s.io", _) => event_core(&mut shown),
        _ => {}
    }
    shown
}

/// The CPU share that version 1 knows, as version 2 writes it.
fn cpu_metric(percentage: &Value) -> Value {
    json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": percentage}}})
}

fn is_cpu_metric(metric: &Value) -> bool {
    metric["resource"]["name"] == "cpu" && metric["resource"]["target"]["type"] == "Utilization"
}

fn autoscaler_v1(stored: &Value) -> Value {
    let mut shown = stored.clone();
    shown["apiVersion"] = json!("autoscaling/v1");
    let metrics = object::remove(&mut shown, &["spec", "metrics"]).unwrap_or_default();
    let cpu = metrics
        .as_array()
        .into_iter()
        .flatten()
        .find(|metric| is_cpu_metric(metric));
    if let Some(metric) = cpu {
        let percentage = metric["resource"]["target"]["averageUtilization"].clone();
        object::set(&mut shown, &["spec", "targetCPUUtilizationPercentage"], percentage);
    }
    // What version 1 cannot say travels in annotations, as on the real server.
    for (annotation, value) in [
        (
            "metrics",
            metrics.as_array().map(|metrics| {
                metrics
                    .iter()
                    .filter(|metric| !is_cpu_metric(metric))
                    .cloned()
                    .collect()
            }),
        ),
        ("behavior", object::remove(&mut shown, &["spec", "behavior"])),
    ] {
        let value: Value = value.unwrap_or_default();
        if !value.is_null() && value != json!([]) {
            let key = format!("autoscaling.alpha.kubernetes.io/{annotation}");
            object::set(&mut shown, &["metadata", "annotations", &key], json!(value.to_string()));
        }
    }
    shown
}

fn autoscaler_v2(shown: &mut Value) {
    shown["apiVersion"] = json!("autoscaling/v2");
    let mut metrics = Vec::new();
    if let Some(percentage) =
        object::remove(shown, &["spec", "targetCPUUtilizationPercentage"]).filter(|value| !value.is_null())
    {
        metrics.push(cpu_metric(&percentage));
    }
    let annotation = |shown: &mut Value, name: &str| {
        let text = object::remove(
            shown,
            &[
                "metadata",
                "annotations",
                &format!("autoscaling.alpha.kubernetes.io/{name}"),
            ],
        )?;
        serde_json::from_str::<Value>(text.as_str()?).ok()
    };
    if let Some(Value::Array(more)) = annotation(shown, "metrics") {
        metrics.extend(more);
    }
    if let Some(behavior) = annotation(shown, "behavior") {
        object::set(shown, &["spec", "behavior"], behavior);
    }
    if !metrics.is_empty() {
        object::set(shown, &["spec", "metrics"], Value::Array(metrics));
    }
}

/// The fields of an event that have another name in `events.k8s.io/v1`.
const EVENT_FIELDS: [(&str, &str); 6] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

fn event_v1(stored: &Value) -> Value {
    let mut shown = stored.clone();
    shown["apiVersion"] = json!("events.k8s.io/v1");
    for (core, new) in EVENT_FIELDS {
        rename(&mut shown, core, new);
    }
    rename(&mut shown, "reportingComponent", "reportingController");
    shown
}

fn event_core(shown: &mut Value) {
    shown["apiVersion"] = json!("v1");
    for (core, new) in EVENT_FIELDS {
        rename(shown, new, core);
    }
    rename(shown, "reportingController", "reportingComponent");
}

fn rename(object: &mut Value, from: &str, to: &str) {
    if let Some(value) = object::remove(object, &[from]) {
        object[to] = value;
    }
}

#[cfg(test)]
mod tests {
    use super::super::kinds::find;
    use super::*;

    #[test]
    fn autoscalers_survive_the_way_through_version_1() {
        let kind = find("autoscaling", "v1", "horizontalpodautoscalers").unwrap();
        let memory = json!({"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}});
        let object = Arc::new(json!({
            "apiVersion": "autoscaling/v2", "metadata": {"name": "web", "annotations": {"a": "b"}},
            "spec": {"minReplicas": 2, "maxReplicas": 10, "behavior": {"scaleDown": {}}, "metrics": [cpu_metric(&json!(70)), memory]},
        }));
        let version_1 = shown(kind, &object);
        assert_eq!(version_1["spec"]["targetCPUUtilizationPercentage"], 70);
        assert_eq!(stored(kind, (*version_1).clone()), *object);
    }

    #[test]
    fn events_survive_both_names() {
        let kind = find("events.k8s.io", "v1", "events").unwrap();
        let event =
            Arc::new(json!({"apiVersion": "v1", "involvedObject": {"kind": "Pod"}, "message": "m", "count": 2}));
        let new = shown(kind, &event);
        assert_eq!(new["note"], "m");
        assert_eq!(stored(kind, (*new).clone()), *event);
    }
}
