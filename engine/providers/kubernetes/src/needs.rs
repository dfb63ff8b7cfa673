//! What step types need to be allowed, by the kinds of the workloads that an input names.

use jm_client_kubernetes::{Kind, WorkloadRef};
use jm_step::{Known, Need};
use serde_json::Value;

use crate::CLUSTER;

/// Rights on the cluster.
pub(crate) const fn cluster(rights: &'static [&'static str]) -> Need {
    Need::of(CLUSTER.name, rights)
}

/// To see how workloads and their pods stand, and why they do not come up.
pub(crate) fn to_look(input: &Known) -> Vec<Need> {
    looks(&kinds(input))
}

/// To change workloads, and see what becomes of them.
pub(crate) fn to_change(input: &Known) -> Vec<Need> {
    changes(&kinds(input))
}

/// To stop workloads and let them run again: their autoscalers are seen, too. What runs on every node is never stopped.
pub(crate) fn to_stop(input: &Known) -> Vec<Need> {
    let mut kinds = kinds(input);
    kinds.retain(|kind| *kind != Kind::DaemonSet);
    let mut needs = changes(&kinds);
    needs.push(cluster(&["list horizontalpodautoscalers.autoscaling"]));
    needs
}

/// To see which workloads of a namespace are stopped.
pub(crate) fn to_see_what_is_stopped() -> Vec<Need> {
    vec![cluster(&[
        "list deployments.apps,statefulsets.apps",
        "list cronjobs.batch",
    ])]
}

/// To read the revisions of workloads.
pub(crate) fn to_compare(input: &Known) -> Vec<Need> {
    let of_kind = |kind| match kind {
        Kind::Deployment => cluster(&["list replicasets.apps"]),
        Kind::StatefulSet | Kind::DaemonSet => cluster(&["list controllerrevisions.apps"]),
        Kind::CronJob => cluster(&[]),
    };
    to_look(input)
        .into_iter()
        .chain(kinds(input).into_iter().map(of_kind))
        .collect()
}

/// To bring a workload back to a revision: what it was then takes the whole of its place, and a pod that holds up a
/// StatefulSet goes.
pub(crate) fn to_go_back(input: &Known) -> Vec<Need> {
    let of_kind = |kind| match kind {
        Kind::Deployment => cluster(&["update deployments.apps"]),
        Kind::StatefulSet => cluster(&["update statefulsets.apps", "delete pods"]),
        Kind::DaemonSet => cluster(&["update daemonsets.apps"]),
        Kind::CronJob => cluster(&[]),
    };
    to_compare(input)
        .into_iter()
        .chain(kinds(input).into_iter().map(of_kind))
        .collect()
}

/// To apply objects, of whatever kinds they are, and wait for what runs of them. A role can be made only by who has all that
/// it gives, or may say so all the same.
pub(crate) fn to_deploy(input: &Known) -> Vec<Need> {
    let mut needs = vec![cluster(&[
        "get,list,create,patch *",
        "get pods/log",
        "list events",
        "bind,escalate roles.rbac.authorization.k8s.io",
        "cluster get,create,patch namespaces",
        "cluster get,list,create,patch *",
        "cluster bind,escalate clusterroles.rbac.authorization.k8s.io",
    ])];
    let recreates = input.get("recreate").and_then(Value::as_array);
    let prunes = input.get("prune").is_some_and(|prune| *prune == true);
    if prunes || recreates.is_some_and(|kinds| !kinds.is_empty()) {
        needs.push(cluster(&["delete *", "cluster delete *"]));
    }
    needs
}

fn looks(kinds: &[Kind]) -> Vec<Need> {
    let of_kind = |kind: &Kind| match kind {
        Kind::Deployment => cluster(&["get deployments.apps", "list replicasets.apps"]),
        Kind::StatefulSet => cluster(&["get statefulsets.apps"]),
        Kind::DaemonSet => cluster(&["get daemonsets.apps"]),
        Kind::CronJob => cluster(&["get cronjobs.batch", "list jobs.batch"]),
    };
    let of_pods = cluster(&["get,list pods", "get pods/log", "list events"]);
    kinds.iter().map(of_kind).chain([of_pods]).collect()
}

fn changes(kinds: &[Kind]) -> Vec<Need> {
    let of_kind = |kind: &Kind| match kind {
        Kind::Deployment => cluster(&["patch deployments.apps"]),
        Kind::StatefulSet => cluster(&["patch statefulsets.apps"]),
        Kind::DaemonSet => cluster(&["patch daemonsets.apps"]),
        Kind::CronJob => cluster(&["patch cronjobs.batch"]),
    };
    kinds.iter().map(of_kind).chain(looks(kinds)).collect()
}

/// The kinds of the workloads that an input names; all where it does not tell yet.
fn kinds(input: &Known) -> Vec<Kind> {
    let listed = input.get("workloads").and_then(Value::as_array);
    let named = listed.into_iter().flatten().chain(input.get("workload"));
    let mut kinds = Vec::new();
    for workload in named.filter_map(|one| one.as_str()?.parse::<WorkloadRef>().ok()) {
        if !kinds.contains(&workload.kind) {
            kinds.push(workload.kind);
        }
    }
    if kinds.is_empty() {
        kinds.extend([Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet, Kind::CronJob]);
    }
    kinds
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn who_deletes_nothing_needs_not_be_allowed_to() {
        let deletes = |input: Value| {
            let needs = to_deploy(&Known::new(input));
            needs
                .iter()
                .flat_map(|need| need.rights)
                .any(|right| right.contains("delete"))
        };
        assert!(!deletes(json!({})) && !deletes(json!({ "recreate": [], "prune": false })));
        assert!(deletes(json!({ "recreate": ["Job"] })) && deletes(json!({ "prune": true })));
    }

    #[test]
    fn only_the_kinds_that_are_named_are_needed() {
        let rights = |input: Value| -> Vec<&str> {
            let needs = to_change(&Known::new(input));
            needs.iter().flat_map(|need| need.rights).copied().collect()
        };
        let one = rights(json!({ "workload": "deployment/web" }));
        assert!(one.contains(&"patch deployments.apps") && !one.contains(&"patch statefulsets.apps"));
        let two = rights(json!({ "workloads": ["cronjob/nightly", "statefulset/db"] }));
        assert!(two.contains(&"patch cronjobs.batch") && !two.contains(&"patch deployments.apps"));
        assert!(rights(json!({})).contains(&"patch daemonsets.apps"), "nobody knows yet");
    }
}
