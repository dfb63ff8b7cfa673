//! Objects as `kubectl describe` prints them, without anything that could be a secret: of environment variables the
//! names and where they come from, never their values; no annotations but those that jm and `kubectl rollout` know.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::api::core::v1::{Container, ContainerState, ContainerStatus, EnvVar, Event, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::DynamicObject;
use serde_json::Value;

use crate::autoscaler::BOUNDS_MARK;
use crate::cron_job::SUSPEND_MARK;
use crate::pod_line::PodLine;
use crate::workload::{MARK, REVISION, SCALED_FROM, Workload};

/// Annotations that are shown.
const KNOWN: &[&str] = &[
    MARK,
    SCALED_FROM,
    BOUNDS_MARK,
    SUSPEND_MARK,
    REVISION,
    "kubernetes.io/change-cause",
];
/// Where values begin.
const COLUMN: usize = 14;

/// A page of fields.
#[derive(Default)]
struct Page(String);

impl Page {
    fn line(&mut self, depth: usize, text: &str) {
        self.0.push_str(&" ".repeat(depth * 2));
        self.0.push_str(text);
        self.0.push('\n');
    }

    /// A field, left out where it has no value.
    fn field(&mut self, depth: usize, name: &str, value: &str) {
        if !value.is_empty() {
            let column = COLUMN.saturating_sub(depth * 2);
            self.line(depth, &format!("{:<column$} {value}", format!("{name}:")));
        }
    }

    fn list(&mut self, name: &str, lines: &[String]) {
        if !lines.is_empty() {
            self.line(0, &format!("{name}:"));
            for line in lines {
                self.line(1, line);
            }
        }
    }

    fn metadata(&mut self, meta: &ObjectMeta) {
        self.field(0, "Name", meta.name.as_deref().unwrap_or(""));
        self.field(0, "Namespace", meta.namespace.as_deref().unwrap_or(""));
        self.field(0, "Labels", &pairs(meta.labels.as_ref(), |_| true));
        self.field(
            0,
            "Annotations",
            &pairs(meta.annotations.as_ref(), |key| KNOWN.contains(&key)),
        );
    }
}

/// A pod.
pub(crate) fn pod(pod: &Pod, events: &[String]) -> String {
    let mut page = Page::default();
    let meta = &pod.metadata;
    page.metadata(meta);
    let line = PodLine::read(pod);
    page.field(0, "Node", &line.node);
    page.field(0, "Created", &line.created);
    page.field(0, "Status", &line.status);
    let status = pod.status.as_ref();
    page.field(
        0,
        "IP",
        status.and_then(|status| status.pod_ip.as_deref()).unwrap_or(""),
    );
    let owner = meta
        .owner_references
        .iter()
        .flatten()
        .find(|one| one.controller == Some(true));
    page.field(
        0,
        "Controlled by",
        &owner
            .map(|one| format!("{}/{}", one.kind, one.name))
            .unwrap_or_default(),
    );
    let statuses = |list: Option<&Vec<ContainerStatus>>| list.cloned().unwrap_or_default();
    let known: Vec<ContainerStatus> = statuses(status.and_then(|status| status.init_container_statuses.as_ref()))
        .into_iter()
        .chain(statuses(status.and_then(|status| status.container_statuses.as_ref())))
        .collect();
    if let Some(spec) = &pod.spec {
        containers(&mut page, spec, &known);
    }
    let conditions = status
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default();
    let told = conditions.iter().map(|one| {
        let why = because(one.reason.as_deref(), one.message.as_deref());
        format!("{:<26} {}{why}", one.type_, one.status)
    });
    page.list("Conditions", &told.collect::<Vec<_>>());
    page.list("Events", events);
    page.0
}

/// A Deployment, StatefulSet or DaemonSet.
pub(crate) fn workload(state: &Workload, object: &DynamicObject, pods: &[PodLine], events: &[String]) -> String {
    let mut page = Page::default();
    page.metadata(&object.metadata);
    page.field(0, "Selector", &state.selector);
    let counts = format!(
        "{} desired | {} updated | {} total | {} ready | {} available",
        state.replicas, state.updated, state.current, state.ready, state.available
    );
    page.field(0, "Replicas", &counts);
    page.field(0, "Paused", if state.paused { "yes" } else { "" });
    page.field(
        0,
        "Observed",
        if state.observed {
            ""
        } else {
            "not yet: its controller lags behind"
        },
    );
    let spec = object.data.pointer("/spec/template/spec").cloned();
    // What cannot be read as pods is left out; the rest still helps.
    if let Some(Ok(spec)) = spec.map(serde_json::from_value::<PodSpec>) {
        containers(&mut page, &spec, &[]);
    }
    let conditions = object.data.pointer("/status/conditions").and_then(Value::as_array);
    let told = conditions.into_iter().flatten().map(|one| {
        let text = |field: &str| one.get(field).and_then(Value::as_str);
        let why = because(text("reason"), text("message"));
        format!(
            "{:<26} {}{why}",
            text("type").unwrap_or(""),
            text("status").unwrap_or("")
        )
    });
    page.list("Conditions", &told.collect::<Vec<_>>());
    let lines = pods.iter().map(|pod| {
        format!(
            "{}  {}  {}  {} restarts  {}",
            pod.name, pod.ready, pod.status, pod.restarts, pod.node
        )
    });
    page.list("Pods", &lines.collect::<Vec<_>>());
    page.list("Events", events);
    page.0
}

/// A CronJob.
pub(crate) fn cron_job(object: &CronJob, running: &[String], events: &[String]) -> String {
    let mut page = Page::default();
    page.metadata(&object.metadata);
    let spec = &object.spec;
    page.field(0, "Schedule", &spec.schedule);
    page.field(0, "Suspended", if spec.suspend == Some(true) { "yes" } else { "no" });
    let status = object.status.as_ref();
    let last = status.and_then(|status| status.last_schedule_time.as_ref());
    page.field(
        0,
        "Last start",
        &last.map(|time| time.0.to_string()).unwrap_or_default(),
    );
    let template = spec
        .job_template
        .spec
        .as_ref()
        .and_then(|job| job.template.spec.as_ref());
    if let Some(template) = template {
        containers(&mut page, template, &[]);
    }
    page.list("Running Jobs", running);
    page.list("Events", events);
    page.0
}

/// An event in one line.
pub(crate) fn event(event: &Event) -> String {
    let last = event.last_timestamp.as_ref().map(|time| time.0.to_string());
    let times = event
        .count
        .filter(|count| *count > 1)
        .map(|count| format!(" (×{count})"));
    format!(
        "{}  {}  {}  {}: {}{}",
        last.unwrap_or_default(),
        event.type_.as_deref().unwrap_or_default(),
        event.reason.as_deref().unwrap_or_default(),
        event.involved_object.name.as_deref().unwrap_or_default(),
        event.message.as_deref().unwrap_or_default(),
        times.unwrap_or_default()
    )
}

fn containers(page: &mut Page, spec: &PodSpec, known: &[ContainerStatus]) {
    let inits = spec.init_containers.as_deref().unwrap_or_default();
    for (heading, list) in [("Init containers", inits), ("Containers", spec.containers.as_slice())] {
        if list.is_empty() {
            continue;
        }
        page.line(0, &format!("{heading}:"));
        for one in list {
            container(page, one, known.iter().find(|status| status.name == one.name));
        }
    }
}

fn container(page: &mut Page, one: &Container, status: Option<&ContainerStatus>) {
    page.line(1, &format!("{}:", one.name));
    page.field(2, "Image", one.image.as_deref().unwrap_or(""));
    if let Some(status) = status {
        page.field(2, "Image ID", &status.image_id);
        page.field(2, "State", &status.state.as_ref().map(state).unwrap_or_default());
        page.field(
            2,
            "Last state",
            &status.last_state.as_ref().map(state).unwrap_or_default(),
        );
        page.field(2, "Ready", if status.ready { "yes" } else { "no" });
        page.field(2, "Restarts", &status.restart_count.to_string());
    }
    if let Some(resources) = &one.resources {
        page.field(2, "Requests", &quantities(resources.requests.as_ref()));
        page.field(2, "Limits", &quantities(resources.limits.as_ref()));
    }
    let variables = one.env.iter().flatten().map(variable);
    page.field(2, "Environment", &variables.collect::<Vec<_>>().join(", "));
    let mounts = one.volume_mounts.iter().flatten();
    let mounts = mounts.map(|mount| format!("{} from {}", mount.mount_path, mount.name));
    page.field(2, "Mounts", &mounts.collect::<Vec<_>>().join(", "));
}

/// A variable by its name and where it comes from. A value that stands in the object itself may be a secret too.
fn variable(variable: &EnvVar) -> String {
    let from = variable.value_from.as_ref();
    let secret = from.and_then(|from| from.secret_key_ref.as_ref());
    let config = from.and_then(|from| from.config_map_key_ref.as_ref());
    match (secret, config) {
        (Some(secret), _) => format!("{} (secret {}, key {})", variable.name, secret.name, secret.key),
        (_, Some(config)) => format!("{} (config map {}, key {})", variable.name, config.name, config.key),
        _ => variable.name.clone(),
    }
}

fn state(state: &ContainerState) -> String {
    if let Some(running) = &state.running {
        let since = running.started_at.as_ref().map(|time| format!(" since {}", time.0));
        return format!("running{}", since.unwrap_or_default());
    }
    if let Some(waiting) = &state.waiting {
        return format!(
            "waiting{}",
            because(waiting.reason.as_deref(), waiting.message.as_deref())
        );
    }
    let Some(end) = &state.terminated else {
        return String::new();
    };
    let at = end.finished_at.as_ref().map(|time| format!(" at {}", time.0));
    let why = because(end.reason.as_deref(), end.message.as_deref());
    format!("ended with exit code {}{}{why}", end.exit_code, at.unwrap_or_default())
}

fn because(reason: Option<&str>, message: Option<&str>) -> String {
    let said = [reason, message].into_iter().flatten().filter(|text| !text.is_empty());
    let said: Vec<&str> = said.collect();
    if said.is_empty() {
        String::new()
    } else {
        format!(": {}", said.join(": "))
    }
}

fn quantities(of: Option<&BTreeMap<String, Quantity>>) -> String {
    let each = of
        .into_iter()
        .flatten()
        .map(|(name, amount)| format!("{name} {}", amount.0));
    each.collect::<Vec<_>>().join(", ")
}

fn pairs(of: Option<&BTreeMap<String, String>>, shown: impl Fn(&str) -> bool) -> String {
    let each = of.into_iter().flatten().filter(|(key, _)| shown(key));
    each.map(|(key, value)| format!("{key}={value}"))
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_value_that_could_be_a_secret_is_shown() {
        let object = json!({
            "metadata": { "name": "p", "namespace": "n", "labels": { "app": "web" },
                "annotations": { "kubectl.kubernetes.io/last-applied-configuration": "hunter22" } },
            "spec": { "containers": [{ "name": "main", "image": "i:1", "env": [
                { "name": "PASSWORD", "value": "hunter22" },
                { "name": "KEY", "valueFrom": { "secretKeyRef": { "name": "keys", "key": "k" } } }] }] },
            "status": { "phase": "Running", "containerStatuses": [{
                "name": "main", "image": "i:1", "imageID": "i@sha256:0", "ready": false, "restartCount": 3,
                "state": { "waiting": { "reason": "CrashLoopBackOff", "message": "back-off" } },
                "lastState": { "terminated": { "exitCode": 137, "reason": "OOMKilled" } } }] },
        });
        let shown = pod(
            &serde_json::from_value(object).expect("a pod"),
            &["an event".to_owned()],
        );
        assert!(!shown.contains("hunter22"), "{shown}");
        for part in [
            "Name:          p",
            "Labels:        app=web",
            "Environment: PASSWORD, KEY (secret keys, key k)",
            "State:     waiting: CrashLoopBackOff: back-off",
            "ended with exit code 137: OOMKilled",
            "Events:\n  an event",
        ] {
            let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(squeezed(&shown).contains(&squeezed(part)), "{part}\n{shown}");
        }
    }
}
