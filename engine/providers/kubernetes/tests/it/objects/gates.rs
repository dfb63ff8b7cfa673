//! What stands outside of namespaces and guards them: admission policies, webhooks, bindings of everybody.

use jm_provider_kubernetes::{Export, Restore};
use serde_json::{Value, json};

use super::Scene;
use super::kept::called;
use crate::server::Server;

/// A policy that refuses nothing, and its binding with this selector of namespaces.
fn policy(name: &str, selector: &Value) -> [Value; 2] {
    let version = "admissionregistration.k8s.io/v1";
    let rules = json!([{ "apiGroups": ["none.example.com"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["things"] }]);
    [
        json!({ "apiVersion": version, "kind": "ValidatingAdmissionPolicy", "metadata": { "name": name },
            "spec": { "failurePolicy": "Ignore", "matchConstraints": { "resourceRules": rules }, "validations": [{ "expression": "true" }] } }),
        json!({ "apiVersion": version, "kind": "ValidatingAdmissionPolicyBinding", "metadata": { "name": name },
            "spec": { "policyName": name, "validationActions": ["Warn"], "matchResources": { "namespaceSelector": selector } } }),
    ]
}

pub(crate) async fn policies_for_these_namespaces_are_kept_and_others_told(server: &Server) {
    let scene = Scene::new(server).await;
    let name = |what: &str| format!("{}-{what}", scene.namespace());
    let own = policy(
        &name("own"),
        &json!({ "matchLabels": { "kubernetes.io/metadata.name": scene.namespace() } }),
    );
    let others = policy(&name("others"), &json!({}));
    let everybody = json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": { "name": name("everybody") },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name("none") },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:serviceaccounts" }] });
    for object in own.iter().chain(&others).chain([&everybody]) {
        scene.put(object).await;
    }
    let ran = scene.bench().await.run(&Export, json!({})).await;
    ran.result.as_ref().expect("it ended").as_ref().expect("an export");
    let tree = scene.tree().await;
    for object in &own {
        assert!(tree.contains_key(&called(object)), "{:?}", tree.keys());
    }
    for object in others.iter().chain([&everybody]) {
        let key = called(object);
        assert!(!tree.contains_key(&key), "{key}");
        let is_told = |line: &String| line.contains(&key) && line.contains("`cluster_scope: all` keeps them");
        assert!(ran.log.iter().any(is_told), "{key}: {:?}", ran.log);
    }
    let all = scene.bench().await.key("all");
    all.run(&Export, json!({ "cluster_scope": "all" })).await.output();
    let tree = scene.tree().await;
    for object in others.iter().chain([&everybody]) {
        assert!(tree.contains_key(&called(object)));
    }
    let objects: Vec<Value> = own.into_iter().chain(others).chain([everybody]).collect();
    scene.delete_cluster_wide(&objects).await;
}

/// Ranges of addresses are the cluster's own: nothing in a namespace refers to them.
pub(crate) async fn a_range_of_addresses_comes_back_with_all(server: &Server) {
    let scene = Scene::new(server).await;
    let name = format!("{}-more", scene.namespace());
    // Of the other family, so that no service beside this test takes an address of it.
    let range = json!({ "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": { "name": name },
        "spec": { "cidrs": ["fd00:10:96::/112"] } });
    scene.put(&range).await;
    let all = json!({ "cluster_scope": "all" });
    scene.export(all.clone()).await;
    let before = scene.tree().await;
    let key = called(&range);
    assert_eq!(before[&key]["spec"], range["spec"]);
    scene.delete(&range).await;
    let bench = scene.bench().await;
    bench.run(&Restore, json!({ "kinds": ["ServiceCIDR"] })).await.output();
    scene.export(all).await;
    assert_eq!(scene.tree().await[&key], before[&key]);
    scene.delete(&range).await;
}
