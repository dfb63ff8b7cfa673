//! Definitions of kinds that do not serve what they define: not yet, or not at all.

use std::path::Path;
use std::time::Duration;

use jm_provider_kubernetes::{Apply, Export, Restore};
use jm_step::StepErrorKind;
use jm_testkit::{Ran, StepBench};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::objects::Scene;
use crate::proxy::{Fault, Proxy};
use crate::server::Server;

/// A group that no other test has.
fn group(scene: &Scene<'_>) -> String {
    format!("{}.example.com", scene.namespace())
}

/// A definition with such versions, of which the first is the one that is stored.
pub(crate) fn definition(scene: &Scene<'_>, plural: &str, kind: &str, versions: &[&str]) -> Value {
    let group = group(scene);
    let schema = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    let versions: Vec<Value> = versions
        .iter()
        .enumerate()
        .map(|(index, name)| json!({ "name": name, "served": true, "storage": index == 0, "schema": { "openAPIV3Schema": schema } }))
        .collect();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{plural}.{group}") },
        "spec": { "group": group, "scope": "Namespaced", "names": { "kind": kind, "plural": plural }, "versions": versions },
    })
}

fn widget(scene: &Scene<'_>) -> Value {
    json!({ "apiVersion": format!("{}/v1", group(scene)), "kind": "Widget",
        "metadata": { "name": "w", "namespace": scene.namespace() }, "size": 7 })
}

fn write(folder: &Path, name: &str, object: &Value) {
    std::fs::write(folder.join(name), object.to_string()).expect("written");
}

pub(crate) async fn custom_resources_without_a_namespace_are_told_or_kept(server: &Server) {
    let scene = Scene::new(server).await;
    let mut issuers = definition(&scene, "issuers", "Issuer", &["v1"]);
    issuers["spec"]["scope"] = "Cluster".into();
    let issuer = json!({ "apiVersion": format!("{}/v1", group(&scene)), "kind": "Issuer",
        "metadata": { "name": "stranger" } });
    for object in [&issuers, &issuer] {
        scene.put(object).await;
    }
    let key = jm_client_kubernetes::ObjectKey::of(&issuer).expect("a key").to_string();
    let is_told = |line: &String| line.contains(&key) && line.contains("`cluster_scope: all`");
    let ran = scene.bench().await.run(&Export, json!({})).await;
    assert!(ran.log.iter().any(is_told), "{:?}", ran.log);
    assert!(!scene.tree().await.contains_key(&key));
    scene
        .bench()
        .await
        .key("all")
        .run(&Export, json!({ "cluster_scope": "all" }))
        .await
        .output();
    assert!(scene.tree().await.contains_key(&key));
}

/// The server's words quote what was sent.
pub(crate) async fn a_value_that_looks_like_a_secret_is_not_told_where_it_is_refused(server: &Server) {
    let scene = Scene::new(server).await;
    let mut widgets = definition(&scene, "widgets", "Widget", &["v1"]);
    let text = json!({ "type": "string", "minLength": 12 });
    let spec = json!({ "type": "object", "properties": { "password": text, "colour": text } });
    let schema = json!({ "type": "object", "properties": { "spec": spec } });
    widgets["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = schema;
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "definition.json", &widgets);
    let bench = scene.bench().await;
    let input = json!({ "paths": [folder.path()] });
    bench.run(&Apply, input.clone()).await.output();
    for (field, value, is_told) in [
        ("password", json!("hunter2"), false),
        ("password", json!(4711), false),
        ("colour", json!("cerulean"), true),
    ] {
        let mut widget = widget(&scene);
        widget.as_object_mut().expect("a map").remove("size");
        widget["spec"] = json!({ field: value });
        write(folder.path(), "widget.json", &widget);
        let error = bench.run(&Apply, input.clone()).await.error();
        let said = error.message();
        assert!(said.contains(&format!("spec.{field}")), "{said}");
        let quoted = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        assert_eq!(said.contains(&quoted), is_told, "{said}");
    }
    scene.wipe(&[widgets]).await;
}

/// The step before this one brings the definition: what a dry run tells of the rest is all of it.
pub(crate) async fn a_preview_knows_what_a_step_before_it_defines(server: &Server) {
    let scene = Scene::new(server).await;
    let widgets = definition(&scene, "widgets", "Widget", &["v1"]);
    for object in [&widgets, &widget(&scene)] {
        scene.put(object).await;
    }
    scene.put(&scene.object("v1", "ServiceAccount", "rest")).await;
    scene.export(json!({})).await;
    scene.delete_cluster_wide(std::slice::from_ref(&widgets)).await;
    while scene.get(&widgets).await.is_some() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let preview = async |bench: StepBench, waves: &[&str]| {
        let input = json!({ "waves": waves, "images": "written" });
        bench.preview(&Restore, input).await
    };
    let bench = scene.bench().await;
    let first = preview(bench.clone(), &["definitions"]).await.expect("a preview");
    let rest = ["accounts", "custom"];
    preview(bench.clone(), &rest)
        .await
        .expect_err("nobody said that it would be defined");
    let told = preview(bench.announced(&first.changes), &rest)
        .await
        .expect("a preview");
    let objects: Vec<&str> = told.changes.iter().map(|change| change.object.as_str()).collect();
    assert!(objects.iter().any(|object| object.ends_with("/w")), "{objects:?}");
}

/// An operator that finds no definition of what it looks after does not start, though nobody has made one of it yet.
pub(crate) async fn definitions_that_a_role_names_are_kept(server: &Server) {
    let scene = Scene::new(server).await;
    let group = group(&scene);
    let own = format!("own.{group}");
    let others = definition(&scene, "others", "Other", &["v1"]);
    let mut all_of_it = definition(&scene, "gadgets", "Gadget", &["v1"]);
    all_of_it["metadata"]["name"] = format!("gadgets.{own}").into();
    all_of_it["spec"]["group"] = own.as_str().into();
    let widgets = definition(&scene, "widgets", "Widget", &["v1"]);
    let bound = format!("operator-{}", scene.namespace());
    let rule = |group: &str, resource: &str| json!({ "apiGroups": [group], "resources": [resource], "verbs": ["*"] });
    let rbac = "rbac.authorization.k8s.io";
    let objects = [
        others,
        all_of_it,
        widgets,
        json!({ "apiVersion": format!("{rbac}/v1"), "kind": "Role",
            "metadata": { "name": "operator", "namespace": scene.namespace() },
            "rules": [rule(&group, "widgets/status"), rule("*", "others")] }),
        json!({ "apiVersion": format!("{rbac}/v1"), "kind": "ClusterRole", "metadata": { "name": bound },
            "rules": [rule(&own, "*"), rule("*", "*")] }),
        json!({ "apiVersion": format!("{rbac}/v1"), "kind": "ClusterRoleBinding", "metadata": { "name": bound },
            "roleRef": { "apiGroup": rbac, "kind": "ClusterRole", "name": bound },
            "subjects": [{ "kind": "ServiceAccount", "name": "operator", "namespace": scene.namespace() }] }),
    ];
    for object in &objects {
        scene.put(object).await;
    }
    let ran = scene.bench().await.run(&Export, json!({})).await;
    let tree = scene.tree().await;
    let [others, of_all, widgets] = [0, 1, 2].map(|index| &objects[index]);
    for (definition, is_kept) in [(others, false), (of_all, true), (widgets, true)] {
        let key = jm_client_kubernetes::ObjectKey::of(definition).expect("a key");
        assert_eq!(tree.contains_key(&key.to_string()), is_kept, "{key}");
        let is_told = |line: &String| line.starts_with("definitions") && line.contains(&key.name);
        assert_eq!(ran.log.iter().any(is_told), !is_kept, "{key}: {:?}", ran.log);
    }
    scene.wipe(&objects).await;
}

pub(crate) async fn a_kind_whose_conversion_is_down_is_left_out_and_listed(server: &Server) {
    let scene = Scene::new(server).await;
    let mut converted = definition(&scene, "widgets", "Widget", &["v1", "v2"]);
    // Nobody listens there. What is stored as v1 is given out as v1, and not as v2, which is preferred.
    converted["spec"]["conversion"] = json!({ "strategy": "Webhook", "webhook": {
        "conversionReviewVersions": ["v1"], "clientConfig": { "url": "https://127.0.0.1:1/convert" } } });
    let config =
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "c", "namespace": scene.namespace() } });
    for object in [&converted, &widget(&scene), &config] {
        scene.put(object).await;
    }
    let ran = scene
        .bench()
        .await
        .run(&Export, json!({ "cluster_scope": "none" }))
        .await;
    assert!(
        ran.degraded
            .iter()
            .any(|reason| reason.contains("Widget") || reason.contains("widget")),
        "{:?}",
        ran.degraded
    );
    let output = ran.output();
    let unreadable = output["unreadable"].as_array().expect("a list");
    assert_eq!(unreadable.len(), 1, "{output:#}");
    assert!(
        unreadable[0]["why"]
            .as_str()
            .is_some_and(|why| why.contains("conversion")),
        "{output:#}"
    );
    assert!(
        output["kinds"]["v1 ConfigMap"].as_u64().is_some_and(|count| count >= 1),
        "the others are kept: {output:#}"
    );

    // What cannot be converted cannot be deleted either.
    let plain = json!({ "spec": { "conversion": { "strategy": "None", "webhook": null } } });
    let name = converted["metadata"]["name"].as_str().expect("a name");
    let patched = scene
        .api(&converted)
        .patch(name, &PatchParams::default(), &Patch::Merge(&plain))
        .await;
    patched.expect("patched");
    scene.wipe(&[widget(&scene), converted.clone()]).await;
}

async fn applied(scene: &Scene<'_>, folder: &Path) -> Ran {
    scene.bench().await.run(&Apply, json!({ "paths": [folder] })).await
}

pub(crate) async fn a_resource_waits_for_its_definition(server: &Server) {
    let scene = Scene::new(server).await;
    let folder = tempfile::tempdir().expect("a folder");
    let widgets = definition(&scene, "widgets", "Widget", &["v1"]);
    // The file of the resource comes first.
    write(folder.path(), "a.yaml", &widget(&scene));
    write(folder.path(), "b.yaml", &widgets);
    let ran = applied(&scene, folder.path()).await;
    assert_eq!(ran.output()["counts"]["created"], 2);
    assert_eq!(scene.get(&widget(&scene)).await.expect("there")["size"], 7);
    scene.wipe(&[widget(&scene), widgets]).await;
}

pub(crate) async fn a_definition_of_any_wave_is_known_to_the_next(server: &Server) {
    let scene = Scene::new(server).await;
    let folder = tempfile::tempdir().expect("a folder");
    let mut widgets = definition(&scene, "widgets", "Widget", &["v1"]);
    widgets["metadata"]["annotations"] = json!({ "jm.dev/wave": "volumes" });
    let mut early = widget(&scene);
    early["metadata"]["annotations"] = json!({ "jm.dev/wave": "services" });
    write(folder.path(), "1.json", &widgets);
    write(folder.path(), "2.json", &early);
    let ran = applied(&scene, folder.path()).await;
    assert_eq!(ran.output()["counts"]["created"], 2);
    scene.wipe(&[early, widgets]).await;
}

/// As behind a load balancer: the server that tells that it serves a kind is not the one that is asked next.
pub(crate) async fn a_server_that_has_not_heard_of_a_definition_is_asked_again(server: &Server) {
    let scene = Scene::new(server).await;
    let folder = tempfile::tempdir().expect("a folder");
    write(
        folder.path(),
        "1.json",
        &definition(&scene, "widgets", "Widget", &["v1"]),
    );
    write(folder.path(), "2.json", &widget(&scene));
    let proxy = Proxy::to(server).await;
    proxy.fail(3, Fault::Status(404), |_, asked| {
        asked.starts_with("PATCH") && asked.contains("/widgets/")
    });
    let bench = crate::place::bench(&proxy.kubeconfig, scene.namespace()).await;
    let ran = bench.run(&Apply, json!({ "paths": [folder.path()] })).await;
    assert_eq!(ran.output()["counts"]["created"], 2);
    scene
        .wipe(&[widget(&scene), definition(&scene, "widgets", "Widget", &["v1"])])
        .await;
}

pub(crate) async fn a_definition_that_will_never_be_established_is_named(server: &Server) {
    let scene = Scene::new(server).await;
    let folder = tempfile::tempdir().expect("a folder");
    let first = definition(&scene, "gadgets", "Widget", &["v1"]);
    // Its kind is taken, so that its names are never accepted.
    let second = definition(&scene, "widgets", "Widget", &["v1"]);
    scene.put(&first).await;
    let taken = async || {
        let found = scene.get(&first).await.expect("there");
        let conditions = found["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions
            .iter()
            .any(|one| one["type"] == "Established" && one["status"] == "True")
    };
    while !taken().await {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    write(folder.path(), "a.yaml", &widget(&scene));
    write(folder.path(), "b.yaml", &second);
    let input = json!({ "paths": [folder.path()] });
    let error = scene.bench().await.run(&Apply, input).await.error();
    let name = second["metadata"]["name"].as_str().expect("a name");
    assert_eq!(error.kind(), StepErrorKind::Failed, "{error}");
    assert!(
        error.message().contains(name) && error.message().contains("not accepted"),
        "{error}"
    );
    assert!(error.summary().hint.is_some_and(|hint| hint.contains(name)), "{error}");
    assert!(scene.get(&second).await.is_some(), "it is left for whoever looks");
    scene.wipe(&[second, first]).await;
}

/// A backup may be older than the cluster: kinds of Kubernetes itself have lost versions meanwhile.
pub(crate) async fn a_version_that_is_served_no_more_is_renewed(server: &Server) {
    let scene = Scene::new(server).await;
    let folder = tempfile::tempdir().expect("a folder");
    let pod = json!({ "restartPolicy": "Never", "containers": [{ "name": "c", "image": "registry.example/job:1" }] });
    let mut job = scene.object("batch/v1beta1", "CronJob", "nightly");
    job["spec"] =
        json!({ "schedule": "0 3 * * *", "suspend": true, "jobTemplate": { "spec": { "template": { "spec": pod } } } });
    write(folder.path(), "job.json", &job);
    let bench = scene.bench().await;
    let input = json!({ "paths": [folder.path()] });
    let foretold = bench.preview(&Apply, input.clone()).await.expect("a preview");
    let ran = bench.run(&Apply, input.clone()).await;
    assert_eq!(foretold.changes, ran.changes);
    let is_told = |line: &String| line.contains("batch/v1beta1 is not served here any more, applied as batch/v1");
    assert!(ran.log.iter().any(is_told), "{:?}", ran.log);
    assert_eq!(ran.output()["counts"]["created"], 1);
    job["apiVersion"] = "batch/v1".into();
    assert_eq!(
        scene.get(&job).await.expect("it is there")["spec"]["schedule"],
        "0 3 * * *"
    );

    // What the new version does not know is told, not dropped; of other kinds only their operators know how versions differ.
    let mut older = scene.object("autoscaling/v2beta1", "HorizontalPodAutoscaler", "web");
    older["spec"] = json!({ "minReplicas": 1, "maxReplicas": 3, "scaleTargetRef": { "kind": "Deployment", "name": "web" },
        "metrics": [{ "type": "Resource", "resource": { "name": "cpu", "targetAverageUtilization": 50 } }] });
    write(folder.path(), "job.json", &older);
    let said = bench.run(&Apply, input.clone()).await.error().to_string();
    assert!(said.contains("targetAverageUtilization"), "{said}");
    let widgets = definition(&scene, "widgets", "Widget", &["v1"]);
    let mut old = widget(&scene);
    old["apiVersion"] = format!("{}/v1alpha1", group(&scene)).into();
    write(folder.path(), "job.json", &widgets);
    bench.run(&Apply, input.clone()).await.output();
    write(folder.path(), "job.json", &old);
    let error = bench.run(&Apply, input).await.error();
    let hint = error.hint_text().unwrap_or_default();
    assert!(
        hint.contains(&format!("it is served in {}/v1", group(&scene))),
        "{hint}"
    );
    scene.wipe(&[widgets]).await;
}
