//! The index of an export while it is written: names, and tags of values.

use std::collections::BTreeMap;

use jm_backup::{IndexedKind, IndexedObject, ObjectWriter};
use jm_client_kubernetes::ObjectKey;
use jm_step::StepError;
use serde_json::Value;

/// Collects the objects of an export by kind.
#[derive(Default)]
pub(crate) struct IndexBuilder {
    kinds: BTreeMap<(String, String), Vec<IndexedObject>>,
}

impl IndexBuilder {
    /// Adds an object to the export and to its index.
    pub(crate) async fn write(
        &mut self,
        writer: &mut ObjectWriter,
        key: &ObjectKey,
        object: &Value,
    ) -> Result<(), StepError> {
        writer.write(object).await?;
        let kind = (key.api_version.clone(), key.kind.clone());
        self.kinds.entry(kind).or_default().push(IndexedObject {
            namespace: key.namespace.clone().unwrap_or_default(),
            name: key.name.clone(),
            keys: keys(writer, key, object)?,
        });
        Ok(())
    }

    /// The kinds, each with its objects in order.
    pub(crate) fn finish(self) -> Vec<IndexedKind> {
        self.kinds
            .into_iter()
            .map(|((api_version, kind), mut objects)| {
                objects.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
                IndexedKind {
                    api_version,
                    kind,
                    objects,
                }
            })
            .collect()
    }
}

/// The keys of a Secret or config map, each with a tag of its value.
fn keys(writer: &ObjectWriter, key: &ObjectKey, object: &Value) -> Result<BTreeMap<String, String>, StepError> {
    let mut keys = BTreeMap::new();
    if key.api_version != "v1" || !["Secret", "ConfigMap"].contains(&key.kind.as_str()) {
        return Ok(keys);
    }
    for map in ["data", "binaryData", "stringData"] {
        for (name, value) in object[map].as_object().into_iter().flatten() {
            let value = value.as_str().unwrap_or_default();
            keys.insert(name.clone(), writer.tag(value.as_bytes())?);
        }
    }
    Ok(keys)
}
