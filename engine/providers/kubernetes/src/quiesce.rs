//! `kubernetes.quiesce`: scales workloads to nothing, suspends CronJobs, and waits until their pods and Jobs are gone, after
//! it has written down what to come back to: in the journal, and as a mark on the objects themselves.

use std::time::Duration;

use jm_client_kubernetes::{Autoscaler, CronJob, Kubernetes, Reader, Workload, WorkloadRef};
use jm_step::{
    Change, Effect, InputIssue, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError,
    StepErrorKind, StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kept::warned;
use crate::needs;
use crate::wait;
use crate::writer::{self, Writer};

/// How often the counts are looked at again where somebody changes a workload in the very moment.
const TRIES: u32 = 10;

/// The step type `kubernetes.quiesce`.
pub struct Quiesce;

/// What is to stop.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Everything that writes to the data: Deployments and StatefulSets, which are scaled to nothing, and CronJobs, which
    /// are suspended; such as `deployment/backend-deployment` and `cronjob/nightly-report`.
    workloads: Vec<WorkloadRef>,
}

/// What was stopped, and how it was before.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-jm-stops-writing" = true))]
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
    /// How many replicas it had. Absent where it was found at zero without a mark, so that nobody knows, and of a
    /// CronJob.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// The bounds of its autoscaler, which are marked on the workload too. A count of zero switches an autoscaler off until the workload is scaled up again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaler: Option<Autoscaler>,
    /// Of a CronJob: whether it was suspended already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended: Option<bool>,
}

impl StepType for Quiesce {
    const NAME: &'static str = "kubernetes.quiesce";
    const SUMMARY: &'static str =
        "stops what writes, with its counts and schedules written down, and waits for the pods to go";
    const EFFECT: Effect = Effect::Reversible;
    const REPEAT: Repeat = Repeat::Safe; // a mark wins over a count of zero, so a second time records the same counts
    const TIMEOUT: Duration = Duration::from_mins(5);
    type Input = Input;
    type Output = Quiesced;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        let issues = writer::issues(&input.workloads);
        if issues.is_empty() { Ok(()) } else { Err(issues) }
    }

    fn roles(&self) -> Vec<Role> {
        vec![crate::CLUSTER]
    }

    fn needs(&self, input: &Known) -> Vec<Need> {
        needs::to_stop(input)
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Quiesced>, StepError> {
        let cluster = cx.read::<Kubernetes>().await?;
        let found = look(&cluster, &input.workloads, None).await?;
        let changes: Vec<Change> = found.iter().filter_map(|(writer, _)| writer.stopping()).collect();
        let warned_of = found.iter().filter(|(writer, _)| !writer.is_stopped());
        let warnings: Vec<String> = warned_of.filter_map(|(writer, _)| writer.warning()).collect();
        let recorded = Quiesced {
            workloads: found.into_iter().map(|(_, before)| before).collect(),
        };
        let summary = warned(summary(&recorded), &warnings);
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
            wait::stopped(cx, &cluster, workload).await?;
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
            let writer = Writer::look(&cluster, workload).await?;
            let left = writer.left(&cluster).await?.len();
            untouched += usize::from(!writer.is_stopped());
            if !writer.has_settled() || left > 0 {
                open.push(writer.shown(left));
            }
        }
        Ok(match open.is_empty() {
            true => Probe::Succeeded(recorded),
            false if untouched == input.workloads.len() => Probe::NotStarted,
            false => Probe::partial(open.join("; ")),
        })
    }
}

/// Stops what is not stopped yet. A conflict says that the counts have to be looked at again.
async fn stop(cx: &StepContext, cluster: &Kubernetes, found: &[(Writer, QuiescedWorkload)]) -> Result<(), StepError> {
    for (writer, before) in found {
        if let Some(change) = writer.stopping() {
            if let Some(warning) = writer.warning() {
                cx.log(warning).await;
            }
            writer.stop(cluster, before).await?;
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
) -> Result<Vec<(Writer, QuiescedWorkload)>, StepError> {
    let mut found = Vec::new();
    for workload in workloads {
        let writer = Writer::look(cluster, workload).await?;
        let mut before = QuiescedWorkload::unknown(workload.clone());
        match &writer {
            Writer::Scaled(state) => {
                before.replicas = count_before(state, earlier);
                let now = cluster.autoscaler(workload).await?;
                before.autoscaler = now.or_else(|| bounds_before(state, earlier));
            }
            Writer::Scheduled(job) => before.suspended = Some(suspended_before(job, earlier)),
        }
        found.push((writer, before));
    }
    Ok(found)
}

impl QuiescedWorkload {
    /// A workload of which nothing is known.
    fn unknown(workload: WorkloadRef) -> Self {
        Self {
            workload,
            replicas: None,
            autoscaler: None,
            suspended: None,
        }
    }
}

impl Quiesced {
    /// What is written down of a workload.
    fn of(&self, workload: &WorkloadRef) -> Option<&QuiescedWorkload> {
        self.workloads.iter().find(|before| before.workload == *workload)
    }
}

/// The count to come back to: what is wanted now, or, where that is zero, what was written down before.
fn count_before(state: &Workload, earlier: Option<&Quiesced>) -> Option<u32> {
    if state.replicas > 0 {
        return Some(state.replicas);
    }
    let saved = earlier.and_then(|earlier| earlier.of(&state.workload));
    state.mark.or_else(|| saved.and_then(|before| before.replicas))
}

/// The bounds of an autoscaler that is not there any more, of a workload that is stopped already.
fn bounds_before(state: &Workload, earlier: Option<&Quiesced>) -> Option<Autoscaler> {
    if state.replicas > 0 {
        return None;
    }
    let saved = earlier.and_then(|earlier| earlier.of(&state.workload));
    let saved = saved.and_then(|before| before.autoscaler.clone());
    state.bounds.clone().or(saved)
}

/// Whether a CronJob rested before: it did where it rests now and nothing says that this was jm's doing.
fn suspended_before(job: &CronJob, earlier: Option<&Quiesced>) -> bool {
    if !job.suspended {
        return false;
    }
    let saved = earlier.and_then(|earlier| earlier.of(&job.workload));
    job.mark
        .or_else(|| saved.and_then(|before| before.suspended))
        .unwrap_or(true)
}

fn summary(recorded: &Quiesced) -> String {
    let each = recorded
        .workloads
        .iter()
        .map(|before| match (before.suspended, before.replicas) {
            (Some(true), _) => format!("{} is suspended already", before.workload),
            (Some(false), _) => format!("suspend {}", before.workload),
            (None, Some(count)) => format!("scale {} from {count} to 0", before.workload),
            (None, None) => format!("{} is at 0, and nobody wrote down what it was", before.workload),
        });
    each.collect::<Vec<_>>().join(", ")
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
            scaled_from: None,
            bounds: None,
            selector: String::new(),
            revision: None,
            changed: None,
            failure: None,
            keeper: None,
            turns: None,
        }
    }

    #[test]
    fn a_mark_wins_over_zero_and_a_count_wins_over_a_mark() {
        let saved = Quiesced {
            workloads: vec![QuiescedWorkload {
                replicas: Some(5),
                ..QuiescedWorkload::unknown("deployment/web".parse().expect("a name"))
            }],
        };
        assert_eq!(count_before(&state(3, Some(9)), Some(&saved)), Some(3));
        assert_eq!(count_before(&state(0, Some(9)), Some(&saved)), Some(9));
        assert_eq!(count_before(&state(0, None), Some(&saved)), Some(5));
        assert_eq!(count_before(&state(0, None), None), None);
    }

    #[test]
    fn a_cron_job_rested_before_unless_somebody_knows_better() {
        let job = |suspended: bool, mark: Option<bool>| CronJob {
            workload: "cronjob/nightly".parse().expect("a name"),
            uid: String::new(),
            version: String::new(),
            suspended,
            mark,
            keeper: None,
        };
        let saved = Quiesced {
            workloads: vec![QuiescedWorkload {
                suspended: Some(false),
                ..QuiescedWorkload::unknown("cronjob/nightly".parse().expect("a name"))
            }],
        };
        assert!(!suspended_before(&job(false, None), None));
        assert!(suspended_before(&job(true, None), None));
        assert!(!suspended_before(&job(true, Some(false)), None));
        assert!(!suspended_before(&job(true, None), Some(&saved)));
    }

    #[test]
    fn naming_nothing_one_twice_or_what_has_no_count_is_refused() {
        let input = |names: &[&str]| Input {
            workloads: names.iter().map(|name| name.parse().expect("a name")).collect(),
        };
        assert!(Quiesce.check(&input(&[])).is_err());
        assert!(Quiesce.check(&input(&["deployment/a", "deploy/a"])).is_err());
        assert!(Quiesce.check(&input(&["deployment/a", "cronjob/a"])).is_ok());
        let refused = Quiesce
            .check(&input(&["deployment/a", "daemonset/a"]))
            .expect_err("refused");
        assert_eq!(refused[0].pointer, "/workloads/1");
        assert!(refused[0].message.contains("on every node"), "{}", refused[0].message);
    }
}
