//! How long the steps of a plan took in earlier runs: what the next one is expected to take.

use std::collections::BTreeMap;
use std::time::Duration;

use jm_plan::Plan;
use jm_step::StepId;

use crate::dry_run::Expectation;
use crate::journal::{JournalError, Opened, RecordKind};
use crate::state::{RunState, StepState};
use crate::store::{RunDir, StateDir};

/// So many runs count, the newest: a database grows, and what took a minute last year says little.
const NEWEST: usize = 10;

/// How long each step took in earlier runs of a plan: the median.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// How many runs that is from.
    pub runs: usize,
    /// Whether those acted on other targets, for there is none on these.
    pub other_targets: bool,
    /// The steps that succeeded in one of them at least.
    pub steps: BTreeMap<StepId, Duration>,
}

impl History {
    /// The runs of a plan that were completed, with or without something amiss: those on these targets, or else on any.
    pub fn of(state: &StateDir, plan: &str, targets: &str) -> Result<Self, JournalError> {
        let mut here = Vec::new();
        let mut elsewhere = Vec::new();
        for run in state.runs()? {
            let Some(opened) = run.opened().filter(|opened| opened.run.plan == plan) else {
                continue;
            };
            let kept = if opened.targets == targets {
                &mut here
            } else {
                &mut elsewhere
            };
            if kept.len() < NEWEST {
                kept.extend(completed(&run));
            }
            if here.len() == NEWEST {
                break;
            }
        }
        let other_targets = here.is_empty() && !elsewhere.is_empty();
        let runs = if other_targets { elsewhere } else { here };
        Ok(Self {
            runs: runs.len(),
            other_targets,
            steps: medians(runs),
        })
    }

    /// How long a step took, in seconds.
    pub fn seconds(&self, step: &StepId) -> Option<f64> {
        self.steps.get(step).map(Duration::as_secs_f64)
    }

    /// What the main steps of a plan take together, where `runs` says which of them run at all; `None` without a run to
    /// judge by.
    pub fn expect(&self, plan: &Plan, runs: impl Fn(&StepId) -> bool) -> Option<Expectation> {
        if self.runs == 0 {
            return None;
        }
        let cost = |step: &StepId| {
            let known = self.steps.get(step).copied().unwrap_or_default();
            if runs(step) { known } else { Duration::ZERO }
        };
        let path = plan.critical_path(|step| cost(&step.id));
        let unknown = plan
            .steps()
            .iter()
            .filter(|step| runs(&step.id) && !self.steps.contains_key(&step.id));
        Some(Expectation {
            seconds: path.total.as_secs_f64(),
            path: path.steps.into_iter().filter(|step| !cost(step).is_zero()).collect(),
            runs: self.runs,
            other_targets: self.other_targets,
            not_known: unknown.map(|step| step.id.clone()).collect(),
        })
    }
}

impl RunDir {
    /// What the run was opened with, from its first record alone; nothing where that cannot be read.
    pub fn opened(&self) -> Option<Opened> {
        match crate::journal::first(&self.journal())?.kind {
            RecordKind::RunOpened(opened) => Some(*opened),
            _ => None,
        }
    }
}

/// How long each step of a run took that succeeded, where the run was completed.
fn completed(run: &RunDir) -> Option<BTreeMap<StepId, Duration>> {
    let state = RunState::replay(&run.read().ok()?.records).ok()?;
    // What waits for a person or failed says nothing about how long it takes.
    let done = !state.closed()?.is_resumable() && state.aborted().is_none();
    let succeeded = state.steps().iter().filter(|step| step.state == StepState::Succeeded);
    let took = succeeded.map(|step| (step.id.clone(), Duration::try_from(step.spent).unwrap_or_default()));
    done.then(|| took.collect())
}

fn medians(runs: Vec<BTreeMap<StepId, Duration>>) -> BTreeMap<StepId, Duration> {
    let mut all: BTreeMap<StepId, Vec<Duration>> = BTreeMap::new();
    for (step, took) in runs.into_iter().flatten() {
        all.entry(step).or_default().push(took);
    }
    all.into_iter().map(|(step, took)| (step, median(took))).collect()
}

/// The one in the middle; of two, their mean.
fn median(mut durations: Vec<Duration>) -> Duration {
    durations.sort_unstable();
    let (low, high) = (durations.len().saturating_sub(1) / 2, durations.len() / 2);
    let at = |i: usize| durations.get(i).copied().unwrap_or_default();
    (at(low) + at(high)) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_not_moved_by_one_bad_day() {
        let seconds = |all: &[u64]| median(all.iter().copied().map(Duration::from_secs).collect());
        assert_eq!(seconds(&[10, 900, 12]), Duration::from_secs(12));
        assert_eq!(seconds(&[10, 12]), Duration::from_secs(11));
        assert_eq!(seconds(&[7]), Duration::from_secs(7));
    }
}
