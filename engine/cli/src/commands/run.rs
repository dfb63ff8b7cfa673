//! `jm run`.

pub(super) mod list;
pub(super) mod logs;
pub(super) mod operator;
pub(super) mod report;
pub(super) mod show;
pub(super) mod watch;

use jm_run::journal::JournalError;
use jm_run::{OperatorError, RunDir, RunState, StateDir, SummaryStatus};

use crate::exit::{CommandError, Exit};

/// A run by the beginning or end of its id; where none is named, the newest that ever began.
pub(super) fn find(state: &StateDir, name: Option<&str>) -> Result<RunDir, CommandError> {
    match name {
        Some(name) => state.find(name).map_err(|error| {
            CommandError::usage(error.to_string()).hint("`jm run list` shows the runs of this machine")
        }),
        None => state
            .runs()
            .map_err(unusable)?
            .into_iter()
            .find(RunDir::has_begun)
            .ok_or_else(|| {
                CommandError::usage(format!("there are no runs in {}", state.path().display()))
                    .hint("set JM_STATE where they are elsewhere")
            }),
    }
}

/// The error for a journal that cannot be used, or that another process uses.
pub(super) fn unusable(error: JournalError) -> CommandError {
    if let JournalError::Alive { .. } = error {
        return CommandError::new(Exit::Locked, error.to_string()).hint("`jm run watch` follows it");
    }
    with_hint(CommandError::state("the run's journal cannot be used"), &error)
}

/// An error of what is kept on disk, with its cause and what to do about it.
pub(super) fn with_hint(told: CommandError, error: &JournalError) -> CommandError {
    let hint = match error {
        JournalError::Damaged { .. } => Some(
            "it was changed or the disk lost data: go by hand from what `jm run show` still reads, or restore the file",
        ),
        JournalError::Empty { .. } => Some("nothing was done: begin anew with `jm plan run`"),
        JournalError::Format { .. } | JournalError::Unreadable { .. } => {
            Some("use the jm that wrote it, or a newer one")
        }
        JournalError::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
            Some("free space where runs are kept (JM_STATE), then `jm plan resume`: it goes on from the last record")
        }
        _ => None,
    };
    let wrapped = told.cause(error);
    match hint {
        Some(hint) => wrapped.hint(hint),
        None => wrapped,
    }
}

/// The error for a person's word that was not taken.
pub(super) fn refused(error: OperatorError) -> CommandError {
    match error {
        OperatorError::Journal(error) => unusable(error),
        OperatorError::Illegal(error) => CommandError::state("the journal does not hang together").cause(&error),
        OperatorError::DoesNotFit(why) => {
            CommandError::new(Exit::Usage, why).hint("`jm run show` tells how the run stands")
        }
    }
}

/// Where a run stands, in one word.
pub(super) fn status(run: &RunDir, state: &RunState) -> String {
    let status = if run.is_alive() {
        SummaryStatus::Running
    } else {
        SummaryStatus::at_rest(state)
    };
    status.as_str().to_owned()
}
