//! `kubernetes.stopped`: fails where jm has stopped something and nobody has started it again in time. A run that died with
//! its machine tells nobody; the marks on the objects do, to whoever looks from elsewhere.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp, Unit};
use jm_client_kubernetes::{Kind, Kubernetes, Reader, Stopped as Writer, WorkloadRef};
use jm_step::{
    Effect, InputIssue, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError, StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::needs;
use crate::wait;
use crate::writer;

/// The step type `kubernetes.stopped`.
pub struct Stopped;

/// How long something may be stopped.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// How many seconds a recovery may keep something stopped: longer than any that is well takes.
    #[serde(default = "an_hour")]
    for_seconds: u32,
    /// What may stay stopped: a workload that `kubernetes.scale` has put to rest for good, or one of a region that a failover
    /// has fenced.
    #[serde(default)]
    except: Vec<WorkloadRef>,
}

fn an_hour() -> u32 {
    3600
}

/// What jm has stopped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// How many workloads there are that could have been stopped.
    looked_at: usize,
    /// What is stopped, but not for longer than it may be.
    stopped: Vec<Writer>,
}

impl StepType for Stopped {
    const NAME: &'static str = "kubernetes.stopped";
    const SUMMARY: &'static str = "fails where jm has stopped something and nobody has started it again in time";
    const EFFECT: Effect = Effect::ReadOnly;
    const REPEAT: Repeat = Repeat::Safe;
    const TIMEOUT: Duration = Duration::from_mins(1);
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        let daemons = input.except.iter().enumerate();
        let issues: Vec<InputIssue> = daemons
            .filter(|(_, workload)| workload.kind == Kind::DaemonSet)
            .map(|(index, workload)| writer::daemon_set(&format!("/except/{index}"), workload))
            .collect();
        if issues.is_empty() { Ok(()) } else { Err(issues) }
    }

    fn roles(&self) -> Vec<Role> {
        vec![crate::CLUSTER]
    }

    fn needs(&self, _: &Known) -> Vec<Need> {
        needs::to_see_what_is_stopped()
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let output = look(&*cx.read::<Kubernetes>().await?, input, cx.now()).await?;
        let summary = format!(
            "{} workloads, {} of them stopped",
            output.looked_at,
            output.stopped.len()
        );
        Ok(Preview::verified(summary).predict(output))
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let cluster = cx.read::<Kubernetes>().await?;
        wait::unless_cancelled(cx, look(&cluster, &input, cx.now())).await
    }

    async fn probe(&self, _: &ReadContext, _: &Input) -> Result<Probe<Output>, StepError> {
        Ok(Probe::NotStarted)
    }
}

async fn look(cluster: &Reader, input: &Input, now: Timestamp) -> Result<Output, StepError> {
    let found = cluster.stopped().await?;
    if found.looked_at == 0 {
        // Who watches the wrong namespace would never hear of anything.
        let message = format!("namespace `{}` has nothing that could be stopped", cluster.namespace());
        return Err(StepError::not_found(message).hint("check `namespace` of the target"));
    }
    let stopped: Vec<Writer> = found
        .stopped
        .into_iter()
        .filter(|one| !input.except.contains(&one.workload))
        .collect();
    let overdue: Vec<&Writer> = stopped.iter().filter(|one| is_overdue(one, input, now)).collect();
    if overdue.is_empty() {
        Ok(Output {
            looked_at: found.looked_at,
            stopped,
        })
    } else {
        Err(error(&overdue, now))
    }
}

/// What nobody knows the time of may be stopped for ever.
fn is_overdue(stopped: &Writer, input: &Input, now: Timestamp) -> bool {
    let allowed = SignedDuration::from_secs(input.for_seconds.into());
    stopped.since.is_none_or(|since| now.duration_since(since) > allowed)
}

fn error(overdue: &[&Writer], now: Timestamp) -> StepError {
    let told: Vec<String> = overdue.iter().map(|one| told(one, now)).collect();
    let named: Vec<_> = overdue.iter().map(|one| json!({ "workload": one.workload })).collect();
    let message = format!(
        "jm has stopped this, and nobody has started it again: {}",
        told.join("; ")
    );
    StepError::failed(message).hint(format!(
        "`jm plan resume` where the run was (`jm run list`); where that is lost and its data is right, \
         `jm step run kubernetes.resume -w 'quiesced={}'`; in a region that a failover has fenced it stays stopped \
         (`except`): both would write",
        json!({ "workloads": named })
    ))
}

fn told(stopped: &Writer, now: Timestamp) -> String {
    let before = match stopped.replicas {
        Some(count) => format!("{}, which had {count} replicas", stopped.workload),
        None => stopped.workload.to_string(),
    };
    match stopped.since {
        Some(since) => {
            let age = now.duration_since(since);
            format!(
                "{before}, since {since}, for {:#}",
                age.round(Unit::Second).unwrap_or(age)
            )
        }
        None => before,
    }
}
