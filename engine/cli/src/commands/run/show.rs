//! `jm run show`: what a run did, how long it took, what failed and what to do next.

use crate::args::{Format, RunArgs};
use crate::commands::Outcome;
use crate::exit::Exit;
use crate::launch;
use crate::report::summary;
use crate::ui::Ui;

pub(in crate::commands) fn show(args: &RunArgs, ui: &Ui) -> Outcome {
    let directory = super::find(&launch::state()?, args.run.as_deref())?;
    let records = directory.read().map_err(super::unusable)?;
    if let Some(torn) = &records.torn {
        ui.warn(torn.to_string());
    }
    let plan = launch::plan_of(&directory, &records.records, ui)?;
    let summary = summary::of(&plan, &records.records, &directory)?;
    match args.format {
        Format::Json => ui.out(summary.to_json(&serde_json::Map::new())),
        Format::Human => summary.print(ui),
    }
    Ok(Exit::Done)
}
