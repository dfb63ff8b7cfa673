//! ControllerRevisions: the templates that a StatefulSet or DaemonSet has had.

use serde_json::{Value, json};

use super::super::object::{self, number};
use super::Cluster;

/// The label on pods and revisions that names the template.
pub(super) const HASH: &str = "controller-revision-hash";

/// The hash of the template as it is now; sees to it that there is a revision of it, with the highest number.
pub(super) fn current(cluster: &Cluster, owner: &Value) -> String {
    let hash = object::digest_name(&owner["spec"]["template"]);
    let known = cluster.controlled("controllerrevisions", owner);
    let highest = known
        .iter()
        .map(|revision| number(revision, "/revision"))
        .max()
        .unwrap_or_default();
    match known
        .iter()
        .find(|revision| revision["metadata"]["labels"][HASH] == hash.as_str())
    {
        Some(revision) if number(revision, "/revision") < highest => {
            cluster.change("controllerrevisions", revision, |revision| {
                revision["revision"] = json!(highest + 1);
            });
        }
        Some(_) => {}
        None => drop(cluster.make("controllerrevisions", revision(owner, &hash, highest + 1))),
    }
    hash
}

fn revision(owner: &Value, hash: &str, number: i64) -> Value {
    let mut template = owner["spec"]["template"].clone();
    template["$patch"] = json!("replace");
    let mut labels = owner["spec"]["template"]["metadata"]["labels"].clone();
    labels[HASH] = json!(hash);
    json!({
        "apiVersion": "apps/v1", "kind": "ControllerRevision",
        "metadata": {
            "name": format!("{}-{hash}", object::name(owner)), "namespace": object::namespace(owner), "labels": labels,
            "annotations": owner["metadata"]["annotations"], "ownerReferences": [object::controller_reference(owner)],
        },
        "data": {"spec": {"template": template}}, "revision": number,
    })
}
