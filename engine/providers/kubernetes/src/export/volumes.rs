//! The volumes behind claims. Those that somebody made by hand come back, with what they hold where that is elsewhere; of what
//! a driver made for a claim nothing comes back but its claim, and what lies on the disk of a node goes with that, so where it
//! lies is written down.

use std::collections::{BTreeMap, BTreeSet};

use jm_backup::UnkeptContents;
use jm_client_kubernetes::{KeptVolumes, ObjectKey, Reader, ResourceKind};
use jm_step::StepError;
use serde_json::Value;

/// Where a volume says what it is for whoever has it.
const HANDLES: [&str; 7] = [
    "/spec/csi/volumeHandle",
    "/spec/hostPath/path",
    "/spec/local/path",
    "/spec/nfs/path",
    "/spec/awsElasticBlockStore/volumeID",
    "/spec/gcePersistentDisk/pdName",
    "/spec/azureDisk/diskURI",
];

/// In the place of a driver, where there is none.
const DISK_OF_A_NODE: &str = "the disk of a node";

/// What is known of volumes, and of the claims that have them.
#[derive(Default)]
pub(crate) struct Volumes {
    kept: KeptVolumes,
    /// Driver and handle of those that are claimed, by name.
    made: BTreeMap<String, (String, String)>,
    /// Those that lie on the disk of a node, by name.
    on_nodes: BTreeSet<String>,
    unkept: Vec<UnkeptContents>,
}

impl Volumes {
    /// Goes through the volumes of a cluster. What keeps them from being read is told when their kind is read.
    pub(super) async fn read(reader: &Reader, kind: &ResourceKind) -> Self {
        let mut volumes = Self::default();
        let mut pages = reader.pages(kind, None);
        while let Ok(Some(objects)) = pages.next().await {
            for object in &objects {
                volumes.see(object);
            }
        }
        volumes
    }

    /// Looks at an object that may be a volume. They come before their claims.
    pub(crate) fn see(&mut self, object: &Value) {
        if object["apiVersion"] != "v1" || object["kind"] != "PersistentVolume" {
            return;
        }
        self.kept.see(object);
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        if let Some(name) = text("/metadata/name").filter(|_| object.pointer("/spec/claimRef").is_some()) {
            let annotations = &object["metadata"]["annotations"];
            let on_node = ["/spec/hostPath", "/spec/local"]
                .into_iter()
                .any(|source| object.pointer(source).is_some());
            if on_node {
                self.on_nodes.insert(name.to_owned());
            }
            let driver = text("/spec/csi/driver").or(annotations["pv.kubernetes.io/provisioned-by"].as_str());
            let driver = driver.or(on_node.then_some(DISK_OF_A_NODE));
            let handle = HANDLES.into_iter().find_map(text);
            let known = |text: Option<&str>| text.unwrap_or_default().to_owned();
            self.made.insert(name.to_owned(), (known(driver), known(handle)));
        }
    }

    /// Looks at an object that may be a claim. What is in its volume is in no export; a volume that is kept still has it,
    /// unless that goes with its node.
    pub(crate) fn see_claim(&mut self, object: &Value) -> Result<(), StepError> {
        let still_has_it = |volume: &&str| self.kept.has(volume) && !self.on_nodes.contains(*volume);
        let Some(volume) = volume_of(object).filter(|volume| !still_has_it(volume)) else {
            return Ok(());
        };
        let key = ObjectKey::of(object)?;
        let (driver, handle) = self.made.get(volume).cloned().unwrap_or_default();
        self.unkept.push(UnkeptContents {
            namespace: key.namespace.unwrap_or_default(),
            claim: key.name,
            volume: volume.to_owned(),
            driver,
            handle,
        });
        Ok(())
    }

    /// Whether an object is a claim whose volume comes back with it.
    pub(super) fn come_back_with(&self, object: &Value) -> bool {
        volume_of(object).is_some_and(|volume| self.kept.has(volume))
    }

    pub(crate) fn kept(&self) -> &KeptVolumes {
        &self.kept
    }

    /// The claims whose contents are nowhere in the export.
    pub(crate) fn finish(mut self) -> Vec<UnkeptContents> {
        self.unkept.sort();
        self.unkept
    }
}

/// The volume that a claim has.
fn volume_of(object: &Value) -> Option<&str> {
    let is_claim = object["apiVersion"] == "v1" && object["kind"] == "PersistentVolumeClaim";
    let volume = object.pointer("/spec/volumeName")?.as_str()?;
    (is_claim && !volume.is_empty()).then_some(volume)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_driver_made_for_a_claim_is_written_down() {
        let volume = |name: &str, annotations: Value, source: Value| {
            let mut volume = json!({ "apiVersion": "v1", "kind": "PersistentVolume",
                "metadata": { "name": name, "annotations": annotations }, "spec": { "claimRef": { "name": name } } });
            let fields = source.as_object().expect("fields").clone();
            volume["spec"].as_object_mut().expect("a map").extend(fields);
            volume
        };
        let made = json!({ "pv.kubernetes.io/provisioned-by": "example.com/path" });
        let disk = json!({ "csi": { "driver": "csi.example.com", "volumeHandle": "vol-1" } });
        let path = json!({ "hostPath": { "path": "/srv/1" } });
        let mut volumes = Volumes::default();
        volumes.see(&volume("disk", made.clone(), disk));
        volumes.see(&volume("path", made, path.clone()));
        volumes.see(&volume("on-a-node", json!({}), path));
        let elsewhere = json!({ "nfs": { "server": "nfs", "path": "/srv/2" } });
        volumes.see(&volume("by-hand", json!({}), elsewhere));
        let claims = [
            ("d", "path"),
            ("c", "disk"),
            ("b", "by-hand"),
            ("a", ""),
            ("e", "gone"),
            ("f", "on-a-node"),
        ];
        for (claim, volume) in claims {
            let claim = json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "metadata": { "name": claim, "namespace": "app" }, "spec": { "volumeName": volume } });
            volumes.see_claim(&claim).expect("a claim");
        }
        let unkept = |claim: &str, volume: &str, driver: &str, handle: &str| UnkeptContents {
            namespace: "app".to_owned(),
            claim: claim.to_owned(),
            volume: volume.to_owned(),
            driver: driver.to_owned(),
            handle: handle.to_owned(),
        };
        assert_eq!(
            volumes.finish(),
            [
                unkept("c", "disk", "csi.example.com", "vol-1"),
                unkept("d", "path", "example.com/path", "/srv/1"),
                unkept("e", "gone", "", ""),
                unkept("f", "on-a-node", "the disk of a node", "/srv/1"),
            ]
        );
    }
}
