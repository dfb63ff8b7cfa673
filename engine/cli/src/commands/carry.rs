//! Carrying a run out, or trying it dry: the one way that `jm plan run`, `jm plan resume` and `jm step run` share.

use std::path::Path;

use jm_run::journal::FileJournal;
use jm_run::{DryRun, Record, Run, RunDir, RunError, RunStatus};

use crate::args::{DryRunFormat, RunOptions};
use crate::commands::{Outcome, block_on, lock, run as run_commands};
use crate::exit::{CommandError, Exit};
use crate::report::document::PlanFile;
use crate::report::post_mortem::PostMortem;
use crate::report::screen::Screen;
use crate::report::{dry_run as shown, summary};
use crate::ui::Ui;
use crate::{launch, signals};

/// The report that a run leaves in its directory.
const REPORT: &str = "report.md";

/// How the end of a run, or a dry run, is told.
pub(super) struct Telling<'a> {
    pub(super) options: &'a RunOptions,
    pub(super) format: DryRunFormat,
    /// How the plan's file compares with the journal, of a resume.
    pub(super) plan_file: Option<PlanFile>,
}

impl<'a> Telling<'a> {
    /// Two kinds of data do not go to one output.
    pub(super) fn of(options: &'a RunOptions, format: DryRunFormat) -> Result<Self, CommandError> {
        let telling = Self {
            options,
            format,
            plan_file: None,
        };
        if telling.is_streaming() && format == DryRunFormat::Json {
            return Err(
                CommandError::usage("`--events -` and `--format json` both want standard output")
                    .hint("write the events to a file: `--events FILE`"),
            );
        }
        Ok(telling)
    }

    /// Whether events are all that goes to standard output.
    fn is_streaming(&self) -> bool {
        self.options.events.as_deref() == Some(Path::new("-"))
    }
}

/// Carries a run out to its end, or until it stops or waits, and sums it up.
pub(super) async fn run(
    mut run: Run,
    directory: &RunDir,
    prior: &[Record],
    journal: &mut FileJournal,
    telling: &Telling<'_>,
    ui: &Ui,
) -> Outcome {
    let beside = ui.beside_events();
    let ui = if telling.is_streaming() { &beside } else { ui };
    let screen = Screen::new(ui);
    launch::invite(&mut run, &screen, ui);
    let signals =
        signals::listen().map_err(|error| CommandError::new(Exit::Bug, "cannot listen for signals").cause(&error))?;
    run.stop = launch::heed(signals);
    let events = telling.options.events.as_ref();
    let mut reporter = launch::reporter(&run, prior, events, &screen, ui)?;
    let ended = jm_run::run(&run, prior, journal, &mut reporter).await;
    drop(reporter);
    let status = match ended {
        Ok(status) => status,
        Err(error) => {
            if let RunError::Journal(_) = &error {
                tell_what_stands(&run, directory, ui);
            }
            return Err(failed(error));
        }
    };
    let records = directory.read().map_err(run_commands::unusable)?.records;
    let summary = summary::of(&run.plan, &records, directory)?;
    leave_report(&run, &records, directory, &summary, ui);
    if telling.format == DryRunFormat::Json {
        summary.document(telling.plan_file.as_ref()).print(ui);
    } else {
        summary.print(ui);
    }
    Ok(exit(status, &summary))
}

/// A run that can write down nothing more ends where it is: what it has changed so far stays like that.
fn tell_what_stands(run: &Run, directory: &RunDir, ui: &Ui) {
    let Ok(reading) = directory.read() else { return };
    if let Ok(summary) = summary::of(&run.plan, &reading.records, directory) {
        ui.say_all(&summary.not_put_back(ui));
    }
}

/// The run is over, and a report that cannot be written does not change how.
fn leave_report(run: &Run, records: &[Record], directory: &RunDir, summary: &summary::Summary, ui: &Ui) {
    let written = PostMortem::of(&run.plan, records, summary.facts().clone(), directory).and_then(|report| {
        let kept = directory.keep(REPORT, report.markdown().as_bytes());
        kept.map_err(run_commands::unusable)
    });
    if let Err(error) = written {
        ui.warn(format!("the report was not written: {}", error.message));
    }
}

/// A run that is done and missed an objective is not as it should be.
fn exit(status: RunStatus, summary: &summary::Summary) -> Exit {
    match status {
        RunStatus::Completed if summary.missed() => Exit::Degraded,
        RunStatus::Failed if summary.refused() => Exit::Refused,
        status => status.into(),
    }
}

/// Asks what a run would do, or go on to do.
pub(super) fn try_dry(run: &Run, prior: &[Record]) -> Result<DryRun, CommandError> {
    // Sessions of a dry run start programs only to ask for their versions; they end with their handles.
    block_on(jm_run::dry_run(run, prior, &mut jm_run::Silent))?.map_err(failed)
}

/// Shows what a run would do, or go on to do.
pub(super) fn dry_run(run: &Run, prior: &[Record], telling: &Telling<'_>, ui: &Ui) -> Outcome {
    let result = try_dry(run, prior)?;
    shown::print(&result, &run.plan, telling.format, telling.plan_file.as_ref(), ui);
    Ok(shown::exit(&result))
}

/// The error for a run that could not begin or go on as a whole.
fn failed(error: RunError) -> CommandError {
    match error {
        RunError::Journal(error) => run_commands::unusable(error),
        RunError::Locked(error) => lock::refused(error),
        RunError::LockLost(_) => {
            CommandError::new(Exit::Locked, error.to_string()).hint("`jm lock show` tells who has it")
        }
        RunError::Refused(summary) => (*summary).into(),
        RunError::Preflight { ref problems } => {
            // Where none is refused no step has failed: the run is as resumable as one that was told to stop.
            let (exit, then) = if error.is_refusal() {
                (Exit::Refused, None)
            } else {
                (Exit::Stopped, Some("once that is mended, `jm plan resume` begins"))
            };
            let hints = problems.iter().filter_map(|problem| problem.error.hint.as_deref());
            let hints: Vec<&str> = hints.chain(then).collect();
            let wrapped = CommandError::new(exit, error.to_string());
            if hints.is_empty() {
                wrapped
            } else {
                wrapped.hint(hints.join("; "))
            }
        }
        RunError::Illegal(_) | RunError::OtherPlan { .. } => CommandError::state(error.to_string()).cause(&error),
        RunError::Over(_) => CommandError::usage(error.to_string()),
    }
}
