//! The garbage collector: what is owned goes with its owners, or stays without them.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::super::handlers::change::Part;
use super::super::object::{self, items};
use super::super::patch::managed::Writer;
use super::super::store::Key;
use super::{Cluster, MANAGER, Options};

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

type Known = [(Key, Arc<Value>)];

pub(super) fn pass(cluster: &Cluster) {
    let known = cluster.store.owned();
    let mut uids = None;
    for (key, _) in &known {
        // As it is now: an earlier step of this look may have freed it.
        let Some(object) = &cluster.store.get(key) else {
            continue;
        };
        if object::is_terminating(object) {
            finish(cluster, key, object, &known);
        } else if !items(object, "/metadata/ownerReferences").is_empty() {
            let uids = uids.get_or_insert_with(|| cluster.store.all_uids());
            collect(cluster, key, object, uids);
        }
    }
}

/// Deletes an object whose owners are all gone.
fn collect(cluster: &Cluster, key: &Key, object: &Value, uids: &HashSet<String>) {
    let owners = items(object, "/metadata/ownerReferences");
    if owners
        .iter()
        .all(|owner| owner["uid"].as_str().is_some_and(|uid| !uids.contains(uid)))
    {
        cluster.delete(&key.resource, object, &Options::quietly());
    }
}

fn has_finalizer(object: &Value, name: &str) -> bool {
    items(object, "/metadata/finalizers")
        .iter()
        .any(|finalizer| finalizer == name)
}

/// Does what an object that is being deleted waits for.
fn finish(cluster: &Cluster, key: &Key, object: &Value, known: &Known) {
    let dependents: Vec<_> = known
        .iter()
        .filter(|(_, other)| is_owned_by(other, object::uid(object)))
        .collect();
    if has_finalizer(object, ORPHAN) {
        for (dependent, other) in &dependents {
            edit(cluster, dependent, other, |other| disown(other, object::uid(object)));
        }
        edit(cluster, key, object, |object| drop_finalizer(object, ORPHAN));
    } else if has_finalizer(object, FOREGROUND) {
        for (dependent, other) in dependents.iter().filter(|(_, other)| !object::is_terminating(other)) {
            cluster.delete(&dependent.resource, other, &Options::quietly().after_what_is_owned());
        }
        if dependents.iter().all(|(_, other)| !blocks(other, object::uid(object))) {
            edit(cluster, key, object, |object| drop_finalizer(object, FOREGROUND));
        }
    }
}

fn is_owned_by(object: &Value, owner: &str) -> bool {
    items(object, "/metadata/ownerReferences")
        .iter()
        .any(|reference| reference["uid"] == json!(owner))
}

fn blocks(object: &Value, owner: &str) -> bool {
    items(object, "/metadata/ownerReferences")
        .iter()
        .any(|reference| reference["uid"] == json!(owner) && reference["blockOwnerDeletion"] == json!(true))
}

fn disown(object: &mut Value, owner: &str) {
    drop_entries(object, "ownerReferences", |reference| reference["uid"] == json!(owner));
}

fn drop_finalizer(object: &mut Value, name: &str) {
    drop_entries(object, "finalizers", |finalizer| finalizer == name);
}

/// Takes entries out of a list of the metadata.
fn drop_entries(object: &mut Value, list: &str, goes: impl Fn(&Value) -> bool) {
    let Some(Value::Array(entries)) = object["metadata"].get_mut(list) else {
        return;
    };
    entries.retain(|entry| !goes(entry));
}

fn edit(cluster: &Cluster, key: &Key, object: &Value, change: impl FnOnce(&mut Value)) {
    cluster.write(
        &key.resource,
        object,
        Part::Wanted,
        Writer {
            manager: MANAGER,
            subresource: "",
        },
        change,
    );
}
