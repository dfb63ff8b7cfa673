//! `jm run logs`: what the steps of a run wrote, attempt by attempt.

use jm_run::RunDir;

use crate::args::LogsArgs;
use crate::commands::Outcome;
use crate::exit::{CommandError, Exit};
use crate::launch;
use crate::ui::{Style, Ui};

pub(in crate::commands) fn logs(args: &LogsArgs, ui: &Ui) -> Outcome {
    let run = super::find(&launch::state()?, args.run.as_deref())?;
    let logs: Vec<_> = run
        .logs()
        .into_iter()
        .filter(|(step, ..)| args.step.as_deref().is_none_or(|wanted| wanted == step.as_str()))
        .collect();
    if let Some(step) = args.step.as_deref().filter(|_| logs.is_empty()) {
        knows(&run, step, ui)?;
    }
    if logs.is_empty() {
        let of = args
            .step
            .as_ref()
            .map(|step| format!("step `{step}` of "))
            .unwrap_or_default();
        ui.say(format!("{of}run {} wrote nothing", run.id()));
    }
    for (step, attempt, path) in logs {
        let text = run.log_text(&path).map_err(super::unusable)?;
        ui.say(ui.paint(Style::Bold, &format!("== {step}, attempt {attempt}")));
        text.lines().for_each(|line| ui.out(line));
    }
    Ok(Exit::Done)
}

/// A step that the plan does not have wrote nothing either, but that is not what is to be said about it.
fn knows(run: &RunDir, step: &str, ui: &Ui) -> Result<(), CommandError> {
    let records = run.read_readable().map_err(super::unusable)?.0.records;
    let plan = launch::plan_of(run, &records, ui)?;
    if plan.step(step).is_some() {
        return Ok(());
    }
    let all: Vec<String> = plan.all_steps().map(|step| format!("`{}`", step.id)).collect();
    Err(CommandError::usage(format!("run {} has no step `{step}`", run.id()))
        .hint(format!("its steps are {}", all.join(", "))))
}
