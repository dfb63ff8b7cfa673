//! What a running step says to the engine, over one ordered channel that is drained before its end is recorded.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::oneshot;

use crate::{Change, StepError};

/// What a progress counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Bytes: shown with a rate.
    Bytes,
    /// Things: rows, objects, pods.
    Items,
}

/// A file in the run's directory, for what is larger than a record. Content-addressed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArtefactRef {
    /// What it is, such as `stderr.txt`.
    pub name: String,
    /// SHA-256 of its content, lower-case hex.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
}

/// What a person said to a question that a step asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Answer {
    /// Yes or no.
    pub approved: bool,
    /// Who said so, such as `ada@bastion`.
    pub who: String,
    /// Why, in the person's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When.
    #[schemars(with = "String")]
    pub at: Timestamp,
}

/// Answers a message once what it asked for is on disk.
pub type Ack<T = ()> = oneshot::Sender<Result<T, StepError>>;

/// A step's word to the engine.
#[derive(Debug)]
pub enum StepMessage {
    /// How far it is. Passing: not journalled.
    Progress {
        /// So much is done.
        done: u64,
        /// Of so much, where known.
        total: Option<u64>,
        /// Of what.
        unit: Unit,
    },
    /// A line for the attempt's log file. Passing: not journalled.
    Log {
        /// The line, without its end. Masked by the engine.
        line: String,
    },
    /// The step will succeed, and the run ends degraded.
    Degraded {
        /// Why, for people.
        reason: String,
        /// When it is on disk.
        ack: Ack,
    },
    /// Progress to go on from.
    Checkpoint {
        /// Whatever the step type saves.
        data: Value,
        /// When it is on disk.
        ack: Ack,
    },
    /// The output as far as it is known before the effect.
    Output {
        /// In the form of the step's output; fields may still be missing.
        output: Value,
        /// When it is on disk.
        ack: Ack,
    },
    /// A question that only a person can answer.
    Ask {
        /// The question.
        question: String,
        /// When somebody has answered: perhaps never in this process, for the run may end and wait.
        ack: Ack<Answer>,
    },
    /// What was really done.
    Changed {
        /// The change.
        change: Change,
    },
    /// Content for a file of the run's directory.
    Artefact {
        /// What it is.
        name: String,
        /// Its content.
        content: Vec<u8>,
        /// When it is on disk.
        ack: Ack<ArtefactRef>,
    },
}
