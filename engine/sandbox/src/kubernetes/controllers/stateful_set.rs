//! StatefulSets: pods with names and places of their own, one after the other.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::object::{self, items, number, text};
use super::workload::{self, set_count};
use super::{Cluster, MANAGER, Options, events, revisions};

pub(super) fn pass(cluster: &Cluster) {
    for set in cluster.store.all("statefulsets") {
        let hash = revisions::current(cluster, &set);
        if !object::is_terminating(&set) {
            step(cluster, &set, &hash);
        }
        report(cluster, &set, &hash);
    }
}

fn ordinal(set: &Value, pod: &Value) -> Option<i64> {
    object::name(pod)
        .strip_prefix(object::name(set))?
        .strip_prefix('-')?
        .parse()
        .ok()
}

/// The pods of a set, by their number.
fn own_pods(cluster: &Cluster, set: &Value) -> Vec<(i64, Arc<Value>)> {
    let pods = cluster.controlled("pods", set).into_iter();
    let mut numbered: Vec<_> = pods.filter_map(|pod| Some((ordinal(set, &pod)?, pod))).collect();
    numbered.sort_by_key(|(number, _)| *number);
    numbered
}

/// Makes the first missing pod, or gives up the last surplus one, or renews the last old one: one at a time.
fn step(cluster: &Cluster, set: &Value, hash: &str) {
    let wanted = number(set, "/spec/replicas");
    let parallel = text(set, "/spec/podManagementPolicy") == "Parallel";
    let pods = own_pods(cluster, set);
    for number in 0..wanted {
        match pods.iter().find(|(known, _)| *known == number) {
            None => make(cluster, set, number, hash),
            Some((_, pod)) if workload::is_active(pod) && workload::is_ready(pod) => continue,
            Some(_) => {}
        }
        if !parallel {
            return;
        }
    }
    let surplus: Vec<_> = pods.iter().rev().filter(|(number, _)| *number >= wanted).collect();
    if let Some((_, last)) = surplus.first() {
        for (_, pod) in surplus.iter().take(if parallel { usize::MAX } else { 1 }) {
            give_up(cluster, set, pod);
        }
        if !parallel || object::is_terminating(last) {
            return;
        }
    }
    renew(cluster, set, &pods, hash);
}

fn renew(cluster: &Cluster, set: &Value, pods: &[(i64, Arc<Value>)], hash: &str) {
    let healthy = pods
        .iter()
        .all(|(_, pod)| workload::is_active(pod) && workload::is_ready(pod));
    if text(set, "/spec/updateStrategy/type") == "OnDelete" || !healthy {
        return;
    }
    let from = number(set, "/spec/updateStrategy/rollingUpdate/partition");
    let old = |(number, pod): &&(i64, Arc<Value>)| *number >= from && !is_of(pod, hash);
    if let Some((_, pod)) = pods.iter().rev().find(old) {
        give_up(cluster, set, pod);
    }
}

fn is_of(pod: &Value, hash: &str) -> bool {
    text(pod, "/metadata/labels/controller-revision-hash").ends_with(hash)
}

fn give_up(cluster: &Cluster, set: &Value, pod: &Value) {
    if !object::is_terminating(pod) {
        cluster.delete("pods", pod, &Options::quietly());
        let message = format!(
            "delete Pod {} in StatefulSet {} successful",
            object::name(pod),
            object::name(set)
        );
        events::tell(cluster, set, "SuccessfulDelete", &message);
    }
}

fn make(cluster: &Cluster, set: &Value, number: i64, hash: &str) {
    let name = format!("{}-{number}", object::name(set));
    let mut pod = workload::pod(set, &name);
    let labels = &mut pod["metadata"]["labels"];
    labels[revisions::HASH] = json!(format!("{}-{hash}", object::name(set)));
    labels["statefulset.kubernetes.io/pod-name"] = json!(name);
    labels["apps.kubernetes.io/pod-index"] = json!(number.to_string());
    pod["spec"]["hostname"] = json!(name);
    pod["spec"]["subdomain"] = set["spec"]["serviceName"].clone();
    for template in items(set, "/spec/volumeClaimTemplates") {
        claim(cluster, set, template, &mut pod, &name);
    }
    if cluster.make("pods", pod).is_some() {
        let message = format!("create Pod {name} in StatefulSet {} successful", object::name(set));
        events::tell(cluster, set, "SuccessfulCreate", &message);
    }
}

/// Makes the claim of a pod, where it is not there from before, and mounts it.
fn claim(cluster: &Cluster, set: &Value, template: &Value, pod: &mut Value, pod_name: &str) {
    let volume = object::name(template);
    let name = format!("{volume}-{pod_name}");
    let metadata = json!({
        "name": name, "namespace": object::namespace(set), "labels": set["spec"]["selector"]["matchLabels"],
    });
    let claim =
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": template["spec"]});
    cluster.make("persistentvolumeclaims", claim);
    let mounted = json!({"name": volume, "persistentVolumeClaim": {"claimName": name}});
    let volumes = &mut pod["spec"]["volumes"];
    match volumes.as_array_mut() {
        Some(volumes) => volumes.push(mounted),
        None => *volumes = json!([mounted]),
    }
}

fn report(cluster: &Cluster, set: &Value, hash: &str) {
    let pods: Vec<_> = own_pods(cluster, set)
        .into_iter()
        .map(|(_, pod)| pod)
        .filter(|pod| !workload::is_over(pod))
        .collect();
    let (ready, available) = workload::count_ready(&pods, number(set, "/spec/minReadySeconds"));
    let updated = pods.iter().filter(|pod| is_of(pod, hash)).count();
    let newest = format!("{}-{hash}", object::name(set));
    cluster.report("statefulsets", set, MANAGER, |set| {
        workload::observe(set);
        let before = text(set, "/status/currentRevision").to_owned();
        let current = if updated == pods.len() || before.is_empty() {
            newest.clone()
        } else {
            before
        };
        let of_current = if current == newest {
            updated
        } else {
            pods.len() - updated
        };
        let status = &mut set["status"];
        status["replicas"] = json!(pods.len());
        status["availableReplicas"] = json!(available);
        status["collisionCount"] = json!(0);
        status["currentRevision"] = json!(current);
        status["updateRevision"] = json!(newest);
        for (field, count) in [
            ("readyReplicas", ready),
            ("currentReplicas", of_current),
            ("updatedReplicas", updated),
        ] {
            set_count(status, field, i64::try_from(count).unwrap_or(i64::MAX));
        }
    });
}
