//! The programs that are measured.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::beside::{self, JM};
use crate::plane::Plane;

/// What a run of the binary came to.
pub(crate) struct Ran {
    pub(crate) took: Duration,
    /// The most memory that the process had, in bytes.
    pub(crate) peak: u64,
    /// What the step gave out.
    pub(crate) output: Value,
}

/// The binary, with a namespace to act in.
pub(crate) struct Jm {
    folder: PathBuf,
    targets: PathBuf,
}

impl Jm {
    pub(crate) fn new(plane: &Plane, kubeconfig: &Path, namespace: &str) -> Result<Self> {
        let folder = plane.folder().to_owned();
        let targets = folder.join(format!("{namespace}-targets.yaml"));
        let text = format!(
            "apiVersion: jm/v1\nkind: Targets\nname: bench\ntargets:\n  \
             cluster: {{ provider: kubernetes, kubeconfig: \"{}\", namespace: {namespace} }}\n  \
             backups: {{ provider: backup, directory: \"{}\", key: \"${{{{ env.ENCRYPTION_KEY }}}}\" }}\n",
            kubeconfig.display(),
            folder.join("backups").display()
        );
        std::fs::write(&targets, text)?;
        Ok(Self { folder, targets })
    }

    /// Runs a step by itself.
    pub(crate) fn run(&self, step: &str, input: &Value) -> Result<Ran> {
        let mut command = Command::new(JM);
        command.env("ENCRYPTION_KEY", "a passphrase for nothing but this benchmark");
        let (ran, output) = beside::step(command, &self.folder, &self.targets, step, input)?;
        Ok(Ran {
            took: ran.took,
            peak: ran.peak,
            output,
        })
    }
}

/// Applies a file by kubectl, and says how long it took.
pub(crate) fn kubectl(plane: &Plane, kubeconfig: &Path, file: &Path) -> Result<Duration> {
    let began = Instant::now();
    let ran = Command::new(plane.kubectl())
        .env("HOME", plane.folder())
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(["apply", "--server-side", "-f"])
        .arg(file)
        .output()?;
    let took = began.elapsed();
    ensure!(
        ran.status.success(),
        "kubectl: {}",
        String::from_utf8_lossy(&ran.stderr)
    );
    Ok(took)
}
