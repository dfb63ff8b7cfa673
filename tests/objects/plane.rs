//! The control plane that all are measured on.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// A control plane that ends with this process.
pub(crate) struct Plane {
    folder: tempfile::TempDir,
    script: PathBuf,
    kubeconfig: PathBuf,
    kubectl: PathBuf,
}

impl Plane {
    pub(crate) fn start() -> Result<Self> {
        let services = std::env::var("JM_TEST_SERVICES").context("run it by `tests/bench objects`")?;
        let script = Path::new(&services).join("control-plane");
        let folder = match std::env::var("JM_BENCH_DIR") {
            Ok(disk) => tempfile::tempdir_in(disk),
            Err(_) => tempfile::tempdir(),
        }?;
        let started = Command::new(&script)
            .arg("start")
            .arg(folder.path().join("plane"))
            .args(["--owner", &std::process::id().to_string()])
            .output()?;
        ensure!(
            started.status.success(),
            "no control plane: {}",
            String::from_utf8_lossy(&started.stderr)
        );
        let told = std::fs::read_to_string(folder.path().join("plane/env"))?;
        let kubectl = told.lines().find_map(|line| line.strip_prefix("KUBECTL="));
        Ok(Self {
            kubeconfig: folder.path().join("plane/kubeconfig"),
            kubectl: kubectl.context("the control plane tells no kubectl")?.into(),
            script,
            folder,
        })
    }

    /// Where all files of the benchmark lie.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// kubectl of the same version.
    pub(crate) fn kubectl(&self) -> &Path {
        &self.kubectl
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        // What does not stop now ends with this process.
        drop(
            Command::new(&self.script)
                .arg("stop")
                .arg(self.folder().join("plane"))
                .output(),
        );
    }
}
