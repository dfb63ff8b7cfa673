//! What people look at first when something does not become ready: the pods in lines, the description of one that is not
//! well, its events, the last lines of its log. A little of it goes with the error, all of it into the step's log.

use jm_client_kubernetes::{LogRequest, PodLine, PodState, Reader, Trouble, Workload};
use jm_step::{StepContext, StepError};
use serde_json::{Value, json};

use crate::logs;
use crate::redact::{last_lines, redact};

/// The most pods that an error names.
const MOST_PODS: usize = 8;
/// The most bytes of a log that go with an error.
const MOST_OF_LOG: usize = 1200;
/// The most lines of a log that go into the step's log.
const LINES: u32 = 100;
/// Trouble before a container ever ran: there is no log.
const NEVER_RAN: &[&str] = &[
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "Unschedulable",
];

/// Gathers it. That something of it cannot be read is no second failure.
pub(crate) async fn gather(
    cx: &StepContext,
    cluster: &Reader,
    state: &Workload,
    pods: &[PodState],
    trouble: &Trouble,
) -> Value {
    let mut lines = cluster.pod_lines(state).await.unwrap_or_default();
    let of = |line: &PodLine| pods.iter().find(|pod| pod.name == line.name);
    // Those that somebody has to look at come first: of many, only a few are shown.
    lines.sort_by_key(|line| of(line).map(|pod| (pod.trouble.is_none(), pod.ready)));
    let shown: Vec<Value> = lines
        .iter()
        .take(MOST_PODS)
        .map(|line| {
            let trouble = of(line).and_then(|pod| pod.trouble.as_ref());
            json!({ "name": line.name, "ready": line.ready, "status": line.status, "restarts": line.restarts, "trouble": trouble })
        })
        .collect();
    let events = cluster.warnings(&state.workload.name).await.unwrap_or_default();
    let events: Vec<String> = events.iter().map(|event| redact(cx.secrets(), event)).collect();
    let mut found = json!({
        "workload": state.workload.to_string(),
        "replicas": { "wanted": state.replicas, "updated": state.updated, "ready": state.ready, "available": state.available },
        "pods": shown,
        "events": events,
    });
    if let Some(log) = log(cx, cluster, trouble).await {
        found["log"] = json!(log);
    }
    let described = match trouble.pod.as_str() {
        "" => cluster.describe(&state.workload).await,
        pod => cluster.describe_pod(pod).await,
    };
    keep(cx, described).await;
    found
}

/// The last lines of the log of the pod that is in trouble: of the run that ended, where one did.
async fn log(cx: &StepContext, cluster: &Reader, trouble: &Trouble) -> Option<String> {
    if trouble.pod.is_empty() || NEVER_RAN.contains(&trouble.reason.as_str()) {
        return None;
    }
    let pod = [trouble.pod.clone()];
    let mut text = String::new();
    for previous in [true, false] {
        let wanted = LogRequest {
            previous,
            lines: LINES,
            ..LogRequest::default()
        };
        let read = logs::read(cluster, &pod, &wanted, cx.secrets())
            .await
            .unwrap_or_default();
        for log in read.logs.iter().filter(|log| !log.text.is_empty()) {
            let which = if previous { ", the run before" } else { "" };
            let head = format!("--- {} ({}{which})\n", log.pod, log.container);
            text.extend([&head, log.text.trim_end(), "\n"]);
        }
    }
    for line in text.lines() {
        cx.log(line).await;
    }
    (!text.is_empty()).then(|| last_lines(text.trim_end(), MOST_OF_LOG))
}

/// Keeps a description in the step's log.
async fn keep(cx: &StepContext, described: Result<String, StepError>) {
    let text = described.unwrap_or_else(|error| format!("it cannot be described: {error}"));
    for line in redact(cx.secrets(), &text).lines() {
        cx.log(line).await;
    }
}
