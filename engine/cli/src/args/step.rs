//! The words of `jm step`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{DryRunFormat, Format, RunOptions};
use crate::exit::Exit;

/// `jm step`.
#[derive(Debug, Subcommand)]
pub(crate) enum StepCommand {
    /// List the step types.
    List(StepListArgs),
    /// Show a step type: what it does, takes and gives.
    Show(StepShowArgs),
    /// Run one step as a run of its own.
    Run(StepRunArgs),
}

/// `jm step list`.
#[derive(Debug, Args)]
pub(crate) struct StepListArgs {
    /// How it is printed.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

/// `jm step show`.
#[derive(Debug, Args)]
pub(crate) struct StepShowArgs {
    /// Step type, such as `postgres.inspect`.
    #[arg(value_name = "TYPE")]
    pub(crate) step_type: String,
    /// How it is printed.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

/// `jm step run`.
#[derive(Debug, Args)]
#[command(after_help = Exit::table(&Exit::ALL))]
pub(crate) struct StepRunArgs {
    /// Step type, such as `postgres.inspect`.
    #[arg(value_name = "TYPE")]
    pub(crate) step_type: String,
    /// Set a field of its input: text, or JSON where it reads as such.
    #[arg(long = "with", short = 'w', value_name = "FIELD=VALUE")]
    pub(crate) with: Vec<String>,
    /// The target, where there are several of its provider.
    #[arg(long, value_name = "NAME")]
    pub(crate) target: Option<String>,
    /// Targets file. Left out: `targets.yaml` here or in `plans`.
    #[arg(long, env = "JM_TARGETS", value_name = "FILE")]
    pub(crate) targets: Option<PathBuf>,
    /// Show what it would do, and do nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) options: RunOptions,
    /// How the result is printed.
    #[arg(long, value_enum, default_value_t = DryRunFormat::Human)]
    pub(crate) format: DryRunFormat,
}
