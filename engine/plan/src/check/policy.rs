//! What the schema cannot say: circles, and what a good recovery plan owes its reader.

use crate::code::Code;
use crate::compile::{Traits, Work};
use crate::error::{PlanError, Problems};
use crate::graph::{Draft, Edge};

/// Reports steps that wait for each other, each circle whole.
pub(crate) fn cycles(work: &Work<'_>, draft: &Draft, problems: &mut Problems) {
    for cycle in draft.cycles() {
        problems.push(circle(work, &cycle));
    }
}

fn circle(work: &Work<'_>, cycle: &[&Edge]) -> PlanError {
    let id = |step: usize| work.steps[step].id();
    let mut way: Vec<&str> = cycle.iter().map(|edge| id(edge.before)).collect();
    way.extend(way.first().copied());
    let message = format!("steps wait for each other: {}", way.join(" → "));
    let Some((first, rest)) = cycle.split_first() else {
        return PlanError::nowhere(Code::Cycle, message);
    };
    let label = |edge: &Edge| format!("`{}` waits for `{}`", id(edge.after), id(edge.before));
    let error = PlanError::at(Code::Cycle, first.span, message).label(label(first));
    let error = rest.iter().fold(error, |error, edge| error.also(edge.span, label(edge)));
    error.help("remove the dependency that is not meant")
}

/// Everything else.
pub(crate) fn check(_work: &Work<'_>, _draft: &Draft, _traits: &[Option<Traits>], _problems: &mut Problems) {}
