//! Events: what controllers tell about what they do.

use serde_json::{Value, json};

use super::super::object::{self, number, text};
use super::super::store::Key;
use super::{Cluster, MANAGER};

/// How long an event is kept, in seconds.
const KEPT: i64 = 3600;

/// Tells that something ordinary happened to an object.
pub(super) fn tell(cluster: &Cluster, about: &Value, reason: &str, message: &str) {
    record(cluster, about, "Normal", reason, message);
}

/// Tells that something went wrong with an object.
pub(super) fn warn(cluster: &Cluster, about: &Value, reason: &str, message: &str) {
    record(cluster, about, "Warning", reason, message);
}

fn record(cluster: &Cluster, about: &Value, kind: &str, reason: &str, message: &str) {
    let digest = object::digest_name(&json!([object::uid(about), reason, message]));
    let name = format!("{}.{digest}", object::name(about));
    let namespace = match object::namespace(about) {
        "" => "default",
        namespace => namespace,
    };
    if let Some(known) = cluster.store.get(&Key::new("events", namespace, &name)) {
        cluster.change("events", &known, |event| {
            let count = number(event, "/count") + 1;
            object::set(event, &["count"], json!(count));
            object::set(event, &["lastTimestamp"], json!(object::now()));
        });
        return;
    }
    cluster.make("events", event(about, namespace, &name, kind, reason, message));
}

fn event(about: &Value, namespace: &str, name: &str, kind: &str, reason: &str, message: &str) -> Value {
    let component = component(reason);
    json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "namespace": namespace},
        "involvedObject": {
            "kind": about["kind"], "namespace": namespace, "name": object::name(about), "uid": object::uid(about),
            "apiVersion": about["apiVersion"], "resourceVersion": about["metadata"]["resourceVersion"],
        },
        "reason": reason, "message": message, "type": kind, "count": 1,
        "source": {"component": component}, "reportingComponent": component, "reportingInstance": "",
        "firstTimestamp": object::now(), "lastTimestamp": object::now(), "eventTime": null,
    })
}

/// Who tells of such a thing on a real cluster.
fn component(reason: &str) -> &'static str {
    match reason {
        "Scheduled" | "FailedScheduling" => "default-scheduler",
        "Pulled" | "Created" | "Started" | "Killing" | "Failed" | "BackOff" => "kubelet",
        "ScalingReplicaSet" => "deployment-controller",
        "SuccessfulCreate" | "SuccessfulDelete" => "replicaset-controller",
        _ => MANAGER,
    }
}

/// Drops events that nobody will ask for any more.
pub(super) fn forget_old(cluster: &Cluster) {
    let oldest = jm_step::clock::now().as_second() - KEPT;
    for event in cluster.store.all("events") {
        let last = text(&event, "/lastTimestamp").parse::<jiff::Timestamp>();
        if last.is_ok_and(|last| last.as_second() < oldest) {
            cluster.delete("events", &event, &super::Options::quietly());
        }
    }
}
