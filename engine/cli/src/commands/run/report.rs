//! `jm run report`: a run told afterwards, from its journal.

use crate::args::{ReportArgs, ReportFormat};
use crate::commands::Outcome;
use crate::exit::Exit;
use crate::report::post_mortem::PostMortem;
use crate::report::summary;
use crate::ui::Ui;
use crate::{launch, project};

pub(in crate::commands) fn report(args: &ReportArgs, ui: &Ui) -> Outcome {
    let directory = super::find(&launch::state()?, args.run.as_deref())?;
    let reading = directory.read().map_err(super::unusable)?;
    if let Some(torn) = &reading.torn {
        ui.warn(torn.to_string());
    }
    let plan = launch::plan_of(&directory, &reading.records, ui)?;
    let summary = summary::of(&plan, &reading.records, &directory)?.of_now(&directory);
    let report = PostMortem::of(&plan, &reading.records, summary.facts().clone(), &directory)?;
    let text = match args.format {
        ReportFormat::Markdown => report.markdown(),
        ReportFormat::Html => report.html(),
        ReportFormat::Json => report.json(),
    };
    match &args.out {
        None => ui.answer(text.trim_end()),
        Some(file) => {
            project::write(file, &text)?;
            ui.say(format!("the report of run {} is in {}", directory.id(), file.display()));
        }
    }
    Ok(Exit::Done)
}
