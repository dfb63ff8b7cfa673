//! `jm plan resume`: goes on with a run that stopped, failed, waits or was killed, with the plan that is in its journal.

use std::path::PathBuf;
use std::sync::Arc;

use jm_plan::{Arguments, Mode};
use jm_run::journal::{self, FileJournal, Opened, Reading};
use jm_run::{IllegalTransition, RunDir, RunState, StateDir, StepState};
use jm_step::StepId;

use super::drift::Drift;
use crate::args::ResumeArgs;
use crate::commands::carry::Telling;
use crate::commands::{Outcome, block_on, carry, run as run_commands};
use crate::exit::{CommandError, Exit};
use crate::project;
use crate::session::Source;
use crate::ui::Ui;
use crate::{environment, launch};

/// Goes on with a run: the one that is named, else the newest that has something left to do.
pub(in crate::commands) fn resume(args: &ResumeArgs, ui: &Ui) -> Outcome {
    let state = launch::state()?;
    let directory = find(&state, args.run.as_deref())?;
    let (mut journal, reading) = read(&directory, args.dry_run)?;
    if let Some(torn) = &reading.torn {
        ui.warn(torn.to_string());
    }
    let stands = RunState::replay(&reading.records).map_err(not_whole)?;
    let opened = opened(&stands, &directory)?;
    let registry = crate::providers::registry();
    let text = directory.plan().map_err(run_commands::unusable)?;
    let source = Source::of(
        &format!("{} (of run {})", opened.run.plan, directory.id().short()),
        &text,
        targets(args),
    )?;
    let arguments = Arguments::from_journal(&source.document, &launch::all_inputs(&opened, &directory)?);
    let plan = source.compile(&registry, &arguments, Mode::Run, ui)?;
    let mut run = launch::assemble(
        plan,
        opened.run.clone(),
        source.targets.as_ref(),
        &registry,
        &args.options,
        ui,
    )?;
    run.files = Arc::new(directory.clone());
    if let Some(step) = &run.options.until {
        not_past(step, &stands)?;
    }
    let mut telling = Telling::of(&args.options, args.format)?;
    if let Some(drift) = Drift::of(&opened, &text) {
        drift.say(directory.id().short(), ui);
        telling.besides.insert("plan_file".to_owned(), drift.to_json());
    }
    if args.dry_run {
        launch::remember(&mut run)?;
        return carry::dry_run(&run, &reading.records, &telling, ui);
    }
    let Some(journal) = journal.as_mut() else {
        return Err(CommandError::new(Exit::Bug, "the journal is not open"));
    };
    ui.say(format!("resuming run {} of {}", directory.id(), opened.run.plan));
    super::run::lock(&mut run, &state.locks())?;
    run.supervisor = launch::supervisor()?;
    block_on(carry::run(run, &directory, &reading.records, journal, &telling, ui))?
}

/// The run that is named, else the newest that has something left to do.
fn find(state: &StateDir, name: Option<&str>) -> Result<RunDir, CommandError> {
    if name.is_some() {
        return run_commands::find(state, name);
    }
    let runs = state.runs().map_err(run_commands::unusable)?;
    let resumable = |run: &RunDir| {
        let reading = run.read().ok()?;
        let state = RunState::replay(&reading.records).ok()?;
        (!run.is_alive() && state.resting_status().is_resumable()).then_some(())
    };
    runs.into_iter().find(|run| resumable(run).is_some()).ok_or_else(|| {
        CommandError::usage("there is nothing to resume")
            .hint("`jm run list` shows the runs of this machine; `jm plan run PLAN` begins one")
    })
}

fn read(directory: &RunDir, dry_run: bool) -> Result<(Option<FileJournal>, Reading), CommandError> {
    if dry_run {
        return Ok((
            None,
            journal::read(&directory.journal()).map_err(run_commands::unusable)?,
        ));
    }
    let (journal, reading) = FileJournal::open(directory.path()).map_err(run_commands::unusable)?;
    Ok((Some(journal), reading))
}

fn opened(state: &RunState, directory: &RunDir) -> Result<Opened, CommandError> {
    let opened = state.opened().cloned().ok_or_else(|| {
        CommandError::state(format!("run {} never began", directory.id()))
            .hint("nothing was done: begin anew with `jm plan run`")
    })?;
    match state.closed() {
        Some(status) if !status.is_resumable() => Err(CommandError::usage(format!(
            "run {} is {status}: there is nothing to resume",
            directory.id()
        ))
        .hint("`jm run show` tells what it did")),
        _ => Ok(opened),
    }
}

/// A run that has come to a step cannot stop before it any more.
fn not_past(step: &StepId, state: &RunState) -> Result<(), CommandError> {
    let where_it_stands = match state.step(step.as_str()).map(|entry| &entry.state) {
        Some(StepState::Succeeded) => "done",
        Some(StepState::Skipped { .. }) => "skipped",
        Some(
            StepState::Running
            | StepState::Retrying { .. }
            | StepState::Unclear { .. }
            | StepState::Awaiting { .. }
            | StepState::Failed { unclear: true, .. },
        ) => "under way",
        _ => return Ok(()),
    };
    Err(CommandError::usage(format!(
        "step `{step}` is {where_it_stands}: the run cannot stop before it"
    ))
    .hint("`jm run show` tells where the run stands"))
}

fn not_whole(error: IllegalTransition) -> CommandError {
    CommandError::state("the journal does not hang together").cause(&error)
}

/// The targets file: the one that is named, else the one that lies where plans lie.
fn targets(args: &ResumeArgs) -> Option<PathBuf> {
    args.targets
        .clone()
        .or_else(|| environment::variable("JM_TARGETS").map(PathBuf::from))
        .or_else(|| project::targets_here(None))
}
