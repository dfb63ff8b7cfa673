//! ReplicaSets: as many pods as wanted.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::handlers::delete::Options;
use super::super::object::{self, number};
use super::super::selectors::Labels;
use super::workload::{self, set_count};
use super::{Cluster, MANAGER, events};

pub(super) fn pass(cluster: &Cluster) {
    for set in cluster.store.all("replicasets") {
        let pods = own_pods(cluster, &set);
        if !object::is_terminating(&set) {
            balance(cluster, &set, pods);
        }
        report(cluster, &set);
    }
}

fn own_pods(cluster: &Cluster, set: &Value) -> Vec<Arc<Value>> {
    let mut pods = cluster.controlled("pods", set);
    pods.retain(|pod| workload::is_active(pod));
    pods
}

fn balance(cluster: &Cluster, set: &Value, mut pods: Vec<Arc<Value>>) {
    let wanted = usize::try_from(number(set, "/spec/replicas")).unwrap_or_default();
    for _ in pods.len()..wanted {
        if let Some(pod) = cluster.make("pods", workload::unnamed_pod(set)) {
            events::tell(
                cluster,
                set,
                "SuccessfulCreate",
                &format!("Created pod: {}", object::name(&pod)),
            );
        }
    }
    if pods.len() > wanted {
        let surplus = pods.len() - wanted;
        workload::least_wanted_first(&mut pods);
        for pod in &pods[..surplus] {
            cluster.delete("pods", pod, &Options::quietly());
            events::tell(
                cluster,
                set,
                "SuccessfulDelete",
                &format!("Deleted pod: {}", object::name(pod)),
            );
        }
    }
}

fn report(cluster: &Cluster, set: &Value) {
    let pods = own_pods(cluster, set);
    let (ready, available) = workload::count_ready(&pods, number(set, "/spec/minReadySeconds"));
    let template = Labels::of_map(&set["spec"]["template"]["metadata"]["labels"]);
    let labelled = pods.iter().filter(|pod| template.matches(pod)).count();
    cluster.report("replicasets", set, MANAGER, |set| {
        workload::observe(set);
        set["status"]["replicas"] = json!(pods.len());
        for (field, count) in [
            ("fullyLabeledReplicas", labelled),
            ("readyReplicas", ready),
            ("availableReplicas", available),
        ] {
            set_count(&mut set["status"], field, i64::try_from(count).unwrap_or(i64::MAX));
        }
    });
}
