//! `kubernetes.pods`: the pods of a namespace or of a workload, as `kubectl get pods` shows them.

use std::time::Duration;

use jm_client_kubernetes::{Kind, Kubernetes, PodLine, Reader, WorkloadRef};
use jm_step::{
    Effect, InputIssue, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError, StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::needs;
use crate::wait;

/// The step type `kubernetes.pods`.
pub struct Pods;

/// Whose pods: without anything, all of the namespace.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Only those of this workload.
    #[serde(default)]
    workload: Option<WorkloadRef>,
    /// Only those with these labels, such as `app=web,tier!=cache`.
    #[serde(default)]
    selector: Option<String>,
}

/// The pods.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// In one line each, by name.
    pods: Vec<PodLine>,
}

impl StepType for Pods {
    const NAME: &'static str = "kubernetes.pods";
    const SUMMARY: &'static str = "lists pods as `kubectl get pods` does";
    const EFFECT: Effect = Effect::ReadOnly;
    const REPEAT: Repeat = Repeat::Safe;
    const TIMEOUT: Duration = Duration::from_mins(1);
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        if input.workload.is_some() && input.selector.is_some() {
            return Err(vec![InputIssue::at(
                "/selector",
                "a workload has a selector of its own: name one of them",
            )]);
        }
        match &input.workload {
            Some(workload) if workload.kind == Kind::CronJob => Err(vec![
                InputIssue::at(
                    "/workload",
                    format!("{workload} has no pods of its own, only Jobs that have"),
                )
                .help("find them by their labels: `selector`"),
            ]),
            _ => Ok(()),
        }
    }

    fn roles(&self) -> Vec<Role> {
        vec![crate::CLUSTER]
    }

    fn needs(&self, input: &Known) -> Vec<Need> {
        needs::to_look(input)
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let output = look(&*cx.read::<Kubernetes>().await?, input).await?;
        Ok(Preview::verified(format!("{} pods", output.pods.len())).predict(output))
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let cluster = cx.read::<Kubernetes>().await?;
        wait::unless_cancelled(cx, look(&cluster, &input)).await
    }

    async fn probe(&self, _: &ReadContext, _: &Input) -> Result<Probe<Output>, StepError> {
        Ok(Probe::NotStarted)
    }
}

async fn look(cluster: &Reader, input: &Input) -> Result<Output, StepError> {
    let pods = match &input.workload {
        Some(workload) => cluster.pod_lines(&cluster.workload(workload).await?).await?,
        None => {
            cluster
                .pods_by_labels(input.selector.as_deref().unwrap_or_default())
                .await?
        }
    };
    Ok(Output { pods })
}
