//! `kubernetes.resume`: the count that comes back, and what keeps it from coming.

use std::time::{Duration, Instant};

use jm_provider_kubernetes::{Quiesce, Resume, Scale};
use jm_step::{StepError, StepErrorKind};
use serde_json::{Value, json};

use crate::place::Place;
use crate::server::Server;

/// What a quiesce says that knew this much of `web`.
fn quiesced(of_web: Value) -> Value {
    let mut entry = json!({ "workload": "deployment/web" });
    let known = of_web.as_object().expect("an object").clone();
    entry.as_object_mut().expect("an object").extend(known);
    json!({ "workloads": [entry] })
}

async fn resume(place: &Place<'_>, input: Value) -> Value {
    let announced = place
        .bench()
        .await
        .preview(&Resume, input.clone())
        .await
        .expect("a preview");
    let ran = place.bench().await.run(&Resume, input).await;
    assert_eq!(ran.changes, announced.changes);
    let output = ran.output();
    assert_eq!(announced.predicted.as_ref(), Some(&output));
    output
}

fn replicas(output: &Value) -> &Value {
    &output["workloads"][0]["replicas"]
}

pub(crate) async fn what_was_written_down_comes_back(server: &Server) {
    let place = Place::with_web(server, 3).await;
    let outputs = place.quiesce("web").await;
    let output = resume(&place, json!({ "quiesced": outputs, "fallback_replicas": 10 })).await;
    assert_eq!(*replicas(&output), 3);
    assert_eq!(place.count("web").await, (3, None), "the mark is off");
    assert_eq!(place.pods("web").await.len(), 3);
    let nothing = place.bench().await.run(&Resume, json!({ "quiesced": {} })).await;
    assert_eq!(nothing.output(), json!({ "workloads": [] }), "a quiesce that never ran");
}

pub(crate) async fn one_that_is_gone_keeps_no_other_stopped(server: &Server) {
    let place = Place::with_quiesced_web(server, 2).await;
    let known = |workloads: &[&str]| {
        let entries = workloads.iter().map(|one| json!({ "workload": one, "replicas": 2 }));
        json!({ "quiesced": { "workloads": entries.collect::<Vec<_>>() } })
    };
    let input = known(&["deployment/gone", "deployment/web", "statefulset/gone-too"]);
    let error = place.bench().await.run(&Resume, input).await.error();
    assert_eq!(error.kind(), StepErrorKind::NotFound);
    for part in [
        "2 of 3 workloads are not back",
        "deployment/gone: ",
        "statefulset/gone-too: ",
    ] {
        assert!(error.message().contains(part), "no `{part}` in {error}");
    }
    assert_eq!(place.count("web").await, (2, None), "it is back");
    assert_eq!(place.pods("web").await.len(), 2, "and was waited for");
    let input = known(&["deployment/gone", "deployment/web"]);
    let error = place.bench().await.run(&Resume, input).await.error();
    assert!(error.message().contains("deployment/gone"), "{error}");
}

pub(crate) async fn without_a_journal_the_mark_tells(server: &Server) {
    let place = Place::with_quiesced_web(server, 2).await;
    let output = resume(
        &place,
        json!({ "quiesced": quiesced(json!({})), "fallback_replicas": 10 }),
    )
    .await;
    assert_eq!(*replicas(&output), 2);
}

pub(crate) async fn a_fallback_is_for_what_nobody_knows(server: &Server) {
    let place = Place::with_web(server, 0).await;
    let outputs = place.quiesce("web").await;
    assert_eq!(outputs, quiesced(json!({})), "nobody knows what it was");
    let unknown = place
        .bench()
        .await
        .run(&Resume, json!({ "quiesced": outputs }))
        .await
        .error();
    assert_eq!(unknown.kind(), StepErrorKind::NotFound);
    assert_eq!(place.count("web").await, (0, None));
    let output = resume(&place, json!({ "quiesced": outputs, "fallback_replicas": 2 })).await;
    assert_eq!(*replicas(&output), 2);
}

/// What jm noted when it scaled says nothing of a zero that somebody else has set long after.
pub(crate) async fn a_note_of_an_earlier_scale_does_not_count(server: &Server) {
    let place = Place::with_web(server, 1).await;
    let scale = async |replicas: u32| {
        let input = json!({ "workload": "deployment/web", "replicas": replicas });
        place.bench().await.run(&Scale, input).await.output();
    };
    let by_hand = async |fallback: u32| {
        place.patch("web", json!({ "spec": { "replicas": 0 } })).await;
        let outputs = place.quiesce("web").await;
        let output = resume(&place, json!({ "quiesced": outputs, "fallback_replicas": fallback })).await;
        assert_eq!(*replicas(&output), fallback);
    };
    scale(2).await;
    by_hand(3).await;
    scale(0).await;
    let outputs = place.quiesce("web").await;
    let output = resume(&place, json!({ "quiesced": outputs, "fallback_replicas": 1 })).await;
    assert_eq!(*replicas(&output), 3, "the zero was jm's, and so was the note");
    by_hand(2).await;
}

pub(crate) async fn an_autoscaler_is_not_undercut(server: &Server) {
    let place = Place::with_web(server, 0).await;
    place.autoscale("web", 2, 5).await;
    let bounds = json!({ "name": "web", "min": 2, "max": 5 });
    let outputs = quiesced(json!({ "replicas": 1, "autoscaler": bounds }));
    let output = resume(&place, json!({ "quiesced": outputs })).await;
    assert_eq!(*replicas(&output), 2);
}

pub(crate) async fn put_back_and_stopped_again(server: &Server) {
    let place = Place::with_web(server, 2).await;
    let outputs = place.quiesce("web").await;
    resume(&place, json!({ "quiesced": outputs })).await;
    // As the engine does it after `undoes`: the saved output of the first time is still there.
    let bench = place.bench().await.saved_output(outputs);
    let again = bench
        .run(&Quiesce, json!({ "workloads": ["deployment/web"] }))
        .await
        .output();
    assert_eq!(*replicas(&again), 2);
    assert_eq!(place.count("web").await, (0, Some("2".to_owned())));
    let output = resume(&place, json!({ "quiesced": again })).await;
    assert_eq!(*replicas(&output), 2);
}

pub(crate) async fn an_image_that_cannot_be_pulled_fails_fast(server: &Server) {
    let error = fails(server, "registry.example/bad:1").await;
    assert!(error.message().contains("ImagePull"), "{error}");
    assert!(error.message().contains("pod `web-"), "{error}");
    let seen = error.summary().evidence.expect("evidence");
    assert_eq!(seen["replicas"]["wanted"], 1);
    assert!(seen["pods"][0]["trouble"]["reason"].is_string(), "{seen}");
}

pub(crate) async fn a_crash_loop_fails_with_the_way_to_its_log(server: &Server) {
    let error = fails(server, "registry.example/crash:1").await;
    assert!(error.message().contains("CrashLoopBackOff"), "{error}");
    let hint = error.summary().hint.expect("a hint");
    assert!(hint.contains("kubectl logs web-"), "{hint}");
}

async fn fails(server: &Server, image: &str) -> StepError {
    let place = Place::new(server).await;
    place.deploy("web", image, 0).await;
    let began = Instant::now();
    let input = json!({ "quiesced": quiesced(json!({ "replicas": 1 })) });
    let error = place.bench().await.run(&Resume, input).await.error();
    assert_eq!(error.kind(), StepErrorKind::Failed, "{error}");
    assert!(began.elapsed() < Duration::from_secs(40), "that was not fast");
    error
}
