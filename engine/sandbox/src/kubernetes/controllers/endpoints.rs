//! Endpoints and EndpointSlices: the ready pods behind each Service.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::object::{self, items, number, text};
use super::super::selectors::Labels;
use super::super::store::Key;
use super::{Cluster, workload};

pub(super) fn pass(cluster: &Cluster) {
    for service in cluster.store.all("services") {
        let selector = Labels::of_map(&service["spec"]["selector"]);
        if selector.is_empty() || object::is_terminating(&service) {
            continue;
        }
        let (_, mut pods) = cluster.store.list("pods", Some(object::namespace(&service)));
        pods.retain(|pod| selector.matches(pod) && workload::is_active(pod) && !text(pod, "/status/podIP").is_empty());
        keep(cluster, "endpoints", &endpoints(&service, &pods));
        keep(cluster, "endpointslices", &slice(&service, &pods));
    }
}

/// Makes the object, or gives the one that is there the same contents.
fn keep(cluster: &Cluster, resource: &str, wanted: &Value) {
    match cluster.store.get(&Key::of(resource, wanted)) {
        None => drop(cluster.make(resource, wanted.clone())),
        Some(known) => cluster.change(resource, &known, |object| {
            for field in ["subsets", "endpoints", "ports"] {
                if let Some(value) = wanted.get(field) {
                    object[field] = value.clone();
                }
            }
            object["metadata"]["labels"] = wanted["metadata"]["labels"].clone();
        }),
    }
}

/// The labels of what is made of a service: the service's own, and whose it is.
fn labels(service: &Value, own: &[(&str, &str)]) -> Value {
    let mut labels = service["metadata"]["labels"].as_object().cloned().unwrap_or_default();
    if service["spec"]["clusterIP"] == "None" {
        labels.insert("service.kubernetes.io/headless".to_owned(), json!(""));
    }
    for (name, value) in own {
        labels.insert((*name).to_owned(), json!(value));
    }
    Value::Object(labels)
}

/// The ports as the pods have them; one with a name is looked up in the first pod.
fn ports(service: &Value, pods: &[Arc<Value>]) -> Vec<Value> {
    let target = |port: &Value| match &port["targetPort"] {
        Value::String(name) => pods.first().map_or(0, |pod| named_port(pod, name)),
        other => other.as_i64().unwrap_or_else(|| number(port, "/port")),
    };
    let one = |port: &Value| {
        let mut made = json!({"port": target(port), "protocol": port["protocol"]});
        if let Some(name) = port.get("name") {
            made["name"] = name.clone();
        }
        made
    };
    items(service, "/spec/ports").iter().map(one).collect()
}

fn named_port(pod: &Value, name: &str) -> i64 {
    let containers = items(pod, "/spec/containers").iter();
    let mut ports = containers.flat_map(|container| items(container, "/ports"));
    ports
        .find(|port| port["name"] == name)
        .map_or(0, |port| number(port, "/containerPort"))
}

fn reference(pod: &Value) -> Value {
    json!({"kind": "Pod", "name": object::name(pod), "namespace": object::namespace(pod), "uid": object::uid(pod)})
}

fn endpoints(service: &Value, pods: &[Arc<Value>]) -> Value {
    let address = |pod: &Arc<Value>| json!({"ip": pod["status"]["podIP"], "nodeName": pod["spec"]["nodeName"], "targetRef": reference(pod)});
    let (ready, waiting): (Vec<_>, Vec<_>) = pods.iter().partition(|pod| workload::is_ready(pod));
    let mut subset = json!({"ports": ports(service, pods)});
    for (field, pods) in [("addresses", ready), ("notReadyAddresses", waiting)] {
        if !pods.is_empty() {
            subset[field] = pods.into_iter().map(address).collect();
        }
    }
    let subsets = if pods.is_empty() { json!([]) } else { json!([subset]) };
    json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": {
            "name": object::name(service), "namespace": object::namespace(service),
            "labels": labels(service, &[("endpoints.kubernetes.io/managed-by", "endpoint-controller")]),
            "ownerReferences": [object::controller_reference(service)],
        },
        "subsets": subsets,
    })
}

fn slice(service: &Value, pods: &[Arc<Value>]) -> Value {
    let endpoint = |pod: &Arc<Value>| {
        let ready = workload::is_ready(pod);
        json!({
            "addresses": [pod["status"]["podIP"]], "nodeName": pod["spec"]["nodeName"], "targetRef": reference(pod),
            "conditions": {"ready": ready, "serving": ready, "terminating": false},
        })
    };
    let mut ports = ports(service, pods);
    for port in &mut ports {
        object::set_default(port, &["name"], json!(""));
    }
    // One slice for a service, under a name that stays, is enough for as many pods as there are here.
    let name = format!(
        "{}-{}",
        object::name(service),
        &object::digest_name(&json!(object::uid(service)))[..5]
    );
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": name, "namespace": object::namespace(service),
            "labels": labels(service, &[
                ("kubernetes.io/service-name", object::name(service)),
                ("endpointslice.kubernetes.io/managed-by", "endpointslice-controller.k8s.io"),
            ]),
            "ownerReferences": [object::controller_reference(service)],
        },
        "endpoints": pods.iter().map(endpoint).collect::<Vec<_>>(), "ports": ports,
    })
}
