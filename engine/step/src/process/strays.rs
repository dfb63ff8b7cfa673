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

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

/// The variable that marks what one child starts.
pub(super) const MARK: &str = "JM_CHILD";
/// What was ended may have left children itself. So often, at most, one looks for more.
const ROUNDS: usize = 16;

/// The children that jm started itself.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<HashSet<i32>>);

impl Known {
    pub(super) fn add(&self, child: Pid) {
        self.children().insert(child.as_raw_pid());
    }

    /// A child has ended: ends all that it left.
    pub(super) fn forget(&self, child: Pid, mark: &str) {
        self.children().remove(&child.as_raw_pid());
        let entry = format!("{MARK}={mark}");
        for _ in 0..ROUNDS {
            let strays: Vec<Pid> = self
                .strangers()
                .into_iter()
                .filter(|one| carries(*one, &entry))
                .collect();
            if strays.is_empty() {
                return;
            }
            for stray in strays {
                // It may end by itself at this very moment. Waited for, it has given its own children to jm.
                let _ = kill_process(stray, Signal::KILL);
                let _ = waitpid(Some(stray), WaitOptions::empty());
            }
        }
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

/// Whether a process was started with this in its environment. That of a zombie is empty.
pub(super) fn carries(process: Pid, entry: &str) -> bool {
    std::fs::read(format!("/proc/{}/environ", process.as_raw_pid())).is_ok_and(|environ| {
        environ
            .split(|byte| *byte == 0)
            .any(|variable| variable == entry.as_bytes())
    })
}
