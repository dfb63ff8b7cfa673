//! Strategic merges as `kubectl` sends them.

use proptest::prelude::*;
use serde_json::json;

use super::super::super::kinds::find;
use super::*;

fn deployment(pod: Value) -> Value {
    json!({"spec": {"replicas": 1, "template": {"spec": pod}}})
}

fn merged(mut object: Value, patch: &Value) -> Value {
    merge(find("apps", "v1", "deployments").unwrap(), &mut object, patch).unwrap();
    object
}

fn two() -> Value {
    deployment(json!({"containers": [
        {"name": "web", "image": "a", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]},
        {"name": "side", "image": "s"},
    ]}))
}

#[test]
fn merges_containers_and_variables_by_name() {
    let patch =
        deployment(json!({"containers": [{"name": "web", "image": "b", "env": [{"name": "Y", "value": "3"}]}]}));
    let pod = &merged(two(), &patch)["spec"]["template"]["spec"];
    assert_eq!(
        pod["containers"],
        json!([
            {"name": "web", "image": "b", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "3"}]},
            {"name": "side", "image": "s"},
        ])
    );
}

#[test]
fn deletes_one_entry_and_keeps_the_order_asked_for() {
    let patch = deployment(json!({
        "$setElementOrder/containers": [{"name": "new"}, {"name": "web"}],
        "containers": [{"name": "new", "image": "n"}, {"name": "side", "$patch": "delete"}],
    }));
    let pod = &merged(two(), &patch)["spec"]["template"]["spec"];
    let names: Vec<_> = pod["containers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["new", "web"]);
}

#[test]
fn replaces_a_list_on_request() {
    let patch = deployment(json!({"containers": [{"$patch": "replace"}, {"name": "only", "image": "o"}]}));
    let pod = &merged(two(), &patch)["spec"]["template"]["spec"];
    assert_eq!(pod["containers"], json!([{"name": "only", "image": "o"}]));
}

#[test]
fn retains_only_the_keys_named() {
    let object = json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}});
    let patch = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
    assert_eq!(
        merged(object, &patch),
        json!({"spec": {"strategy": {"type": "Recreate"}}})
    );
}

#[test]
fn null_takes_a_field_away_and_primitive_lists_lose_values() {
    let object = json!({"metadata": {"finalizers": ["a", "b"], "labels": {"x": "1", "y": "2"}}});
    let patch =
        json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"], "labels": {"x": null}}});
    assert_eq!(
        merged(object, &patch),
        json!({"metadata": {"finalizers": ["b", "c"], "labels": {"y": "2"}}})
    );
}

#[test]
fn tolerations_are_replaced() {
    let object = deployment(json!({"tolerations": [{"key": "a"}]}));
    let patch = deployment(json!({"tolerations": [{"key": "b"}]}));
    assert_eq!(merged(object, &patch), patch);
}

#[test]
fn an_entry_without_its_key_is_refused() {
    let patch = deployment(json!({"containers": [{"image": "b"}]}));
    let error = merge(find("apps", "v1", "deployments").unwrap(), &mut two(), &patch).unwrap_err();
    assert!(
        error.to_status()["message"]
            .as_str()
            .unwrap()
            .contains("merge key: name")
    );
}

fn pods() -> impl Strategy<Value = Value> {
    let variable = ("[A-C]", "[0-2]").prop_map(|(name, value)| (name, value));
    let container = (
        "[a-c]",
        "[x-z]",
        prop::collection::btree_map("[A-C]", variable.prop_map(|(_, value)| value), 0..3),
    );
    prop::collection::vec(container, 0..4).prop_map(|containers| {
        let mut named = std::collections::BTreeMap::new();
        for (name, image, env) in containers {
            let env: Vec<_> = env
                .iter()
                .map(|(name, value)| json!({"name": name, "value": value}))
                .collect();
            named.insert(name.clone(), json!({"name": name, "image": image, "env": env}));
        }
        deployment(json!({"containers": named.into_values().collect::<Vec<_>>()}))
    })
}

proptest! {
    #[test]
    fn a_patch_twice_is_a_patch_once(object in pods(), patch in pods()) {
        let once = merged(object, &patch);
        prop_assert_eq!(merged(once.clone(), &patch), once);
    }

    #[test]
    fn nothing_that_the_patch_does_not_name_is_lost(object in pods(), patch in pods()) {
        let result = merged(object.clone(), &patch);
        let names = |object: &Value| object.pointer("/spec/template/spec/containers").unwrap().as_array().unwrap()
            .iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect::<std::collections::BTreeSet<_>>();
        let expected: std::collections::BTreeSet<_> = names(&object).union(&names(&patch)).cloned().collect();
        prop_assert_eq!(names(&result), expected);
    }
}
