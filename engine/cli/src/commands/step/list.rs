//! `jm step list`.

use serde_json::json;

use crate::args::{Format, StepListArgs};
use crate::commands::Outcome;
use crate::exit::Exit;
use crate::report::{table, words};
use crate::ui::Ui;

#[expect(clippy::unnecessary_wraps, reason = "every command has this form")]
pub(in crate::commands) fn list(args: &StepListArgs, ui: &Ui) -> Outcome {
    let registry = crate::providers::registry();
    match args.format {
        Format::Json => {
            let types: Vec<_> = registry
                .step_types()
                .map(|one| json!({ "name": one.name(), "summary": one.summary(), "effect": one.most_effect(), "gate": one.is_gate() }))
                .collect();
            ui.out(format!("{:#}", json!({ "version": 1, "step_types": types })));
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
            ui.out_all(&table::render(
                &["STEP TYPE", "EFFECT", "WHAT IT DOES"],
                &rows,
                ui.page(),
            ));
        }
    }
    Ok(Exit::Done)
}
