//! The journal: an append-only log that is on disk before anything follows from it.

use std::path::PathBuf;

mod file;
pub(crate) use file::first;
pub use file::{FileJournal, Reading, Tail, Torn, read, read_readable};
mod line;
mod memory;
pub use memory::{MemoryFiles, MemoryJournal};
mod opening;
pub use opening::{FORMAT, Format, Opened, Payload, SecretReference};
mod record;
pub use record::{MAX_RECORD, OperatorVerb, Record, RecordKind, RunStatus, Said, StopCause, Then, Verdict, Why};

/// Where records go.
pub trait Journal: Send {
    /// Writes one batch. Returns once all of it is on disk: one write, one sync. After an error nothing more is taken.
    fn append(&mut self, batch: &[Record]) -> Result<(), JournalError>;
}

/// Why a journal cannot be used. Exit code 7, but for [`JournalError::Alive`].
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file system said no.
    #[error("cannot {doing} `{}`", .path.display())]
    Io {
        /// What was tried, such as `write`.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A write or sync failed before, so that it is not known what is on disk.
    #[error("the journal failed to reach the disk before, and takes nothing more")]
    Poisoned,
    /// A line before the last batch is damaged: no crash does that.
    #[error("journal `{}` is damaged at line {line}, and whole records follow it", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The first bad line, from 1.
        line: u64,
    },
    /// A whole line holds something that this jm does not know.
    #[error("journal `{}`, line {line}, holds a record that this jm cannot read: {why}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        why: String,
    },
    /// Another major version of the format.
    #[error("journal `{}` has format {major}, and this jm reads format {}", .path.display(), FORMAT.major)]
    Format {
        /// The file.
        path: PathBuf,
        /// Its major version.
        major: u32,
    },
    /// Nothing was written before the end came.
    #[error("journal `{}` holds no record: the run never began", .path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Another process runs this run.
    #[error("the run is alive: another process has its journal `{}` open", .path.display())]
    Alive {
        /// The file.
        path: PathBuf,
    },
    /// A record is larger than a record may be: a bug, since large values go into artefacts.
    #[error("a `{kind}` record of {bytes} bytes is too large for the journal")]
    TooLarge {
        /// The record's kind.
        kind: &'static str,
        /// Its size.
        bytes: usize,
    },
}

impl JournalError {
    pub(crate) fn io(doing: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }
}
