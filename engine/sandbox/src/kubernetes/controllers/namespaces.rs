//! Namespaces: what each one begins with, and how one ends.

use serde_json::{Value, json};

use super::super::handlers::change::Part;
use super::super::object;
use super::super::patch::managed::Writer;
use super::super::store::Key;
use super::{Cluster, MANAGER, Options};

pub(super) fn pass(cluster: &Cluster) {
    for namespace in cluster.store.all("namespaces") {
        if object::is_terminating(&namespace) {
            empty(cluster, &namespace);
        } else {
            furnish(cluster, object::name(&namespace));
        }
    }
}

/// Every namespace has an account and the authority's certificate.
fn furnish(cluster: &Cluster, namespace: &str) {
    let missing = |resource: &str, name: &str| cluster.store.get(&Key::new(resource, namespace, name)).is_none();
    if missing("serviceaccounts", "default") {
        let metadata = json!({"name": "default", "namespace": namespace});
        cluster.make(
            "serviceaccounts",
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}),
        );
    }
    if missing("configmaps", "kube-root-ca.crt") {
        let metadata = json!({
            "name": "kube-root-ca.crt", "namespace": namespace,
            "annotations": {"kubernetes.io/description": "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc."},
        });
        let data = json!({"ca.crt": cluster.authority});
        cluster.make(
            "configmaps",
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}),
        );
    }
}

/// Deletes everything in a namespace, and then itself.
fn empty(cluster: &Cluster, namespace: &Value) {
    let name = object::name(namespace);
    let remaining = cluster.store.keys_in(name);
    for key in &remaining {
        if let Some(object) = cluster.store.get(key)
            && !object::is_terminating(&object)
        {
            cluster.delete(&key.resource, &object, &Options::quietly());
        }
    }
    if remaining.is_empty() {
        finish(cluster, namespace);
    }
}

fn finish(cluster: &Cluster, namespace: &Value) {
    let key = Key::of("namespaces", namespace);
    let finalizers = object::items(namespace, "/metadata/finalizers");
    if !finalizers.is_empty() {
        let own = |finalizer: &Value| ["foregroundDeletion", "orphan"].iter().any(|own| finalizer == own);
        let writer = Writer {
            manager: MANAGER,
            subresource: "",
        };
        cluster.write("namespaces", namespace, Part::Wanted, writer, |namespace| {
            if let Some(Value::Array(finalizers)) = namespace.pointer_mut("/metadata/finalizers") {
                finalizers.retain(|finalizer| !own(finalizer));
            }
        });
        return;
    }
    let gone = cluster.store.write(|transaction| {
        transaction.delete(&key);
        Ok(())
    });
    if let Err(error) = gone {
        tracing::debug!(?error, "a namespace could not be taken away");
    }
}
