//! Manifests that are read where there is no cluster.

use std::path::Path;
use std::time::Duration;

use jm_provider_kubernetes::{Manifests, provider};
use jm_step::{Registry, StepErrorKind};
use jm_testkit::StepBench;
use jm_testkit::conformance::{cancels_promptly, preview_writes_nothing, runs_once, saves_nothing};
use serde_json::{Value, json};

/// What a step gets whose cluster nothing on this machine leads to.
fn bench() -> StepBench {
    let registry = Registry::new().with(provider());
    let connection = registry.connection("kubernetes").expect("it is the provider's");
    let config = json!({ "kubeconfig": "/nowhere/kubeconfig", "namespace": "app" });
    StepBench::new().target("cluster", connection, config)
}

/// A workload without a namespace, and the image that it names.
fn write(folder: &Path, image: &str) {
    let web = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
        "spec": { "template": { "spec": { "containers": [{ "name": "main", "image": image }] } } } });
    std::fs::write(folder.join("web.json"), web.to_string()).expect("written");
}

fn input(folder: &Path, namespace: &str) -> Value {
    let ran = json!([{ "namespace": namespace, "workload": "Deployment/web", "container": "main",
        "image": "registry.example/web:1", "digest": format!("sha256:{}", "a".repeat(64)) }]);
    json!({ "paths": [folder], "images": "recorded", "ran": ran })
}

#[tokio::test]
async fn it_keeps_what_a_step_type_promises() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "registry.example/web:1");
    let make = || (bench(), || 0);
    let input = || input(folder.path(), "app");
    preview_writes_nothing(&Manifests, make, input()).await;
    runs_once(&Manifests, make, input()).await;
    saves_nothing(&Manifests, make, input()).await;
    let (after, patience) = (Duration::ZERO, Duration::from_secs(2));
    cancels_promptly(&Manifests, make, input(), after, patience).await;
}

#[tokio::test]
async fn an_image_is_known_by_the_namespace_of_the_target() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "registry.example/web:1");
    let read = async |namespace: &str| bench().run(&Manifests, input(folder.path(), namespace)).await;
    assert_eq!(read("app").await.output(), json!({ "objects": 1 }));
    let error = read("other").await.error();
    assert_eq!(error.kind(), StepErrorKind::Refused, "{error}");
    assert!(error.message().contains("`registry.example/web:1`"), "{error}");
}

#[tokio::test]
async fn what_could_not_be_applied_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let refused = async |words: &str| {
        let input = || input(folder.path(), "app");
        let foretold = bench().preview(&Manifests, input()).await.expect_err("a refusal");
        for error in [foretold, bench().run(&Manifests, input()).await.error()] {
            assert_eq!(error.kind(), StepErrorKind::Refused, "{error}");
            assert!(error.message().contains(words), "{error}");
        }
    };
    refused("there is no manifest to apply").await;
    std::fs::write(folder.path().join("kustomization.yaml"), "resources: [nowhere.yaml]").expect("written");
    refused("kustom").await;
    std::fs::remove_dir_all(folder.path()).expect("removed");
    refused("cannot be read").await;
}
