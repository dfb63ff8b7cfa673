//! `jm run show`: what a run did, how long it took, what failed and what to do next.

use crate::args::{Format, RunArgs};
use crate::commands::Outcome;
use crate::exit::Exit;
use crate::launch;
use crate::report::summary;
use crate::ui::Ui;

pub(in crate::commands) fn show(args: &RunArgs, ui: &Ui) -> Outcome {
    let directory = super::find(&launch::state()?, args.run.as_deref())?;
    let (reading, damage) = directory.read_readable().map_err(super::unusable)?;
    if let Some(torn) = &reading.torn {
        ui.warn(torn.to_string());
    }
    let plan = launch::plan_of(&directory, &reading.records, ui)?;
    let summary = summary::of(&plan, &reading.records, &directory)?;
    let summary = match &damage {
        Some(_) => summary.up_to_damage(),
        None => summary.of_now(&directory),
    };
    match args.format {
        Format::Json => summary.document(None).print(ui),
        Format::Human => summary.show(ui),
    }
    damage.map_or(Ok(Exit::Done), |damage| Err(super::unusable(damage)))
}
