//! What expressions see while a plan runs, or is tried dry.

use std::collections::{BTreeMap, BTreeSet};

use jm_step::{Secret, StepId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::evaluate::{Found, Lookup, dig};
use super::references::{Reference, Root};

/// Where a step stands, as `steps.<id>.status` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepStatus {
    /// It has not begun.
    NotStarted,
    /// It is under way.
    Running,
    /// It is done.
    Succeeded,
    /// It failed for good.
    Failed,
    /// Its `if` was false, its target is not configured, or a person skipped it.
    Skipped,
    /// What it waits for failed.
    Blocked,
    /// Not known: in a dry run.
    Unknown,
}

impl StepStatus {
    /// The words that expressions compare with.
    pub(crate) const WORDS: [&'static str; 6] = ["not-started", "running", "succeeded", "failed", "skipped", "blocked"];

    /// The word that expressions see; `None` where it is not known.
    pub fn as_str(self) -> Option<&'static str> {
        match self {
            Self::NotStarted => Some("not-started"),
            Self::Running => Some("running"),
            Self::Succeeded => Some("succeeded"),
            Self::Failed => Some("failed"),
            Self::Skipped => Some("skipped"),
            Self::Blocked => Some("blocked"),
            Self::Unknown => None,
        }
    }
}

/// What is known of a step's outputs.
#[derive(Debug, Clone, PartialEq)]
pub enum Outputs {
    /// All there is: a map, empty for a step that did not run, what it saved for one that failed.
    Known(Value),
    /// They come later: in a dry run.
    Unknown {
        /// The step that is waited for; another one where the step itself waits.
        of: StepId,
        /// The fields that are known already.
        partial: Option<Value>,
    },
}

/// A step as expressions see it.
#[derive(Debug, Clone, PartialEq)]
pub struct StepScope {
    /// Where it stands.
    pub status: StepStatus,
    /// What it gave.
    pub outputs: Outputs,
}

/// Everything that expressions can name. A step that is not in it has not started.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// The inputs by name; secret ones are not among them.
    pub inputs: Value,
    /// The steps.
    pub steps: BTreeMap<StepId, StepScope>,
    /// `id`, `started_at`, `directory`, `drill`, `status`, `summary`. A member that is absent is not known yet.
    pub run: Value,
    /// `rto` and `rpo` as text, see [`crate::Plan::objectives_value`].
    pub objectives: Value,
    /// The secret inputs by name. One that was not given is absent.
    pub secret_inputs: BTreeMap<String, Secret>,
}

/// What an expression gives.
#[derive(Debug, Clone, PartialEq)]
pub enum Evaluated {
    /// A value; of an `if`, `true` or `false`.
    Value(Value),
    /// It cannot be said yet.
    Unknown {
        /// The steps that it waits for.
        waits_for: Vec<StepId>,
    },
}

impl Evaluated {
    /// Whether it is known and true.
    pub fn is_true(&self) -> bool {
        *self == Self::Value(Value::Bool(true))
    }
}

/// Nothing at all is known: what an expression gives then, it gives always.
pub(crate) struct NothingKnown;

impl Lookup for NothingKnown {
    fn find(&self, _: &Reference) -> Found {
        Found::Unknown(BTreeSet::new())
    }
}

impl Lookup for Scope {
    fn find(&self, reference: &Reference) -> Found {
        match reference.root {
            Root::Inputs => match self.secret_inputs.get(reference.name()) {
                Some(secret) => Found::Secret(secret.clone()),
                None => found(&self.inputs, reference.fields()),
            },
            Root::Steps => self.step(reference),
            Root::Run => known_or_later(&self.run, reference),
            Root::Objectives => found(&self.objectives, reference.fields()),
            Root::Env => Found::Missing,
        }
    }
}

impl Scope {
    fn step(&self, reference: &Reference) -> Found {
        let id = reference.step().unwrap_or_default();
        let Some(step) = self.steps.get(id.as_str()) else {
            return if reference.is_status() {
                Found::Value(Value::from("not-started"))
            } else {
                found(&Value::Object(Map::new()), reference.fields().skip(2))
            };
        };
        if reference.is_status() {
            return match (step.status.as_str(), id.parse()) {
                (Some(word), _) => Found::Value(Value::from(word)),
                (None, id) => Found::Unknown(id.into_iter().collect()),
            };
        }
        match &step.outputs {
            // A field that the step type declares and that was left out is nothing, not missing.
            Outputs::Known(outputs) => match found(outputs, reference.fields().skip(2)) {
                Found::Missing if step.status == StepStatus::Succeeded && is_optional_field(reference) => {
                    Found::Value(Value::Null)
                }
                found => found,
            },
            Outputs::Unknown { of, partial } => {
                let within = reference.fields().count() > 2;
                let known = partial
                    .as_ref()
                    .filter(|_| within)
                    .and_then(|value| dig(value, reference.fields().skip(2)));
                known.map_or_else(
                    || Found::Unknown(BTreeSet::from([of.clone()])),
                    |value| Found::Value(value.clone()),
                )
            }
        }
    }
}

/// A field of the outputs themselves, which the checks before the run have found to be declared.
fn is_optional_field(reference: &Reference) -> bool {
    !reference.guarded && reference.path.len() == 3
}

/// The value at the end of a way, or that there is none.
pub(crate) fn found<'p>(value: &Value, path: impl Iterator<Item = &'p str>) -> Found {
    dig(value, path).map_or(Found::Missing, |value| Found::Value(value.clone()))
}

fn known_or_later(value: &Value, reference: &Reference) -> Found {
    match found(value, reference.fields()) {
        Found::Missing => Found::Unknown(BTreeSet::new()),
        found => found,
    }
}
