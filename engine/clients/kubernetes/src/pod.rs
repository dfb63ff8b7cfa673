//! Pods: whether they are there, whether they are ready, and what keeps them from it.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What keeps a pod from becoming ready, and will not pass by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Trouble {
    /// The pod.
    pub pod: String,
    /// The reason in Kubernetes' own word, such as `ImagePullBackOff`.
    pub reason: String,
    /// What it says about it.
    pub message: String,
}

/// Reasons for which a container waits that only a person can mend.
const STUCK: &[&str] = &[
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
];

/// How long a pod without any trouble may take to become ready, as long as a Deployment gives its own by default: a database
/// may have a log to replay.
const PATIENCE: SignedDuration = SignedDuration::from_mins(10);

/// A pod, in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodState {
    /// Its name.
    pub name: String,
    /// Whether it is being deleted.
    pub going: bool,
    /// Whether it is ready.
    pub ready: bool,
    /// Whether it has ended, and only its record is left.
    pub ended: bool,
    /// Whether it runs the newest template. `true` where that cannot be told.
    pub newest: bool,
    /// Whether it is of an older template, and its StatefulSet waits for it to become ready before it replaces it. One that
    /// never becomes ready has to be deleted.
    pub holds_up: bool,
    /// What keeps it from becoming ready.
    pub trouble: Option<Trouble>,
}

impl PodState {
    pub(crate) fn read(pod: &Pod) -> Self {
        let name = pod.metadata.name.clone().unwrap_or_default();
        let status = pod.status.as_ref();
        let phase = status.and_then(|status| status.phase.as_deref()).unwrap_or("Pending");
        Self {
            going: pod.metadata.deletion_timestamp.is_some(),
            ready: condition(pod, "Ready").is_some_and(|(status, ..)| status == "True"),
            ended: matches!(phase, "Succeeded" | "Failed"),
            newest: true,
            holds_up: false,
            trouble: stuck_container(pod, &name).or_else(|| unschedulable(pod, &name)),
            name,
        }
    }
}

/// Whether a pod that is not ready is not about to be: it is in trouble, has ended and was started again, or has not become
/// ready for too long.
pub(crate) fn is_stuck(pod: &Pod, now: Timestamp) -> bool {
    PodState::read(pod).trouble.is_some() || has_ended_before(pod) || is_overdue(pod, now)
}

fn has_ended_before(pod: &Pod) -> bool {
    let containers = pod
        .status
        .as_ref()
        .and_then(|status| status.container_statuses.as_ref());
    containers.is_some_and(|all| {
        all.iter()
            .any(|container| !container.ready && container.restart_count > 0)
    })
}

fn is_overdue(pod: &Pod, now: Timestamp) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let unready = conditions.and_then(|all| all.iter().find(|one| one.type_ == "Ready" && one.status != "True"));
    let since = unready.and_then(|condition| condition.last_transition_time.as_ref());
    since.is_some_and(|since| now.duration_since(since.0) > PATIENCE)
}

fn condition<'p>(pod: &'p Pod, of: &str) -> Option<(&'p str, &'p str, &'p str)> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let found = conditions.iter().find(|condition| condition.type_ == of)?;
    Some((
        &found.status,
        found.reason.as_deref().unwrap_or_default(),
        found.message.as_deref().unwrap_or_default(),
    ))
}

fn stuck_container(pod: &Pod, name: &str) -> Option<Trouble> {
    let status = pod.status.as_ref()?;
    let of = |list: &'_ Option<Vec<ContainerStatus>>| list.clone().unwrap_or_default();
    let containers = of(&status.init_container_statuses)
        .into_iter()
        .chain(of(&status.container_statuses));
    containers
        .filter_map(|container| container.state?.waiting)
        .find_map(|waiting| {
            let reason = waiting.reason.filter(|reason| STUCK.contains(&reason.as_str()))?;
            Some(Trouble {
                pod: name.to_owned(),
                reason,
                message: waiting.message.unwrap_or_default(),
            })
        })
}

fn unschedulable(pod: &Pod, name: &str) -> Option<Trouble> {
    let (status, reason, message) = condition(pod, "PodScheduled")?;
    (status == "False" && reason == "Unschedulable").then(|| Trouble {
        pod: name.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(status: serde_json::Value) -> PodState {
        PodState::read(
            &serde_json::from_value(json!({ "metadata": { "name": "p" }, "status": status })).expect("a pod"),
        )
    }

    #[test]
    fn what_will_not_pass_is_told_from_what_will() {
        let waiting = |reason: &str| {
            pod(json!({ "phase": "Pending", "containerStatuses": [{
                "name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
                "state": { "waiting": { "reason": reason, "message": "m" } } }] }))
        };
        assert_eq!(waiting("ContainerCreating").trouble, None);
        assert_eq!(
            waiting("CrashLoopBackOff")
                .trouble
                .map(|trouble| trouble.reason)
                .as_deref(),
            Some("CrashLoopBackOff")
        );
        let unplaced = pod(json!({ "phase": "Pending", "conditions": [
            { "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes" }] }));
        assert_eq!(
            unplaced.trouble.map(|trouble| trouble.message).as_deref(),
            Some("0/3 nodes")
        );
        let ready = pod(json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] }));
        assert!(ready.ready && !ready.ended && ready.trouble.is_none());
    }

    #[test]
    fn what_only_starts_slowly_is_not_stuck() {
        let now: Timestamp = "2026-11-27T12:10:00Z".parse().expect("a time");
        let stuck = |since: &str, restarts: u32, state: serde_json::Value| {
            let status = json!({ "phase": "Running",
                "conditions": [{ "type": "Ready", "status": "False", "lastTransitionTime": since }],
                "containerStatuses": [{ "name": "c", "image": "i", "imageID": "", "ready": false,
                    "restartCount": restarts, "state": state }] });
            let pod = json!({ "metadata": { "name": "p" }, "status": status });
            is_stuck(&serde_json::from_value(pod).expect("a pod"), now)
        };
        let runs = || json!({ "running": {} });
        assert!(!stuck("2026-11-27T12:01:00Z", 0, runs()), "it replays its log");
        assert!(stuck("2026-11-27T11:59:00Z", 0, runs()), "it does not come");
        assert!(stuck("2026-11-27T12:09:59Z", 1, runs()), "between two crashes");
        let waits = json!({ "waiting": { "reason": "ImagePullBackOff" } });
        assert!(stuck("2026-11-27T12:09:59Z", 0, waits));
    }
}
