//! What a run has come to: a fold over its records and nothing else.
//!
//! With the plan's graph at hand it also keeps what [`crate::decide`] needs, so that a decision costs what changed and
//! not what there is; without it (for `jm run show`) the facts alone.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use jm_step::{Answer, Change, ErrorSummary, Identity, StepId, TargetName};
use serde_json::Value;

use crate::graph::Graph;
use crate::journal::{Opened, OperatorVerb, Payload, Record, RunStatus, Said, StopCause, Why};

mod apply;
mod frontier;
pub use frontier::Frontier;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::opening as opening_for_tests;

/// Where a step stands.
#[derive(Debug, Clone, PartialEq)]
pub enum StepState {
    /// Nothing was done, or all that was done does not count any more.
    NotStarted {
        /// Whether a step of `finally` took back what it had done.
        undone: bool,
    },
    /// An attempt is under way.
    Running,
    /// An attempt failed or was interrupted, and another one follows.
    Retrying {
        /// When.
        not_before: Timestamp,
    },
    /// It is not known whether an attempt took effect: the probe is asked.
    Unclear {
        /// When.
        ask_at: Timestamp,
        /// How the attempt failed, and when it is tried again; `None` where the run was interrupted.
        failed: Option<Box<FailedAttempt>>,
    },
    /// A person has to say.
    Awaiting {
        /// Why.
        why: Box<Why>,
    },
    /// Done.
    Succeeded,
    /// Failed for good.
    Failed {
        /// Why.
        error: Box<ErrorSummary>,
        /// Whether it is still unknown that it took effect.
        unclear: bool,
    },
    /// Not needed.
    Skipped {
        /// Why, for people.
        because: String,
        /// Whether a person said so.
        by_person: bool,
    },
    /// Cannot run.
    Blocked {
        /// The step that did not succeed.
        by: StepId,
    },
}

/// An attempt of which it is not known whether it took effect.
#[derive(Debug, Clone, PartialEq)]
pub struct FailedAttempt {
    /// Why it failed.
    pub error: ErrorSummary,
    /// When it is tried again, if an attempt is left.
    pub retry_at: Option<Timestamp>,
}

impl StepState {
    /// The status as plans and reports write it.
    pub fn status(&self) -> &'static str {
        match self {
            Self::NotStarted { .. } => "not-started",
            Self::Running | Self::Retrying { .. } | Self::Unclear { .. } | Self::Awaiting { .. } => "running",
            Self::Succeeded => "succeeded",
            Self::Failed { .. } => "failed",
            Self::Skipped { .. } => "skipped",
            Self::Blocked { .. } => "blocked",
        }
    }

    /// Whether nothing more happens to it in this run unless somebody resumes it.
    pub fn is_settled(&self) -> bool {
        matches!(
            self,
            Self::Succeeded | Self::Failed { .. } | Self::Skipped { .. } | Self::Blocked { .. }
        )
    }

    /// Whether there is nothing left to do of it.
    pub fn is_passed(&self) -> bool {
        matches!(self, Self::Succeeded | Self::Skipped { .. })
    }
}

/// A step's history in this run.
#[derive(Debug, Clone, PartialEq)]
pub struct StepEntry {
    /// The step.
    pub id: StepId,
    /// Where it stands.
    pub state: StepState,
    /// How often it was made not-started again. Part of the idempotency key.
    pub generation: u32,
    /// Attempts in this run.
    pub attempts: u32,
    /// Attempts that count against its retries.
    pub tries: u32,
    /// The idempotency key of its newest attempt.
    pub key: Option<String>,
    /// Its output, or what it saved of it. Stays readable when it is undone.
    pub output: Option<Payload<Value>>,
    /// What it saved to go on from.
    pub checkpoint: Option<Payload<Value>>,
    /// What it changed in this run, also what was undone since.
    pub changes: Vec<Payload<Vec<Change>>>,
    /// Whether it counts as done because a person said so.
    pub by_person: bool,
    /// Why the run ends degraded because of it.
    pub degraded: Vec<String>,
    /// Why its last attempt failed, if it did; kept where a step of `finally` undoes it, until it is done anew.
    pub error: Option<Box<ErrorSummary>>,
    /// Its questions that were answered.
    pub answers: Vec<(String, Answer)>,
    /// When its first attempt since it was last not-started began.
    pub started_at: Option<Timestamp>,
    /// When its newest attempt began.
    pub attempt_at: Option<Timestamp>,
    /// When it came to rest.
    pub ended_at: Option<Timestamp>,
    /// Time spent in attempts, all told.
    pub spent: SignedDuration,
}

impl StepEntry {
    fn new(id: StepId) -> Self {
        Self {
            id,
            state: StepState::NotStarted { undone: false },
            generation: 0,
            attempts: 0,
            tries: 0,
            key: None,
            output: None,
            checkpoint: None,
            changes: Vec::new(),
            by_person: false,
            degraded: Vec::new(),
            error: None,
            answers: Vec::new(),
            started_at: None,
            attempt_at: None,
            ended_at: None,
            spent: SignedDuration::ZERO,
        }
    }

    /// Whether a step of `finally` took back what it had done, so that it begins anew.
    pub(crate) fn is_undone(&self) -> bool {
        matches!(self.state, StepState::NotStarted { undone: true })
    }

    /// Why it failed for good, also where a step of `finally` took back since what it had done.
    pub fn failure(&self) -> Option<&ErrorSummary> {
        match &self.state {
            StepState::Failed { error, .. } => Some(error),
            StepState::NotStarted { undone: true } => self.error.as_deref(),
            _ => None,
        }
    }

    /// Whether its question has no answer yet; `None` where it asks none.
    pub(crate) fn asks(&self) -> Option<bool> {
        let StepState::Awaiting { why } = &self.state else {
            return None;
        };
        match why.as_ref() {
            Why::Approval { question } => Some(self.answer(question).is_none()),
            Why::Paused { .. } | Why::Unclear { .. } => None,
        }
    }

    /// The answer to a question that was asked before.
    pub fn answer(&self, question: &str) -> Option<&Answer> {
        self.answers
            .iter()
            .find(|(asked, _)| asked == question)
            .map(|(_, answer)| answer)
    }
}

/// A record that cannot follow on what came before it: a bug, or a journal that somebody edited.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("record {seq} (`{kind}`{}) cannot follow: {why}", .step.as_ref().map(|step| format!(" of step `{step}`")).unwrap_or_default())]
pub struct IllegalTransition {
    /// The record's place.
    pub seq: u64,
    /// Its kind.
    pub kind: &'static str,
    /// Its step.
    pub step: Option<StepId>,
    /// What is wrong, lower case.
    pub why: String,
}

/// What a run has come to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunState {
    opened: Option<Box<Opened>>,
    steps: Vec<StepEntry>,
    index: HashMap<StepId, usize>,
    targets: BTreeMap<TargetName, Identity>,
    aborted: Option<String>,
    deadline_passed: bool,
    consents: Vec<Said>,
    heard: HashSet<String>,
    retried: Vec<StepId>,
    stopped: Option<StopCause>,
    closed: Option<RunStatus>,
    session_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    resumes: u32,
    last_seq: u64,
    last_at: Option<Timestamp>,
    frontier: Option<Frontier>,
}

impl RunState {
    /// Before the first record, without the plan.
    pub fn new() -> Self {
        Self::default()
    }

    /// Before the first record of a run of this plan.
    pub fn of(graph: &Arc<Graph>) -> Self {
        let steps: Vec<StepEntry> = graph
            .nodes()
            .iter()
            .map(|node| StepEntry::new(node.id.clone()))
            .collect();
        let index = steps.iter().enumerate().map(|(i, step)| (step.id.clone(), i)).collect();
        Self {
            steps,
            index,
            frontier: Some(Frontier::new(graph)),
            ..Self::default()
        }
    }

    /// The fold over some records, without the plan.
    pub fn replay<'r>(records: impl IntoIterator<Item = &'r Record>) -> Result<Self, IllegalTransition> {
        Self::new().and(records)
    }

    /// The fold over some more records.
    pub fn and<'r>(mut self, records: impl IntoIterator<Item = &'r Record>) -> Result<Self, IllegalTransition> {
        for record in records {
            self.apply(record)?;
        }
        Ok(self)
    }

    /// What the run was opened with.
    pub fn opened(&self) -> Option<&Opened> {
        self.opened.as_deref()
    }

    /// All steps that are known: with the plan, all of it in written order; without, those that records named.
    pub fn steps(&self) -> &[StepEntry] {
        &self.steps
    }

    /// A step.
    pub fn step(&self, id: &str) -> Option<&StepEntry> {
        self.index.get(id).map(|i| &self.steps[*i])
    }

    /// A step by its number in the graph.
    pub fn entry(&self, i: usize) -> &StepEntry {
        &self.steps[i]
    }

    /// The systems that targets were, when they were last admitted.
    pub fn targets(&self) -> &BTreeMap<TargetName, Identity> {
        &self.targets
    }

    /// Who ended the run.
    pub fn aborted(&self) -> Option<&str> {
        self.aborted.as_deref()
    }

    /// Whether the deadline passed since the run was last taken up.
    pub fn deadline_passed(&self) -> bool {
        self.deadline_passed
    }

    /// What guards were told.
    pub fn consents(&self) -> &[Said] {
        &self.consents
    }

    /// Whether a person's word was counted already.
    pub fn has_heard(&self, id: &str) -> bool {
        self.heard.contains(id)
    }

    /// Steps that a person had done anew while no process was there to do it.
    pub fn retried(&self) -> &[StepId] {
        &self.retried
    }

    /// Why the run stopped, where it did and was not resumed.
    pub fn stopped(&self) -> Option<&StopCause> {
        self.stopped.as_ref()
    }

    /// How the run ended, where it did.
    pub fn closed(&self) -> Option<RunStatus> {
        self.closed
    }

    /// The status of a run that is not under way: a run that has neither stopped nor ended was killed, and counts as
    /// stopped.
    pub fn resting_status(&self) -> RunStatus {
        match (self.closed, &self.stopped) {
            (Some(status), _) => status,
            (None, Some(StopCause::Waiting)) => RunStatus::Waiting,
            (None, _) => RunStatus::Stopped,
        }
    }

    /// When the run was opened or last resumed.
    pub fn session_at(&self) -> Option<Timestamp> {
        self.session_at
    }

    /// When it last came to rest.
    pub fn ended_at(&self) -> Option<Timestamp> {
        self.ended_at
    }

    /// How often it was resumed.
    pub fn resumes(&self) -> u32 {
        self.resumes
    }

    /// When the process that carries it out, or did, was last heard of.
    pub fn last_at(&self) -> Option<Timestamp> {
        self.last_at
    }

    /// The newest record's place.
    pub fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// Why the run ends degraded, as far as steps said so.
    pub fn degraded(&self) -> impl Iterator<Item = (&StepId, &str)> {
        self.steps
            .iter()
            .flat_map(|step| step.degraded.iter().map(|reason| (&step.id, reason.as_str())))
    }

    /// What the scheduler works from.
    ///
    /// # Panics
    /// Where the state was made without a plan: a bug.
    pub fn frontier(&self) -> &Frontier {
        self.frontier
            .as_ref()
            .expect("a state that decides is made with its plan")
    }

    /// Whether a person's word fits the run as it stands; the reason, for that person, where it does not.
    pub fn accepts(&self, verb: OperatorVerb, step: Option<&StepId>) -> Result<(), String> {
        let Some(id) = step else {
            return match verb {
                OperatorVerb::Abort if self.closed.is_some_and(|status| !status.is_resumable()) => {
                    Err("the run is over".to_owned())
                }
                OperatorVerb::Abort if self.aborted.is_some() => Err("the run is aborted already".to_owned()),
                OperatorVerb::Abort | OperatorVerb::Consent => Ok(()),
                _ => Err(format!("`{}` needs a step", verb.as_str())),
            };
        };
        // Without the plan, a step that no record named has not started.
        let fresh = StepEntry::new(id.clone());
        let entry = match (self.step(id.as_str()), &self.frontier) {
            (Some(entry), _) => entry,
            (None, None) => &fresh,
            (None, Some(_)) => return Err(format!("the plan has no step `{id}`")),
        };
        if verb_fits(verb, entry) {
            return Ok(());
        }
        let what = match verb {
            OperatorVerb::Approve | OperatorVerb::Reject => "it asks nothing",
            _ if matches!(entry.state, StepState::Awaiting { .. }) => "it asks a question: approve or reject",
            _ => entry.state.status(),
        };
        Err(format!("`{}` does not fit step `{id}`: {what}", verb.as_str()))
    }
}

fn verb_fits(verb: OperatorVerb, entry: &StepEntry) -> bool {
    let asks = entry.asks();
    let stuck = matches!(entry.state, StepState::Awaiting { .. }) && asks.is_none();
    match verb {
        OperatorVerb::Approve | OperatorVerb::Reject => asks == Some(true),
        OperatorVerb::Retry => stuck || entry.state.is_settled(),
        OperatorVerb::Skip | OperatorVerb::MarkDone => {
            stuck
                || matches!(
                    entry.state,
                    StepState::NotStarted { .. } | StepState::Failed { .. } | StepState::Blocked { .. }
                )
        }
        OperatorVerb::Consent => true,
        OperatorVerb::Abort => false,
    }
}
