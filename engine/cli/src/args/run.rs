//! The words of `jm run`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::Format;

/// `jm run`.
#[derive(Debug, Subcommand)]
pub(crate) enum RunCommand {
    /// List runs, newest first.
    List(RunListArgs),
    /// Show a run: what was done, how long it took, what failed and what to do next.
    Show(RunArgs),
    /// Watch a run that another jm carries out.
    Watch(RunArgs),
    /// Print what the steps of a run wrote.
    Logs(LogsArgs),
    /// Tell a run afterwards: timeline, people, failures, changes, promises kept.
    Report(ReportArgs),
    /// Say yes to the question that a step asks.
    Approve(StepWordArgs),
    /// Say no to the question that a step asks.
    Reject(StepWordArgs),
    /// Do a step anew, and what came after it.
    Retry(StepWordArgs),
    /// Go on without a step.
    Skip(StepWordArgs),
    /// Say that a step was done by other means.
    MarkDone(StepWordArgs),
    /// End a run: nothing new starts but `finally`.
    Abort(RunWordArgs),
}

/// `jm run list`.
#[derive(Debug, Args)]
pub(crate) struct RunListArgs {
    /// How it is printed.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

/// A run.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The run, or the beginning or end of its id. Left out: the newest.
    pub(crate) run: Option<String>,
    /// How it is printed.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

/// `jm run logs`.
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// The run, or the beginning or end of its id. Left out: the newest.
    pub(crate) run: Option<String>,
    /// Only this step.
    #[arg(long, value_name = "STEP")]
    pub(crate) step: Option<String>,
}

/// `jm run report`.
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// The run, or the beginning or end of its id. Left out: the newest.
    pub(crate) run: Option<String>,
    /// How it is written.
    #[arg(long, value_enum, default_value_t = ReportFormat::Markdown)]
    pub(crate) format: ReportFormat,
    /// Write it to a file that only you can read, instead of printing it.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// How a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// For people, and for a ticket.
    Markdown,
    /// For a browser: one page that needs nothing else.
    Html,
    /// For programs: one versioned document.
    Json,
}

/// A person's word on a step.
#[derive(Debug, Args)]
pub(crate) struct StepWordArgs {
    /// The step.
    pub(crate) step: String,
    /// The run, or the beginning or end of its id. Left out: the newest.
    #[arg(long, value_name = "RUN")]
    pub(crate) run: Option<String>,
    /// Why: it goes into the journal. Left out: asked for at the terminal; without one it is needed.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

/// A person's word on a run.
#[derive(Debug, Args)]
pub(crate) struct RunWordArgs {
    /// The run, or the beginning or end of its id. Left out: the newest.
    pub(crate) run: Option<String>,
    /// Why: it goes into the journal. Left out: asked for at the terminal; without one it is needed.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}
