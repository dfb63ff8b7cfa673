//! Objects: writing, patching, listing, watching, refusals.

use std::collections::BTreeMap;

use futures::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{
    Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, Preconditions, WatchEvent,
    WatchParams,
};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};

use super::*;

fn map(name: &str, data: &[(&str, &str)]) -> ConfigMap {
    let data: BTreeMap<_, _> = data.iter().copied().collect();
    serde_json::from_value(json!({"metadata": {"name": name}, "data": data})).unwrap()
}

pub(super) async fn writes_are_guarded(client: kube::Client, namespace: &str) {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let usual = PostParams::default();
    let made = api.create(&usual, &map("one", &[("a", "1")])).await.unwrap();
    assert_eq!(
        refusal(api.create(&usual, &map("one", &[])).await),
        (409, "AlreadyExists".into())
    );
    assert_eq!(refusal(api.create(&usual, &made).await).0, 500);
    let mut changed = made.clone();
    changed.data.as_mut().unwrap().insert("b".into(), "2".into());
    let newer = api.replace("one", &usual, &changed).await.unwrap();
    assert_ne!(newer.metadata.resource_version, made.metadata.resource_version);
    assert_eq!(
        refusal(api.replace("one", &usual, &changed).await),
        (409, "Conflict".into())
    );
    let same = api.replace("one", &usual, &newer).await.unwrap();
    assert_eq!(same.metadata.resource_version, newer.metadata.resource_version);
    let preconditions = Some(Preconditions {
        uid: Some("other".into()),
        resource_version: None,
    });
    let other = DeleteParams {
        preconditions,
        ..DeleteParams::default()
    };
    assert_eq!(refusal(api.delete("one", &other).await), (409, "Conflict".into()));
    let dry = DeleteParams {
        dry_run: true,
        ..DeleteParams::default()
    };
    api.delete("one", &dry).await.unwrap();
    api.delete("one", &DeleteParams::default()).await.unwrap();
    assert_eq!(refusal(api.get("one").await), (404, "NotFound".into()));
    let elsewhere: Api<ConfigMap> = Api::namespaced(client, "nowhere");
    assert_eq!(
        refusal(elsewhere.create(&usual, &map("one", &[])).await),
        (404, "NotFound".into())
    );
}

pub(super) async fn every_kind_of_patch(client: kube::Client, namespace: &str) {
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    let usual = PatchParams::default();
    let wanted = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "data": {"a": "1"}});
    api.patch("one", &PatchParams::apply("jm"), &Patch::Apply(&wanted))
        .await
        .unwrap();
    let merged = api
        .patch("one", &usual, &Patch::Merge(json!({"data": {"a": null, "b": "2"}})))
        .await
        .unwrap();
    assert_eq!(merged.data, Some(BTreeMap::from([("b".into(), "2".into())])));
    let operations: json_patch::Patch = serde_json::from_value(json!([
        {"op": "test", "path": "/data/b", "value": "2"}, {"op": "replace", "path": "/data/b", "value": "3"},
    ]))
    .unwrap();
    api.patch("one", &usual, &Patch::Json::<()>(operations.clone()))
        .await
        .unwrap();
    assert_eq!(
        refusal(api.patch("one", &usual, &Patch::Json::<()>(operations)).await).0,
        422
    );
    let stale = json!({"metadata": {"resourceVersion": "1"}, "data": {"c": "1"}});
    assert_eq!(
        refusal(api.patch("one", &usual, &Patch::Merge(&stale)).await),
        (409, "Conflict".into())
    );
    let dry = PatchParams {
        dry_run: true,
        ..PatchParams::default()
    };
    let tried = api
        .patch("one", &dry, &Patch::Strategic(json!({"data": {"b": "9"}})))
        .await
        .unwrap();
    assert_eq!(tried.data.unwrap()["b"], "9");
    assert_eq!(api.get("one").await.unwrap().data.unwrap()["b"], "3");
    assert_eq!(
        refusal(api.patch("none", &usual, &Patch::Merge(&stale)).await),
        (404, "NotFound".into())
    );
}

/// Who holds the field, by name and way.
fn holders(object: &Value, field: &str) -> Vec<(String, String)> {
    let held = |entry: &&Value| entry["fieldsV1"].pointer(field).is_some();
    let name = |entry: &Value| {
        let word = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
        (word("manager"), format!("{}{}", word("operation"), word("subresource")))
    };
    object["metadata"]["managedFields"]
        .as_array()
        .unwrap()
        .iter()
        .filter(held)
        .map(name)
        .collect()
}

fn pair(manager: &str, way: &str) -> (String, String) {
    (manager.to_owned(), way.to_owned())
}

pub(super) async fn fields_have_holders(client: kube::Client, namespace: &str) {
    let api: Api<Deployment> = Api::namespaced(client, namespace);
    let mut wanted: Value = serde_saphyr::from_str(&deployment("web", "web:1", 1)).unwrap();
    api.patch("web", &PatchParams::apply("one"), &Patch::Apply(&wanted))
        .await
        .unwrap();
    let scale = PatchParams {
        field_manager: Some("hand".into()),
        ..PatchParams::default()
    };
    api.patch_scale("web", &scale, &Patch::Merge(json!({"spec": {"replicas": 2}})))
        .await
        .unwrap();
    let object = serde_json::to_value(api.get("web").await.unwrap()).unwrap();
    assert_eq!(holders(&object, "/f:spec/f:replicas"), [pair("hand", "Updatescale")]);
    let status = refused(
        api.patch("web", &PatchParams::apply("one"), &Patch::Apply(&wanted))
            .await,
    );
    assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));
    let cause = &status.details.unwrap().causes[0];
    assert_eq!(cause.field, ".spec.replicas");
    assert_eq!(
        cause.message,
        "conflict with \"hand\" with subresource \"scale\" using apps/v1"
    );
    let forced = api
        .patch("web", &PatchParams::apply("one").force(), &Patch::Apply(&wanted))
        .await
        .unwrap();
    let object = serde_json::to_value(forced).unwrap();
    assert_eq!(holders(&object, "/f:spec/f:replicas"), [pair("one", "Apply")]);
    // What is applied no longer goes, and what others hold stays.
    api.patch(
        "web",
        &scale,
        &Patch::Merge(json!({"metadata": {"annotations": {"mine": "x"}}})),
    )
    .await
    .unwrap();
    let container = &mut wanted["spec"]["template"]["spec"]["containers"][0];
    container.as_object_mut().unwrap().remove("env");
    wanted["spec"]["template"]["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "side", "image": "s:1"}));
    let object = api
        .patch("web", &PatchParams::apply("one"), &Patch::Apply(&wanted))
        .await
        .unwrap();
    let object = serde_json::to_value(object).unwrap();
    let containers = object["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    assert_eq!((containers.len(), containers[0].get("env")), (2, None));
    assert_eq!(object["metadata"]["annotations"]["mine"], "x");
}

pub(super) async fn lists_come_in_pages_and_by_selectors(client: kube::Client, namespace: &str) {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    for number in 0..7 {
        let mut one = map(&format!("m{number}"), &[]);
        one.metadata.labels = Some(BTreeMap::from([("even".to_owned(), (number % 2 == 0).to_string())]));
        api.create(&PostParams::default(), &one).await.unwrap();
    }
    let even = ListParams::default().labels("even=true").limit(3);
    let page = api.list(&even).await.unwrap();
    assert_eq!(page.items.len(), 3);
    let rest = api
        .list(&even.clone().continue_token(&page.metadata.continue_.unwrap()))
        .await
        .unwrap();
    assert_eq!(rest.items[0].metadata.name.as_deref(), Some("m6"));
    assert_eq!(
        api.list(&ListParams::default().fields("metadata.name=m3"))
            .await
            .unwrap()
            .items
            .len(),
        1
    );
    assert_eq!(
        api.list(&ListParams::default().labels("even in (true),!odd"))
            .await
            .unwrap()
            .items
            .len(),
        4
    );
    assert_eq!(
        refusal(api.list(&ListParams::default().fields("data.a=1")).await).0,
        400
    );
    assert_eq!(
        refusal(api.list(&ListParams::default().labels("a within (b)")).await).0,
        400
    );
    // Items of a list do not repeat what the list says.
    let request = http::Request::get(format!("/api/v1/namespaces/{namespace}/configmaps?limit=1"))
        .body(vec![])
        .unwrap();
    let raw: Value = client.request(request).await.unwrap();
    assert_eq!(
        (&raw["kind"], raw["items"][0].get("kind")),
        (&json!("ConfigMapList"), None)
    );
}

pub(super) async fn a_watch_sees_what_happens(client: kube::Client, namespace: &str) {
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    let from = api
        .list(&ListParams::default())
        .await
        .unwrap()
        .metadata
        .resource_version
        .unwrap();
    let mut events = api
        .watch(&WatchParams::default().fields("metadata.name=one"), &from)
        .await
        .unwrap()
        .boxed();
    api.create(&PostParams::default(), &map("one", &[])).await.unwrap();
    api.patch(
        "one",
        &PatchParams::default(),
        &Patch::Merge(json!({"data": {"a": "1"}})),
    )
    .await
    .unwrap();
    api.delete("one", &DeleteParams::default()).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 3 {
        match tokio::time::timeout(Duration::from_secs(10), events.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap()
        {
            WatchEvent::Added(_) => seen.push("added"),
            WatchEvent::Modified(_) => seen.push("modified"),
            WatchEvent::Deleted(_) => seen.push("deleted"),
            WatchEvent::Bookmark(_) | WatchEvent::Error(_) => {}
        }
    }
    assert_eq!(seen, ["added", "modified", "deleted"]);
}

pub(super) async fn refusals_name_what_is_wrong(client: kube::Client, namespace: &str) {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    assert_eq!(
        refusal(maps.create(&PostParams::default(), &map("No_Name", &[])).await),
        (422, "Invalid".into())
    );
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let bare: Deployment = serde_json::from_value(json!({"metadata": {"name": "web"}, "spec": {
        "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "c"}}, "spec": {"containers": []}}}}))
    .unwrap();
    let status = refused(deployments.create(&PostParams::default(), &bare).await);
    let fields: Vec<_> = status
        .details
        .unwrap()
        .causes
        .into_iter()
        .map(|cause| cause.field)
        .collect();
    assert_eq!(
        fields,
        ["spec.template.metadata.labels", "spec.template.spec.containers"]
    );
    let object: Deployment = serde_saphyr::from_str(&deployment("web", "web:1", 1)).unwrap();
    deployments.create(&PostParams::default(), &object).await.unwrap();
    let selector = Patch::Merge(json!({"spec": {"selector": {"matchLabels": {"x": "y"}}}}));
    let status = refused(deployments.patch("web", &PatchParams::default(), &selector).await);
    assert!(status.message.contains("field is immutable"), "{}", status.message);
    let negative = deployments
        .patch_scale(
            "web",
            &PatchParams::default(),
            &Patch::Merge(json!({"spec": {"replicas": -1}})),
        )
        .await;
    assert_eq!(refusal(negative), (422, "Invalid".into()));
    let unknown = kube::core::ApiResource::from_gvk(&GroupVersionKind::gvk("none.example.org", "v1", "Thing"));
    let things: Api<DynamicObject> = Api::namespaced_with(client, namespace, &unknown);
    assert_eq!(refusal(things.get("a").await).0, 404);
}

pub(super) async fn what_is_served_can_be_found_out(client: kube::Client, namespace: &str) {
    let discovery = kube::discovery::Discovery::new(client.clone())
        .run_aggregated()
        .await
        .unwrap();
    assert!(discovery.groups().any(|group| group.name() == "networking.k8s.io"));
    let apps = kube::discovery::group(&client, "apps").await.unwrap();
    let (_, capabilities) = apps.recommended_kind("Deployment").unwrap();
    assert!(
        capabilities
            .subresources
            .iter()
            .any(|(resource, _)| resource.plural == "scale")
    );
    assert!(!client.apiserver_version().await.unwrap().git_version.is_empty());
    let namespaces: Api<Namespace> = Api::all(client);
    assert!(namespaces.get("kube-system").await.unwrap().metadata.uid.is_some());
    let phase = namespaces.get(namespace).await.unwrap().status.unwrap().phase;
    assert_eq!(phase.as_deref(), Some("Active"));
}
