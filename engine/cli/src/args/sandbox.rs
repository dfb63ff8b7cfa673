//! The words of `jm drill` and `jm sandbox`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{Bindings, Format, RunOptions};
use crate::exit::Exit;

/// `jm drill`.
#[derive(Debug, Args)]
#[command(after_help = Exit::table(&Exit::ALL))]
pub(crate) struct DrillArgs {
    /// Plan file.
    pub(crate) plan: PathBuf,
    /// Start everything that the plan needs on this machine, break it, and repair it.
    #[arg(long)]
    pub(crate) sandbox: bool,
    /// How many rows the sandbox's database has: 1 is some thousands.
    #[arg(long, default_value_t = 1, value_name = "N", requires = "sandbox")]
    pub(crate) scale: u32,
    /// Which Kubernetes the sandbox starts.
    #[arg(long, value_enum, default_value_t = KubernetesKind::Embedded, requires = "sandbox")]
    pub(crate) kubernetes: KubernetesKind,
    /// Leave the sandbox up afterwards.
    #[arg(long, requires = "sandbox")]
    pub(crate) keep: bool,
    #[command(flatten)]
    pub(crate) bindings: Bindings,
    #[command(flatten)]
    pub(crate) options: RunOptions,
    /// How the summary at the end is printed.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

/// Which Kubernetes a sandbox has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KubernetesKind {
    /// jm's own small API server.
    Embedded,
    /// A real control plane, from `KUBEBUILDER_ASSETS` or the test cache.
    Real,
}

/// Where a sandbox's database lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DatabaseKind {
    /// A server beside the cluster.
    Beside,
    /// A `StatefulSet` in the cluster, that is lost with it.
    InCluster,
}

/// `jm sandbox`.
#[derive(Debug, Subcommand)]
pub(crate) enum SandboxCommand {
    /// Start a sandbox that stays up, and print the environment that leads to it.
    Up(SandboxUpArgs),
    /// Run a command in a sandbox: with a cleared environment that leads to it.
    Run(SandboxRunArgs),
    /// End a sandbox and forget its data.
    Down(SandboxDownArgs),
    /// List the sandboxes on this machine, those that killed drills have left among them.
    List(SandboxListArgs),
}

/// `jm sandbox up`.
#[derive(Debug, Args)]
pub(crate) struct SandboxUpArgs {
    /// Where its data lives. Left out: `jm-sandbox-USER` in the folder for temporary files.
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) directory: Option<PathBuf>,
    /// How many rows its database has: 1 is some thousands.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) scale: u32,
    /// Which Kubernetes it starts.
    #[arg(long, value_enum, default_value_t = KubernetesKind::Embedded)]
    pub(crate) kubernetes: KubernetesKind,
    /// Where its database lives.
    #[arg(long, value_enum, default_value_t = DatabaseKind::Beside)]
    pub(crate) database: DatabaseKind,
}

/// `jm sandbox run`.
#[derive(Debug, Args)]
pub(crate) struct SandboxRunArgs {
    /// Where its data lives. Left out: `jm-sandbox-USER` in the folder for temporary files.
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) directory: Option<PathBuf>,
    /// The command, after `--`.
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) command: Vec<String>,
}

/// `jm sandbox down`.
#[derive(Debug, Args)]
pub(crate) struct SandboxDownArgs {
    /// Where its data lives. Left out: `jm-sandbox-USER` in the folder for temporary files.
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) directory: Option<PathBuf>,
}

/// `jm sandbox list`.
#[derive(Debug, Args)]
pub(crate) struct SandboxListArgs {
    /// How it is printed.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}
