//! What stands where files are to be kept: every file with its hash, every folder, every symbolic link.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "files are kept as they lie on this machine"
)]

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use jm_step::{StepError, StepErrorKind};
use sha2::{Digest, Sha256};

use crate::content::{FileKind, IndexedFile, LeftOut};

/// What is kept, by its whole path.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) found: BTreeMap<String, Found>,
    /// What is there and cannot be kept.
    pub(super) left_out: Vec<LeftOut>,
}

/// One file, folder or link.
pub(super) struct Found {
    pub(super) metadata: Metadata,
    pub(super) what: What,
}

pub(super) enum What {
    /// With the SHA-256 of its content.
    File(String),
    Folder,
    /// With where it leads.
    Link(PathBuf),
}

impl Gathered {
    /// What a manifest tells, with the tags that `tag` makes.
    pub(super) fn index(
        &self,
        tag: impl Fn(&[u8]) -> Result<String, StepError>,
    ) -> Result<BTreeMap<String, IndexedFile>, StepError> {
        let mut index = BTreeMap::new();
        for (path, Found { metadata, what }) in &self.found {
            let (kind, bytes, content) = match what {
                What::File(sha256) => (FileKind::File, metadata.len(), Some(sha256.clone())),
                What::Folder => (FileKind::Folder, 0, None),
                What::Link(target) => (FileKind::Link, 0, Some(target.display().to_string())),
            };
            let tag = match content {
                Some(content) => tag(format!("{path}\0{content}").as_bytes())?,
                None => String::new(),
            };
            let mode = format!("{:04o}", metadata.permissions().mode() & 0o7777);
            index.insert(path.clone(), IndexedFile { kind, mode, bytes, tag });
        }
        Ok(index)
    }

    fn leave_out(&mut self, path: &Path, why: impl Into<String>) {
        self.left_out.push(LeftOut {
            name: path.display().to_string(),
            why: why.into(),
        });
    }

    /// Takes what a path leads to, and what is in it.
    fn take(&mut self, path: &Path, metadata: Metadata) -> io::Result<()> {
        let Some(name) = path.to_str().map(str::to_owned) else {
            self.leave_out(path, "its name is not UTF-8");
            return Ok(());
        };
        let kind = metadata.file_type();
        let what = if kind.is_dir() {
            self.take_inside(path)?;
            What::Folder
        } else if kind.is_symlink() {
            What::Link(std::fs::read_link(path)?)
        } else if kind.is_file() {
            What::File(sha256(path)?)
        } else {
            self.leave_out(path, "it is neither a file, a folder nor a symbolic link");
            return Ok(());
        };
        // A link that was named itself is meant for what it leads to, also where the folder that it stands in is kept.
        if matches!(what, What::Link(_)) && self.found.contains_key(&name) {
            return Ok(());
        }
        self.found.insert(name, Found { metadata, what });
        Ok(())
    }

    fn take_inside(&mut self, folder: &Path) -> io::Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            let taken = std::fs::symlink_metadata(&path).and_then(|metadata| self.take(&path, metadata));
            match taken {
                // Gone between the listing and the look: it is not there.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => self.leave_out(&path, error.to_string()),
                Ok(()) => {}
            }
        }
        Ok(())
    }
}

/// Looks at all of it.
pub(super) fn gather(paths: &[PathBuf]) -> Result<Gathered, StepError> {
    let mut gathered = Gathered::default();
    for path in paths {
        let taken = place(path).and_then(|place| {
            // A link that is named is meant for what it leads to.
            let metadata = std::fs::metadata(&place)?;
            gathered.take(&place, metadata)
        });
        taken.map_err(|error| unreadable(path, error))?;
    }
    gathered.left_out.sort();
    Ok(gathered)
}

/// The whole path, without `..` and with no link in the folders that lead to it.
fn place(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Ok(parent.canonicalize()?.join(name)),
        _ => path.canonicalize(),
    }
}

/// SHA-256 of a file, hex.
fn sha256(path: &Path) -> io::Result<String> {
    let mut hasher = Sha256::new();
    io::copy(&mut File::open(path)?, &mut hasher)?;
    Ok(hex::encode(hasher.finalize()))
}

fn unreadable(path: &Path, error: io::Error) -> StepError {
    let (kind, hint) = match error.kind() {
        io::ErrorKind::NotFound => (
            StepErrorKind::NotFound,
            "name what is there: `paths` are files and folders of this machine",
        ),
        io::ErrorKind::PermissionDenied => (StepErrorKind::Denied, "run jm as a user who may read it"),
        _ => (StepErrorKind::Failed, "see whether it can be read by hand"),
    };
    StepError::new(kind, format!("`{}` cannot be backed up: {error}", path.display()))
        .hint(hint)
        .source(error)
}
