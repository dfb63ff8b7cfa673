//! Where a resume begins: which steps are not-started again, and why.

use jm_plan::OnFailure;
use jm_step::Effect;

use crate::gone::{self, Gone};
use crate::journal::{RecordKind, Why};
use crate::run::Run;
use crate::state::{RunState, StepState};

/// The records with which a run goes on.
pub(crate) fn records(run: &Run, state: &RunState) -> Vec<RecordKind> {
    let resumed = RecordKind::RunResumed {
        by: run.by.clone(),
        jm: run.version.clone(),
    };
    let mut anew = Anew::new(state);
    // A run that a person has ended does nothing more but `finally`, and what failed stays failed.
    if state.aborted().is_none() {
        anew.retried();
        anew.ended_badly();
        anew.needed_again(&gone::of(run, state));
        anew.asked_again();
    }
    anew.at_the_end();
    let mut records = vec![resumed];
    records.extend(anew.records());
    records
}

/// The records by which everything that comes after a step starts over. The step itself was done anew by a person.
pub(crate) fn after(state: &RunState, step: usize) -> Vec<RecordKind> {
    let mut anew = Anew::new(state);
    anew.after(step);
    anew.records()
}

/// The records by which what is gone from this machine is made again, now that a step that had been under way is to run again.
pub(crate) fn before_again(run: &Run, state: &RunState) -> Vec<RecordKind> {
    let mut anew = Anew::new(state);
    let gone = gone::of(run, state);
    while anew.gone(&gone) {}
    anew.records()
}

struct Anew<'s> {
    state: &'s RunState,
    because: Vec<Option<String>>,
}

impl<'s> Anew<'s> {
    fn new(state: &'s RunState) -> Self {
        Self {
            because: vec![None; state.steps().len()],
            state,
        }
    }

    /// Steps that a person had done anew while no process was there: what comes after them starts over.
    fn retried(&mut self) {
        for id in self.state.retried() {
            if let Some(step) = self.state.frontier().graph().find(id.as_str()) {
                self.after(step);
            }
        }
    }

    fn after(&mut self, step: usize) {
        let id = &self.state.entry(step).id;
        for later in self.state.frontier().graph().after(step) {
            if !matches!(self.state.entry(later).state, StepState::NotStarted { .. }) {
                self.because[later] = Some(format!("it comes after `{id}`, which is done anew"));
            }
        }
    }

    /// Failed and blocked steps.
    fn ended_badly(&mut self) {
        let graph = self.state.frontier().graph().clone();
        for step in graph.main() {
            match &self.state.entry(step).state {
                StepState::Failed { unclear: false, .. } if self.was_answered_for(step) => {}
                StepState::Failed { unclear: false, .. } => self.because[step] = Some("it failed".to_owned()),
                StepState::Blocked { by } => self.because[step] = Some(format!("`{by}` is done anew")),
                _ => {}
            }
        }
    }

    /// Whether a person has answered a question that was asked by what this look, which failed, could not see: the answer
    /// holds, and another look could only make another question of it.
    fn was_answered_for(&self, step: usize) -> bool {
        let node = self.state.frontier().graph().node(step);
        let only_looked = node.effect == Effect::ReadOnly && node.on_failure == OnFailure::Continue;
        let has_answer = |later: &usize| {
            let entry = self.state.entry(*later);
            is_under_way(&entry.state) && !entry.answers.is_empty()
        };
        only_looked && node.dependents.iter().any(has_answer)
    }

    /// Questions that nobody has answered yet, where what they were asked by is done anew: they are asked by what it then is.
    fn asked_again(&mut self) {
        for step in self.state.frontier().graph().main() {
            let Some(why) = self.because[step].as_ref().map(|_| self.state.entry(step).id.clone()) else {
                continue;
            };
            for later in self.state.frontier().graph().after(step) {
                if self.state.entry(later).asks() == Some(true) {
                    self.because[later].get_or_insert_with(|| format!("it asks by what `{why}` finds"));
                }
            }
        }
    }

    /// What is gone and what is looked at again. What is made again needs what it was made of, and so does what looks.
    fn needed_again(&mut self, gone: &[Gone]) {
        loop {
            self.look_again();
            if !self.gone(gone) {
                return;
            }
        }
    }

    /// Steps that made what is not on this machine any more, where it is still needed; what comes after them has put its own
    /// things into it. Whether there were any.
    fn gone(&mut self, gone: &[Gone]) -> bool {
        let mut found = false;
        for one in gone {
            let is_ahead = |step: &usize| self.because[*step].is_some() || !self.state.entry(*step).state.is_passed();
            let is_needed = self.because[one.step].is_none() && one.named_by.iter().any(is_ahead);
            if is_needed && !self.is_held(one.step) {
                self.make_again(one);
                found = true;
            }
        }
        found
    }

    /// Whether a step that comes after this one may have taken effect: its probe is answered first, under its own key.
    fn is_held(&self, step: usize) -> bool {
        let mut later = self.state.frontier().graph().after(step).into_iter();
        later.any(|later| self.because[later].is_none() && may_have_happened(&self.state.entry(later).state))
    }

    fn make_again(&mut self, one: &Gone) {
        let graph = self.state.frontier().graph().clone();
        let is_kept = |later: &usize| {
            let is_done = self.because[*later].is_none() && self.state.entry(*later).state == StepState::Succeeded;
            is_done && graph.node(*later).effect == Effect::Irreversible
        };
        let kept: Vec<usize> = graph.after(one.step).into_iter().filter(is_kept).collect();
        let gone = format!("`{}` is not on this machine any more", one.path.display());
        let told = kept.iter().map(|later| {
            let id = &self.state.entry(*later).id;
            format!(
                "`{id}`, which comes after it, cannot be taken back and is not repeated: `jm run retry` does it anew"
            )
        });
        let because = [gone].into_iter().chain(told).collect::<Vec<_>>().join("; ");
        self.after(one.step);
        self.because[one.step] = Some(because);
        for later in kept {
            self.because[later] = None;
        }
    }

    /// All of `finally`.
    fn at_the_end(&mut self) {
        for step in self.state.frontier().graph().finally() {
            if !matches!(self.state.entry(step).state, StepState::NotStarted { .. }) {
                self.because[step] = Some("it runs at the run's new end".to_owned());
            }
        }
    }

    /// Read-only steps of which no dependent has started: the world may have changed since they looked. What was
    /// skipped by what they saw is decided again.
    fn look_again(&mut self) {
        let graph = self.state.frontier().graph().clone();
        for step in graph.topological().into_iter().rev() {
            let node = graph.node(step);
            let entry = self.state.entry(step);
            // A person who answered is not asked twice, and one who knows better is not overruled.
            let by_person = entry.by_person || !entry.answers.is_empty();
            let looked = entry.state == StepState::Succeeded && node.effect == Effect::ReadOnly && !by_person;
            if !looked || self.because[step].is_some() || !node.dependents.iter().all(|later| self.is_fresh(*later)) {
                continue;
            }
            self.because[step] = Some("nothing came of it yet, and the world may have changed".to_owned());
            for later in graph.after(step) {
                if matches!(
                    self.state.entry(later).state,
                    StepState::Skipped { by_person: false, .. }
                ) {
                    let id = &node.id;
                    self.because[later].get_or_insert_with(|| format!("`{id}` looks again"));
                }
            }
        }
    }

    fn is_fresh(&self, step: usize) -> bool {
        let state = &self.state.entry(step).state;
        self.because[step].is_some()
            || matches!(
                state,
                StepState::NotStarted { .. } | StepState::Skipped { by_person: false, .. }
            )
    }

    fn records(self) -> Vec<RecordKind> {
        let steps = self.because.into_iter().zip(self.state.steps());
        steps
            .filter_map(|(because, entry)| {
                Some(RecordKind::StepAnew {
                    step: entry.id.clone(),
                    because: because?,
                })
            })
            .collect()
    }
}

/// Whether an attempt has begun and not ended, or is to be made again: a resume that was killed leaves it so.
fn is_under_way(state: &StepState) -> bool {
    matches!(
        state,
        StepState::Running | StepState::Unclear { .. } | StepState::Retrying { .. }
    )
}

/// Whether an attempt began of which nobody knows whether it took effect.
fn may_have_happened(state: &StepState) -> bool {
    match state {
        StepState::Running | StepState::Unclear { .. } | StepState::Failed { unclear: true, .. } => true,
        StepState::Awaiting { why } => matches!(**why, Why::Unclear { .. }),
        _ => false,
    }
}
