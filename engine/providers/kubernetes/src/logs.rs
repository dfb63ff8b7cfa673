//! `kubernetes.logs`: the last lines of the logs of a workload's pods or of one pod, and those that follow where that is
//! asked for, without what looks like a secret.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::{StreamExt, stream};
use jm_client_kubernetes::{Kind, Kubernetes, LogRequest, PodLine, Reader, WorkloadRef};
use jm_step::{
    Effect, InputIssue, Known, Need, Preview, Probe, ReadContext, Repeat, Role, Secrets, StepContext, StepError,
    StepErrorKind, StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::described::one_of;
use crate::few::few;
use crate::follow;
use crate::needs;
use crate::redact::{last_lines, redact};
use crate::wait;

/// The most bytes that are taken of one log.
pub(crate) const MOST_OF_ONE: usize = 64 * 1024;
/// The most logs that are read.
const MOST_LOGS: usize = 50;
/// The most pods that are named of those whose logs are left out.
const MOST_NAMED: usize = 8;
/// How long one question about a pod, or for a log, may take: the kubelet of a node that is gone answers nothing.
const ONE: Duration = Duration::from_secs(20);
const AT_ONCE: usize = 16;
/// The longest that logs are followed.
const LONGEST: u32 = 12 * 60 * 60;

/// The step type `kubernetes.logs`.
pub struct Logs;

/// Whose logs.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Those of all pods of a workload.
    #[serde(default)]
    workload: Option<WorkloadRef>,
    /// Those of a pod, by its name.
    #[serde(default)]
    pod: Option<String>,
    /// Only this container's.
    #[serde(default)]
    container: Option<String>,
    /// Of each container the log of its run before this one: why it ended.
    #[serde(default)]
    previous: bool,
    /// How many of the last lines of each, up to 5000.
    #[serde(default = "hundred")]
    #[schemars(range(min = 1, max = 5000))]
    lines: u32,
    /// No lines that are older than so many seconds.
    #[serde(default)]
    since_seconds: Option<u64>,
    /// Whether to go on and tell each line as it comes, until the pods are over or the time is: those pods that are there
    /// when it begins, through restarts of their containers.
    #[serde(default)]
    follow: bool,
    /// How many seconds to follow, up to twelve hours. Where they are over before the pods are, `cut_off` tells so.
    #[serde(default = "hour")]
    #[schemars(range(min = 1, max = 43200))]
    follow_seconds: u32,
}

fn hundred() -> u32 {
    100
}

fn hour() -> u32 {
    3600
}

/// The logs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// One for each container, by pod: first those of pods that somebody has to look at. At most fifty are read; where there
    /// are more, the run is degraded and says whose were left out.
    logs: Vec<Log>,
    /// Whether following ended because its time was up, with pods that may say more.
    #[serde(default)]
    cut_off: bool,
}

/// The log of a container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Log {
    /// The pod.
    pub(crate) pod: String,
    /// The container.
    pub(crate) container: String,
    /// Its last lines, at most 64 KiB; what looks like a secret is hidden. Where it has none yet, or cannot be read, the API
    /// server's word why.
    pub(crate) text: String,
}

impl StepType for Logs {
    const NAME: &'static str = "kubernetes.logs";
    const SUMMARY: &'static str = "reads the last lines of the logs of pods, or follows them, as `kubectl logs` does";
    const EFFECT: Effect = Effect::ReadOnly;
    const REPEAT: Repeat = Repeat::Safe;
    const TIMEOUT: Duration = Duration::from_hours(13); // reading is bounded by itself
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        one_of(input.workload.as_ref(), input.pod.as_ref())?;
        let mut issues = Vec::new();
        if input.workload.as_ref().is_some_and(|of| of.kind == Kind::CronJob) {
            let issue = InputIssue::at("/workload", "a CronJob has no pods of its own, only Jobs that have");
            issues.push(issue.help("find the pod with `kubernetes.pods`, and name it"));
        }
        if !(1..=5000).contains(&input.lines) {
            issues.push(InputIssue::at("/lines", "from 1 to 5000 lines"));
        }
        if !(1..=LONGEST).contains(&input.follow_seconds) {
            issues.push(InputIssue::at(
                "/follow_seconds",
                format!("from 1 to {LONGEST} seconds"),
            ));
        }
        if input.follow && input.previous {
            let issue = InputIssue::at(
                "/previous",
                "the run of a container before this one is over, and says nothing more",
            );
            issues.push(issue.help("leave out `follow`"));
        }
        if issues.is_empty() { Ok(()) } else { Err(issues) }
    }

    fn roles(&self) -> Vec<Role> {
        vec![crate::CLUSTER]
    }

    fn needs(&self, input: &Known) -> Vec<Need> {
        needs::to_look(input)
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let pods = pods(&*cx.read::<Kubernetes>().await?, input).await?;
        let does = if input.follow { "follows" } else { "reads" };
        Ok(Preview::verified(format!("{does} the logs of {} pods", pods.len())))
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let cluster = cx.read::<Kubernetes>().await?;
        let pods = wait::unless_cancelled(cx, pods(&cluster, &input)).await?;
        let request = input.request();
        if input.follow {
            let most = Duration::from_secs(input.follow_seconds.into());
            let (logs, cut_off) = follow::follow(cx, &cluster, &pods, &request, most).await?;
            return Ok(Output { logs, cut_off });
        }
        let reading = read(&cluster, &pods, &request, cx.secrets());
        let Found {
            logs,
            left_out,
            failures,
        } = wait::unless_cancelled(cx, reading).await?;
        tell_of_left_out(cx, &left_out).await?;
        if !failures.is_empty() {
            let why: Vec<&str> = failures.iter().map(StepError::message).collect();
            let why = redact(cx.secrets(), &why.join("; "));
            cx.degraded(format!("not all logs can be read: {why}")).await?;
        }
        Ok(Output { logs, cut_off: false })
    }

    async fn probe(&self, _: &ReadContext, _: &Input) -> Result<Probe<Output>, StepError> {
        Ok(Probe::NotStarted)
    }
}

impl Input {
    fn request(&self) -> LogRequest {
        LogRequest {
            container: self.container.clone(),
            previous: self.previous,
            lines: self.lines,
            since: self.since_seconds,
        }
    }
}

async fn pods(cluster: &Reader, input: &Input) -> Result<Vec<String>, StepError> {
    match (&input.workload, &input.pod) {
        (Some(workload), _) => {
            let mut pods = cluster.pod_lines(&cluster.workload(workload).await?).await?;
            pods.sort_by_key(need);
            Ok(pods.into_iter().map(|pod| pod.name).collect())
        }
        (None, pod) => Ok(pod.iter().cloned().collect()),
    }
}

/// How much a pod needs to be looked at, the least number first: of many, not all logs are read. One that is not ready, then
/// one that was, until it was started again. That one is not ready which has done its work, or is being deleted, is as it
/// should be.
fn need(pod: &PodLine) -> u8 {
    let is_ready = pod.ready.split_once('/').is_some_and(|(ready, all)| ready == all);
    let is_over = ["Succeeded", "Completed", "Terminating"].contains(&pod.status.as_str());
    match (is_ready || is_over, pod.restarts) {
        (false, _) => 0,
        (true, 1..) => 1,
        (true, 0) => 2,
    }
}

/// Says whose logs are not read, where there are more than are.
pub(crate) async fn tell_of_left_out(cx: &StepContext, left_out: &[Log]) -> Result<(), StepError> {
    if left_out.is_empty() {
        return Ok(());
    }
    let whose: BTreeSet<&str> = left_out.iter().map(|log| log.pod.as_str()).collect();
    let whose: Vec<&str> = whose.into_iter().collect();
    cx.degraded(format!(
        "{} logs are left out, for {MOST_LOGS} are the most that are read at once, those of pods in trouble first: of {}; \
         `pod` reads those of one",
        left_out.len(),
        few(&whose, MOST_NAMED)
    ))
    .await
}

/// What became of the logs that were wanted.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) logs: Vec<Log>,
    /// Those that are too many, of which nothing is read.
    pub(crate) left_out: Vec<Log>,
    /// Why others cannot be had.
    pub(crate) failures: Vec<StepError>,
}

/// The logs of pods, and why some of them cannot be read: the others are there all the same, for a moment later they may be
/// gone. An error where none can. A container that has not started, or was not started before, has none: it says so in its
/// place.
pub(crate) async fn read(
    cluster: &Reader,
    pods: &[String],
    wanted: &LogRequest,
    secrets: &Secrets,
) -> Result<Found, StepError> {
    let mut found = listed(cluster, pods, wanted).await?;
    let Found { logs, failures, .. } = &mut found;
    let texts: Vec<_> = logs.iter().map(|log| text(cluster, log, wanted)).collect();
    let texts: Vec<_> = stream::iter(texts).buffered(AT_ONCE).collect().await;
    let mut is_any_read = logs.is_empty() && failures.is_empty();
    for (log, text) in logs.iter_mut().zip(texts) {
        is_any_read |= text.is_ok();
        let text = text.unwrap_or_else(|error| {
            let instead = format!("({})", error.message());
            failures.push(error);
            instead
        });
        log.text = redact(secrets, &last_lines(&text, MOST_OF_ONE));
    }
    if is_any_read {
        Ok(found)
    } else {
        Err(failures.swap_remove(0))
    }
}

async fn text(cluster: &Reader, log: &Log, wanted: &LogRequest) -> Result<String, StepError> {
    let what = format!("the log of pod `{}`", log.pod);
    match in_time(&what, cluster.log(&log.pod, &log.request(wanted))).await {
        Err(error) if error.kind() == StepErrorKind::InvalidInput => Ok(format!("({})", error.message())),
        read => read,
    }
}

async fn in_time<T>(what: &str, asked: impl Future<Output = Result<T, StepError>>) -> Result<T, StepError> {
    let late = |_| StepError::timed_out(format!("{what} did not come within {} s", ONE.as_secs()));
    tokio::time::timeout(ONE, asked).await.map_err(late)?
}

/// The logs of the containers of pods, of which nothing is read yet, and those that are too many. An error where one of the
/// pods cannot be looked at.
pub(crate) async fn empty(
    cluster: &Reader,
    pods: &[String],
    wanted: &LogRequest,
) -> Result<(Vec<Log>, Vec<Log>), StepError> {
    let found = listed(cluster, pods, wanted).await?;
    let failure = found.failures.into_iter().next();
    failure.map_or(Ok((found.logs, found.left_out)), Err)
}

/// The same, and why some of the pods cannot be looked at. While a workload is rolled out not all of its pods need have the
/// container that is wanted, but one of them has to.
async fn listed(cluster: &Reader, pods: &[String], wanted: &LogRequest) -> Result<Found, StepError> {
    let asked = pods.iter().map(|pod| async move {
        let what = format!("what is known of pod `{pod}`");
        (pod, in_time(&what, cluster.containers(pod)).await)
    });
    let asked: Vec<_> = asked.collect();
    let asked: Vec<_> = stream::iter(asked).buffered(AT_ONCE).collect().await;
    let (mut logs, mut failures) = (Vec::new(), Vec::new());
    let (mut without, mut others) = (Vec::new(), BTreeSet::new());
    for (pod, containers) in asked {
        let chosen = match (containers, &wanted.container) {
            (Err(error), _) => {
                failures.push(error);
                continue;
            }
            (Ok(containers), None) => containers.main,
            (Ok(containers), Some(one)) if containers.all().any(|name| name == one) => vec![one.clone()],
            (Ok(containers), Some(_)) => {
                without.push(pod.as_str());
                others.extend(containers.all().cloned());
                continue;
            }
        };
        logs.extend(chosen.into_iter().map(|container| Log {
            pod: pod.clone(),
            container,
            text: String::new(),
        }));
    }
    if let (Some(one), true, false) = (&wanted.container, logs.is_empty(), without.is_empty()) {
        let nowhere = format!("there is no container `{one}` in {}", without.join(", "));
        let there: Vec<String> = others.into_iter().collect();
        return Err(nowhere_seen(nowhere, &failures).hint(format!("there are: {}", there.join(", "))));
    }
    let left_out = logs.split_off(MOST_LOGS.min(logs.len()));
    Ok(Found {
        logs,
        left_out,
        failures,
    })
}

/// The error where no pod that was seen has the container. One that could not be looked at may have it: of what kind the
/// error is follows from why not.
fn nowhere_seen(nowhere: String, unseen: &[StepError]) -> StepError {
    let kind = unseen.first().map_or(StepErrorKind::NotFound, StepError::kind);
    let said: Vec<&str> = [nowhere.as_str()]
        .into_iter()
        .chain(unseen.iter().map(StepError::message))
        .collect();
    StepError::new(kind, said.join("; "))
}

impl Log {
    /// What is wanted, of this container.
    pub(crate) fn request(&self, wanted: &LogRequest) -> LogRequest {
        LogRequest {
            container: Some(self.container.clone()),
            ..wanted.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, ready: &str, status: &str, restarts: u32) -> PodLine {
        PodLine {
            name: name.to_owned(),
            ready: ready.to_owned(),
            status: status.to_owned(),
            restarts,
            created: String::new(),
            node: String::new(),
        }
    }

    #[test]
    fn pods_in_trouble_come_first() {
        let mut pods: Vec<PodLine> = (10..50)
            .map(|n| pod(&format!("web-{n}"), "2/2", "Running", 0))
            .collect();
        pods.extend([
            pod("x-done", "0/1", "Completed", 0),
            pod("x-going", "1/2", "Terminating", 0),
            pod("x-restarted", "2/2", "Running", 3),
            pod("y-crashing", "1/2", "CrashLoopBackOff", 7),
            pod("z-starting", "0/2", "ContainerCreating", 0),
        ]);
        pods.sort_by_key(need);
        let names: Vec<&str> = pods.iter().map(|pod| pod.name.as_str()).collect();
        assert_eq!(names[..4], ["y-crashing", "z-starting", "x-restarted", "web-10"]);
        assert_eq!(
            names[43..],
            ["x-done", "x-going"],
            "those that are well stay in their order"
        );
    }
}
