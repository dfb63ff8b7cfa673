//! Where runs are kept: one directory for each, with its journal, plan, logs, artefacts and inbox.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this module owns the directories of runs"
)]

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jm_step::{ArtefactRef, RunId, StepId};

use crate::files::{RunFiles, artefact_ref};
use crate::journal::{self, JournalError, Reading, Said};

/// The journal's name in a run's directory.
pub(crate) const JOURNAL: &str = "journal.jsonl";
/// The lock's name: held by the process that runs the run.
pub(crate) const LOCK: &str = "lock";
const PLAN: &str = "plan.yaml";
const LOGS: &str = "logs";
const ARTEFACTS: &str = "artefacts";
const INBOX: &str = "inbox";

/// `$JM_STATE`: all runs of this machine, and the locks on their targets.
#[derive(Debug, Clone)]
pub struct StateDir(PathBuf);

/// Why a run cannot be found.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system said no.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// No run has such an id.
    #[error("there is no run `{0}` in `{dir}`", dir = .1.display())]
    NoSuchRun(String, PathBuf),
    /// Several runs have ids that begin or end so.
    #[error("`{0}` may be any of {list}: write more of it", list = .1.join(", "))]
    Ambiguous(String, Vec<String>),
}

impl StateDir {
    /// Opens the directory; makes it where it is missing, readable for its owner alone.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, JournalError> {
        let path = path.into();
        for dir in [path.clone(), path.join("runs"), path.join("locks")] {
            make_dir(&dir)?;
        }
        Ok(Self(path))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where the locks on targets are.
    pub fn locks(&self) -> PathBuf {
        self.0.join("locks")
    }

    /// A directory for a new run, with the plan's text in it, on disk.
    pub fn create_run(&self, id: &RunId, plan: &str) -> Result<RunDir, JournalError> {
        let dir = RunDir(self.0.join("runs").join(id.as_str()));
        for path in [
            dir.0.clone(),
            dir.0.join(LOGS),
            dir.0.join(ARTEFACTS),
            dir.0.join(INBOX),
        ] {
            make_dir(&path)?;
        }
        write_synced(&dir.0.join(PLAN), plan.as_bytes())?;
        sync_dir(&dir.0)?;
        sync_dir(&self.0.join("runs"))?;
        Ok(dir)
    }

    /// All runs, newest first.
    pub fn runs(&self) -> Result<Vec<RunDir>, JournalError> {
        let dir = self.0.join("runs");
        let entries = fs::read_dir(&dir).map_err(JournalError::io("read", &dir))?;
        let mut runs: Vec<RunDir> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| id_of(path).is_some())
            .map(RunDir)
            .collect();
        runs.sort_by(|a, b| b.0.cmp(&a.0));
        Ok(runs)
    }

    /// The one run whose id begins or ends so.
    pub fn find(&self, name: &str) -> Result<RunDir, StoreError> {
        let wanted = name.to_lowercase();
        let fits = |run: &RunDir| {
            let id = run.id();
            id.as_str().starts_with(&wanted) || id.as_str().ends_with(&wanted)
        };
        let mut found: Vec<RunDir> = self.runs()?.into_iter().filter(fits).collect();
        match (found.pop(), found.is_empty()) {
            (Some(run), true) => Ok(run),
            (None, _) => Err(StoreError::NoSuchRun(name.to_owned(), self.0.clone())),
            (Some(run), false) => {
                found.push(run);
                let ids = found.iter().map(|run| run.id().to_string()).collect();
                Err(StoreError::Ambiguous(name.to_owned(), ids))
            }
        }
    }
}

/// A run's directory.
#[derive(Debug, Clone)]
pub struct RunDir(PathBuf);

impl RunDir {
    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The run's id.
    ///
    /// # Panics
    /// Never: only directories with such names become one of these.
    pub fn id(&self) -> RunId {
        id_of(&self.0).expect("made from an id")
    }

    /// The journal's path.
    pub fn journal(&self) -> PathBuf {
        self.0.join(JOURNAL)
    }

    /// The plan's text as the run was opened with it.
    pub fn plan(&self) -> Result<String, JournalError> {
        let path = self.0.join(PLAN);
        fs::read_to_string(&path).map_err(JournalError::io("read", &path))
    }

    /// What the journal holds, without taking its lock.
    pub fn read(&self) -> Result<Reading, JournalError> {
        journal::read(&self.journal())
    }

    /// What the journal holds up to where it is damaged, and the damage: to be looked at, and not to be gone on with.
    pub fn read_readable(&self) -> Result<(Reading, Option<JournalError>), JournalError> {
        journal::read_readable(&self.journal())
    }

    /// Whether anything was written down of it, or a process is about to. A run that was killed before its first record
    /// has done nothing.
    pub fn has_begun(&self) -> bool {
        match self.read() {
            Err(JournalError::Empty { .. }) => self.is_alive(),
            Err(JournalError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => self.is_alive(),
            _ => true,
        }
    }

    /// The log of an attempt.
    pub fn log_path(&self, step: &StepId, attempt: u32) -> PathBuf {
        self.0.join(LOGS).join(format!("{step}.{attempt}.log"))
    }

    /// The logs that there are, by step and attempt.
    pub fn logs(&self) -> Vec<(StepId, u32, PathBuf)> {
        let entries = fs::read_dir(self.0.join(LOGS)).into_iter().flatten();
        let mut logs: Vec<_> = entries.filter_map(|entry| log_of(entry.ok()?.path())).collect();
        logs.sort();
        logs
    }

    /// Whether an attempt wrote anything to its log.
    pub fn has_log(&self, step: &StepId, attempt: u32) -> bool {
        fs::metadata(self.log_path(step, attempt)).is_ok_and(|meta| meta.len() > 0)
    }

    /// What one of its logs says.
    pub fn log_text(&self, path: &Path) -> Result<String, JournalError> {
        fs::read_to_string(path).map_err(JournalError::io("read", path))
    }

    /// Keeps a file of the run's directory for people, such as its report: whole, or as it was before.
    pub fn keep(&self, name: &str, content: &[u8]) -> Result<(), JournalError> {
        let path = self.0.join(name);
        let unfinished = path.with_extension("new");
        write_synced(&unfinished, content)?;
        fs::rename(&unfinished, &path).map_err(JournalError::io("write", &path))
    }

    /// Whether a process runs it now.
    pub fn is_alive(&self) -> bool {
        let lock = File::open(self.0.join(LOCK));
        lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(fs::TryLockError::WouldBlock)))
    }

    /// Whether a word that was left for the process was taken out of the inbox.
    pub fn is_taken(&self, said: &Said) -> bool {
        !self.0.join(INBOX).join(format!("{}.json", said.id)).exists()
    }

    /// Leaves a person's word for the process that runs the run.
    pub fn say(&self, said: &Said) -> Result<(), JournalError> {
        let path = self.0.join(INBOX).join(format!("{}.json", said.id));
        let text = serde_json::to_vec(said).expect("a word is made of JSON");
        let unfinished = path.with_extension("new");
        write_synced(&unfinished, &text)?;
        fs::rename(&unfinished, &path).map_err(JournalError::io("write", &path))
    }
}

impl RunFiles for RunDir {
    fn put(&self, name: &str, content: &[u8]) -> std::io::Result<ArtefactRef> {
        let artefact = artefact_ref(name, content);
        let path = self.0.join(ARTEFACTS).join(&artefact.sha256);
        if !path.exists() {
            let unfinished = path.with_extension("new");
            let mut file = private(&unfinished)?;
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&unfinished, &path)?;
            File::open(self.0.join(ARTEFACTS))?.sync_all()?;
        }
        Ok(artefact)
    }

    fn get(&self, artefact: &ArtefactRef) -> std::io::Result<Vec<u8>> {
        let content = fs::read(self.0.join(ARTEFACTS).join(&artefact.sha256))?;
        if artefact_ref(&artefact.name, &content).sha256 == artefact.sha256 {
            return Ok(content);
        }
        let what = format!("artefact `{}` is not what was written", artefact.name);
        Err(std::io::Error::new(std::io::ErrorKind::InvalidData, what))
    }

    fn log(&self, step: &StepId, attempt: u32) -> std::io::Result<Box<dyn Write + Send + Sync>> {
        let file = private(&self.log_path(step, attempt))?;
        Ok(Box::new(std::io::LineWriter::new(file)))
    }

    fn inbox(&self) -> Vec<Said> {
        let entries = fs::read_dir(self.0.join(INBOX)).into_iter().flatten();
        let mut words: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
            .collect();
        words.sort();
        words
            .iter()
            .filter_map(|path| serde_json::from_slice(&fs::read(path).ok()?).ok())
            .collect()
    }

    fn heard(&self, id: &str) {
        // A word that stays behind is known by its id, and counts once.
        drop(fs::remove_file(self.0.join(INBOX).join(format!("{id}.json"))));
    }
}

fn id_of(path: &Path) -> Option<RunId> {
    path.file_name()?.to_str()?.parse().ok()
}

fn log_of(path: PathBuf) -> Option<(StepId, u32, PathBuf)> {
    let name = path.file_name()?.to_str()?.strip_suffix(".log")?;
    let (step, attempt) = name.rsplit_once('.')?;
    Some((step.parse().ok()?, attempt.parse().ok()?, path))
}

fn private(path: &Path) -> std::io::Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)
}

fn write_synced(path: &Path, content: &[u8]) -> Result<(), JournalError> {
    private(path)
        .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
        .map_err(JournalError::io("write", path))
}

fn make_dir(path: &Path) -> Result<(), JournalError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(JournalError::io("create", path))
}

fn sync_dir(path: &Path) -> Result<(), JournalError> {
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .map_err(JournalError::io("sync", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_found_by_either_end_of_their_id() {
        let temp = tempfile::tempdir().expect("a directory");
        let state = StateDir::open(temp.path().join("state")).expect("opens");
        let (old, new) = (RunId::generate(), RunId::generate());
        state.create_run(&old, "a: 1").expect("made");
        std::thread::sleep(std::time::Duration::from_millis(2));
        let newer = RunId::generate();
        assert_ne!(new, newer);
        state.create_run(&newer, "b: 1").expect("made");
        let runs: Vec<_> = state.runs().expect("listed").iter().map(RunDir::id).collect();
        assert_eq!(runs, [newer.clone(), old.clone()]);
        assert_eq!(state.find(newer.short()).expect("found").id(), newer);
        assert_eq!(state.find(old.as_str()).expect("found").plan().expect("text"), "a: 1");
        assert!(matches!(state.find("0"), Err(StoreError::Ambiguous(..))));
        assert!(matches!(state.find("zzz"), Err(StoreError::NoSuchRun(..))));
    }

    #[test]
    fn an_artefact_that_was_changed_is_refused() {
        let temp = tempfile::tempdir().expect("a directory");
        let state = StateDir::open(temp.path()).expect("opens");
        let run = state.create_run(&RunId::generate(), "").expect("made");
        let artefact = run.put("list", b"a\nb\n").expect("kept");
        assert_eq!(run.get(&artefact).expect("read"), b"a\nb\n");
        fs::write(run.path().join(ARTEFACTS).join(&artefact.sha256), "x").expect("written");
        assert!(run.get(&artefact).is_err());
    }
}
