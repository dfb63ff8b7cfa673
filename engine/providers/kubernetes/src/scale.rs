//! `kubernetes.scale`: sets the count of replicas of a workload and waits until it is so. What it was before stands in the
//! journal, and, where it is scaled to nothing, on the object.

use std::time::Duration;

use jm_client_kubernetes::{Kind, Kubernetes, Workload, WorkloadRef};
use jm_step::{
    Change, Effect, InputIssue, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError,
    StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::kept;
use crate::needs;
use crate::wait::{self, Until};
use crate::writer;

/// The step type `kubernetes.scale`.
pub struct Scale;

/// What is to have how many replicas.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Which workload.
    workload: WorkloadRef,
    /// How many replicas.
    replicas: u32,
    /// Whether to wait until every replica is ready, or, at zero, until the pods are gone.
    #[serde(default = "yes")]
    wait: bool,
}

fn yes() -> bool {
    true
}

/// How many it had, and has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// How many replicas it had before.
    previous: u32,
    /// How many it has now.
    replicas: u32,
}

impl StepType for Scale {
    const NAME: &'static str = "kubernetes.scale";
    const SUMMARY: &'static str = "sets the replicas of a workload and waits until they are there";
    const EFFECT: Effect = Effect::Reversible;
    const REPEAT: Repeat = Repeat::Safe;
    const TIMEOUT: Duration = Duration::from_mins(10);
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        match input.workload.kind {
            Kind::Deployment | Kind::StatefulSet => Ok(()),
            Kind::DaemonSet => Err(vec![writer::daemon_set("/workload", &input.workload)]),
            Kind::CronJob => Err(vec![
                InputIssue::at("/workload", format!("{} has no replicas", input.workload))
                    .help("`kubernetes.quiesce` suspends a CronJob"),
            ]),
        }
    }

    fn roles(&self) -> Vec<Role> {
        vec![crate::CLUSTER]
    }

    fn needs(&self, input: &Known) -> Vec<Need> {
        needs::to_change(input)
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let mut state = cx.read::<Kubernetes>().await?.workload(&input.workload).await?;
        writer::count_as_announced(cx, &mut state);
        let output = Output {
            previous: state.replicas,
            replicas: input.replicas,
        };
        Ok(match change(&state, input) {
            None => Preview::verified(format!("{} has {} replicas already", input.workload, input.replicas)),
            Some(change) => {
                let summary = format!("scale {} from {} to {}", input.workload, state.replicas, input.replicas);
                let summary = kept::warned(summary, &kept::warning(&state));
                Preview::computed(summary, vec![change])
            }
        }
        .predict(output))
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let cluster = cx.connect::<Kubernetes>().await?;
        let state = wait::unless_cancelled(cx, cluster.workload(&input.workload)).await?;
        let previous = cx
            .saved_output::<Output>()?
            .map_or(state.replicas, |saved| saved.previous);
        let output = Output {
            previous,
            replicas: input.replicas,
        };
        cx.save_output(&output).await?;
        if let Some(change) = change(&state, &input) {
            if let Some(warning) = kept::warning(&state) {
                cx.log(warning).await;
            }
            cluster.scale(&input.workload, previous, input.replicas).await?;
            cx.changed(change).await;
        }
        match (input.wait, input.replicas) {
            (false, _) => {}
            (true, 0) => wait::stopped(cx, &cluster, &input.workload).await?,
            (true, _) => drop(wait::ready(cx, &cluster, &input.workload, Until::Back).await?),
        }
        Ok(output)
    }

    async fn probe(&self, cx: &ReadContext, input: &Input) -> Result<Probe<Output>, StepError> {
        let Some(saved) = cx.saved_output::<Output>()? else {
            return Ok(Probe::NotStarted);
        };
        let cluster = cx.read::<Kubernetes>().await?;
        let (state, left) = wait::remaining(&cluster, &input.workload).await?;
        if state.replicas != input.replicas {
            return Ok(Probe::NotStarted);
        }
        let there = match input.replicas {
            0 => state.is_stopped() && left.is_empty(),
            _ => state.is_back(),
        };
        Ok(if there || !input.wait {
            Probe::Succeeded(saved)
        } else {
            Probe::partial(format!(
                "{} has {} pods, {} of {} replicas are ready",
                input.workload,
                left.len(),
                state.ready,
                state.replicas
            ))
        })
    }
}

fn change(state: &Workload, input: &Input) -> Option<Change> {
    (state.replicas != input.replicas).then(|| {
        Change::update(
            input.workload.to_string(),
            json!({ "replicas": state.replicas }),
            json!({ "replicas": input.replicas }),
        )
    })
}
