//! What cannot be changed, and is deleted and made anew, or not.

use std::time::Duration;

use jm_provider_kubernetes::{Apply, Restore};
use jm_step::{AnyStepType, StepErrorKind};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::Scene;
use crate::server::Server;

pub(crate) async fn what_cannot_be_changed_is_made_anew_only_where_that_is_allowed(server: &Server) {
    let scene = Scene::new(server).await;
    let config = |value: &str| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "c", "namespace": scene.namespace() }, "data": { "k": value }, "immutable": true });
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("c.yaml");
    let write = |value: &str| std::fs::write(&path, config(value).to_string()).expect("written");
    let bench = scene.bench().await;
    write("one");
    bench.run(&Apply, json!({ "paths": [path] })).await.output();
    write("two");
    let error = bench.run(&Apply, json!({ "paths": [path] })).await.error();
    assert_eq!(error.kind(), StepErrorKind::Conflict, "{error}");
    let input = json!({ "paths": [path], "recreate": ["ConfigMap"] });
    let preview = bench.preview(&Apply, input.clone()).await.expect("a preview");
    let ran = bench.run(&Apply, input).await;
    assert_eq!(preview.changes, ran.changes);
    assert_eq!(ran.output()["counts"]["recreated"], 1);
    assert_eq!(scene.get(&config("")).await.expect("there")["data"]["k"], "two");
}

/// Each kind has its own words for what cannot be changed.
pub(crate) async fn what_cannot_be_changed_is_known_of_each_kind(server: &Server) {
    let scene = Scene::new(server).await;
    let job = |image: &str| {
        let mut job = scene.object("batch/v1", "Job", "j");
        job["spec"] = json!({ "suspend": true, "template": { "spec": {
            "restartPolicy": "Never", "containers": [{ "name": "main", "image": image }] } } });
        job
    };
    let service = |address: Option<&str>| {
        let mut service = scene.object("v1", "Service", "s");
        service["spec"] = json!({ "selector": { "app": "s" }, "ports": [{ "port": 80 }] });
        if let Some(address) = address {
            service["spec"]["clusterIP"] = address.into();
        }
        service
    };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.json");
    let bench = scene.bench().await;
    for (before, after) in [
        (job("registry.example/a:1"), job("registry.example/b:1")),
        (service(None), service(Some("None"))),
    ] {
        let write = |object: &Value| std::fs::write(&path, object.to_string()).expect("written");
        let uid = async || scene.get(&before).await.expect("there")["metadata"]["uid"].clone();
        let kind = before["kind"].as_str().expect("a kind");
        write(&before);
        bench.run(&Apply, json!({ "paths": [path] })).await.output();
        let first = uid().await;
        write(&after);
        let error = bench.run(&Apply, json!({ "paths": [path] })).await.error();
        assert_eq!(error.kind(), StepErrorKind::Conflict, "{kind}: {error}");
        assert!(error.message().contains("cannot be changed"), "{error}");
        assert_eq!(uid().await, first, "{kind}");
        let input = json!({ "paths": [path], "recreate": [kind] });
        let ran = bench.run(&Apply, input).await;
        assert_eq!(ran.output()["counts"]["recreated"], 1, "{kind}");
        assert_ne!(uid().await, first, "{kind}");
    }
}

/// By no step: what they hold would be lost.
#[test]
fn what_holds_others_or_data_is_never_made_anew() {
    let named = |kind: &str| json!({ "recreate": [kind] });
    for kind in [
        "PersistentVolumeClaim",
        "PersistentVolume",
        "Namespace",
        "CustomResourceDefinition",
    ] {
        let mut apply = named(kind);
        apply["paths"] = json!(["x"]);
        assert!(AnyStepType::check(&Apply, &apply).is_err(), "{kind}");
        assert!(AnyStepType::check(&Restore, &named(kind)).is_err(), "{kind}");
    }
    assert!(AnyStepType::check(&Restore, &named("Job")).is_ok());
}

fn deployment(selected: &str, pull: &str) -> Value {
    json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" }, "spec": {
        "selector": { "matchLabels": { "app": selected } },
        "template": { "metadata": { "labels": { "app": selected } }, "spec": { "containers": [
            { "name": "main", "image": "registry.example/web:1", "imagePullPolicy": pull }] } } } })
}

/// The one that is there serves still, whatever is wrong with what was to come in its place.
pub(crate) async fn nothing_is_deleted_for_what_would_not_be_taken(server: &Server) {
    let scene = Scene::new(server).await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("web.json");
    let write = |object: &Value| std::fs::write(&path, object.to_string()).expect("written");
    let bench = scene.bench().await;
    let input = json!({ "paths": [path], "recreate": ["Deployment"], "wait": false });
    write(&deployment("one", "Always"));
    bench.run(&Apply, input.clone()).await.output();
    let there = scene.object("apps/v1", "Deployment", "web");
    let uid = async || scene.get(&there).await.expect("there")["metadata"]["uid"].clone();
    let first = uid().await;

    // One answer names both what cannot be changed and what is wrong anyway.
    write(&deployment("two", "Sometimes"));
    let foretold = bench.preview(&Apply, input.clone()).await.expect_err("refused");
    let error = bench.run(&Apply, input.clone()).await.error();
    for error in [foretold, error] {
        assert!(error.message().contains("imagePullPolicy"), "{error}");
        assert!(
            error
                .hint_text()
                .is_some_and(|hint| hint.contains("nothing of it was deleted")),
            "{error:?}"
        );
    }
    assert_eq!(uid().await, first);

    // An autoscaler has scaled what is made anew.
    scene.place.autoscale("web", 1, 9).await;
    scene.place.patch("web", json!({ "spec": { "replicas": 4 } })).await;
    write(&deployment("two", "Always"));
    let ran = bench.run(&Apply, input).await;
    assert_eq!(ran.output()["counts"]["recreated"], 1);
    assert_ne!(uid().await, first);
    assert_eq!(scene.place.count("web").await.0, 4);
}

/// Cut off once the old one is deleted, it makes the new one with the count that nobody else knows any more.
pub(crate) async fn a_count_outlives_the_attempt_that_deletes_what_has_it(server: &Server) {
    let scene = Scene::new(server).await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("web.json");
    let write = |object: &Value| std::fs::write(&path, object.to_string()).expect("written");
    let input = json!({ "paths": [path], "recreate": ["Deployment"], "wait": false });
    write(&deployment("one", "Always"));
    scene.bench().await.run(&Apply, input.clone()).await.output();
    scene.place.patch("web", json!({ "spec": { "replicas": 7 } })).await;
    write(&deployment("two", "Always"));
    let cut = scene.bench().await.run_until(&Apply, input.clone(), 1).await;
    assert!(cut.result.is_none(), "it is kept before the old one is deleted");
    scene.delete(&scene.object("apps/v1", "Deployment", "web")).await;
    let saved = cut.outputs.last().expect("it was saved").clone();
    let bench = scene.bench().await.saved_output(saved);
    assert_eq!(bench.run(&Apply, input).await.output()["counts"]["created"], 1);
    assert_eq!(scene.place.count("web").await.0, 7);
}

/// Told to stop while the old one goes away, it makes the new one all the same.
pub(crate) async fn a_stop_leaves_nothing_deleted(server: &Server) {
    let scene = Scene::new(server).await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("c.json");
    let mut config = scene.object("v1", "ConfigMap", "c");
    config["immutable"] = true.into();
    config["data"] = json!({ "k": "one" });
    config["metadata"]["finalizers"] = json!(["example.com/hold"]);
    scene.put(&config).await;
    config["metadata"].as_object_mut().expect("a map").remove("finalizers");
    config["data"] = json!({ "k": "two" });
    std::fs::write(&path, config.to_string()).expect("written");
    let bench = scene.bench().await;
    let input = json!({ "paths": [path], "recreate": ["ConfigMap"], "on_conflict": "force" });
    let stopping = async {
        let is_going = async || {
            let found = scene.get(&config).await.expect("there");
            found["metadata"]["deletionTimestamp"].is_string()
        };
        while !is_going().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bench.cancellation().cancel();
        tokio::time::sleep(Duration::from_millis(500)).await;
        let (api, nobody) = (scene.api(&config), json!({ "metadata": { "finalizers": null } }));
        api.patch("c", &PatchParams::default(), &Patch::Merge(&nobody))
            .await
            .expect("released");
    };
    let (ran, ()) = tokio::join!(bench.run(&Apply, input), stopping);
    assert!(ran.result.is_some(), "it came to an end");
    assert_eq!(scene.get(&config).await.expect("made anew")["data"]["k"], "two");
}

/// The cluster would delete the claims with it, and the data in their volumes.
pub(crate) async fn what_takes_its_claims_along_is_neither_made_anew_nor_pruned(server: &Server) {
    let scene = Scene::new(server).await;
    let set = |service: &str| {
        json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": { "name": "s", "namespace": scene.namespace() },
            "spec": {
                "replicas": 0, "serviceName": service, "selector": { "matchLabels": { "app": "s" } },
                "persistentVolumeClaimRetentionPolicy": { "whenDeleted": "Delete", "whenScaled": "Retain" },
                "template": {
                    "metadata": { "labels": { "app": "s" } },
                    "spec": { "containers": [{ "name": "c", "image": "example.com/c@sha256:1111111111111111111111111111111111111111111111111111111111111111" }] },
                },
            },
        })
    };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("s.yaml");
    let write = |service: &str| std::fs::write(&path, set(service).to_string()).expect("written");
    let bench = scene.bench().await;
    let input = json!({ "paths": [folder.path()], "recreate": ["StatefulSet"], "applyset": "sets", "prune": true });
    write("one");
    bench.run(&Apply, input.clone()).await.output();
    let uid = scene.get(&set("one")).await.expect("there")["metadata"]["uid"].clone();
    write("two");
    let mut errors = vec![
        bench
            .preview(&Apply, input.clone())
            .await
            .expect_err("would be refused"),
        bench.run(&Apply, input.clone()).await.error(),
    ];
    let other =
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "c", "namespace": scene.namespace() } });
    std::fs::write(&path, other.to_string()).expect("written");
    errors.push(bench.run(&Apply, input).await.error());
    for error in errors {
        assert_eq!(error.kind(), StepErrorKind::Conflict, "{error}");
        assert!(format!("{:?}", error.summary()).contains("whenDeleted"), "{error}");
    }
    assert_eq!(
        scene.get(&set("one")).await.expect("still there")["metadata"]["uid"],
        uid
    );
}
