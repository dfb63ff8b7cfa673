//! Strategic merge patches: merge patches that know which entry of a list is meant.

use serde_json::{Map, Value};

use super::super::kinds::Kind;
use super::super::status::ApiError;
use super::schema::{self, List};

const DIRECTIVE: &str = "$patch";
const RETAIN: &str = "$retainKeys";
const ORDER: &str = "$setElementOrder/";
const DELETE_VALUES: &str = "$deleteFromPrimitiveList/";

/// Merges a patch into an object of a kind.
///
/// # Errors
/// Where an entry of a list lacks the key that tells it apart, or a directive is unknown.
pub(super) fn merge(kind: &Kind, object: &mut Value, patch: &Value) -> Result<(), ApiError> {
    let Some(patch) = patch.as_object() else { return Ok(()) };
    merge_map(kind.schema(), &mut Vec::new(), object, patch)
}

fn merge_map<'p>(
    kind: &str,
    path: &mut Vec<&'p str>,
    target: &mut Value,
    patch: &'p Map<String, Value>,
) -> Result<(), ApiError> {
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    match patch.get(DIRECTIVE).and_then(Value::as_str) {
        Some("replace") => {
            *target = stripped(&Value::Object(patch.clone()));
            return Ok(());
        }
        Some("delete") => {
            *target = Value::Object(Map::new());
            return Ok(());
        }
        Some("merge") | None => {}
        Some(other) => return Err(ApiError::bad_request(format!("Unknown patch type: {other}"))),
    }
    keep_only(target, patch.get(RETAIN));
    for (field, value) in patch {
        if let Some(list) = field.strip_prefix(DELETE_VALUES) {
            delete_values(target, list, value);
        } else if !field.starts_with('$') {
            path.push(field);
            merge_field(kind, path, target, field, value)?;
            path.pop();
        }
    }
    order_lists(kind, path, target, patch);
    Ok(())
}

fn merge_field<'p>(
    kind: &str,
    path: &mut Vec<&'p str>,
    target: &mut Value,
    field: &str,
    value: &'p Value,
) -> Result<(), ApiError> {
    match value {
        Value::Null => {
            if let Some(fields) = target.as_object_mut() {
                fields.shift_remove(field);
            }
        }
        Value::Object(patch) => {
            let at = &mut target[field];
            let fresh = at.is_null();
            merge_map(kind, path, at, patch)?;
            if fresh && patch.get(DIRECTIVE).is_some_and(|directive| directive == "delete") {
                super::super::object::remove(target, &[field]);
            }
        }
        Value::Array(entries) => merge_list(kind, path, &mut target[field], entries)?,
        other => target[field] = other.clone(),
    }
    Ok(())
}

fn merge_list<'p>(
    kind: &str,
    path: &mut Vec<&'p str>,
    target: &mut Value,
    entries: &'p [Value],
) -> Result<(), ApiError> {
    let list = schema::list(kind, path);
    if list == List::Atomic || !target.is_array() {
        *target = Value::Array(Vec::new());
    }
    let Value::Array(existing) = target else { return Ok(()) };
    let replaces = |entry: &Value| entry[DIRECTIVE] == "replace" && entry.as_object().is_some_and(|map| map.len() == 1);
    if entries.iter().any(replaces) {
        existing.clear();
    }
    for entry in entries.iter().filter(|entry| !replaces(entry)) {
        match list {
            List::Keyed(keys) => merge_entry(kind, path, existing, keys[0], entry)?,
            List::Set if existing.contains(entry) => {}
            List::Set | List::Atomic => existing.push(stripped(entry)),
        }
    }
    Ok(())
}

fn merge_entry<'p>(
    kind: &str,
    path: &mut Vec<&'p str>,
    existing: &mut Vec<Value>,
    key: &str,
    entry: &'p Value,
) -> Result<(), ApiError> {
    let (Some(fields), Some(wanted)) = (entry.as_object(), entry.get(key)) else {
        let message = format!("map: {entry} does not contain declared merge key: {key}");
        return Err(ApiError::unprocessable(message));
    };
    if entry[DIRECTIVE] == "delete" {
        existing.retain(|old| old.get(key) != Some(wanted));
        return Ok(());
    }
    if let Some(old) = existing.iter_mut().find(|old| old.get(key) == Some(wanted)) {
        return merge_map(kind, path, old, fields);
    }
    let mut fresh = Value::Null;
    merge_map(kind, path, &mut fresh, fields)?;
    existing.push(fresh);
    Ok(())
}

fn keep_only(target: &mut Value, retained: Option<&Value>) {
    if let (Some(Value::Array(retained)), Value::Object(fields)) = (retained, target) {
        fields.retain(|field, _| retained.iter().any(|kept| kept == field.as_str()));
    }
}

fn delete_values(target: &mut Value, list: &str, gone: &Value) {
    if let (Some(Value::Array(existing)), Value::Array(gone)) = (target.get_mut(list), gone) {
        existing.retain(|value| !gone.contains(value));
    }
}

/// Puts the entries of lists in the order that the patch asks for; those that it does not name stay behind them.
fn order_lists(kind: &str, path: &[&str], target: &mut Value, patch: &Map<String, Value>) {
    for (field, order) in patch {
        let Some(field) = field.strip_prefix(ORDER) else {
            continue;
        };
        let (Some(Value::Array(existing)), Value::Array(order)) = (target.get_mut(field), order) else {
            continue;
        };
        let full: Vec<_> = path.iter().copied().chain([field]).collect();
        let place = |entry: &Value| match schema::list(kind, &full) {
            List::Keyed(keys) => order
                .iter()
                .position(|wanted| wanted.get(keys[0]) == entry.get(keys[0])),
            _ => order.iter().position(|wanted| wanted == entry),
        };
        existing.sort_by_key(|entry| place(entry).unwrap_or(usize::MAX));
    }
}

/// The value without directives and without the fields that they take away.
fn stripped(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields
                .iter()
                .filter(|(field, value)| !field.starts_with('$') && !value.is_null());
            Value::Object(kept.map(|(field, value)| (field.clone(), stripped(value))).collect())
        }
        Value::Array(entries) => entries
            .iter()
            .filter(|entry| entry[DIRECTIVE] != "delete")
            .map(stripped)
            .collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests;
