//! Who holds which field: the upkeep of `metadata.managedFields`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::kinds::Kind;
use super::super::object;
use super::fields::{self, FieldSet};

/// Who writes, and by which way.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Writer<'a> {
    /// The field manager, such as `kubectl-client-side-apply`.
    pub(in super::super) manager: &'a str,
    /// `status` or `scale`, empty for the object itself.
    pub(in super::super) subresource: &'a str,
}

/// One entry of `managedFields`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) manager: String,
    pub(super) operation: String,
    pub(super) subresource: String,
    api_version: String,
    time: String,
    pub(super) fields: FieldSet,
}

impl Entry {
    pub(super) fn new(writer: Writer<'_>, operation: &str, kind: &Kind, fields: FieldSet) -> Self {
        Self {
            manager: writer.manager.to_owned(),
            operation: operation.to_owned(),
            subresource: writer.subresource.to_owned(),
            api_version: kind.api_version(),
            time: object::now(),
            fields,
        }
    }

    fn parse(entry: &Value) -> Self {
        let word = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
        Self {
            manager: word("manager"),
            operation: word("operation"),
            subresource: word("subresource"),
            api_version: word("apiVersion"),
            time: word("time"),
            fields: fields::from_json(&entry["fieldsV1"]),
        }
    }

    fn to_json(&self) -> Value {
        let mut entry = json!({
            "manager": self.manager, "operation": self.operation, "apiVersion": self.api_version, "time": self.time,
            "fieldsType": "FieldsV1", "fieldsV1": fields::to_json(&self.fields),
        });
        if !self.subresource.is_empty() {
            entry["subresource"] = json!(self.subresource);
        }
        entry
    }

    pub(super) fn is(&self, writer: Writer<'_>, operation: &str) -> bool {
        self.manager == writer.manager && self.operation == operation && self.subresource == writer.subresource
    }

    /// As a conflict names it: `"kubectl" using apps/v1`.
    pub(super) fn described(&self) -> String {
        let subresource = if self.subresource.is_empty() {
            String::new()
        } else {
            format!(" with subresource \"{}\"", self.subresource)
        };
        let version = if self.operation == "Update" || !self.subresource.is_empty() {
            format!(" using {}", self.api_version)
        } else {
            String::new()
        };
        format!("\"{}\"{subresource}{version}", self.manager)
    }
}

/// The entries of an object.
pub(super) fn entries(object: &Value) -> Vec<Entry> {
    object::items(object, "/metadata/managedFields")
        .iter()
        .map(Entry::parse)
        .collect()
}

/// Writes the entries, applies first, then by time; those that hold nothing are left out.
pub(super) fn store(object: &mut Value, mut entries: Vec<Entry>) {
    entries.sort_by(|a, b| (&a.operation, &a.time).cmp(&(&b.operation, &b.time)));
    let written: Vec<_> = entries
        .iter()
        .filter(|entry| !entry.fields.is_empty())
        .map(Entry::to_json)
        .collect();
    if written.is_empty() {
        object::remove(object, &["metadata", "managedFields"]);
    } else {
        object::set(object, &["metadata", "managedFields"], Value::Array(written));
    }
}

/// Notes an ordinary write: the writer holds what it changed, and nobody holds what it took away.
pub(in super::super) fn note_update(kind: &Kind, writer: Writer<'_>, old: Option<&Value>, new: &mut Value) {
    // A client that sends an empty list asks for no tracking until the next write; others may not write it.
    let mut entries = old.map(entries).unwrap_or_default();
    let before = old.map(|old| fields::leaves(kind, old)).unwrap_or_default();
    let after = fields::leaves(kind, new);
    let changed: FieldSet = after
        .iter()
        .filter(|(path, value)| before.get(*path) != Some(*value))
        .map(|(path, _)| path.clone())
        .collect();
    let gone: BTreeSet<_> = before
        .keys()
        .filter(|path| !after.contains_key(*path))
        .cloned()
        .collect();
    for entry in &mut entries {
        let mine = entry.is(writer, "Update");
        entry
            .fields
            .retain(|path| !gone.contains(path) && (mine || !changed.contains(path)));
    }
    if !changed.is_empty() {
        match entries.iter_mut().find(|entry| entry.is(writer, "Update")) {
            Some(entry) => {
                entry.fields.extend(changed);
                entry.time = object::now();
            }
            None => entries.push(Entry::new(writer, "Update", kind, changed)),
        }
    }
    store(new, entries);
}

#[cfg(test)]
mod tests {
    use super::super::super::kinds::find;
    use super::*;

    fn map(data: Value) -> Value {
        json!({"metadata": {"name": "a"}, "data": data})
    }

    fn holders(object: &Value, field: &str) -> Vec<String> {
        let path = vec!["f:data".to_owned(), format!("f:{field}")];
        entries(object)
            .into_iter()
            .filter(|entry| entry.fields.contains(&path))
            .map(|entry| entry.manager)
            .collect()
    }

    #[test]
    fn a_changed_field_changes_hands() {
        let kind = find("", "v1", "configmaps").unwrap();
        let writer = |manager| Writer {
            manager,
            subresource: "",
        };
        let mut first = map(json!({"a": "1", "b": "1"}));
        note_update(kind, writer("one"), None, &mut first);
        let mut second = map(json!({"a": "1", "b": "2"}));
        note_update(kind, writer("two"), Some(&first), &mut second);
        assert_eq!(holders(&second, "a"), ["one"]);
        assert_eq!(holders(&second, "b"), ["two"]);
        let mut third = map(json!({"a": "1"}));
        note_update(kind, writer("one"), Some(&second), &mut third);
        assert_eq!(entries(&third).len(), 1);
    }
}
