//! What an object tells of who wrote which of its fields, and when.

use jiff::Timestamp;
use serde_json::Value;

use crate::connection::FIELD_MANAGER;

/// Whether an object's field, such as `/spec/replicas`, is jm's by an apply: one that names it no more takes it away.
pub fn has_applied(object: &Value, field: &str) -> bool {
    let mut own = own(object).filter(|entry| entry["operation"] == "Apply" && entry["subresource"].is_null());
    let field = field.replace('/', "/f:");
    own.any(|entry| entry["fieldsV1"].pointer(&field).is_some())
}

/// Whether jm has written to an object after a moment, by whatever step.
pub fn has_written_since(object: &Value, moment: Timestamp) -> bool {
    own(object)
        .filter_map(|entry| entry["time"].as_str()?.parse::<Timestamp>().ok())
        .any(|at| at > moment)
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

    #[test]
    fn what_others_write_is_not_jms() {
        let moment: Timestamp = "2026-11-27T12:00:00Z".parse().expect("a time");
        let written = |manager: &str, time: &str| {
            let object = json!({ "metadata": { "managedFields": [{ "manager": manager, "operation": "Update", "time": time }] } });
            has_written_since(&object, moment)
        };
        assert!(written(FIELD_MANAGER, "2026-11-27T12:00:01Z"));
        assert!(!written(FIELD_MANAGER, "2026-11-27T12:00:00Z"));
        assert!(!written("kubectl", "2026-11-27T12:00:01Z"));
    }
}
