//! `kubernetes.pods`, `.logs` and `.describe`.

use jm_provider_kubernetes::{Describe, Logs, Pods};
use jm_step::{Secrets, StepErrorKind};
use serde_json::{Value, json};

use crate::place::Place;
use crate::server::Server;

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
