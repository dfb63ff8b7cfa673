//! The columns of pods.

use serde_json::{Value, json};

use super::super::object::{self, items};
use super::{Column, age, name, or_none, text, wide};

pub(super) static PODS: &[Column] = &[
    text("Name", name),
    text("Ready", ready),
    text("Status", |pod| json!(status(pod))),
    text("Restarts", restarts),
    text("Age", age),
    wide("IP", |pod| or_none(object::text(pod, "/status/podIP"))),
    wide("Node", |pod| or_none(object::text(pod, "/spec/nodeName"))),
    wide("Nominated Node", |pod| {
        or_none(object::text(pod, "/status/nominatedNodeName"))
    }),
    wide("Readiness Gates", |_| json!("<none>")),
];

fn ready(pod: &Value) -> Value {
    let statuses = items(pod, "/status/containerStatuses");
    let ready = statuses.iter().filter(|status| status["ready"] == json!(true)).count();
    json!(format!("{ready}/{}", items(pod, "/spec/containers").len()))
}

fn restarts(pod: &Value) -> Value {
    let statuses = items(pod, "/status/containerStatuses");
    json!(
        statuses
            .iter()
            .map(|status| object::number(status, "/restartCount"))
            .sum::<i64>()
            .to_string()
    )
}

/// The word of the `STATUS` column: what keeps a container from running comes before the phase.
fn status(pod: &Value) -> String {
    if object::is_terminating(pod) {
        return "Terminating".to_owned();
    }
    let reason = |status: &Value| {
        ["waiting", "terminated"]
            .iter()
            .find_map(|state| status["state"][*state]["reason"].as_str().map(str::to_owned))
    };
    let first = items(pod, "/status/containerStatuses").iter().find_map(reason);
    first.unwrap_or_else(|| match object::text(pod, "/status/phase") {
        "" => "Unknown".to_owned(),
        phase => phase.to_owned(),
    })
}
