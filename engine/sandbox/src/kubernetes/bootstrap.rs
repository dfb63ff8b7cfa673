//! What a cluster begins with: its namespaces, one node, a storage class.

use serde_json::{Value, json};

use super::discovery::VERSION;
use super::handlers::change::{self, Note};
use super::kinds;
use super::object;
use super::patch::managed::Writer;
use super::status::ApiError;
use super::store::{Key, Store};

/// The only node.
const NODE: &str = "sandbox-node";

/// Makes what is not there from before.
///
/// # Errors
/// Where the store cannot be written.
pub(super) fn furnish(store: &Store) -> Result<(), ApiError> {
    for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
        make(
            store,
            "namespaces",
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}),
        )?;
    }
    if make(store, "nodes", node())? {
        store.write(|transaction| {
            let key = Key::new("nodes", "", NODE);
            if let Some(node) = transaction.get(&key) {
                let mut node = (*node).clone();
                node["status"] = node_status();
                transaction.put(&key, node);
            }
            Ok(())
        })?;
    }
    make(store, "storageclasses", storage_class())?;
    make(store, "services", service())?;
    Ok(())
}

/// Makes an object where there is none; says whether it did.
fn make(store: &Store, resource: &str, new: Value) -> Result<bool, ApiError> {
    let key = Key::of(resource, &new);
    store.write(|transaction| {
        if transaction.get(&key).is_some() {
            return Ok(false);
        }
        let note = Note::Update(Writer {
            manager: "kube-apiserver",
            subresource: "",
        });
        change::insert(transaction, kinds::stored(resource), new, note).map(|_| true)
    })
}

fn node() -> Value {
    let labels = json!({
        "kubernetes.io/hostname": NODE, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
        "node-role.kubernetes.io/worker": "",
    });
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE, "labels": labels}, "spec": {}})
}

fn node_status() -> Value {
    let room = json!({"cpu": "64", "memory": "256Gi", "pods": "1000", "ephemeral-storage": "1Ti"});
    let now = object::now();
    json!({
        "capacity": room, "allocatable": room,
        "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}, {"type": "Hostname", "address": NODE}],
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status",
            "lastHeartbeatTime": now, "lastTransitionTime": now,
        }],
        "nodeInfo": {
            "kubeletVersion": VERSION, "kubeProxyVersion": "", "osImage": "jm sandbox", "kernelVersion": "-",
            "containerRuntimeVersion": "containerd://2.0.0", "operatingSystem": "linux", "architecture": "amd64",
            "machineID": "", "systemUUID": "", "bootID": "",
        },
    })
}

fn storage_class() -> Value {
    let annotations = json!({"storageclass.kubernetes.io/is-default-class": "true"});
    json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": "standard", "annotations": annotations}, "provisioner": "sandbox.jm/memory",
    })
}

fn service() -> Value {
    let labels = json!({"component": "apiserver", "provider": "kubernetes"});
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": labels},
        "spec": {"clusterIP": "10.96.0.1", "ports": [{"name": "https", "port": 443, "targetPort": 6443}]},
    })
}
