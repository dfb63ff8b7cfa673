//! Reading for people: what `kubectl get pods`, `logs` and `describe` would print.

use k8s_openapi::api::batch::v1::CronJob as CronJobObject;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::Api;
use kube::api::{ListParams, LogParams};

use jm_step::{StepError, StepErrorKind};

use super::Reader;
use crate::describe;
use crate::error::step_error;
use crate::pod::PodState;
use crate::pod_line::PodLine;
use crate::workload::Workload;
use crate::workload_ref::{Kind, WorkloadRef};

/// The most events that a description shows.
const MOST_EVENTS: usize = 15;

/// What is wanted of a log.
#[derive(Debug, Clone, Default)]
pub struct LogRequest {
    /// The container; `None` where there is only one.
    pub container: Option<String>,
    /// The log of the container's run before this one.
    pub previous: bool,
    /// How many of the last lines.
    pub lines: u32,
    /// No lines that are older than so many seconds.
    pub since: Option<u64>,
}

/// The names of the containers of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Containers {
    /// Those that do its work.
    pub main: Vec<String>,
    /// Those that run before them, and those that were put in to look at it.
    pub others: Vec<String>,
}

impl Containers {
    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &String> {
        self.main.iter().chain(&self.others)
    }
}

impl Reader {
    /// All pods of the namespace that a label selector finds, by name.
    pub async fn pods_by_labels(&self, selector: &str) -> Result<Vec<PodLine>, StepError> {
        let doing = format!("cannot list pods in namespace `{}`", self.namespace);
        let found = self
            .pod_api()
            .list(&ListParams::default().labels(selector))
            .await
            .map_err(|e| step_error(&doing, e))?;
        Ok(sorted(found.items.iter().map(PodLine::read).collect()))
    }

    /// The pods of a workload, by name, without those that belong to another one.
    pub async fn pod_lines(&self, workload: &Workload) -> Result<Vec<PodLine>, StepError> {
        let found = self.pod_objects(workload).await?;
        Ok(sorted(found.iter().map(PodLine::read).collect()))
    }

    /// The containers of a pod.
    pub async fn containers(&self, pod: &str) -> Result<Containers, StepError> {
        let spec = self.pod(pod).await?.spec.unwrap_or_default();
        let before = spec.init_containers.into_iter().flatten().map(|one| one.name);
        let later = spec.ephemeral_containers.into_iter().flatten().map(|one| one.name);
        Ok(Containers {
            main: spec.containers.into_iter().map(|one| one.name).collect(),
            others: before.chain(later).collect(),
        })
    }

    /// The last lines of a container's log.
    pub async fn log(&self, pod: &str, wanted: &LogRequest) -> Result<String, StepError> {
        let parameters = LogParams {
            container: wanted.container.clone(),
            previous: wanted.previous,
            tail_lines: Some(wanted.lines.into()),
            since_seconds: wanted.since.map(|seconds| i64::try_from(seconds).unwrap_or(i64::MAX)),
            ..LogParams::default()
        };
        let doing = format!("cannot read the log of pod `{pod}`");
        self.pod_api()
            .logs(pod, &parameters)
            .await
            .map_err(|e| step_error(&doing, e))
    }

    /// A pod described.
    pub async fn describe_pod(&self, name: &str) -> Result<String, StepError> {
        let pod = self.pod(name).await?;
        let events = self.events(|of| of == name).await?;
        Ok(describe::pod(&pod, &events))
    }

    /// A workload described: itself, its pods in lines, and what was told of it and them.
    pub async fn describe(&self, workload: &WorkloadRef) -> Result<String, StepError> {
        let name = workload.name.as_str();
        let events = self.events(|of| is_about(of, name)).await?;
        if workload.kind == Kind::CronJob {
            let job = self.cron_job(workload).await?;
            let running = self.running_jobs(&job).await?;
            let all: Api<CronJobObject> = Api::namespaced(self.client.clone(), &self.namespace);
            let doing = format!("cannot read {workload} in namespace `{}`", self.namespace);
            let object = all.get(name).await.map_err(|e| step_error(&doing, e))?;
            return Ok(describe::cron_job(&object, &running, &events));
        }
        let object = self.workload_object(workload).await?;
        let state = Workload::read(workload, &object);
        let pods = self.pod_lines(&state).await?;
        Ok(describe::workload(&state, &object, &pods, &events))
    }

    /// The newest word of a workload's controller that it may not make a pod (a quota, an admission policy), told since the
    /// workload was last changed.
    pub async fn refusal(&self, workload: &Workload) -> Result<Option<String>, StepError> {
        let name = workload.workload.name.as_str();
        let found = self.events_about(|of| of == name).await?;
        let newest = found
            .iter()
            .rev()
            .find(|event| event.reason.as_deref() == Some("FailedCreate"));
        let newest = newest.filter(|event| event.involved_object.uid.as_deref() == Some(workload.uid.as_str()));
        let fresh = newest.filter(|event| when(event) > workload.changed);
        Ok(fresh.map(|event| event.message.clone().unwrap_or_default()))
    }

    /// How many times a workload's controllers have told that they may not make a pod. Of Deployments their ReplicaSets do.
    pub async fn refusals(&self, workload: &Workload) -> Result<u64, StepError> {
        let found = self
            .events_about(|of| is_or_makes_its_pods(of, &workload.workload))
            .await?;
        let of_it = found
            .iter()
            .filter(|event| event.reason.as_deref() == Some("FailedCreate"));
        Ok(of_it.map(times).sum())
    }

    /// Whether a pod of the namespace is on its way out. A quota counts it until it is gone.
    pub async fn has_going_pods(&self) -> Result<bool, StepError> {
        let doing = format!("cannot list pods in namespace `{}`", self.namespace);
        let found = self.pod_api().list(&ListParams::default()).await;
        let found = found.map_err(|e| step_error(&doing, e))?;
        let mut pods = found.items.iter().map(PodState::read);
        Ok(pods.any(|pod| pod.going && !pod.ended))
    }

    /// Whether a node was ordered for a pod: the last word of what makes nodes as they are needed.
    pub async fn gets_a_node(&self, pod: &str) -> Result<bool, StepError> {
        let found = self.events_about(|of| of == pod).await?;
        Ok(is_a_node_on_its_way(&found))
    }

    /// The newest events about objects whose names fit, oldest first, each in a line.
    async fn events(&self, fits: impl Fn(&str) -> bool) -> Result<Vec<String>, StepError> {
        let about = self.events_about(fits).await?;
        let skip = about.len().saturating_sub(MOST_EVENTS);
        Ok(about.iter().skip(skip).map(describe::event).collect())
    }

    /// The events about objects whose names fit, oldest first.
    async fn events_about(&self, fits: impl Fn(&str) -> bool) -> Result<Vec<Event>, StepError> {
        let all: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        let found = match all.list(&ListParams::default()).await {
            Ok(found) => found.items,
            Err(error) => match step_error("cannot list events", error) {
                // Who may not see events may see the rest.
                denied if denied.kind() == StepErrorKind::Denied => Vec::new(),
                error => return Err(error),
            },
        };
        let mut about: Vec<Event> = found
            .into_iter()
            .filter(|event| event.involved_object.name.as_deref().is_some_and(&fits))
            .collect();
        about.sort_by_key(when);
        Ok(about)
    }

    pub(super) async fn pod(&self, name: &str) -> Result<Pod, StepError> {
        let doing = format!("cannot read pod `{name}` in namespace `{}`", self.namespace);
        self.pod_api().get(name).await.map_err(|e| step_error(&doing, e))
    }
}

/// Whether the last word of events, which are in order, is that a node comes.
fn is_a_node_on_its_way(events: &[Event]) -> bool {
    events.iter().rev().find_map(orders_a_node).unwrap_or_default()
}

/// Whether an event tells that a node comes for its pod, as the cluster autoscaler and Karpenter do, or that none does.
fn orders_a_node(event: &Event) -> Option<bool> {
    match event.reason.as_deref()? {
        "TriggeredScaleUp" | "Nominated" => Some(true),
        "NotTriggerScaleUp" => Some(false),
        _ => None,
    }
}

/// Whether an object is the one of this name, or is named after it, as its ReplicaSets and pods are.
pub(super) fn is_about(object: &str, name: &str) -> bool {
    object == name || object.strip_prefix(name).is_some_and(|rest| rest.starts_with('-'))
}

/// Whether an object of this name is the workload, or a ReplicaSet of it: what names those has no dash.
fn is_or_makes_its_pods(object: &str, workload: &WorkloadRef) -> bool {
    let name = workload.name.as_str();
    let hash = object.strip_prefix(name).and_then(|rest| rest.strip_prefix('-'));
    match workload.kind {
        Kind::Deployment => hash.is_some_and(|hash| !hash.contains('-')),
        _ => object == name,
    }
}

/// How often an event was told.
fn times(event: &Event) -> u64 {
    event.count.and_then(|count| count.try_into().ok()).unwrap_or(1)
}

fn when(event: &Event) -> Option<jiff::Timestamp> {
    let last = event.last_timestamp.as_ref().map(|time| time.0);
    last.or(event.event_time.as_ref().map(|time| time.0))
}

fn sorted(mut lines: Vec<PodLine>) -> Vec<PodLine> {
    lines.sort_by(|a, b| a.name.cmp(&b.name));
    lines
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Event;

    use super::{is_a_node_on_its_way, is_about, is_or_makes_its_pods};

    #[test]
    fn the_last_word_on_a_node_counts() {
        let is_on_its_way = |reasons: &[&str]| {
            let event = |reason: &&str| Event {
                reason: Some((*reason).to_owned()),
                ..Event::default()
            };
            is_a_node_on_its_way(&reasons.iter().map(event).collect::<Vec<_>>())
        };
        assert!(is_on_its_way(&[
            "NotTriggerScaleUp",
            "TriggeredScaleUp",
            "FailedScheduling"
        ]));
        assert!(is_on_its_way(&["FailedScheduling", "Nominated"]));
        assert!(!is_on_its_way(&["TriggeredScaleUp", "NotTriggerScaleUp"]));
        assert!(!is_on_its_way(&["FailedScheduling"]) && !is_on_its_way(&[]));
    }

    #[test]
    fn pods_of_a_deployment_are_made_by_its_replica_sets() {
        let makes = |object: &str, workload: &str| is_or_makes_its_pods(object, &workload.parse().expect("a workload"));
        assert!(makes("web-6d4cf", "deployment/web") && makes("web", "statefulset/web"));
        assert!(!makes("web-api-6d4cf", "deployment/web"), "that is of `web-api`");
        assert!(!makes("webhook-6d4cf", "deployment/web") && !makes("web-0", "statefulset/web"));
    }

    #[test]
    fn names_that_only_begin_alike_are_others() {
        assert!(is_about("web", "web") && is_about("web-6d4cf-x2x", "web"));
        assert!(!is_about("webhook-6d4cf", "web"));
    }
}
