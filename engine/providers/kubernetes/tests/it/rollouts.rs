//! `kubernetes.scale`, `kubernetes.rollout_status` and `kubernetes.ready`.

use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};
use jm_client_kubernetes::SCALED_FROM;
use jm_provider_kubernetes::{Ready, RolloutStatus, Scale};
use jm_step::process::Supervisor;
use jm_step::{
    AnyStepType, Connections, ContextParts, Environment, Expect, Grade, Identity, IdentityGate, OpenContext, Registry,
    Secrets, StepContext, StepError, StepErrorKind, Target, TargetName,
};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::place::{Place, bench, create};
use crate::server::Server;

pub(crate) async fn scale_goes_up_and_down(server: &Server) {
    let place = Place::with_web(server, 1).await;
    for (from, to) in [(1, 3), (3, 0), (0, 2)] {
        let input = json!({ "workload": "deployment/web", "replicas": to });
        let announced = place
            .bench()
            .await
            .preview(&Scale, input.clone())
            .await
            .expect("a preview");
        let ran = place.bench().await.run(&Scale, input).await;
        assert_eq!(ran.changes, announced.changes);
        assert_eq!(ran.output(), json!({ "previous": from, "replicas": to }));
        assert_eq!(place.count("web").await.0, to);
        let noted = place.annotation("web", SCALED_FROM).await;
        let for_no_journal = (to == 0).then(|| from.to_string());
        assert_eq!(noted, for_no_journal, "of a zero that jm has set, and of no other");
        let pods = place.pods("web").await.len();
        assert_eq!(i32::try_from(pods).expect("few"), to, "it waits for the pods");
    }
    let same = json!({ "workload": "deployment/web", "replicas": 2 });
    let announced = place.bench().await.preview(&Scale, same).await.expect("a preview");
    assert_eq!((announced.grade, announced.changes.len()), (Grade::Verified, 0));
}

pub(crate) async fn a_rollout_is_followed_to_its_end(server: &Server) {
    let place = Place::with_web(server, 2).await;
    let input = json!({ "workload": "deployment/web" });
    let status = |bench: jm_testkit::StepBench| {
        let input = input.clone();
        async move { bench.run(&RolloutStatus, input).await }
    };
    let expected = json!({ "replicas": 2, "ready": 2 });
    assert_eq!(status(place.bench().await).await.output(), expected);

    place.image("web", "registry.example/bad:2").await;
    let error = status(place.bench().await).await.error();
    assert_eq!(error.kind(), StepErrorKind::Failed);
    assert!(error.message().contains("ImagePull"), "{error}");

    // Mended, while the pods of the bad image and what the controller said of them are still there.
    place.image("web", "registry.example/web:3").await;
    assert_eq!(status(place.bench().await).await.output(), expected);

    place.patch("web", json!({ "spec": { "paused": true } })).await;
    place.image("web", "registry.example/web:4").await;
    let error = status(place.bench().await).await.error();
    assert_eq!(error.kind(), StepErrorKind::Conflict);
    assert!(error.message().contains("paused"), "{error}");
}

pub(crate) async fn a_cordoned_node_takes_nothing(server: &Server) {
    let place = Place::new(server).await;
    let nodes: Api<Node> = Api::all(server.client().await);
    let found = nodes.list(&ListParams::default()).await.expect("nodes").items;
    for node in &found {
        let cordon = Patch::Merge(json!({ "spec": { "unschedulable": true } }));
        let name = node.metadata.name.as_deref().expect("a name");
        let patched = nodes.patch(name, &PatchParams::default(), &cordon).await;
        patched.expect("patched");
    }
    let error = place.bench().await.run(&Ready, json!({ "nodes": 1 })).await.error();
    let said = format!("0 of {} nodes are ready and take pods", found.len());
    assert!(error.message().contains(&said), "{error}");
}

/// A readiness probe that fails is no trouble that Kubernetes names: only the time tells.
pub(crate) async fn what_is_not_ready_in_time_is_told_with_pods_events_and_logs(server: &Server) {
    let place = Place::with_web(server, 9).await;
    let strategy = json!({ "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } });
    place.patch("web", json!({ "spec": { "strategy": strategy } })).await;
    place.image("web", "registry.example/unready:2").await;
    let bench = place.bench().await;
    let status = bench.run(&RolloutStatus, json!({ "workload": "deployment/web" }));
    let late = async {
        tokio::time::sleep(std::time::Duration::from_secs(3)).await;
        bench.time_is_up();
    };
    let (ran, ()) = tokio::join!(status, late);
    let log = ran.log.join("\n");
    assert!(log.contains("Status:") && log.contains("main started at"), "{log}");
    let error = ran.error();
    assert_eq!(error.kind(), StepErrorKind::Failed, "{error}");
    assert!(error.message().contains("NotReady: 1 of 9 replicas"), "{error}");
    assert!(error.hint_text().is_some_and(|hint| hint.contains("kubectl describe")));
    let seen = error.summary().evidence.expect("evidence");
    let pods = seen["pods"].as_array().expect("pods");
    assert_eq!(
        (pods.len(), &pods[0]["ready"], &pods[0]["status"]),
        (8, &json!("0/1"), &json!("Running")),
        "the one of ten that is not well comes first: {seen}"
    );
    assert!(seen["events"].to_string().contains("Readiness probe failed"), "{seen}");
    assert!(seen["log"].to_string().contains("main started at"), "{seen}");
}

pub(crate) async fn a_workload_that_wants_nothing_serves_nobody(server: &Server) {
    let place = Place::with_web(server, 0).await;
    let input = json!({ "workload": "deployment/web", "at_least": 1 });
    let bench = place.bench().await;
    let announced = bench.preview(&RolloutStatus, input.clone()).await.expect("a preview");
    assert_eq!(
        announced.grade,
        Grade::Declared,
        "it may be scaled before this comes to pass"
    );
    let error = bench.run(&RolloutStatus, input).await.error();
    assert_eq!(error.kind(), StepErrorKind::Failed);
    assert!(error.message().contains("wants 0 replicas"), "{error}");
    let nothing = bench.run(&RolloutStatus, json!({ "workload": "deployment/web" })).await;
    assert_eq!(nothing.output()["replicas"], 0, "who asks for nothing more gets it");
}

pub(crate) async fn a_cluster_says_what_it_lacks(server: &Server) {
    let place = Place::new(server).await;
    let good = json!({ "nodes": 1, "min_version": "1.20", "namespace": true });
    let found = place.bench().await.run(&Ready, good.clone()).await.output();
    assert_eq!(found["ready_nodes"], 1);
    let announced = place.bench().await.preview(&Ready, good).await.expect("a preview");
    assert_eq!((announced.grade, announced.predicted), (Grade::Verified, Some(found)));

    let mut much = json!({ "nodes": 50, "namespace": true });
    let bench = bench(&server.kubeconfig, "no-such-namespace").await;
    let error = bench.run(&Ready, much.clone()).await.error();
    assert_eq!(
        error.kind(),
        StepErrorKind::Unavailable,
        "a cluster may still be coming up"
    );
    much["min_version"] = json!("9.9");
    let error = bench.run(&Ready, much).await.error();
    assert_eq!(
        error.kind(),
        StepErrorKind::Failed,
        "it does not become another version"
    );
    for said in ["50 are wanted", "9.9 is the least", "`no-such-namespace` is not there"] {
        assert!(error.message().contains(said), "{error}");
    }
}

/// A run that knows another cluster, and lets a new one in only where a step says that it expects one.
struct KnowsAnother;

impl IdentityGate for KnowsAnother {
    fn admit<'a>(&'a self, _: &'a Target, _: Identity, expect: Expect) -> BoxFuture<'a, Result<(), StepError>> {
        let refused = || StepError::refused("target `cluster` is another system now");
        async move { (expect == Expect::New).then_some(()).ok_or_else(refused) }.boxed()
    }
}

async fn ready_elsewhere(server: &Server, expect: &str) -> Result<Value, StepError> {
    let (messages, mut heard) = tokio::sync::mpsc::channel(16);
    tokio::spawn(async move { while heard.recv().await.is_some() {} });
    let cx = StepContext::new(parts_elsewhere(server), messages);
    let step: &dyn AnyStepType = &Ready;
    step.run(&cx, json!({ "expect": expect })).await
}

fn parts_elsewhere(server: &Server) -> ContextParts {
    let registry = Registry::new().with(jm_provider_kubernetes::provider());
    let name: TargetName = "cluster".parse().expect("a name");
    let target = Target {
        name: name.clone(),
        connection: Arc::clone(registry.connection("kubernetes").expect("a connection type")),
        config: json!({ "kubeconfig": server.kubeconfig, "namespace": "app" }),
        pinned: None,
    };
    let run = jm_testkit::info("test");
    let open = OpenContext {
        secrets: Secrets::new(),
        environment: Environment::default(),
        run: run.id.clone(),
    };
    ContextParts {
        run: Arc::new(run),
        step: "step".parse().expect("a name"),
        attempt: 1,
        tried_again: false,
        idempotency_key: "key".to_owned(),
        bindings: Arc::new([("cluster".to_owned(), name)].into()),
        connections: Connections::new([target], Arc::new(KnowsAnother), open),
        checkpoint: None,
        saved_output: None,
        announced: Arc::default(),
        cancel: tokio_util::sync::CancellationToken::new(),
        late: tokio_util::sync::CancellationToken::new(),
        secrets: Secrets::new(),
        supervisor: Supervisor::none(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_empty_cluster_is_taken_for_a_new_one() {
    let server = Server::stand_in().await;
    let error = ready_elsewhere(&server, "same").await.expect_err("another cluster");
    assert_eq!(error.kind(), StepErrorKind::Refused);
    ready_elsewhere(&server, "new").await.expect("it is empty");
    // Whatever runs is somebody's, also where nothing keeps it running.
    let place = Place::new(&server).await;
    let template = json!({ "spec": { "restartPolicy": "Never", "containers": [{ "name": "main", "image": "registry.example/x:1" }] } });
    create(
        &place.api::<Job>(),
        json!({ "metadata": { "name": "once" }, "spec": { "template": template } }),
    )
    .await;
    let error = ready_elsewhere(&server, "new").await.expect_err("a Job is somebody's");
    assert!(error.message().contains("1 workloads of its own"), "{error}");

    let server = Server::stand_in().await;
    let place = Place::new(&server).await;
    let mut pod = template;
    pod["metadata"] = json!({ "name": "alone" });
    create(&place.api::<Pod>(), pod).await;
    let error = ready_elsewhere(&server, "new").await.expect_err("a pod is somebody's");
    assert!(error.message().contains("1 workloads of its own"), "{error}");

    let server = Server::stand_in().await;
    let place = Place::with_web(&server, 1).await;
    drop(place);
    let error = ready_elsewhere(&server, "new").await.expect_err("it is somebody's");
    assert_eq!(error.kind(), StepErrorKind::Refused);
    assert!(error.message().contains("1 workloads of its own"), "{error}");
}
