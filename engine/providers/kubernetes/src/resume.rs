//! `kubernetes.resume`: brings quiesced workloads back to the counts that were written down, and waits until they serve.

use std::time::Duration;

use jm_client_kubernetes::{Kubernetes, Workload, WorkloadRef};
use jm_step::{Change, Effect, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError, StepType};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::quiesce::{Quiesced, QuiescedWorkload};
use crate::wait::{self, Until};

/// The step type `kubernetes.resume`.
pub struct Resume;

/// What is to come back.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The outputs of the `kubernetes.quiesce`. Empty where it did not run: then there is nothing to bring back.
    quiesced: Quiesced,
    /// The count for a workload of which nobody knows what it was.
    #[serde(default)]
    fallback_replicas: Option<u32>,
    /// Whether to wait until every replica is ready.
    #[serde(default = "yes")]
    wait: bool,
}

fn yes() -> bool {
    true
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// One entry for each workload.
    workloads: Vec<Resumed>,
}

/// A workload that came back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Resumed {
    /// Which one.
    workload: WorkloadRef,
    /// How many replicas it has.
    replicas: u32,
}

impl StepType for Resume {
    const NAME: &'static str = "kubernetes.resume";
    const SUMMARY: &'static str = "brings quiesced workloads back to their counts and waits until they are ready";
    const EFFECT: Effect = Effect::Reversible;
    const REPEAT: Repeat = Repeat::Safe; // a workload that is not at zero and not marked is left alone
    const TIMEOUT: Duration = Duration::from_mins(10);
    type Input = Input;
    type Output = Output;

    fn roles(&self) -> Vec<Role> {
        vec![crate::CLUSTER]
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let cluster = cx.read::<Kubernetes>().await?;
        let mut resumed = Vec::new();
        let mut changes = Vec::new();
        for before in &input.quiesced.workloads {
            let mut state = cluster.workload(&before.workload).await?;
            if !is_quiesced(&state) {
                // The quiesce whose outputs these are is yet to come: this tells what happens after it.
                state.replicas = 0;
            }
            let after = Resumed {
                workload: before.workload.clone(),
                replicas: count(before, &state, input)?,
            };
            changes.push(change(&state, &after));
            resumed.push(after);
        }
        let summary = summary(&resumed);
        Ok(if changes.is_empty() {
            Preview::verified(summary)
        } else {
            Preview::computed(summary, changes)
        }
        .predict(Output { workloads: resumed }))
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let cluster = cx.connect::<Kubernetes>().await?;
        let mut resumed = Vec::new();
        for before in &input.quiesced.workloads {
            resumed.push(bring_back(cx, &cluster, before, &input).await?);
        }
        for workload in resumed.iter().filter(|_| input.wait) {
            wait::ready(cx, &cluster, &workload.workload, Until::Back).await?;
        }
        Ok(Output { workloads: resumed })
    }

    async fn probe(&self, cx: &ReadContext, input: &Input) -> Result<Probe<Output>, StepError> {
        let cluster = cx.read::<Kubernetes>().await?;
        let mut resumed = Vec::new();
        let mut untouched = 0;
        for before in &input.quiesced.workloads {
            let state = cluster.workload(&before.workload).await?;
            untouched += usize::from(is_quiesced(&state));
            if !is_quiesced(&state) && (!input.wait || state.is_back()) {
                resumed.push(Resumed {
                    workload: before.workload.clone(),
                    replicas: state.replicas,
                });
            }
        }
        let all = input.quiesced.workloads.len();
        Ok(match (resumed.len(), untouched) {
            (done, _) if done == all => Probe::Succeeded(Output { workloads: resumed }),
            (_, untouched) if untouched == all => Probe::NotStarted,
            (done, _) => Probe::partial(format!("{done} of {all} workloads are back")),
        })
    }
}

async fn bring_back(
    cx: &StepContext,
    cluster: &Kubernetes,
    before: &QuiescedWorkload,
    input: &Input,
) -> Result<Resumed, StepError> {
    let state = wait::unless_cancelled(cx, cluster.workload(&before.workload)).await?;
    if !is_quiesced(&state) {
        cx.log(format!(
            "{} has {} replicas and no mark: left alone",
            before.workload, state.replicas
        ))
        .await;
        return Ok(Resumed {
            workload: before.workload.clone(),
            replicas: state.replicas,
        });
    }
    let resumed = Resumed {
        workload: before.workload.clone(),
        replicas: count(before, &state, input)?,
    };
    cluster.resume(&before.workload, resumed.replicas).await?;
    cx.changed(change(&state, &resumed)).await;
    Ok(resumed)
}

fn is_quiesced(state: &Workload) -> bool {
    state.replicas == 0 || state.mark.is_some()
}

/// The count that was written down, else the fallback; never less than the autoscaler keeps, which would raise it at
/// once, and never less than what a person has brought up meanwhile.
fn count(before: &QuiescedWorkload, state: &Workload, input: &Input) -> Result<u32, StepError> {
    let wanted = before
        .replicas
        .or(state.mark)
        .or(input.fallback_replicas)
        .ok_or_else(|| {
            StepError::not_found(format!("nobody knows how many replicas {} had", before.workload))
                .hint("give `fallback_replicas`, or `-i replicas=N` where the plan has such an input")
        })?;
    let least = before.autoscaler.as_ref().map_or(0, |autoscaler| autoscaler.min);
    Ok(wanted.max(least).max(state.replicas))
}

fn change(state: &Workload, resumed: &Resumed) -> Change {
    Change::update(
        resumed.workload.to_string(),
        json!({ "replicas": state.replicas }),
        json!({ "replicas": resumed.replicas }),
    )
}

fn summary(resumed: &[Resumed]) -> String {
    if resumed.is_empty() {
        return "nothing was quiesced, so nothing is to come back".to_owned();
    }
    let each = resumed
        .iter()
        .map(|one| format!("{} to {}", one.workload, one.replicas));
    format!("scale {}", each.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use jm_client_kubernetes::Autoscaler;

    use super::*;

    fn counted(replicas: Option<u32>, mark: Option<u32>, fallback: Option<u32>, least: Option<u32>) -> Option<u32> {
        counted_at(0, replicas, mark, fallback, least)
    }

    fn counted_at(
        running: u32,
        replicas: Option<u32>,
        mark: Option<u32>,
        fallback: Option<u32>,
        least: Option<u32>,
    ) -> Option<u32> {
        let workload: WorkloadRef = "deployment/web".parse().expect("a name");
        let autoscaler = least.map(|min| Autoscaler {
            name: "web".to_owned(),
            min,
            max: 30,
        });
        let before = QuiescedWorkload {
            workload: workload.clone(),
            replicas,
            autoscaler,
        };
        let state = Workload {
            workload,
            ..crate::quiesce::tests::state(running, mark)
        };
        let input = Input {
            quiesced: Quiesced::default(),
            fallback_replicas: fallback,
            wait: true,
        };
        count(&before, &state, &input).ok()
    }

    #[test]
    fn what_was_written_down_wins_and_nothing_known_is_an_error() {
        assert_eq!(counted(Some(17), Some(3), Some(10), None), Some(17));
        assert_eq!(counted(None, Some(3), Some(10), None), Some(3));
        assert_eq!(counted(None, None, Some(10), None), Some(10));
        assert_eq!(counted(None, None, None, None), None);
    }

    #[test]
    fn never_below_the_autoscaler() {
        assert_eq!(counted(Some(2), None, None, Some(4)), Some(4));
        assert_eq!(counted(Some(17), None, None, Some(4)), Some(17));
    }

    #[test]
    fn never_below_what_a_person_brought_up() {
        assert_eq!(counted_at(5, Some(3), Some(3), None, None), Some(5));
        assert_eq!(counted_at(1, Some(3), Some(3), None, None), Some(3));
    }
}
