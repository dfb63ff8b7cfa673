//! Server-side apply between several managers.

use proptest::prelude::*;
use serde_json::json;

use super::super::super::kinds::find;
use super::*;

fn by(manager: &str) -> Writer<'_> {
    Writer {
        manager,
        subresource: "",
    }
}

fn deployment(spec: &Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec})
}

fn apply(manager: &str, live: Option<&Value>, spec: &Value, force: bool) -> Result<Value, ApiError> {
    applied(
        find("apps", "v1", "deployments").unwrap(),
        by(manager),
        live,
        &deployment(spec),
        force,
    )
}

#[test]
fn another_managers_field_is_a_conflict_that_names_both() {
    let live = apply("one", None, &json!({"replicas": 1}), false).unwrap();
    let status = apply("two", Some(&live), &json!({"replicas": 2}), false)
        .unwrap_err()
        .to_status();
    assert_eq!(status["code"], 409);
    assert_eq!(
        status["message"],
        "Apply failed with 1 conflict: conflict with \"one\": .spec.replicas"
    );
    assert_eq!(status["details"]["causes"][0]["field"], ".spec.replicas");
    let forced = apply("two", Some(&live), &json!({"replicas": 2}), true).unwrap();
    assert_eq!(forced["spec"]["replicas"], 2);
    assert_eq!(forced["metadata"]["managedFields"].as_array().unwrap().len(), 1);
}

#[test]
fn equal_values_are_shared() {
    let live = apply("one", None, &json!({"replicas": 1}), false).unwrap();
    let shared = apply("two", Some(&live), &json!({"replicas": 1}), false).unwrap();
    let kept = apply("one", Some(&shared), &json!({"paused": true}), false).unwrap();
    assert_eq!(kept["spec"], json!({"replicas": 1, "paused": true}));
    let gone = apply("two", Some(&kept), &json!({}), false).unwrap();
    assert_eq!(gone["spec"], json!({"paused": true}));
}

#[test]
fn a_container_no_longer_wanted_goes_whole_with_its_defaults() {
    let pod = |containers: Value| json!({"template": {"spec": {"containers": containers}}});
    let mut live = apply(
        "one",
        None,
        &pod(json!([{"name": "a", "image": "a"}, {"name": "b", "image": "b"}])),
        false,
    )
    .unwrap();
    live["spec"]["template"]["spec"]["containers"][1]["imagePullPolicy"] = json!("Always");
    let after = apply("one", Some(&live), &pod(json!([{"name": "a", "image": "a2"}])), false).unwrap();
    assert_eq!(after["spec"], pod(json!([{"name": "a", "image": "a2"}])));
}

#[test]
fn applying_the_same_again_changes_nothing() {
    let live = apply("one", None, &json!({"replicas": 1}), false).unwrap();
    assert_eq!(apply("one", Some(&live), &json!({"replicas": 1}), false).unwrap(), live);
}

#[test]
fn an_update_between_is_noticed() {
    let kind = find("apps", "v1", "deployments").unwrap();
    let live = apply("one", None, &json!({"replicas": 1}), false).unwrap();
    let mut scaled = live.clone();
    scaled["spec"]["replicas"] = json!(3);
    managed::note_update(
        kind,
        Writer {
            manager: "kubectl",
            subresource: "scale",
        },
        Some(&live),
        &mut scaled,
    );
    let message = apply("one", Some(&scaled), &json!({"replicas": 1}), false)
        .unwrap_err()
        .to_status()["message"]
        .clone();
    assert!(
        message
            .as_str()
            .unwrap()
            .contains("\"kubectl\" with subresource \"scale\" using apps/v1"),
        "{message}"
    );
}

proptest! {
    #[test]
    fn what_was_applied_is_there(a in prop::collection::btree_map("[a-d]", "[0-3]", 0..4), b in prop::collection::btree_map("[a-d]", "[0-3]", 0..4)) {
        let kind = find("", "v1", "configmaps").unwrap();
        let map = |data: &std::collections::BTreeMap<String, String>| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data});
        let first = applied(kind, by("one"), None, &map(&a), false).unwrap();
        let second = applied(kind, by("one"), Some(&first), &map(&b), false).unwrap();
        let found = second.get("data").cloned().unwrap_or_else(|| json!({}));
        prop_assert_eq!(found, json!(b));
        let forced = applied(kind, by("two"), Some(&first), &map(&b), true).unwrap();
        for (key, value) in &b {
            prop_assert_eq!(&forced["data"][key], value);
        }
        for (key, value) in a.iter().filter(|(key, _)| !b.contains_key(*key)) {
            prop_assert_eq!(&forced["data"][key], value);
        }
    }
}
