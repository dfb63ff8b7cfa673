//! `kubernetes.rollout_status`: waits until a workload is rolled out, and fails as soon as it is plain that it will not be.

use std::time::Duration;

use jm_client_kubernetes::{Kubernetes, Workload, WorkloadRef};
use jm_step::{
    Effect, InputIssue, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError, StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kinds;
use crate::needs;
use crate::wait::{self, Until};

/// The step type `kubernetes.rollout_status`.
pub struct RolloutStatus;

/// What is waited for.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Which workload.
    workload: WorkloadRef,
    /// How many replicas it is to want at the least. A workload that wants none is rolled out as soon as it is seen, and
    /// serves nobody.
    #[serde(default)]
    at_least: u32,
}

impl Input {
    /// Refuses a workload that wants too few. Waiting does not change what it wants.
    fn wants_enough(&self, state: &Workload) -> Result<(), StepError> {
        if state.replicas >= self.at_least {
            return Ok(());
        }
        let Self { workload, at_least } = self;
        Err(StepError::failed(format!(
            "{workload} wants {} replicas, and is to want {at_least} at the least",
            state.replicas
        ))
        .hint(format!(
            "scale it: `jm step run kubernetes.scale -w workload={workload} -w replicas={at_least}`, then resume the run"
        )))
    }
}

/// How it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// Replicas that are wanted.
    replicas: u32,
    /// Pods that are ready.
    ready: u32,
}

impl From<Workload> for Output {
    fn from(state: Workload) -> Self {
        Self {
            replicas: state.replicas,
            ready: state.ready,
        }
    }
}

impl StepType for RolloutStatus {
    const NAME: &'static str = "kubernetes.rollout_status";
    const SUMMARY: &'static str = "waits until every replica runs the newest template and is ready";
    const EFFECT: Effect = Effect::ReadOnly;
    const REPEAT: Repeat = Repeat::Safe;
    const TIMEOUT: Duration = Duration::from_mins(10);
    const GATE: bool = true;
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        kinds::without_rollouts("/workload", &input.workload).map_or(Ok(()), |issue| Err(vec![issue]))
    }

    fn roles(&self) -> Vec<Role> {
        vec![crate::CLUSTER]
    }

    fn needs(&self, input: &Known) -> Vec<Need> {
        needs::to_look(input)
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let state = cx.read::<Kubernetes>().await?.workload(&input.workload).await?;
        let summary = format!(
            "{}: {} of {} replicas are ready",
            input.workload, state.ready, state.replicas
        );
        Ok(if state.is_rolled_out() && input.wants_enough(&state).is_ok() {
            Preview::verified(summary).predict(state.into())
        } else {
            Preview::declared(summary)
        })
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let cluster = cx.read::<Kubernetes>().await?;
        let state = wait::ready(cx, &cluster, &input.workload, Until::RolledOut).await?;
        input.wants_enough(&state)?;
        Ok(state.into())
    }

    async fn probe(&self, _: &ReadContext, _: &Input) -> Result<Probe<Output>, StepError> {
        Ok(Probe::NotStarted)
    }
}
