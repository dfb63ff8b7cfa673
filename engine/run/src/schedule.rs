//! What comes next: a pure function of the plan's graph, the state and the moment.

use std::sync::Arc;

use jiff::Timestamp;
use jm_plan::OnFailure;
use jm_step::{ErrorSummary, StepError};

use crate::journal::{RunStatus, StopCause, Why};
use crate::state::{Frontier, RunState, StepState};

/// Whether the run is to stop.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Stop {
    /// It goes on.
    #[default]
    Go,
    /// Nothing new starts; what runs finishes or lets itself be cancelled. The name of the signal.
    Finish(String),
    /// What runs is dropped. The name of the signal.
    Now(String),
}

/// What holds decisions back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Steps at once.
    pub overall: usize,
    /// Steps at once on a target, by its number in the graph; none where only `overall` limits it.
    pub per_target: Arc<[Option<usize>]>,
    /// The step before which the run stops.
    pub until: Option<usize>,
    /// When nothing new starts any more but `finally`.
    pub deadline: Option<Timestamp>,
    /// Whether somebody is there who may answer a question, so that the run waits for that.
    pub person_present: bool,
}

/// The moment of a decision.
#[derive(Debug, Clone)]
pub struct Moment {
    /// The time.
    pub now: Timestamp,
    /// Whether to stop.
    pub stop: Stop,
    /// Steps with a living task. Fewer than run where the run is stopping: a step that was cancelled counts as under
    /// way.
    pub live: usize,
}

/// What a step's `if` and targets say, once its turn has come.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// It runs.
    Run,
    /// It is not needed.
    Skip(String),
    /// It cannot be said.
    Fail(Box<ErrorSummary>),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// An attempt begins.
    Start {
        /// The step.
        step: usize,
        /// Which attempt in this run.
        attempt: u32,
    },
    /// The world is asked what became of an attempt. Said again until the answer is recorded.
    Probe {
        /// The step.
        step: usize,
    },
    /// The step is not needed.
    Skip {
        /// The step.
        step: usize,
        /// Why.
        because: String,
    },
    /// The step cannot run.
    Block {
        /// The step.
        step: usize,
        /// The one that did not succeed.
        by: usize,
    },
    /// Whether the step runs cannot be said.
    Fail {
        /// The step.
        step: usize,
        /// Why not.
        error: Box<ErrorSummary>,
    },
    /// A person has to say.
    AskOperator {
        /// The step.
        step: usize,
        /// Why.
        why: Box<Why>,
    },
    /// The deadline is over.
    DeadlinePassed,
    /// Nothing is to be done before this moment, unless something happens.
    WakeAt(Timestamp),
    /// The run stops, and can be resumed.
    Stop(StopCause),
    /// The run is over.
    Close(RunStatus),
}

/// Decides what happens next. Reads no clock, starts nothing, writes nothing. What it says is to be recorded before it
/// is asked again.
pub fn decide(
    state: &RunState,
    condition: &dyn Fn(usize) -> Condition,
    limits: &Limits,
    moment: &Moment,
) -> Vec<Decision> {
    if let Stop::Finish(by) | Stop::Now(by) = &moment.stop {
        let cause = StopCause::Signal { name: by.clone() };
        return if moment.live == 0 {
            vec![Decision::Stop(cause)]
        } else {
            Vec::new()
        };
    }
    let mut deciding = Deciding {
        state,
        frontier: state.frontier(),
        condition,
        limits,
        now: moment.now,
        wake: None,
        free: limits.overall.saturating_sub(state.frontier().running().len()),
        taken: Vec::new(),
        made: Vec::new(),
    };
    deciding.all();
    deciding.made
}

struct Deciding<'d> {
    state: &'d RunState,
    frontier: &'d Frontier,
    condition: &'d dyn Fn(usize) -> Condition,
    limits: &'d Limits,
    now: Timestamp,
    wake: Option<Timestamp>,
    free: usize,
    taken: Vec<usize>,
    made: Vec<Decision>,
}

impl Deciding<'_> {
    fn all(&mut self) {
        self.settle();
        self.watch_deadline();
        self.probe();
        self.retry();
        if !self.is_halted() && !self.frontier.is_finally() {
            self.start_due();
        }
        if self.made.is_empty() && !self.is_busy() {
            self.end();
        }
        if let Some(wake) = self.wake {
            self.made.push(Decision::WakeAt(wake));
        }
    }

    fn is_halted(&self) -> bool {
        !self.frontier.halting().is_empty() || self.state.deadline_passed() || self.state.aborted().is_some()
    }

    /// Whether a step is not tried again: once a person has ended the run, main steps are not. They are probed all the
    /// same, for what `finally` has to put back hangs on what they have done.
    fn is_given_up(&self, step: usize) -> bool {
        self.state.aborted().is_some() && !self.frontier.graph().node(step).in_finally
    }

    fn is_busy(&self) -> bool {
        let frontier = self.frontier;
        !(frontier.running().is_empty() && frontier.retrying().is_empty() && frontier.unclear().is_empty())
    }

    /// Tells steps that cannot run, and asks about those that paused the run.
    fn settle(&mut self) {
        for step in self.frontier.stuck().iter().copied() {
            if let Some(by) = self.frontier.blocker(step, |i| &self.state.entry(i).state) {
                self.made.push(Decision::Block { step, by });
            }
        }
        for step in self.frontier.awaiting().iter().copied() {
            // What asks a question itself ends by itself.
            let is_asked_about = matches!(&self.state.entry(step).state, StepState::Awaiting { why } if !matches!(**why, Why::Approval { .. }));
            if is_asked_about && self.is_given_up(step) {
                self.give_up(step);
            }
        }
        for step in self.frontier.pausing().iter().copied() {
            if self.is_given_up(step) {
                continue;
            }
            if let StepState::Failed { error, .. } = &self.state.entry(step).state {
                let why = Box::new(Why::Paused {
                    error: (**error).clone(),
                });
                self.made.push(Decision::AskOperator { step, why });
            }
        }
    }

    fn watch_deadline(&mut self) {
        let Some(deadline) = self.limits.deadline else { return };
        if self.state.deadline_passed() || self.frontier.is_finally() || self.frontier.unsettled() == 0 {
            return;
        }
        if deadline <= self.now {
            self.made.push(Decision::DeadlinePassed);
        } else {
            self.wake_at(deadline);
        }
    }

    fn wake_at(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    fn probe(&mut self) {
        for (at, step) in self.frontier.unclear().iter().copied() {
            if at > self.now {
                return self.wake_at(at);
            }
            self.made.push(Decision::Probe { step });
        }
    }

    fn retry(&mut self) {
        for (at, step) in self.frontier.retrying().iter().copied() {
            if self.is_given_up(step) {
                self.give_up(step);
            } else if at > self.now {
                self.wake_at(at);
            } else if self.has_room(step) {
                self.start(step);
            }
        }
    }

    /// A step whose next attempt will not come has failed as its last one did.
    fn give_up(&mut self, step: usize) {
        let interrupted = || Box::new(StepError::cancelled("the run was aborted before it had ended").summary());
        let error = self.state.entry(step).error.clone().unwrap_or_else(interrupted);
        self.made.push(Decision::Fail { step, error });
    }

    fn start_due(&mut self) {
        for step in self.frontier.due().iter().copied() {
            if self.free == 0 {
                return;
            }
            if self.limits.until != Some(step) && self.has_room(step) {
                self.consider(step);
            }
        }
    }

    fn consider(&mut self, step: usize) {
        match (self.condition)(step) {
            Condition::Run => self.start(step),
            Condition::Skip(because) => self.made.push(Decision::Skip { step, because }),
            Condition::Fail(error) => self.made.push(Decision::Fail { step, error }),
        }
    }

    fn has_room(&self, step: usize) -> bool {
        let node = self.frontier.graph().node(step);
        let load = |target: &usize| self.frontier.load(*target) + self.taken.iter().filter(|t| *t == target).count();
        let limit = |target: &usize| self.limits.per_target.get(*target).copied().flatten();
        let fits = |target: &usize| limit(target).is_none_or(|limit| load(target) < limit);
        self.free > 0 && node.targets.iter().all(fits)
    }

    fn start(&mut self, step: usize) {
        self.free -= 1;
        self.taken.extend(&self.frontier.graph().node(step).targets);
        let attempt = self.state.entry(step).attempts + 1;
        self.made.push(Decision::Start { step, attempt });
    }

    /// Nothing is under way and nothing can start: waits, stops, goes on with `finally`, or ends.
    fn end(&mut self) {
        if !self.is_halted() && !self.frontier.is_finally() {
            if !self.frontier.awaiting().is_empty() {
                return self.wait_for_person();
            }
            if let Some(step) = self.limits.until.filter(|step| self.frontier.due().contains(step)) {
                let step = self.state.entry(step).id.clone();
                return self.made.push(Decision::Stop(StopCause::Until { step }));
            }
        }
        for step in self.frontier.graph().finally() {
            match &self.state.entry(step).state {
                StepState::NotStarted { .. } => return self.consider(step),
                StepState::Awaiting { .. } => return self.wait_for_person(),
                _ => {}
            }
        }
        self.made.push(Decision::Close(status(self.state)));
    }

    fn wait_for_person(&mut self) {
        if !self.limits.person_present {
            self.made.push(Decision::Stop(StopCause::Waiting));
        }
    }
}

/// How the run ends, as far as that can be said now: what `run.status` tells the steps of `finally`.
pub fn status(state: &RunState) -> RunStatus {
    let frontier = state.frontier();
    // What failed and was undone since is as if it had not started, and yet the run did not do what it was to do.
    let failed_as = |meaning| {
        let graph = frontier.graph();
        let mut main = graph.main();
        main.any(|i| graph.node(i).on_failure == meaning && state.entry(i).failure().is_some())
    };
    let is_halted = !frontier.halting().is_empty() || !frontier.finally_failed().is_empty();
    if state.aborted().is_some() {
        RunStatus::Aborted
    } else if is_halted || frontier.unsettled() > 0 || failed_as(OnFailure::Fail) {
        RunStatus::Failed
    } else if frontier.tolerated() > 0 || state.degraded().next().is_some() || failed_as(OnFailure::Continue) {
        RunStatus::Degraded
    } else {
        RunStatus::Completed
    }
}

#[cfg(test)]
mod tests;
