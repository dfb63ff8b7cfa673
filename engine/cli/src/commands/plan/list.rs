//! `jm plan list`.

use jm_plan::{PlanSpec, duration};
use serde_json::json;

use crate::args::{Format, ListArgs};
use crate::commands::Outcome;
use crate::exit::Exit;
use crate::project;
use crate::report::table;
use crate::ui::Ui;

pub(in crate::commands) fn list(args: &ListArgs, ui: &Ui) -> Outcome {
    let mut plans = Vec::new();
    for file in project::yaml_files(std::slice::from_ref(&args.directory))? {
        let text = project::read(&file)?;
        if !project::is_targets(&text) {
            plans.push((
                file.display().to_string(),
                jm_plan::parse(&file.display().to_string(), &text).0,
            ));
        }
    }
    match args.format {
        Format::Json => {
            let entries: Vec<_> = plans
                .iter()
                .map(|(file, document)| {
                    let spec = document.spec();
                    json!({
                        "file": file,
                        "name": spec.name.as_ref().map(|name| &name.value),
                        "title": spec.title,
                        "description": spec.description,
                        "rto_seconds": spec.objectives.rto.as_ref().map(|rto| rto.value.as_secs()),
                        "rpo_seconds": spec.objectives.rpo.as_ref().map(|rpo| rpo.value.as_secs()),
                    })
                })
                .collect();
            ui.out(format!("{:#}", json!({ "version": 1, "plans": entries })));
        }
        Format::Human => {
            let rows: Vec<Vec<String>> = plans
                .iter()
                .map(|(file, document)| {
                    let spec = document.spec();
                    vec![file.clone(), objectives(spec), spec.title.clone().unwrap_or_default()]
                })
                .collect();
            ui.out_all(&table::render(&["PLAN", "OBJECTIVES", "TITLE"], &rows, ui.page()));
        }
    }
    Ok(Exit::Done)
}

/// The objectives in short: `RTO 30m, RPO 1d`.
fn objectives(spec: &PlanSpec) -> String {
    let both = [
        ("RTO", spec.objectives.rto.as_ref()),
        ("RPO", spec.objectives.rpo.as_ref()),
    ];
    let known = both
        .into_iter()
        .filter_map(|(name, duration)| Some(format!("{name} {}", duration::show(duration?.value))));
    known.collect::<Vec<_>>().join(", ")
}
