//! Who may not, and servers that do not answer.

use std::time::{Duration, Instant};

use jm_provider_kubernetes::{Quiesce, Resume};
use jm_step::StepErrorKind;
use jm_testkit::StepBench;
use serde_json::{Value, json};

use crate::line::{Line, State};
use crate::place::{Place, bench};
use crate::server::Server;

fn web() -> Value {
    json!({ "workloads": ["deployment/web"] })
}

pub(crate) async fn a_viewer_may_look_and_not_stop(server: &Server) {
    let place = Place::with_web(server, 1).await;
    let viewer = bench(&server.viewer, &place.namespace).await;
    let writes = place.writes();
    let announced = viewer.preview(&Quiesce, web()).await.expect("looking is allowed");
    assert_eq!(announced.changes.len(), 1);
    let ran = viewer.run(&Quiesce, web()).await;
    assert_eq!((ran.outputs.len(), ran.changes.len()), (1, 0));
    let error = ran.error();
    assert_eq!(error.kind(), StepErrorKind::Denied, "{error}");
    assert!(error.message().contains("cannot scale deployment/web to 0"), "{error}");
    assert!(error.summary().hint.is_some_and(|hint| hint.contains("Role")));
    assert_eq!(place.writes(), writes);
    assert_eq!(place.count("web").await, (1, None));
}

/// A deployment that needs five seconds to come back, and a line to it.
async fn slow(place: &Place<'_>) -> (Line, StepBench, Value) {
    place.deploy("web", "registry.example/slow:1", 0).await;
    let line = Line::to(&place.server.kubeconfig).await;
    let bench = bench(&line.kubeconfig, &place.namespace).await;
    let input = json!({ "quiesced": { "workloads": [{ "workload": "deployment/web", "replicas": 1 }] } });
    (line, bench, input)
}

pub(crate) async fn an_api_server_that_comes_back_is_waited_for(server: &Server) {
    let place = Place::new(server).await;
    let (line, bench, input) = slow(&place).await;
    let gap = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        line.set(State::Cut);
        tokio::time::sleep(Duration::from_secs(5)).await;
        line.set(State::Up);
    };
    let began = Instant::now();
    let (ran, ()) = tokio::join!(bench.run(&Resume, input), gap);
    assert_eq!(ran.changes.len(), 1);
    assert_eq!(ran.output()["workloads"][0]["replicas"], 1);
    assert!(began.elapsed() > Duration::from_secs(6), "the gap fell into the wait");
}

pub(crate) async fn a_stalled_api_server_does_not_hold_up_a_stop(server: &Server) {
    let place = Place::new(server).await;
    let (line, bench, input) = slow(&place).await;
    let cancel = bench.cancellation();
    let mut stopped = Instant::now();
    let stop = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        line.set(State::Stalled);
        tokio::time::sleep(Duration::from_secs(1)).await;
        stopped = Instant::now();
        cancel.cancel();
    };
    let (ran, ()) = tokio::join!(bench.run(&Resume, input), stop);
    assert_eq!(ran.error().kind(), StepErrorKind::Cancelled);
    assert!(stopped.elapsed() < Duration::from_secs(1), "{:?}", stopped.elapsed());
}

pub(crate) async fn an_api_server_that_is_away_is_unavailable(server: &Server) {
    let place = Place::with_web(server, 1).await;
    let line = Line::to(&server.kubeconfig).await;
    let bench = bench(&line.kubeconfig, &place.namespace).await;
    line.set(State::Cut);
    let ran = bench.run(&Quiesce, web()).await;
    assert!(ran.outputs.is_empty(), "nothing is known, so nothing is written down");
    let error = ran.error();
    assert_eq!(error.kind(), StepErrorKind::Unavailable);
    assert!(error.summary().hint.is_some_and(|hint| hint.contains("KUBECONFIG")));
    line.set(State::Up);
    bench.run(&Quiesce, web()).await.output();
}
