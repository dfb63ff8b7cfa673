//! What the probes say of attempts that ended at different points.

use std::time::Duration;

use jm_provider_kubernetes::{Quiesce, Resume, Scale};
use jm_step::{AnyStepType, Probe, StepErrorKind};
use jm_testkit::{Ran, StepBench};
use serde_json::{Value, json};

use crate::place::Place;
use crate::server::Server;

async fn probe(bench: StepBench, step: &dyn AnyStepType, input: &Value) -> Probe<Value> {
    bench.probe(step, input.clone()).await.expect("an answer")
}

fn is_partial(verdict: &Probe<Value>) -> bool {
    matches!(verdict, Probe::Partial { .. })
}

/// Runs a step and stops it a moment after its change.
async fn stopped_after_its_change(bench: &StepBench, step: &dyn AnyStepType, input: &Value) -> Ran {
    let cancel = bench.cancellation();
    let stop = async {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        cancel.cancel();
    };
    let (ran, ()) = tokio::join!(bench.run(step, input.clone()), stop);
    assert_eq!(ran.changes.len(), 1, "it came as far as its change");
    let end = ran.result.as_ref().expect("an end").as_ref();
    assert_eq!(end.map_err(jm_step::StepError::kind), Err(StepErrorKind::Cancelled));
    ran
}

pub(crate) async fn quiesce_is_told_at_every_point(server: &Server) {
    let place = Place::with_web(server, 2).await;
    let input = json!({ "workloads": ["deployment/web"] });
    assert_eq!(probe(place.bench().await, &Quiesce, &input).await, Probe::NotStarted);

    let cut = place.bench().await.run_until(&Quiesce, input.clone(), 1).await;
    assert!(cut.result.is_none() && cut.changes.is_empty(), "cut before the patch");
    let saved = cut.outputs[0].clone();
    let resumed = || async { place.bench().await.saved_output(saved.clone()) };
    assert_eq!(probe(resumed().await, &Quiesce, &input).await, Probe::NotStarted);

    let pod = place.pods("web").await.remove(0);
    place.hold(&pod, true).await;
    stopped_after_its_change(&resumed().await, &Quiesce, &input).await;
    assert_eq!(place.count("web").await, (0, Some("2".to_owned())));
    let verdict = probe(resumed().await, &Quiesce, &input).await;
    assert!(is_partial(&verdict), "its pods are still there: {verdict:?}");

    place.hold(&pod, false).await;
    let output = resumed().await.run(&Quiesce, input.clone()).await.output();
    assert_eq!(output, saved, "the count of before, though it was found at zero");
    assert_eq!(probe(resumed().await, &Quiesce, &input).await, Probe::Succeeded(saved));
}

pub(crate) async fn resume_and_scale_are_told_at_every_point(server: &Server) {
    let place = Place::new(server).await;
    place.deploy("web", "registry.example/slow:1", 0).await;
    let input = json!({ "quiesced": { "workloads": [{ "workload": "deployment/web", "replicas": 1 }] } });
    assert_eq!(probe(place.bench().await, &Resume, &input).await, Probe::NotStarted);
    stopped_after_its_change(&place.bench().await, &Resume, &input).await;
    let verdict = probe(place.bench().await, &Resume, &input).await;
    assert!(is_partial(&verdict), "its pods are not ready yet: {verdict:?}");
    let again = place.bench().await.run(&Resume, input.clone()).await;
    assert!(again.changes.is_empty(), "it only waits");
    let output = again.output();
    assert_eq!(
        probe(place.bench().await, &Resume, &input).await,
        Probe::Succeeded(output)
    );

    let input = json!({ "workload": "deployment/web", "replicas": 2 });
    assert_eq!(probe(place.bench().await, &Scale, &input).await, Probe::NotStarted);
    let saved = json!({ "previous": 1, "replicas": 2 });
    let resumed = || async { place.bench().await.saved_output(saved.clone()) };
    assert_eq!(probe(resumed().await, &Scale, &input).await, Probe::NotStarted);
    stopped_after_its_change(&resumed().await, &Scale, &input).await;
    assert!(is_partial(&probe(resumed().await, &Scale, &input).await));
    assert_eq!(resumed().await.run(&Scale, input.clone()).await.output(), saved);
    assert_eq!(
        probe(resumed().await, &Scale, &input).await,
        Probe::Succeeded(saved.clone())
    );
}
