//! What a run has made on a machine, and what is not there any more: after a reboot, or where another machine goes on.

use std::path::{Path, PathBuf};

use jm_plan::{Outputs, Scope, StepScope, StepStatus};
use jm_step::schema::ON_THIS_MACHINE;
use serde_json::Value;

use crate::leftover::{marked, text};
use crate::run::Run;
use crate::state::{RunState, StepState};
use crate::{payload, scope};

/// A file or folder that a step made, and that is not there any more.
pub(crate) struct Gone {
    /// The step.
    pub(crate) step: usize,
    /// Where it was.
    pub(crate) path: PathBuf,
    /// The main steps whose inputs name it.
    pub(crate) named_by: Vec<usize>,
}

/// All that is gone, in the order of the plan. What cannot be looked at counts as there: whatever needs it will tell.
pub(crate) fn of(run: &Run, state: &RunState) -> Vec<Gone> {
    let mut gone = missing(run, state);
    if gone.is_empty() {
        return gone;
    }
    let scope = known(run, state);
    for (number, step) in run.plan.steps().iter().enumerate() {
        let Ok(input) = step.input.render(&scope) else { continue };
        for one in &mut gone {
            if names(&input.value, &one.path) {
                one.named_by.push(number);
            }
        }
    }
    gone
}

fn missing(run: &Run, state: &RunState) -> Vec<Gone> {
    let mut gone = Vec::new();
    for (number, (step, entry)) in run.plan.steps().iter().zip(state.steps()).enumerate() {
        let marks = marked(step, ON_THIS_MACHINE);
        // What a person knows to be done is not looked at.
        if marks.is_empty() || entry.state != StepState::Succeeded || entry.by_person {
            continue;
        }
        let output = entry.output.as_ref();
        let Some(output) = output.and_then(|output| payload::load(&*run.files, output).ok()) else {
            continue;
        };
        let paths = marks.iter().filter_map(|(field, _)| text(&output, field));
        let gone_ones = paths
            .map(PathBuf::from)
            .filter(|path| matches!(path.try_exists(), Ok(false)));
        gone.extend(gone_ones.map(|path| Gone {
            step: number,
            path,
            named_by: Vec::new(),
        }));
    }
    gone
}

/// What expressions see before the run goes on: what is not done yet gives out nothing that is known.
fn known(run: &Run, state: &RunState) -> Scope {
    let mut scope = scope::opening(run);
    // Without it nobody would know what an input names that says of it what holds by default.
    scope.run = scope::run_value(run, state, false);
    for (number, entry) in state.steps().iter().enumerate() {
        let seen = scope::refresh(&mut scope, state, &[number].into(), &*run.files);
        if seen.is_err() || !entry.state.is_settled() {
            let outputs = Outputs::Unknown {
                of: entry.id.clone(),
                partial: None,
            };
            let unknown = StepScope {
                status: StepStatus::Unknown,
                outputs,
            };
            scope.steps.insert(entry.id.clone(), unknown);
        }
    }
    scope
}

/// Whether an input names a path, or something in it.
fn names(input: &Value, path: &Path) -> bool {
    match input {
        Value::String(text) => text_names(text, path),
        Value::Array(items) => items.iter().any(|item| names(item, path)),
        Value::Object(fields) => fields.values().any(|field| names(field, path)),
        _ => false,
    }
}

/// A whole path stands out in the middle of words, such as those of a command; a relative one does not.
fn text_names(text: &str, path: &Path) -> bool {
    let Some(whole) = path.to_str().filter(|_| path.is_absolute()) else {
        return Path::new(text).starts_with(path);
    };
    let mut places = text.match_indices(whole);
    places.any(|(at, _)| {
        let next = text[at + whole.len()..].chars().next();
        next.is_none_or(|next| !next.is_alphanumeric() && !matches!(next, '-' | '_' | '.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_named_by_itself_and_by_what_is_in_it_and_by_no_longer_name() {
        let named = |text: &str, path: &str| names(&serde_json::json!({ "all": [text] }), Path::new(path));
        for text in ["/tmp/a", "/tmp/a/dist", "ls '/tmp/a'; true", "/private/tmp/a/dist"] {
            assert!(named(text, "/tmp/a"), "{text}");
        }
        for text in ["/tmp/ab", "/tmp/a-1", "/tmp/a.old", "/tmp", "a"] {
            assert!(!named(text, "/tmp/a"), "{text}");
        }
        assert!(named("a", "a") && named("a/b", "a"));
        assert!(!named("ab", "a") && !named("b/a", "a"));
    }
}
