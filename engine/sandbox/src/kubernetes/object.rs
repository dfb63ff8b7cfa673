//! Reading and writing the JSON of an object: names, labels, owners, times.

use serde_json::{Map, Value, json};

/// The text at a JSON pointer, or an empty one.
pub(super) fn text<'v>(object: &'v Value, pointer: &str) -> &'v str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The whole number at a JSON pointer, or nought.
pub(super) fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
}

/// The list at a JSON pointer, or an empty one.
pub(super) fn items<'v>(object: &'v Value, pointer: &str) -> &'v [Value] {
    object
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// The map at a JSON pointer, where there is one.
pub(super) fn map<'v>(object: &'v Value, pointer: &str) -> Option<&'v Map<String, Value>> {
    object.pointer(pointer).and_then(Value::as_object)
}

/// `metadata.name`.
pub(super) fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

/// `metadata.namespace`, empty for objects of the whole cluster.
pub(super) fn namespace(object: &Value) -> &str {
    text(object, "/metadata/namespace")
}

/// `metadata.uid`.
pub(super) fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

/// Has its deletion been asked for?
pub(super) fn is_terminating(object: &Value) -> bool {
    object
        .pointer("/metadata/deletionTimestamp")
        .is_some_and(|at| !at.is_null())
}

/// Sets the value at a path of field names, making the maps on the way.
pub(super) fn set(object: &mut Value, path: &[&str], value: Value) {
    *slot(object, path) = value;
}

/// Sets the value at a path where there is none yet.
pub(super) fn set_default(object: &mut Value, path: &[&str], value: Value) {
    let slot = slot(object, path);
    if slot.is_null() {
        *slot = value;
    }
}

/// The place at a path of field names; maps on the way are made.
pub(super) fn slot<'v>(object: &'v mut Value, path: &[&str]) -> &'v mut Value {
    let mut at = object;
    for field in path {
        if !at.is_object() {
            *at = json!({});
        }
        at = &mut at[*field];
    }
    at
}

/// Takes the field at a path away and hands it back.
pub(super) fn remove(object: &mut Value, path: &[&str]) -> Option<Value> {
    let (last, parents) = path.split_last()?;
    let parent = parents.iter().try_fold(object, |at, field| at.get_mut(*field))?;
    parent.as_object_mut()?.shift_remove(*last)
}

/// Takes every empty field away, as decoding into the real types does.
pub(super) fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// Maps of texts, which the real types leave out where they are empty.
const MAPS: [&str; 9] = [
    "labels",
    "annotations",
    "nodeSelector",
    "limits",
    "requests",
    "matchLabels",
    "data",
    "binaryData",
    "stringData",
];

/// Takes away what the real types leave out: empty fields, empty maps of texts, empty lists of the metadata and,
/// where `lists` says so, all empty lists.
pub(super) fn tidy(value: &mut Value, lists: bool) {
    drop_nulls(value);
    tidy_metadata(value);
    drop_empty(value, lists);
}

/// Takes away the empty lists and maps of the metadata.
pub(super) fn tidy_metadata(value: &mut Value) {
    if let Some(metadata) = value.get_mut("metadata") {
        drop_empty(metadata, true);
    }
}

fn drop_empty(value: &mut Value, lists: bool) {
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(|value| drop_empty(value, lists));
            fields.retain(|name, value| match value {
                Value::Object(map) => !map.is_empty() || !MAPS.contains(&name.as_str()),
                Value::Array(list) => !lists || !list.is_empty(),
                _ => true,
            });
        }
        Value::Array(items) => items.iter_mut().for_each(|item| drop_empty(item, lists)),
        _ => {}
    }
}

/// The owner reference of the controller that manages this object.
pub(super) fn controller(object: &Value) -> Option<&Value> {
    items(object, "/metadata/ownerReferences")
        .iter()
        .find(|owner| owner["controller"] == json!(true))
}

/// Is the object managed by the controller with this UID?
pub(super) fn is_controlled_by(object: &Value, owner: &str) -> bool {
    controller(object).is_some_and(|reference| reference["uid"] == json!(owner))
}

/// An owner reference that names `owner` as the managing controller.
pub(super) fn controller_reference(owner: &Value) -> Value {
    json!({
        "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": name(owner), "uid": uid(owner),
        "controller": true, "blockOwnerDeletion": true,
    })
}

/// The time now as Kubernetes writes it, to the second.
pub(super) fn now() -> String {
    seconds(jm_step::clock::now())
}

/// A time as Kubernetes writes it, to the second.
pub(super) fn seconds(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A new random UID (version 4).
pub(super) fn new_uid() -> String {
    let mut bytes: [u8; 16] = rand::random();
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let text = hex::encode(bytes);
    format!(
        "{}-{}-{}-{}-{}",
        &text[..8],
        &text[8..12],
        &text[12..16],
        &text[16..20],
        &text[20..]
    )
}

/// The letters of generated names: no vowels, so that no words come out.
const NAME_LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Random letters for a generated name.
pub(super) fn name_suffix(length: usize) -> String {
    (0..length)
        .map(|_| NAME_LETTERS[rand::random_range(0..NAME_LETTERS.len())] as char)
        .collect()
}

/// A short, stable name for a value: equal values have equal names, whatever the order of their fields.
pub(super) fn digest_name(value: &Value) -> String {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(canonical(value).to_string());
    digest
        .iter()
        .take(10)
        .map(|byte| NAME_LETTERS[usize::from(*byte) % NAME_LETTERS.len()] as char)
        .collect()
}

/// The value with the fields of all maps in order.
pub(crate) fn canonical(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut sorted: Vec<_> = fields
                .iter()
                .map(|(name, value)| (name.clone(), canonical(value)))
                .collect();
            sorted.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(sorted.into_iter().collect())
        }
        Value::Array(items) => items.iter().map(canonical).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_and_removes_by_path() {
        let mut object = json!({});
        set(&mut object, &["a", "b"], json!(1));
        set_default(&mut object, &["a", "b"], json!(2));
        set_default(&mut object, &["a", "c"], json!(3));
        assert_eq!(object, json!({"a": {"b": 1, "c": 3}}));
        assert_eq!(remove(&mut object, &["a", "b"]), Some(json!(1)));
        assert_eq!(remove(&mut object, &["x", "b"]), None);
    }

    #[test]
    fn tidying_leaves_out_what_the_real_types_do() {
        let mut pod = json!({
            "metadata": {"labels": {}, "finalizers": []},
            "spec": {"containers": [{"env": [], "args": null, "resources": {"limits": {}}}], "volumes": [{"emptyDir": {}}]},
        });
        tidy(&mut pod, true);
        let spec = json!({"containers": [{"resources": {}}], "volumes": [{"emptyDir": {}}]});
        assert_eq!(pod, json!({"metadata": {}, "spec": spec}));
        let mut role = json!({"rules": []});
        tidy(&mut role, false);
        assert_eq!(role, json!({"rules": []}));
    }

    #[test]
    fn digest_names_do_not_depend_on_order() {
        assert_eq!(
            digest_name(&json!({"a": 1, "b": [2]})),
            digest_name(&json!({"b": [2], "a": 1}))
        );
        assert_ne!(digest_name(&json!({"a": 1})), digest_name(&json!({"a": 2})));
    }

    #[test]
    fn uids_look_like_uids() {
        let uid = new_uid();
        assert_eq!(uid.len(), 36);
        assert_eq!(uid.as_bytes()[14], b'4');
        assert_ne!(uid, new_uid());
    }
}
