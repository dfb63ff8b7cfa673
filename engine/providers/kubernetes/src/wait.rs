//! Waiting for a workload: until its pods are gone, or until it is rolled out, or until it is plain that it will not be.

use std::time::Duration;

use jm_client_kubernetes::{PodState, Reader, Trouble, Workload, WorkloadRef};
use jm_step::{StepContext, StepError, StepErrorKind, Unit};
use serde_json::json;
use tokio::time::Instant;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(400);
/// Trouble that lasts as long as this will not pass: the first pull of an image may fail once and be tried again.
const GRACE: Duration = Duration::from_secs(5);
/// An API server that does not answer for as long as this is down. A rollout outlives shorter gaps.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until no pod of the workload is left. Never deletes one by force.
pub(crate) async fn pods_gone(cx: &StepContext, cluster: &Reader, workload: &Workload) -> Result<(), StepError> {
    let mut most = 0;
    let mut patience = Patience::new();
    loop {
        let Some(pods) = patience.forgive(cluster.pods(workload).await)? else {
            pause(cx).await?;
            continue;
        };
        let left = pods.iter().filter(|pod| !pod.ended).count() as u64;
        most = most.max(left);
        cx.progress(most - left, Some(most), Unit::Items).await;
        if left == 0 {
            return Ok(());
        }
        pause(cx).await?;
    }
}

/// Waits until every replica that is wanted runs the newest template and is ready.
pub(crate) async fn rolled_out(
    cx: &StepContext,
    cluster: &Reader,
    workload: &WorkloadRef,
) -> Result<Workload, StepError> {
    let mut patience = Patience::new();
    let mut trouble = Lasting::new();
    loop {
        if let Some(state) = patience.forgive(cluster.workload(workload).await)? {
            cx.progress(state.ready.into(), Some(state.replicas.into()), Unit::Items)
                .await;
            if state.is_rolled_out() {
                return Ok(state);
            }
            if state.paused {
                return Err(StepError::conflict(format!("the rollout of {workload} is paused"))
                    .hint(format!("`kubectl rollout resume {workload}`")));
            }
            if let Some(pods) = patience.forgive(cluster.pods(&state).await)?
                && let Some(found) = trouble.lasts(first_trouble(&state, &pods))
            {
                return Err(not_ready(cluster, &state, &pods, &found).await);
            }
        }
        pause(cx).await?;
    }
}

async fn pause(cx: &StepContext) -> Result<(), StepError> {
    tokio::select! {
        () = cx.cancelled() => Err(StepError::cancelled("told to stop while waiting for pods")),
        () = tokio::time::sleep(PAUSE) => Ok(()),
    }
}

/// What keeps the workload from being ready. What the controller says of an older specification does not count.
fn first_trouble(state: &Workload, pods: &[PodState]) -> Option<Trouble> {
    let of_pods = pods.iter().filter(|pod| !pod.going).find_map(|pod| pod.trouble.clone());
    let of_workload = state
        .failure
        .as_ref()
        .filter(|_| state.observed)
        .map(|(reason, message)| Trouble {
            pod: String::new(),
            reason: reason.clone(),
            message: message.clone(),
        });
    of_pods.or(of_workload)
}

async fn not_ready(cluster: &Reader, state: &Workload, pods: &[PodState], trouble: &Trouble) -> StepError {
    let Trouble { pod, reason, message } = trouble;
    let who = if pod.is_empty() {
        String::new()
    } else {
        format!("pod `{pod}`: ")
    };
    let colon = if message.is_empty() { "" } else { ": " };
    // The events are a help; that they cannot be read is no second failure.
    let events = cluster.warnings(&state.workload.name).await.unwrap_or_default();
    StepError::failed(format!("{} does not become ready: {who}{reason}{colon}{message}", state.workload))
        .hint(advice(reason, cluster.namespace(), pod))
        .evidence(json!({
            "workload": state.workload.to_string(),
            "replicas": { "wanted": state.replicas, "updated": state.updated, "ready": state.ready, "available": state.available },
            "pods": pods.iter().map(|pod| json!({ "name": pod.name, "ready": pod.ready, "trouble": pod.trouble })).collect::<Vec<_>>(),
            "events": events,
        }))
}

fn advice(reason: &str, namespace: &str, pod: &str) -> String {
    match reason {
        "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" => {
            "check the image's name and the pull secret, or deploy another image; then resume the run".to_owned()
        }
        "CrashLoopBackOff" | "RunContainerError" => {
            format!("read why it ends: `kubectl logs {pod} -n {namespace} --previous`; then resume the run")
        }
        "Unschedulable" => "add nodes or lower the requests, then resume the run".to_owned(),
        _ => format!("look closer: `kubectl describe pods -n {namespace}`; then resume the run"),
    }
}

/// Forgives failed looks for a while.
struct Patience {
    since: Option<Instant>,
}

impl Patience {
    fn new() -> Self {
        Self { since: None }
    }

    fn forgive<T>(&mut self, looked: Result<T, StepError>) -> Result<Option<T>, StepError> {
        match looked {
            Ok(found) => {
                self.since = None;
                Ok(Some(found))
            }
            Err(error) if error.kind() == StepErrorKind::Unavailable => {
                let since = *self.since.get_or_insert_with(Instant::now);
                if since.elapsed() < PATIENCE {
                    Ok(None)
                } else {
                    Err(error)
                }
            }
            Err(error) => Err(error),
        }
    }
}

/// Tells lasting trouble from passing trouble.
struct Lasting {
    since: Option<(String, Instant)>,
}

impl Lasting {
    fn new() -> Self {
        Self { since: None }
    }

    fn lasts(&mut self, trouble: Option<Trouble>) -> Option<Trouble> {
        let Some(trouble) = trouble else {
            self.since = None;
            return None;
        };
        match &self.since {
            Some((reason, since)) if *reason == trouble.reason => (since.elapsed() >= GRACE).then_some(trouble),
            _ => {
                self.since = Some((trouble.reason, Instant::now()));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trouble(reason: &str) -> Option<Trouble> {
        Some(Trouble {
            pod: "p".to_owned(),
            reason: reason.to_owned(),
            message: String::new(),
        })
    }

    #[tokio::test(start_paused = true)]
    async fn trouble_has_to_last() {
        let mut lasting = Lasting::new();
        assert_eq!(lasting.lasts(trouble("ErrImagePull")), None);
        tokio::time::advance(GRACE).await;
        assert_eq!(lasting.lasts(None), None, "it passed");
        assert_eq!(lasting.lasts(trouble("ErrImagePull")), None, "it is new again");
        tokio::time::advance(GRACE).await;
        assert_eq!(lasting.lasts(trouble("ErrImagePull")), trouble("ErrImagePull"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_stays_away_is_down() {
        let mut patience = Patience::new();
        let away = || Err::<(), _>(StepError::unavailable("away"));
        assert_eq!(patience.forgive(away()).expect("forgiven"), None);
        tokio::time::advance(PATIENCE).await;
        assert!(patience.forgive(away()).is_err());
        assert!(Patience::new().forgive(Err::<(), _>(StepError::denied("no"))).is_err());
    }
}
