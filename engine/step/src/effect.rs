//! Two promises that the author of a step type writes down: what it can do, and whether it may be done twice.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a step can do to the world: what a reviewer and the point of no return see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// Looks, and changes nothing.
    ReadOnly,
    /// Changes something that a later step or a person can put back.
    Reversible,
    /// Cannot be taken back.
    Irreversible,
}

/// What resume may do with a step whose end was never recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Repeat {
    /// Twice equals once.
    Safe,
    /// Only after the probe said that it did not happen.
    Probe,
}

/// An input as far as it is known when the plan is checked: what waits for the output of a step is absent.
#[derive(Debug, Clone, PartialEq)]
pub struct Known(Value);

impl Known {
    /// Wraps an input from which the unknown parts were left out.
    pub fn new(value: Value) -> Self {
        Self(value)
    }

    /// The value at a top-level field, `None` where it was not given or is not known yet.
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(field)
    }

    /// The text at a top-level field.
    pub fn text(&self, field: &str) -> Option<&str> {
        self.get(field).and_then(Value::as_str)
    }

    /// All that is known.
    pub fn value(&self) -> &Value {
        &self.0
    }
}
