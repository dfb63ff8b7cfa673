//! What every step type promises, of those that export and apply objects.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jm_provider_kubernetes::{Apply, Export, Import, Restore};
use jm_testkit::StepBench;
use jm_testkit::conformance::{
    World, cancels_promptly, preview_writes_nothing, resumes_after_each_checkpoint, runs_once, saves_nothing,
};
use kube::api::DeleteParams;
use serde_json::{Value, json};
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
    saves_nothing(&Export, make, input.clone()).await;
    cancels_promptly(&Export, make, input, Duration::from_millis(30), Duration::from_secs(5)).await;
}

pub(crate) async fn an_import_keeps_what_a_step_type_promises(server: &Server) {
    let folder = tempfile::tempdir().expect("a folder");
    let scene = Scene::new(server).await;
    let path = folder.path().join("configmaps-backup-20240115.yaml");
    std::fs::write(&path, config_map(&scene).to_string()).expect("written");
    let make = || exporting(server, scene.namespace());
    let input = json!({ "files": [path] });
    preview_writes_nothing(&Import, make, input.clone()).await;
    runs_once(&Import, make, input.clone()).await;
    saves_nothing(&Import, make, input.clone()).await;
    cancels_promptly(&Import, make, input, Duration::from_millis(30), Duration::from_secs(5)).await;
}

fn config_map(scene: &Scene<'_>) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "c", "namespace": scene.namespace() }, "data": { "k": "v" } })
}

/// A namespace in which one object is to be.
struct Alone<'s> {
    scene: Scene<'s>,
    bench: StepBench,
    /// The versions of the object that were seen.
    written: Mutex<BTreeSet<String>>,
    incidental: &'static [&'static str],
}

impl<'s> Alone<'s> {
    async fn of(scene: Scene<'s>, incidental: &'static [&'static str]) -> Self {
        Self {
            bench: scene.bench().await,
            scene,
            written: Mutex::default(),
            incidental,
        }
    }
}

impl World for Alone<'_> {
    fn bench(&self) -> StepBench {
        self.bench.clone()
    }
    fn effects(&self) -> usize {
        seen(&self.scene, &self.written)
    }
    fn incidental(&self) -> &'static [&'static str] {
        self.incidental
    }
}

/// It has lost its object, of which there is an export. Name, moment and list of results are those of the export of this world.
fn lost(server: &Server) -> Alone<'_> {
    let making = async {
        let scene = Scene::new(server).await;
        let object = config_map(&scene);
        scene.put(&object).await;
        scene.export(json!({ "cluster_scope": "none" })).await;
        let gone = scene.api(&object).delete("c", &DeleteParams::default()).await;
        gone.expect("deleted");
        Alone::of(scene, &["/export", "/recovery_point", "/results"]).await
    };
    block_in_place(|| Handle::current().block_on(making))
}

/// A file has the object. The list of results is that of this world.
fn applying(server: &Server) -> Alone<'_> {
    let making = async { Alone::of(Scene::new(server).await, &["/results"]).await };
    block_in_place(|| Handle::current().block_on(making))
}

/// In how many versions the one object was seen: each write that changes something gives it another one.
fn seen(scene: &Scene<'_>, written: &Mutex<BTreeSet<String>>) -> usize {
    let found = block_in_place(|| Handle::current().block_on(scene.get(&config_map(scene))));
    let mut written = written.lock().unwrap_or_else(PoisonError::into_inner);
    written.extend(found.and_then(|found| found["metadata"]["resourceVersion"].as_str().map(str::to_owned)));
    written.len()
}

pub(crate) async fn an_apply_keeps_what_a_step_type_promises(server: &Server) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("c.yaml");
    std::fs::write(
        &path,
        "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: c }\ndata: { k: v }\n",
    )
    .expect("written");
    let make = || applying(server);
    let input = json!({ "paths": [path] });
    preview_writes_nothing(&Apply, make, input.clone()).await;
    runs_once(&Apply, make, input.clone()).await;
    resumes_after_each_checkpoint(&Apply, make, input.clone()).await;
    cancels_promptly(&Apply, make, input, Duration::from_millis(30), Duration::from_secs(5)).await;
}

pub(crate) async fn a_restore_keeps_what_a_step_type_promises(server: &Server) {
    let make = || lost(server);
    let input = json!({ "kinds": ["ConfigMap"] });
    preview_writes_nothing(&Restore, make, input.clone()).await;
    runs_once(&Restore, make, input.clone()).await;
    resumes_after_each_checkpoint(&Restore, make, input.clone()).await;
    cancels_promptly(&Restore, make, input, Duration::from_millis(30), Duration::from_secs(5)).await;
}
