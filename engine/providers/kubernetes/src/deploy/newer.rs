//! Values of secrets and configuration that jm itself wrote after the export was made: an older one does not set them back
//! unasked. To the API server they are jm's own, so that it sees no conflict.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jm_client_kubernetes::{ObjectKey, undoes_own};
use jm_step::StepError;
use serde_json::{Value, json};

use super::object::Object;
use super::{OnConflict, Policy};

/// Where such objects have their values.
const VALUES: [&str; 2] = ["data", "binaryData"];

/// Refuses an object that would set newer values back.
pub(super) fn refuse(policy: &Policy, object: &Object, before: &Value) -> Result<(), StepError> {
    let Some(moment) = policy.as_of.filter(|_| policy.on_conflict == OnConflict::Fail) else {
        return Ok(());
    };
    let key = &object.key;
    let newer = newer(key, before, &object.value, moment);
    if newer.is_empty() {
        return Ok(());
    }
    Err(StepError::conflict(format!(
        "{key} holds values that jm itself has written since the export was made: `{}`",
        newer.join("`, `")
    ))
    .hint(format!(
        "keep them with `except: [{}/{}]`, or bring the older ones back with `on_conflict: force`",
        key.kind.to_ascii_lowercase(),
        key.name
    )))
}

/// The names of the values that are newer, and would be others.
fn newer(key: &ObjectKey, before: &Value, after: &Value, moment: Timestamp) -> Vec<String> {
    let is_of_values = key.group().is_empty() && matches!(key.kind.as_str(), "Secret" | "ConfigMap");
    if !is_of_values {
        return Vec::new();
    }
    let mut newer = BTreeSet::new();
    for values in VALUES {
        let names = [before, after]
            .into_iter()
            .filter_map(|object| object[values].as_object());
        let is_other = |name: &&String| before[values].get(*name) != after[values].get(*name);
        for name in names.flat_map(|values| values.keys()).filter(is_other) {
            let only = |object: &Value| {
                let managed = &before["metadata"]["managedFields"];
                let mut only = json!({ "metadata": { "managedFields": managed } });
                if let Some(value) = object[values].get(name) {
                    only[values] = json!({ name: value });
                }
                only
            };
            if undoes_own(&only(before), &only(after), moment) {
                newer.insert(name.clone());
            }
        }
    }
    newer.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_jm_wrote_later_and_would_be_another_value_is_newer() {
        let key = |kind: &str| {
            ObjectKey::of(&json!({ "apiVersion": "v1", "kind": kind, "metadata": { "name": "c" } })).expect("a key")
        };
        let entry = |manager: &str, time: &str, names: &[&str]| {
            let names: Value = names.iter().map(|name| (format!("f:{name}"), json!({}))).collect();
            json!({ "manager": manager, "operation": "Apply", "time": time, "fieldsV1": { "f:data": names } })
        };
        let before = |entries: Vec<Value>| json!({ "metadata": { "managedFields": entries }, "data": { "a": "new", "b": "same", "c": "new" } });
        let after = json!({ "data": { "a": "old", "b": "same" } });
        let moment: Timestamp = "2026-11-25T12:00:00Z".parse().expect("a moment");
        let found = |kind: &str, entries| newer(&key(kind), &before(entries), &after, moment);
        let (early, late) = ("2026-11-25T11:00:00Z", "2026-11-25T13:00:00Z");
        assert_eq!(found("Secret", vec![entry("jm", late, &["a", "b", "c"])]), ["a", "c"]);
        assert_eq!(found("ConfigMap", vec![entry("jm", late, &["a", "b"])]), ["a"]);
        assert!(found("ConfigMap", vec![entry("jm", early, &["a", "b", "c"])]).is_empty());
        assert!(
            found("ConfigMap", vec![entry("helm", late, &["a"])]).is_empty(),
            "the server sees to that"
        );
        assert!(found("Service", vec![entry("jm", late, &["a"])]).is_empty());
    }
}
