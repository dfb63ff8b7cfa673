//! `kubernetes.quiesce`: scales workloads to nothing and waits until their pods are gone, after it has written down the
//! counts to come back to: in the journal, and as a mark on the objects themselves.

use std::time::Duration;

use jm_client_kubernetes::{Autoscaler, Kubernetes, Reader, Workload, WorkloadRef};
use jm_step::{
    Change, Effect, InputIssue, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError, StepErrorKind,
    StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::wait;

/// How often the counts are looked at again where somebody changes a workload in the very moment.
const TRIES: u32 = 10;

/// The step type `kubernetes.quiesce`.
pub struct Quiesce;

/// What is to stop.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Everything that writes to the data, such as `deployment/backend-deployment`.
    workloads: Vec<WorkloadRef>,
}

/// What was stopped, and how it was before.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Quiesced {
    /// One entry for each workload, in the order of the input.
    #[serde(default)]
    pub workloads: Vec<QuiescedWorkload>,
}

/// A workload as it was before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct QuiescedWorkload {
    /// Which one.
    pub workload: WorkloadRef,
    /// How many replicas it had. Absent where it was found at zero without a mark, so that nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// The bounds of its autoscaler. A count of zero switches an autoscaler off until the workload is scaled up again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaler: Option<Autoscaler>,
}

impl StepType for Quiesce {
    const NAME: &'static str = "kubernetes.quiesce";
    const SUMMARY: &'static str =
        "scales workloads to zero, with their counts written down, and waits for the pods to go";
    const EFFECT: Effect = Effect::Reversible;
    const REPEAT: Repeat = Repeat::Safe; // a mark wins over a count of zero, so a second time records the same counts
    const TIMEOUT: Duration = Duration::from_mins(5);
    type Input = Input;
    type Output = Quiesced;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        if input.workloads.is_empty() {
            return Err(vec![
                InputIssue::at("/workloads", "no workload is named")
                    .help("name every writer, such as `deployment/backend-deployment`"),
            ]);
        }
        let twice = |(index, workload)| input.workloads[..index].contains(workload);
        match input
            .workloads
            .iter()
            .enumerate()
            .find(|(index, workload)| twice((*index, workload)))
        {
            Some((index, workload)) => Err(vec![InputIssue::at(
                format!("/workloads/{index}"),
                format!("{workload} is named twice"),
            )]),
            None => Ok(()),
        }
    }

    fn roles(&self) -> Vec<Role> {
        vec![crate::CLUSTER]
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Quiesced>, StepError> {
        let cluster = cx.read::<Kubernetes>().await?;
        let found = look(&cluster, &input.workloads, None).await?;
        let changes: Vec<Change> = found.iter().filter_map(|(state, _)| change(state)).collect();
        let recorded = Quiesced {
            workloads: found.into_iter().map(|(_, before)| before).collect(),
        };
        let summary = summary(&recorded);
        Ok(if changes.is_empty() {
            Preview::verified(summary)
        } else {
            Preview::computed(summary, changes)
        }
        .predict(recorded))
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Quiesced, StepError> {
        let cluster = cx.connect::<Kubernetes>().await?;
        let mut earlier = cx.saved_output::<Quiesced>()?;
        let mut tries = 0;
        let recorded = loop {
            tries += 1;
            let looking = look(&cluster, &input.workloads, earlier.as_ref());
            let found = wait::unless_cancelled(cx, looking).await?;
            let recorded = Quiesced {
                workloads: found.iter().map(|(_, before)| before.clone()).collect(),
            };
            // On disk before anything is stopped: whatever happens from here on, somebody knows what to come back to.
            cx.save_output(&recorded).await?;
            match stop(cx, &cluster, &found).await {
                Ok(()) => break recorded,
                Err(error) if error.kind() == StepErrorKind::Conflict && tries < TRIES => earlier = Some(recorded),
                Err(error) => return Err(error),
            }
        };
        for workload in &input.workloads {
            wait::pods_gone(cx, &cluster, workload).await?;
        }
        Ok(recorded)
    }

    async fn probe(&self, cx: &ReadContext, input: &Input) -> Result<Probe<Quiesced>, StepError> {
        let Some(recorded) = cx.saved_output::<Quiesced>()? else {
            return Ok(Probe::NotStarted);
        };
        let cluster = cx.read::<Kubernetes>().await?;
        let mut untouched = 0;
        let mut open = Vec::new();
        for workload in &input.workloads {
            let (state, left) = wait::remaining(&cluster, workload).await?;
            untouched += usize::from(state.replicas > 0);
            if !state.is_stopped() || !left.is_empty() {
                open.push(format!(
                    "{workload} wants {} replicas and has {} pods",
                    state.replicas,
                    left.len()
                ));
            }
        }
        Ok(match open.is_empty() {
            true => Probe::Succeeded(recorded),
            false if untouched == input.workloads.len() => Probe::NotStarted,
            false => Probe::partial(open.join("; ")),
        })
    }
}

/// Scales to nothing what is not there yet. A conflict says that the counts have to be looked at again.
async fn stop(cx: &StepContext, cluster: &Kubernetes, found: &[(Workload, QuiescedWorkload)]) -> Result<(), StepError> {
    for (state, before) in found {
        if let Some(change) = change(state) {
            cluster.quiesce(state, before.replicas).await?;
            cx.changed(change).await;
        }
    }
    Ok(())
}

/// The workloads as they are, each with what is to be written down of it.
async fn look(
    cluster: &Reader,
    workloads: &[WorkloadRef],
    earlier: Option<&Quiesced>,
) -> Result<Vec<(Workload, QuiescedWorkload)>, StepError> {
    let mut found = Vec::new();
    for workload in workloads {
        let state = cluster.workload(workload).await?;
        let before = QuiescedWorkload {
            workload: workload.clone(),
            replicas: count_before(&state, earlier),
            autoscaler: cluster.autoscaler(workload).await?,
        };
        found.push((state, before));
    }
    Ok(found)
}

/// The count to come back to: what is wanted now, or, where that is zero, what was written down before.
fn count_before(state: &Workload, earlier: Option<&Quiesced>) -> Option<u32> {
    if state.replicas > 0 {
        return Some(state.replicas);
    }
    let saved = earlier.and_then(|earlier| {
        earlier
            .workloads
            .iter()
            .find(|before| before.workload == state.workload)
    });
    state.mark.or_else(|| saved.and_then(|before| before.replicas))
}

fn change(state: &Workload) -> Option<Change> {
    (state.replicas > 0).then(|| {
        Change::update(
            state.workload.to_string(),
            json!({ "replicas": state.replicas }),
            json!({ "replicas": 0 }),
        )
    })
}

fn summary(recorded: &Quiesced) -> String {
    let each = recorded.workloads.iter().map(|before| match before.replicas {
        Some(count) => format!("{} from {count} to 0", before.workload),
        None => format!("{} is at 0, and nobody wrote down what it was", before.workload),
    });
    format!("scale {}", each.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn state(replicas: u32, mark: Option<u32>) -> Workload {
        Workload {
            workload: "deployment/web".parse().expect("a name"),
            uid: String::new(),
            replicas,
            version: String::new(),
            to_update: replicas,
            updated: 0,
            ready: 0,
            current: 0,
            available: 0,
            observed: true,
            paused: false,
            mark,
            selector: String::new(),
            revision: None,
            failure: None,
        }
    }

    #[test]
    fn a_mark_wins_over_zero_and_a_count_wins_over_a_mark() {
        let saved = Quiesced {
            workloads: vec![QuiescedWorkload {
                workload: "deployment/web".parse().expect("a name"),
                replicas: Some(5),
                autoscaler: None,
            }],
        };
        assert_eq!(count_before(&state(3, Some(9)), Some(&saved)), Some(3));
        assert_eq!(count_before(&state(0, Some(9)), Some(&saved)), Some(9));
        assert_eq!(count_before(&state(0, None), Some(&saved)), Some(5));
        assert_eq!(count_before(&state(0, None), None), None);
    }

    #[test]
    fn naming_nothing_or_one_twice_is_refused() {
        let input = |names: &[&str]| Input {
            workloads: names.iter().map(|name| name.parse().expect("a name")).collect(),
        };
        assert!(Quiesce.check(&input(&[])).is_err());
        assert!(Quiesce.check(&input(&["deployment/a", "deploy/a"])).is_err());
        assert!(Quiesce.check(&input(&["deployment/a", "deployment/b"])).is_ok());
    }
}
