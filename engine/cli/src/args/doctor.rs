//! The words of `jm doctor`.

use std::path::PathBuf;

use clap::Args;

use super::Format;
use crate::exit::Exit;

/// `jm doctor`.
#[derive(Debug, Args)]
#[command(after_help = Exit::table(&Exit::OF_A_DOCTOR))]
pub(crate) struct DoctorArgs {
    /// Ask which rights the credentials of the targets have: what the plans' steps need and is missing ends with 4, what
    /// is there beyond it with 9. Nothing is changed by asking.
    #[arg(long, required = true)]
    pub(crate) permissions: bool,
    /// Plan files, or directories of them. Left out: `plans`.
    pub(crate) files: Vec<PathBuf>,
    /// Print instead what an administrator applies to give just what is needed: policies for AWS, roles for Kubernetes,
    /// statements for psql.
    #[arg(long)]
    pub(crate) policy: bool,
    /// Only this target.
    #[arg(long, value_name = "NAME")]
    pub(crate) target: Option<String>,
    /// Targets file. Left out: `targets.yaml` beside each plan.
    #[arg(long, env = "JM_TARGETS", value_name = "FILE")]
    pub(crate) targets: Option<PathBuf>,
    /// How it is printed.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}
