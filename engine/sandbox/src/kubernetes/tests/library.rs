//! kube-rs, as the Kubernetes client uses it.

use std::collections::BTreeMap;

use futures::StreamExt;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::autoscaling::v1::Scale;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use kube::api::{
    Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions, WatchEvent, WatchParams,
};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::json;

use super::*;

async fn client(path: &Path) -> kube::Client {
    let kubeconfig = Kubeconfig::read_from(path).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .unwrap();
    kube::Client::try_from(config).unwrap()
}

fn status(error: kube::Error) -> (u16, String) {
    match error {
        kube::Error::Api(status) => (status.code, status.reason.clone()),
        other => panic!("no status: {other:?}"),
    }
}

fn map(name: &str, data: &[(&str, &str)]) -> ConfigMap {
    let data: BTreeMap<_, _> = data
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    serde_json::from_value(json!({"metadata": {"name": name}, "data": data})).unwrap()
}

async fn maps(fixture: &Fixture) -> Api<ConfigMap> {
    Api::namespaced(client(fixture.server.kubeconfig()).await, "default")
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_are_guarded_as_on_the_real_server() {
    let fixture = Fixture::start().await;
    let api = maps(&fixture).await;
    let made = api
        .create(&PostParams::default(), &map("one", &[("a", "1")]))
        .await
        .unwrap();
    let again = api.create(&PostParams::default(), &map("one", &[])).await.unwrap_err();
    assert_eq!(status(again), (409, "AlreadyExists".to_owned()));
    let mut changed = made.clone();
    changed.data.as_mut().unwrap().insert("b".into(), "2".into());
    let newer = api.replace("one", &PostParams::default(), &changed).await.unwrap();
    assert!(newer.metadata.resource_version > made.metadata.resource_version);
    let stale = api.replace("one", &PostParams::default(), &changed).await.unwrap_err();
    assert_eq!(status(stale), (409, "Conflict".to_owned()));
    let wrong = DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some("other".into()),
            resource_version: None,
        }),
        ..Default::default()
    };
    assert_eq!(
        status(api.delete("one", &wrong).await.unwrap_err()),
        (409, "Conflict".to_owned())
    );
    api.delete("one", &DeleteParams::default()).await.unwrap();
    assert_eq!(status(api.get("one").await.unwrap_err()), (404, "NotFound".to_owned()));
    let elsewhere: Api<ConfigMap> = Api::namespaced(client(fixture.server.kubeconfig()).await, "nowhere");
    let refused = elsewhere
        .create(&PostParams::default(), &map("one", &[]))
        .await
        .unwrap_err();
    assert_eq!(status(refused), (404, "NotFound".to_owned()));
    assert_eq!(
        status(
            api.create(&PostParams::default(), &map("No_Name", &[]))
                .await
                .unwrap_err()
        )
        .0,
        422
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_patch() {
    let fixture = Fixture::start().await;
    let api = maps(&fixture).await;
    let apply = PatchParams::apply("jm");
    let wanted = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "data": {"a": "1"}});
    api.patch("one", &apply, &Patch::Apply(&wanted)).await.unwrap();
    let merge = json!({"data": {"a": null, "b": "2"}});
    let merged = api
        .patch("one", &PatchParams::default(), &Patch::Merge(&merge))
        .await
        .unwrap();
    assert_eq!(merged.data.unwrap(), BTreeMap::from([("b".to_owned(), "2".to_owned())]));
    let operations: json_patch::Patch = serde_json::from_value(json!([
        {"op": "test", "path": "/data/b", "value": "2"}, {"op": "replace", "path": "/data/b", "value": "3"}]))
    .unwrap();
    api.patch("one", &PatchParams::default(), &Patch::Json::<()>(operations.clone()))
        .await
        .unwrap();
    let failed = api
        .patch("one", &PatchParams::default(), &Patch::Json::<()>(operations))
        .await
        .unwrap_err();
    assert_eq!(status(failed).0, 422);
    let stale = json!({"metadata": {"resourceVersion": "1"}, "data": {"c": "1"}});
    let refused = api
        .patch("one", &PatchParams::default(), &Patch::Merge(&stale))
        .await
        .unwrap_err();
    assert_eq!(status(refused), (409, "Conflict".to_owned()));
    let dry = PatchParams {
        dry_run: true,
        ..PatchParams::default()
    };
    let tried = api
        .patch("one", &dry, &Patch::Merge(json!({"data": {"b": "9"}})))
        .await
        .unwrap();
    assert_eq!(tried.data.unwrap()["b"], "9");
    assert_eq!(api.get("one").await.unwrap().data.unwrap()["b"], "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_in_pages_and_by_selectors() {
    let fixture = Fixture::start().await;
    let api = maps(&fixture).await;
    for number in 0..7 {
        let mut one = map(&format!("m{number}"), &[]);
        one.metadata.labels = Some(BTreeMap::from([("even".to_owned(), (number % 2 == 0).to_string())]));
        api.create(&PostParams::default(), &one).await.unwrap();
    }
    let even = ListParams::default().labels("even=true").limit(3);
    let page = api.list(&even).await.unwrap();
    assert_eq!((page.items.len(), page.metadata.remaining_item_count), (3, Some(1)));
    let rest = api
        .list(&even.clone().continue_token(&page.metadata.continue_.unwrap()))
        .await
        .unwrap();
    assert_eq!(rest.items[0].metadata.name.as_deref(), Some("m6"));
    let named = api
        .list(&ListParams::default().fields("metadata.name=m3"))
        .await
        .unwrap();
    assert_eq!(named.items.len(), 1);
    let unknown = api.list(&ListParams::default().fields("data.a=1")).await.unwrap_err();
    assert_eq!(status(unknown).0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_sees_what_happens() {
    let fixture = Fixture::start().await;
    let api = maps(&fixture).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn scaling_by_the_subresource_and_deleting_in_three_ways() {
    let fixture = Fixture::start().await;
    let client = client(fixture.server.kubeconfig()).await;
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "default");
    let sets: Api<ReplicaSet> = Api::namespaced(client.clone(), "default");
    let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
    let object: Deployment = serde_saphyr::from_str(&deployment("web", "web:1", 3)).unwrap();
    deployments.create(&PostParams::default(), &object).await.unwrap();
    until("three pods are available", async || available(&deployments).await == 3).await;
    let scale: Scale = deployments.get_scale("web").await.unwrap();
    assert_eq!(scale.status.unwrap().selector.as_deref(), Some("app=web"));
    deployments
        .patch_scale(
            "web",
            &PatchParams::default(),
            &Patch::Merge(json!({"spec": {"replicas": 1}})),
        )
        .await
        .unwrap();
    until("one pod is left", async || {
        pods.list(&ListParams::default()).await.unwrap().items.len() == 1
    })
    .await;

    deployments.delete("web", &DeleteParams::orphan()).await.unwrap();
    until("the deployment is gone", async || {
        deployments.get_opt("web").await.unwrap().is_none()
    })
    .await;
    let left = sets.list(&ListParams::default()).await.unwrap();
    assert_eq!(left.items.len(), 1);
    assert_eq!(left.items[0].metadata.owner_references, None);
    let name = left.items[0].metadata.name.clone().unwrap();
    sets.delete(&name, &DeleteParams::foreground()).await.unwrap();
    until("set and pod are gone", async || {
        sets.get_opt(&name).await.unwrap().is_none()
            && pods.list(&ListParams::default()).await.unwrap().items.is_empty()
    })
    .await;
}

async fn available(deployments: &Api<Deployment>) -> i32 {
    deployments
        .get("web")
        .await
        .unwrap()
        .status
        .unwrap_or_default()
        .available_replicas
        .unwrap_or_default()
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..200 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never: {what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn discovery_and_a_collection_deleted_at_once() {
    let fixture = Fixture::start().await;
    let client = client(fixture.server.kubeconfig()).await;
    let discovery = kube::discovery::Discovery::new(client.clone()).run().await.unwrap();
    assert!(discovery.groups().any(|group| group.name() == "apps"));
    let apps = kube::discovery::group(&client, "apps").await.unwrap();
    assert!(apps.recommended_kind("Deployment").is_some());
    assert!(!client.apiserver_version().await.unwrap().git_version.is_empty());
    let api = maps(&fixture).await;
    api.create(&PostParams::default(), &map("one", &[])).await.unwrap();
    api.delete_collection(
        &DeleteParams::default(),
        &ListParams::default().fields("metadata.name=one"),
    )
    .await
    .unwrap();
    assert!(api.get_opt("one").await.unwrap().is_none());
    let namespaces: Api<Namespace> = Api::all(client);
    assert!(namespaces.get("kube-system").await.unwrap().metadata.uid.is_some());
}
