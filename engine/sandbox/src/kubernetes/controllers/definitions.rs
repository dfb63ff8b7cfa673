//! CustomResourceDefinitions: established once they are there, and gone only after everything of their kind.

use serde_json::{Value, json};

use super::super::definitions::{self, CLEANUP, RESOURCE};
use super::super::handlers::change::Part;
use super::super::object::{self, items};
use super::super::patch::managed::Writer;
use super::{Cluster, MANAGER, Options, workload};

/// Who writes their status: the API server itself.
const SERVER: &str = "kube-apiserver";

pub(super) fn pass(cluster: &Cluster) {
    for definition in cluster.store.all(RESOURCE) {
        if object::is_terminating(&definition) {
            empty(cluster, &definition);
        } else {
            establish(cluster, &definition);
        }
    }
}

/// Says that its names are taken, that it is served, and in which versions objects may be stored.
fn establish(cluster: &Cluster, definition: &Value) {
    let storing = json!(definitions::storage_version(definition));
    let names = &definition["spec"]["names"];
    let known = items(definition, "/status/storedVersions").contains(&storing);
    if definitions::is_established(definition) && known && definition["status"]["acceptedNames"] == *names {
        return;
    }
    cluster.report(RESOURCE, definition, SERVER, |definition| {
        workload::set_condition(definition, "NamesAccepted", true, "NoConflicts", "no conflicts found");
        workload::set_condition(
            definition,
            "Established",
            true,
            "InitialNamesAccepted",
            "the initial names have been accepted",
        );
        let names = definition["spec"]["names"].clone();
        object::set(definition, &["status", "acceptedNames"], names);
        if let Value::Array(versions) = object::slot(definition, &["status", "storedVersions"]) {
            if !versions.contains(&storing) {
                versions.push(storing);
            }
        } else {
            object::set(definition, &["status", "storedVersions"], json!([storing]));
        }
    });
}

/// Deletes everything of its kind, and then lets it go.
fn empty(cluster: &Cluster, definition: &Value) {
    let resource = object::name(definition);
    let remaining = cluster.store.all(resource);
    for one in remaining.iter().filter(|one| !object::is_terminating(one)) {
        cluster.delete(resource, one, &Options::quietly());
    }
    if remaining.is_empty() {
        let writer = Writer {
            manager: MANAGER,
            subresource: "",
        };
        cluster.write(RESOURCE, definition, Part::Wanted, writer, |definition| {
            if let Some(Value::Array(finalizers)) = definition.pointer_mut("/metadata/finalizers") {
                finalizers.retain(|finalizer| finalizer != CLEANUP);
            }
        });
    }
}
