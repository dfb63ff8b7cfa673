//! `jm plan list`.

use jm_plan::{PlanSpec, duration};
use schemars::JsonSchema;
use serde::Serialize;

use crate::args::{Format, ListArgs};
use crate::commands::Outcome;
use crate::exit::Exit;
use crate::project;
use crate::report::document::Document;
use crate::report::table;
use crate::ui::Ui;

/// The plans in a directory.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::commands) struct PlanList {
    /// By their files.
    plans: Vec<ListedPlan>,
}

/// A plan in short.
#[derive(Debug, Serialize, JsonSchema)]
struct ListedPlan {
    /// The file, as it was found.
    file: String,
    /// Its name; none where the file does not say it.
    name: Option<String>,
    /// Its title.
    title: Option<String>,
    /// What it is for.
    description: Option<String>,
    /// The time in which it promises to be done.
    rto_seconds: Option<u64>,
    /// The data that it promises to lose at most, in time.
    rpo_seconds: Option<u64>,
}

impl ListedPlan {
    fn of(file: &str, spec: &PlanSpec) -> Self {
        Self {
            file: file.to_owned(),
            name: spec.name.as_ref().map(|name| name.value.clone()),
            title: spec.title.clone(),
            description: spec.description.clone(),
            rto_seconds: spec.objectives.rto.as_ref().map(|rto| rto.value.as_secs()),
            rpo_seconds: spec.objectives.rpo.as_ref().map(|rpo| rpo.value.as_secs()),
        }
    }
}

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
            let plans = plans
                .iter()
                .map(|(file, document)| ListedPlan::of(file, document.spec()));
            Document::of(PlanList { plans: plans.collect() }).print(ui);
        }
        Format::Human => {
            let rows: Vec<Vec<String>> = plans
                .iter()
                .map(|(file, document)| {
                    let spec = document.spec();
                    vec![file.clone(), objectives(spec), spec.title.clone().unwrap_or_default()]
                })
                .collect();
            ui.out_all(&table::flowing(&["PLAN", "OBJECTIVES", "TITLE"], &rows, ui.page()));
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
