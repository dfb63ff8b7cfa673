//! What `--format json` prints: documents of a version, each with a schema that is made from the same type (`jm schema`).

use jm_run::{DryRun, RunSummary};
use schemars::JsonSchema;
use serde::Serialize;

use crate::ui::Ui;

/// The form of the documents. A field that goes, or means something else, is another form.
const VERSION: u32 = 1;

/// What a command prints for programs.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Document<T> {
    /// Of the form of this document: 1.
    version: u32,
    #[serde(flatten)]
    content: T,
}

impl<T: Serialize> Document<T> {
    pub(crate) fn of(content: T) -> Self {
        Self {
            version: VERSION,
            content,
        }
    }

    /// As one document on standard output.
    pub(crate) fn print(&self, ui: &Ui) {
        ui.answer(self.to_string());
    }
}

impl<T: Serialize> std::fmt::Display for Document<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#}", serde_json::json!(self))
    }
}

/// Where the file of a plan has gone on since a run was begun.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct PlanFile {
    /// The file, as people name it.
    pub(crate) file: String,
    /// How it compares with the plan in the journal, by which the run goes on.
    #[serde(flatten)]
    pub(crate) state: PlanFileState,
}

/// How a plan's file compares with the plan in a journal.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub(crate) enum PlanFileState {
    /// It is the same text.
    Same,
    /// It cannot be read any more.
    Gone,
    /// It is another text.
    Changed {
        /// Lines that only the file has.
        added: usize,
        /// Lines that only the journal has.
        removed: usize,
        /// The difference, in the unified form.
        diff: String,
    },
}

/// A dry run as it is printed.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct PrintedDryRun<'a> {
    #[serde(flatten)]
    pub(crate) dry_run: &'a DryRun,
    /// Of a resume whose run came from a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) plan_file: Option<&'a PlanFile>,
}

/// What came of a run as it is printed.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct PrintedSummary<'a> {
    #[serde(flatten)]
    pub(crate) summary: &'a RunSummary,
    /// The command that goes on with it, where it can be resumed.
    pub(crate) resume: Option<String>,
    /// Of a resume whose run came from a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) plan_file: Option<&'a PlanFile>,
}
