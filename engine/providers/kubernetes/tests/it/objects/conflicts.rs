//! Fields that others keep, and those that jm's own steps have set.

use jm_provider_kubernetes::{Apply, Scale};
use jm_step::StepErrorKind;
use serde_json::json;

use super::Scene;
use crate::server::Server;

pub(crate) async fn a_conflict_names_field_and_manager(server: &Server) {
    let scene = Scene::new(server).await;
    let config = |value: &str| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "c", "namespace": scene.namespace() }, "data": { "k": value } });
    scene.put(&config("theirs")).await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("c.yaml");
    std::fs::write(&path, config("ours").to_string()).expect("written");
    let bench = scene.bench().await;
    let error = bench
        .preview(&Apply, json!({ "paths": [path] }))
        .await
        .expect_err("a conflict");
    assert_eq!(error.kind(), StepErrorKind::Conflict);
    let error = bench.run(&Apply, json!({ "paths": [path] })).await.error();
    assert!(error.message().contains("`.data.k` is kept by `somebody`"), "{error}");
    assert_eq!(scene.get(&config("")).await.expect("there")["data"]["k"], "theirs");
    bench
        .run(&Apply, json!({ "paths": [path], "on_conflict": "force" }))
        .await
        .output();
    assert_eq!(scene.get(&config("")).await.expect("there")["data"]["k"], "ours");
}

pub(crate) async fn what_a_step_of_jm_has_set_is_not_in_the_way_of_an_apply(server: &Server) {
    let scene = Scene::new(server).await;
    let containers = json!([{ "name": "main", "image": "registry.example/web:1" }]);
    let mut web = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
        "spec": { "replicas": 1, "selector": { "matchLabels": { "app": "web" } }, "template": {
            "metadata": { "labels": { "app": "web" } }, "spec": { "containers": containers } } } });
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("web.json");
    std::fs::write(&path, web.to_string()).expect("written");
    let bench = scene.bench().await;
    let apply = json!({ "paths": [path], "wait": false });
    bench.run(&Apply, apply.clone()).await.output();
    let scale = json!({ "workload": "deployment/web", "replicas": 2 });
    bench.run(&Scale, scale).await.output();
    web["spec"]["replicas"] = 3.into();
    std::fs::write(&path, web.to_string()).expect("written");
    let foretold = bench.preview(&Apply, apply.clone()).await.expect("a preview");
    let ran = bench.run(&Apply, apply).await;
    assert_eq!(foretold.changes, ran.changes);
    assert_eq!(ran.output()["counts"]["updated"], 1);
    assert_eq!(scene.place.count("web").await.0, 3);
}
