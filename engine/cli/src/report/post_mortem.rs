//! A run told afterwards, from its journal: what was promised and kept, who did what, what went wrong and by which
//! evidence, what was changed, and every fact in its order. Nothing in it was not in the journal, so no secret is.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use jm_plan::Plan;
use jm_run::journal::{OperatorVerb, StopCause};
use jm_run::{Record, RecordKind, RunFiles, RunState, RunSummary};
use jm_step::{ErrorSummary, Identity, StepId, TargetName};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::exit::CommandError;
use crate::report::{time, words};

mod html;
mod layout;
mod markdown;

/// A run, told afterwards.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct PostMortem {
    /// Of this document: 1.
    version: u32,
    /// The plan's title.
    title: Option<String>,
    /// What the plan is for.
    description: Option<String>,
    /// Digest of the plan's text.
    plan_digest: String,
    /// The plan's file, where it came from one.
    plan_file: Option<String>,
    /// The inputs, without the secret ones.
    inputs: Value,
    /// Where the secret inputs came from.
    secret_inputs: BTreeMap<String, String>,
    /// Which systems the targets were.
    identities: BTreeMap<TargetName, Identity>,
    /// The first step that cannot be taken back.
    point_of_no_return: Option<StepId>,
    /// Who began it and who went on with it.
    sessions: Vec<Session>,
    /// What people said, and why.
    words: Vec<Word>,
    /// Every attempt that failed.
    failures: Vec<Failure>,
    /// Every fact, in its order.
    timeline: Vec<Moment>,
    /// What came of it.
    summary: RunSummary,
}

/// Somebody began the run, or went on with it.
#[derive(Debug, Serialize, JsonSchema)]
struct Session {
    #[schemars(with = "String")]
    at: Timestamp,
    /// Such as `ada@bastion`.
    who: String,
    /// The version of jm.
    jm: String,
}

/// A person's word.
#[derive(Debug, Serialize, JsonSchema)]
struct Word {
    #[schemars(with = "String")]
    at: Timestamp,
    who: String,
    verb: OperatorVerb,
    step: Option<StepId>,
    reason: Option<String>,
}

/// An attempt that failed.
#[derive(Debug, Serialize, JsonSchema)]
struct Failure {
    #[schemars(with = "String")]
    at: Timestamp,
    step: StepId,
    attempt: u32,
    /// Whether it was tried again.
    retried: bool,
    /// Why it failed, with its evidence.
    error: ErrorSummary,
    /// What the plan says of it, where it failed for good.
    why: Option<String>,
    /// Where the plan says what to do, where it failed for good.
    runbook: Option<String>,
}

/// A fact.
#[derive(Debug, Serialize, JsonSchema)]
struct Moment {
    /// Its place in the journal.
    seq: u64,
    #[schemars(with = "String")]
    at: Timestamp,
    /// Seconds since the run was opened.
    after: f64,
    /// What it is, such as `done`.
    what: String,
    step: Option<StepId>,
    text: String,
}

impl PostMortem {
    /// Tells a run by its records, of which the summary is made already.
    pub(crate) fn of(
        plan: &Plan,
        records: &[Record],
        summary: RunSummary,
        files: &dyn RunFiles,
    ) -> Result<Self, CommandError> {
        let began = summary.run.started_at;
        let mut report = Self {
            version: 1,
            title: plan.title().map(str::to_owned),
            description: plan.description().map(|text| text.trim().to_owned()),
            plan_digest: plan.digest().to_owned(),
            plan_file: None,
            inputs: Value::Null,
            secret_inputs: BTreeMap::new(),
            identities: BTreeMap::new(),
            point_of_no_return: plan.point_of_no_return().cloned(),
            sessions: Vec::new(),
            words: Vec::new(),
            failures: Vec::new(),
            timeline: Vec::new(),
            summary,
        };
        let mut state = RunState::new();
        for record in records {
            state
                .apply(record)
                .map_err(|error| CommandError::state("the journal does not hang together").cause(&error))?;
            report.take(record, plan, &state, files);
            report.timeline.extend(moment(record, &state, began));
        }
        report.identities.clone_from(state.targets());
        Ok(report)
    }

    fn take(&mut self, record: &Record, plan: &Plan, state: &RunState, files: &dyn RunFiles) {
        let at = record.at;
        match &record.kind {
            RecordKind::RunOpened(opened) => {
                self.plan_file.clone_from(&opened.file);
                self.inputs = opened.all_inputs(files).unwrap_or_default();
                self.secret_inputs = opened
                    .secrets
                    .iter()
                    .map(|(name, secret)| (name.clone(), secret.from.clone()))
                    .collect();
                self.sessions.push(Session {
                    at,
                    who: opened.by.clone(),
                    jm: opened.jm.clone(),
                });
            }
            RecordKind::RunResumed { by, jm } => self.sessions.push(Session {
                at,
                who: by.clone(),
                jm: jm.clone(),
            }),
            RecordKind::Operator(said) => self.words.push(Word {
                at,
                who: said.who.clone(),
                verb: said.verb,
                step: said.step.clone(),
                reason: said.reason.clone(),
            }),
            RecordKind::StepFailed {
                step,
                error,
                will_retry,
                ..
            } => {
                let for_good = plan.step(step.as_str()).filter(|_| will_retry.is_none());
                self.failures.push(Failure {
                    at,
                    step: step.clone(),
                    attempt: state.step(step.as_str()).map_or(0, |entry| entry.attempts),
                    retried: will_retry.is_some(),
                    error: error.clone(),
                    why: for_good.and_then(|step| step.why.clone()),
                    runbook: for_good.and_then(|step| step.runbook.clone()),
                });
            }
            _ => {}
        }
    }

    /// As Markdown.
    pub(crate) fn markdown(&self) -> String {
        markdown::render(&layout::of(self))
    }

    /// As a page of its own, that needs nothing from elsewhere.
    pub(crate) fn html(&self) -> String {
        html::render(&layout::of(self))
    }

    /// As one JSON document.
    pub(crate) fn json(&self) -> String {
        format!("{:#}\n", serde_json::json!(self))
    }
}

/// What a record says in a timeline; nothing where it is only for jm.
fn moment(record: &Record, state: &RunState, began: Timestamp) -> Option<Moment> {
    let (what, text) = match words::of(record, state) {
        Some(line) => (line.word, line.text),
        None => plain(&record.kind)?,
    };
    Some(Moment {
        seq: record.seq,
        at: record.at,
        after: record.at.duration_since(began).as_secs_f64().max(0.0),
        what: what.to_owned(),
        step: record.kind.step().cloned(),
        text,
    })
}

/// Facts that a terminal shows in another way.
fn plain(kind: &RecordKind) -> Option<(&'static str, String)> {
    Some(match kind {
        RecordKind::RunOpened(opened) => ("opened", format!("by {} with jm {}", opened.by, opened.jm)),
        RecordKind::TargetOpened { target, identity } if identity.0.is_empty() => ("target", format!("`{target}`")),
        RecordKind::TargetOpened { target, identity } => ("target", format!("`{target}` is {identity}")),
        RecordKind::StepStarted { attempt: 1, .. } => ("started", String::new()),
        RecordKind::StepStarted { attempt, .. } => ("started", format!("attempt {attempt}")),
        RecordKind::RunStopped { by } => ("stopped", stopped(by)),
        RecordKind::RunClosed { status } => ("closed", status.to_string()),
        _ => return None,
    })
}

fn stopped(by: &StopCause) -> String {
    match by {
        StopCause::Signal { name } => format!("by {name}"),
        StopCause::Until { step } => format!("before `{step}`, as asked"),
        StopCause::Waiting => "to wait for a person".to_owned(),
        StopCause::Preflight { problems } => problems.join("; "),
    }
}

/// A duration as reports write it.
fn took(seconds: f64) -> String {
    time::duration(Duration::from_secs_f64(seconds))
}
