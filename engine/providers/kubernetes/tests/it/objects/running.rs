//! What is applied, and does not come up; and what comes up, and is scaled meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use jm_provider_kubernetes::{Apply, Restore};
use jm_step::StepErrorKind;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::ListParams;
use serde_json::{Value, json};

use super::Scene;
use crate::line::{Line, State};
use crate::place::bench;
use crate::server::Server;

/// Objects that take longer to write than it takes to stop.
const MANY: usize = 1000;

fn write(folder: &Path, image: &str, replicas: Option<u32>) {
    let labels = json!({ "app": "web" });
    let mut web = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" }, "spec": {
        "selector": { "matchLabels": labels },
        "template": { "metadata": { "labels": labels }, "spec": { "containers": [{ "name": "main", "image": image }] } } } });
    if let Some(replicas) = replicas {
        web["spec"]["replicas"] = replicas.into();
    }
    std::fs::write(folder.join("web.json"), web.to_string()).expect("written");
}

/// Long before the time that a wave has is over, and with what a person would look for.
pub(crate) async fn what_will_not_come_up_fails_fast_with_its_pods(server: &Server) {
    for (image, reason) in [("bad", "ImagePull"), ("crash", "CrashLoopBackOff")] {
        let scene = Scene::new(server).await;
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), &format!("registry.example/{image}:1"), Some(1));
        let began = Instant::now();
        let input = json!({ "paths": [folder.path()], "images": "written" });
        let error = scene.bench().await.run(&Apply, input).await.error();
        assert!(began.elapsed() < Duration::from_mins(2), "of 300 s");
        assert_eq!(error.kind(), StepErrorKind::Failed, "{error}");
        assert!(error.message().contains(reason), "{error}");
        assert!(error.message().contains("pod `web-"), "{error}");
        let seen = error.summary().evidence.expect("evidence");
        assert!(seen["pods"][0]["trouble"]["reason"].is_string(), "{seen}");
    }
}

/// What a wave may take is for whoever waits for it to say: a workload that is over a deadline of its own is waited for.
pub(crate) async fn a_deadline_of_its_own_ends_no_wave(server: &Server) {
    let run = async |ready_seconds: u32| {
        let scene = Scene::new(server).await;
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), "registry.example/slow:1", Some(1));
        let place = folder.path().join("web.json");
        let mut web: Value = serde_json::from_slice(&std::fs::read(&place).expect("there")).expect("JSON");
        web["spec"]["progressDeadlineSeconds"] = 1.into();
        std::fs::write(place, web.to_string()).expect("written");
        let input = json!({ "paths": [folder.path()], "images": "written", "ready_seconds": ready_seconds });
        scene.bench().await.run(&Apply, input).await
    };
    run(60).await.output();
    let error = run(3).await.error();
    assert!(error.message().contains("after 3 s"), "{error}");
}

/// A pod that nothing is wrong with, but that does not get ready, is named when the time is up.
pub(crate) async fn what_is_late_is_told_with_its_pods(server: &Server) {
    let scene = Scene::new(server).await;
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "registry.example/bad:1", Some(1));
    let input = json!({ "paths": [folder.path()], "images": "written", "ready_seconds": 1 });
    let error = scene.bench().await.run(&Apply, input).await.error();
    assert!(error.message().contains("after 1 s"), "{error}");
    assert!(
        error
            .summary()
            .evidence
            .is_some_and(|seen| seen["workload"] == "deployment/web"),
        "{error}"
    );
}

/// What waits for another is not what a person has to mend.
pub(crate) async fn who_is_in_trouble_is_named_and_not_who_waits(server: &Server) {
    let scene = Scene::new(server).await;
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "registry.example/bad:1", Some(1));
    let text = std::fs::read_to_string(folder.path().join("web.json")).expect("there");
    let mut waits: Value = serde_json::from_str(&text).expect("JSON");
    waits["metadata"]["name"] = "a".into();
    waits["spec"]["minReadySeconds"] = 500.into();
    waits["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.example/web:1".into();
    for labels in ["/spec/selector/matchLabels/app", "/spec/template/metadata/labels/app"] {
        *waits.pointer_mut(labels).expect("a label") = "a".into();
    }
    std::fs::write(folder.path().join("a.json"), waits.to_string()).expect("written");
    let input = json!({ "paths": [folder.path()], "images": "written", "ready_seconds": 8 });
    let error = scene.bench().await.run(&Apply, input).await.error();
    assert!(error.message().contains("deployment.apps/web is not ready"), "{error}");
    assert!(error.message().contains("ImagePull"), "{error}");
}

/// What became of each object is what is asked first where not all came up.
pub(crate) async fn results_are_kept_however_it_ends(server: &Server) {
    let config = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "c" } });
    let unheard = json!({ "apiVersion": "example.com/v1", "kind": "Unheard", "metadata": { "name": "u" } });
    let run = async |ready_seconds: u32, wait: bool, stop: bool| {
        let scene = Scene::new(server).await;
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), "registry.example/bad:1", Some(1));
        for (name, object) in [("config.json", &config), ("unheard.json", &unheard)] {
            std::fs::write(folder.path().join(name), object.to_string()).expect("written");
        }
        let input =
            json!({ "paths": [folder.path()], "images": "written", "ready_seconds": ready_seconds, "wait": wait });
        let bench = scene.bench().await;
        let stopping = async {
            while stop && scene.place.pods("web").await.is_empty() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            if stop {
                bench.cancellation().cancel();
            }
        };
        let (ran, ()) = tokio::join!(bench.run(&Apply, input), stopping);
        let kept = ran.kept("objects.jsonl").expect("the results are kept");
        let place = format!("artefacts/{}", ran.artefacts[0].sha256);
        let error = ran.error();
        assert!(error.hint_text().is_some_and(|hint| hint.contains(&place)), "{error:?}");
        let results = kept
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let results: Vec<String> = results
            .map(|line| line["result"].as_str().expect("a result").to_owned())
            .collect();
        (error.kind(), results)
    };
    let both = vec!["created".to_owned(), "created".to_owned()];
    assert_eq!(run(1, true, false).await, (StepErrorKind::Failed, both.clone()));
    assert_eq!(run(300, true, true).await, (StepErrorKind::Cancelled, both.clone()));
    let all = [both, vec!["failed".to_owned()]].concat();
    assert_eq!(run(300, false, false).await, (StepErrorKind::NotFound, all));
}

/// Of what was begun, and of nothing else; of what the server does not answer that nobody knows.
pub(crate) async fn a_stop_tells_of_all_that_was_written(server: &Server) {
    for state in [State::Up, State::Stalled] {
        let scene = Scene::new(server).await;
        let folder = tempfile::tempdir().expect("a folder");
        let configs = (0..MANY).map(|index| scene.object("v1", "ConfigMap", &format!("c-{index}")).to_string());
        let documents = configs.collect::<Vec<_>>().join("\n---\n");
        std::fs::write(folder.path().join("all.yaml"), documents).expect("written");
        let line = Line::to(&server.kubeconfig).await;
        let bench = bench(&line.kubeconfig, scene.namespace()).await;
        let api = scene.place.api::<ConfigMap>();
        let there = async || {
            let all = api.list(&ListParams::default()).await.expect("a list");
            let names = all.items.into_iter().filter_map(|config| config.metadata.name);
            names.filter(|name| name.starts_with("c-")).collect::<BTreeSet<_>>()
        };
        let stopping = async {
            while there().await.is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            line.set(state);
            bench.cancellation().cancel();
            Instant::now()
        };
        let (ran, stopped) = tokio::join!(bench.run(&Apply, json!({ "paths": [folder.path()] })), stopping);
        assert!(stopped.elapsed() < Duration::from_secs(5), "{:?}", stopped.elapsed());
        let kept = ran.kept("objects.jsonl").expect("the results are kept");
        assert_eq!(ran.error().kind(), StepErrorKind::Cancelled);
        let mut told = BTreeMap::<String, BTreeSet<String>>::new();
        for line in kept.lines() {
            let line: Value = serde_json::from_str(line).expect("JSON");
            let text = |field: &str| line[field].as_str().expect("a text").to_owned();
            let name = text("object").rsplit_once('/').expect("a name").1.to_owned();
            told.entry(text("result")).or_default().insert(name);
        }
        // What the server has heard it does, whoever listens.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let there = there().await;
        assert!(there.len() < MANY, "it stopped");
        let (created, unknown) = (
            told.remove("created").unwrap_or_default(),
            told.remove("unknown").unwrap_or_default(),
        );
        assert_eq!(told, BTreeMap::new());
        assert!(created.is_subset(&there), "{created:?}");
        let untold: BTreeSet<_> = &(&there - &created) - &unknown;
        assert_eq!(untold, BTreeSet::new(), "they were written");
        assert_eq!(unknown.is_empty(), state == State::Up, "{unknown:?}");
    }
}

/// Of two sources the second names no count: what the first has brought goes on as it is.
pub(crate) async fn a_count_that_nobody_names_stays(server: &Server) {
    let scene = Scene::new(server).await;
    scene.place.deploy("web", "registry.example/web:1", 3).await;
    scene.export(json!({})).await;
    let gone = scene.object("apps/v1", "Deployment", "web");
    scene.delete(&gone).await;
    let restore = json!({ "images": "written", "objects": ["deployment/web"] });
    scene.bench().await.run(&Restore, restore).await.output();
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "registry.example/web:2", None);
    let input = json!({ "paths": [folder.path()], "images": "written" });
    let told = "no count is written for what keeps the replicas that it has";
    let foretold = scene
        .bench()
        .await
        .preview(&Apply, input.clone())
        .await
        .expect("a preview");
    assert!(foretold.summary.contains(told), "{}", foretold.summary);
    let ran = scene.bench().await.run(&Apply, input).await;
    assert_eq!(foretold.changes, ran.changes);
    let said = format!("{:?}", ran.log);
    assert!(
        said.contains(told) && said.contains("deployment.apps/web (3)"),
        "{said}"
    );
    assert_eq!(ran.output()["counts"]["updated"], 1);
    assert_eq!(scene.place.count("web").await.0, 3);
}

/// A quota lets nothing in until its controller has counted.
pub(crate) async fn what_a_new_quota_counts_is_let_in(server: &Server) {
    let scene = Scene::new(server).await;
    let folder = tempfile::tempdir().expect("a folder");
    let put = |object: &Value| {
        let path = folder
            .path()
            .join(format!("{}.json", object["metadata"]["name"].as_str().expect("a name")));
        std::fs::write(path, object.to_string()).expect("written");
    };
    let mut quota = scene.object("v1", "ResourceQuota", "few");
    quota["spec"] = json!({ "hard": { "count/configmaps": "90", "count/secrets": "90" } });
    put(&quota);
    for number in 0..40 {
        put(&scene.object("v1", "ConfigMap", &format!("c-{number}")));
        put(&scene.object("v1", "Secret", &format!("s-{number}")));
    }
    let input = json!({ "paths": [folder.path()] });
    assert_eq!(
        scene.bench().await.run(&Apply, input).await.output()["counts"]["created"],
        81
    );

    // Nor is one that somebody else has only just made the end of it.
    let other = Scene::new(server).await;
    let mut quota = other.object("v1", "ResourceQuota", "few");
    quota["spec"] = json!({ "hard": { "count/configmaps": "90" } });
    let path = folder.path().join("c.json");
    std::fs::write(&path, other.object("v1", "ConfigMap", "c").to_string()).expect("written");
    other.put(&quota).await;
    let input = json!({ "paths": [path] });
    assert_eq!(
        other.bench().await.run(&Apply, input).await.output()["counts"]["created"],
        1
    );
}

pub(crate) async fn what_an_autoscaler_has_scaled_is_left_to_it(server: &Server) {
    let scene = Scene::new(server).await;
    let folder = tempfile::tempdir().expect("a folder");
    let apply = async |image: &str, replicas: Option<u32>| {
        write(folder.path(), image, replicas);
        let input = json!({ "paths": [folder.path()], "images": "written" });
        let bench = scene.bench().await;
        let preview = bench.preview(&Apply, input.clone()).await.expect("a preview");
        let ran = bench.run(&Apply, input).await;
        assert_eq!(preview.changes, ran.changes);
        ran.output()["counts"].clone()
    };
    apply("registry.example/web:1", Some(2)).await;
    let count = async || scene.place.count("web").await.0;
    scene.place.autoscale("web", 1, 9).await;

    // jm has set the count, and nobody else yet: it does not fall to one where the manifest names none any more.
    apply("registry.example/web:1", None).await;
    assert_eq!(count().await, 2);

    // As the autoscaler writes it.
    let scaled: Value = json!({ "spec": { "replicas": 5 } });
    scene.place.patch("web", scaled).await;
    let counts = apply("registry.example/web:1", Some(2)).await;
    assert_eq!((count().await, &counts["unchanged"]), (5, &json!(1)), "{counts}");
    apply("registry.example/web:2", Some(2)).await;
    assert_eq!(count().await, 5, "the rest of it is applied");
}
