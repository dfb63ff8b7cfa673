//! What became of an object.

use jm_client_kubernetes::{Keeper, ObjectKey};
use jm_step::{Change, StepError};
use serde_json::json;

/// What became of an object, or would.
#[derive(Debug)]
pub(super) enum Outcome {
    Created,
    Updated,
    Unchanged,
    Recreated,
    Pruned,
    /// It would be created; what the server says to it cannot be known yet.
    Unasked,
    Failed(StepError),
    /// It was being written when all had to stop, and no answer came.
    Unknown,
}

impl Outcome {
    pub(super) fn changes_something(&self) -> bool {
        matches!(self, Self::Updated | Self::Recreated | Self::Pruned)
    }

    fn as_str(&self) -> &'static str {
        match self {
            Self::Created | Self::Unasked => "created",
            Self::Updated => "updated",
            Self::Unchanged => "unchanged",
            Self::Recreated => "recreated",
            Self::Pruned => "pruned",
            Self::Failed(_) => "failed",
            Self::Unknown => "unknown",
        }
    }

    /// A line of the list of results.
    pub(super) fn line(&self, key: &ObjectKey) -> String {
        let mut line = json!({ "object": key.to_string(), "result": self.as_str() });
        if let Self::Failed(error) = self {
            line["error"] = error.message().into();
        }
        format!("{line}\n")
    }
}

/// An object, what became of it, and who else cares for it.
pub(super) struct Applied {
    pub(super) key: ObjectKey,
    pub(super) outcome: Outcome,
    pub(super) keeper: Option<Keeper>,
    pub(super) changes: Vec<Change>,
}

impl Applied {
    pub(super) fn failed(key: ObjectKey, error: StepError) -> Self {
        Self::unchanged(key, Outcome::Failed(error))
    }

    pub(super) fn unknown(key: ObjectKey) -> Self {
        Self::unchanged(key, Outcome::Unknown)
    }

    fn unchanged(key: ObjectKey, outcome: Outcome) -> Self {
        Self {
            key,
            outcome,
            keeper: None,
            changes: Vec::new(),
        }
    }
}
