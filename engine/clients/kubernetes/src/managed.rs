//! What an object tells of who wrote which of its fields, and when.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use crate::connection::FIELD_MANAGER;

/// Whether an object's field, such as `/spec/replicas`, is jm's by an apply: one that names it no more takes it away.
pub fn has_applied(object: &Value, field: &str) -> bool {
    let mut own = own(object).filter(|entry| entry["operation"] == "Apply" && entry["subresource"].is_null());
    let field = field.replace('/', "/f:");
    own.any(|entry| entry["fieldsV1"].pointer(&field).is_some())
}

/// Whether a change of an object undoes what jm has written to it after a moment, by whatever step: a field differs that is
/// jm's by a later write. Of a field that is gone nothing tells who took it away, so it is nobody's.
pub fn undoes_own(before: &Value, after: &Value, since: Timestamp) -> bool {
    let is_later = |entry: &&Value| {
        let time = entry["time"].as_str().and_then(|time| time.parse::<Timestamp>().ok());
        time.is_some_and(|at| at > since)
    };
    own(before)
        .filter(is_later)
        .any(|entry| differs(&entry["fieldsV1"], Some(before), Some(after)))
}

/// When jm last wrote an annotation that is its own, by the API server's clock, and what it wrote in that same way since.
pub(crate) fn noted_at(metadata: &ObjectMeta, annotation: &str) -> Option<Timestamp> {
    let field = format!("f:{annotation}");
    let entries = metadata.managed_fields.as_deref().unwrap_or_default().iter();
    entries
        .filter(|entry| entry.manager.as_deref() == Some(FIELD_MANAGER))
        .filter(|entry| {
            let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
            fields.is_some_and(|fields| fields["f:metadata"]["f:annotations"].get(&field).is_some())
        })
        .filter_map(|entry| entry.time.as_ref().map(|time| time.0))
        .max()
}

/// Whether any of a set of fields, as managers have them, is another one after than before.
fn differs(fields: &Value, before: Option<&Value>, after: Option<&Value>) -> bool {
    let Some(parts) = fields.as_object().filter(|parts| !parts.is_empty()) else {
        return before != after;
    };
    parts.iter().any(|(part, inner)| match part.as_str() {
        // The map or the item itself, whatever it holds.
        "." => before.is_some() != after.is_some(),
        part => differs(inner, at(before, part), at(after, part)),
    })
}

/// What a part of a field's path leads to: a name, or the keys, the value or the place of an item in a list.
fn at<'o>(within: Option<&'o Value>, part: &str) -> Option<&'o Value> {
    let (by, of) = part.split_once(':')?;
    if by == "f" {
        return within?.get(of);
    }
    let wanted: Value = serde_json::from_str(of).ok()?;
    let items = within?.as_array()?;
    match by {
        "k" => {
            let keys = wanted.as_object()?;
            items
                .iter()
                .find(|item| keys.iter().all(|(name, key)| item.get(name) == Some(key)))
        }
        "v" => items.iter().find(|item| **item == wanted),
        _ => items.get(usize::try_from(wanted.as_u64()?).ok()?),
    }
}

fn own(object: &Value) -> impl Iterator<Item = &Value> {
    let entries = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    entries
        .into_iter()
        .flatten()
        .filter(|entry| entry["manager"] == FIELD_MANAGER)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const MOMENT: &str = "2026-11-27T12:00:00Z";
    const LATER: &str = "2026-11-27T12:00:01Z";

    fn undoes(manager: &str, time: &str, fields: &Value, before: &Value, after: &Value) -> bool {
        let entry =
            json!({ "manager": manager, "operation": "Update", "time": time, "fieldsV1": { "f:spec": fields } });
        let before = json!({ "metadata": { "managedFields": [entry] }, "spec": before });
        undoes_own(&before, &json!({ "spec": after }), MOMENT.parse().expect("a time"))
    }

    #[test]
    fn only_jms_own_note_tells_its_time() {
        let entry = |manager: &str, time: &str, annotation: &str| {
            json!({ "manager": manager, "operation": "Update", "time": time,
                "fieldsV1": { "f:metadata": { "f:annotations": { (format!("f:{annotation}")): {} } } } })
        };
        let noted = |entries: &[Value]| {
            let metadata = json!({ "managedFields": entries });
            let metadata = serde_json::from_value(metadata).expect("metadata");
            noted_at(&metadata, "jm.dev/mark").map(|at| at.to_string())
        };
        let own = entry(FIELD_MANAGER, MOMENT, "jm.dev/mark");
        let others = [
            entry("kubectl", LATER, "jm.dev/mark"),
            entry(FIELD_MANAGER, LATER, "another"),
        ];
        assert_eq!(
            noted(&[own, others[0].clone(), others[1].clone()]).as_deref(),
            Some(MOMENT)
        );
        assert_eq!(noted(&others), None);
    }

    #[test]
    fn what_others_write_is_not_jms() {
        let fields = json!({ "f:k": {} });
        let undoes = |manager, time| undoes(manager, time, &fields, &json!({ "k": "new" }), &json!({ "k": "old" }));
        assert!(undoes(FIELD_MANAGER, LATER));
        assert!(!undoes(FIELD_MANAGER, MOMENT));
        assert!(!undoes("kubectl", LATER));
    }

    #[test]
    fn only_a_field_that_is_jms_counts() {
        let item = |name: &str, image: &str| json!({ "name": name, "port": 1, "image": image });
        let before =
            json!({ "map": { "a": "1", "b": "1" }, "list": [item("x", "1"), item("y", "1")], "set": ["p", "q"] });
        let fields = json!({ "f:map": { ".": {}, "f:a": {} }, "f:set": { "v:\"q\"": {} },
            "f:list": { "k:{\"name\":\"y\",\"port\":1}": { ".": {}, "f:image": {} } } });
        let change = |edit: &dyn Fn(&mut Value)| {
            let mut after = before.clone();
            edit(&mut after);
            undoes(FIELD_MANAGER, LATER, &fields, &before, &after)
        };
        assert!(!change(&|_| {}));
        assert!(!change(&|after| after["map"] = json!({ "a": "1", "c": "back" })));
        assert!(!change(&|after| after["list"] = json!([item("y", "1"), item("x", "2")])));
        assert!(!change(&|after| after["set"] = json!(["q"])));
        assert!(change(&|after| after["map"]["a"] = "2".into()));
        assert!(change(&|after| after["map"] = Value::Null));
        assert!(change(&|after| after["list"][1]["image"] = "2".into()));
        assert!(change(&|after| after["list"] = json!([item("x", "1")])));
        assert!(change(&|after| after["set"] = json!(["p"])));
    }
}
