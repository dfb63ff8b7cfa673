//! What a deployment says of itself.

use serde_json::{Value, json};

use super::super::super::object::{self, number, text};
use super::super::workload::{condition, set_condition, set_count};
use super::super::{Cluster, MANAGER};
use super::{Sets, rollout};

const DONE: &str = "NewReplicaSetAvailable";
const LATE: &str = "ProgressDeadlineExceeded";

/// Notes a beginning: a new ReplicaSet, or an old one taken up again.
pub(super) fn progress(cluster: &Cluster, deployment: &Value, reason: &str, message: &str) {
    cluster.report("deployments", deployment, MANAGER, |deployment| {
        set_condition(deployment, "Progressing", true, reason, message);
    });
}

/// Writes the counts and conditions as they are.
pub(super) fn report(cluster: &Cluster, deployment: &Value, sets: &Sets) {
    let observed = number(deployment, "/metadata/generation");
    cluster.report("deployments", deployment, MANAGER, |deployment| {
        let before = deployment["status"].clone();
        // What this pass looked at, which may be older than what is there by now.
        object::set(deployment, &["status", "observedGeneration"], json!(observed));
        write_counts(&mut deployment["status"], sets);
        judge_availability(deployment);
        judge_progress(deployment, &before, sets);
    });
}

fn write_counts(status: &mut Value, sets: &Sets) {
    let updated = sets.new.as_ref().map_or(0, |set| number(set, "/status/replicas"));
    let available = sets.sum("/status/availableReplicas");
    for (field, count) in [
        ("replicas", sets.sum("/status/replicas")),
        ("updatedReplicas", updated),
        ("readyReplicas", sets.sum("/status/readyReplicas")),
        ("availableReplicas", available),
        ("unavailableReplicas", (sets.sum("/spec/replicas") - available).max(0)),
    ] {
        set_count(status, field, count);
    }
}

fn judge_availability(deployment: &mut Value) {
    let least = number(deployment, "/spec/replicas") - rollout::Bounds::of(deployment).may_miss();
    let enough = number(deployment, "/status/availableReplicas") >= least;
    let (reason, message) = if enough {
        ("MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        (
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
        )
    };
    set_condition(deployment, "Available", enough, reason, message);
}

fn judge_progress(deployment: &mut Value, before: &Value, sets: &Sets) {
    let desired = number(deployment, "/spec/replicas");
    let count = |field: &str| number(deployment, &format!("/status/{field}"));
    let updated = count("updatedReplicas");
    let settled = count("replicas") == updated && reason(deployment) == DONE;
    if settled || deployment["spec"]["paused"] == json!(true) {
        return;
    }
    let named = |what: &str| {
        let set = sets
            .new
            .as_ref()
            .map_or_else(String::new, |set| object::name(set).to_owned());
        format!("ReplicaSet {set:?} {what}")
    };
    if updated == desired && count("replicas") == desired && count("availableReplicas") == desired {
        set_condition(
            deployment,
            "Progressing",
            true,
            DONE,
            &named("has successfully progressed."),
        );
    } else if has_moved(before, &deployment["status"]) {
        // The time of the last update is what the deadline is counted from.
        forget(deployment, "Progressing");
        set_condition(
            deployment,
            "Progressing",
            true,
            "ReplicaSetUpdated",
            &named("is progressing."),
        );
    } else if is_late(deployment) {
        set_condition(
            deployment,
            "Progressing",
            false,
            LATE,
            &named("has timed out progressing."),
        );
    }
}

fn reason(deployment: &Value) -> String {
    condition(deployment, "Progressing").map_or_else(String::new, |one| text(one, "/reason").to_owned())
}

fn forget(deployment: &mut Value, kind: &str) {
    let was_true = condition(deployment, kind).is_some_and(|one| one["status"] == "True");
    if let Some(Value::Array(conditions)) = deployment.pointer_mut("/status/conditions") {
        for one in conditions.iter_mut().filter(|one| one["type"] == kind && was_true) {
            one["message"] = json!("");
        }
    }
}

/// Has anything come nearer to what is wanted?
fn has_moved(before: &Value, after: &Value) -> bool {
    let grown = |field: &str| number(after, &format!("/{field}")) > number(before, &format!("/{field}"));
    let old = |status: &Value| number(status, "/replicas") - number(status, "/updatedReplicas");
    grown("updatedReplicas") || grown("readyReplicas") || grown("availableReplicas") || old(after) < old(before)
}

fn is_late(deployment: &Value) -> bool {
    let Some(progress) = condition(deployment, "Progressing") else {
        return false;
    };
    let since = text(progress, "/lastUpdateTime").parse::<jiff::Timestamp>();
    let patience = number(deployment, "/spec/progressDeadlineSeconds");
    text(progress, "/reason") != DONE
        && since.is_ok_and(|since| since.as_second() + patience < jm_step::clock::now().as_second())
}
