//! What the server puts into objects of certain kinds.

use serde_json::{Map, Value};

use super::volumes::KeptVolumes;
use super::{drop_empty, forget, is_managed, is_managed_of_port};
use crate::kind::group_of;

/// Labels that a Job's controller gives to the Job's pods.
const JOB_LABELS: [&str; 4] = [
    "controller-uid",
    "job-name",
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-name",
];
/// What cert-manager and others fill in from these annotations themselves.
const INJECTED: [&str; 4] = [
    "cert-manager.io/inject-ca-from",
    "cert-manager.io/inject-ca-from-secret",
    "cert-manager.io/inject-apiserver-ca",
    "service.beta.openshift.io/inject-cabundle",
];

pub(super) fn strip(object: &mut Value, managed: Option<&Value>, volumes: &KeptVolumes) {
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (version, kind) = (text("apiVersion"), text("kind"));
    let group = group_of(&version);
    match (group, kind.as_str()) {
        ("", "Namespace") => namespace(object),
        ("", "Service") => service(object, managed),
        ("", "ServiceAccount") => service_account(object),
        ("", "Secret") => secret(object),
        ("", "PersistentVolumeClaim") => claim(object, volumes),
        ("", "PersistentVolume") => volume(object),
        ("", "Pod") => pod(object),
        ("batch", "Job") => job(object),
        ("apps", "StatefulSet") => stateful_set(object),
        ("rbac.authorization.k8s.io", "ClusterRole") if !object["aggregationRule"].is_null() => {
            remove(object, "", "rules");
        }
        ("admissionregistration.k8s.io", _) => webhooks(object),
        ("apiextensions.k8s.io", _) if is_injected(object) => {
            remove(object, "/spec/conversion/webhook/clientConfig", "caBundle");
        }
        ("apiregistration.k8s.io", _) if is_injected(object) => remove(object, "/spec", "caBundle"),
        _ => {}
    }
    if let Some(metadata) = object
        .pointer_mut("/spec/template/metadata")
        .and_then(Value::as_object_mut)
    {
        drop_empty(metadata, "creationTimestamp");
    }
}

fn map<'o>(object: &'o mut Value, pointer: &str) -> Option<&'o mut Map<String, Value>> {
    object.pointer_mut(pointer).and_then(Value::as_object_mut)
}

fn remove(object: &mut Value, pointer: &str, field: &str) {
    if let Some(fields) = map(object, pointer) {
        fields.remove(field);
    }
}

fn annotation<'o>(object: &'o Value, name: &str) -> Option<&'o str> {
    object.pointer("/metadata/annotations")?.get(name)?.as_str()
}

fn is_injected(object: &Value) -> bool {
    INJECTED.iter().any(|name| annotation(object, name).is_some())
}

fn namespace(object: &mut Value) {
    remove(object, "", "spec");
    if let Some(metadata) = map(object, "/metadata") {
        forget(metadata, "labels", |name| name == "kubernetes.io/metadata.name");
    }
}

fn service(object: &mut Value, managed: Option<&Value>) {
    let Some(spec) = map(object, "/spec") else { return };
    if spec.get("clusterIP").and_then(Value::as_str) != Some("None") {
        spec.remove("clusterIP");
        spec.remove("clusterIPs");
    }
    spec.remove("healthCheckNodePort");
    for field in ["ipFamilies", "ipFamilyPolicy"] {
        if !is_managed(managed, field) {
            spec.remove(field);
        }
    }
    let ports = spec.get_mut("ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten().filter_map(Value::as_object_mut) {
        if !is_managed_of_port(managed, port, "nodePort") {
            port.remove("nodePort");
        }
    }
}

/// Tokens that a controller made for the account are made again.
fn service_account(object: &mut Value) {
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let Some(fields) = object.as_object_mut() else { return };
    if let Some(secrets) = fields.get_mut("secrets").and_then(Value::as_array_mut) {
        secrets.retain(|secret| {
            let of = secret["name"].as_str().unwrap_or_default();
            !["-token-", "-dockercfg-"]
                .iter()
                .any(|part| of.starts_with(&[&name, *part].concat()))
        });
    }
    drop_empty(fields, "secrets");
}

/// A token is good for the cluster that made it only; the controller fills in another one.
fn secret(object: &mut Value) {
    if object["type"] == "kubernetes.io/service-account-token" {
        remove(object, "", "data");
    }
}

/// A volume that was made for the claim, or found among others that do not come back with it, is made or found again, and from
/// nothing: what the old one was once filled from is not what it held, and may be long gone. One that was chosen stays chosen,
/// and so does one that comes back: what it holds is of this claim, and another volume may look just like it.
fn claim(object: &mut Value, volumes: &KeptVolumes) {
    let comes_back = object["spec"]["volumeName"]
        .as_str()
        .is_some_and(|name| volumes.has(name));
    let given = [
        "pv.kubernetes.io/bound-by-controller",
        "volume.kubernetes.io/storage-provisioner",
    ]
    .iter()
    .any(|name| annotation(object, name).is_some());
    if given && !comes_back {
        for field in ["volumeName", "dataSource", "dataSourceRef"] {
            remove(object, "/spec", field);
        }
    }
}

/// Which claim it is of stays, whoever brought them together; another cluster's claim of that name is another one by its UID.
fn volume(object: &mut Value) {
    for field in ["uid", "resourceVersion"] {
        remove(object, "/spec/claimRef", field);
    }
}

fn pod(object: &mut Value) {
    let Some(spec) = map(object, "/spec") else { return };
    for field in ["nodeName", "priority", "ephemeralContainers"] {
        spec.remove(field);
    }
    let is_token = |name: &Value| name.as_str().is_some_and(|name| name.starts_with("kube-api-access-"));
    if let Some(volumes) = spec.get_mut("volumes").and_then(Value::as_array_mut) {
        volumes.retain(|volume| !is_token(&volume["name"]));
    }
    drop_empty(spec, "volumes");
    for list in ["containers", "initContainers"] {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
            if let Some(mounts) = container.get_mut("volumeMounts").and_then(Value::as_array_mut) {
                mounts.retain(|mount| !is_token(&mount["name"]));
            }
            drop_empty(container, "volumeMounts");
        }
    }
}

fn job(object: &mut Value) {
    if object["spec"]["manualSelector"] == true {
        return;
    }
    remove(object, "/spec", "selector");
    for place in ["/metadata", "/spec/template/metadata"] {
        if let Some(metadata) = map(object, place) {
            forget(metadata, "labels", |name| JOB_LABELS.contains(&name));
            drop_empty(metadata, "labels");
        }
    }
}

fn stateful_set(object: &mut Value) {
    let claims = object
        .pointer_mut("/spec/volumeClaimTemplates")
        .and_then(Value::as_array_mut);
    for claim in claims.into_iter().flatten().filter_map(Value::as_object_mut) {
        claim.remove("status");
        if let Some(metadata) = claim.get_mut("metadata").and_then(Value::as_object_mut) {
            drop_empty(metadata, "creationTimestamp");
        }
    }
}

fn webhooks(object: &mut Value) {
    if !is_injected(object) {
        return;
    }
    let webhooks = object.get_mut("webhooks").and_then(Value::as_array_mut);
    for webhook in webhooks.into_iter().flatten() {
        remove(webhook, "/clientConfig", "caBundle");
    }
}
