//! Server-side apply: what a manager wants, beside what others hold.

use serde_json::Value;

use super::super::kinds::Kind;
use super::super::status::{ApiError, Cause};
use super::fields::{self, FieldPath, FieldSet};
use super::managed::{self, Entry, Writer};

/// The object after `manager` applied `wanted` to it.
///
/// Fields that the manager applied before and wants no longer go, unless somebody else holds them.
///
/// # Errors
/// A conflict, where others hold a field with another value and the write is not forced.
pub(in super::super) fn applied(
    kind: &Kind,
    writer: Writer<'_>,
    live: Option<&Value>,
    wanted: &Value,
    force: bool,
) -> Result<Value, ApiError> {
    let mut wanted = wanted.clone();
    super::super::object::remove(&mut wanted, &["metadata", "managedFields"]);
    let mut entries = live.map(managed::entries).unwrap_or_default();
    let set: FieldSet = fields::leaves(kind, &wanted).into_keys().collect();
    let taken = conflicts(kind, writer, live, &wanted, &entries);
    if !taken.is_empty() && !force {
        return Err(ApiError::held_fields(&causes(&entries, &taken)));
    }
    for (holder, path) in &taken {
        entries[*holder].fields.remove(path);
    }
    let before = entries.iter().position(|entry| entry.is(writer, "Apply"));
    let mut object = live.cloned().unwrap_or_else(|| bare(&wanted));
    if let Some(before) = before {
        drop_unwanted(&mut object, &mut entries, before, &set);
    }
    fields::overlay(kind, &mut object, &wanted);
    note_apply(kind, writer, &mut entries, before, set);
    managed::store(&mut object, entries);
    Ok(object)
}

fn bare(wanted: &Value) -> Value {
    serde_json::json!({"apiVersion": wanted["apiVersion"], "kind": wanted["kind"], "metadata": {}})
}

/// The entries that hold a wanted field with another value, and the field.
fn conflicts(
    kind: &Kind,
    writer: Writer<'_>,
    live: Option<&Value>,
    wanted: &Value,
    entries: &[Entry],
) -> Vec<(usize, FieldPath)> {
    let Some(live) = live else { return Vec::new() };
    let there = fields::leaves(kind, live);
    let differing = fields::leaves(kind, wanted)
        .into_iter()
        .filter(|(path, value)| there.get(path).is_some_and(|found| found != value))
        .map(|(path, _)| path);
    let mut found: Vec<_> = differing
        .flat_map(|path| {
            let holders = entries
                .iter()
                .enumerate()
                .filter(|(_, entry)| !entry.is(writer, "Apply") && entry.fields.contains(&path));
            holders.map(|(holder, _)| (holder, path.clone())).collect::<Vec<_>>()
        })
        .collect();
    found.sort();
    found
}

fn causes(entries: &[Entry], taken: &[(usize, FieldPath)]) -> Vec<Cause> {
    taken
        .iter()
        .map(|(holder, path)| Cause::held(&fields::readable(path), &entries[*holder].described()))
        .collect()
}

/// Takes away what the manager applied before and wants no longer.
fn drop_unwanted(object: &mut Value, entries: &mut [Entry], before: usize, wanted: &FieldSet) {
    let dropped: Vec<_> = entries[before].fields.difference(wanted).cloned().collect();
    for path in dropped {
        // An entry of a list stays where anybody else holds it or something in it.
        let held = entries
            .iter()
            .enumerate()
            .any(|(index, entry)| index != before && entry.fields.iter().any(|field| field.starts_with(&path)))
            || wanted.iter().any(|field| field.starts_with(&path));
        if !held {
            fields::remove(object, &path);
        }
    }
}

fn note_apply(kind: &Kind, writer: Writer<'_>, entries: &mut Vec<Entry>, before: Option<usize>, set: FieldSet) {
    let fresh = Entry::new(writer, "Apply", kind, set);
    match before {
        Some(index) if entries[index].fields == fresh.fields => {}
        Some(index) => entries[index] = fresh,
        None => entries.push(fresh),
    }
}

#[cfg(test)]
mod tests;
