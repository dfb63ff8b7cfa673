//! `jm backup verify`: reads every copy of a backup back and proves it.

use jm_backup::{BackupName, Level, LocationName};
use jm_step::{ErrorSummary, StepError};
use schemars::JsonSchema;
use serde::Serialize;

use crate::args::{BackupVerifyArgs, Format, Proof};
use crate::commands::{Outcome, block_on};
use crate::exit::{CommandError, Exit};
use crate::report::document::Document;
use crate::report::time;
use crate::ui::{Style, Ui};

/// What reading a backup back has proven.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::commands) struct BackupVerify {
    backup: BackupName,
    /// How far each copy was to be proven.
    level: Level,
    copies: Vec<ProvenCopy>,
}

/// What reading a copy back has proven.
#[derive(Debug, Serialize, JsonSchema)]
struct ProvenCopy {
    location: LocationName,
    good: bool,
    /// Its size, where it is good.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    /// Of its file, lower-case hex, where it is good.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    /// What is wrong with it, where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorSummary>,
}

impl ProvenCopy {
    fn of(location: LocationName, proven: &Result<(u64, String), StepError>) -> Self {
        Self {
            location,
            good: proven.is_ok(),
            bytes: proven.as_ref().ok().map(|(bytes, _)| *bytes),
            sha256: proven.as_ref().ok().map(|(_, sha256)| sha256.clone()),
            error: proven.as_ref().err().map(StepError::summary),
        }
    }
}

pub(in crate::commands) fn verify(args: &BackupVerifyArgs, ui: &Ui) -> Outcome {
    let level = match args.level {
        Proof::Checksum => Level::Checksum,
        Proof::Decrypt => Level::Decrypt,
        Proof::Archive => Level::Archive,
    };
    block_on(async {
        let opened = super::open(&args.which.at, ui).await?;
        let entry = opened.find(&args.which.backup).await?;
        if entry.copies.is_empty() {
            return Err(
                CommandError::new(Exit::Failed, format!("no copy of `{}` is left", entry.name))
                    .hint("`jm backup list` shows others"),
            );
        }
        let mut copies = Vec::new();
        for copy in &entry.copies {
            let watching = super::Watching::new(format!("reading {} from {}", entry.name, copy.location), ui);
            let proof = opened
                .backups
                .prove(&entry, copy.location, level, &opened.tools, &watching);
            let proven = proof.await;
            drop(watching);
            if args.format == Format::Human {
                let (word, text) = match &proven {
                    Ok((bytes, _)) => (
                        ui.paint(Style::Green, "good"),
                        format!("{}, proven to {}", time::bytes(*bytes), level.short()),
                    ),
                    Err(error) => (ui.paint(Style::Red, "BAD "), error.to_string()),
                };
                ui.out_hanging(
                    &format!("{word} {:<5} ", copy.location),
                    &format!("{}  {text}", entry.name),
                );
            }
            copies.push((copy, proven));
        }
        if args.format == Format::Json {
            let told = copies
                .iter()
                .map(|(copy, proven)| ProvenCopy::of(copy.location, proven));
            let copies = told.collect();
            Document::of(BackupVerify {
                backup: entry.name.clone(),
                level,
                copies,
            })
            .print(ui);
        }
        let good = copies.iter().filter(|(_, proven)| proven.is_ok()).count();
        match good {
            0 => Err(
                CommandError::new(Exit::Failed, format!("no copy of `{}` is good", entry.name))
                    .hint("take another backup now, and find out what damaged this one"),
            ),
            good if good == copies.len() => Ok(Exit::Done),
            _ => Ok(Exit::Degraded),
        }
    })?
}
