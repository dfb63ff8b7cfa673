//! Restores of some waves alone, and manifests that a kustomization makes.

use std::time::Duration;

use jm_provider_kubernetes::{Apply, Restore};
use jm_step::StepErrorKind;
use serde_json::{Value, json};

use super::Scene;
use crate::server::Server;

fn object(scene: &Scene<'_>, version: &str, kind: &str, rest: &Value) -> Value {
    let mut object =
        json!({ "apiVersion": version, "kind": kind, "metadata": { "name": "x", "namespace": scene.namespace() } });
    for (field, value) in rest.as_object().into_iter().flatten() {
        object[field.as_str()] = value.clone();
    }
    object
}

/// As the plan that rebuilds a cluster does it: nothing of a later wave is there before its step.
pub(crate) async fn waves_come_back_one_after_the_other(server: &Server) {
    let scene = Scene::new(server).await;
    let labels = json!({ "app": "x" });
    let pods = json!({ "metadata": { "labels": labels },
        "spec": { "containers": [{ "name": "main", "image": "registry.example/x:1" }], "serviceAccountName": "x" } });
    let of = |version: &str, kind: &str, rest: Value| object(&scene, version, kind, &rest);
    let budget = json!({ "spec": { "minAvailable": 1, "selector": { "matchLabels": labels } } });
    let all = [
        (
            "limits",
            of("v1", "ResourceQuota", json!({ "spec": { "hard": { "pods": "9" } } })),
        ),
        ("accounts", of("v1", "ServiceAccount", json!({}))),
        (
            "access",
            of("rbac.authorization.k8s.io/v1", "Role", json!({ "rules": [] })),
        ),
        ("configuration", of("v1", "ConfigMap", json!({ "data": { "k": "v" } }))),
        (
            "services",
            of(
                "v1",
                "Service",
                json!({ "spec": { "ports": [{ "port": 80 }], "selector": labels } }),
            ),
        ),
        (
            "workloads",
            of(
                "apps/v1",
                "Deployment",
                json!({ "spec": { "replicas": 1, "selector": { "matchLabels": labels }, "template": pods } }),
            ),
        ),
        ("scaling", of("policy/v1", "PodDisruptionBudget", budget)),
    ];
    for (_, object) in &all {
        scene.put(object).await;
    }
    let exported = scene.export(json!({ "cluster_scope": "none" })).await;
    scene
        .wipe(&all.iter().map(|(_, object)| object.clone()).collect::<Vec<_>>())
        .await;
    let restore = async |waves: &[&str]| {
        let input = json!({ "export": exported["name"], "waves": waves, "images": "written" });
        let bench = scene.bench().await;
        let preview = bench.preview(&Restore, input.clone()).await.expect("a preview");
        let ran = bench.run(&Restore, input).await;
        assert_eq!(
            preview.changes, ran.changes,
            "{waves:?}: what was said is what was done"
        );
        ran.output()
    };
    restore(&["namespaces"]).await;
    // It comes by itself with the namespace, and is in the export, too.
    let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "default", "namespace": scene.namespace() } });
    while scene.get(&account).await.is_none() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for (index, (wave, _)) in all.iter().enumerate() {
        let counts = restore(&[wave]).await["counts"].clone();
        assert_eq!(counts["created"], 1, "{wave}: {counts}");
        for (after, (_, object)) in all.iter().enumerate() {
            assert_eq!(
                scene.get(object).await.is_some(),
                after <= index,
                "after {wave}: {object}"
            );
        }
    }
    let objects: Vec<Value> = all.iter().map(|(_, object)| object.clone()).collect();
    let versions = scene.versions(&objects).await;
    let again = scene.bench().await;
    let input = json!({ "export": exported["name"], "images": "written" });
    assert_eq!(
        again.run(&Restore, input).await.changes,
        [],
        "nothing is left to restore"
    );
    assert_eq!(scene.versions(&objects).await, versions, "nothing was written");

    // A wave of which nothing is there is an error, unless it is said that it may be so.
    let input = |allow: bool| json!({ "export": exported["name"], "waves": ["webhooks"], "allow_empty": allow });
    let error = scene.bench().await.run(&Restore, input(false)).await.error();
    assert_eq!(error.kind(), StepErrorKind::NotFound, "{error}");
    let none = scene.bench().await.run(&Restore, input(true)).await.output();
    assert_eq!(none["counts"]["created"], 0);
}

pub(crate) async fn a_kustomization_is_built_and_applied(server: &Server) {
    let scene = Scene::new(server).await;
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, text).expect("written");
    };
    write("base/kustomization.yaml", "resources: [service.yaml]\n");
    write(
        "base/service.yaml",
        "apiVersion: v1\nkind: Service\nmetadata: { name: web }\nspec: { ports: [{ port: 80 }], selector: { app: web } }\n",
    );
    write(
        "production/kustomization.yaml",
        "resources: [../base]\nnamePrefix: live-\nlabels: [{ pairs: { tier: live } }]\n\
         configMapGenerator:\n- name: settings\n  literals: [level=high]\n  options: { disableNameSuffixHash: true }\n",
    );
    let kubectl = Server::kubectl_path();
    let path = kubectl.parent().expect("a folder").display().to_string();
    let bench = scene.bench().await.environment([("PATH", path.as_str())]);
    let input = json!({ "kustomization": folder.path().join("production") });
    let preview = bench.preview(&Apply, input.clone()).await.expect("a preview");
    let ran = bench.run(&Apply, input.clone()).await;
    assert_eq!(preview.changes, ran.changes, "what was said is what was done");
    assert_eq!(ran.output()["counts"]["created"], 2);
    let named = |kind: &str, name: &str| json!({ "apiVersion": "v1", "kind": kind, "metadata": { "name": name, "namespace": scene.namespace() } });
    let service = scene.get(&named("Service", "live-web")).await.expect("a service");
    assert_eq!(service["metadata"]["labels"]["tier"], "live");
    let settings = scene.get(&named("ConfigMap", "live-settings")).await.expect("settings");
    assert_eq!(settings["data"]["level"], "high");
    assert_eq!(
        bench.run(&Apply, input.clone()).await.changes,
        [],
        "it is as it was to be"
    );

    // Named among the paths it is built, too: what it is made of are no objects.
    let paths =
        |paths: &[&str]| json!({ "paths": paths.iter().map(|path| folder.path().join(path)).collect::<Vec<_>>() });
    write("production/patch.yaml", "- op: remove\n  path: /metadata/labels\n");
    let by_path = bench.run(&Apply, paths(&["production"])).await;
    assert_eq!(by_path.changes, [], "it is what was built before");
    assert_eq!(by_path.output()["counts"]["unchanged"], 2);
    let error = bench
        .run(&Apply, paths(&["production/kustomization.yaml"]))
        .await
        .error();
    assert!(
        error.hint_text().is_some_and(|hint| hint.contains("its folder")),
        "{error}"
    );
    // Of a folder with several, one is meant.
    let mut all = paths(&["."]);
    all["recursive"] = true.into();
    let error = bench.run(&Apply, all).await.error();
    assert!(error.message().contains("base` is a kustomization"), "{error}");

    write("production/kustomization.yaml", "resources: [../nowhere]\n");
    let error = bench.run(&Apply, input.clone()).await.error();
    assert_eq!(error.kind(), StepErrorKind::InvalidInput, "{error}");
    assert!(error.message().contains("nowhere"), "{error}");
    let nobody = scene.bench().await.environment([("PATH", "/nowhere")]);
    let error = nobody.run(&Apply, input).await.error();
    assert!(
        error.hint_text().is_some_and(|hint| hint.contains("install")),
        "{error}"
    );
}

pub(crate) async fn what_manifests_leave_open_is_told(server: &Server) {
    let scene = Scene::new(server).await;
    let folder = tempfile::tempdir().expect("a folder");
    let config = |namespace: &str, value: &str| {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: c{namespace} }}\ndata: {{ k: {value} }}\n")
    };
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
    write("a.yaml", &config("", "one"));
    let other = format!(", namespace: {}", scene.namespace());
    write("b.yaml", &config(&other, "two"));
    let input = json!({ "paths": [folder.path()] });
    let bench = scene.bench().await;
    let error = bench.run(&Apply, input.clone()).await.error();
    assert_eq!(error.kind(), StepErrorKind::InvalidInput, "{error}");
    assert!(
        error.message().contains("a.yaml") && error.message().contains("b.yaml"),
        "{error}"
    );
    write(
        "b.yaml",
        "apiVersion: v1\nkind: Secret\nmetadata: { name: s, annotations: { jm.dev/wave: workload } }\n",
    );
    let error = bench.run(&Apply, input.clone()).await.error();
    assert_eq!(error.kind(), StepErrorKind::InvalidInput, "{error}");
    assert!(
        error.message().contains("\"workload\"") && error.message().contains("services, workloads"),
        "{error}"
    );
    write("b.yaml", "kind: Secret\n");
    let error = bench.run(&Apply, input.clone()).await.error();
    assert!(error.message().contains("b.yaml"), "{error}");
    // The same, word for word, is no question.
    write("b.yaml", &config("", "one"));
    assert_eq!(bench.run(&Apply, input).await.output()["counts"]["created"], 1);
}

/// As kubectl has it: what lies deeper may be meant for another cluster.
pub(crate) async fn folders_in_folders_are_read_where_that_is_said(server: &Server) {
    let scene = Scene::new(server).await;
    let folder = tempfile::tempdir().expect("a folder");
    for place in ["a", "deeper/b", ".hidden/c"] {
        let path = folder.path().join(place).with_extension("json");
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        std::fs::write(&path, scene.object("v1", "ConfigMap", &name).to_string()).expect("written");
    }
    let bench = scene.bench().await;
    for (recursive, there) in [(json!(null), [true, false, false]), (json!(true), [true, true, false])] {
        let mut input = json!({ "paths": [folder.path()] });
        if !recursive.is_null() {
            input["recursive"] = recursive;
        }
        bench.run(&Apply, input.clone()).await.output();
        for (name, is_there) in ["a", "b", "c"].into_iter().zip(there) {
            let found = scene.get(&scene.object("v1", "ConfigMap", name)).await;
            assert_eq!(found.is_some(), is_there, "{input}: {name}");
        }
    }
}
