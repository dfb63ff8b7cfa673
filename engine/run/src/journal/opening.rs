//! The first record of a journal, and the values that records hold.

use std::collections::BTreeMap;

use jm_step::{ArtefactRef, RunInfo};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The journal's format that this jm writes. Another major cannot be read; a newer minor may hold kinds that cannot.
pub const FORMAT: Format = Format { major: 1, minor: 0 };

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
    /// The inputs by name, without the secret ones.
    pub inputs: Value,
    /// Where the secret inputs come from.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, SecretReference>,
    /// The targets' name, such as `production`.
    pub targets: String,
    /// Digest of the targets as they were rendered.
    pub targets_digest: String,
    /// The version of jm.
    pub jm: String,
    /// Who started it, such as `ada@bastion`.
    pub by: String,
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
