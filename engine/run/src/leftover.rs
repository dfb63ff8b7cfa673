//! What a run has made and leaves behind: a database kept aside, a copy that was restored and not switched to. Somebody has
//! to know of it, or disks fill up with it.

use std::collections::{BTreeMap, BTreeSet};

use jm_plan::{Plan, PlannedStep};
use jm_step::schema::{LEFT_BEHIND, TAKEN_UP};
use jm_step::{Action, StepId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::files::RunFiles;
use crate::payload;
use crate::state::{RunState, StepEntry, StepState};

/// Something that a run leaves behind on a system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Leftover {
    /// The step that made it.
    pub step: StepId,
    /// What it is, such as `restored copy of a database`.
    pub what: String,
    /// Its name on the system.
    pub name: String,
    /// How large it is, in bytes, where that was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Whether the step ended well: what an unfinished one has made may be gone, or unfinished.
    pub finished: bool,
    /// Whether a resume takes it up, or makes it anew in its place.
    pub resumed: bool,
    /// The step that removes it.
    pub remove: Removal,
}

/// A step that removes what was left behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Removal {
    /// Its step type.
    pub uses: String,
    /// Its input.
    pub with: BTreeMap<String, String>,
}

/// Something that a step has changed, that a step of `finally` would put back, and that stands as it is while the run does
/// not go on: an application that is stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NotPutBack {
    /// The step that changed it.
    pub step: StepId,
    /// What it changed, such as ``deployment `backend-deployment` ``.
    pub objects: Vec<String>,
    /// The step of `finally` that would put it back.
    pub by: StepId,
}

/// What the schema of an output says with [`LEFT_BEHIND`].
#[derive(Deserialize)]
struct Mark {
    what: String,
    bytes: Option<String>,
    /// Step type and field.
    remove: (String, String),
    #[serde(default)]
    unfinished: bool,
}

/// What is left behind, by the outputs that are in the journal, in the order of the plan.
pub(crate) fn of(plan: &Plan, state: &RunState, files: &dyn RunFiles) -> Vec<Leftover> {
    let goes_on = state.aborted().is_none() && state.resting_status().is_resumable();
    let mut found = Vec::new();
    let mut taken = BTreeSet::new();
    for (step, entry) in plan.all_steps().zip(state.steps()) {
        let output = entry
            .output
            .as_ref()
            .and_then(|output| payload::load(files, output).ok());
        let Some(output) = output else { continue };
        let finished = entry.state == StepState::Succeeded;
        if finished {
            let names = marked(step, TAKEN_UP)
                .into_iter()
                .filter_map(|(field, _)| text(&output, &field));
            taken.extend(names);
        }
        for (field, mark) in marked(step, LEFT_BEHIND) {
            let mark = serde_json::from_value::<Mark>(mark).ok();
            let mark = mark.filter(|mark| finished || mark.unfinished);
            if let (Some(mark), Some(name)) = (mark, text(&output, &field)) {
                found.push(leftover(&step.id, mark, name, &output, (finished, goes_on)));
            }
        }
    }
    found.retain(|one: &Leftover| !taken.contains(&one.name));
    found
}

/// What is not put back yet, in the order of the plan. Nothing where `finally` has run, or decided that there is nothing to put
/// back.
pub(crate) fn not_put_back(plan: &Plan, state: &RunState, files: &dyn RunFiles) -> Vec<NotPutBack> {
    let entries = || plan.all_steps().zip(state.steps());
    let ahead: Vec<&PlannedStep> = entries()
        .filter(|(step, entry)| step.in_finally && matches!(entry.state, StepState::NotStarted { .. }))
        .map(|(step, _)| step)
        .collect();
    let stands = |(step, entry): (&PlannedStep, &StepEntry)| {
        let by = ahead.iter().find(|last| last.undoes.contains(&step.id))?;
        let was_undone = matches!(entry.state, StepState::NotStarted { .. });
        let changes = entry.changes.iter().filter(|_| !was_undone);
        let changes = changes
            .filter_map(|changes| payload::load(files, changes).ok())
            .flatten();
        let mut objects: Vec<String> = changes
            .filter(|change| change.action == Action::Update)
            .map(|change| change.object)
            .collect();
        objects.dedup();
        (!objects.is_empty()).then(|| NotPutBack {
            step: step.id.clone(),
            objects,
            by: by.id.clone(),
        })
    };
    entries().filter_map(stands).collect()
}

fn leftover(step: &StepId, mark: Mark, name: String, output: &Value, (finished, goes_on): (bool, bool)) -> Leftover {
    let (uses, field) = mark.remove;
    Leftover {
        step: step.clone(),
        what: mark.what,
        bytes: mark.bytes.and_then(|field| output.get(field)?.as_u64()),
        finished,
        resumed: goes_on && mark.unfinished,
        remove: Removal {
            uses,
            with: BTreeMap::from([(field, name.clone())]),
        },
        name,
    }
}

pub(crate) fn text(output: &Value, field: &str) -> Option<String> {
    output.get(field)?.as_str().map(str::to_owned)
}

/// The fields of a step's output that its schema marks, each with what the mark says.
pub(crate) fn marked(step: &PlannedStep, mark: &str) -> Vec<(String, Value)> {
    let schema = step.step_type.output_schema();
    let properties = schema.get("properties").and_then(Value::as_object);
    let fields = properties.into_iter().flatten();
    fields
        .filter_map(|(name, schema)| Some((name.clone(), schema.get(mark)?.clone())))
        .collect()
}
