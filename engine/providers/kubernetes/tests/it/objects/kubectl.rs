//! What kubectl reads of objects, beside what jm exported of them.

use std::collections::{BTreeMap, BTreeSet};

use jm_client_kubernetes::{ObjectKey, documents};
use serde_json::Value;

use crate::server::Server;

/// Everything that kubectl reads of these kinds, `kind.version.group`, in a namespace and outside of all, under its name.
pub(super) async fn read(server: &Server, namespace: &str, kinds: &BTreeSet<String>) -> BTreeMap<String, Value> {
    let kinds: Vec<&str> = kinds.iter().map(String::as_str).collect();
    // As JSON: kubectl refuses to print as YAML what has a control character in it.
    let words = ["get", &kinds.join(","), "--namespace", namespace, "--output", "json"];
    let text = server.kubectl(&words).await;
    let objects = documents("kubectl's output", &text).expect("JSON").into_iter();
    objects
        .map(|object| (ObjectKey::of(&object).expect("a key").to_string(), object))
        .collect()
}

/// How kubectl is asked for the kind of an object.
pub(super) fn kind(object: &Value) -> String {
    let key = ObjectKey::of(object).expect("a key");
    let version = key.api_version.rsplit('/').next().unwrap_or_default();
    format!("{}.{version}.{}", key.kind, key.group())
}

/// Whether everything that one says is what the other says, which may say more. Where it is not: at which place.
pub(super) fn agrees(exported: &Value, read: &Value, at: &str) -> Result<(), String> {
    match (exported, read) {
        (Value::Object(fields), Value::Object(all)) => {
            for (name, value) in fields {
                let place = format!("{at}.{name}");
                let found = all.get(name).ok_or_else(|| format!("{place} is not there"))?;
                agrees(value, found, &place)?;
            }
            Ok(())
        }
        // Finalizers of the control plane's own are among those that are read.
        (Value::Array(items), Value::Array(all)) if items.iter().all(Value::is_string) => {
            let missing = items.iter().find(|item| !all.contains(item));
            missing.map_or(Ok(()), |item| Err(format!("{at} lacks {item}")))
        }
        (Value::Array(items), Value::Array(all)) if items.len() == all.len() => {
            let mut pairs = items.iter().zip(all).enumerate();
            pairs.try_for_each(|(index, (item, found))| agrees(item, found, &format!("{at}[{index}]")))
        }
        (one, other) if one == other => Ok(()),
        (one, other) => Err(format!("{at}: {one} and {other}")),
    }
}
