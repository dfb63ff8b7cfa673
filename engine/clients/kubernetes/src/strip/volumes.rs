//! Volumes that come back together with the claims on them.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::keep::left_out;

/// The names of volumes that are kept, so that a claim may go on naming its own.
#[derive(Debug, Clone, Default)]
pub struct KeptVolumes(BTreeSet<String>);

impl KeptVolumes {
    /// Notes an object, if it is a volume that is kept.
    pub fn see(&mut self, object: &Value) {
        let is_volume = object["apiVersion"] == "v1" && object["kind"] == "PersistentVolume";
        if is_volume
            && left_out(object).is_none()
            && let Some(name) = object["metadata"]["name"].as_str()
        {
            self.0.insert(name.to_owned());
        }
    }

    /// Whether a volume is one of them.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains(name)
    }
}
