//! CustomResourceDefinitions, and what they bring.

use futures::StreamExt;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, WatchParams,
};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};

use super::*;

const GROUP: &str = "conformance.jm.test";

/// A definition with two versions and a status of its own.
fn definition(kind: &str) -> CustomResourceDefinition {
    let plural = plural(kind);
    let version = |name: &str, storage: bool| {
        json!({
            "name": name, "served": true, "storage": storage, "subresources": {"status": {}},
            "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
        })
    };
    serde_json::from_value(json!({
        "metadata": {"name": format!("{plural}.{GROUP}")},
        "spec": {
            "group": GROUP, "scope": "Namespaced", "names": {"plural": plural, "kind": kind, "shortNames": [kind.to_lowercase()]},
            "versions": [version("v1beta1", false), version("v1", true)],
        },
    }))
    .unwrap()
}

fn plural(kind: &str) -> String {
    format!("{}s", kind.to_lowercase())
}

fn resource(kind: &str, version: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, version, kind), &plural(kind))
}

fn object(kind: &str, name: &str, spec: Value) -> DynamicObject {
    let object = json!({"apiVersion": format!("{GROUP}/v1"), "kind": kind, "metadata": {"name": name}, "spec": spec});
    serde_json::from_value(object).unwrap()
}

/// Makes a definition, and waits until objects of it are taken.
async fn defined(client: &kube::Client, namespace: &str, kind: &str) -> Api<DynamicObject> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let made = definitions
        .create(&PostParams::default(), &definition(kind))
        .await
        .unwrap();
    let name = made.metadata.name.unwrap();
    until("the definition is established", async || {
        let status = definitions.get(&name).await.unwrap().status.unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        conditions
            .iter()
            .any(|one| one.type_ == "Established" && one.status == "True")
    })
    .await;
    let status = definitions.get(&name).await.unwrap().status.unwrap();
    assert_eq!(status.stored_versions, Some(vec!["v1".to_owned()]));
    assert_eq!(status.accepted_names.unwrap().list_kind, Some(format!("{kind}List")));
    let api = Api::namespaced_with(client.clone(), namespace, &resource(kind, "v1"));
    until("its kind is served", async || {
        api.list(&ListParams::default()).await.is_ok()
    })
    .await;
    api
}

pub(super) async fn a_definition_brings_its_kind(client: kube::Client, namespace: &str) {
    let api = defined(&client, namespace, "Widget").await;
    until("its kind can be found out", async || {
        let group = kube::discovery::group(&client, GROUP).await;
        group.is_ok_and(|group| {
            let found = group.recommended_kind("Widget");
            found.is_some_and(|(found, _)| (found.version.as_str(), found.plural.as_str()) == ("v1", "widgets"))
        })
    })
    .await;

    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let one = object("Widget", "one", json!({"size": 1, "empty": {}, "list": [1, 2]}));
    api.create(&dry, &one).await.unwrap();
    assert!(api.get_opt("one").await.unwrap().is_none());
    let made = api.create(&PostParams::default(), &one).await.unwrap();
    assert_eq!(made.data["spec"], one.data["spec"]);
    assert_eq!(made.metadata.generation, Some(1));
    let from = made.metadata.resource_version.unwrap();
    let mut events = api.watch(&WatchParams::default(), &from).await.unwrap().boxed();

    let status = Patch::Merge(json!({"status": {"ready": true}, "spec": {"size": 7}}));
    let reported = api.patch_status("one", &PatchParams::default(), &status).await.unwrap();
    assert_eq!(
        (&reported.data["status"]["ready"], &reported.data["spec"]["size"]),
        (&json!(true), &json!(1))
    );
    assert_eq!(reported.metadata.generation, Some(1));
    let merge = Patch::Merge(json!({"spec": {"size": 2}, "status": {"ready": false}}));
    let merged = api.patch("one", &PatchParams::default(), &merge).await.unwrap();
    assert_eq!(
        (&merged.data["status"]["ready"], merged.metadata.generation),
        (&json!(true), Some(2))
    );
    let strategic = Patch::Strategic(json!({"spec": {"size": 3}}));
    assert_eq!(
        refusal(api.patch("one", &PatchParams::default(), &strategic).await).0,
        415
    );
    let seen = tokio::time::timeout(Duration::from_secs(10), events.next())
        .await
        .unwrap()
        .unwrap();
    assert!(matches!(seen.unwrap(), kube::api::WatchEvent::Modified(_)));

    applied(&api).await;
    api.delete("one", &DeleteParams::default()).await.unwrap();
    assert!(api.get_opt("one").await.unwrap().is_none());
    forget(&client, "Widget").await;
}

/// Server-side apply of what a definition brought: holders, conflicts, lists as one value.
async fn applied(api: &Api<DynamicObject>) {
    let two = object("Widget", "two", json!({"size": 1, "containers": [{"name": "a"}]}));
    api.patch("two", &PatchParams::apply("one"), &Patch::Apply(&two))
        .await
        .unwrap();
    let other = object("Widget", "two", json!({"size": 2, "containers": [{"name": "b"}]}));
    let status = refused(
        api.patch("two", &PatchParams::apply("two"), &Patch::Apply(&other))
            .await,
    );
    assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));
    let mut fields: Vec<_> = status
        .details
        .unwrap()
        .causes
        .into_iter()
        .map(|cause| cause.field)
        .collect();
    fields.sort();
    assert_eq!(fields, [".spec.containers", ".spec.size"]);
    assert!(
        status.message.contains("conflict") && status.message.contains("\"one\""),
        "{}",
        status.message
    );
    let forced = PatchParams::apply("two").force();
    let object = api.patch("two", &forced, &Patch::Apply(&other)).await.unwrap();
    assert_eq!(object.data["spec"], other.data["spec"]);
}

pub(super) async fn a_definition_goes_with_what_it_brought(client: kube::Client, namespace: &str) {
    let api = defined(&client, namespace, "Gadget").await;
    let held: DynamicObject = {
        let mut held = object("Gadget", "held", json!({}));
        held.metadata.finalizers = Some(vec!["jm.test/hold".to_owned()]);
        held
    };
    api.create(&PostParams::default(), &held).await.unwrap();
    api.create(&PostParams::default(), &object("Gadget", "free", json!({})))
        .await
        .unwrap();
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let name = format!("gadgets.{GROUP}");
    definitions.delete(&name, &DeleteParams::default()).await.unwrap();
    until("what can go is gone", async || {
        api.get_opt("free").await.unwrap().is_none()
    })
    .await;
    let ending = definitions.get(&name).await.unwrap();
    assert!(ending.metadata.deletion_timestamp.is_some());
    assert_eq!(
        ending.metadata.finalizers.unwrap(),
        ["customresourcecleanup.apiextensions.k8s.io"]
    );
    let more = api
        .create(&PostParams::default(), &object("Gadget", "more", json!({})))
        .await;
    assert_eq!(refusal(more).0, 403);
    let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    api.patch("held", &PatchParams::default(), &release).await.unwrap();
    until("the definition is gone", async || {
        definitions.get_opt(&name).await.unwrap().is_none()
    })
    .await;
    until(
        "its kind is no longer served",
        async || matches!(api.list(&ListParams::default()).await, Err(kube::Error::Api(status)) if status.code == 404),
    )
    .await;
}

pub(super) async fn versions_show_the_same_object(client: kube::Client, namespace: &str) {
    let api = defined(&client, namespace, "Gizmo").await;
    api.create(&PostParams::default(), &object("Gizmo", "one", json!({"size": 1})))
        .await
        .unwrap();
    let older: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource("Gizmo", "v1beta1"));
    until("the older version is served", async || {
        older.list(&ListParams::default()).await.is_ok()
    })
    .await;
    let shown = older.get("one").await.unwrap();
    assert_eq!(shown.types.unwrap().api_version, format!("{GROUP}/v1beta1"));
    let size = Patch::Merge(json!({"spec": {"size": 2}}));
    older.patch("one", &PatchParams::default(), &size).await.unwrap();
    let now = api.get("one").await.unwrap();
    assert_eq!(
        (now.types.unwrap().api_version, &now.data["spec"]["size"]),
        (format!("{GROUP}/v1"), &json!(2))
    );
    forget(&client, "Gizmo").await;
}

async fn forget(client: &kube::Client, kind: &str) {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let name = format!("{}.{GROUP}", plural(kind));
    definitions.delete(&name, &DeleteParams::default()).await.unwrap();
    until("the definition is gone", async || {
        definitions.get_opt(&name).await.unwrap().is_none()
    })
    .await;
}
