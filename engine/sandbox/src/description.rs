//! What a sandbox is: chosen by whoever starts it, and described on disk by its process once it is ready.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::SandboxError;

/// The file in the sandbox's folder that says that it is up, and how to reach it.
const DESCRIPTION: &str = "sandbox.json";
/// The file that keeps what was chosen, for the process that is started.
const OPTIONS: &str = "options.json";

/// Which Kubernetes a sandbox has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KubernetesKind {
    /// The small API server of [`crate::kubernetes`].
    #[default]
    Embedded,
    /// A real control plane, whose programs are in this folder.
    Real,
}

/// Where the sandbox's database lives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DatabasePlace {
    /// Beside the cluster: a server of its own, up as long as the sandbox is.
    #[default]
    Beside,
    /// In the cluster: a `StatefulSet` that whoever fills the sandbox deploys, and that is lost with the cluster.
    InCluster,
}

/// What is chosen when a sandbox is started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// Which Kubernetes it has.
    pub kubernetes: KubernetesKind,
    /// Where its database lives.
    #[serde(default)]
    pub database: DatabasePlace,
}

impl Options {
    /// Keeps them in the sandbox's folder.
    pub fn save(&self, directory: &Path) -> Result<(), SandboxError> {
        save(directory, OPTIONS, self)
    }

    /// Reads them back.
    pub fn load(directory: &Path) -> Result<Self, SandboxError> {
        load(directory, OPTIONS).map(Option::unwrap_or_default)
    }
}

/// A sandbox that is up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// The process that holds it.
    pub pid: u32,
    /// When it became ready.
    pub started_at: Timestamp,
    /// The environment that leads into it, and to nothing else: addresses and credentials by the names that the
    /// procedures, the clients and jm know.
    pub environment: BTreeMap<String, String>,
    /// Where its database lives.
    #[serde(default)]
    pub database: DatabasePlace,
    /// Where its process listens for what is to befall it.
    #[serde(default)]
    pub control: Option<PathBuf>,
}

impl Description {
    /// The sandbox that is up in this folder. One whose process is gone does not count.
    pub fn find(directory: &Path) -> Result<Option<Self>, SandboxError> {
        let found: Option<Self> = load(directory, DESCRIPTION)?;
        Ok(found.filter(|description| is_sandbox(description.pid, directory)))
    }

    /// Tells that the sandbox is up.
    pub(crate) fn publish(&self, directory: &Path) -> Result<(), SandboxError> {
        save(directory, DESCRIPTION, self)
    }

    /// Tells that it is not up any more.
    pub(crate) fn withdraw(directory: &Path) {
        // It may never have been published.
        drop(std::fs::remove_file(directory.join(DESCRIPTION)));
    }

    /// A variable of its environment; empty where it has none of this name.
    pub fn variable(&self, name: &str) -> &str {
        self.environment.get(name).map_or("", String::as_str)
    }
}

/// Whether the process is that of a sandbox in this folder: its number may have gone to another one since.
fn is_sandbox(pid: u32, directory: &Path) -> bool {
    let Ok(arguments) = std::fs::read(format!("/proc/{pid}/cmdline")) else {
        return false;
    };
    let wanted = directory.as_os_str().as_encoded_bytes();
    arguments.split(|byte| *byte == 0).any(|argument| argument == wanted)
}

pub(crate) fn save(directory: &Path, name: &str, value: &impl Serialize) -> Result<(), SandboxError> {
    use std::os::unix::fs::OpenOptionsExt;
    let path = directory.join(name);
    let partial = directory.join(format!("{name}.partial"));
    let text = serde_json::to_vec_pretty(value).map_err(|error| SandboxError::State {
        path: path.clone(),
        reason: error.to_string(),
    })?;
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&partial);
    let written = file
        .and_then(|mut file| std::io::Write::write_all(&mut file, &text))
        .and_then(|()| std::fs::rename(&partial, &path));
    written.map_err(SandboxError::file("write", path))
}

pub(crate) fn load<T: for<'de> Deserialize<'de>>(directory: &Path, name: &str) -> Result<Option<T>, SandboxError> {
    let path = directory.join(name);
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(SandboxError::file("read", path)(error)),
    };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|error| SandboxError::State {
            path,
            reason: error.to_string(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandbox_whose_process_is_another_one_is_not_up() {
        let directory = tempfile::tempdir().expect("a folder");
        let description = Description {
            pid: std::process::id(),
            started_at: Timestamp::UNIX_EPOCH,
            environment: BTreeMap::new(),
            database: DatabasePlace::default(),
            control: None,
        };
        description.publish(directory.path()).expect("written");
        assert_eq!(
            Description::find(directory.path()).expect("read"),
            None,
            "this test is no sandbox"
        );
        assert_eq!(
            Description::find(&directory.path().join("nowhere")).expect("read"),
            None
        );
    }
}
