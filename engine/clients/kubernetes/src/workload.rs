//! Workloads: what starts pods and can be scaled, in the one form that steps need.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::core::{ApiResource, DynamicObject};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The annotation that keeps the count of replicas of a quiesced workload on the object itself: it outlives the loss of
/// a journal, and tells any jm that the zero it finds is not the count that was wanted.
pub const MARK: &str = "jm.dev/replicas-before-quiesce";

/// The annotation by which a Deployment and its newest ReplicaSet share a number.
pub(crate) const REVISION: &str = "deployment.kubernetes.io/revision";

/// A kind of workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `apps/v1` Deployment.
    Deployment,
    /// `apps/v1` StatefulSet.
    StatefulSet,
}

impl Kind {
    /// The kind as `kubectl` writes it before a slash.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "deployment",
            Self::StatefulSet => "statefulset",
        }
    }

    /// How the API server names the resource.
    pub fn resource(self) -> ApiResource {
        match self {
            Self::Deployment => ApiResource::erase::<Deployment>(&()),
            Self::StatefulSet => ApiResource::erase::<StatefulSet>(&()),
        }
    }
}

/// A workload by kind and name, written `deployment/backend-deployment`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WorkloadRef {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
}

/// A text that names no workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidWorkload(String);

impl fmt::Display for InvalidWorkload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` names no workload: write `deployment/NAME` or `statefulset/NAME`",
            self.0
        )
    }
}

impl std::error::Error for InvalidWorkload {}

impl FromStr for WorkloadRef {
    type Err = InvalidWorkload;
    fn from_str(text: &str) -> Result<Self, InvalidWorkload> {
        let invalid = || InvalidWorkload(text.to_owned());
        let (kind, name) = text.split_once('/').ok_or_else(invalid)?;
        let kind = match kind.to_ascii_lowercase().as_str() {
            "deployment" | "deployments" | "deploy" => Kind::Deployment,
            "statefulset" | "statefulsets" | "sts" => Kind::StatefulSet,
            _ => return Err(invalid()),
        };
        if is_dns_name(name) {
            Ok(Self {
                kind,
                name: name.to_owned(),
            })
        } else {
            Err(invalid())
        }
    }
}

/// A DNS subdomain, which every name of a workload is (Kubernetes, "Object Names and IDs").
fn is_dns_name(name: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    name.len() <= 253
        && edge(name.chars().next())
        && edge(name.chars().last())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.')
}

impl TryFrom<String> for WorkloadRef {
    type Error = InvalidWorkload;
    fn try_from(text: String) -> Result<Self, InvalidWorkload> {
        text.parse()
    }
}

impl From<WorkloadRef> for String {
    fn from(workload: WorkloadRef) -> String {
        workload.to_string()
    }
}

impl fmt::Display for WorkloadRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.as_str(), self.name)
    }
}

impl JsonSchema for WorkloadRef {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "WorkloadRef".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^[A-Za-z]+/[a-z0-9]([a-z0-9.-]*[a-z0-9])?$",
            "description": "A workload, as `deployment/NAME` or `statefulset/NAME`."
        })
    }
}

/// The bounds of the autoscaler of a workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Autoscaler {
    /// Its name.
    pub name: String,
    /// The least replicas that it keeps.
    pub min: u32,
    /// The most.
    pub max: u32,
}

impl Autoscaler {
    /// The autoscaler, if it is the one of this workload.
    pub(crate) fn of(workload: &WorkloadRef, hpa: &HorizontalPodAutoscaler) -> Option<Self> {
        let spec = &hpa.spec;
        let target = &spec.scale_target_ref;
        let same = target.kind.eq_ignore_ascii_case(workload.kind.as_str()) && target.name == workload.name;
        same.then(|| Self {
            name: hpa.metadata.name.clone().unwrap_or_default(),
            min: spec.min_replicas.map_or(1, count),
            max: count(spec.max_replicas),
        })
    }
}

/// A count of the API, which writes them as signed numbers.
pub(crate) fn count(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

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
    /// The label selector of its pods, in the form of a query.
    pub selector: String,
    /// The revision of the newest template, where the controller has numbered it.
    pub revision: Option<String>,
    /// A condition that says that it cannot go on: reason and message.
    pub failure: Option<(String, String)>,
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
        // The API's default where the field is absent is 1.
        let replicas = object
            .data
            .pointer("/spec/replicas")
            .map_or(1, |_| number("/spec/replicas"));
        Self {
            workload: workload.clone(),
            uid: object.metadata.uid.clone().unwrap_or_default(),
            replicas,
            version: object.metadata.resource_version.clone().unwrap_or_default(),
            to_update: to_update(&object.data, replicas),
            updated: number("/status/updatedReplicas"),
            ready: number("/status/readyReplicas"),
            current: number("/status/replicas"),
            available: number("/status/availableReplicas"),
            observed: observed >= generation,
            paused: object
                .data
                .pointer("/spec/paused")
                .and_then(Value::as_bool)
                .unwrap_or(false),
            mark: annotations
                .and_then(|marks| marks.get(MARK))
                .and_then(|mark| mark.parse().ok()),
            selector: selector(&object.data),
            revision: annotations.and_then(|marks| marks.get(REVISION)).cloned(),
            failure: failure(&object.data),
        }
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

fn failure(data: &Value) -> Option<(String, String)> {
    let conditions = data.pointer("/status/conditions")?.as_array()?;
    let text = |condition: &Value, field: &str| {
        condition
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    // Of a rollout that is over its deadline the condition is `Progressing=False`, of one that may not make pods (a
    // quota, an admission policy) `ReplicaFailure=True`.
    conditions
        .iter()
        .find(|condition| {
            matches!(
                (text(condition, "type").as_str(), text(condition, "status").as_str()),
                ("ReplicaFailure", "True") | ("Progressing", "False")
            )
        })
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
    fn names_read_as_kubectl_reads_them() {
        for (text, shown) in [
            ("deployment/web", "deployment/web"),
            ("deploy/web", "deployment/web"),
            ("StatefulSet/db-0.x", "statefulset/db-0.x"),
        ] {
            assert_eq!(text.parse::<WorkloadRef>().expect("good").to_string(), shown);
        }
        for bad in [
            "web",
            "pod/web",
            "deployment/",
            "deployment/Web",
            "deployment/../x",
            "deployment/a b",
            "deployment/-a",
        ] {
            assert!(bad.parse::<WorkloadRef>().is_err(), "{bad}");
        }
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
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web", "annotations": { (MARK): "7" } }, "spec": { "replicas": 0 },
            "status": { "conditions": [{ "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota" }] }
        }));
        assert_eq!((found.replicas, found.mark), (0, Some(7)));
        assert_eq!(
            found.failure,
            Some(("FailedCreate".to_owned(), "exceeded quota".to_owned()))
        );
    }
}
