//! Ends what a step's child left behind outside of its process group, such as a daemon in a session of its own.
//!
//! Linux gives a process whose parent has ended to the nearest ancestor that takes such orphans in: jm does, once it has a
//! supervisor. What a child left is then a child of jm's that jm did not start, and carries the child's mark.

#![expect(
    clippy::disallowed_methods,
    reason = "what a process is and whose child it is stands in files of /proc"
)]

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process, waitid, waitpid};

/// The variable that marks what one child starts.
pub(super) const MARK: &str = "JM_CHILD";
/// How long one waits for a process that is between two states, and how often one looks whether it has left them.
const PATIENCE: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(1);

/// The children that jm has nothing to find out about: it started them itself, or nothing can be found out.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<HashSet<i32>>);

impl Known {
    pub(super) fn add(&self, child: Pid) {
        self.children().insert(child.as_raw_pid());
    }

    /// A child has ended or was told to: ends all that it left.
    pub(super) fn forget(&self, child: Pid, mark: &str) {
        // What it started comes to jm when it is dead, and not when it is killed.
        settle(|| lives(child));
        self.children().remove(&child.as_raw_pid());
        let entry = format!("{MARK}={mark}");
        // What is ended may have left children itself, which are jm's by then.
        settle(|| self.end_strays(&entry));
    }

    /// Ends the strays that can be seen, and says whether others may have come to jm by that.
    fn end_strays(&self, entry: &str) -> bool {
        let mut others = false;
        for stranger in self.strangers() {
            let mark = Mark::of(stranger, entry);
            if mark == Mark::Another || !lives(stranger) {
                continue;
            }
            if mark == Mark::Carried {
                // An error says that it has just ended by itself.
                let _ = kill_process(stranger, Signal::KILL);
                settle(|| lives(stranger));
                let _ = waitpid(Some(stranger), WaitOptions::NOHANG);
            } else {
                settle(|| lives(stranger) && Mark::of(stranger, entry) == Mark::Hidden);
            }
            if lives(stranger) && Mark::of(stranger, entry) == mark {
                // It cannot be ended, or has no environment at all: nobody waits for it a second time.
                self.add(stranger);
            }
            others = true;
        }
        others
    }

    /// Children of this process that it did not start. Orphans come to its first thread.
    fn strangers(&self) -> Vec<Pid> {
        let id = rustix::process::getpid().as_raw_pid();
        let children = std::fs::read_to_string(format!("/proc/self/task/{id}/children")).unwrap_or_default();
        let known = self.children();
        let ids = children.split_ascii_whitespace().filter_map(|id| id.parse().ok());
        ids.filter(|id| !known.contains(id)).filter_map(Pid::from_raw).collect()
    }

    fn children(&self) -> std::sync::MutexGuard<'_, HashSet<i32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits while something is so, which takes a moment and is never waited for longer than that.
fn settle(mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while is_so() && began.elapsed() < PATIENCE {
        std::thread::sleep(LOOK);
    }
}

/// Whether a child of this process has not come to its end. It is not reaped: that is its owner's affair.
fn lives(child: Pid) -> bool {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    matches!(waitid(WaitId::Pid(child), look), Ok(None))
}

/// What a process's environment says about where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Carried,
    Another,
    /// There is none, as for a moment where a process starts another program, and from where it ends.
    Hidden,
}

impl Mark {
    fn of(process: Pid, entry: &str) -> Self {
        match std::fs::read(format!("/proc/{}/environ", process.as_raw_pid())) {
            Ok(environ) if environ.is_empty() => Self::Hidden,
            Ok(environ)
                if environ
                    .split(|byte| *byte == 0)
                    .any(|variable| variable == entry.as_bytes()) =>
            {
                Self::Carried
            }
            _ => Self::Another,
        }
    }
}

/// Whether a process was started with this in its environment. That of a zombie is empty.
pub(super) fn carries(process: Pid, entry: &str) -> bool {
    Mark::of(process, entry) == Mark::Carried
}
