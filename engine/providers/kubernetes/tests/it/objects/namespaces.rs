//! Namespaces that objects go into, and that are on their way out, or not there.

use std::time::Duration;

use jm_provider_kubernetes::{Apply, Export, Restore};
use jm_step::StepErrorKind;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::Scene;
use crate::proxy::{Fault, Proxy};
use crate::server::Server;

pub(crate) async fn a_namespace_that_does_not_go_away_is_told_with_what_holds_it(server: &Server) {
    let scene = Scene::new(server).await;
    let held = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "c", "namespace": scene.namespace(), "finalizers": ["example.com/hold"] } });
    scene.put(&held).await;
    scene.export(json!({})).await;
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": scene.namespace() } });
    drop(
        scene
            .api(&namespace)
            .delete(scene.namespace(), &DeleteParams::default())
            .await,
    );
    // A busy control plane takes its time to find out what holds it.
    let is_told = async || {
        let found = scene.get(&namespace).await;
        found.is_some_and(|found| found["status"]["conditions"].to_string().contains("example.com/hold"))
    };
    let began = std::time::Instant::now();
    while !is_told().await && began.elapsed() < Duration::from_mins(1) {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let error = scene.bench().await.run(&Export, json!({})).await.error();
    assert_eq!(
        error.kind(),
        StepErrorKind::Conflict,
        "what is left of it is no backup: {error}"
    );
    let error = scene
        .bench()
        .await
        .run(&Restore, json!({ "ready_seconds": 2 }))
        .await
        .error();
    assert!(error.message().contains("example.com/hold"), "{error}");
    // Nor does it take anything in from who does not bring it along.
    let some = json!({ "waves": ["configuration"], "ready_seconds": 2 });
    let error = scene
        .bench()
        .await
        .preview(&Restore, some.clone())
        .await
        .expect_err("it takes nothing in");
    assert_eq!(error.kind(), StepErrorKind::Conflict, "{error}");
    let error = scene.bench().await.run(&Restore, some).await.error();
    assert!(error.message().contains("example.com/hold"), "{error}");
    assert!(scene.get(&held).await.is_some(), "nothing was forced");

    // Once it is gone it is made anew.
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("c.json"), held.to_string()).expect("written");
    let input = json!({ "paths": [folder.path()] });
    let bench = scene.bench().await;
    let preview = bench.preview(&Apply, input.clone()).await.expect("a preview");
    let release = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (api, nobody) = (scene.api(&held), json!({ "metadata": { "finalizers": null } }));
        api.patch("c", &PatchParams::default(), &Patch::Merge(&nobody))
            .await
            .expect("released");
    };
    let (ran, ()) = tokio::join!(bench.run(&Apply, input), release);
    assert_eq!(preview.changes, ran.changes, "what was said is what was done");
    assert!(
        ran.log
            .iter()
            .any(|line| line.contains("waiting for the end of namespace")),
        "{:?}",
        ran.log
    );
    assert_eq!(ran.output()["counts"]["created"], 2);
    scene.wipe(&[held]).await;
}

/// An object that holds its namespace, until it is released.
struct Held<'s> {
    scene: &'s Scene<'s>,
    object: Value,
}

impl<'s> Held<'s> {
    /// The namespace of the scene is being deleted from now on.
    async fn new(scene: &'s Scene<'s>) -> Self {
        let mut object = scene.object("v1", "ConfigMap", "held");
        object["metadata"]["finalizers"] = json!(["example.com/hold"]);
        scene.put(&object).await;
        let (api, name) = (scene.api(&namespace(scene)), scene.namespace());
        api.delete(name, &DeleteParams::default()).await.expect("deleted");
        Self { scene, object }
    }

    async fn release(&self) {
        let (api, nobody) = (
            self.scene.api(&self.object),
            json!({ "metadata": { "finalizers": null } }),
        );
        api.patch("held", &PatchParams::default(), &Patch::Merge(&nobody))
            .await
            .expect("released");
    }
}

fn namespace(scene: &Scene<'_>) -> Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": scene.namespace(), "labels": { "own": "yes" } } })
}

/// It is the target's own, which jm makes where nobody else does.
pub(crate) async fn a_namespace_among_the_objects_is_made_once(server: &Server) {
    let scene = Scene::new(server).await;
    let folder = tempfile::tempdir().expect("a folder");
    let config = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "c" } });
    for (name, object) in [("namespace.json", &namespace(&scene)), ("c.json", &config)] {
        std::fs::write(folder.path().join(name), object.to_string()).expect("written");
    }
    let input = json!({ "paths": [folder.path()] });
    let bench = scene.bench().await;
    let made_once = async |release: Option<&Held<'_>>| {
        let preview = bench.preview(&Apply, input.clone()).await.expect("a preview");
        assert_eq!(preview.changes.len(), 2, "{:?}", preview.changes);
        let releasing = async {
            if let Some(held) = release {
                held.release().await;
            }
        };
        let (ran, ()) = tokio::join!(bench.run(&Apply, input.clone()), releasing);
        assert_eq!(preview.changes, ran.changes, "what was said is what was done");
        assert_eq!(ran.output()["counts"]["created"], 2);
        let found = scene.get(&namespace(&scene)).await.expect("there");
        assert_eq!(found["metadata"]["labels"]["own"], "yes");
    };
    scene.wipe(&[]).await;
    made_once(None).await;
    let held = Held::new(&scene).await;
    made_once(Some(&held)).await;
}

/// What goes elsewhere is applied all the same.
pub(crate) async fn a_namespace_that_has_ended_is_the_failure_of_its_objects(server: &Server) {
    let (open, closed) = (Scene::new(server).await, Scene::new(server).await);
    let held = Held::new(&closed).await;
    let folder = tempfile::tempdir().expect("a folder");
    let object = |scene: &Scene<'_>, name: &str| scene.object("v1", "ConfigMap", name);
    let unheard = json!({ "apiVersion": "example.com/v1", "kind": "Unheard",
        "metadata": { "name": "u", "annotations": { "jm.dev/wave": "configuration" } } });
    let objects = [unheard, object(&closed, "a"), object(&closed, "b"), object(&open, "c")];
    for (index, object) in objects.iter().enumerate() {
        std::fs::write(folder.path().join(format!("{index}.json")), object.to_string()).expect("written");
    }
    let bench = open.bench().await;
    let input = json!({ "paths": [folder.path()] });
    let (ran, ()) = tokio::join!(bench.run(&Apply, input), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        held.release().await;
    });
    let kept = ran.kept("objects.jsonl").expect("the results are kept");
    let results: Vec<Value> = kept
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let failed = results.iter().filter(|line| line["result"] == "failed").count();
    assert_eq!((results.len(), failed), (4, 3), "{results:#?}");
    let error = ran.error();
    for told in [
        "Unheard",
        "configmap/a",
        "configmap/b",
        "was being deleted, and is gone",
    ] {
        assert!(error.message().contains(told), "{told}: {error}");
    }
    assert!(open.get(&objects[3]).await.is_some(), "it goes elsewhere");
}

/// The lists of a namespace that goes are empty, which is no error of any of them.
pub(crate) async fn a_namespace_that_goes_while_it_is_read_is_no_export(server: &Server) {
    let scene = Scene::new(server).await;
    scene.put(&scene.object("v1", "Secret", "s")).await;
    let proxy = Proxy::to(server).await;
    let (kubeconfig, namespace) = (server.kubeconfig.clone(), scene.namespace().to_owned());
    proxy.fail(1, Fault::Status(429), move |_, asked| {
        let is_meant = asked.contains("/secrets?");
        if is_meant {
            let (kubeconfig, namespace) = (kubeconfig.clone(), namespace.clone());
            std::thread::spawn(move || delete_namespace(&kubeconfig, &namespace))
                .join()
                .expect("it is deleted");
        }
        is_meant
    });
    let bench = crate::place::bench(&proxy.kubeconfig, scene.namespace()).await;
    let bench = bench.with("backups", scene.backups().await);
    let error = bench.run(&Export, json!({ "cluster_scope": "none" })).await.error();
    let said = error.message();
    assert!(said.contains(scene.namespace()), "{said}");
    assert!(
        said.contains("is being deleted") || said.contains("is not there"),
        "{said}"
    );
    assert_eq!(scene.exports(), 0);
}

/// From a thread that waits for it.
fn delete_namespace(kubeconfig: &std::path::Path, namespace: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let kubeconfig = kube::config::Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
        let options = kube::config::KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .expect("a configuration");
        let client = kube::Client::try_from(config).expect("a client");
        let api: kube::Api<k8s_openapi::api::core::v1::Namespace> = kube::Api::all(client);
        drop(
            api.delete(namespace, &kube::api::DeleteParams::default())
                .await
                .expect("deleted"),
        );
    });
}
