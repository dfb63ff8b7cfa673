//! What a resume has to be told, for it to pass where nobody can be asked.

use jm_plan::{Plan, PlannedStep};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::guard::{self, DataLoss};
use crate::state::RunState;

/// What a guard wants to hear before it lets a resume pass where nobody can be asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Words {
    /// What is yet to come cannot be taken back, and is meant.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub yes: bool,
    /// The name of the targets that steps may touch which cannot be taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<String>,
    /// So much of the data may be lost, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept_data_loss: Option<u64>,
}

impl Words {
    /// Whether nothing has to be said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn of(plan: &Plan, state: &RunState, loss: Option<&DataLoss>) -> Self {
        let graph = state.frontier().graph();
        let ahead = guard::irreversible_ahead(graph, state, None);
        if ahead.is_empty() || !state.resting_status().is_resumable() {
            return Self::default();
        }
        let planned: Vec<&PlannedStep> = plan.all_steps().collect();
        let unasked = ahead.iter().any(|step| !guard::is_asked_before(graph, &planned, *step));
        let protected = state.opened().filter(|opened| opened.protected && unasked);
        let lost = loss.filter(|loss| guard::objection(loss, None).is_some());
        Self {
            // A drill asks nothing.
            yes: !state.opened().is_some_and(|opened| opened.run.drill),
            confirm: protected.map(|opened| opened.targets.clone()),
            accept_data_loss: lost.map(|loss| guard::with_margin(loss.seconds)),
        }
    }
}
