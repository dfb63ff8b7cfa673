//! The store's folder: names, and files that are there whole or not at all.
//!
//! ```text
//! lock                                   held while a server keeps its state here
//! tmp/                                   files under way; emptied at the start
//! buckets/NAME/bucket.json               settings
//! buckets/NAME/objects/XX/SHA256.json    the history of one key, named by the hash of the key
//! buckets/NAME/data/XX/STAMP             bytes of a version or a part
//! buckets/NAME/uploads/STAMP/upload.json an upload under way, with one PART.json for each of its parts
//! ```
//!
//! A JSON file is written beside and renamed into place, and bytes are on disk before the file that names
//! them: a process that is killed leaves the old state or the new one, and at most bytes that nothing names,
//! which the next start removes. Nothing is synced: the state of a sandbox need not outlive the machine.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use ulid::Ulid;

use super::error::StoreError;
use super::stamp::Stamp;
use crate::SandboxError;

/// The folder of one bucket.
#[derive(Clone, Debug)]
pub(crate) struct BucketFolder {
    folder: PathBuf,
    tmp: PathBuf,
}

impl BucketFolder {
    /// The bucket's folder; `tmp` is the folder for files under way, on the same file system.
    pub(crate) fn new(folder: PathBuf, tmp: PathBuf) -> Self {
        Self { folder, tmp }
    }

    /// The folder itself.
    pub(crate) fn path(&self) -> &Path {
        &self.folder
    }

    /// Where the settings lie.
    pub(crate) fn settings(&self) -> PathBuf {
        self.folder.join("bucket.json")
    }

    /// The folder of all histories.
    pub(crate) fn histories(&self) -> PathBuf {
        self.folder.join("objects")
    }

    /// Where the history of a key lies. The hash makes a name of any key, whatever its characters and length.
    pub(crate) fn history(&self, key: &str) -> PathBuf {
        let name = hex::encode(Sha256::digest(key));
        self.histories().join(&name[..2]).join(format!("{name}.json"))
    }

    /// The folder of all bytes.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Where the bytes of a segment lie.
    pub(crate) fn segment(&self, file: Stamp) -> PathBuf {
        let name = file.to_string();
        // The end of a stamp is its random part, so the folders fill evenly.
        self.data().join(&name[name.len() - 2..]).join(&name)
    }

    /// The folder of all uploads under way.
    pub(crate) fn uploads(&self) -> PathBuf {
        self.folder.join("uploads")
    }

    /// The folder of one upload.
    pub(crate) fn upload(&self, id: Stamp) -> PathBuf {
        self.uploads().join(id.to_string())
    }

    /// Where the record of an upload's part lies.
    pub(crate) fn part(&self, id: Stamp, number: u16) -> PathBuf {
        self.upload(id).join(format!("{number:05}.json"))
    }

    /// Puts `value` at `path`, whole.
    pub(crate) fn save(&self, path: &Path, value: &impl Serialize) -> Result<(), StoreError> {
        let json = serde_json::to_vec(value).map_err(io::Error::from);
        let draft = unique(&self.tmp);
        json.and_then(|json| fs::write(&draft, json))
            .and_then(|()| rename(&draft, path))
            .map_err(StoreError::disk("write", path))
    }

    /// Moves a folder out of sight in one step, and then removes it.
    pub(crate) fn discard(&self, folder: &Path) -> Result<(), StoreError> {
        let grave = unique(&self.tmp);
        fs::rename(folder, &grave).map_err(StoreError::disk("remove", folder))?;
        fs::remove_dir_all(&grave).map_err(StoreError::disk("remove", &grave))
    }
}

/// A name in the folder for files under way that nothing else has.
pub(crate) fn unique(tmp: &Path) -> PathBuf {
    tmp.join(Ulid::new().to_string())
}

/// Renames, and makes the target's folder where it is missing.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_parent(to)?;
            fs::rename(from, to)
        }
        done => done,
    }
}

/// Makes the folder that `path` lies in. One level: a bucket that was removed meanwhile stays removed.
pub(crate) fn make_parent(path: &Path) -> io::Result<()> {
    let Some(parent) = path.parent() else { return Ok(()) };
    match fs::create_dir(parent) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        done => done,
    }
}

/// Removes a file that may be gone already.
pub(crate) fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::disk("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Reads a JSON file of the store.
pub(crate) fn load<T: DeserializeOwned>(path: &Path) -> Result<T, SandboxError> {
    let bytes = fs::read(path).map_err(SandboxError::file("read", path))?;
    serde_json::from_slice(&bytes).map_err(|error| SandboxError::State {
        path: path.to_path_buf(),
        reason: error.to_string(),
    })
}

/// The entries of a folder, none where it is missing.
pub(crate) fn entries(folder: &Path) -> Result<Vec<PathBuf>, SandboxError> {
    let read = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.map_err(SandboxError::file("read", folder))?,
    };
    read.map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<_>>()
        .map_err(SandboxError::file("read", folder))
}

/// The files two levels down, as histories and data lie.
pub(crate) fn files(folder: &Path) -> Result<Vec<PathBuf>, SandboxError> {
    let mut found = Vec::new();
    for inner in entries(folder)? {
        found.extend(entries(&inner)?);
    }
    Ok(found)
}
