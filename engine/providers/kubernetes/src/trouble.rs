//! What keeps a workload from being ready: told at once, and taken for final when it lasts.

use std::time::Duration;

use jm_client_kubernetes::{Kind, PodState, Reader, Trouble, Workload};
use jm_step::{StepContext, StepError};
use tokio::time::Instant;

use crate::evidence;
use crate::redact::redact;

const UNSCHEDULABLE: &str = "Unschedulable";
const REFUSED: &str = "FailedCreate";

/// How long trouble has to last before it is taken for final.
fn grace(reason: &str) -> Duration {
    Duration::from_secs(match reason {
        // What makes nodes as they are needed takes a moment to say whether one comes.
        UNSCHEDULABLE => 60,
        // The kubelet waits for 10 s before it starts a container again that has ended twice; the next start may go well.
        "CrashLoopBackOff" => 15,
        // A pull that has failed is tried again after 10 s, and that one may go well.
        "ErrImagePull" | "ImagePullBackOff" => 20,
        _ => 5,
    })
}

/// What a reason is another name of, and of which pod, where each pod's own counts: while some wait for a node, the first to
/// get one may have to pull its image twice, and the next after it.
fn cause(trouble: &Trouble) -> (&str, &str) {
    match trouble.reason.as_str() {
        "ErrImagePull" | "ImagePullBackOff" => ("ImagePullBackOff", &trouble.pod),
        // A container that ended is told so before the kubelet waits to start it again.
        "Error" | "CrashLoopBackOff" | "RunContainerError" => ("CrashLoopBackOff", ""),
        reason => (reason, ""),
    }
}

/// Whether nothing that comes up beside it can help.
pub(crate) fn is_its_own(trouble: &Trouble) -> bool {
    ["InvalidImageName", "ErrImageNeverPull"].contains(&trouble.reason.as_str())
}

/// What keeps the workload from being ready. Pods of an older template that is being replaced do not count, unless they
/// hold up just that, nor what the controller says of an older specification.
pub(crate) fn first(state: &Workload, pods: &[PodState]) -> Option<Trouble> {
    // What waits for a node may have to wait for long; another pod may be beyond help meanwhile.
    let of_pods = pods
        .iter()
        .filter(|pod| !pod.going && !pod.ended && (pod.newest || pod.holds_up))
        .filter_map(|pod| pod.trouble.clone())
        .min_by_key(|trouble| trouble.reason == UNSCHEDULABLE);
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

/// What there is to say of a workload that is not ready and in no trouble that can be told: the pod to look at.
pub(crate) fn unready(pods: &[PodState], message: String) -> Trouble {
    let unready = pods.iter().find(|pod| !pod.ready && !pod.ended && !pod.going);
    Trouble {
        pod: unready.map(|pod| pod.name.clone()).unwrap_or_default(),
        reason: "NotReady".to_owned(),
        message,
    }
}

/// What refuses the pods of a workload whose controller says so in events alone, as those of StatefulSets and DaemonSets do.
/// Events of before the last change do not count.
pub(crate) async fn refused(cluster: &Reader, state: &Workload) -> Result<Option<Trouble>, StepError> {
    if state.workload.kind == Kind::Deployment || state.current >= state.replicas {
        return Ok(None);
    }
    let message = cluster.refusal(state).await?;
    Ok(message.map(|message| Trouble {
        pod: String::new(),
        reason: REFUSED.to_owned(),
        message,
    }))
}

/// Whether something is under way that may end the trouble: a quota counts pods until they are gone, and a node that was
/// ordered takes minutes to come.
pub(crate) async fn may_pass(
    cluster: &Reader,
    pods: &[PodState],
    trouble: Option<&Trouble>,
) -> Result<bool, StepError> {
    let Some(trouble) = trouble else { return Ok(false) };
    match trouble.reason.as_str() {
        REFUSED if pods.iter().any(|pod| pod.going && !pod.ended) => Ok(true),
        REFUSED if trouble.message.contains("quota") => cluster.has_going_pods().await,
        UNSCHEDULABLE => cluster.gets_a_node(&trouble.pod).await,
        _ => Ok(false),
    }
}

/// Trouble in one line.
fn told(trouble: &Trouble) -> String {
    let Trouble { pod, reason, message } = trouble;
    let who = if pod.is_empty() {
        String::new()
    } else {
        format!("pod `{pod}`: ")
    };
    let colon = if message.is_empty() { "" } else { ": " };
    format!("{who}{reason}{colon}{message}")
}

/// The error for trouble that lasts, with what a person needs to mend it.
pub(crate) async fn error(
    cx: &StepContext,
    cluster: &Reader,
    state: &Workload,
    pods: &[PodState],
    trouble: &Trouble,
) -> StepError {
    plain(cx, cluster, state, pods, trouble).evidence(evidence::gather(cx, cluster, state, pods, trouble).await)
}

/// The same without asking the cluster once more.
pub(crate) fn plain(
    cx: &StepContext,
    cluster: &Reader,
    state: &Workload,
    pods: &[PodState],
    trouble: &Trouble,
) -> StepError {
    let message = format!("{} does not become ready: {}", state.workload, told(trouble));
    let (namespace, pod) = (cluster.namespace(), trouble.pod.as_str());
    let holds_up = pods.iter().any(|one| one.holds_up && one.name == pod);
    StepError::failed(redact(cx.secrets(), &message)).hint(if holds_up {
        format!(
            "it is of an older template, and the StatefulSet waits for it to become ready before it replaces it: \
             `kubectl delete pod {pod} -n {namespace}`, then resume the run"
        )
    } else {
        advice(&trouble.reason, namespace, pod)
    })
}

fn advice(reason: &str, namespace: &str, pod: &str) -> String {
    match reason {
        "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" => {
            "check the image's name and the pull secret, or deploy another image; then resume the run".to_owned()
        }
        "CrashLoopBackOff" | "RunContainerError" => {
            format!("read why it ends: `kubectl logs {pod} -n {namespace} --previous`; then resume the run")
        }
        UNSCHEDULABLE => "add nodes or lower the requests, then resume the run".to_owned(),
        REFUSED => format!(
            "see what refuses its pods (a quota, an admission policy): `kubectl get events -n {namespace}`; then resume the run"
        ),
        "NotReady" => format!(
            "see what it waits for (its readiness probe, a volume): `kubectl describe pods -n {namespace}`; where it only \
             needs longer, give the step a longer `timeout`; then resume the run"
        ),
        _ => format!("look closer: `kubectl describe pods -n {namespace}`; then resume the run"),
    }
}

/// Tells lasting trouble from passing trouble.
pub(crate) struct Lasting {
    /// When it began. Reasons change while it lasts (`ErrImagePull`, `ImagePullBackOff`): what is of the same cause does not
    /// start it anew.
    since: Option<Instant>,
    /// Its cause.
    cause: (String, String),
    /// When it was last seen that it might pass.
    passing: Option<Instant>,
    told: Option<String>,
}

impl Lasting {
    pub(crate) fn new() -> Self {
        Self {
            since: None,
            cause: (String::new(), String::new()),
            passing: None,
            told: None,
        }
    }

    /// Whether there was trouble when it was last looked at.
    pub(crate) fn has_begun(&self) -> bool {
        self.since.is_some()
    }

    /// Trouble that was not told yet, in one line.
    pub(crate) fn news(&mut self, trouble: Option<&Trouble>) -> Option<String> {
        let trouble = trouble?;
        if self.told.as_ref() == Some(&trouble.reason) {
            return None;
        }
        self.told = Some(trouble.reason.clone());
        Some(told(trouble))
    }

    /// The trouble, where it has lasted for as long as its kind may, from when nothing was under way any more that might
    /// end it.
    pub(crate) fn lasts(&mut self, trouble: Option<Trouble>, may_pass: bool) -> Option<Trouble> {
        let Some(trouble) = trouble else {
            (self.since, self.passing) = (None, None);
            return None;
        };
        let (what, whose) = cause(&trouble);
        if (what, whose) != (&*self.cause.0, &*self.cause.1) {
            self.cause = (what.to_owned(), whose.to_owned());
            (self.since, self.passing) = (None, None);
        }
        let now = Instant::now();
        let began = *self.since.get_or_insert(now);
        if may_pass {
            self.passing = Some(now);
            return None;
        }
        let since = self.passing.unwrap_or(began);
        let mut enough = grace(&trouble.reason);
        if trouble.reason == REFUSED {
            // The pauses between two attempts of a controller double: the next may come as late again as it was refused for.
            enough += since - began;
        }
        (now - since >= enough).then_some(trouble)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trouble(reason: &str) -> Trouble {
        Trouble {
            pod: "p".to_owned(),
            reason: reason.to_owned(),
            message: String::new(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn trouble_has_to_last() {
        let mut lasting = Lasting::new();
        assert_eq!(lasting.lasts(Some(trouble("ErrImagePull")), false), None);
        tokio::time::advance(grace("ErrImagePull")).await;
        assert_eq!(lasting.lasts(None, false), None, "it passed");
        assert_eq!(
            lasting.lasts(Some(trouble("ErrImagePull")), false),
            None,
            "it is new again"
        );
        tokio::time::advance(grace("ErrImagePull")).await;
        let other = Some(trouble("ImagePullBackOff"));
        assert_eq!(
            lasting.lasts(other.clone(), false),
            other,
            "the same trouble by another name"
        );
    }

    /// As the kubelet tells it: a pull, 10 s of waiting, the next pull.
    #[tokio::test(start_paused = true)]
    async fn a_pull_that_fails_once_is_not_final() {
        let mut lasting = Lasting::new();
        for (second, reason) in [(0, "ErrImagePull"), (1, "ImagePullBackOff"), (13, "ImagePullBackOff")] {
            assert_eq!(lasting.lasts(Some(trouble(reason)), false), None, "after {second} s");
            tokio::time::advance(Duration::from_secs(if second == 1 { 12 } else { 1 })).await;
        }
        assert_eq!(lasting.lasts(None, false), None, "the second one has gone well");
        assert_eq!(lasting.lasts(Some(trouble("ErrImagePull")), false), None);
        tokio::time::advance(Duration::from_secs(20)).await;
        assert!(
            lasting.lasts(Some(trouble("ErrImagePull")), false).is_some(),
            "and that is fast still"
        );
    }

    /// In a cluster that grows pods wait for nodes, one after the other gets one, and what fails then has only just begun.
    #[tokio::test(start_paused = true)]
    async fn each_trouble_has_a_time_of_its_own() {
        let mut lasting = Lasting::new();
        assert_eq!(lasting.lasts(Some(trouble(UNSCHEDULABLE)), false), None);
        tokio::time::advance(Duration::from_secs(40)).await;
        for pod in ["a", "b"] {
            let pull = || {
                Some(Trouble {
                    pod: pod.to_owned(),
                    ..trouble("ErrImagePull")
                })
            };
            assert_eq!(lasting.lasts(pull(), false), None, "{pod} has only just begun to pull");
            tokio::time::advance(Duration::from_secs(19)).await;
            assert_eq!(lasting.lasts(pull(), false), None, "{pod}");
        }
        assert_eq!(lasting.lasts(Some(trouble("CrashLoopBackOff")), false), None);
        tokio::time::advance(Duration::from_secs(15)).await;
        assert!(lasting.lasts(Some(trouble("CrashLoopBackOff")), false).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_cluster_is_given_time_to_grow() {
        let mut lasting = Lasting::new();
        assert_eq!(lasting.lasts(Some(trouble("Unschedulable")), false), None);
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(lasting.lasts(Some(trouble("Unschedulable")), false), None);
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(
            lasting.lasts(Some(trouble("Unschedulable")), false),
            Some(trouble("Unschedulable"))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_was_ordered_is_waited_for() {
        let mut lasting = Lasting::new();
        for minute in 0..5 {
            assert_eq!(
                lasting.lasts(Some(trouble(UNSCHEDULABLE)), true),
                None,
                "minute {minute}"
            );
            tokio::time::advance(Duration::from_mins(1)).await;
        }
        assert!(
            lasting.lasts(Some(trouble(UNSCHEDULABLE)), false).is_some(),
            "no node comes after all"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_quota_is_asked_again_once_pods_have_ended() {
        let mut lasting = Lasting::new();
        let refused = || Some(trouble(REFUSED));
        assert_eq!(lasting.lasts(refused(), true), None);
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(lasting.lasts(refused(), true), None, "an old pod ends");
        tokio::time::advance(Duration::from_secs(34)).await;
        assert_eq!(lasting.lasts(refused(), false), None, "the controller pauses");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(lasting.lasts(refused(), false), refused());

        let mut lasting = Lasting::new();
        assert_eq!(lasting.lasts(refused(), false), None);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(lasting.lasts(refused(), false), refused(), "nothing ends");
    }

    #[test]
    fn trouble_is_told_once() {
        let mut lasting = Lasting::new();
        assert_eq!(lasting.news(Some(&trouble("A"))).as_deref(), Some("pod `p`: A"));
        assert_eq!(lasting.news(Some(&trouble("A"))), None);
        assert!(lasting.news(Some(&trouble("B"))).is_some());
    }

    #[test]
    fn pods_that_are_being_replaced_do_not_count() {
        let pod = |newest: bool| PodState {
            name: "p".to_owned(),
            going: false,
            ready: false,
            ended: false,
            newest,
            holds_up: false,
            trouble: Some(trouble("CrashLoopBackOff")),
        };
        let state = crate::quiesce::tests::state(1, None);
        assert_eq!(first(&state, &[pod(false)]), None);
        let holds_up = PodState {
            holds_up: true,
            ..pod(false)
        };
        assert!(first(&state, &[holds_up]).is_some(), "nobody replaces that one");
        assert_eq!(
            first(&state, &[pod(false), pod(true)]),
            Some(trouble("CrashLoopBackOff"))
        );
        let waits = PodState {
            trouble: Some(trouble(UNSCHEDULABLE)),
            ..pod(true)
        };
        assert_eq!(
            first(&state, &[waits, pod(true)]),
            Some(trouble("CrashLoopBackOff")),
            "no node helps that one"
        );
    }
}
