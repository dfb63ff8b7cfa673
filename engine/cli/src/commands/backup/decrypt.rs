//! `jm backup decrypt`: what is inside a backup, in clear text: into a file that only its owner can read, or to whoever
//! reads standard output.

#![expect(
    clippy::disallowed_types,
    reason = "standard output is written to as a file, past every buffer of lines"
)]

use std::io::IsTerminal;
use std::os::fd::AsFd;

use crate::args::BackupDecryptArgs;
use crate::commands::{Outcome, block_on};
use crate::exit::{CommandError, Exit};
use crate::report::time;
use crate::ui::Ui;

pub(in crate::commands) fn decrypt(args: &BackupDecryptArgs, ui: &Ui) -> Outcome {
    if args.to.is_none() && std::io::stdout().is_terminal() {
        return Err(CommandError::usage("a dump is not for a terminal")
            .hint("write it to a file with `--to FILE`, or into a pipe"));
    }
    if let Some(file) = args.to.as_deref().filter(|file| file.exists()) {
        return Err(CommandError::usage(format!("{} is there already", file.display()))
            .hint("name a new file: nothing is written over"));
    }
    block_on(async {
        let opened = super::open(&args.which.at, ui).await?;
        let entry = opened.find(&args.which.backup).await?;
        let watching = super::Watching::new(format!("decrypting {}", entry.name), ui);
        let bytes = match &args.to {
            Some(file) => opened.backups.decrypt_to_file(&entry, file, &watching).await?,
            None => {
                opened
                    .backups
                    .decrypt_to(&entry, &mut standard_output()?, &watching)
                    .await?
            }
        };
        drop(watching);
        let place = args.to.as_ref().map_or_else(String::new, |file| {
            format!(" in {}, readable by you alone", file.display())
        });
        ui.say(format!("{} of {} in clear text{place}", time::bytes(bytes), entry.name));
        Ok(Exit::Done)
    })?
}

/// Standard output as it is: a dump goes through no buffer of lines.
fn standard_output() -> Result<tokio::fs::File, CommandError> {
    let out = std::io::stdout().as_fd().try_clone_to_owned();
    let out = out.map_err(|error| CommandError::usage("cannot write to standard output").cause(&error))?;
    Ok(tokio::fs::File::from_std(out.into()))
}
