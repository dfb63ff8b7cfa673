//! Where the sandboxes of this user are. Those for which nobody named a place are in the folder for temporary files; there,
//! a link leads to each of the others. It is found whatever `JM_STATE` and `HOME` say, for these are a sandbox's own where
//! somebody works in one.

#![expect(
    clippy::disallowed_methods,
    reason = "sandboxes are found by their directories, and by links to them"
)]

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::environment;

/// What the directories of sandboxes begin with for which nobody named a place, and the links to the others.
const PREFIX: &str = "jm-sandbox-";

/// The sandbox for which nobody named a place. Its servers may run as another user, who has to be able to get there: so not
/// below a home.
pub(super) fn unnamed() -> PathBuf {
    std::env::temp_dir().join(format!("{PREFIX}{}", environment::user()))
}

/// Keeps a sandbox in mind until it is forgotten, or gone.
pub(super) fn remember(directory: &Path) -> io::Result<()> {
    let folder = std::env::temp_dir();
    if directory.parent() == Some(&folder) && is_named_like_ours(directory) || leads_to(directory).next().is_some() {
        return Ok(());
    }
    let digest = hex::encode(Sha256::digest(directory.as_os_str().as_encoded_bytes()));
    let mut link = unnamed().into_os_string();
    link.push(format!(".at-{}", &digest[..16]));
    std::os::unix::fs::symlink(directory, link)
}

/// Keeps it in mind no longer.
pub(super) fn forget(directory: &Path) {
    for link in leads_to(directory) {
        // Whoever looks for sandboxes drops a link that leads nowhere.
        drop(std::fs::remove_file(link));
    }
}

/// All that are there, up or not, by their names. Links that lead to none are dropped.
pub(super) fn all() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = entries().into_iter().filter(|path| is_sandbox(path)).collect();
    for (link, directory) in links() {
        if is_sandbox(&directory) {
            found.push(directory);
        } else {
            drop(std::fs::remove_file(link));
        }
    }
    found.sort();
    found.dedup();
    found
}

/// What is ours in the folder for temporary files.
fn entries() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| is_named_like_ours(path) && is_ours(path))
        .collect()
}

fn links() -> impl Iterator<Item = (PathBuf, PathBuf)> {
    let entries = entries().into_iter();
    entries.filter_map(|path| std::fs::read_link(&path).ok().map(|directory| (path, directory)))
}

fn leads_to(directory: &Path) -> impl Iterator<Item = PathBuf> {
    links().filter(move |(_, to)| to == directory).map(|(link, _)| link)
}

fn is_named_like_ours(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with(PREFIX))
}

/// Anybody may write into the folder for temporary files.
fn is_ours(path: &Path) -> bool {
    let found = std::fs::symlink_metadata(path);
    found.is_ok_and(|found| found.uid() == rustix::process::geteuid().as_raw())
}

fn is_sandbox(path: &Path) -> bool {
    let found = std::fs::symlink_metadata(path);
    found.is_ok_and(|found| found.is_dir()) && is_ours(path) && path.join("options.json").exists()
}
