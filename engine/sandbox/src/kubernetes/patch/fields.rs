//! Sets of fields, as `managedFields` writes them (`fieldsV1`), and the fields of an object.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::super::kinds::Kind;
use super::schema::{self, List};

/// Where a field is: `f:spec`, `k:{"name":"web"}`, `v:"finalizer"`.
pub(in super::super) type FieldPath = Vec<String>;
/// Fields that somebody holds.
pub(in super::super) type FieldSet = BTreeSet<FieldPath>;

/// What the server itself writes, which nobody holds.
const SYSTEM: [&str; 9] = [
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
];

/// The fields of an object with their values; an entry of a keyed list is a field with no value of its own.
pub(in super::super) fn leaves(kind: &Kind, object: &Value) -> BTreeMap<FieldPath, Value> {
    let mut found = BTreeMap::new();
    let Some(fields) = object.as_object() else { return found };
    for (field, value) in fields {
        match field.as_str() {
            "apiVersion" | "kind" => {}
            "metadata" => {
                let mut metadata = value.clone();
                if let Some(fields) = metadata.as_object_mut() {
                    fields.retain(|field, _| !SYSTEM.contains(&field.as_str()));
                }
                walk_fields(
                    kind.schema(),
                    &mut vec!["metadata"],
                    &mut vec!["f:metadata".to_owned()],
                    &metadata,
                    &mut found,
                );
            }
            _ => walk(
                kind.schema(),
                &mut vec![field],
                &mut vec![format!("f:{field}")],
                value,
                &mut found,
            ),
        }
    }
    found
}

fn walk<'v>(
    kind: &str,
    names: &mut Vec<&'v str>,
    path: &mut FieldPath,
    value: &'v Value,
    found: &mut BTreeMap<FieldPath, Value>,
) {
    match value {
        Value::Object(fields) if !fields.is_empty() && !schema::is_atomic_map(kind, names) => {
            walk_fields(kind, names, path, value, found);
        }
        Value::Array(entries) => match schema::list(kind, names) {
            List::Atomic => drop(found.insert(path.clone(), value.clone())),
            List::Set => {
                for entry in entries {
                    let place = path.iter().cloned().chain([format!("v:{entry}")]).collect();
                    found.insert(place, entry.clone());
                }
            }
            List::Keyed(keys) => {
                for entry in entries {
                    path.push(entry_name(keys, entry));
                    found.insert(path.clone(), Value::Null);
                    walk_fields(kind, names, path, entry, found);
                    path.pop();
                }
            }
        },
        _ => drop(found.insert(path.clone(), value.clone())),
    }
}

fn walk_fields<'v>(
    kind: &str,
    names: &mut Vec<&'v str>,
    path: &mut FieldPath,
    value: &'v Value,
    found: &mut BTreeMap<FieldPath, Value>,
) {
    let Some(fields) = value.as_object() else { return };
    for (field, value) in fields {
        names.push(field);
        path.push(format!("f:{field}"));
        walk(kind, names, path, value, found);
        path.pop();
        names.pop();
    }
}

/// `k:{"containerPort":80,"protocol":"TCP"}`.
fn entry_name(keys: &[&str], entry: &Value) -> String {
    let mut named = Map::new();
    for key in keys {
        let value = entry
            .get(*key)
            .cloned()
            .or_else(|| schema::default_key(key).map(|word| json!(word)));
        if let Some(value) = value {
            named.insert((*key).to_owned(), value);
        }
    }
    format!("k:{}", Value::Object(named))
}

/// The `fieldsV1` of a set.
pub(in super::super) fn to_json(fields: &FieldSet) -> Value {
    let mut root = json!({});
    for path in fields {
        let mut at = &mut root;
        for element in path {
            at = &mut at[element.as_str()];
            if at.is_null() {
                *at = json!({});
            }
        }
    }
    // A field that is held and has held fields below it says so with a dot.
    for path in fields {
        let mut at = &mut root;
        for element in path {
            at = &mut at[element.as_str()];
        }
        if path.last().is_some_and(|last| last.starts_with("k:")) {
            let below = std::mem::take(at);
            let mut marked = Map::from_iter([(".".to_owned(), json!({}))]);
            marked.extend(below.as_object().cloned().unwrap_or_default());
            *at = Value::Object(marked);
        }
    }
    root
}

/// The set that a `fieldsV1` describes.
pub(in super::super) fn from_json(fields: &Value) -> FieldSet {
    fn collect(at: &Value, path: &mut FieldPath, set: &mut FieldSet) {
        let Some(children) = at.as_object() else { return };
        if children.is_empty() && !path.is_empty() {
            set.insert(path.clone());
        }
        for (element, below) in children {
            if element == "." {
                set.insert(path.clone());
                continue;
            }
            path.push(element.clone());
            collect(below, path, set);
            path.pop();
        }
    }
    let mut set = FieldSet::new();
    collect(fields, &mut Vec::new(), &mut set);
    set
}

/// The path as people read it: `.spec.template.spec.containers[name="web"].image`.
pub(in super::super) fn readable(path: &FieldPath) -> String {
    path.iter().map(|element| readable_element(element)).collect()
}

fn readable_element(element: &str) -> String {
    if let Some(field) = element.strip_prefix("f:") {
        return format!(".{field}");
    }
    if let Some(value) = element.strip_prefix("v:") {
        return format!("[={value}]");
    }
    let keys: Map<String, Value> = serde_json::from_str(element.trim_start_matches("k:")).unwrap_or_default();
    let pairs: Vec<_> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
    format!("[{}]", pairs.join(","))
}

/// Takes the field at a path out of an object.
pub(in super::super) fn remove(object: &mut Value, path: &[String]) {
    let Some((element, rest)) = path.split_first() else {
        return;
    };
    if let Some(field) = element.strip_prefix("f:") {
        if rest.is_empty() {
            super::super::object::remove(object, &[field]);
        } else if let Some(at) = object.get_mut(field) {
            remove(at, rest);
        }
        return;
    }
    let Value::Array(entries) = object else { return };
    let Some(index) = entries.iter().position(|entry| is_entry(element, entry)) else {
        return;
    };
    if rest.is_empty() {
        entries.remove(index);
    } else {
        remove(&mut entries[index], rest);
    }
}

/// Is this the entry that an element such as `k:{"name":"web"}` means?
fn is_entry(element: &str, entry: &Value) -> bool {
    if let Some(value) = element.strip_prefix("v:") {
        return serde_json::from_str::<Value>(value).is_ok_and(|value| value == *entry);
    }
    let keys: Map<String, Value> = serde_json::from_str(element.trim_start_matches("k:")).unwrap_or_default();
    keys.iter().all(|(key, wanted)| match entry.get(key) {
        Some(found) => found == wanted,
        None => schema::default_key(key).is_some_and(|word| wanted == word),
    })
}

/// Merges what is wanted into what is there, by the rules of lists and maps.
pub(in super::super) fn overlay(kind: &Kind, live: &mut Value, wanted: &Value) {
    overlay_at(kind.schema(), &mut Vec::new(), live, wanted);
}

fn overlay_at<'v>(kind: &str, names: &mut Vec<&'v str>, live: &mut Value, wanted: &'v Value) {
    match (live, wanted) {
        (live @ Value::Object(_), Value::Object(fields)) if !schema::is_atomic_map(kind, names) => {
            for (field, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
                names.push(field);
                overlay_at(kind, names, &mut live[field.as_str()], value);
                names.pop();
            }
        }
        (Value::Array(entries), Value::Array(wanted)) if schema::list(kind, names) != List::Atomic => {
            for entry in wanted {
                overlay_entry(kind, names, entries, entry);
            }
        }
        (live, wanted) => *live = wanted.clone(),
    }
}

fn overlay_entry<'v>(kind: &str, names: &mut Vec<&'v str>, entries: &mut Vec<Value>, wanted: &'v Value) {
    let found = match schema::list(kind, names) {
        List::Keyed(keys) => {
            let name = entry_name(keys, wanted);
            entries.iter_mut().find(|entry| entry_name(keys, entry) == name)
        }
        _ => entries.iter_mut().find(|entry| *entry == wanted),
    };
    match found {
        Some(entry) => overlay_at_entry(kind, names, entry, wanted),
        None => entries.push(wanted.clone()),
    }
}

fn overlay_at_entry<'v>(kind: &str, names: &mut Vec<&'v str>, entry: &mut Value, wanted: &'v Value) {
    let Some(fields) = wanted.as_object() else { return };
    for (field, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
        names.push(field);
        overlay_at(kind, names, &mut entry[field.as_str()], value);
        names.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::kinds::find;
    use super::*;

    fn example() -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "labels": {"app": "web"}, "finalizers": ["jm/x"]},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": {"spec": {"containers": [
                {"name": "web", "image": "a", "ports": [{"containerPort": 80}]}]}}},
        })
    }

    #[test]
    fn fields_go_to_json_and_back() {
        let kind = find("apps", "v1", "deployments").unwrap();
        let set: FieldSet = leaves(kind, &example()).into_keys().collect();
        let written = to_json(&set);
        assert_eq!(from_json(&written), set);
        let container = &written["f:spec"]["f:template"]["f:spec"]["f:containers"]["k:{\"name\":\"web\"}"];
        assert_eq!(container["."], json!({}));
        assert_eq!(
            container["f:ports"]["k:{\"containerPort\":80,\"protocol\":\"TCP\"}"]["f:containerPort"],
            json!({})
        );
        assert_eq!(written["f:metadata"]["f:finalizers"], json!({"v:\"jm/x\"": {}}));
        assert_eq!(written["f:spec"]["f:selector"], json!({}));
    }

    #[test]
    fn a_path_is_read_and_removed() {
        let kind = find("apps", "v1", "deployments").unwrap();
        let mut object = example();
        let path = leaves(kind, &object)
            .into_keys()
            .find(|path| path.last().unwrap() == "f:image")
            .unwrap();
        assert_eq!(readable(&path), ".spec.template.spec.containers[name=\"web\"].image");
        remove(&mut object, &path);
        assert_eq!(object.pointer("/spec/template/spec/containers/0/image"), None);
    }

    #[test]
    fn an_object_over_itself_is_itself() {
        let kind = find("apps", "v1", "deployments").unwrap();
        let mut object = example();
        overlay(kind, &mut object, &example());
        assert_eq!(object, example());
    }
}
