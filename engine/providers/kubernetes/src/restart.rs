//! `kubernetes.restart`: renews the pods of a workload, as its rollout strategy says, and waits until that is done.

use std::time::Duration;

use jm_client_kubernetes::{Kubernetes, WorkloadRef};
use jm_step::{
    Change, Effect, InputIssue, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError,
    StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::wait::{self, Until};
use crate::{kept, kinds, needs};

/// The step type `kubernetes.restart`.
pub struct Restart;

/// Whose pods.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Which Deployment, StatefulSet or DaemonSet.
    workload: WorkloadRef,
    /// Whether to wait until every pod is renewed and ready.
    #[serde(default = "yes")]
    wait: bool,
}

fn yes() -> bool {
    true
}

/// How it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// How many replicas are wanted.
    replicas: u32,
}

impl StepType for Restart {
    const NAME: &'static str = "kubernetes.restart";
    const SUMMARY: &'static str = "renews the pods of a workload and waits until they are ready";
    const EFFECT: Effect = Effect::Reversible;
    const REPEAT: Repeat = Repeat::Safe; // the template carries the name of the deed, which a second time is the same
    const TIMEOUT: Duration = Duration::from_mins(10);
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        kinds::without_rollouts("/workload", &input.workload).map_or(Ok(()), |issue| Err(vec![issue]))
    }

    fn roles(&self) -> Vec<Role> {
        vec![crate::CLUSTER]
    }

    fn needs(&self, input: &Known) -> Vec<Need> {
        needs::to_change(input)
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let state = cx.read::<Kubernetes>().await?.workload(&input.workload).await?;
        not_paused(state.paused, &input.workload)?;
        let output = Output {
            replicas: state.replicas,
        };
        let summary = format!("renew the pods of {}", input.workload);
        let summary = kept::warned(summary, &kept::warning(&state));
        Ok(Preview::computed(summary, vec![change(input)]).predict(output))
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let cluster = cx.connect::<Kubernetes>().await?;
        let template = wait::unless_cancelled(cx, cluster.template(&input.workload)).await?;
        let deed = cx.idempotency_key();
        if template.restarted_by.as_deref() != Some(deed) {
            not_paused(template.state.paused, &input.workload)?;
            if let Some(warning) = kept::warning(&template.state) {
                cx.log(warning).await;
            }
            cluster.restart(&template, deed).await?;
            cx.changed(change(&input)).await;
        }
        let mut replicas = template.state.replicas;
        if input.wait {
            replicas = wait::ready(cx, &cluster, &input.workload, Until::RolledOut)
                .await?
                .replicas;
        }
        Ok(Output { replicas })
    }

    async fn probe(&self, cx: &ReadContext, input: &Input) -> Result<Probe<Output>, StepError> {
        let template = cx.read::<Kubernetes>().await?.template(&input.workload).await?;
        Ok(if template.restarted_by.as_deref() != Some(cx.idempotency_key()) {
            Probe::NotStarted
        } else if input.wait && !template.state.is_rolled_out() {
            Probe::partial(format!("the pods of {} are being renewed", input.workload))
        } else {
            Probe::Succeeded(Output {
                replicas: template.state.replicas,
            })
        })
    }
}

/// A rollout that is paused takes the template and renews nothing.
fn not_paused(paused: bool, workload: &WorkloadRef) -> Result<(), StepError> {
    if !paused {
        return Ok(());
    }
    Err(StepError::conflict(format!("the rollout of {workload} is paused"))
        .hint(format!("`kubectl rollout resume {workload}`, then restart it")))
}

fn change(input: &Input) -> Change {
    Change::update(
        input.workload.to_string(),
        json!({ "pods": "as they are" }),
        json!({ "pods": "renewed" }),
    )
}
