//! The words of `jm backup`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{DryRunFormat, Format, RunOptions};

/// `jm backup`.
#[derive(Debug, Subcommand)]
pub(crate) enum BackupCommand {
    /// List the backups of all locations, newest first.
    List(BackupListArgs),
    /// Show what is known of a backup.
    Show(BackupShowArgs),
    /// Read every copy of a backup back, and say how far it is proven.
    Verify(BackupVerifyArgs),
    /// Write what is inside a backup, in clear text.
    Decrypt(BackupDecryptArgs),
    /// Take what `kubectl get … -o yaml` wrote into the catalogue, encrypted: a run of `kubernetes.import`.
    Import(BackupImportArgs),
}

/// Where the backups are.
#[derive(Debug, Args)]
pub(crate) struct BackupsAt {
    /// The target, where the targets file has several of provider `backup`.
    #[arg(long, value_name = "NAME")]
    pub(crate) target: Option<String>,
    /// Targets file. Left out: `targets.yaml` here or in `plans`.
    #[arg(long, env = "JM_TARGETS", value_name = "FILE")]
    pub(crate) targets: Option<PathBuf>,
}

/// A backup.
#[derive(Debug, Args)]
pub(crate) struct BackupNamed {
    /// Its name or path, or `latest`, `latest<=2026-11-25T12:00:00Z`, or a day as YYYYMMDD.
    pub(crate) backup: String,
    #[command(flatten)]
    pub(crate) at: BackupsAt,
}

/// `jm backup list`.
#[derive(Debug, Args)]
pub(crate) struct BackupListArgs {
    #[command(flatten)]
    pub(crate) at: BackupsAt,
    /// How it is printed.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

/// `jm backup show`.
#[derive(Debug, Args)]
pub(crate) struct BackupShowArgs {
    #[command(flatten)]
    pub(crate) which: BackupNamed,
    /// How it is printed.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

/// `jm backup verify`.
#[derive(Debug, Args)]
pub(crate) struct BackupVerifyArgs {
    #[command(flatten)]
    pub(crate) which: BackupNamed,
    /// How far it is to be proven.
    #[arg(long, value_enum, default_value_t = Proof::Archive)]
    pub(crate) level: Proof,
    /// How it is printed.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

/// How far a copy is to be proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Proof {
    /// Every byte is there and has its checksum (L1).
    Checksum,
    /// It decrypts and unpacks to its end (L2).
    Decrypt,
    /// Its content is whole, and every block of it is read (L3).
    Archive,
}

/// `jm backup decrypt`.
#[derive(Debug, Args)]
pub(crate) struct BackupDecryptArgs {
    #[command(flatten)]
    pub(crate) which: BackupNamed,
    /// A new file that only you can read: there when all of it is proven, or not at all. Left out: standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) to: Option<PathBuf>,
}

/// `jm backup import`.
#[derive(Debug, Args)]
pub(crate) struct BackupImportArgs {
    /// Plain files of objects, such as `k8s-backup-20240115.yaml`. Those of one day become one export.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// The day of their data, where their names do not end with it.
    #[arg(long, value_name = "YYYYMMDD")]
    pub(crate) day: Option<String>,
    #[command(flatten)]
    pub(crate) at: BackupsAt,
    /// Show what it would do, and do nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) options: RunOptions,
    /// How the result is printed.
    #[arg(long, value_enum, default_value_t = DryRunFormat::Human)]
    pub(crate) format: DryRunFormat,
}
