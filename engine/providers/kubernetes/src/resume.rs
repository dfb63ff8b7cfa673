//! `kubernetes.resume`: brings quiesced workloads back to the counts that were written down, lets suspended CronJobs start
//! Jobs again, and waits until what has pods serves.

use std::time::Duration;

use jm_client_kubernetes::{CronJob, Kubernetes, Reader, Workload, WorkloadRef};
use jm_step::{
    Change, Effect, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError, StepErrorKind,
    StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::deploy::reworded;
use crate::kept::warned;
use crate::needs;
use crate::quiesce::{Quiesced, QuiescedWorkload};
use crate::wait::{self, Until};
use crate::writer::Writer;

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
    /// How many replicas it has; absent of a CronJob.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replicas: Option<u32>,
    /// Of a CronJob: whether it is suspended, as it was before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    suspended: Option<bool>,
}

impl StepType for Resume {
    const NAME: &'static str = "kubernetes.resume";
    const SUMMARY: &'static str = "brings quiesced workloads back to what they were and waits until they are ready";
    const EFFECT: Effect = Effect::Reversible;
    const REPEAT: Repeat = Repeat::Safe; // a workload that is not at zero and not marked is left alone
    const TIMEOUT: Duration = Duration::from_mins(10);
    type Input = Input;
    type Output = Output;

    fn roles(&self) -> Vec<Role> {
        vec![crate::CLUSTER]
    }

    fn needs(&self, input: &Known) -> Vec<Need> {
        needs::to_stop(input)
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let cluster = cx.read::<Kubernetes>().await?;
        let mut resumed = Vec::new();
        let (mut changes, mut warnings) = (Vec::new(), Vec::new());
        for before in &input.quiesced.workloads {
            // The quiesce whose outputs these are may be yet to come: this tells what happens after it.
            let writer = Writer::look(&cluster, &before.workload).await?.with_announced(cx);
            let (after, change) = target(&cluster, &writer, before, input).await?;
            warnings.extend(change.as_ref().and_then(|_| writer.warning()));
            changes.extend(change);
            resumed.push(after);
        }
        let summary = warned(summary(&resumed, &changes), &warnings);
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
        let mut left = Vec::new();
        for before in &input.quiesced.workloads {
            match bring_back(cx, &cluster, before, &input).await {
                Ok(one) => resumed.push(one),
                Err(error) if error.kind() == StepErrorKind::Cancelled => return Err(error),
                // One that is gone, or that nobody may start, is no reason for all others to stay stopped.
                Err(error) => {
                    cx.log(format!("{} is not back: {error}", before.workload)).await;
                    left.push((&before.workload, error));
                }
            }
        }
        let to_wait_for = resumed.iter().filter(|one| input.wait && one.replicas.is_some());
        for workload in to_wait_for {
            let waited = wait::ready(cx, &cluster, &workload.workload, Until::Back).await;
            match waited {
                Ok(_) => {}
                Err(error) if left.is_empty() || error.kind() == StepErrorKind::Cancelled => return Err(error),
                Err(error) => left.push((&workload.workload, error)),
            }
        }
        not_back(left, input.quiesced.workloads.len())?;
        Ok(Output { workloads: resumed })
    }

    async fn probe(&self, cx: &ReadContext, input: &Input) -> Result<Probe<Output>, StepError> {
        let cluster = cx.read::<Kubernetes>().await?;
        let mut resumed = Vec::new();
        let mut untouched = 0;
        for before in &input.quiesced.workloads {
            let writer = Writer::look(&cluster, &before.workload).await?;
            let is_to_come = is_quiesced(&writer, before);
            untouched += usize::from(is_to_come);
            let serves = match &writer {
                Writer::Scaled(state) => !input.wait || state.is_back(),
                Writer::Scheduled(_) => true,
            };
            if !is_to_come && serves {
                resumed.push(as_it_is(&writer));
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

/// The error for those that could not be brought back, where there are any.
fn not_back(mut left: Vec<(&WorkloadRef, StepError)>, all: usize) -> Result<(), StepError> {
    if left.len() < 2 {
        return left.pop().map_or(Ok(()), |(_, error)| Err(error));
    }
    let told: Vec<String> = left
        .iter()
        .map(|(workload, error)| format!("{workload}: {error}"))
        .collect();
    let (_, first) = left.swap_remove(0);
    let message = format!("{} of {all} workloads are not back: {}", told.len(), told.join("; "));
    Err(reworded(&first, message))
}

async fn bring_back(
    cx: &StepContext,
    cluster: &Kubernetes,
    before: &QuiescedWorkload,
    input: &Input,
) -> Result<Resumed, StepError> {
    let looking = async {
        let writer = Writer::look(cluster, &before.workload).await?;
        let (resumed, change) = target(cluster, &writer, before, input).await?;
        Ok((resumed, change.map(|change| (change, writer.warning()))))
    };
    let (resumed, change) = wait::unless_cancelled(cx, looking).await?;
    let Some((change, warning)) = change else {
        cx.log(format!("{} was not quiesced, or is back: left alone", before.workload))
            .await;
        return Ok(resumed);
    };
    if let Some(warning) = warning {
        cx.log(warning).await;
    }
    match resumed.replicas {
        Some(replicas) => drop(cluster.resume(&before.workload, replicas).await?),
        None => cluster.unsuspend(&before.workload).await?,
    }
    cx.changed(change).await;
    Ok(resumed)
}

/// What a workload is to become, and the change that makes it so; no change where it is to be left alone.
async fn target(
    cluster: &Reader,
    writer: &Writer,
    before: &QuiescedWorkload,
    input: &Input,
) -> Result<(Resumed, Option<Change>), StepError> {
    let mut after = as_it_is(writer);
    if !is_quiesced(writer, before) {
        return Ok((after, None));
    }
    let change = match writer {
        Writer::Scaled(state) => {
            // Its bounds as they are now count; those of before where it is not back yet.
            let autoscaler = cluster.autoscaler(&state.workload).await?;
            let least = autoscaler
                .as_ref()
                .or(before.autoscaler.as_ref())
                .or(state.bounds.as_ref())
                .map_or(0, |it| it.min);
            let count = count(before, state, least, input)?;
            after.replicas = Some(count);
            writer.to(json!({ "replicas": state.replicas }), json!({ "replicas": count }))
        }
        Writer::Scheduled(job) => {
            after.suspended = Some(false);
            writer.to(json!({ "suspended": job.suspended }), json!({ "suspended": false }))
        }
    };
    Ok((after, Some(change)))
}

fn as_it_is(writer: &Writer) -> Resumed {
    let (replicas, suspended) = match writer {
        Writer::Scaled(state) => (Some(state.replicas), None),
        Writer::Scheduled(job) => (None, Some(job.suspended)),
    };
    Resumed {
        workload: writer.workload().clone(),
        replicas,
        suspended,
    }
}

fn is_quiesced(writer: &Writer, before: &QuiescedWorkload) -> bool {
    match writer {
        Writer::Scaled(state) => state.replicas == 0 || state.mark.is_some(),
        Writer::Scheduled(job) => job.mark.is_some() || (job.suspended && ran_before(job, before)),
    }
}

/// A CronJob that nobody knows anything of is left as it is: suspended, it may be so on purpose.
fn ran_before(job: &CronJob, before: &QuiescedWorkload) -> bool {
    before.suspended.or(job.mark) == Some(false)
}

/// The count that was written down, else the fallback; never less than the autoscaler keeps, which would raise it at
/// once, and never less than what a person has brought up meanwhile.
fn count(before: &QuiescedWorkload, state: &Workload, least: u32, input: &Input) -> Result<u32, StepError> {
    let wanted = before
        .replicas
        .or(state.mark)
        .or(state.scaled_from.filter(|count| *count > 0))
        .or(input.fallback_replicas)
        .ok_or_else(|| {
            StepError::not_found(format!("nobody knows how many replicas {} had", before.workload))
                .hint("give `fallback_replicas`, or `-i replicas=N` where the plan has such an input")
        })?;
    Ok(wanted.max(least).max(state.replicas))
}

fn summary(resumed: &[Resumed], changes: &[Change]) -> String {
    if resumed.is_empty() {
        return "nothing was quiesced, so nothing is to come back".to_owned();
    }
    let each = resumed.iter().map(|one| {
        let workload = one.workload.to_string();
        let changes = changes.iter().any(|change| change.object == workload);
        match (one.replicas, one.suspended) {
            (Some(count), _) if changes => format!("scale {workload} to {count}"),
            (Some(count), _) => format!("{workload} has {count} replicas, and is left alone"),
            (None, Some(true)) => format!("{workload} stays suspended"),
            (None, _) => format!("{workload} starts Jobs by its schedule"),
        }
    });
    each.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
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
        let before = QuiescedWorkload {
            workload: workload.clone(),
            replicas,
            autoscaler: None,
            suspended: None,
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
        count(&before, &state, least.unwrap_or(0), &input).ok()
    }

    #[test]
    fn what_was_written_down_wins_and_nothing_known_is_an_error() {
        assert_eq!(counted(Some(17), Some(3), Some(10), None), Some(17));
        assert_eq!(counted(None, Some(3), Some(10), None), Some(3));
        assert_eq!(counted(None, None, Some(10), None), Some(10));
        assert_eq!(counted(None, None, None, None), None);
    }

    #[test]
    fn what_was_scaled_to_nothing_comes_back_to_what_it_had() {
        let mut state = crate::quiesce::tests::state(0, None);
        let before = QuiescedWorkload {
            workload: state.workload.clone(),
            replicas: None,
            autoscaler: None,
            suspended: None,
        };
        let input = Input {
            quiesced: Quiesced::default(),
            fallback_replicas: Some(10),
            wait: true,
        };
        for (noted, count) in [(Some(4), 4), (Some(0), 10), (None, 10)] {
            state.scaled_from = noted;
            assert_eq!(super::count(&before, &state, 0, &input).ok(), Some(count));
        }
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

    #[test]
    fn a_cron_job_comes_back_where_it_ran_before() {
        let job = |suspended: bool, mark: Option<bool>| {
            Writer::Scheduled(CronJob {
                workload: "cronjob/nightly".parse().expect("a name"),
                uid: String::new(),
                version: String::new(),
                suspended,
                mark,
                keeper: None,
            })
        };
        let before = |suspended: Option<bool>| QuiescedWorkload {
            workload: "cronjob/nightly".parse().expect("a name"),
            replicas: None,
            autoscaler: None,
            suspended,
        };
        assert!(is_quiesced(&job(true, Some(false)), &before(None)), "the mark tells");
        assert!(is_quiesced(&job(true, None), &before(Some(false))), "the journal tells");
        assert!(!is_quiesced(&job(true, None), &before(Some(true))), "it rested before");
        assert!(!is_quiesced(&job(true, None), &before(None)), "nobody knows");
        assert!(!is_quiesced(&job(false, None), &before(Some(false))), "it is back");
        assert!(
            is_quiesced(&job(false, Some(false)), &before(Some(false))),
            "the mark has to go"
        );
    }
}
