//! What became of an object.

use jm_client_kubernetes::{Keeper, ObjectKey};
use jm_step::{Change, StepError};
use serde_json::json;

use crate::few::few;

/// The most objects that a warning names.
const NAMED: usize = 5;

/// What is said where workloads keep their counts.
pub(super) fn kept_counts(workloads: &[String]) -> Option<String> {
    let told = "no count is written for what keeps the replicas that it has";
    (!workloads.is_empty()).then(|| format!("{told}: {}", few(workloads, NAMED)))
}

/// What is said where jm itself had written other values later.
pub(super) fn newer(objects: &[String]) -> Option<String> {
    let told = "jm itself has changed since the export was made what the export brings back as it was";
    (!objects.is_empty()).then(|| format!("{told}: {}", few(objects, NAMED)))
}

/// What is said where volumes were held for claims that are gone.
pub(super) fn freed(volumes: &[String]) -> Option<String> {
    let told = "held for a claim that is gone, and free for the one of its name that comes back";
    (!volumes.is_empty()).then(|| format!("{told}: {}", few(volumes, NAMED)))
}

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
        matches!(
            self,
            Self::Created | Self::Unasked | Self::Updated | Self::Recreated | Self::Pruned
        )
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
}

/// An object, what became of it, and who else cares for it.
pub(super) struct Applied {
    pub(super) key: ObjectKey,
    pub(super) outcome: Outcome,
    pub(super) keeper: Option<Keeper>,
    pub(super) changes: Vec<Change>,
    /// The count that it keeps since none is written.
    pub(super) kept_count: Option<u64>,
    /// Whether what was overwritten is newer than the object, by jm's own hand.
    pub(super) was_newer: bool,
    /// A volume that was held for a claim which is gone, and which one.
    pub(super) freed: Option<String>,
}

impl Applied {
    /// A line of the list of results.
    pub(super) fn line(&self) -> String {
        let mut line = json!({ "object": self.key.to_string(), "result": self.outcome.as_str() });
        if let Outcome::Failed(error) = &self.outcome {
            line["error"] = error.message().into();
        }
        if self.was_newer {
            line["was_newer"] = true.into();
        }
        format!("{line}\n")
    }

    pub(super) fn failed(key: ObjectKey, error: StepError) -> Self {
        Self::unchanged(key, Outcome::Failed(error))
    }

    pub(super) fn unknown(key: ObjectKey) -> Self {
        Self::unchanged(key, Outcome::Unknown)
    }

    fn unchanged(key: ObjectKey, outcome: Outcome) -> Self {
        Self::changed(key, outcome, Vec::new())
    }

    pub(super) fn changed(key: ObjectKey, outcome: Outcome, changes: Vec<Change>) -> Self {
        Self {
            key,
            outcome,
            keeper: None,
            changes,
            kept_count: None,
            was_newer: false,
            freed: None,
        }
    }
}
