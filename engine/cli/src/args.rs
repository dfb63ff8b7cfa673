//! The words of the command line. Doc comments are the help texts.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::exit::Exit;

mod backup;
mod doctor;
mod plan;
mod run;
mod sandbox;
mod step;

pub(crate) use backup::{
    BackupCommand, BackupDecryptArgs, BackupImportArgs, BackupListArgs, BackupShowArgs, BackupVerifyArgs, BackupsAt,
    Proof,
};
pub(crate) use doctor::DoctorArgs;
pub(crate) use plan::{
    Bindings, DiffArgs, DryRunFormat, FindingsFormat, GraphArgs, GraphFormat, ListArgs, PlanCommand, PlanRunArgs,
    ResumeArgs, RunOptions, ShowArgs, ValidateArgs,
};
pub(crate) use run::{LogsArgs, ReportArgs, ReportFormat, RunArgs, RunCommand, RunListArgs, StepWordArgs};
pub(crate) use sandbox::{
    DatabaseKind, DrillArgs, KubernetesKind, SandboxCommand, SandboxDownArgs, SandboxListArgs, SandboxRunArgs,
    SandboxUpArgs,
};
pub(crate) use step::{StepCommand, StepListArgs, StepRunArgs, StepShowArgs};

/// Recovery as code: runs disaster-recovery and backup plans written in YAML.
#[derive(Debug, Parser)]
#[command(
    name = "jm",
    version,
    max_term_width = 100,
    after_help = Exit::table(&Exit::ALL)
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// When to colour what is said.
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub(crate) color: Color,
    /// Say nothing but results and errors.
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Say more.
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check, look at, run and resume plans.
    #[command(subcommand)]
    Plan(PlanCommand),
    /// Look at runs, and say how they go on.
    #[command(subcommand)]
    Run(RunCommand),
    /// Look at step types, and run one by itself.
    #[command(subcommand)]
    Step(StepCommand),
    /// Look at backups, prove them, and open them.
    #[command(subcommand)]
    Backup(BackupCommand),
    /// Look whether the credentials of targets are allowed what plans need, and no more.
    Doctor(DoctorArgs),
    /// Print a JSON Schema, such as `plan`, `journal`, `report` or `steps/TYPE`.
    Schema(SchemaArgs),
    /// Rehearse a plan.
    Drill(DrillArgs),
    /// Stand-ins for PostgreSQL, S3 and Kubernetes on this machine.
    #[command(subcommand)]
    Sandbox(SandboxCommand),
    /// The locks that keep two runs from the same targets.
    #[command(subcommand)]
    Lock(LockCommand),
    /// Explain the code of a finding, such as `jm::plan::unknown_step`.
    Explain(ExplainArgs),
    /// Print a completion script.
    Completions(CompletionsArgs),
    /// Print the manual page, or write the pages of all commands.
    Man(ManArgs),
}

/// Whether a program reads what these words make jm print: one document, also of an error. They may be words that jm does
/// not understand.
pub(crate) fn is_for_a_program(words: impl Iterator<Item = OsString>) -> bool {
    let words: Vec<OsString> = words.take_while(|word| word != "--").collect();
    let apart = words.windows(2).any(|pair| pair[0] == "--format" && pair[1] == "json");
    apart || words.iter().any(|word| word == "--format=json")
}

/// How a result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Human,
    /// For programs: one versioned document.
    Json,
}

/// `jm schema`.
#[derive(Debug, Args)]
pub(crate) struct SchemaArgs {
    /// Which, such as `plan` or `steps/backup.restore`. Left out: the names of all.
    pub(crate) name: Option<String>,
    /// Write all of them below a directory instead.
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "name")]
    pub(crate) write: Option<PathBuf>,
}

/// `jm lock`.
#[derive(Debug, Subcommand)]
pub(crate) enum LockCommand {
    /// Show who holds which targets.
    Show(RunListArgs),
    /// Take a lock away from an owner that is gone.
    Release(LockReleaseArgs),
}

/// `jm lock release`.
#[derive(Debug, Args)]
pub(crate) struct LockReleaseArgs {
    /// The lock's name, as `jm lock show` prints it.
    pub(crate) name: String,
    /// Take it even where its owner seems to live.
    #[arg(long)]
    pub(crate) force: bool,
}

/// `jm explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The code; the prefix `jm::plan::` may be left out.
    pub(crate) code: String,
    /// How it is printed.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

/// `jm completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    pub(crate) shell: clap_complete::Shell,
}

/// `jm man`.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Write a page for each command into this directory, such as `~/.local/share/man/man1`.
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) write: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn for_a_program(words: &str) -> bool {
        is_for_a_program(words.split(' ').map(OsString::from))
    }

    #[test]
    fn a_program_says_so_in_one_of_two_ways() {
        assert!(for_a_program("plan run x.yaml --format json"));
        assert!(for_a_program("run list --format=json -q"));
        assert!(!for_a_program("plan validate --format sarif"));
        assert!(
            !for_a_program("sandbox run -- jm run list --format json"),
            "another jm's"
        );
    }
}
