//! Claims that are there: what one was filled from when it was made is its own, and cannot be changed any more.

use serde_json::Value;

use super::object::Object;

/// The claim as it is applied to the one that is there, where no source is written and that one has one; `None` where it is
/// applied as it is. Without it an apply would take away what jm once set, which no claim takes.
pub(super) fn as_it_was_filled(object: &Object, before: &Value) -> Option<Value> {
    if object.key.kind != "PersistentVolumeClaim" {
        return None;
    }
    let (wanted, there) = (&object.value["spec"], &before["spec"]);
    let mut filled = None;
    for field in ["dataSource", "dataSourceRef"] {
        if let (None, Some(source)) = (wanted.get(field), there.get(field)) {
            filled.get_or_insert_with(|| object.value.clone())["spec"][field] = source.clone();
        }
    }
    filled
}

#[cfg(test)]
mod tests {
    use jm_client_kubernetes::ObjectKey;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_that_is_there_keeps_what_it_was_filled_from() {
        let claim = |spec: Value| {
            let value = json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "metadata": { "name": "x", "namespace": "app" }, "spec": spec });
            let key = ObjectKey::of(&value).expect("a key");
            Object { key, value }
        };
        let source = json!({ "kind": "VolumeSnapshot", "name": "gone" });
        let there = claim(json!({ "dataSource": source, "dataSourceRef": source })).value;
        let bare = claim(json!({ "storageClassName": "fast" }));
        let filled = as_it_was_filled(&bare, &there).expect("filled");
        assert_eq!(
            filled["spec"],
            json!({ "storageClassName": "fast", "dataSource": source, "dataSourceRef": source })
        );
        let other = json!({ "kind": "VolumeSnapshot", "name": "other" });
        let written = claim(json!({ "dataSource": other, "dataSourceRef": other }));
        assert_eq!(
            as_it_was_filled(&written, &there),
            None,
            "what is written is for the server to refuse"
        );
        assert_eq!(as_it_was_filled(&bare, &bare.value), None);
    }
}
