//! What every step type owes, in namespaces made afresh.

use std::time::Duration;

use jm_provider_kubernetes::{
    Describe, Pods, Quiesce, Ready, Restart, Resume, RolloutHistory, RolloutStatus, Scale, SetImage,
};
use jm_step::AnyStepType;
use jm_testkit::StepBench;
use jm_testkit::conformance::{
    World, cancels_promptly, preview_writes_nothing, resumes_after_each_checkpoint, runs_once,
};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use crate::place::Place;
use crate::server::Server;

/// A namespace with `web`, from a moment on after which writes count.
struct Fresh<'s> {
    place: Place<'s>,
    before: usize,
    bench: StepBench,
}

impl World for Fresh<'_> {
    fn bench(&self) -> StepBench {
        self.bench.clone()
    }
    fn effects(&self) -> usize {
        self.place.writes() - self.before
    }
}

fn fresh(server: &Server, quiesced: bool) -> Fresh<'_> {
    let making = async {
        let place = if quiesced {
            Place::with_quiesced_web(server, 2).await
        } else {
            Place::with_web(server, 2).await
        };
        Fresh {
            before: place.writes(),
            bench: place.bench().await,
            place,
        }
    };
    block_in_place(|| Handle::current().block_on(making))
}

/// Each step type with an input, and whether it begins with `web` quiesced.
fn cases() -> [(&'static dyn AnyStepType, Value, bool); 10] {
    let image = format!("registry.example/web@sha256:{}", "ab".repeat(32));
    let of_web = json!({ "workloads": [{ "workload": "deployment/web", "replicas": 2 }] });
    [
        (&Quiesce, json!({ "workloads": ["deployment/web"] }), false),
        (&Resume, json!({ "quiesced": of_web }), true),
        (&Scale, json!({ "workload": "deployment/web", "replicas": 3 }), false),
        (&RolloutStatus, json!({ "workload": "deployment/web" }), false),
        (&Ready, json!({ "namespace": true }), false),
        (
            &SetImage,
            json!({ "workload": "deployment/web", "container": "main", "image": image }),
            false,
        ),
        (&Restart, json!({ "workload": "deployment/web" }), false),
        (&RolloutHistory, json!({ "workload": "deployment/web" }), false),
        (&Pods, json!({ "workload": "deployment/web" }), false),
        (&Describe, json!({ "workload": "deployment/web" }), false),
    ]
}

pub(crate) async fn previews_write_nothing_and_say_what_runs_do(server: &Server) {
    for (step, input, quiesced) in cases() {
        preview_writes_nothing(step, || fresh(server, quiesced), input).await;
    }
}

pub(crate) async fn twice_equals_once(server: &Server) {
    for (step, input, quiesced) in cases() {
        runs_once(step, || fresh(server, quiesced), input).await;
    }
}

pub(crate) async fn each_save_can_be_gone_on_from(server: &Server) {
    for (step, input, quiesced) in cases() {
        if ["kubernetes.quiesce", "kubernetes.scale", "kubernetes.set_image"].contains(&step.name()) {
            resumes_after_each_checkpoint(step, || fresh(server, quiesced), input).await;
        }
    }
}

pub(crate) async fn a_stop_is_heard(server: &Server) {
    for (step, input, quiesced) in cases() {
        let (after, patience) = (Duration::from_millis(30), Duration::from_secs(2));
        cancels_promptly(step, || fresh(server, quiesced), input, after, patience).await;
    }
}
