//! What every step type promises, of those that export and apply objects.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jm_provider_kubernetes::{Apply, Export};
use jm_testkit::StepBench;
use jm_testkit::conformance::{cancels_promptly, preview_writes_nothing, runs_once};
use serde_json::json;
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use super::Scene;
use crate::catalogue::Catalogue;
use crate::server::Server;

/// A catalogue of its own for each, and how many exports are in it.
fn exporting(server: &Server, namespace: &str) -> (StepBench, impl Fn() -> usize) {
    let catalogue = Catalogue::new();
    let bench = block_in_place(|| Handle::current().block_on(catalogue.bench(server, namespace)));
    (bench, move || catalogue.exports())
}

pub(crate) async fn an_export_keeps_what_a_step_type_promises(server: &Server) {
    let scene = Scene::new(server).await;
    let make = || exporting(server, scene.namespace());
    let input = json!({ "cluster_scope": "none", "label": "promised" });
    preview_writes_nothing(&Export, make, input.clone()).await;
    runs_once(&Export, make, input.clone()).await;
    cancels_promptly(&Export, make, input, Duration::from_millis(30), Duration::from_secs(5)).await;
}

/// A namespace of its own for each, and how often the one object in it was written.
fn applying<'s>(server: &'s Server, written: &'s Mutex<BTreeSet<String>>) -> (StepBench, impl Fn() -> usize + 's) {
    written.lock().unwrap_or_else(PoisonError::into_inner).clear();
    let scene = block_in_place(|| Handle::current().block_on(Scene::new(server)));
    let bench = block_in_place(|| Handle::current().block_on(scene.bench()));
    let count = move || {
        let object = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "c", "namespace": scene.namespace() } });
        let found = block_in_place(|| Handle::current().block_on(scene.get(&object)));
        let mut written = written.lock().unwrap_or_else(PoisonError::into_inner);
        // Each write that changes something gives it another version.
        written.extend(found.and_then(|found| found["metadata"]["resourceVersion"].as_str().map(str::to_owned)));
        written.len()
    };
    (bench, count)
}

pub(crate) async fn an_apply_keeps_what_a_step_type_promises(server: &Server) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("c.yaml");
    std::fs::write(
        &path,
        "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: c }\ndata: { k: v }\n",
    )
    .expect("written");
    let written = Mutex::default();
    let make = || applying(server, &written);
    let input = json!({ "paths": [path] });
    preview_writes_nothing(&Apply, make, input.clone()).await;
    runs_once(&Apply, make, input.clone()).await;
    cancels_promptly(&Apply, make, input, Duration::from_millis(30), Duration::from_secs(5)).await;
}
