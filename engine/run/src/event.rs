//! What reporters see: facts that are on disk, and passing news that never will be.

use jm_step::{Grade, StepId, TargetName, Unit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Record;

/// News of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[expect(clippy::large_enum_variant, reason = "most events are facts")]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A fact, on disk.
    Recorded(Record),
    /// How far a step is.
    Progress {
        /// The step.
        step: StepId,
        /// So much is done.
        done: u64,
        /// Of so much, where known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        total: Option<u64>,
        /// Of what.
        unit: Unit,
    },
    /// A line that a step wrote to its log, masked.
    Log {
        /// The step.
        step: StepId,
        /// The line.
        line: String,
    },
    /// A target that the plan repairs was looked at before the first step.
    Target {
        /// The target.
        target: TargetName,
        /// Whether it answers.
        up: bool,
        /// What it said where it does not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    },
    /// A dry run has come so far.
    Previewed {
        /// The step.
        step: StepId,
        /// What its preview is worth.
        grade: Grade,
    },
    /// Something that people should know and that changes nothing, such as an input that has another value now.
    Notice {
        /// What it is, lower case.
        text: String,
    },
}
