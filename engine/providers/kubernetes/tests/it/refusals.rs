//! Pods that the cluster does not take: no room for them, or a quota against them.

use std::time::{Duration, Instant};

use jm_provider_kubernetes::RolloutStatus;
use jm_step::{StepError, StepErrorKind};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::ResourceQuota;
use serde_json::{Value, json};

use crate::place::{Place, create};
use crate::server::Server;

fn app(extra: Value) -> Value {
    let labels = json!({ "app": "app" });
    let mut spec = json!({ "containers": [{ "name": "main", "image": "registry.example/app:1" }] });
    if let (Some(spec), Value::Object(extra)) = (spec.as_object_mut(), extra) {
        spec.extend(extra);
    }
    json!({ "metadata": { "name": "app" }, "spec": {
        "replicas": 1, "serviceName": "app", "selector": { "matchLabels": labels },
        "template": { "metadata": { "labels": labels }, "spec": spec } } })
}

async fn status(place: &Place<'_>, workload: &str) -> StepError {
    let input = json!({ "workload": workload });
    place.bench().await.run(&RolloutStatus, input).await.error()
}

pub(crate) async fn what_no_node_takes_is_told(server: &Server) {
    let place = Place::new(server).await;
    let mut app = app(json!({ "nodeSelector": { "no": "such-node" } }));
    app["spec"].as_object_mut().expect("an object").remove("serviceName");
    create(&place.api::<Deployment>(), app).await;
    let began = Instant::now();
    let error = status(&place, "deployment/app").await;
    assert_eq!(error.kind(), StepErrorKind::Failed);
    assert!(error.message().contains("Unschedulable"), "{error}");
    assert!(
        began.elapsed() > Duration::from_secs(50),
        "a cluster is given the time to grow"
    );
    let seen = error.summary().evidence.expect("evidence");
    assert_eq!(seen["pods"][0]["status"], "Pending");
    assert!(!seen["events"].as_array().expect("events").is_empty(), "{seen}");
}

pub(crate) async fn what_a_quota_refuses_fails_fast(server: &Server) {
    let place = Place::new(server).await;
    let quotas = place.api::<ResourceQuota>();
    create(
        &quotas,
        json!({ "metadata": { "name": "none" }, "spec": { "hard": { "pods": "0" } } }),
    )
    .await;
    // Its controller has to have counted before it is held to.
    for _ in 0..300 {
        let found = quotas.get("none").await.expect("there");
        if found.status.is_some_and(|status| status.hard.is_some()) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut deployment = app(json!({}));
    deployment["spec"]
        .as_object_mut()
        .expect("an object")
        .remove("serviceName");
    create(&place.api::<Deployment>(), deployment).await;
    create(&place.api::<StatefulSet>(), app(json!({}))).await;
    let began = Instant::now();
    for workload in ["deployment/app", "statefulset/app"] {
        let error = status(&place, workload).await;
        assert_eq!(error.kind(), StepErrorKind::Failed, "{error}");
        assert!(
            error.message().contains("FailedCreate") && error.message().contains("quota"),
            "{error}"
        );
    }
    assert!(began.elapsed() < Duration::from_mins(1), "that was not fast");
}
