//! `jm step list`.

use jm_step::{AnyStepType, Effect};
use schemars::JsonSchema;
use serde::Serialize;

use crate::args::{Format, StepListArgs};
use crate::commands::Outcome;
use crate::exit::Exit;
use crate::report::document::Document;
use crate::report::{table, words};
use crate::ui::Ui;

/// All step types.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::commands) struct StepList {
    /// By their names.
    step_types: Vec<ListedStepType>,
}

/// A step type in short.
#[derive(Debug, Serialize, JsonSchema)]
struct ListedStepType {
    /// Such as `postgres.switch`.
    name: &'static str,
    /// What it does.
    summary: &'static str,
    /// The most that it can do to the world.
    effect: Effect,
    /// Whether it asks a person.
    gate: bool,
}

impl ListedStepType {
    fn of(step_type: &dyn AnyStepType) -> Self {
        Self {
            name: step_type.name(),
            summary: step_type.summary(),
            effect: step_type.most_effect(),
            gate: step_type.is_gate(),
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "every command has this form")]
pub(in crate::commands) fn list(args: &StepListArgs, ui: &Ui) -> Outcome {
    let registry = crate::providers::registry();
    match args.format {
        Format::Json => {
            let step_types = registry
                .step_types()
                .map(|one| ListedStepType::of(one.as_ref()))
                .collect();
            Document::of(StepList { step_types }).print(ui);
        }
        Format::Human => {
            let rows: Vec<Vec<String>> = registry
                .step_types()
                .map(|one| {
                    vec![
                        one.name().to_owned(),
                        words::effect(one.most_effect()).to_owned(),
                        one.summary().to_owned(),
                    ]
                })
                .collect();
            ui.out_all(&table::flowing(
                &["STEP TYPE", "EFFECT", "WHAT IT DOES"],
                &rows,
                ui.page(),
            ));
        }
    }
    Ok(Exit::Done)
}
