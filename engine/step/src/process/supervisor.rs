//! Ends the children of a jm that was killed: jm itself, started once more, waiting for a pipe to close.
//!
//! Two nets, since a kill may fall between a start and its being told: the process groups that jm told of, and, on
//! Linux, every process whose environment carries the run's mark. Folders with what only children may read go with them.

#![expect(
    clippy::disallowed_methods,
    reason = "the supervisor reads the table of processes, and removes what only children may read"
)]

use std::io::{BufRead, Write};
use std::path::Path;
use std::process::{ChildStdin, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Pid, Signal, getpid, kill_process, kill_process_group, set_child_subreaper};

use super::strays::{Known, carries};
use crate::StepError;

/// The variable that marks every child of one jm.
const MARK: &str = "JM_SUPERVISED";

/// How often one looks for marked processes, and how many looks in a row have to find none.
const LOOK: std::time::Duration = std::time::Duration::from_millis(50);
const QUIET_LOOKS: u32 = 10;

/// Knows which process groups jm has started, in a process that outlives it.
#[derive(Debug, Clone)]
pub struct Supervisor(Option<Arc<Watcher>>);

#[derive(Debug)]
struct Watcher {
    mark: String,
    pipe: Mutex<ChildStdin>,
    known: Known,
}

impl Supervisor {
    /// Watches nothing: for tests of step types, where children end with the test's own process handles.
    pub fn none() -> Self {
        Self(None)
    }

    /// Starts `program argument MARK`, which is to call [`supervise`] with the same mark.
    pub fn start(program: &Path, argument: &str) -> Result<Self, StepError> {
        use std::os::unix::process::CommandExt;
        let mark = ulid::Ulid::new().to_string();
        #[expect(
            clippy::disallowed_methods,
            reason = "the supervisor must outlive jm, which children do not"
        )]
        let mut child = std::process::Command::new(program)
            .args([argument, &mark])
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A Ctrl-C at the terminal is for jm; the supervisor has to outlive it.
            .process_group(0)
            .spawn()
            .map_err(|error| StepError::unavailable("the supervisor of child processes cannot be started").source(error))?;
        let pipe = child
            .stdin
            .take()
            .ok_or_else(|| StepError::failed("the supervisor has no standard input"))?;
        // Whoever cannot take orphans in goes without: the supervisor still ends them with jm.
        let _ = set_child_subreaper(Some(getpid()));
        let known = Known::default();
        known.add(Pid::from_child(&child));
        Ok(Self(Some(Arc::new(Watcher {
            mark,
            pipe: Mutex::new(pipe),
            known,
        }))))
    }

    pub(super) fn mark(&self) -> Option<(&'static str, &str)> {
        self.0.as_ref().map(|watcher| (MARK, watcher.mark.as_str()))
    }

    pub(super) fn watch(&self, group: Pid) {
        self.tell('+', group.as_raw_nonzero());
        if let Some(watcher) = &self.0 {
            watcher.known.add(group);
        }
    }

    /// A child's group is gone; what has left the group and carries the child's mark goes too.
    pub(super) fn forget(&self, group: Pid, mark: &str) {
        self.tell('-', group.as_raw_nonzero());
        if let Some(watcher) = &self.0 {
            watcher.known.forget(group, mark);
        }
    }

    /// From now on a folder is removed where jm does not live to do it.
    pub fn watch_folder(&self, folder: &Path) {
        self.tell('+', folder.display());
    }

    /// A folder is jm's own affair again.
    pub fn forget_folder(&self, folder: &Path) {
        self.tell('-', folder.display());
    }

    fn tell(&self, sign: char, what: impl std::fmt::Display) {
        if let Some(watcher) = &self.0 {
            let mut pipe = watcher.pipe.lock().unwrap_or_else(PoisonError::into_inner);
            // A supervisor that is gone can watch nothing; the mark's net went with it, and jm's own handles still end
            // the children of every jm that is not killed.
            // One write for the whole line, for each is a system call.
            drop(pipe.write_all(format!("{sign}{what}\n").as_bytes()));
        }
    }
}

/// The supervisor's life: reads `+` and `-` with a process group or a folder until the pipe closes, then ends and removes
/// all that is left.
pub fn supervise(mark: &str) {
    let mut left: Vec<String> = Vec::new();
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let Some((sign, what)) = line.split_at_checked(1) else {
            continue;
        };
        left.retain(|known| known != what);
        if sign == "+" {
            left.push(what.to_owned());
        }
    }
    let groups = left.iter().filter_map(|what| what.parse::<i32>().ok());
    for group in groups.filter_map(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    end_marked(mark);
    for folder in left.iter().map(Path::new).filter(|path| path.is_absolute()) {
        // Nobody is left to be told.
        drop(std::fs::remove_dir_all(folder));
    }
}

/// Ends every process with the mark, until several looks in a row find none: one that is just being started shows up a
/// moment later.
fn end_marked(mark: &str) {
    let entry = format!("{MARK}={mark}");
    let mut quiet = 0;
    while quiet < QUIET_LOOKS {
        let found = marked(&entry);
        quiet = if found.is_empty() { quiet + 1 } else { 0 };
        for process in &found {
            let _ = kill_process(*process, Signal::KILL);
        }
        std::thread::sleep(LOOK);
    }
}

fn marked(entry: &str) -> Vec<Pid> {
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .filter_map(|process| process.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter_map(Pid::from_raw)
        // A zombie's environment is empty, so a process that is dead is not found for ever.
        .filter(|process| carries(*process, entry))
        .collect()
}
