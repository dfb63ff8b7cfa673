//! Connections that are lost in the middle of a request or of its answer, and the end that it comes to all the same.

use std::path::Path;
use std::time::Duration;

use jm_provider_kubernetes::{Apply, Export};
use jm_step::StepErrorKind;
use jm_testkit::StepBench;
use serde_json::{Value, json};

use crate::line::{Line, Way};
use crate::objects::Scene;
use crate::place::bench;
use crate::server::Server;

/// So many that several are under way whenever the line breaks.
const OBJECTS: usize = 120;
/// In how many parts what passes one way is cut: at the end of each but the last it breaks.
const PARTS: u64 = 5;

fn config_map(index: usize) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": format!("c-{index}") },
        "data": { "index": index.to_string(), "text": "x".repeat(300) } })
}

fn write_manifests(folder: &Path) -> Value {
    let documents: Vec<String> = (0..OBJECTS).map(|index| config_map(index).to_string()).collect();
    let path = folder.join("all.yaml");
    std::fs::write(&path, documents.join("\n---\n")).expect("written");
    json!({ "paths": [path] })
}

/// A namespace, and a line to its server.
async fn through_a_line(server: &Server) -> (Scene<'_>, Line, StepBench) {
    let scene = Scene::new(server).await;
    let line = Line::to(&server.kubeconfig).await;
    let bench = bench(&line.kubeconfig, scene.namespace()).await;
    (scene, line, bench)
}

/// All of them are there as they were to be, written by jm alone, and nothing is left to do.
async fn check(scene: &Scene<'_>, input: &Value, when: &str) {
    for index in 0..OBJECTS {
        let mut wanted = config_map(index);
        wanted["metadata"]["namespace"] = scene.namespace().into();
        let found = scene
            .get(&wanted)
            .await
            .unwrap_or_else(|| panic!("{when}: {index} is not there"));
        assert_eq!(found["data"], wanted["data"], "{when}");
        let managers = found["metadata"]["managedFields"].as_array().expect("managers");
        assert_eq!(managers.len(), 1, "{when}: {managers:?}");
    }
    let left = scene
        .bench()
        .await
        .preview(&Apply, input.clone())
        .await
        .expect("a preview");
    assert_eq!(left.changes, [], "{when}");
}

/// Where a line breaks: at the end of each part of what passes when it does not, both ways.
fn breaks(whole: &Line) -> Vec<(Way, u64)> {
    let mut all = Vec::new();
    for way in [Way::There, Way::Back] {
        let passed = whole.passed(way);
        all.extend((1..PARTS).map(|part| (way, passed * part / PARTS)));
    }
    all
}

pub(crate) async fn an_apply_whose_line_breaks_anywhere_is_taken_up_again(server: &Server) {
    let folder = tempfile::tempdir().expect("a folder");
    let input = write_manifests(folder.path());
    let (_, whole, bench) = through_a_line(server).await;
    bench.run(&Apply, input.clone()).await.output();
    let mut within = 0;
    for (way, bytes) in breaks(&whole) {
        let when = format!("broken after {bytes} bytes {way:?}");
        let (scene, line, bench) = through_a_line(server).await;
        line.break_after(way, bytes);
        let first = bench.run(&Apply, input.clone()).await;
        let told = first.changes.len();
        let error = first.error();
        assert_eq!(error.kind(), StepErrorKind::Unavailable, "{when}: {error}");
        line.mend();
        let second = bench.attempt(2).run(&Apply, input.clone()).await.output();
        let counts = &second["counts"];
        let count = |what: &str| counts[what].as_u64().expect("a count");
        assert_eq!(
            count("created") + count("unchanged"),
            OBJECTS as u64,
            "{when}: {counts}"
        );
        // What the first attempt was told of is there; of an answer that did not come it cannot know.
        assert!(count("unchanged") >= told as u64, "{when}: {told} changes, {counts}");
        within += usize::from(count("unchanged") > 0 && count("created") > 0);
        check(&scene, &input, &when).await;
    }
    assert!(
        within >= 3,
        "the line broke only {within} times while objects were applied"
    );
}

pub(crate) async fn a_line_that_is_mended_soon_is_waited_for(server: &Server) {
    let folder = tempfile::tempdir().expect("a folder");
    let input = write_manifests(folder.path());
    let (_, whole, bench) = through_a_line(server).await;
    bench.run(&Apply, input.clone()).await.output();
    for (way, bytes) in breaks(&whole) {
        let when = format!("broken after {bytes} bytes {way:?}");
        let (scene, line, bench) = through_a_line(server).await;
        line.break_after(way, bytes);
        let mend = async {
            line.broken().await;
            tokio::time::sleep(Duration::from_millis(500)).await;
            line.mend();
        };
        let (ran, ()) = tokio::join!(bench.run(&Apply, input.clone()), mend);
        assert_eq!(ran.changes.len(), OBJECTS, "{when}");
        ran.output();
        check(&scene, &input, &when).await;
    }
}

pub(crate) async fn an_export_whose_line_breaks_anywhere_is_whole_or_none(server: &Server) {
    let folder = tempfile::tempdir().expect("a folder");
    let manifests = write_manifests(folder.path());
    let (scene, line, _) = through_a_line(server).await;
    scene.bench().await.run(&Apply, manifests).await.output();
    let input = json!({ "cluster_scope": "none" });
    let through = async || {
        bench(&line.kubeconfig, scene.namespace())
            .await
            .with("backups", scene.backups().await)
    };
    let before = line.passed(Way::Back);
    through().await.key("whole").run(&Export, input.clone()).await.output();
    let (passed, whole) = (line.passed(Way::Back) - before, scene.tree().await);
    for part in 1..PARTS {
        let key = format!("deed-{part}");
        let made = scene.exports();
        let bench = through().await.key(&key);
        line.break_after(Way::Back, passed * part / PARTS);
        let error = bench.run(&Export, input.clone()).await.error();
        assert_eq!(error.kind(), StepErrorKind::Unavailable, "part {part}: {error}");
        assert_eq!(scene.exports(), made, "part {part}: half an export counts");
        line.mend();
        bench.attempt(2).run(&Export, input.clone()).await.output();
        assert_eq!(scene.tree().await, whole, "part {part}");
    }
}
