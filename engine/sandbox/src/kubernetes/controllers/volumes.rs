//! PersistentVolumeClaims: bound as soon as they are there.

use serde_json::{Value, json};

use super::super::object::{self, map, text};
use super::{Cluster, MANAGER};

pub(super) fn pass(cluster: &Cluster) {
    for claim in cluster.store.all("persistentvolumeclaims") {
        if text(&claim, "/status/phase") != "Bound" && !object::is_terminating(&claim) {
            bind(cluster, &claim);
        }
    }
}

fn bind(cluster: &Cluster, claim: &Value) {
    let usual = cluster.store.all("storageclasses").into_iter().find(|class| {
        let annotations = map(class, "/metadata/annotations");
        annotations.and_then(|all| all.get("storageclass.kubernetes.io/is-default-class")) == Some(&json!("true"))
    });
    cluster.change("persistentvolumeclaims", claim, |claim| {
        if let Some(class) = usual {
            object::set_default(claim, &["spec", "storageClassName"], json!(object::name(&class)));
        }
        let volume = format!("pvc-{}", object::uid(claim));
        object::set_default(claim, &["spec", "volumeName"], json!(volume));
    });
    cluster.report("persistentvolumeclaims", claim, MANAGER, |claim| {
        let size = claim["spec"]["resources"]["requests"]["storage"].clone();
        claim["status"] = json!({
            "phase": "Bound", "accessModes": claim["spec"]["accessModes"], "capacity": {"storage": size},
        });
    });
}
