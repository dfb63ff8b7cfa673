//! What came of a run: for the end of the terminal, for reports, for `jm run show`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use jm_plan::{OnFailure, Plan, PlannedStep, Scope};
use jm_step::{Change, Effect, ErrorSummary, RunInfo, StepErrorKind, StepId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::words::Words;
use crate::files::RunFiles;
use crate::graph::Graph;
use crate::guard::{self, DataLoss};
use crate::journal::{Record, RecordKind, RunStatus, StopCause, Why};
use crate::leftover::{self, Leftover, NotPutBack};
use crate::payload;
use crate::state::{IllegalTransition, RunState, StepEntry, StepState};

mod words;

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunSummary {
    /// The run.
    pub run: RunInfo,
    /// `running`, how it ended, or why it does not go on now.
    pub status: SummaryStatus,
    /// Why it stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_by: Option<StopCause>,
    /// Who ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aborted_by: Option<String>,
    /// Whether a process carries it out at this moment.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub alive: bool,
    /// When it last came to rest.
    #[schemars(with = "Option<String>")]
    pub ended_at: Option<Timestamp>,
    /// From the command that began it to there, questions and pauses and all.
    pub seconds: f64,
    /// What a resume has to be told.
    #[serde(default, skip_serializing_if = "Words::is_empty")]
    pub resume_with: Words,
    /// How often it was resumed.
    pub resumes: u32,
    /// The targets' name.
    pub targets: String,
    /// Whether the targets are protected, so that steps that cannot be taken back need `--confirm` with their name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub protected: bool,
    /// The steps, main ones first, as written.
    pub steps: Vec<StepSummary>,
    /// The recovery time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rto: Option<Objective>,
    /// The data that is lost, or would be, where a step said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_loss: Option<DataLoss>,
    /// Whether that data is lost already: a step was done that cannot be taken back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub data_lost: bool,
    /// Whether nothing new was started any more because the plan's deadline was over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deadline_passed: bool,
    /// Why the last resume could not begin: the run stands as it stood before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_resumed: Vec<String>,
    /// The chain of steps that took the time, first to last.
    pub critical_path: Vec<StepId>,
    /// What the plan gives out, where it ran to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Value>,
    /// What the run left behind on the systems, as it stood when it last worked on them: nobody has looked since.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<Leftover>,
    /// What stands changed while the run does not go on, and would be put back at its end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_put_back: Vec<NotPutBack>,
    /// Whether an objective was missed. Exit code 9, where the run was otherwise completed.
    pub objective_missed: bool,
    /// Whether a guard refused a step. Exit code 10.
    pub refused: bool,
}

/// How a run stands: its own end state, unless a process carries it out at this moment. Written as one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SummaryStatus {
    /// A process carries it out.
    Running,
    /// The process that carried it out is gone without a word: it was killed, or lost its machine.
    Interrupted,
    /// It came to rest.
    AtRest(RunStatus),
}

impl SummaryStatus {
    /// How a run stands that nobody carries out at this moment.
    pub fn at_rest(state: &RunState) -> Self {
        if state.closed().is_some() || state.stopped().is_some() {
            Self::AtRest(state.resting_status())
        } else {
            Self::Interrupted
        }
    }

    const RUNNING: &str = "running";
    const INTERRUPTED: &str = "interrupted";

    /// The status as it is written, such as `running` or `completed`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => Self::RUNNING,
            Self::Interrupted => Self::INTERRUPTED,
            Self::AtRest(status) => status.as_str(),
        }
    }

    /// Whether it ran to its end.
    pub fn is_done(self) -> bool {
        matches!(self, Self::AtRest(RunStatus::Completed | RunStatus::Degraded))
    }

    /// Whether `jm plan resume` has something to go on with.
    pub fn is_resumable(self) -> bool {
        match self {
            Self::Running => false,
            Self::Interrupted => true,
            Self::AtRest(status) => status.is_resumable(),
        }
    }
}

impl Serialize for SummaryStatus {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for SummaryStatus {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        match word.as_str() {
            Self::RUNNING => return Ok(Self::Running),
            Self::INTERRUPTED => return Ok(Self::Interrupted),
            _ => {}
        }
        RunStatus::deserialize(serde::de::value::StrDeserializer::new(&word)).map(Self::AtRest)
    }
}

impl JsonSchema for SummaryStatus {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SummaryStatus".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let running = schemars::json_schema!({ "const": Self::RUNNING, "description": "A process carries it out." });
        let interrupted = schemars::json_schema!({ "const": Self::INTERRUPTED,
            "description": "The process that carried it out is gone without a word." });
        schemars::json_schema!({ "anyOf": [running, interrupted, generator.subschema_for::<RunStatus>()] })
    }
}

/// How long a run has taken at a moment: from the command that began it, questions and pauses and all, for what it is to
/// bring back is down meanwhile. The one clock of everything that is said about RTO.
pub fn taken(run: &RunInfo, at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(run.started_at)).unwrap_or_default()
}

/// A step of a summary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepSummary {
    /// Its id.
    pub id: StepId,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its step type.
    pub uses: String,
    /// Whether it stands under `finally`.
    pub in_finally: bool,
    /// Where it stands, such as `succeeded`.
    pub status: String,
    /// Attempts in this run.
    pub attempts: u32,
    /// Time spent in attempts.
    pub seconds: f64,
    /// When it began.
    #[schemars(with = "Option<String>")]
    pub started_at: Option<Timestamp>,
    /// When it came to rest.
    #[schemars(with = "Option<String>")]
    pub ended_at: Option<Timestamp>,
    /// Its share of the RTO, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<u64>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorSummary>,
    /// Why it was skipped, is blocked, or waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// Why it waits for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<Why>,
    /// Why the run is degraded because of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub degraded: Vec<String>,
    /// What it changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// For people, when it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// For people, when it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runbook: Option<String>,
}

impl StepSummary {
    /// Whether it failed for good, also where a step of `finally` took back since what it had done.
    pub fn has_failed(&self) -> bool {
        self.error.is_some() && matches!(self.status.as_str(), "failed" | "not-started")
    }
}

/// A promise and what came of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Objective {
    /// What the plan promises, in seconds.
    pub objective: u64,
    /// What it took, in seconds.
    pub actual: f64,
    /// Whether that is within it; nothing where the run is not through.
    pub met: Option<bool>,
}

/// Sums a run up from its journal. `now` counts where it is not at rest.
pub fn summarize(
    plan: &Plan,
    records: &[Record],
    files: &dyn RunFiles,
    now: Timestamp,
) -> Result<RunSummary, IllegalTransition> {
    let graph = Arc::new(Graph::of(plan));
    let (standing, not_resumed) = standing(records);
    let state = RunState::of(&graph).and(standing)?;
    Ok(RunSummary {
        not_resumed,
        ..of_state(plan, &state, files, now)
    })
}

/// The records that say how a run stands, and why the last resume could not begin: one that was refused before its first
/// step did nothing, and the run stands as it stood before.
pub fn standing(records: &[Record]) -> (&[Record], Vec<String>) {
    let is_word = |record: &&Record| matches!(record.kind, RecordKind::Operator(_));
    let last = records.iter().rev().find(|record| !is_word(record));
    let Some(RecordKind::RunStopped {
        by: StopCause::Preflight { problems },
    }) = last.map(|record| &record.kind)
    else {
        return (records, Vec::new());
    };
    let resumed = |record: &Record| matches!(record.kind, RecordKind::RunResumed { .. });
    let began = |record: &Record| matches!(record.kind, RecordKind::StepStarted { .. });
    match records.iter().rposition(resumed) {
        Some(at) if !records[at..].iter().any(began) => (&records[..at], problems.clone()),
        _ => (records, Vec::new()),
    }
}

fn of_state(plan: &Plan, state: &RunState, files: &dyn RunFiles, now: Timestamp) -> RunSummary {
    let opened = state.opened();
    let run = opened.map_or_else(|| unknown_run(plan, now), |opened| opened.run.clone());
    let ended_at = state.ended_at();
    let status = state.resting_status();
    let over = ended_at.filter(|_| !status.is_resumable());
    let loss = data_loss(plan, state, files, over.unwrap_or(now));
    let rto = recovery_time(plan, state, &run, now);
    let is_done = matches!(status, RunStatus::Completed | RunStatus::Degraded);
    let missed = rto.is_some_and(|rto| rto.met == Some(false)) || loss.as_ref().is_some_and(DataLoss::is_missed);
    let until = if ended_at.is_some() { state.last_at() } else { Some(now) };
    let planned = || plan.all_steps().zip(state.steps());
    let final_deed = |(step, entry): (&PlannedStep, &StepEntry)| {
        step.effect == Effect::Irreversible && entry.state == StepState::Succeeded
    };
    RunSummary {
        status: SummaryStatus::at_rest(state),
        alive: false,
        resume_with: Words::of(plan, state, loss.as_ref()),
        stopped_by: state.stopped().cloned(),
        aborted_by: state.aborted().map(str::to_owned),
        seconds: seconds(taken(&run, ended_at.unwrap_or(now))),
        run,
        ended_at,
        resumes: state.resumes(),
        targets: opened.map(|opened| opened.targets.clone()).unwrap_or_default(),
        protected: opened.is_some_and(|opened| opened.protected),
        steps: planned()
            .map(|(step, entry)| step_summary(step, entry, until.unwrap_or(now), files))
            .collect(),
        data_lost: loss.is_some() && planned().any(final_deed),
        deadline_passed: state.deadline_passed(),
        not_resumed: Vec::new(),
        critical_path: critical_path(state),
        outputs: outputs(plan, state, files).filter(|_| is_done),
        left: leftover::of(plan, state, files),
        not_put_back: leftover::not_put_back(plan, state, files),
        objective_missed: is_done && missed,
        refused: status == RunStatus::Failed && state.steps().iter().any(was_refused),
        rto,
        data_loss: loss,
    }
}

fn unknown_run(plan: &Plan, now: Timestamp) -> RunInfo {
    RunInfo {
        id: jm_step::RunId::generate(),
        plan: plan.name().to_owned(),
        started_at: now,
        drill: false,
    }
}

fn was_refused(entry: &StepEntry) -> bool {
    entry
        .failure()
        .is_some_and(|error| error.kind == StepErrorKind::Refused)
}

fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

fn step_summary(step: &PlannedStep, entry: &StepEntry, until: Timestamp, files: &dyn RunFiles) -> StepSummary {
    let error = match &entry.state {
        StepState::Unclear {
            failed: Some(failed), ..
        } => Some(failed.error.clone()),
        StepState::Awaiting { why } => match why.as_ref() {
            Why::Paused { error } => Some(error.clone()),
            _ => None,
        },
        _ => entry.failure().cloned(),
    };
    let changes = entry
        .changes
        .iter()
        .filter_map(|changes| payload::load(files, changes).ok());
    StepSummary {
        id: step.id.clone(),
        name: step.name.clone(),
        uses: step.uses.clone(),
        in_finally: step.in_finally,
        status: entry.state.status().to_owned(),
        attempts: entry.attempts,
        seconds: seconds(Duration::try_from(entry.spent + under_way(entry, until)).unwrap_or_default()),
        started_at: entry.started_at,
        ended_at: entry.ended_at,
        budget: step.budget.map(|budget| budget.as_secs()),
        because: because(entry),
        waits: match &entry.state {
            StepState::Awaiting { why } => Some((**why).clone()),
            _ => None,
        },
        degraded: entry.degraded.clone(),
        changes: changes.flatten().collect(),
        why: error.as_ref().and_then(|_| step.why.clone()),
        runbook: error.as_ref().and_then(|_| step.runbook.clone()),
        error,
    }
}

/// How long the attempt that has no end yet has taken.
fn under_way(entry: &StepEntry, until: Timestamp) -> SignedDuration {
    let since = entry.attempt_at.filter(|_| !entry.state.is_settled());
    since.map_or(SignedDuration::ZERO, |since| {
        until.duration_since(since).max(SignedDuration::ZERO)
    })
}

fn because(entry: &StepEntry) -> Option<String> {
    match &entry.state {
        StepState::Skipped { because, .. } => Some(because.clone()),
        StepState::Blocked { by } => Some(format!("`{by}` did not succeed")),
        StepState::Retrying { not_before } => Some(format!("it is tried again at {not_before}")),
        StepState::Unclear { .. } => Some("it is not known whether it took effect".to_owned()),
        StepState::NotStarted { undone: true } if entry.error.is_some() => Some("it failed, and was undone".to_owned()),
        StepState::NotStarted { undone: true } => Some("it was undone".to_owned()),
        StepState::Awaiting { why } => Some(match why.as_ref() {
            Why::Approval { question } => question.clone(),
            Why::Paused { .. } => "it failed, and waits for a person".to_owned(),
            Why::Unclear { reason } => reason.clone(),
        }),
        _ => None,
    }
}

/// From the command to the end of the last main step that something is brought back by; where that is not reached, to now.
/// A step that may fail, and that none waits for, such as one that tells people, holds nothing up.
fn recovery_time(plan: &Plan, state: &RunState, run: &RunInfo, now: Timestamp) -> Option<Objective> {
    let objective = plan.objectives().rto?.as_secs();
    let graph = state.frontier().graph();
    let is_waited_for = |i: &usize| graph.after(*i).iter().any(|after| !graph.node(*after).in_finally);
    let brings_back = |i: &usize| graph.node(*i).on_failure != OnFailure::Continue || is_waited_for(i);
    let end = |steps: &mut dyn Iterator<Item = usize>| steps.filter_map(|i| state.entry(i).ended_at).max();
    let last = end(&mut graph.main().filter(brings_back)).or_else(|| end(&mut graph.main()));
    let until = if state.frontier().unsettled() == 0 {
        last
    } else {
        state.ended_at()
    }
    .unwrap_or(now);
    let actual = seconds(taken(run, until));
    let is_done = matches!(state.closed(), Some(RunStatus::Completed | RunStatus::Degraded));
    Some(Objective {
        objective,
        actual,
        met: is_done.then_some(Duration::from_secs(objective).as_secs_f64() >= actual),
    })
}

/// What was lost, as far as outputs in the journal say.
fn data_loss(plan: &Plan, state: &RunState, files: &dyn RunFiles, now: Timestamp) -> Option<DataLoss> {
    let outputs: BTreeMap<&StepId, Value> = state
        .steps()
        .iter()
        .filter(|entry| entry.state == StepState::Succeeded)
        .filter_map(|entry| Some((&entry.id, payload::load(files, entry.output.as_ref()?).ok()?)))
        .collect();
    guard::data_loss(plan, state, |id| outputs.get(id), now)
}

/// The plan's own outputs, as far as they can be rendered.
fn outputs(plan: &Plan, state: &RunState, files: &dyn RunFiles) -> Option<Value> {
    let mut scope = Scope {
        inputs: state.opened()?.all_inputs(files).ok()?,
        objectives: plan.objectives_value(),
        run: serde_json::to_value(&state.opened()?.run).ok()?,
        ..Scope::default()
    };
    let all = (0..state.steps().len()).collect();
    crate::scope::refresh(&mut scope, state, &all, files).ok()?;
    let rendered = plan.outputs().render(&scope).ok()?;
    Some(rendered.shown()).filter(|value| value.as_object().is_some_and(|map| !map.is_empty()))
}

/// The chain of main steps that took the time: from the one that ended last, back by what it waited for longest.
fn critical_path(state: &RunState) -> Vec<StepId> {
    let graph = state.frontier().graph();
    let ended = |i: &usize| {
        state
            .entry(*i)
            .ended_at
            .filter(|_| state.entry(*i).started_at.is_some())
    };
    let mut path = Vec::new();
    let mut next = graph.main().filter(|i| ended(i).is_some()).max_by_key(ended);
    while let Some(i) = next {
        path.push(graph.node(i).id.clone());
        let needs = graph.node(i).needs.iter().map(|need| need.node);
        next = needs.filter(|need| ended(need).is_some()).max_by_key(ended);
    }
    path.reverse();
    path
}
