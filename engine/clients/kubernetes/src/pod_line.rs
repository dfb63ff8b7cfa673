//! Pods as `kubectl get pods` shows them.

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod, PodStatus};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A pod in one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PodLine {
    /// Its name.
    pub name: String,
    /// Containers that are ready, of all, such as `1/2`.
    pub ready: String,
    /// How it stands, in the words of `kubectl get pods`, such as `Running` or `CrashLoopBackOff`.
    pub status: String,
    /// How often its containers were started again.
    pub restarts: u32,
    /// When it was made, as RFC 3339.
    pub created: String,
    /// The node that it runs on; empty where it has none.
    pub node: String,
}

impl PodLine {
    pub(crate) fn read(pod: &Pod) -> Self {
        let nothing = PodStatus::default();
        let status = pod.status.as_ref().unwrap_or(&nothing);
        let containers = status.container_statuses.as_deref().unwrap_or_default();
        let all = pod.spec.as_ref().map_or(containers.len(), |spec| spec.containers.len());
        let ready = containers.iter().filter(|one| one.ready).count();
        let inits = status.init_container_statuses.as_deref().unwrap_or_default();
        let restarts: i32 = containers.iter().chain(inits).map(|one| one.restart_count).sum();
        let made = pod.metadata.creation_timestamp.as_ref();
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
        Self {
            name: pod.metadata.name.clone().unwrap_or_default(),
            ready: format!("{ready}/{all}"),
            status: word(pod, status),
            restarts: u32::try_from(restarts).unwrap_or(0),
            created: made.map(|time| time.0.to_string()).unwrap_or_default(),
            node: node.unwrap_or_default(),
        }
    }
}

/// The word that `kubectl` finds for it: of several containers, the first one that is not well tells.
fn word(pod: &Pod, status: &PodStatus) -> String {
    if pod.metadata.deletion_timestamp.is_some() {
        return "Terminating".to_owned();
    }
    let phase = status.phase.clone().unwrap_or_else(|| "Pending".to_owned());
    let own = status.reason.clone().filter(|reason| !reason.is_empty());
    let inits = status.init_container_statuses.as_deref().unwrap_or_default();
    if let Some(word) = inits.iter().find_map(starting) {
        return format!("Init:{word}");
    }
    let containers = status.container_statuses.as_deref().unwrap_or_default();
    let ill = containers.iter().find_map(|one| reason(one.state.as_ref()?));
    let runs = containers
        .iter()
        .any(|one| one.ready && one.state.as_ref().is_some_and(|state| state.running.is_some()));
    match ill {
        Some(word) if word == "Completed" && runs => "Running".to_owned(),
        Some(word) => word,
        None => own.unwrap_or(phase),
    }
}

/// What keeps an init container from being done; `None` where it is, or where it runs beside the others.
fn starting(container: &ContainerStatus) -> Option<String> {
    let state = container.state.as_ref()?;
    if container.started == Some(true) || state.terminated.as_ref().is_some_and(|end| end.exit_code == 0) {
        return None;
    }
    Some(reason(state).unwrap_or_else(|| container.name.clone()))
}

fn reason(state: &ContainerState) -> Option<String> {
    if let Some(waiting) = &state.waiting {
        return waiting.reason.clone();
    }
    let end = state.terminated.as_ref()?;
    let named = end.reason.clone().filter(|reason| !reason.is_empty());
    Some(named.unwrap_or_else(|| format!("ExitCode:{}", end.exit_code)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn line(status: Value) -> PodLine {
        let pod = json!({ "metadata": { "name": "p" }, "status": status,
            "spec": { "nodeName": "n", "containers": [{ "name": "a" }, { "name": "b" }] } });
        PodLine::read(&serde_json::from_value(pod).expect("a pod"))
    }

    fn container(name: &str, ready: bool, state: Value) -> Value {
        json!({ "name": name, "image": "", "imageID": "", "ready": ready, "restartCount": 2, "state": state })
    }

    #[test]
    fn one_that_is_not_well_tells_for_all() {
        let running = json!({ "running": {} });
        let waiting = json!({ "waiting": { "reason": "CrashLoopBackOff" } });
        let found = line(json!({ "phase": "Running", "containerStatuses": [
            container("a", true, running.clone()), container("b", false, waiting)] }));
        assert_eq!(
            (found.ready.as_str(), found.status.as_str()),
            ("1/2", "CrashLoopBackOff")
        );
        assert_eq!((found.restarts, found.node.as_str()), (4, "n"));
        let done = json!({ "terminated": { "exitCode": 0, "reason": "Completed" } });
        let found = line(json!({ "phase": "Running", "containerStatuses": [
            container("a", true, running), container("b", false, done)] }));
        assert_eq!(found.status, "Running");
    }

    #[test]
    fn without_containers_the_phase_or_its_reason_tells() {
        assert_eq!(line(json!({})).status, "Pending");
        assert_eq!(
            line(json!({ "phase": "Failed", "reason": "Evicted" })).status,
            "Evicted"
        );
        let init = json!({ "phase": "Pending", "initContainerStatuses": [
            container("i", false, json!({ "waiting": { "reason": "ErrImagePull" } }))] });
        assert_eq!(line(init).status, "Init:ErrImagePull");
    }
}
