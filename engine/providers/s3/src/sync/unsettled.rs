//! What has to be put on disk at the end of a sync to a directory.

#![expect(clippy::disallowed_types, reason = "one side of a sync is a directory")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use jm_step::StepError;

use super::act::SMALL;
use crate::file;

/// What was written to a directory and may not be on disk yet.
#[derive(Default)]
pub(super) struct Unsettled {
    /// Whether there is anything but large files: then the whole file system is told to write, which is one request for many
    /// files, and waits for what everybody else has written there, too.
    anything: AtomicBool,
    /// The folders of large files, each of which is on disk by itself.
    folders: Mutex<BTreeSet<PathBuf>>,
}

impl Unsettled {
    /// A file of so many bytes was written there, or something was removed (0).
    pub(super) fn note(&self, path: &Path, bytes: u64) {
        if bytes <= SMALL {
            return self.anything.store(true, Ordering::Relaxed);
        }
        let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        folders.insert(file::folder_of(path).to_owned());
    }

    /// Puts it on disk. A name is there when its folder is, and that when the one above it is.
    pub(super) fn settle(&self, root: &Path) -> Result<(), StepError> {
        if self.anything.load(Ordering::Relaxed) {
            let failed = |error: std::io::Error| file::failed("write", root, error);
            let root = std::fs::File::open(root).map_err(failed)?;
            return rustix::fs::syncfs(&root).map_err(|error| failed(error.into()));
        }
        let folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        let within = |folder: &&Path| folder.starts_with(root);
        let all: BTreeSet<&Path> = folders
            .iter()
            .flat_map(|folder| folder.ancestors().take_while(within))
            .collect();
        let above = (!all.is_empty()).then(|| file::folder_of(root));
        all.into_iter().chain(above).try_for_each(file::sync_folder)
    }
}
