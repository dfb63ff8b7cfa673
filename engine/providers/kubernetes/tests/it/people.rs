//! `kubernetes.pods`, `.logs` and `.describe`.

use std::time::{Duration, Instant};

use jm_provider_kubernetes::{Describe, Logs, Pods};
use jm_step::{Secrets, StepErrorKind};
use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::line::{Line, State};
use crate::place::{Place, bench};
use crate::proxy::{Fault, Proxy};
use crate::server::Server;

/// A machine that has much to do ends nothing on time, but long before a follower that nobody ends.
const LATE: Duration = Duration::from_mins(1);

pub(crate) async fn pods_are_listed_as_kubectl_does(server: &Server) {
    let place = Place::with_web(server, 2).await;
    let writes = place.writes();
    let input = json!({ "workload": "deployment/web" });
    let announced = place
        .bench()
        .await
        .preview(&Pods, input.clone())
        .await
        .expect("a preview");
    let output = place.bench().await.run(&Pods, input).await.output();
    assert_eq!(announced.predicted.as_ref(), Some(&output));
    let pods = output["pods"].as_array().expect("pods");
    assert_eq!(pods.len(), 2);
    for pod in pods {
        assert_eq!(
            (&pod["ready"], &pod["status"], &pod["restarts"]),
            (&json!("1/1"), &json!("Running"), &json!(0))
        );
        assert!(pod["node"].as_str().is_some_and(|node| !node.is_empty()), "{pod}");
    }
    let all = place.bench().await.run(&Pods, json!({})).await.output();
    assert_eq!(all, output);
    let none = place
        .bench()
        .await
        .run(&Pods, json!({ "selector": "app=other" }))
        .await
        .output();
    assert_eq!(none["pods"], json!([]));
    assert_eq!(place.writes(), writes);
}

pub(crate) async fn what_is_described_helps_and_tells_no_secret(server: &Server) {
    let place = Place::with_web(server, 1).await;
    let env = json!([{ "name": "DATABASE_PASSWORD", "value": "hunter22" }]);
    let containers = json!([{ "name": "main", "image": "registry.example/crash:1", "env": env }]);
    place
        .patch(
            "web",
            json!({ "spec": { "template": { "spec": { "containers": containers } } } }),
        )
        .await;
    let describe = |input: Value| {
        let bench = place.bench();
        async move {
            let output = bench.await.run(&Describe, input).await.output();
            output["text"].as_str().expect("text").to_owned()
        }
    };
    let mut text = String::new();
    for _ in 0..100 {
        text = describe(json!({ "workload": "deployment/web" })).await;
        if text.contains("CrashLoopBackOff") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    for part in [
        "Replicas:",
        "CrashLoopBackOff",
        "DATABASE_PASSWORD",
        "registry.example/crash:1",
        "ScalingReplicaSet",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(!text.contains("hunter22"), "{text}");
    let pod = text
        .lines()
        .find(|line| line.contains("CrashLoopBackOff") && line.trim().starts_with("web-"));
    let pod = pod.expect("its line").split_whitespace().next().expect("its name");
    let text = describe(json!({ "pod": pod })).await;
    assert!(
        text.contains("waiting: CrashLoopBackOff") && text.contains("Controlled by: ReplicaSet/web-"),
        "{text}"
    );
    assert!(!text.contains("hunter22"), "{text}");
    let error = place
        .bench()
        .await
        .run(&Describe, json!({ "pod": "nobody" }))
        .await
        .error();
    assert_eq!(error.kind(), StepErrorKind::NotFound);
}

/// On the stand-in alone: no kubelet of the control plane of these tests has logs.
pub(crate) async fn logs_are_read_and_masked(server: &Server) {
    let place = Place::with_web(server, 2).await;
    let output = place
        .bench()
        .await
        .run(&Logs, json!({ "workload": "deployment/web" }))
        .await
        .output();
    let logs = output["logs"].as_array().expect("logs");
    assert_eq!(logs.len(), 2);
    assert!(
        logs[0]["text"]
            .as_str()
            .is_some_and(|text| text.contains("main started at")),
        "{output}"
    );
    // Whatever the run knows as a secret is masked, and does not fail the step.
    let secrets = Secrets::new();
    secrets.register("started");
    let pod = place.pods("web").await.remove(0);
    let bench = place.bench().await.secrets(secrets);
    let output = bench.run(&Logs, json!({ "pod": pod, "lines": 5 })).await.output();
    assert!(
        output["logs"][0]["text"]
            .as_str()
            .is_some_and(|text| text.contains("main [secret] at")),
        "{output}"
    );
    place.deploy("ill", "registry.example/bad:1", 1).await;
    let ill = loop {
        if let Some(pod) = place.pods("ill").await.pop() {
            break pod;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    let output = place.bench().await.run(&Logs, json!({ "pod": ill })).await.output();
    assert!(
        output["logs"][0]["text"]
            .as_str()
            .is_some_and(|text| text.contains("waiting to start")),
        "{output}"
    );
}

/// The kubelet of a node that is gone does not answer, and a pod may go while the others are read.
pub(crate) async fn a_log_that_cannot_be_read_leaves_the_others(server: &Server) {
    let place = Place::with_web(server, 3).await;
    let proxy = Proxy::to(server).await;
    let bench = bench(&proxy.kubeconfig, &place.namespace).await;
    let pods = place.pods("web").await;
    let answers = |pod: &str, end: &str, status: u16| {
        let end = format!("/pods/{pod}{end}");
        let fits = move |_: usize, asked: &str| asked.split('?').next().is_some_and(|path| path.ends_with(&end));
        proxy.fail(usize::MAX, Fault::Status(status), fits);
    };
    answers(&pods[0], "/log", 500);
    answers(&pods[1], "", 404);
    let ran = bench.run(&Logs, json!({ "workload": "deployment/web" })).await;
    assert_eq!(ran.degraded.len(), 1, "{:?}", ran.degraded);
    assert!(
        pods[..2].iter().all(|pod| ran.degraded[0].contains(pod)),
        "{:?}",
        ran.degraded
    );
    let output = ran.output();
    let text = |pod: &str| {
        let all = output["logs"].as_array().expect("logs");
        let log = all.iter().find(|log| log["pod"] == *pod)?;
        Some(log["text"].as_str().expect("a text").to_owned())
    };
    assert!(
        text(&pods[0]).is_some_and(|text| text.starts_with("(cannot read the log")),
        "{output}"
    );
    assert_eq!(text(&pods[1]), None);
    assert!(
        text(&pods[2]).is_some_and(|text| text.starts_with("main started at")),
        "{output}"
    );

    let elsewhere = json!({ "workload": "deployment/web", "container": "sidecar" });
    let error = bench.run(&Logs, elsewhere).await.error();
    let (seen, why_not) = error.message().split_once("; ").expect("both");
    assert!(
        seen.contains(&pods[0]) && seen.contains(&pods[2]) && !seen.contains(&pods[1]),
        "{error}"
    );
    assert!(why_not.contains(&pods[1]), "{error}");

    answers(&pods[2], "/log", 500);
    let error = bench.run(&Logs, json!({ "pod": pods[2] })).await.error();
    assert_eq!(
        error.kind(),
        StepErrorKind::Unavailable,
        "where nothing can be read, another attempt may: {error}"
    );
}

/// The stand-in's container says how many seconds it runs, one line for each.
fn seconds(lines: &[String]) -> Vec<u64> {
    let told = lines
        .iter()
        .filter_map(|line| line.strip_prefix("main runs for ")?.strip_suffix(" s"));
    told.map(|second| second.parse().expect("a number")).collect()
}

pub(crate) async fn logs_are_followed_over_a_cut_until_the_pod_is_gone(server: &Server) {
    let place = Place::with_web(server, 1).await;
    let pod = place.pods("web").await.remove(0);
    let line = Line::to(&server.kubeconfig).await;
    let bench = bench(&line.kubeconfig, &place.namespace).await;
    let happens = async {
        tokio::time::sleep(Duration::from_millis(2500)).await;
        line.set(State::Cut);
        tokio::time::sleep(Duration::from_secs(3)).await;
        line.set(State::Up);
        tokio::time::sleep(Duration::from_secs(4)).await;
        let gone = place.api::<Pod>().delete(&pod, &DeleteParams::default()).await;
        gone.expect("deleted");
    };
    let following = bench.run(&Logs, json!({ "pod": pod, "follow": true, "follow_seconds": 600 }));
    let began = Instant::now();
    let (ran, ()) = tokio::join!(following, happens);
    assert!(began.elapsed() < LATE, "it ends with the pod");
    assert!(ran.log[0].starts_with("main started at"), "{:?}", ran.log);
    let told = seconds(&ran.log);
    let whole: Vec<u64> = (told[0]..=told[told.len() - 1]).collect();
    assert_eq!(told, whole, "no line twice, and none left out");
    assert!(told.len() >= 7, "the cut is spanned: {told:?}");
    let kept = ran.log.join("\n");
    let output = ran.output();
    assert_eq!(
        output["logs"][0]["text"].as_str().map(str::trim_end),
        Some(kept.as_str())
    );
}

/// A name that is mistyped would be waited for in vain.
pub(crate) async fn a_container_that_no_pod_has_is_told_with_those_that_there_are(server: &Server) {
    let place = Place::with_web(server, 2).await;
    for follow in [false, true] {
        let input =
            json!({ "workload": "deployment/web", "container": "mainly", "follow": follow, "follow_seconds": 600 });
        let began = Instant::now();
        let error = place.bench().await.run(&Logs, input).await.error();
        assert_eq!(error.kind(), StepErrorKind::NotFound, "{error}");
        assert!(error.message().contains("`mainly`"), "{error}");
        assert!(error.hint_text().is_some_and(|hint| hint.contains("main")), "{error:?}");
        assert!(began.elapsed() < LATE, "at once");
    }
    let input = json!({ "workload": "deployment/web", "container": "main" });
    let output = place.bench().await.run(&Logs, input).await.output();
    assert_eq!(output["logs"].as_array().map(Vec::len), Some(2), "{output}");
}

pub(crate) async fn what_is_waited_for_while_following_is_told_once(server: &Server) {
    let place = Place::new(server).await;
    place.deploy("ill", "registry.example/bad:1", 1).await;
    let ill = loop {
        if let Some(pod) = place.pods("ill").await.pop() {
            break pod;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let input = json!({ "pod": ill, "follow": true, "follow_seconds": 4 });
    let ran = place.bench().await.run(&Logs, input).await;
    let waiting = ran.log.iter().filter(|line| line.contains("waiting to start"));
    // As often as the reason changes, and not with each look.
    assert!((1..=3).contains(&waiting.count()), "{:?}", ran.log);
    assert!(
        ran.log.iter().any(|line| line.contains("`follow_seconds`")),
        "{:?}",
        ran.log
    );
    assert_eq!(ran.output()["cut_off"], json!(true));
}

pub(crate) async fn following_ends_when_its_time_is_up_or_it_is_told_to_stop(server: &Server) {
    let place = Place::with_web(server, 2).await;
    let input = |seconds: u64| json!({ "workload": "deployment/web", "follow": true, "follow_seconds": seconds });
    let secrets = Secrets::new();
    secrets.register("runs for");
    let bench = place.bench().await.secrets(secrets);
    let began = Instant::now();
    let ran = bench.run(&Logs, input(3)).await;
    assert!(began.elapsed() >= Duration::from_secs(3), "{:?}", began.elapsed());
    assert!(began.elapsed() < LATE, "{:?}", began.elapsed());
    for pod in place.pods("web").await {
        let masked = format!("{pod} main: main [secret] ");
        assert!(ran.log.iter().any(|line| line.starts_with(&masked)), "{:?}", ran.log);
    }
    assert!(!ran.log.iter().any(|line| line.contains("runs for")), "{:?}", ran.log);
    assert_eq!(ran.output()["logs"].as_array().map(Vec::len), Some(2));

    let bench = place.bench().await;
    let cancel = bench.cancellation();
    let stop = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        cancel.cancel();
    };
    let began = Instant::now();
    let (ran, ()) = tokio::join!(bench.run(&Logs, input(600)), stop);
    assert_eq!(ran.error().kind(), StepErrorKind::Cancelled);
    assert!(began.elapsed() < LATE, "{:?}", began.elapsed());
}
