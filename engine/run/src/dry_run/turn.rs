//! Whether a step's turn comes: what is done already, what cannot run, what is left for a resume.

use jm_plan::{OnFailure, Outputs, StepScope, StepStatus};
use jm_step::{Effect, Grade};

use super::{DryStatus, DryStep, Trial};
use crate::graph::Need;
use crate::state::StepState;

impl Trial<'_> {
    /// Steps of a run that is resumed, which are not previewed any more.
    pub(super) fn has_happened(&mut self, i: usize, step: &mut DryStep) -> bool {
        step.status = match &self.state.entry(i).state {
            StepState::Succeeded => DryStatus::Done,
            StepState::Skipped { because, .. } => {
                step.because = Some(because.clone());
                DryStatus::Skipped
            }
            StepState::Unclear { .. } => DryStatus::WillProbe,
            StepState::Awaiting { .. } => DryStatus::Waits,
            _ => return false,
        };
        step.grade = match step.status {
            DryStatus::Done | DryStatus::Skipped => Grade::Verified,
            _ => Grade::Unknown,
        };
        if matches!(step.status, DryStatus::WillProbe | DryStatus::Waits) {
            self.leave_open(i, step);
        } else {
            self.see(i, None, false, false);
        }
        true
    }

    pub(super) fn leave_open(&mut self, i: usize, step: &DryStep) {
        let id = step.id.clone();
        let outputs = Outputs::Unknown {
            of: id.clone(),
            partial: None,
        };
        let status = StepStatus::Unknown;
        self.scope.steps.insert(id, StepScope { status, outputs });
        self.see(i, None, self.planned[i].effect != Effect::ReadOnly, false);
    }

    /// Named is the step that would fail, and not the one that is blocked by it as well.
    pub(super) fn is_blocked(&mut self, i: usize, step: &mut DryStep) -> bool {
        let blocks = |need: &Need| {
            let failed = self.seen.get(&need.node)?.failed?;
            let tolerated = failed == need.node && self.planned[failed].on_failure == OnFailure::Continue;
            (!need.excused && !tolerated).then_some(failed)
        };
        let Some(failed) = self.graph.node(i).needs.iter().find_map(blocks) else {
            return false;
        };
        step.status = DryStatus::Blocked;
        step.grade = Grade::Unknown;
        step.because = Some(format!("`{}` would fail", self.planned[failed].id));
        self.settle(i, StepStatus::Blocked);
        self.see(i, Some(failed), false, false);
        true
    }

    /// All main steps of a run that a person has ended; the step before which the run stops, and all that comes after it. `finally` runs where something else ends the
    /// run before it stops.
    pub(super) fn is_left(&mut self, i: usize, step: &mut DryStep) -> bool {
        let ended = self.state.aborted().filter(|_| !self.planned[i].in_finally);
        if let Some(who) = ended {
            self.leave(i, step, format!("{who} ended the run"));
            return true;
        }
        let Some(until) = self.until else { return false };
        let because = if i == until {
            "the run stops before it".to_owned()
        } else if self.graph.beyond(until).contains(&i) {
            format!("it comes after `{}`", self.planned[until].id)
        } else if self.graph.finally().contains(&i) && !self.is_halted() {
            "it comes at the end of the run".to_owned()
        } else {
            return false;
        };
        self.leave(i, step, because);
        true
    }

    fn leave(&mut self, i: usize, step: &mut DryStep, because: String) {
        step.status = DryStatus::Left;
        step.grade = Grade::Unknown;
        step.because = Some(because);
        self.settle(i, StepStatus::NotStarted);
        self.see(i, None, false, false);
    }

    /// Whether a step would fail so that nothing new starts but `finally`.
    fn is_halted(&self) -> bool {
        let ends_it = |i: &usize| self.planned[*i].on_failure == OnFailure::Fail;
        self.seen.values().filter_map(|seen| seen.failed).any(|i| ends_it(&i))
    }

    pub(super) fn is_not_configured(&mut self, i: usize, step: &mut DryStep) -> bool {
        let absent = self.planned[i]
            .bindings
            .values()
            .find_map(|target| Some((target, self.run.not_configured.get(target)?)));
        let Some((target, reason)) = absent else { return false };
        self.skip(i, step, format!("target `{target}` is not configured: {reason}"));
        true
    }

    pub(super) fn skip(&mut self, i: usize, step: &mut DryStep, because: String) {
        step.status = DryStatus::Skipped;
        step.grade = Grade::Verified;
        step.because = Some(because);
        self.settle(i, StepStatus::Skipped);
        self.see(i, None, false, false);
    }
}
