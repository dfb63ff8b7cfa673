//! Whether a label selector finds an object.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt};
use serde_json::Value;

/// Whether a label selector, as objects write it, finds an object by its labels. One that cannot be read finds nothing.
pub fn selects(selector: &Value, object: &Value) -> bool {
    let labels = object.pointer("/metadata/labels").cloned().unwrap_or_default();
    let labels: BTreeMap<String, String> = serde_json::from_value(labels).unwrap_or_default();
    serde_json::from_value::<LabelSelector>(selector.clone())
        .ok()
        .and_then(|selector| Selector::try_from(selector).ok())
        .is_some_and(|selector| selector.matches(&labels))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn labels_and_expressions_both_have_to_fit() {
        let object = json!({ "metadata": { "labels": { "app": "web", "tier": "b" } } });
        let expressions = |values: &[&str]| json!([{ "key": "tier", "operator": "In", "values": values }]);
        let selector = |app: &str, values: &[&str]| json!({ "matchLabels": { "app": app }, "matchExpressions": expressions(values) });
        assert!(selects(&selector("web", &["a", "b"]), &object));
        assert!(!selects(&selector("web", &["a"]), &object));
        assert!(!selects(&selector("db", &["b"]), &object));
        assert!(!selects(
            &json!({ "matchLabels": { "app": "web" } }),
            &json!({ "metadata": {} })
        ));
    }
}
