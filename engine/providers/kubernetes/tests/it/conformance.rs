//! What every step type owes, in namespaces made afresh.

use std::time::Duration;

use jm_provider_kubernetes::{
    Describe, Logs, Pods, Quiesce, Ready, Restart, Resume, RolloutHistory, RolloutStatus, RolloutUndo, Scale, SetImage,
    Stopped,
};
use jm_step::AnyStepType;
use jm_testkit::StepBench;
use jm_testkit::conformance::{
    World, cancels_promptly, preview_writes_nothing, resumes_after_each_checkpoint, runs_once, saves_nothing,
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

/// How `web` is when a case begins.
#[derive(Debug, Clone, Copy)]
enum Web {
    /// It runs.
    Runs,
    /// It is quiesced.
    Quiesced,
    /// It runs its second image.
    Updated,
}

fn fresh(server: &Server, web: Web) -> Fresh<'_> {
    let making = async {
        let place = match web {
            Web::Runs | Web::Updated => Place::with_web(server, 2).await,
            Web::Quiesced => Place::with_quiesced_web(server, 2).await,
        };
        if matches!(web, Web::Updated) {
            let input = json!({ "workload": "deployment/web", "container": "main", "image": image() });
            place.bench().await.run(&SetImage, input).await.output();
        }
        Fresh {
            before: place.writes(),
            bench: place.bench().await,
            place,
        }
    };
    block_in_place(|| Handle::current().block_on(making))
}

fn image() -> String {
    format!("registry.example/web@sha256:{}", "ab".repeat(32))
}

/// Each step type with an input, and how `web` is when it begins.
fn cases() -> [(&'static dyn AnyStepType, Value, Web); 12] {
    let of_web = json!({ "workloads": [{ "workload": "deployment/web", "replicas": 2 }] });
    let web = json!({ "workload": "deployment/web" });
    [
        (&Quiesce, json!({ "workloads": ["deployment/web"] }), Web::Runs),
        (&Resume, json!({ "quiesced": of_web }), Web::Quiesced),
        (
            &Scale,
            json!({ "workload": "deployment/web", "replicas": 3 }),
            Web::Runs,
        ),
        (&Stopped, json!({}), Web::Quiesced),
        (&RolloutStatus, web.clone(), Web::Runs),
        (&Ready, json!({ "namespace": true }), Web::Runs),
        (
            &SetImage,
            json!({ "workload": "deployment/web", "container": "main", "image": image() }),
            Web::Runs,
        ),
        (&Restart, web.clone(), Web::Runs),
        (&RolloutHistory, web.clone(), Web::Runs),
        (&RolloutUndo, web.clone(), Web::Updated),
        (&Pods, web.clone(), Web::Runs),
        (&Describe, web, Web::Runs),
    ]
}

pub(crate) async fn previews_write_nothing_and_say_what_runs_do(server: &Server) {
    for (step, input, web) in cases() {
        preview_writes_nothing(step, || fresh(server, web), input).await;
    }
}

pub(crate) async fn twice_equals_once(server: &Server) {
    for (step, input, web) in cases() {
        runs_once(step, || fresh(server, web), input).await;
    }
}

pub(crate) async fn each_save_can_be_gone_on_from(server: &Server) {
    for (step, input, web) in cases() {
        let saving = [
            "kubernetes.quiesce",
            "kubernetes.scale",
            "kubernetes.set_image",
            "kubernetes.rollout_undo",
        ];
        if saving.contains(&step.name()) {
            resumes_after_each_checkpoint(step, || fresh(server, web), input).await;
        } else {
            saves_nothing(step, || fresh(server, web), input).await;
        }
    }
}

pub(crate) async fn a_stop_is_heard(server: &Server) {
    for (step, input, web) in cases() {
        let (after, patience) = (Duration::from_millis(30), Duration::from_secs(2));
        cancels_promptly(step, || fresh(server, web), input, after, patience).await;
    }
}

/// On the stand-in alone: no kubelet of the control plane of these tests has logs.
pub(crate) async fn logs_keep_what_a_step_type_promises(server: &Server) {
    let input = || json!({ "workload": "deployment/web" });
    let make = || fresh(server, Web::Runs);
    preview_writes_nothing(&Logs, make, input()).await;
    runs_once(&Logs, make, input()).await;
    saves_nothing(&Logs, make, input()).await;
    let (after, patience) = (Duration::from_millis(30), Duration::from_secs(2));
    cancels_promptly(&Logs, make, input(), after, patience).await;
}
