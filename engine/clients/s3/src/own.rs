//! Uploads in parts that this machine has begun: each has a file until it is over, locked as long as its process is at it. So
//! the next run that writes the same key knows what one has left that nobody is at any more, and never takes what others are at
//! for that. Whoever goes on with a run whose upload was ended so begins that upload anew.
//!
//! A store tells of an upload its key and when it was begun, and not who began it for what.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this is the module that owns those files"
)]

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;

use jm_step::Environment;

use crate::checksum;

/// Where they are written down, beside the runs; nowhere, where the environment names no place for those.
#[derive(Debug)]
pub(crate) struct OwnUploads(Option<PathBuf>);

/// An upload that is written down, and that somebody is at. Dropped before it is over, it counts as left.
#[derive(Debug)]
pub(crate) struct Note {
    path: PathBuf,
    _locked: File,
}

impl OwnUploads {
    pub(crate) fn of(environment: &Environment) -> Self {
        // What is relative to a folder is another place from another one.
        let full = |name: &str| environment.get(name).filter(|path| path.starts_with('/'));
        let state = jm_step::state_dir(|name| full(name).map(str::to_owned));
        Self(state.map(|state| state.join("uploads")))
    }

    /// Writes one down. That this fails costs what its parts cost until a lifecycle rule ends it.
    pub(crate) fn note(&self, url: &str, id: &str) -> Option<Note> {
        let path = self.file(url, id)?;
        let written = || {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path.parent()?)
                .ok()?;
            let mut options = OpenOptions::new();
            let mut file = options
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&path)
                .ok()?;
            file.try_lock().ok()?;
            writeln!(file, "{url} {id}").ok()?;
            Some(file)
        };
        Some(Note {
            _locked: written()?,
            path,
        })
    }

    /// Whether this machine began it, and nobody is at it any more.
    pub(crate) fn is_left(&self, url: &str, id: &str) -> bool {
        let file = self.file(url, id).and_then(|path| File::open(path).ok());
        file.is_some_and(|file| file.try_lock().is_ok())
    }

    /// It is over.
    pub(crate) fn forget(&self, url: &str, id: &str) {
        if let Some(path) = self.file(url, id) {
            forget(&path);
        }
    }

    fn file(&self, url: &str, id: &str) -> Option<PathBuf> {
        let name = checksum::etag(format!("{url} {id}").as_bytes());
        Some(self.0.as_ref()?.join(name))
    }
}

impl Note {
    /// It became an object, or was ended.
    pub(crate) fn over(self) {
        forget(&self.path);
    }
}

/// One that stays names an upload that no store has any more, which nobody asks about.
fn forget(path: &std::path::Path) {
    let _gone: io::Result<()> = std::fs::remove_file(path);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_under_way_is_not_left_and_what_is_over_is_forgotten() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = folder.path().display().to_string();
        let own = || OwnUploads::of(&Environment::new([("JM_STATE".to_owned(), state.clone())]));
        let is_left = || own().is_left("s3://b/k", "id");
        assert!(!is_left(), "nobody's");
        let note = own().note("s3://b/k", "id").expect("written");
        assert!(!is_left(), "under way");
        drop(note);
        assert!(is_left());
        assert!(!own().is_left("s3://b/k", "other") && !own().is_left("s3://b/l", "id"));
        own().note("s3://b/k", "id").expect("gone on with").over();
        assert!(!is_left(), "over");
        drop(own().note("s3://b/k", "id"));
        own().forget("s3://b/k", "id");
        assert!(!is_left(), "ended");
        let nowhere = OwnUploads::of(&Environment::default());
        assert!(nowhere.note("s3://b/k", "id").is_none());
    }
}
