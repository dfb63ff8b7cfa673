//! Workloads: what starts pods and can be scaled, in the one form that steps need.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::core::DynamicObject;
use serde_json::Value;

use crate::autoscaler::{Autoscaler, BOUNDS_MARK};
use crate::keeper::Keeper;
use crate::revision::Revision;
use crate::stateful::Turns;
use crate::workload_ref::{Kind, WorkloadRef};

/// The annotation that keeps the count of replicas of a quiesced workload on the object itself: it outlives the loss of
/// a journal, and tells any jm that the zero it finds is not the count that was wanted.
pub const MARK: &str = "jm.dev/replicas-before-quiesce";

/// The annotation that keeps, on the object itself, how many replicas a workload had before jm scaled it to
/// nothing. Unlike [`MARK`] it says nothing of what is wanted: the zero may have been set for good.
pub const SCALED_FROM: &str = "jm.dev/replicas-before-scale";

/// The annotation by which a Deployment and its newest ReplicaSet share a number.
pub(crate) const REVISION: &str = "deployment.kubernetes.io/revision";

/// A workload as the API server has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Workload {
    /// Which one.
    pub workload: WorkloadRef,
    /// Its UID: another one under the same name is another workload.
    pub uid: String,
    /// Replicas that are wanted.
    pub replicas: u32,
    /// The version of the object that this was read from: a write that holds to it fails where somebody was faster.
    pub version: String,
    /// Replicas of the newest template.
    pub updated: u32,
    /// How many replicas are to be of the newest template: all of them, unless a StatefulSet's update strategy keeps
    /// some back.
    pub to_update: u32,
    /// Pods that are ready.
    pub ready: u32,
    /// Pods that are there at all, old and new.
    pub current: u32,
    /// Pods that have been ready long enough.
    pub available: u32,
    /// Whether the controller has seen the newest specification.
    pub observed: bool,
    /// Whether rollouts are paused.
    pub paused: bool,
    /// The count that the mark keeps, where there is one.
    pub mark: Option<u32>,
    /// How many replicas it had before jm scaled it to nothing.
    pub scaled_from: Option<u32>,
    /// The bounds of its autoscaler that the mark keeps, where there is one.
    pub bounds: Option<Autoscaler>,
    /// The label selector of its pods, in the form of a query.
    pub selector: String,
    /// The revision of the newest template, where the controller has numbered it.
    pub revision: Option<String>,
    /// When what is wanted of it was last changed, as far as the API server noted it.
    pub changed: Option<Timestamp>,
    /// A condition that says that it cannot go on: reason and message.
    pub failure: Option<(String, String)>,
    /// Who else keeps it as it is.
    pub keeper: Option<Keeper>,
    /// Of a StatefulSet: which of its pods are replaced, and when.
    pub turns: Option<Turns>,
}

/// Where a kind keeps its counts.
struct Counts {
    updated: &'static str,
    ready: &'static str,
    current: &'static str,
    available: &'static str,
}

impl Counts {
    fn of(kind: Kind) -> Self {
        match kind {
            Kind::DaemonSet => Self {
                updated: "/status/updatedNumberScheduled",
                ready: "/status/numberReady",
                current: "/status/currentNumberScheduled",
                available: "/status/numberAvailable",
            },
            _ => Self {
                updated: "/status/updatedReplicas",
                ready: "/status/readyReplicas",
                current: "/status/replicas",
                available: "/status/availableReplicas",
            },
        }
    }
}

impl Workload {
    pub(crate) fn read(workload: &WorkloadRef, object: &DynamicObject) -> Self {
        let number = |pointer: &str| {
            object
                .data
                .pointer(pointer)
                .and_then(Value::as_u64)
                .map_or(0, |n| u32::try_from(n).unwrap_or(u32::MAX))
        };
        let generation = object.metadata.generation.unwrap_or(0);
        let observed = object
            .data
            .pointer("/status/observedGeneration")
            .and_then(Value::as_i64)
            .unwrap_or(0);
        let annotations = object.metadata.annotations.as_ref();
        let count = |mark: &str| annotations?.get(mark)?.parse().ok();
        let changed = changed(object);
        let counts = Counts::of(workload.kind);
        let replicas = match workload.kind {
            Kind::DaemonSet => number("/status/desiredNumberScheduled"),
            // The API's default where the field is absent is 1.
            _ => object
                .data
                .pointer("/spec/replicas")
                .map_or(1, |_| number("/spec/replicas")),
        };
        Self {
            workload: workload.clone(),
            uid: object.metadata.uid.clone().unwrap_or_default(),
            replicas,
            version: object.metadata.resource_version.clone().unwrap_or_default(),
            to_update: to_update(&object.data, replicas),
            updated: number(counts.updated),
            ready: number(counts.ready),
            current: number(counts.current),
            available: number(counts.available),
            observed: observed >= generation,
            paused: object
                .data
                .pointer("/spec/paused")
                .and_then(Value::as_bool)
                .unwrap_or(false),
            mark: count(MARK),
            scaled_from: count(SCALED_FROM),
            bounds: annotations
                .and_then(|marks| marks.get(BOUNDS_MARK))
                .and_then(|mark| Autoscaler::marked(mark)),
            selector: selector(&object.data),
            revision: annotations.and_then(|marks| marks.get(REVISION)).cloned(),
            failure: failure(&object.data, changed),
            changed,
            keeper: Keeper::of_workload(workload, &object.metadata),
            turns: (workload.kind == Kind::StatefulSet).then(|| Turns::read(object)),
        }
    }

    /// Whether its controller has seen that its newest template is that of a revision. Only StatefulSets say so.
    pub fn has_taken_up(&self, revision: &Revision) -> bool {
        let newest = self.turns.as_ref().and_then(|turns| turns.newest.as_ref());
        self.observed && newest == Some(&revision.keeper)
    }

    /// Whether every replica that is wanted is ready, of whatever template, and none too many is left.
    pub fn is_ready(&self) -> bool {
        self.observed && self.ready >= self.replicas && self.available >= self.replicas && self.current == self.replicas
    }

    /// Whether every replica that is wanted runs the newest template and is ready, and no old one is left.
    pub fn is_rolled_out(&self) -> bool {
        self.is_ready() && self.updated >= self.to_update
    }

    /// Whether it serves as it is meant to now: rolled out, or ready with its rollout paused, which is as far as a
    /// change of its count can bring it.
    pub fn is_back(&self) -> bool {
        self.is_rolled_out() || (self.paused && self.is_ready())
    }

    /// How far it is, for people.
    pub fn progress(&self) -> String {
        let Self {
            replicas,
            ready,
            available,
            updated,
            to_update,
            current,
            ..
        } = self;
        let mut parts = vec![
            format!("{updated} of {to_update} replicas are of the newest template"),
            format!("{} of {replicas} are ready", (*ready).min(*available)),
        ];
        if let Some(more) = current.checked_sub(*replicas).filter(|more| *more > 0) {
            parts.push(format!("{more} too many are left"));
        }
        parts.join(", ")
    }

    /// Whether it wants nothing and its controller has seen to it. Pods that are still ending do not count here.
    pub fn is_stopped(&self) -> bool {
        self.observed && self.replicas == 0 && self.current == 0
    }
}

/// The replicas that the update strategy brings to the newest template.
fn to_update(data: &Value, replicas: u32) -> u32 {
    let strategy = |pointer: &str| data.pointer(pointer);
    if strategy("/spec/updateStrategy/type").and_then(Value::as_str) == Some("OnDelete") {
        return 0;
    }
    let kept_back = strategy("/spec/updateStrategy/rollingUpdate/partition").and_then(Value::as_u64);
    replicas.saturating_sub(u32::try_from(kept_back.unwrap_or(0)).unwrap_or(u32::MAX))
}

fn selector(data: &Value) -> String {
    let labels = data.pointer("/spec/selector/matchLabels").cloned().unwrap_or_default();
    let labels: BTreeMap<String, String> = serde_json::from_value(labels).unwrap_or_default();
    let expressions = data
        .pointer("/spec/selector/matchExpressions")
        .and_then(Value::as_array);
    let equal = labels.iter().map(|(key, value)| format!("{key}={value}"));
    let other = expressions.into_iter().flatten().filter_map(requirement);
    equal.chain(other).collect::<Vec<_>>().join(",")
}

/// A requirement of `matchExpressions` in the form of a query.
fn requirement(expression: &Value) -> Option<String> {
    let key = expression.get("key")?.as_str()?;
    let values = expression
        .get("values")
        .and_then(Value::as_array)
        .map(|values| values.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","));
    match (expression.get("operator")?.as_str()?, values) {
        ("In", Some(values)) => Some(format!("{key} in ({values})")),
        ("NotIn", Some(values)) => Some(format!("{key} notin ({values})")),
        ("Exists", _) => Some(key.to_owned()),
        ("DoesNotExist", _) => Some(format!("!{key}")),
        _ => None,
    }
}

/// When somebody last changed anything but the status. The API server notes that for each writer, to the second.
fn changed(object: &DynamicObject) -> Option<Timestamp> {
    let entries = object.metadata.managed_fields.iter().flatten();
    entries
        .filter(|entry| entry.subresource.as_deref() != Some("status"))
        .filter_map(|entry| entry.time.as_ref().map(|time| time.0))
        .max()
}

fn failure(data: &Value, changed: Option<Timestamp>) -> Option<(String, String)> {
    let conditions = data.pointer("/status/conditions")?.as_array()?;
    let text = |condition: &Value, field: &str| {
        condition
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    // That a rollout was over its deadline stays written down until the next one gets on, and says nothing of that one.
    let is_stale = |condition: &Value| {
        let said = text(condition, "lastUpdateTime").parse::<Timestamp>().ok();
        said.zip(changed).is_some_and(|(said, changed)| said <= changed)
    };
    // Of a rollout that is over its deadline the condition is `Progressing=False`, of one that may not make pods (a
    // quota, an admission policy) `ReplicaFailure=True`.
    conditions
        .iter()
        .filter(
            |condition| match (text(condition, "type").as_str(), text(condition, "status").as_str()) {
                ("ReplicaFailure", "True") => true,
                ("Progressing", "False") => !is_stale(condition),
                _ => false,
            },
        )
        // What may not make pods is over its deadline for just that.
        .min_by_key(|condition| text(condition, "type") != "ReplicaFailure")
        .map(|condition| (text(condition, "reason"), text(condition, "message")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn workload(value: Value) -> Workload {
        let object: DynamicObject = serde_json::from_value(value).expect("an object");
        Workload::read(&"deployment/web".parse().expect("a name"), &object)
    }

    #[test]
    fn a_rollout_is_over_when_nothing_old_is_left() {
        let base = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web", "generation": 2 },
            "spec": { "replicas": 2, "selector": { "matchLabels": { "app": "web" }, "matchExpressions": [{ "key": "tier", "operator": "In", "values": ["a", "b"] }] } },
            "status": { "observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2 }
        });
        let whole = workload(base.clone());
        assert!(whole.is_rolled_out());
        assert_eq!(whole.selector, "app=web,tier in (a,b)");
        for (pointer, value) in [
            ("/status/observedGeneration", 1),
            ("/status/replicas", 3),
            ("/status/readyReplicas", 1),
            ("/status/updatedReplicas", 0),
        ] {
            let mut partly = base.clone();
            *partly.pointer_mut(pointer).expect("there") = json!(value);
            assert!(!workload(partly).is_rolled_out(), "{pointer}");
        }
    }

    #[test]
    fn what_a_strategy_keeps_back_is_not_waited_for() {
        let set = |strategy: Value| {
            workload(json!({
                "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": { "name": "db" },
                "spec": { "replicas": 3, "updateStrategy": strategy },
                "status": { "replicas": 3, "updatedReplicas": 1, "readyReplicas": 3, "availableReplicas": 3 }
            }))
            .is_rolled_out()
        };
        assert!(!set(json!({ "type": "RollingUpdate" })));
        assert!(set(
            json!({ "type": "RollingUpdate", "rollingUpdate": { "partition": 2 } })
        ));
        assert!(!set(
            json!({ "type": "RollingUpdate", "rollingUpdate": { "partition": 1 } })
        ));
        assert!(set(json!({ "type": "OnDelete" })));
    }

    #[test]
    fn a_paused_workload_can_be_back_without_being_rolled_out() {
        let paused = workload(json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
            "spec": { "replicas": 2, "paused": true },
            "status": { "replicas": 2, "readyReplicas": 2, "availableReplicas": 2 }
        }));
        assert!(paused.is_back() && paused.is_ready() && !paused.is_rolled_out() && !paused.is_stopped());
    }

    #[test]
    fn the_mark_and_a_failure_are_read() {
        let found = workload(json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web", "annotations": { (MARK): "7", (BOUNDS_MARK): "{\"name\":\"web\",\"min\":4,\"max\":30}" } }, "spec": { "replicas": 0 },
            "status": { "conditions": [{ "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota" }] }
        }));
        assert_eq!((found.replicas, found.mark), (0, Some(7)));
        let bounds = found.bounds.expect("its bounds");
        assert_eq!((bounds.name.as_str(), bounds.min, bounds.max), ("web", 4, 30));
        assert_eq!(
            found.failure,
            Some(("FailedCreate".to_owned(), "exceeded quota".to_owned()))
        );
    }

    #[test]
    fn a_daemon_set_is_counted_by_its_nodes() {
        let object: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": { "name": "agent", "generation": 1 }, "spec": {},
            "status": { "observedGeneration": 1, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberReady": 2,
                        "currentNumberScheduled": 2, "numberAvailable": 2 }
        }))
        .expect("an object");
        let found = Workload::read(&"daemonset/agent".parse().expect("a name"), &object);
        assert_eq!(found.replicas, 2);
        assert!(found.is_rolled_out());
    }

    #[test]
    fn a_deadline_that_an_older_rollout_missed_says_nothing() {
        let missed = |said: &str| {
            workload(json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "spec": { "replicas": 1 },
                "metadata": { "name": "web", "managedFields": [
                    { "manager": "jm", "operation": "Update", "time": "2026-11-26T10:00:00Z" },
                    { "manager": "kube-controller-manager", "operation": "Update", "subresource": "status", "time": "2026-11-26T10:09:00Z" }] },
                "status": { "conditions": [{ "type": "Progressing", "status": "False",
                    "reason": "ProgressDeadlineExceeded", "message": "m", "lastUpdateTime": said }] }
            }))
            .failure
        };
        assert_eq!(missed("2026-11-26T09:00:00Z"), None, "from before the change");
        assert!(missed("2026-11-26T10:05:00Z").is_some(), "of this rollout");
    }

    #[test]
    fn why_pods_are_not_made_is_told_before_that_it_took_too_long() {
        let condition = |name: &str, status: &str, reason: &str| json!({ "type": name, "status": status, "reason": reason, "message": "m" });
        let late = condition("Progressing", "False", "ProgressDeadlineExceeded");
        let refused = condition("ReplicaFailure", "True", "FailedCreate");
        for conditions in [[&late, &refused], [&refused, &late]] {
            let found = workload(json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
                "spec": { "replicas": 1 }, "status": { "conditions": conditions }
            }));
            assert_eq!(found.failure.map(|(reason, _)| reason).as_deref(), Some("FailedCreate"));
        }
    }
}
