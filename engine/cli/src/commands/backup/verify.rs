//! `jm backup verify`: reads every copy of a backup back and proves it.

use jm_backup::Level;
use serde_json::json;

use crate::args::{BackupVerifyArgs, Format, Proof};
use crate::commands::{Outcome, block_on};
use crate::exit::{CommandError, Exit};
use crate::report::time;
use crate::ui::{Style, Ui};

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
                ui.out(format!("{word} {:<5} {}  {text}", copy.location, entry.name));
            }
            copies.push((copy, proven));
        }
        if args.format == Format::Json {
            let told: Vec<_> = copies
                .iter()
                .map(|(copy, proven)| match proven {
                    Ok((bytes, sha256)) => {
                        json!({ "location": copy.location, "good": true, "bytes": bytes, "sha256": sha256 })
                    }
                    Err(error) => json!({ "location": copy.location, "good": false, "error": error.summary() }),
                })
                .collect();
            let document = json!({ "version": 1, "backup": entry.name, "level": level, "copies": told });
            ui.out(format!("{document:#}"));
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
