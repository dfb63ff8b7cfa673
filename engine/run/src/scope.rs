//! What expressions see, kept up to date step by step.

use std::collections::BTreeSet;

use jm_plan::{OnFailure, Outputs, Scope, StepScope, StepStatus};
use jm_step::{StepError, clock};
use serde_json::{Map, Value, json};

use crate::files::RunFiles;
use crate::journal::RunStatus;
use crate::payload;
use crate::run::Run;
use crate::schedule;
use crate::state::{RunState, StepEntry, StepState};

/// The scope of a run before its first step.
pub(crate) fn opening(run: &Run) -> Scope {
    Scope {
        inputs: Value::Object(run.plain_inputs()),
        steps: std::collections::BTreeMap::new(),
        run: json!({}),
        objectives: run.plan.objectives_value(),
        secret_inputs: run.secret_inputs.clone(),
    }
}

/// Takes over what became of some steps.
pub(crate) fn refresh(
    scope: &mut Scope,
    state: &RunState,
    touched: &BTreeSet<usize>,
    files: &dyn RunFiles,
) -> Result<(), StepError> {
    for i in touched {
        let entry = state.entry(*i);
        let seen = StepScope {
            status: status(&entry.state),
            outputs: Outputs::Known(outputs(entry, files)?),
        };
        scope.steps.insert(entry.id.clone(), seen);
    }
    Ok(())
}

fn outputs(entry: &StepEntry, files: &dyn RunFiles) -> Result<Value, StepError> {
    let output = entry
        .output
        .as_ref()
        .map(|output| payload::load(files, output))
        .transpose()?;
    Ok(output
        .filter(Value::is_object)
        .unwrap_or_else(|| Value::Object(Map::new())))
}

pub(crate) fn status(state: &StepState) -> StepStatus {
    match state {
        StepState::NotStarted { .. } => StepStatus::NotStarted,
        StepState::Succeeded => StepStatus::Succeeded,
        StepState::Failed { .. } => StepStatus::Failed,
        StepState::Skipped { .. } => StepStatus::Skipped,
        StepState::Blocked { .. } => StepStatus::Blocked,
        StepState::Running | StepState::Retrying { .. } | StepState::Unclear { .. } | StepState::Awaiting { .. } => {
            StepStatus::Running
        }
    }
}

/// Where it was started. A run of an older jm goes by where it is taken up, as it did then.
pub(crate) fn directory(run: &Run) -> &str {
    run.directory.as_deref().unwrap_or(".")
}

/// What `run` is to expressions. Steps of `finally` see the status that the run will end with.
pub(crate) fn run_value(run: &Run, state: &RunState, in_finally: bool) -> Value {
    let status = in_finally.then(|| schedule::status(state));
    json!({
        "id": run.info.id,
        "plan": run.info.plan,
        "started_at": run.info.started_at,
        "directory": directory(run),
        "drill": run.info.drill,
        "status": status.map_or("running", RunStatus::as_str),
        "summary": headline(run, state, status),
    })
}

/// The run in a sentence or two: what messages say.
pub(crate) fn headline(run: &Run, state: &RunState, status: Option<RunStatus>) -> String {
    let main = run.plan.steps().len();
    let settled = main.saturating_sub(state.frontier().unsettled());
    let name = run.plan.title().unwrap_or(run.plan.name());
    let drill = if run.info.drill { " (drill)" } else { "" };
    let Some(status) = status else {
        return format!("{name}{drill}: running, {settled} of {main} steps done");
    };
    let since = state
        .opened()
        .map_or(run.info.started_at, |opened| opened.run.started_at);
    let took = std::time::Duration::try_from(clock::now().duration_since(since)).unwrap_or_default();
    let took = jm_plan::duration::show(std::time::Duration::from_secs(took.as_secs()));
    let mut parts = vec![format!(
        "{name}{drill}: {status} after {took}, {settled} of {main} steps done"
    )];
    let graph = state.frontier().graph();
    for step in graph.main().filter(|i| graph.node(*i).on_failure == OnFailure::Fail) {
        let entry = state.entry(step);
        if let Some(error) = entry.failure() {
            parts.push(format!("`{}` failed: {}", entry.id, error.message));
        }
    }
    if let Some(who) = state.aborted() {
        parts.push(format!("aborted by {who}"));
    }
    for (step, reason) in state.degraded().take(5) {
        parts.push(format!("`{step}` degraded: {reason}"));
    }
    parts.join("; ")
}
