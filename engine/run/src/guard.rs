//! What stands between a run and something that cannot be taken back, and who may say yes to it.

use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use jm_plan::{Plan, PlannedStep};
use jm_step::schema::{RECOVERY_POINT, STILL_SERVED, STOPS_WRITING, WRITTEN_UNTIL};
use jm_step::{Answer, Effect, StepError, StepId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::graph::Graph;
use crate::state::{RunState, StepState};

/// Marks a field of an output that is there once a person has said yes.
const APPROVAL: &str = "x-jm-approval";

/// How much of the data the recovery loses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct DataLoss {
    /// The moment to which data is brought back.
    #[schemars(with = "String")]
    pub recovery_point: Timestamp,
    /// From there to the moment from which on nothing was written any more, in seconds.
    pub seconds: u64,
    /// What the plan promises, in seconds.
    pub objective: Option<u64>,
    /// Whether the old data is still served; `None` where no step says so.
    pub still_served: Option<bool>,
}

impl DataLoss {
    /// The window of lost data.
    pub fn window(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// The window for people, from an hour on in whole minutes: `26h5m`.
    pub fn shown(&self) -> String {
        const HOUR: u64 = 3600;
        let unit = if self.seconds < HOUR { 1 } else { 60 };
        jm_plan::duration::show(Duration::from_secs(self.seconds / unit * unit))
    }

    /// Whether it is more than the plan promises.
    pub fn is_missed(&self) -> bool {
        self.objective.is_some_and(|objective| self.seconds > objective)
    }
}

/// What a guard asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GuardQuestion {
    /// May steps that cannot be taken back touch protected targets?
    Protected {
        /// The targets' name, such as `production`.
        targets: String,
        /// The steps.
        steps: Vec<StepId>,
    },
    /// May so much data be lost, while the old data is still served?
    DataLoss {
        /// The step that would make it final.
        step: StepId,
        /// What is lost.
        loss: DataLoss,
    },
}

/// What a person says to a guard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Consent {
    /// Go on.
    Yes {
        /// Who says so.
        who: String,
    },
    /// Do not.
    No,
    /// There is nobody to ask.
    Absent,
}

/// Somebody who can be asked while the run goes on.
pub trait Person: Send + Sync {
    /// A guard's question.
    fn consent<'a>(&'a self, question: &'a GuardQuestion) -> BoxFuture<'a, Consent>;

    /// A step's question. `None` where nobody is there: then the run waits for `jm run approve`.
    fn answer<'a>(&'a self, step: &'a StepId, question: &'a str) -> BoxFuture<'a, Option<Answer>>;
}

/// What is lost, as far as the outputs say where the recovery goes back to: the earliest point that any of them names.
///
/// `outputs` gives the output of a step that succeeded; `now` counts as long as the old data is written.
pub(crate) fn data_loss<'o>(
    plan: &Plan,
    state: &RunState,
    outputs: impl Fn(&StepId) -> Option<&'o Value>,
    now: Timestamp,
) -> Option<DataLoss> {
    let known: Vec<(&PlannedStep, &Value)> = plan
        .steps()
        .iter()
        .filter_map(|step| Some((step, outputs(&step.id)?)))
        .collect();
    let marked = |mark: &'static str| {
        known
            .iter()
            .flat_map(move |(step, output)| marked_fields(step, output, mark))
    };
    let moments = |mark| marked(mark).filter_map(|value| value.as_str()?.parse::<Timestamp>().ok());
    let recovery_point = moments(RECOVERY_POINT).min()?;
    let served: Vec<bool> = marked(STILL_SERVED).filter_map(Value::as_bool).collect();
    let still_served = (!served.is_empty()).then(|| served.contains(&true));
    let until = match still_served {
        Some(true) => written_until(plan, state)
            .max(moments(WRITTEN_UNTIL).max())
            .unwrap_or(now),
        // Nobody knows since when nothing is served: since that was seen, at the latest.
        Some(false) => all_ended(plan, state, |step| !names_marked(step, STILL_SERVED).is_empty()).unwrap_or(now),
        None => state.session_at().unwrap_or(now),
    };
    Some(DataLoss {
        recovery_point,
        seconds: u64::try_from(until.duration_since(recovery_point).as_secs()).unwrap_or(0),
        objective: plan.objectives().rpo.map(|rpo| rpo.as_secs()),
        still_served,
    })
}

/// From when on old data that was served is not written any more: all steps that stop writing have succeeded, or, in a plan
/// without them, those that cannot be taken back. `None` as long as it may be written.
fn written_until(plan: &Plan, state: &RunState) -> Option<Timestamp> {
    if plan
        .steps()
        .iter()
        .any(|step| stops_writing(step) && !is_skipped(state, step))
    {
        all_ended(plan, state, stops_writing)
    } else {
        all_ended(plan, state, |step| step.effect == Effect::Irreversible)
    }
}

/// When the last of these steps succeeded, those that were skipped left out; `None` as long as one has not.
fn all_ended(plan: &Plan, state: &RunState, is_one: impl Fn(&PlannedStep) -> bool) -> Option<Timestamp> {
    let steps = plan
        .steps()
        .iter()
        .filter(|step| is_one(step) && !is_skipped(state, step));
    let ended = steps.map(|step| {
        let entry = state.step(step.id.as_str())?;
        entry.ended_at.filter(|_| entry.state == StepState::Succeeded)
    });
    ended.collect::<Option<Vec<_>>>()?.into_iter().max()
}

fn is_skipped(state: &RunState, step: &PlannedStep) -> bool {
    let entry = state.step(step.id.as_str());
    entry.is_some_and(|entry| matches!(entry.state, StepState::Skipped { .. }))
}

fn stops_writing(step: &PlannedStep) -> bool {
    step.step_type.output_schema().get(STOPS_WRITING) == Some(&Value::Bool(true))
}

fn marked_fields<'v>(step: &PlannedStep, output: &'v Value, mark: &str) -> Vec<&'v Value> {
    let names = names_marked(step, mark);
    names.iter().filter_map(|name| output.get(name)).collect()
}

/// The fields of a step's output that its schema marks.
fn names_marked(step: &PlannedStep, mark: &str) -> Vec<String> {
    let schema = step.step_type.output_schema();
    let properties = schema.get("properties").and_then(Value::as_object);
    let marked = properties
        .into_iter()
        .flatten()
        .filter(|(_, schema)| schema.get(mark).is_some_and(|value| *value == Value::Bool(true)));
    marked.map(|(name, _)| name.clone()).collect()
}

/// Whether a step before this one asks a person whether to go on: then the yes to that is word enough, and the run may
/// begin without another. A step that only proves something asks nobody.
pub(crate) fn is_asked_before(graph: &Graph, planned: &[&PlannedStep], step: usize) -> bool {
    let asks = |before: &usize| !names_marked(planned[*before], APPROVAL).is_empty();
    graph.before(step).iter().any(asks)
}

/// The main steps that are yet to come and cannot be taken back, as far as a run goes that stops before `until`. None where
/// a person has ended it: then they never come.
pub(crate) fn irreversible_ahead(graph: &Graph, state: &RunState, until: Option<usize>) -> Vec<usize> {
    if state.aborted().is_some() {
        return Vec::new();
    }
    let stops = |until: &usize| matches!(state.entry(*until).state, StepState::NotStarted { .. });
    let beyond = until.filter(stops).map(|until| graph.beyond(until));
    let is_ahead =
        |i: &usize| !state.entry(*i).state.is_passed() && beyond.as_ref().is_none_or(|beyond| !beyond.contains(i));
    let irreversible = graph.main().filter(|i| graph.node(*i).effect == Effect::Irreversible);
    irreversible.filter(is_ahead).collect()
}

/// Why a loss may not be taken; `None` where it may.
pub(crate) fn objection(loss: &DataLoss, accepted: Option<Duration>) -> Option<StepError> {
    if !loss.is_missed()
        || loss.still_served == Some(false)
        || accepted.is_some_and(|accepted| accepted >= loss.window())
    {
        return None;
    }
    let window = loss.shown();
    let objective = jm_plan::duration::show(Duration::from_secs(loss.objective.unwrap_or_default()));
    let message = format!(
        "{window} of data would be lost, from {} on, and the plan promises at most {objective}, while the old data is still served",
        loss.recovery_point
    );
    let round_up = jm_plan::duration::show(Duration::from_secs(with_margin(loss.seconds)));
    Some(StepError::refused(message).hint(format!(
        "find a newer backup, or accept the loss with `--accept-data-loss {round_up}`"
    )))
}

/// A loss in whole hours, in seconds, with some minutes until somebody has typed it: it grows meanwhile.
pub(crate) fn with_margin(seconds: u64) -> u64 {
    const TYPING: u64 = 10 * 60;
    const HOUR: u64 = 3600;
    (seconds + TYPING).div_ceil(HOUR) * HOUR
}

/// Why protected targets may not be touched.
pub(crate) fn protected_objection(targets: &str, step: &StepId) -> StepError {
    StepError::refused(format!(
        "step `{step}` cannot be taken back, and targets `{targets}` are protected"
    ))
    .hint(format!(
        "confirm with `--confirm {targets}`, or let a step before it ask for approval"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(hours: u64, objective: Option<u64>, still_served: Option<bool>) -> DataLoss {
        DataLoss {
            recovery_point: Timestamp::UNIX_EPOCH,
            seconds: hours * 3600,
            objective: objective.map(|hours| hours * 3600),
            still_served,
        }
    }

    #[test]
    fn recovery_is_refused_only_while_something_could_be_lost_by_it() {
        assert!(
            objection(&loss(26, Some(24), Some(false)), None).is_none(),
            "nothing is served any more"
        );
        assert!(
            objection(&loss(23, Some(24), Some(true)), None).is_none(),
            "within the objective"
        );
        assert!(
            objection(&loss(26, None, Some(true)), None).is_none(),
            "nothing was promised"
        );
        for served in [Some(true), None] {
            let refused = objection(&loss(26, Some(24), served), None).expect("refused");
            assert_eq!(refused.kind(), jm_step::StepErrorKind::Refused);
            assert!(
                refused
                    .hint_text()
                    .is_some_and(|hint| hint.contains("--accept-data-loss 27h")),
                "{refused:?}"
            );
        }
        let accepted = |hours: u64| objection(&loss(26, Some(24), Some(true)), Some(Duration::from_secs(hours * 3600)));
        assert!(accepted(25).is_some());
        assert!(accepted(26).is_none());
    }
}
