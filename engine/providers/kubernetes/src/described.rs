//! `kubernetes.describe`: an object as `kubectl describe` shows it, without values that could be secrets.

use std::time::Duration;

use jm_client_kubernetes::{Kubernetes, Reader, WorkloadRef};
use jm_step::{
    Effect, InputIssue, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError, StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::needs;
use crate::redact::redact;
use crate::wait;

/// The step type `kubernetes.describe`.
pub struct Describe;

/// What is described: a workload or a pod.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// A workload, with its pods and what was told of them.
    #[serde(default)]
    workload: Option<WorkloadRef>,
    /// A pod, by its name.
    #[serde(default)]
    pod: Option<String>,
}

/// The description.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// Fields, containers, conditions and events, for people.
    text: String,
}

impl StepType for Describe {
    const NAME: &'static str = "kubernetes.describe";
    const SUMMARY: &'static str = "describes a workload or a pod as `kubectl describe` does";
    const EFFECT: Effect = Effect::ReadOnly;
    const REPEAT: Repeat = Repeat::Safe;
    const TIMEOUT: Duration = Duration::from_mins(1);
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        one_of(input.workload.as_ref(), input.pod.as_ref())
    }

    fn roles(&self) -> Vec<Role> {
        vec![crate::CLUSTER]
    }

    fn needs(&self, input: &Known) -> Vec<Need> {
        needs::to_look(input)
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let text = look(&*cx.read::<Kubernetes>().await?, input).await?;
        Ok(Preview::verified(format!(
            "a description of {} lines",
            text.lines().count()
        )))
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let cluster = cx.read::<Kubernetes>().await?;
        let text = wait::unless_cancelled(cx, look(&cluster, &input)).await?;
        Ok(Output {
            text: redact(cx.secrets(), &text),
        })
    }

    async fn probe(&self, _: &ReadContext, _: &Input) -> Result<Probe<Output>, StepError> {
        Ok(Probe::NotStarted)
    }
}

async fn look(cluster: &Reader, input: &Input) -> Result<String, StepError> {
    match (&input.workload, &input.pod) {
        (Some(workload), _) => cluster.describe(workload).await,
        (None, Some(pod)) => cluster.describe_pod(pod).await,
        (None, None) => Err(StepError::invalid_input("neither a workload nor a pod is named")),
    }
}

/// Exactly one of a workload and a pod has to be named.
pub(crate) fn one_of(workload: Option<&WorkloadRef>, pod: Option<&String>) -> Result<(), Vec<InputIssue>> {
    match (workload, pod) {
        (Some(_), None) | (None, Some(_)) => Ok(()),
        (None, None) => Err(vec![
            InputIssue::at("", "neither a workload nor a pod is named").help("give `workload` or `pod`"),
        ]),
        (Some(_), Some(_)) => Err(vec![InputIssue::at("/pod", "name a workload or a pod, not both")]),
    }
}
