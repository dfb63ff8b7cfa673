//! Fields that others keep, and those that jm's own steps have set.

use jm_provider_kubernetes::{Apply, Restore, Scale};
use jm_step::{AnyStepType, StepErrorKind};
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

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

/// As of what is given as data: a value that was rotated meanwhile is no one's to overwrite, and what is given no more goes.
pub(crate) async fn text_of_a_secret_conflicts_as_its_data_does(server: &Server) {
    let scene = Scene::new(server).await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("s.json");
    let secret = scene.object("v1", "Secret", "s");
    let write = |texts: Value| {
        let mut secret = secret.clone();
        secret["stringData"] = texts;
        std::fs::write(&path, secret.to_string()).expect("written");
    };
    let bench = scene.bench().await;
    let input = json!({ "paths": [path] });
    write(json!({ "x": "one", "y": "two" }));
    bench.run(&Apply, input.clone()).await.output();
    write(json!({ "x": "one" }));
    bench.run(&Apply, input.clone()).await.output();
    let data = async || scene.get(&secret).await.expect("there")["data"].clone();
    assert_eq!(data().await, json!({ "x": "b25l" }));

    let rotated = Patch::Merge(json!({ "data": { "x": "bmV3" } }));
    let somebody = PatchParams {
        field_manager: Some("somebody".to_owned()),
        ..PatchParams::default()
    };
    scene
        .api(&secret)
        .patch("s", &somebody, &rotated)
        .await
        .expect("rotated");
    let error = bench.run(&Apply, input).await.error();
    assert_eq!(error.kind(), StepErrorKind::Conflict, "{error}");
    assert_eq!(data().await, json!({ "x": "bmV3" }));
}

/// What was changed since the export is newer, and its manager's.
pub(crate) async fn a_restore_overwrites_nothing_that_somebody_keeps(server: &Server) {
    let scene = Scene::new(server).await;
    let mut config = scene.object("v1", "ConfigMap", "c");
    config["data"] = json!({ "k": "old" });
    scene.put(&config).await;
    scene.export(json!({})).await;
    let somebody = PatchParams {
        field_manager: Some("somebody".to_owned()),
        ..PatchParams::default()
    };
    let newer = Patch::Merge(json!({ "data": { "k": "new" } }));
    scene.api(&config).patch("c", &somebody, &newer).await.expect("changed");
    let value = async || scene.get(&config).await.expect("there")["data"]["k"].clone();
    let bench = scene.bench().await;
    let only = json!({ "objects": ["configmap/c"] });
    let foretold = bench.preview(&Restore, only.clone()).await.expect_err("a conflict");
    let error = bench.run(&Restore, only).await.error();
    for error in [foretold, error] {
        assert_eq!(error.kind(), StepErrorKind::Conflict, "{error}");
        assert!(error.message().contains("`.data.k` is kept by `somebody`"), "{error}");
    }
    assert_eq!(value().await, "new");
    let forced = json!({ "objects": ["configmap/c"], "on_conflict": "force" });
    bench.run(&Restore, forced).await.output();
    assert_eq!(value().await, "old");
}

/// As of the steps that change a workload.
pub(crate) async fn who_will_undo_what_an_apply_or_a_restore_changes_is_told(server: &Server) {
    let scene = Scene::new(server).await;
    let mut config = scene.object("v1", "ConfigMap", "c");
    config["metadata"]["annotations"] =
        json!({ "argocd.argoproj.io/tracking-id": format!("shop:/ConfigMap:{}/c", scene.namespace()) });
    config["data"] = json!({ "k": "v" });
    scene.put(&config).await;
    scene.export(json!({})).await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("c.json");
    let mut more = config.clone();
    more["data"]["more"] = "v".into();
    std::fs::write(&path, more.to_string()).expect("written");
    let bench = scene.bench().await;
    let warns = async |step: &dyn AnyStepType, input: &Value| {
        let of = "Argo CD (application `shop`)";
        let foretold = bench.preview(step, input.clone()).await.expect("a preview").summary;
        let ran = bench.run(step, input.clone()).await;
        let is_warned = ran.log.iter().any(|line| line.contains(of));
        ran.output();
        assert_eq!(foretold.contains(of), is_warned, "{foretold}");
        is_warned
    };
    let (apply, restore) = (json!({ "paths": [path] }), json!({ "objects": ["configmap/c"] }));
    assert!(warns(&Apply, &apply).await);
    assert!(!warns(&Apply, &apply).await, "it is as it is to be");
    let without = Patch::Merge(json!({ "data": null }));
    let somebody = PatchParams::default();
    scene
        .api(&config)
        .patch("c", &somebody, &without)
        .await
        .expect("changed");
    assert!(warns(&Restore, &restore).await);
    assert!(!warns(&Restore, &restore).await, "it is as it was");
    let gone = scene.api(&config).delete("c", &DeleteParams::default()).await;
    gone.expect("deleted");
    assert!(warns(&Restore, &restore).await, "what is made is set back as well");
}

/// jm's own hand is no other manager to the server: what it has applied since the export goes where that is asked for, and that
/// is told.
pub(crate) async fn what_jm_itself_has_changed_since_is_told(server: &Server) {
    let scene = Scene::new(server).await;
    let mut config = scene.object("v1", "ConfigMap", "c");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("c.json");
    let bench = scene.bench().await;
    let mut apply = async |value: &str| {
        config["data"] = json!({ "k": value, "same": "v" });
        std::fs::write(&path, config.to_string()).expect("written");
        bench.run(&Apply, json!({ "paths": [path] })).await.output();
    };
    apply("old").await;
    scene.export(json!({})).await;
    let unasked = json!({ "objects": ["configmap/c"] });
    let mut only = unasked.clone();
    only["on_conflict"] = "force".into();
    let restore = async || {
        let foretold = bench.preview(&Restore, only.clone()).await.expect("a preview").summary;
        let ran = bench.run(&Restore, only.clone()).await;
        let told = "jm itself has changed since the export was made";
        let said = format!("{:?}", ran.log);
        assert_eq!(foretold.contains(told), said.contains(told), "{foretold} {said}");
        (said.contains(told), ran.output()["newer"].clone())
    };
    assert_eq!(restore().await, (false, json!(0)), "it is as it was");
    // The server keeps the second alone.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    apply("new").await;
    let foretold = bench.preview(&Restore, unasked.clone()).await.expect_err("it is newer");
    let refused = bench.run(&Restore, unasked.clone()).await.error();
    assert_eq!(foretold.message(), refused.message());
    assert!(refused.message().ends_with(": `k`"), "its value alone: {refused}");
    let held = scene
        .api(&scene.object("v1", "ConfigMap", "c"))
        .get("c")
        .await
        .expect("there");
    assert_eq!(held.data["data"]["k"], "new", "it was set back");
    assert_eq!(restore().await, (true, json!(1)));
    assert_eq!(bench.run(&Restore, unasked).await.output()["counts"]["unchanged"], 1);
    assert_eq!(
        restore().await,
        (false, json!(0)),
        "what a restore has written is what it was"
    );
    let somebody = async |data: Value| {
        let patch = Patch::Merge(json!({ "data": data }));
        let api = scene.api(&scene.object("v1", "ConfigMap", "c"));
        api.patch("c", &PatchParams::default(), &patch).await.expect("changed");
    };
    somebody(json!({ "k": null })).await;
    assert_eq!(restore().await, (false, json!(0)), "somebody else took it away");
    apply("new").await;
    somebody(json!({ "other": "theirs" })).await;
    assert_eq!(
        restore().await,
        (true, json!(1)),
        "what somebody has written beside it makes it no less jm's"
    );
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

/// What an export has brought back is jm's own, so that newer manifests take away what they do not name any more: as a change
/// that shows each field that goes, before it goes.
pub(crate) async fn what_newer_manifests_leave_out_is_shown_as_it_goes(server: &Server) {
    let scene = Scene::new(server).await;
    let mut web = scene.object("apps/v1", "Deployment", "web");
    let labels = json!({ "app": "web" });
    let main = json!({ "name": "main", "image": "registry.example/web:1", "env": [
        { "name": "KEPT", "value": "1" }, { "name": "LEVEL", "value": "high" }] });
    let containers = json!([main, { "name": "side", "image": "registry.example/web:1" }]);
    web["metadata"]["labels"] = json!({ "tier": "back" });
    web["metadata"]["annotations"] = json!({ "example.com/owner": "us" });
    web["spec"] = json!({ "replicas": 0, "minReadySeconds": 3, "selector": { "matchLabels": labels },
        "template": { "metadata": { "labels": labels }, "spec": { "containers": containers } } });
    let mut config = scene.object("v1", "ConfigMap", "c");
    config["data"] = json!({ "kept": "1", "gone": "2" });
    let objects = [web, config];
    for object in &objects {
        scene.put(object).await;
    }
    scene.export(json!({})).await;
    for object in &objects {
        scene.delete(object).await;
    }
    scene
        .bench()
        .await
        .run(&Restore, json!({ "images": "written" }))
        .await
        .output();

    let [mut web, mut config] = objects.clone();
    web["metadata"]["labels"].take();
    web["metadata"]["annotations"].take();
    web["spec"]["minReadySeconds"].take();
    let containers = web
        .pointer_mut("/spec/template/spec/containers")
        .and_then(Value::as_array_mut);
    let containers = containers.expect("containers");
    containers.truncate(1);
    containers[0]["env"].as_array_mut().expect("variables").truncate(1);
    config["data"].as_object_mut().expect("a map").remove("gone");
    let folder = tempfile::tempdir().expect("a folder");
    for (name, object) in [("web.json", &web), ("config.json", &config)] {
        std::fs::write(folder.path().join(name), object.to_string()).expect("written");
    }
    let newer = json!({ "paths": [folder.path()] });
    let foretold = scene
        .bench()
        .await
        .preview(&Apply, newer.clone())
        .await
        .expect("a preview")
        .changes;
    let ran = scene.bench().await.run(&Apply, newer).await;
    assert_eq!(foretold, ran.changes, "what was said is what was done");
    for (object, gone) in [
        (
            "deployment.apps/web",
            &[
                "metadata.labels.tier",
                "metadata.annotations.example.com/owner",
                "spec.minReadySeconds",
                "spec.template.spec.containers[main].env[LEVEL].value",
                "spec.template.spec.containers[side].image",
            ][..],
        ),
        ("configmap/c", &["data.gone"]),
    ] {
        let change = foretold
            .iter()
            .find(|change| change.object.ends_with(object))
            .expect("a change");
        let (before, after) = (
            change.before.as_ref().expect("before"),
            change.after.as_ref().expect("after"),
        );
        for field in gone {
            assert!(
                before.get(field).is_some() && after.get(field).is_none(),
                "{field}: {change:?}"
            );
        }
    }
    let [web, config] = [
        scene.get(&objects[0]).await.expect("there"),
        scene.get(&objects[1]).await.expect("there"),
    ];
    assert_eq!(config["data"], json!({ "kept": "1" }));
    assert!(
        web["metadata"]["labels"].is_null() && web["spec"]["minReadySeconds"].is_null(),
        "{web:#}"
    );
    assert_eq!(
        web["spec"]["template"]["spec"]["containers"].as_array().map(Vec::len),
        Some(1)
    );
}
