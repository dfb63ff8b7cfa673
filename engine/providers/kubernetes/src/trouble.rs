//! What keeps a workload from being ready: told at once, and taken for final when it lasts.

use std::time::Duration;

use jm_client_kubernetes::{Kind, PodState, Reader, Trouble, Workload};
use jm_step::{StepContext, StepError};
use tokio::time::Instant;

use crate::evidence;
use crate::redact::redact;

const UNSCHEDULABLE: &str = "Unschedulable";
const REFUSED: &str = "FailedCreate";
/// How long the next word of a controller that was refused is waited for at least, where none comes: nobody may read it, or
/// too much was told before.
const SILENCE: Duration = Duration::from_mins(2);

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

/// What may become of trouble.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Outlook {
    /// Whether something is under way that may end it.
    pub(crate) may_pass: bool,
    /// How often a controller was refused until now, where that is the trouble.
    pub(crate) refusals: u64,
}

/// What may become of the trouble of a workload.
pub(crate) async fn outlook(
    cluster: &Reader,
    state: &Workload,
    pods: &[PodState],
    trouble: Option<&Trouble>,
) -> Result<Outlook, StepError> {
    let Some(trouble) = trouble else {
        return Ok(Outlook::default());
    };
    let refusals = match trouble.reason.as_str() {
        REFUSED => cluster.refusals(state).await?,
        _ => 0,
    };
    let may_pass = may_pass(cluster, pods, trouble).await?;
    Ok(Outlook { may_pass, refusals })
}

/// Whether something is under way that may end the trouble: a quota counts pods until they are gone, and a node that was
/// ordered takes minutes to come.
async fn may_pass(cluster: &Reader, pods: &[PodState], trouble: &Trouble) -> Result<bool, StepError> {
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
    /// How often a controller was refused by then.
    refusals: u64,
    told: Option<String>,
}

impl Lasting {
    pub(crate) fn new() -> Self {
        Self {
            since: None,
            cause: (String::new(), String::new()),
            passing: None,
            refusals: 0,
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
    pub(crate) fn lasts(&mut self, trouble: Option<Trouble>, outlook: Outlook) -> Option<Trouble> {
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
        if outlook.may_pass {
            self.passing = Some(now);
        }
        let since = self.passing.unwrap_or(began);
        let is_over = if now - since < grace(&trouble.reason) {
            // A quota counts what is gone a moment late.
            self.refusals = outlook.refusals;
            false
        } else if trouble.reason == REFUSED && self.passing.is_some() {
            // What was refused while there was no room says nothing of the room that there is now. The pauses between two
            // attempts of a controller double: the next may come as late again as it was refused for.
            outlook.refusals > self.refusals || now - since >= SILENCE + 2 * (since - began)
        } else {
            true
        };
        is_over.then_some(trouble)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAYS: Outlook = Outlook {
        may_pass: false,
        refusals: 0,
    };
    const PASSES: Outlook = Outlook {
        may_pass: true,
        refusals: 0,
    };

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
        assert_eq!(lasting.lasts(Some(trouble("ErrImagePull")), STAYS), None);
        tokio::time::advance(grace("ErrImagePull")).await;
        assert_eq!(lasting.lasts(None, STAYS), None, "it passed");
        assert_eq!(
            lasting.lasts(Some(trouble("ErrImagePull")), STAYS),
            None,
            "it is new again"
        );
        tokio::time::advance(grace("ErrImagePull")).await;
        let other = Some(trouble("ImagePullBackOff"));
        assert_eq!(
            lasting.lasts(other.clone(), STAYS),
            other,
            "the same trouble by another name"
        );
    }

    /// As the kubelet tells it: a pull, 10 s of waiting, the next pull.
    #[tokio::test(start_paused = true)]
    async fn a_pull_that_fails_once_is_not_final() {
        let mut lasting = Lasting::new();
        for (second, reason) in [(0, "ErrImagePull"), (1, "ImagePullBackOff"), (13, "ImagePullBackOff")] {
            assert_eq!(lasting.lasts(Some(trouble(reason)), STAYS), None, "after {second} s");
            tokio::time::advance(Duration::from_secs(if second == 1 { 12 } else { 1 })).await;
        }
        assert_eq!(lasting.lasts(None, STAYS), None, "the second one has gone well");
        assert_eq!(lasting.lasts(Some(trouble("ErrImagePull")), STAYS), None);
        tokio::time::advance(Duration::from_secs(20)).await;
        assert!(
            lasting.lasts(Some(trouble("ErrImagePull")), STAYS).is_some(),
            "and that is fast still"
        );
    }

    /// In a cluster that grows pods wait for nodes, one after the other gets one, and what fails then has only just begun.
    #[tokio::test(start_paused = true)]
    async fn each_trouble_has_a_time_of_its_own() {
        let mut lasting = Lasting::new();
        assert_eq!(lasting.lasts(Some(trouble(UNSCHEDULABLE)), STAYS), None);
        tokio::time::advance(Duration::from_secs(40)).await;
        for pod in ["a", "b"] {
            let pull = || {
                Some(Trouble {
                    pod: pod.to_owned(),
                    ..trouble("ErrImagePull")
                })
            };
            assert_eq!(lasting.lasts(pull(), STAYS), None, "{pod} has only just begun to pull");
            tokio::time::advance(Duration::from_secs(19)).await;
            assert_eq!(lasting.lasts(pull(), STAYS), None, "{pod}");
        }
        assert_eq!(lasting.lasts(Some(trouble("CrashLoopBackOff")), STAYS), None);
        tokio::time::advance(Duration::from_secs(15)).await;
        assert!(lasting.lasts(Some(trouble("CrashLoopBackOff")), STAYS).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_cluster_is_given_time_to_grow() {
        let mut lasting = Lasting::new();
        assert_eq!(lasting.lasts(Some(trouble("Unschedulable")), STAYS), None);
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(lasting.lasts(Some(trouble("Unschedulable")), STAYS), None);
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(
            lasting.lasts(Some(trouble("Unschedulable")), STAYS),
            Some(trouble("Unschedulable"))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_was_ordered_is_waited_for() {
        let mut lasting = Lasting::new();
        for minute in 0..5 {
            assert_eq!(
                lasting.lasts(Some(trouble(UNSCHEDULABLE)), PASSES),
                None,
                "minute {minute}"
            );
            tokio::time::advance(Duration::from_mins(1)).await;
        }
        assert!(
            lasting.lasts(Some(trouble(UNSCHEDULABLE)), STAYS).is_some(),
            "no node comes after all"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_quota_refused_before_pods_were_gone_is_not_final() {
        let mut lasting = Lasting::new();
        let refused = || Some(trouble(REFUSED));
        let seen = |may_pass, refusals| Outlook { may_pass, refusals };
        assert_eq!(lasting.lasts(refused(), seen(true, 1)), None);
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(lasting.lasts(refused(), seen(true, 12)), None, "an old pod ends");
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(lasting.lasts(refused(), seen(false, 13)), None, "the quota counts late");
        tokio::time::advance(Duration::from_mins(1)).await;
        assert_eq!(lasting.lasts(refused(), seen(false, 13)), None, "the controller pauses");
        assert_eq!(
            lasting.lasts(refused(), seen(false, 14)),
            refused(),
            "there is no room still"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_of_which_no_more_is_heard_is_final_in_the_end() {
        let mut lasting = Lasting::new();
        let refused = || Some(trouble(REFUSED));
        assert_eq!(lasting.lasts(refused(), PASSES), None);
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(lasting.lasts(refused(), PASSES), None);
        tokio::time::advance(Duration::from_secs(179)).await;
        assert_eq!(lasting.lasts(refused(), STAYS), None);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(lasting.lasts(refused(), STAYS), refused());
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_that_nothing_can_end_is_final_soon() {
        let mut lasting = Lasting::new();
        assert_eq!(lasting.lasts(Some(trouble(REFUSED)), STAYS), None);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert!(lasting.lasts(Some(trouble(REFUSED)), STAYS).is_some());
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
