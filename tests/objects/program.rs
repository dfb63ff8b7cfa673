//! The programs that are measured.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::measured::measured;
use crate::plane::Plane;

const JM: &str = env!("CARGO_BIN_EXE_jm");

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
        command
            .current_dir(&self.folder)
            .args(["step", "run", step, "--yes", "--format", "json"]);
        for (field, value) in input.as_object().into_iter().flatten() {
            command.arg("--with").arg(format!("{field}={value}"));
        }
        command
            .arg("--targets")
            .arg(&self.targets)
            .env("HOME", &self.folder)
            .env("JM_STATE", self.folder.join("state"))
            .env("ENCRYPTION_KEY", "a passphrase for nothing but this benchmark");
        let ran = measured(&mut command, &self.folder)?;
        let mut result: Value = serde_json::from_str(&ran.said).with_context(|| ran.said.clone())?;
        let output = result["outputs"]["output"].take();
        ensure!(output.is_object(), "{step} gave out nothing: {result:#}");
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
