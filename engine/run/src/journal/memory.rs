//! A journal and a run's files in memory: for dry runs, which leave nothing behind, and for tests.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use jm_step::{ArtefactRef, StepId};

use super::{Journal, JournalError, Record, Said};
use crate::files::{RunFiles, artefact_ref};

/// Records, each batch a sync.
#[derive(Debug, Clone, Default)]
pub struct MemoryJournal(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    records: Vec<Record>,
    syncs: usize,
    room: Option<usize>,
}

impl MemoryJournal {
    /// An empty journal.
    pub fn new() -> Self {
        Self::default()
    }

    /// A journal whose disk is full after so many more records: the batch that would go beyond is kept up to there,
    /// and refused.
    pub fn with_room(records: usize) -> Self {
        let journal = Self::default();
        journal.kept(|kept| kept.room = Some(records));
        journal
    }

    /// What it holds.
    pub fn records(&self) -> Vec<Record> {
        self.kept(|kept| kept.records.clone())
    }

    /// How many batches it took.
    pub fn syncs(&self) -> usize {
        self.kept(|kept| kept.syncs)
    }

    fn kept<T>(&self, look: impl FnOnce(&mut Kept) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Journal for MemoryJournal {
    fn append(&mut self, batch: &[Record]) -> Result<(), JournalError> {
        self.kept(|kept| {
            let room = kept.room.unwrap_or(usize::MAX).min(batch.len());
            kept.records.extend_from_slice(&batch[..room]);
            kept.room = kept.room.map(|left| left - room);
            if room < batch.len() {
                return Err(JournalError::Poisoned);
            }
            kept.syncs += 1;
            Ok(())
        })
    }
}

/// A run's files, in memory.
#[derive(Debug, Clone, Default)]
pub struct MemoryFiles(Arc<Mutex<Files>>);

#[derive(Debug, Default)]
struct Files {
    artefacts: BTreeMap<String, Vec<u8>>,
    logs: BTreeMap<String, Vec<u8>>,
    inbox: Vec<Said>,
}

impl MemoryFiles {
    /// No files.
    pub fn new() -> Self {
        Self::default()
    }

    /// The log of an attempt.
    pub fn log_of(&self, step: &str, attempt: u32) -> String {
        let logs = &self.files().logs;
        let log = logs.get(&format!("{step}.{attempt}"));
        log.map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            .unwrap_or_default()
    }

    /// Puts a person's word into the inbox.
    pub fn say(&self, said: Said) {
        self.files().inbox.push(said);
    }

    fn files(&self) -> std::sync::MutexGuard<'_, Files> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RunFiles for MemoryFiles {
    fn put(&self, name: &str, content: &[u8]) -> std::io::Result<ArtefactRef> {
        let artefact = artefact_ref(name, content);
        let kept = content.to_vec();
        self.files().artefacts.insert(artefact.sha256.clone(), kept);
        Ok(artefact)
    }

    fn get(&self, artefact: &ArtefactRef) -> std::io::Result<Vec<u8>> {
        let found = self.files().artefacts.get(&artefact.sha256).cloned();
        found.ok_or_else(|| std::io::ErrorKind::NotFound.into())
    }

    fn log(&self, step: &StepId, attempt: u32) -> std::io::Result<Box<dyn Write + Send + Sync>> {
        Ok(Box::new(Log(self.clone(), format!("{step}.{attempt}"))))
    }

    fn inbox(&self) -> Vec<Said> {
        self.files().inbox.clone()
    }

    fn heard(&self, id: &str) {
        self.files().inbox.retain(|said| said.id != id);
    }
}

struct Log(MemoryFiles, String);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut files = self.0.files();
        files.logs.entry(self.1.clone()).or_default().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
