//! ResourceQuotas: what each one counts is counted. Nothing is refused for it.

use serde_json::{Map, Value, json};

use super::super::kinds;
use super::super::object::{self, items, map};
use super::{Cluster, MANAGER};

pub(super) fn pass(cluster: &Cluster) {
    for quota in cluster.store.all("resourcequotas") {
        if object::is_terminating(&quota) {
            continue;
        }
        let Some(hard) = map(&quota, "/spec/hard") else {
            continue;
        };
        let namespace = object::text(&quota, "/metadata/namespace");
        let count = |name: &String| Some((name.clone(), json!(used(cluster, namespace, name)?.to_string())));
        let used: Map<String, Value> = hard.keys().filter_map(count).collect();
        cluster.report("resourcequotas", &quota, MANAGER, |quota| {
            quota["status"] = json!({ "hard": quota["spec"]["hard"], "used": used });
        });
    }
}

/// How much of it there is, where it is counted in objects.
fn used(cluster: &Cluster, namespace: &str, name: &str) -> Option<usize> {
    if name == "services.nodeports" {
        let services = cluster.store.list("services", Some(namespace)).1;
        let ports = services.iter().flat_map(|service| items(service, "/spec/ports"));
        return Some(ports.filter(|port| port["nodePort"].is_number()).count());
    }
    let resource = name.strip_prefix("count/").unwrap_or(name);
    let kind = kinds::of_resource(resource)?;
    Some(cluster.store.list(kind.stored_as, Some(namespace)).1.len())
}
