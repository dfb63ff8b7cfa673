//! Where a resume begins: which steps are not-started again, and why.

use jm_step::Effect;

use crate::gone::{self, Gone};
use crate::journal::RecordKind;
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
        anew.gone(&gone::of(run, state));
    }
    anew.at_the_end();
    if state.aborted().is_none() {
        anew.look_again();
    }
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
                StepState::Failed { unclear: false, .. } => self.because[step] = Some("it failed".to_owned()),
                StepState::Blocked { by } => self.because[step] = Some(format!("`{by}` is done anew")),
                _ => {}
            }
        }
    }

    /// Steps that made what is not on this machine any more, where it is still needed; what comes after them has put its own
    /// things into it.
    fn gone(&mut self, gone: &[Gone]) {
        for one in gone {
            let is_ahead = |step: &usize| self.because[*step].is_some() || !self.state.entry(*step).state.is_passed();
            if self.because[one.step].is_none() && one.named_by.iter().any(is_ahead) {
                self.because[one.step] = Some(format!("`{}` is not on this machine any more", one.path.display()));
                self.after(one.step);
            }
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
