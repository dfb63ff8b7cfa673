//! What the journal holds: facts, one to a line, from which a run can be understood and gone on with anywhere.

use jiff::Timestamp;
use jm_step::{Change, ErrorSummary, Identity, StepId, TargetName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::opening::{Opened, Payload};

/// The longest line that a journal takes, in bytes. What is larger becomes an artefact.
pub const MAX_RECORD: usize = 64 * 1024;

/// One fact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = with_checksum)]
pub struct Record {
    /// Its place in the journal, from 1 without gaps.
    pub seq: u64,
    /// The `seq` of the first record of its batch: the records that reached the disk with one sync.
    pub batch: u64,
    /// When it was written down.
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub kind: RecordKind,
}

/// In a journal every line ends with its checksum, which no record holds.
fn with_checksum(schema: &mut schemars::Schema) {
    let crc = serde_json::json!({
        "type": "string",
        "pattern": "^[0-9a-f]{8}$",
        "description": "CRC32 of the line before this member. In journals only, and always the last.",
    });
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.insert("crc".to_owned(), crc);
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum RecordKind {
    /// The first record of every journal.
    RunOpened(Box<Opened>),
    /// A target was reached, and this is the system it was. Held to from here on.
    TargetOpened {
        /// The target.
        target: TargetName,
        /// Which system it really is.
        identity: Identity,
    },
    /// An attempt begins: on disk before the step does anything.
    StepStarted {
        /// The step.
        step: StepId,
        /// Which attempt in this run, from 1.
        attempt: u32,
        /// The idempotency key.
        key: String,
    },
    /// The step saved progress to go on from.
    StepCheckpoint {
        /// The step.
        step: StepId,
        /// Whatever the step type saves.
        data: Payload<Value>,
    },
    /// The step saved its output as far as it is known before the effect.
    OutputSaved {
        /// The step.
        step: StepId,
        /// The output so far.
        output: Payload<Value>,
    },
    /// The step is done.
    StepSucceeded {
        /// The step.
        step: StepId,
        /// Its output.
        output: Payload<Value>,
        /// What it changed.
        #[serde(default, skip_serializing_if = "Payload::is_empty")]
        changes: Payload<Vec<Change>>,
    },
    /// An attempt failed.
    StepFailed {
        /// The step.
        step: StepId,
        /// Why.
        error: ErrorSummary,
        /// When it is tried again, if it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Option<String>")]
        will_retry: Option<Timestamp>,
        /// Whether it is unknown that the attempt took effect: the probe is asked before anything is done about it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        unclear: bool,
        /// What it changed before it failed.
        #[serde(default, skip_serializing_if = "Payload::is_empty")]
        changes: Payload<Vec<Change>>,
    },
    /// The step is not needed.
    StepSkipped {
        /// The step.
        step: StepId,
        /// Why, for people.
        because: String,
        /// Whether a person said so: then a resume leaves it skipped whatever its `if` says.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        by_person: bool,
    },
    /// The step cannot run, because one that it needs did not succeed.
    StepBlocked {
        /// The step.
        step: StepId,
        /// The step that did not succeed.
        by: StepId,
    },
    /// A step of `finally` takes back what this step did: it is not-started again.
    StepUndone {
        /// The step that is undone.
        step: StepId,
        /// The step that undoes it.
        by: StepId,
    },
    /// The step is not-started again, with a new idempotency key.
    StepAnew {
        /// The step.
        step: StepId,
        /// Why, for people.
        because: String,
    },
    /// The step will succeed, and the run ends degraded.
    StepDegraded {
        /// The step.
        step: StepId,
        /// Why, for people.
        reason: String,
    },
    /// The world was asked what became of an attempt.
    Probed {
        /// The step.
        step: StepId,
        /// What it said.
        verdict: Verdict,
        /// What is done about it.
        then: Then,
    },
    /// Only a person can say how to go on with this step.
    OperatorNeeded {
        /// The step.
        step: StepId,
        /// Why.
        why: Why,
    },
    /// A person said something.
    Operator(Said),
    /// The plan's deadline is over: nothing new starts but `finally`.
    DeadlinePassed {},
    /// The run stopped where it was, and can be resumed.
    RunStopped {
        /// By what.
        by: StopCause,
    },
    /// The run goes on. Attempts that were under way are unclear from here on.
    RunResumed {
        /// By whom, such as `ada@bastion`.
        by: String,
        /// The version of jm that goes on with it.
        jm: String,
    },
    /// The run is over.
    RunClosed {
        /// How it ended.
        status: RunStatus,
    },
}

/// A probe's answer, without the output that it may have found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    /// Nothing happened.
    NotStarted,
    /// It goes on without us.
    Running,
    /// Something happened, not all.
    Partial {
        /// What was found.
        reason: String,
    },
    /// It is done.
    Succeeded,
    /// The world cannot tell.
    Unknown {
        /// Why not.
        reason: String,
    },
}

/// What follows from a probe's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "then", rename_all = "kebab-case")]
pub enum Then {
    /// The output that was found is taken over: the next record of the step is its success.
    Adopt,
    /// The probe is asked again.
    Wait {
        /// Not before.
        #[schemars(with = "String")]
        until: Timestamp,
    },
    /// The step runs again.
    Again {
        /// Not before.
        #[schemars(with = "String")]
        at: Timestamp,
        /// Whether what it saved to go on from is dropped, because nothing of it happened.
        drop_checkpoint: bool,
    },
    /// A person has to say: the next record of the step asks.
    Operator,
    /// No attempt is left: the next record of the step is its failure.
    Fail,
}

/// Why a person is needed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "why", rename_all = "kebab-case")]
pub enum Why {
    /// The step asks a question; `jm run approve` and `jm run reject` answer it.
    Approval {
        /// The question.
        question: String,
    },
    /// The step failed under `on_failure: pause`; `jm run retry`, `skip`, `mark-done` and `abort` go on.
    Paused {
        /// Why it failed.
        error: ErrorSummary,
    },
    /// An attempt was interrupted, the world cannot tell what became of it, and it may not be done twice; verbs as for
    /// a pause.
    Unclear {
        /// What is known.
        reason: String,
    },
}

/// What a person can say about a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OperatorVerb {
    /// Yes, to the question that a step asks.
    Approve,
    /// No, to the question that a step asks.
    Reject,
    /// Do the step anew, and what came after it.
    Retry,
    /// Go on without the step.
    Skip,
    /// The step was done by other means.
    MarkDone,
    /// End the run: nothing new starts but `finally`.
    Abort,
    /// A guard's question was answered with yes: protected targets, lost data, another identity.
    Consent,
}

impl OperatorVerb {
    /// The verb as it is typed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Reject => "reject",
            Self::Retry => "retry",
            Self::Skip => "skip",
            Self::MarkDone => "mark-done",
            Self::Abort => "abort",
            Self::Consent => "consent",
        }
    }
}

/// A person's word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Said {
    /// Tells words apart, so that one that is read twice from the inbox counts once.
    pub id: String,
    /// Who said it, such as `ada@bastion`.
    pub who: String,
    /// What was said.
    pub verb: OperatorVerb,
    /// Of which step; of the run as a whole where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepId>,
    /// Why, in the person's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Why a run stopped before its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "cause", rename_all = "kebab-case")]
pub enum StopCause {
    /// Somebody asked it to: a signal.
    Signal {
        /// Which, such as `SIGTERM`.
        name: String,
    },
    /// `--until` named a step.
    Until {
        /// The step that did not start.
        step: StepId,
    },
    /// Nothing is left to do but wait for a person.
    Waiting,
    /// A target that the plan uses cannot be used, or a guard refused the start.
    Preflight {
        /// What was found, one entry for each problem.
        problems: Vec<String>,
    },
}

/// How a run ended, or why it does not go on now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RunStatus {
    /// Every step succeeded or was not needed.
    Completed,
    /// Completed, with something amiss that did not stop it.
    Degraded,
    /// A step failed.
    Failed,
    /// Stopped on request; can be resumed.
    Stopped,
    /// Waits for a person.
    Waiting,
    /// Ended by a person.
    Aborted,
}

impl RunStatus {
    /// The status as it is written, such as `completed`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
            Self::Waiting => "waiting",
            Self::Aborted => "aborted",
        }
    }

    /// Whether `jm plan resume` has something to go on with.
    pub fn is_resumable(self) -> bool {
        matches!(self, Self::Failed | Self::Stopped | Self::Waiting)
    }
}

impl std::fmt::Display for RunStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl RecordKind {
    /// The step that it is about.
    pub fn step(&self) -> Option<&StepId> {
        match self {
            Self::StepStarted { step, .. }
            | Self::StepCheckpoint { step, .. }
            | Self::OutputSaved { step, .. }
            | Self::StepSucceeded { step, .. }
            | Self::StepFailed { step, .. }
            | Self::StepSkipped { step, .. }
            | Self::StepBlocked { step, .. }
            | Self::StepUndone { step, .. }
            | Self::StepAnew { step, .. }
            | Self::StepDegraded { step, .. }
            | Self::Probed { step, .. }
            | Self::OperatorNeeded { step, .. } => Some(step),
            Self::Operator(said) => said.step.as_ref(),
            _ => None,
        }
    }

    /// Its name in the journal, such as `step-started`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RunOpened(_) => "run-opened",
            Self::TargetOpened { .. } => "target-opened",
            Self::StepStarted { .. } => "step-started",
            Self::StepCheckpoint { .. } => "step-checkpoint",
            Self::OutputSaved { .. } => "output-saved",
            Self::StepSucceeded { .. } => "step-succeeded",
            Self::StepFailed { .. } => "step-failed",
            Self::StepSkipped { .. } => "step-skipped",
            Self::StepBlocked { .. } => "step-blocked",
            Self::StepUndone { .. } => "step-undone",
            Self::StepAnew { .. } => "step-anew",
            Self::StepDegraded { .. } => "step-degraded",
            Self::Probed { .. } => "probed",
            Self::OperatorNeeded { .. } => "operator-needed",
            Self::Operator(_) => "operator",
            Self::DeadlinePassed {} => "deadline-passed",
            Self::RunStopped { .. } => "run-stopped",
            Self::RunResumed { .. } => "run-resumed",
            Self::RunClosed { .. } => "run-closed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_flat_object_and_reads_back() {
        let record = Record {
            seq: 3,
            batch: 2,
            at: Timestamp::UNIX_EPOCH,
            kind: RecordKind::StepFailed {
                step: "restore".parse().expect("a name"),
                error: jm_step::StepError::unavailable("gone").summary(),
                will_retry: Some(Timestamp::UNIX_EPOCH),
                unclear: false,
                changes: Payload::default(),
            },
        };
        let text = serde_json::to_string(&record).expect("JSON");
        assert_eq!(
            text,
            r#"{"seq":3,"batch":2,"at":"1970-01-01T00:00:00Z","kind":"step-failed","step":"restore","error":{"kind":"unavailable","message":"gone"},"will_retry":"1970-01-01T00:00:00Z"}"#
        );
        assert_eq!(serde_json::from_str::<Record>(&text).expect("reads back"), record);
    }

    #[test]
    fn a_kind_that_this_jm_does_not_know_is_an_error() {
        let text = r#"{"seq":1,"batch":1,"at":"1970-01-01T00:00:00Z","kind":"step-danced","step":"x"}"#;
        let error = serde_json::from_str::<Record>(text).expect_err("unknown");
        assert!(error.to_string().contains("step-danced"), "{error}");
    }

    #[test]
    fn the_schema_knows_the_checksum_and_every_kind() {
        let schema = jm_step::schema::of::<Record>();
        assert_eq!(schema["properties"]["crc"]["type"], "string");
        let text = schema.to_string();
        for kind in ["run-opened", "step-undone", "operator-needed", "run-closed"] {
            assert!(text.contains(kind), "{kind}");
        }
    }
}
