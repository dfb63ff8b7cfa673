//! The files beside a journal: artefacts, logs, and the inbox for what people say while the run is alive.

use std::io::Write;

use jm_step::{ArtefactRef, StepId};
use sha2::{Digest, Sha256};

use crate::journal::Said;

/// Where a run keeps what is not a record.
pub trait RunFiles: Send + Sync {
    /// Keeps content. Returns once it is on disk.
    fn put(&self, name: &str, content: &[u8]) -> std::io::Result<ArtefactRef>;

    /// The content of an artefact.
    fn get(&self, artefact: &ArtefactRef) -> std::io::Result<Vec<u8>>;

    /// The log of an attempt, opened for writing.
    fn log(&self, step: &StepId, attempt: u32) -> std::io::Result<Box<dyn Write + Send + Sync>>;

    /// What people said and was not taken in yet, oldest first.
    fn inbox(&self) -> Vec<Said>;

    /// A word of the inbox is in the journal.
    fn heard(&self, id: &str);
}

/// The name by which content is known.
pub(crate) fn artefact_ref(name: &str, content: &[u8]) -> ArtefactRef {
    ArtefactRef {
        name: name.to_owned(),
        sha256: hex::encode(Sha256::digest(content)),
        bytes: content.len() as u64,
    }
}
