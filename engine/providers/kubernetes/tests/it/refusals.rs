//! Pods that the cluster does not take: no room for them, or a quota against them.

use std::time::{Duration, Instant};

use jm_provider_kubernetes::RolloutStatus;
use jm_step::{StepError, StepErrorKind, clock};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{Event, Node, ResourceQuota};
use kube::api::{Api, ListParams, Patch, PatchParams};
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

/// Lets so many pods be in a namespace.
async fn allow_pods(place: &Place<'_>, most: u32) {
    let quotas = place.api::<ResourceQuota>();
    let hard = json!({ "pods": most.to_string() });
    create(
        &quotas,
        json!({ "metadata": { "name": "pods" }, "spec": { "hard": hard } }),
    )
    .await;
    // Its controller has to have counted before it is held to.
    for _ in 0..300 {
        let found = quotas.get("pods").await.expect("there");
        if found.status.is_some_and(|status| status.hard.is_some()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the quota is not counted after 30 s");
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
    allow_pods(&place, 0).await;
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

/// A rollout of two pods that do not heed the signal to end, in a namespace that lets so many pods in.
async fn stubborn_rollout(place: &Place<'_>, most: u32) {
    place.deploy("web", "registry.example/stubborn:1", 2).await;
    place.until_ready("web", 2).await;
    allow_pods(place, most).await;
    let strategy = json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 1 } });
    place.patch("web", json!({ "spec": { "strategy": strategy } })).await;
    place.image("web", "registry.example/stubborn:2").await;
}

/// A quota counts a pod until it is gone, and one that does not heed the signal to end is there for its whole grace period.
pub(crate) async fn a_quota_that_ending_pods_fill_is_waited_for(server: &Server) {
    let place = Place::new(server).await;
    stubborn_rollout(&place, 2).await;
    let began = Instant::now();
    let input = json!({ "workload": "deployment/web" });
    let ran = place.bench().await.run(&RolloutStatus, input).await;
    assert!(
        ran.log.iter().any(|line| line.contains("quota")),
        "nothing was refused: {:?}",
        ran.log
    );
    assert_eq!(ran.output(), json!({ "replicas": 2, "ready": 2 }));
    assert!(began.elapsed() > Duration::from_secs(10), "nothing was waited for");
}

pub(crate) async fn a_quota_that_is_full_still_once_pods_have_ended_is_told(server: &Server) {
    let place = Place::new(server).await;
    stubborn_rollout(&place, 1).await;
    let began = Instant::now();
    let error = status(&place, "deployment/web").await;
    assert_eq!(error.kind(), StepErrorKind::Failed, "{error}");
    assert!(
        error.message().contains("FailedCreate") && error.message().contains("quota"),
        "{error}"
    );
    let took = began.elapsed();
    assert!(took > Duration::from_secs(10), "the pods had not ended after {took:?}");
    assert!(
        took < Duration::from_mins(2),
        "the next refusal was not heard: {took:?}"
    );
}

/// A cluster that makes nodes as they are needed says of a pod that one comes, which takes minutes.
pub(crate) async fn a_node_that_was_ordered_is_waited_for(server: &Server) {
    let place = Place::new(server).await;
    let mut app = app(json!({ "nodeSelector": { "pool": place.namespace } }));
    app["spec"].as_object_mut().expect("an object").remove("serviceName");
    create(&place.api::<Deployment>(), app).await;
    let grow = async {
        let pod = loop {
            if let Some(pod) = place.pods("app").await.pop() {
                break pod;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        create(&place.api::<Event>(), ordered(&place.namespace, &pod)).await;
        tokio::time::sleep(Duration::from_secs(65)).await;
        let nodes: Api<Node> = Api::all(server.client().await);
        let node = nodes.list(&ListParams::default()).await.expect("nodes").items.remove(0);
        let name = node.metadata.name.expect("a name");
        let label = json!({ "metadata": { "labels": { "pool": place.namespace } } });
        let labelled = nodes.patch(&name, &PatchParams::default(), &Patch::Merge(label)).await;
        labelled.expect("labelled");
    };
    let input = json!({ "workload": "deployment/app" });
    let bench = place.bench().await;
    let (ran, ()) = tokio::join!(bench.run(&RolloutStatus, input), grow);
    assert_eq!(ran.output(), json!({ "replicas": 1, "ready": 1 }));
}

/// What the cluster autoscaler says of a pod for which it has ordered a node.
fn ordered(namespace: &str, pod: &str) -> Value {
    json!({
        "metadata": { "name": format!("{pod}.ordered") }, "type": "Normal", "reason": "TriggeredScaleUp",
        "message": "pod triggered scale-up: [{pool 1->2 (max: 5)}]", "lastTimestamp": clock::now().to_string(),
        "source": { "component": "cluster-autoscaler" },
        "involvedObject": { "apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": pod },
    })
}
