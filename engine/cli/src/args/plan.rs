//! The words of `jm plan`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::Format;
use crate::exit::Exit;

/// `jm plan`.
#[derive(Debug, Subcommand)]
pub(crate) enum PlanCommand {
    /// Check plans without touching anything: no network, no credentials.
    Validate(ValidateArgs),
    /// List the plans of a directory.
    List(ListArgs),
    /// Show a plan: its inputs, steps, targets and objectives.
    Show(ShowArgs),
    /// Print a plan's graph.
    Graph(GraphArgs),
    /// Show what a change of a plan means: promises, inputs, steps, effects.
    Diff(DiffArgs),
    /// Run a plan, or show what it would do.
    Run(PlanRunArgs),
    /// Go on with a run that stopped, failed or waits.
    Resume(ResumeArgs),
}

/// `jm plan validate`.
#[derive(Debug, Args)]
#[command(after_help = Exit::table(&Exit::OF_A_CHECK))]
pub(crate) struct ValidateArgs {
    /// Plan or targets files, or directories of them. Left out: `plans`.
    pub(crate) files: Vec<PathBuf>,
    /// Targets file. Left out: `targets.yaml` beside each plan.
    #[arg(long, env = "JM_TARGETS", value_name = "FILE")]
    pub(crate) targets: Option<PathBuf>,
    /// Let warnings fail, too.
    #[arg(long)]
    pub(crate) strict: bool,
    /// How findings are printed.
    #[arg(long, value_enum, default_value_t = FindingsFormat::Human)]
    pub(crate) format: FindingsFormat,
}

/// How findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FindingsFormat {
    /// For people, with the lines of the file.
    Human,
    /// For programs.
    Json,
    /// For code scanning (SARIF 2.1.0).
    Sarif,
    /// As annotations of a GitHub workflow.
    Github,
}

/// `jm plan list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Where the plans are.
    #[arg(default_value = "plans")]
    pub(crate) directory: PathBuf,
    /// How it is printed.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

/// `jm plan show`.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Plan file.
    pub(crate) plan: PathBuf,
    /// Targets file. Left out: `targets.yaml` beside the plan.
    #[arg(long, env = "JM_TARGETS", value_name = "FILE")]
    pub(crate) targets: Option<PathBuf>,
    /// How it is printed.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

/// `jm plan graph`.
#[derive(Debug, Args)]
pub(crate) struct GraphArgs {
    /// Plan file.
    pub(crate) plan: PathBuf,
    /// Targets file. Left out: `targets.yaml` beside the plan.
    #[arg(long, env = "JM_TARGETS", value_name = "FILE")]
    pub(crate) targets: Option<PathBuf>,
    /// How it is drawn.
    #[arg(long, value_enum, default_value_t = GraphFormat::Text)]
    pub(crate) format: GraphFormat,
}

/// `jm plan diff`.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// The plan as it was.
    pub(crate) old: PathBuf,
    /// The plan as it is to be.
    pub(crate) new: PathBuf,
    /// Targets file of both. Left out: `targets.yaml` beside the new one.
    #[arg(long, env = "JM_TARGETS", value_name = "FILE")]
    pub(crate) targets: Option<PathBuf>,
    /// How it is printed.
    #[arg(long, value_enum, default_value_t = DryRunFormat::Human)]
    pub(crate) format: DryRunFormat,
}

/// How a graph is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GraphFormat {
    /// Mermaid, as Markdown renders it.
    Mermaid,
    /// DOT, for Graphviz.
    Dot,
    /// Lines of text.
    Text,
}

/// Values for a plan's inputs, and the systems that its targets are.
#[derive(Debug, Clone, Args)]
pub(crate) struct Bindings {
    /// Set an input. A secret one only as `NAME=env:VARIABLE` or `NAME=file:PATH`.
    #[arg(long = "input", short = 'i', value_name = "NAME=VALUE")]
    pub(crate) inputs: Vec<String>,
    /// Read inputs from a YAML or JSON file.
    #[arg(long = "inputs", value_name = "FILE")]
    pub(crate) inputs_file: Option<PathBuf>,
    /// Targets file. Left out: `targets.yaml` beside the plan.
    #[arg(long, env = "JM_TARGETS", value_name = "FILE")]
    pub(crate) targets: Option<PathBuf>,
}

/// What a person agrees to beforehand, and how a run is shown.
#[derive(Debug, Clone, Args)]
pub(crate) struct RunOptions {
    /// Do not ask before the start.
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Agree to irreversible steps on protected targets, by the name of the targets file.
    #[arg(long, value_name = "NAME")]
    pub(crate) confirm: Option<String>,
    /// Agree to lose data that is newer than the backup, up to this much, while old data is still served.
    #[arg(long, value_name = "DURATION")]
    pub(crate) accept_data_loss: Option<String>,
    /// Accept another system under a target's name.
    #[arg(long, value_name = "TARGET=ID")]
    pub(crate) accept_identity: Vec<String>,
    /// Stop before this step.
    #[arg(long, value_name = "STEP")]
    pub(crate) until: Option<String>,
    /// Write every event as a line of JSON to a file, or to standard output as `-`.
    #[arg(long, value_name = "FILE|-")]
    pub(crate) events: Option<PathBuf>,
}

/// How a dry run is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DryRunFormat {
    /// For people.
    Human,
    /// For programs: one versioned document.
    Json,
    /// For a pull request: the same for the same plan and the same world.
    Markdown,
}

/// `jm plan run`.
#[derive(Debug, Args)]
#[command(after_help = Exit::table(&Exit::ALL))]
pub(crate) struct PlanRunArgs {
    /// Plan file, or a dry run that was saved with `--out`.
    pub(crate) plan: PathBuf,
    /// Show what every step would do, with connections that cannot write, and do nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// In a dry run, read no system either.
    #[arg(long, requires = "dry_run")]
    pub(crate) offline: bool,
    /// Save a dry run: `jm plan run FILE` then runs exactly that, unless plan, targets or inputs changed since.
    #[arg(long, requires = "dry_run", conflicts_with = "offline", value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Mark the run as a drill.
    #[arg(long)]
    pub(crate) drill: bool,
    #[command(flatten)]
    pub(crate) bindings: Bindings,
    #[command(flatten)]
    pub(crate) options: RunOptions,
    /// How the dry run, or the summary at the end, is printed. `markdown` is for dry runs.
    #[arg(long, value_enum, default_value_t = DryRunFormat::Human)]
    pub(crate) format: DryRunFormat,
}

/// `jm plan resume`.
#[derive(Debug, Args)]
#[command(after_help = Exit::table(&Exit::ALL))]
pub(crate) struct ResumeArgs {
    /// The run, or the beginning or end of its id. Left out: the newest that can be resumed.
    pub(crate) run: Option<String>,
    /// Show what would be done, and do nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Targets file, where this machine is another one.
    #[arg(long, env = "JM_TARGETS", value_name = "FILE")]
    pub(crate) targets: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) options: RunOptions,
    /// How the dry run, or the summary at the end, is printed.
    #[arg(long, value_enum, default_value_t = DryRunFormat::Human)]
    pub(crate) format: DryRunFormat,
}
