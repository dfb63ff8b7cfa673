//! `jm plan resume`: goes on with a run that stopped, failed, waits or was killed, with the plan that is in its journal.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jm_plan::{Arguments, Mode, TargetsDocument};
use jm_run::journal::{self, FileJournal, Opened, Reading, StopCause};
use jm_run::{IllegalTransition, RunDir, RunState, RunStatus, StateDir, StepState};
use jm_step::StepId;

use super::{agree, drift};
use crate::args::ResumeArgs;
use crate::commands::carry::Telling;
use crate::commands::{Outcome, block_on, carry, run as run_commands, sandbox};
use crate::exit::{CommandError, Exit};
use crate::project;
use crate::session::Source;
use crate::ui::Ui;
use crate::{environment, launch};

/// Goes on with a run: the one that is named, else the newest that has something left to do.
pub(in crate::commands) fn resume(args: &ResumeArgs, ui: &Ui) -> Outcome {
    let state = launch::state()?;
    let directory = find(&state, args.run.as_deref())?;
    if directory.is_alive() {
        return Err(alive(&directory));
    }
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
        targets(args, &opened)?,
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
    run.directory.clone_from(&opened.directory);
    if let Some(step) = &run.options.until {
        not_past(step, &stands)?;
    }
    let mut telling = Telling::of(&args.options, args.format)?;
    if let Some(drift) = drift::of(&opened, &text) {
        drift::say(&drift, directory.id().short(), ui);
        telling.plan_file = Some(drift);
    }
    if args.dry_run {
        launch::remember(&mut run)?;
        return carry::dry_run(&run, &reading.records, &telling, ui);
    }
    let Some(journal) = journal.as_mut() else {
        return Err(CommandError::new(Exit::Bug, "the journal is not open"));
    };
    ui.say(format!("resuming run {} of {}", directory.id(), opened.run.plan));
    let to_come = agree::to_come(&run, &stands);
    ui.say_hanging("  to come   ", &agree::deeds(to_come.iter().copied()));
    agree::to_go_on(&run, &to_come, &args.options)?;
    super::run::lock(&mut run, &state.locks())?;
    run.supervisor = launch::supervisor()?;
    block_on(carry::run(run, &directory, &reading.records, journal, &telling, ui))?
}

/// The run that is named, else the newest that has something left to do. One that did nothing, because it could not begin,
/// comes last. A newer run that cannot be judged, or is under way, is not passed over in silence; and what a newer run of
/// the same plan has done since, is not done again unless the older one is named.
fn find(state: &StateDir, name: Option<&str>) -> Result<RunDir, CommandError> {
    if name.is_some() {
        return run_commands::find(state, name);
    }
    let mut not_begun = None;
    let mut done: Vec<(String, RunDir)> = Vec::new();
    let mut runs = state.runs().map_err(run_commands::unusable)?.into_iter();
    while let Some(run) = runs.next() {
        let left = match judge(&run) {
            Ok(left) => left,
            Err(error) => return Err(or_another(error, &run, runs)),
        };
        if matches!(left, Left::Something | Left::Everything) {
            not_overtaken(&run, &done)?;
        }
        match left {
            Left::Something => return Ok(run),
            Left::Everything => drop(not_begun.get_or_insert(run)),
            Left::Done => done.extend(work(&run).map(|work| (work, run))),
            Left::Nothing => {}
        }
    }
    not_begun.ok_or_else(|| {
        let hint = match sandbox::list::all().into_iter().find(|one| one.up.is_some()) {
            Some(one) => format!(
                "a sandbox is up, as a drill leaves one: `jm sandbox run --directory {} -- jm plan resume`",
                one.directory.display()
            ),
            None => "`jm run list` shows the runs of this machine; `jm plan run PLAN` begins one".to_owned(),
        };
        CommandError::usage("there is nothing to resume").hint(hint)
    })
}

/// What a run works on: its plan's name, and its targets'.
fn work(run: &RunDir) -> Option<String> {
    Some(work_of(&run.opened()?))
}

fn work_of(opened: &Opened) -> String {
    format!("{} on targets `{}`", opened.run.plan, opened.targets)
}

/// Whether no newer run has brought the same to its end.
fn not_overtaken(run: &RunDir, done: &[(String, RunDir)]) -> Result<(), CommandError> {
    let Some(what) = work(run).filter(|_| !done.is_empty()) else {
        return Ok(());
    };
    let Some((_, newer)) = done.iter().find(|(work, _)| *work == what) else {
        return Ok(());
    };
    let (newer, run) = (newer.id(), run.id());
    let (newer, run) = (newer.short(), run.short());
    Err(CommandError::usage(format!(
        "there is nothing to resume: run {newer} of {what} was completed after run {run} stopped"
    ))
    .hint(format!(
        "`jm plan resume {run}` goes on with the older one all the same, and may do again what was done since"
    )))
}

/// The newest run of the same work that broke off or waits, where none has brought that to its end since: whoever begins anew
/// may not know of it.
pub(super) fn unfinished(state: &StateDir, opened: &Opened) -> Option<RunDir> {
    let wanted = Some(work_of(opened));
    let mut runs = state.runs().ok()?.into_iter();
    let newest = runs.find(|run| work(run) == wanted && !matches!(judge(run), Ok(Left::Nothing | Left::Everything)))?;
    matches!(judge(&newest), Ok(Left::Something)).then_some(newest)
}

/// What is left of a run for a resume.
enum Left {
    /// It never began, or a person ended it.
    Nothing,
    /// All was done.
    Done,
    Something,
    /// No step was ever begun: it was refused before the first.
    Everything,
}

fn judge(run: &RunDir) -> Result<Left, CommandError> {
    if run.is_alive() {
        return Err(alive(run));
    }
    if !run.has_begun() {
        return Ok(Left::Nothing);
    }
    let reading = run.read().map_err(run_commands::unusable)?;
    let state = RunState::replay(&reading.records).map_err(not_whole)?;
    let is_done = matches!(state.closed(), Some(RunStatus::Completed | RunStatus::Degraded));
    Ok(match (state.resting_status().is_resumable(), state.stopped()) {
        (false, _) if is_done => Left::Done,
        (false, _) => Left::Nothing,
        (true, Some(StopCause::Preflight { .. })) if state.steps().iter().all(|step| step.attempts == 0) => {
            Left::Everything
        }
        (true, _) => Left::Something,
    })
}

fn alive(run: &RunDir) -> CommandError {
    let id = run.id();
    CommandError::new(
        Exit::Locked,
        format!("run {id} is alive: another process carries it out"),
    )
    .hint(format!("`jm run watch {}` follows it", id.short()))
}

/// Which run it was, and the next one that could be meant.
fn or_another(error: CommandError, run: &RunDir, older: impl Iterator<Item = RunDir>) -> CommandError {
    let other = before(run, older).map_or_else(
        || "`jm run list` shows the others".to_owned(),
        |other| format!("`jm plan resume {}` goes on with the one before it", other.id().short()),
    );
    let hint = error
        .hint
        .as_ref()
        .map_or_else(|| other.clone(), |hint| format!("{hint}; {other}"));
    let message = if error.exit == Exit::Locked {
        error.message.clone()
    } else {
        format!(
            "the newest run, {}, may be the one to resume: {}",
            run.id(),
            error.message
        )
    };
    CommandError { message, ..error }.hint(hint)
}

/// The newest older run that has something left, of the same work, and that no run after it has brought to its end: what it
/// would do again may undo what was done since.
fn before(run: &RunDir, older: impl Iterator<Item = RunDir>) -> Option<RunDir> {
    let wanted = work(run)?;
    let same = older.filter(|other| work(other).as_ref() == Some(&wanted));
    let mut judged = same.map(|other| (judge(&other), other));
    let (left, other) = judged.find(|(left, _)| !matches!(left, Ok(Left::Nothing | Left::Everything)))?;
    matches!(left, Ok(Left::Something)).then_some(other)
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

/// The targets file: the one that is named, else the one that the run would have found, beside its plan; on a machine that
/// does not have that, the one that lies where plans lie. None where the run had none.
fn targets(args: &ResumeArgs, opened: &Opened) -> Result<Option<PathBuf>, CommandError> {
    let named = args.targets.clone();
    let named = named.or_else(|| environment::variable("JM_TARGETS").map(PathBuf::from));
    if named.is_some() || opened.targets.is_empty() {
        return Ok(named);
    }
    let beside = opened
        .file
        .as_deref()
        .and_then(|plan| project::targets_for(Path::new(plan), None));
    let Some(found) = beside.or_else(|| project::targets_here(None)) else {
        return Ok(None);
    };
    let name = TargetsDocument::name(&jm_plan::parse_targets(&found.display().to_string(), &project::read(&found)?).0)
        .to_owned();
    if name == opened.targets {
        return Ok(Some(found));
    }
    let message = format!(
        "the run acts on targets `{}`, and {} has targets `{name}`",
        opened.targets,
        found.display()
    );
    Err(CommandError::new(Exit::Refused, message)
        .hint("name the file of the run's targets: `jm plan resume --targets FILE`"))
}
