//! What cannot be changed, and is deleted and made anew, or not.

use jm_provider_kubernetes::Apply;
use jm_step::StepErrorKind;
use serde_json::json;

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
    assert!(
        jm_step::AnyStepType::check(
            &Apply,
            &json!({ "paths": ["x"], "recreate": ["PersistentVolumeClaim"] })
        )
        .is_err()
    );
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
