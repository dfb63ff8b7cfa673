//! The control plane that all are measured on.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::beside::{self, Service};

/// A control plane that ends with this process.
pub(crate) struct Plane {
    // Stopped before its folder is removed.
    _service: Service,
    folder: tempfile::TempDir,
    kubeconfig: PathBuf,
    kubectl: PathBuf,
}

impl Plane {
    pub(crate) fn start() -> Result<Self> {
        let folder = beside::folder()?;
        let service = Service::start("control-plane", folder.path().join("plane"), &[])?;
        let told = service.told()?;
        let kubectl = told.lines().find_map(|line| line.strip_prefix("KUBECTL="));
        Ok(Self {
            kubeconfig: folder.path().join("plane/kubeconfig"),
            kubectl: kubectl.context("the control plane tells no kubectl")?.into(),
            _service: service,
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
