//! The scheduler and the kubelet: pods get a node, start, and end.
//!
//! The name of an image says how its containers fare: one with `bad` cannot be pulled, one with `crash` ends again
//! and again, one with `slow` takes five seconds, one with `unready` runs and never passes its readiness probe. A pod that
//! is not to be restarted succeeds, or fails where its image has `fail` in its name.

mod status;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::handlers::change::Part;
use super::super::handlers::delete::Options;
use super::super::object::{self, items, text};
use super::super::patch::managed::Writer;
use super::super::selectors::Labels;
use super::{Cluster, events, workload};

const SLOW: Duration = Duration::from_secs(5);

/// When the pods that are starting or ending are due.
#[derive(Default)]
pub(super) struct Pods {
    starting: HashMap<String, Instant>,
    ending: HashMap<String, Instant>,
}

impl Pods {
    /// Looks at every pod, and says when the next one is due.
    pub(super) fn pass(&mut self, cluster: &Cluster) -> Instant {
        let (now, far) = (Instant::now(), Instant::now() + Duration::from_mins(1));
        let pods = cluster.store.all("pods");
        self.forget_gone(&pods);
        pods.iter()
            .map(|pod| self.look(cluster, pod, now).unwrap_or(far))
            .min()
            .unwrap_or(far)
    }

    fn forget_gone(&mut self, pods: &[Arc<Value>]) {
        let known: std::collections::HashSet<_> = pods.iter().map(|pod| object::uid(pod)).collect();
        self.starting.retain(|uid, _| known.contains(uid.as_str()));
        self.ending.retain(|uid, _| known.contains(uid.as_str()));
    }

    fn look(&mut self, cluster: &Cluster, pod: &Value, now: Instant) -> Option<Instant> {
        if object::is_terminating(pod) {
            return self.end(cluster, pod, now);
        }
        if text(pod, "/spec/nodeName").is_empty() {
            schedule(cluster, pod);
            return None;
        }
        if text(pod, "/status/phase") != "Pending" || !items(pod, "/status/containerStatuses").is_empty() {
            return None;
        }
        let uid = object::uid(pod).to_owned();
        let due = *self
            .starting
            .entry(uid)
            .or_insert_with(|| now + time_to_start(cluster, pod));
        if due > now {
            return Some(due);
        }
        start(cluster, pod);
        None
    }

    fn end(&mut self, cluster: &Cluster, pod: &Value, now: Instant) -> Option<Instant> {
        let grace = Duration::from_secs(object::number(pod, "/metadata/deletionGracePeriodSeconds").unsigned_abs());
        let uid = object::uid(pod).to_owned();
        let fresh = !self.ending.contains_key(&uid);
        let due = *self
            .ending
            .entry(uid)
            .or_insert_with(|| now + cluster.settings.pod_stop.min(grace));
        if fresh {
            for container in items(pod, "/spec/containers") {
                events::tell(
                    cluster,
                    pod,
                    "Killing",
                    &format!("Stopping container {}", text(container, "/name")),
                );
            }
        }
        if due > now {
            return Some(due);
        }
        cluster.delete("pods", pod, &Options::quietly().within(0));
        None
    }
}

fn images(pod: &Value) -> String {
    items(pod, "/spec/containers")
        .iter()
        .map(|container| text(container, "/image"))
        .collect::<Vec<_>>()
        .join(" ")
}

fn time_to_start(cluster: &Cluster, pod: &Value) -> Duration {
    if images(pod).contains("slow") {
        SLOW
    } else {
        cluster.settings.pod_start
    }
}

/// Gives the pod the first node that may take it.
fn schedule(cluster: &Cluster, pod: &Value) {
    let wanted = Labels::of_map(&pod["spec"]["nodeSelector"]);
    let nodes = cluster.store.all("nodes");
    let open = |node: &&Arc<Value>| node["spec"]["unschedulable"] != json!(true) && wanted.matches(node);
    if let Some(node) = nodes.iter().find(open) {
        let node = object::name(node);
        let writer = Writer {
            manager: "kube-scheduler",
            subresource: "",
        };
        cluster.write("pods", pod, Part::Wanted, writer, |pod| {
            object::set(pod, &["spec", "nodeName"], json!(node));
        });
        let place = format!("{}/{}", object::namespace(pod), object::name(pod));
        events::tell(
            cluster,
            pod,
            "Scheduled",
            &format!("Successfully assigned {place} to {node}"),
        );
        cluster.report("pods", pod, "kubelet", |pod| status::scheduled(pod, None));
    } else {
        let message = format!("0/{} nodes are available.", nodes.len());
        if workload::condition(pod, "PodScheduled").is_none_or(|one| one["message"] != message.as_str()) {
            events::warn(cluster, pod, "FailedScheduling", &message);
        }
        cluster.report("pods", pod, "kube-scheduler", |pod| {
            status::scheduled(pod, Some(&message));
        });
    }
}

fn start(cluster: &Cluster, pod: &Value) {
    let images = images(pod);
    let fate = match () {
        () if images.contains("bad") => status::Fate::NoImage,
        () if images.contains("crash") => status::Fate::Crash,
        () if images.contains("unready") => status::Fate::Unready,
        () if text(pod, "/spec/restartPolicy") == "Always" => status::Fate::Serve,
        () if images.contains("fail") => status::Fate::Fail,
        () => status::Fate::Succeed,
    };
    cluster.report("pods", pod, "kubelet", |pod| status::begin(pod, fate));
    for container in items(pod, "/spec/containers") {
        tell_start(cluster, pod, container, fate);
    }
}

fn tell_start(cluster: &Cluster, pod: &Value, container: &Value, fate: status::Fate) {
    let (name, image) = (text(container, "/name"), text(container, "/image"));
    if fate == status::Fate::NoImage {
        events::warn(
            cluster,
            pod,
            "Failed",
            &format!("Failed to pull image \"{image}\": not found"),
        );
        return;
    }
    events::tell(
        cluster,
        pod,
        "Pulled",
        &format!("Container image \"{image}\" already present on machine"),
    );
    events::tell(cluster, pod, "Created", &format!("Created container: {name}"));
    events::tell(cluster, pod, "Started", &format!("Started container {name}"));
    if fate == status::Fate::Unready {
        events::warn(
            cluster,
            pod,
            "Unhealthy",
            "Readiness probe failed: HTTP probe failed with statuscode: 503",
        );
    }
    if fate == status::Fate::Crash {
        let place = format!("{}_{}", object::name(pod), object::namespace(pod));
        events::warn(
            cluster,
            pod,
            "BackOff",
            &format!("Back-off restarting failed container {name} in pod {place}"),
        );
    }
}
