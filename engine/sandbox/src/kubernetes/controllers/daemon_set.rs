//! DaemonSets: one pod on every node.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::object::{self, text};
use super::super::selectors::Labels;
use super::workload::{self, set_count};
use super::{Cluster, MANAGER, Options, events, revisions};

pub(super) fn pass(cluster: &Cluster) {
    for set in cluster.store.all("daemonsets") {
        let hash = revisions::current(cluster, &set);
        let wanted = Labels::of_map(&set["spec"]["template"]["spec"]["nodeSelector"]);
        let mut nodes = cluster.store.all("nodes");
        nodes.retain(|node| wanted.matches(node));
        if !object::is_terminating(&set) {
            step(cluster, &set, &nodes, &hash);
        }
        report(cluster, &set, nodes.len(), &hash);
    }
}

fn step(cluster: &Cluster, set: &Value, nodes: &[Arc<Value>], hash: &str) {
    let pods = cluster.controlled("pods", set);
    for node in nodes {
        let node = object::name(node);
        if !pods
            .iter()
            .any(|pod| text(pod, "/spec/nodeName") == node && !workload::is_over(pod))
        {
            make(cluster, set, node, hash);
        }
    }
    let unwanted = |pod: &&Arc<Value>| {
        !nodes
            .iter()
            .any(|node| object::name(node) == text(pod, "/spec/nodeName"))
    };
    let renewing = text(set, "/spec/updateStrategy/type") != "OnDelete";
    let old = |pod: &&Arc<Value>| renewing && pod["metadata"]["labels"][revisions::HASH] != hash;
    for pod in pods
        .iter()
        .filter(|pod| !object::is_terminating(pod))
        .filter(|pod| unwanted(pod) || old(pod))
    {
        cluster.delete("pods", pod, &Options::quietly());
        events::tell(
            cluster,
            set,
            "SuccessfulDelete",
            &format!("Deleted pod: {}", object::name(pod)),
        );
    }
}

fn make(cluster: &Cluster, set: &Value, node: &str, hash: &str) {
    let mut pod = workload::unnamed_pod(set);
    pod["metadata"]["labels"][revisions::HASH] = json!(hash);
    pod["spec"]["nodeName"] = json!(node);
    if let Some(pod) = cluster.make("pods", pod) {
        events::tell(
            cluster,
            set,
            "SuccessfulCreate",
            &format!("Created pod: {}", object::name(&pod)),
        );
    }
}

fn report(cluster: &Cluster, set: &Value, wanted: usize, hash: &str) {
    let mut pods = cluster.controlled("pods", set);
    pods.retain(|pod| workload::is_active(pod));
    let (ready, available) = workload::count_ready(&pods, object::number(set, "/spec/minReadySeconds"));
    let updated = pods
        .iter()
        .filter(|pod| pod["metadata"]["labels"][revisions::HASH] == hash)
        .count();
    cluster.report("daemonsets", set, MANAGER, |set| {
        workload::observe(set);
        let status = &mut set["status"];
        for (field, count) in [
            ("currentNumberScheduled", pods.len()),
            ("desiredNumberScheduled", wanted),
            ("numberMisscheduled", 0),
            ("numberReady", ready),
        ] {
            status[field] = json!(count);
        }
        for (field, count) in [
            ("updatedNumberScheduled", updated),
            ("numberAvailable", available),
            ("numberUnavailable", wanted.saturating_sub(available)),
        ] {
            set_count(status, field, i64::try_from(count).unwrap_or(i64::MAX));
        }
    });
}
