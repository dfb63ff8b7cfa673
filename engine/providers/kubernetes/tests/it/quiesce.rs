//! `kubernetes.quiesce`: what is written down, what is stopped, and who is in the way.

use std::time::Duration;

use jm_provider_kubernetes::Quiesce;
use jm_step::{Grade, StepErrorKind};
use serde_json::{Value, json};

use crate::place::{Place, bench};
use crate::server::Server;

fn web() -> Value {
    json!({ "workloads": ["deployment/web"] })
}

pub(crate) async fn counts_are_written_down_before_the_stop(server: &Server) {
    let place = Place::with_web(server, 3).await;
    place.autoscale("web", 2, 9).await;
    let before = place.writes();
    let announced = place.bench().await.preview(&Quiesce, web()).await.expect("a preview");
    assert_eq!(announced.grade, Grade::Computed);
    assert_eq!(place.writes(), before, "a preview is not to write");

    let ran = place.bench().await.run(&Quiesce, web()).await;
    let expected = json!({ "workloads": [{
        "workload": "deployment/web", "replicas": 3, "autoscaler": { "name": "web", "min": 2, "max": 9 } }] });
    assert_eq!(ran.outputs, std::slice::from_ref(&expected), "saved before the stop");
    assert_eq!(ran.changes, announced.changes);
    assert_eq!(announced.predicted, Some(expected.clone()));
    assert_eq!(ran.output(), expected);
    assert_eq!(place.writes(), before + 1, "count and mark in one write");
    assert_eq!(place.count("web").await, (0, Some("3".to_owned())));
    assert_eq!(
        place.pods("web").await,
        Vec::<String>::new(),
        "the pods are gone, not only unwanted"
    );
}

pub(crate) async fn a_mark_wins_over_a_count_of_zero(server: &Server) {
    let place = Place::with_quiesced_web(server, 2).await;
    let writes = place.writes();
    // Another run, which has no memory of the first.
    let announced = place.bench().await.preview(&Quiesce, web()).await.expect("a preview");
    assert_eq!((announced.grade, announced.changes.len()), (Grade::Verified, 0));
    let again = place.quiesce("web").await;
    assert_eq!(again["workloads"][0]["replicas"], 2);
    assert_eq!(place.writes(), writes, "there was nothing to change");
    assert_eq!(place.count("web").await, (0, Some("2".to_owned())));
}

pub(crate) async fn what_is_not_there_is_named_with_its_namespace(server: &Server) {
    let place = Place::new(server).await;
    for namespace in [place.namespace.as_str(), "no-such-namespace"] {
        let bench = bench(&server.kubeconfig, namespace).await;
        let announced = bench.preview(&Quiesce, web()).await.expect_err("the dry run finds out");
        let error = bench.run(&Quiesce, web()).await.error();
        for error in [announced, error] {
            assert_eq!(error.kind(), StepErrorKind::NotFound);
            assert!(error.message().contains(&format!("namespace `{namespace}`")), "{error}");
        }
    }
}

pub(crate) async fn somebody_who_scales_it_up_again_is_noticed(server: &Server) {
    let place = Place::with_web(server, 1).await;
    let pod = place.pods("web").await.remove(0);
    place.hold(&pod, true).await;
    let somebody = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        place.patch("web", json!({ "spec": { "replicas": 2 } })).await;
    };
    let bench = place.bench().await;
    let (ran, ()) = tokio::join!(bench.run(&Quiesce, web()), somebody);
    place.hold(&pod, false).await;
    let error = ran.error();
    assert_eq!(error.kind(), StepErrorKind::Conflict);
    assert!(error.message().contains("scaled deployment/web to 2"), "{error}");
}

pub(crate) async fn pods_of_another_workload_are_not_waited_for(server: &Server) {
    let place = Place::with_web(server, 1).await;
    // Its pods carry the labels that the selector of `web` asks for, and one more.
    let labels = json!({ "app": "web", "part": "other" });
    let other = json!({
        "metadata": { "name": "other" },
        "spec": {
            "replicas": 1, "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels },
                "spec": { "containers": [{ "name": "main", "image": "registry.example/other:1" }] } },
        },
    });
    let other = serde_json::from_value(other).expect("a deployment");
    let api = place.api::<k8s_openapi::api::apps::v1::Deployment>();
    api.create(&kube::api::PostParams::default(), &other)
        .await
        .expect("made");
    place.until_ready("other", 1).await;
    place.quiesce("web").await;
    assert_eq!(place.pods("web").await.len(), 1, "the other one's pod goes on");
}
