//! Deletion: of owners, with finalizers, of namespaces.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;

use super::*;

pub(super) async fn in_three_ways(client: kube::Client, namespace: &str) {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let sets: Api<ReplicaSet> = Api::namespaced(client.clone(), namespace);
    let pods: Api<Pod> = Api::namespaced(client, namespace);
    let every = ListParams::default();
    let object: Deployment = serde_saphyr::from_str(&deployment("web", "web:1", 2)).unwrap();
    deployments.create(&PostParams::default(), &object).await.unwrap();
    until("the pods are there", async || {
        pods.list(&every).await.unwrap().items.len() == 2
    })
    .await;

    deployments.delete("web", &DeleteParams::orphan()).await.unwrap();
    until("the deployment is gone", async || {
        deployments.get_opt("web").await.unwrap().is_none()
    })
    .await;
    let left = sets.list(&every).await.unwrap();
    assert_eq!((left.items.len(), &left.items[0].metadata.owner_references), (1, &None));
    assert_eq!(pods.list(&every).await.unwrap().items.len(), 2);

    let name = left.items[0].metadata.name.clone().unwrap();
    sets.delete(&name, &DeleteParams::foreground()).await.unwrap();
    until("set and pods are gone", async || {
        let gone = sets.get_opt(&name).await.unwrap().is_none();
        let empty = pods.list(&every).await.unwrap().items.is_empty();
        assert!(empty || !gone, "the pods go first");
        gone
    })
    .await;

    deployments.create(&PostParams::default(), &object).await.unwrap();
    until("the pods are there again", async || {
        pods.list(&every).await.unwrap().items.len() == 2
    })
    .await;
    deployments.delete("web", &DeleteParams::background()).await.unwrap();
    assert!(deployments.get_opt("web").await.unwrap().is_none());
    until("the rest follows", async || {
        sets.list(&every).await.unwrap().items.is_empty() && pods.list(&every).await.unwrap().items.is_empty()
    })
    .await;
}

pub(super) async fn a_finalizer_is_waited_for(client: kube::Client, namespace: &str) {
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    let object = serde_json::from_value(json!({"metadata": {"name": "one", "finalizers": ["jm.test/hold"]}})).unwrap();
    api.create(&PostParams::default(), &object).await.unwrap();
    api.delete("one", &DeleteParams::default()).await.unwrap();
    let held = api.get("one").await.unwrap();
    assert!(held.metadata.deletion_timestamp.is_some());
    api.patch(
        "one",
        &PatchParams::default(),
        &Patch::Merge(json!({"data": {"still": "writable"}})),
    )
    .await
    .unwrap();
    api.patch(
        "one",
        &PatchParams::default(),
        &Patch::Merge(json!({"metadata": {"finalizers": null}})),
    )
    .await
    .unwrap();
    assert!(api.get_opt("one").await.unwrap().is_none());
}

pub(super) async fn a_namespace_goes_with_what_is_in_it(client: kube::Client, namespace: &str) {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let held = serde_json::from_value(json!({"metadata": {"name": "one", "finalizers": ["jm.test/hold"]}})).unwrap();
    maps.create(&PostParams::default(), &held).await.unwrap();
    let namespaces: Api<Namespace> = Api::all(client);
    namespaces.delete(namespace, &DeleteParams::default()).await.unwrap();
    let status = namespaces.get(namespace).await.unwrap().status.unwrap();
    assert_eq!(status.phase.as_deref(), Some("Terminating"));
    let other: ConfigMap = serde_json::from_value(json!({"metadata": {"name": "two"}})).unwrap();
    let status = refused(maps.create(&PostParams::default(), &other).await);
    assert_eq!((status.code, status.reason.as_str()), (403, "Forbidden"));
    assert_eq!(status.details.unwrap().causes[0].reason, "NamespaceTerminating");
    maps.patch(
        "one",
        &PatchParams::default(),
        &Patch::Merge(json!({"metadata": {"finalizers": null}})),
    )
    .await
    .unwrap();
    until("the namespace is gone", async || {
        namespaces.get_opt(namespace).await.unwrap().is_none()
    })
    .await;
}
