//! The first record of a journal, and the values that records hold.

use std::collections::BTreeMap;

use jm_step::{ArtefactRef, RunInfo, StepError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::files::RunFiles;
use crate::payload;

/// The journal's format that this jm writes. Another major cannot be read; a newer minor may hold kinds that cannot.
pub const FORMAT: Format = Format { major: 1, minor: 3 };

/// A version of the journal's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Format {
    /// Raised when old readers would misunderstand.
    pub major: u32,
    /// Raised when kinds or fields are added.
    pub minor: u32,
}

/// What a run was opened with: with the plan's text beside the journal, all that a resume needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Opened {
    /// The journal's format.
    pub format: Format,
    /// The run.
    pub run: RunInfo,
    /// Digest of the plan's text.
    pub plan: String,
    /// The plan's file, where it came from one, as an absolute path. Since format 1.1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The folder in which it was started: `run.directory` to expressions. Since format 1.3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// The inputs by name, without the secret ones; `null` where they are too large for a record. Read them with
    /// [`Opened::all_inputs`].
    pub inputs: Value,
    /// Where the inputs are, where they are too large for a record. Since format 1.1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs_artefact: Option<ArtefactRef>,
    /// Where the secret inputs come from.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, SecretReference>,
    /// The targets' name, such as `production`.
    pub targets: String,
    /// Digest of the targets as they were rendered.
    pub targets_digest: String,
    /// Whether the targets are protected, so that steps that cannot be taken back need a word of their own. Since format
    /// 1.2.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub protected: bool,
    /// The version of jm.
    pub jm: String,
    /// Who started it, such as `ada@bastion`.
    pub by: String,
}

impl Opened {
    /// The inputs by name, without the secret ones, wherever they are.
    pub fn all_inputs(&self, files: &dyn RunFiles) -> Result<Value, StepError> {
        match &self.inputs_artefact {
            Some(artefact) => payload::load(files, &Payload::Artefact(artefact.clone())),
            None => Ok(self.inputs.clone()),
        }
    }

    /// The same, small enough for a record: large inputs become an artefact, which is on disk when this returns.
    pub(crate) fn fitting(mut self, files: &dyn RunFiles) -> Result<Self, StepError> {
        let text = self.inputs.to_string();
        if text.len() > payload::INLINE {
            let kept = files.put("inputs", text.as_bytes());
            let cannot = |error| StepError::failed("cannot keep the inputs in the run's directory").source(error);
            self.inputs_artefact = Some(kept.map_err(cannot)?);
            self.inputs = Value::Null;
        }
        Ok(self)
    }
}

/// A secret input: where to read it again, and how to notice that another value stands there now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretReference {
    /// `env:NAME` or `file:PATH`.
    pub from: String,
    /// Random text that was hashed before the value.
    pub salt: String,
    /// SHA-256 of salt and value, lower-case hex.
    pub digest: String,
}

/// A value that stands in the record, or, where it is too large for that, in a file of the run's directory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Payload<T> {
    /// The value.
    Inline(T),
    /// Where the value is, as JSON.
    Artefact(ArtefactRef),
}

impl<T: Default> Default for Payload<T> {
    fn default() -> Self {
        Self::Inline(T::default())
    }
}

impl<T: Default + PartialEq> Payload<T> {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Inline(value) if *value == T::default())
    }
}
