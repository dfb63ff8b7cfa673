//! The programs that are measured.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::plane::Plane;

const JM: &str = env!("CARGO_BIN_EXE_jm");
/// Between two looks at the memory of a process.
const PAUSE: Duration = Duration::from_millis(5);

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
        let (out, err) = (self.folder.join("out"), self.folder.join("err"));
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
            .env("ENCRYPTION_KEY", "a passphrase for nothing but this benchmark")
            .stdin(Stdio::null())
            .stdout(File::create(&out)?)
            .stderr(File::create(&err)?);
        let began = Instant::now();
        let mut child = command.spawn()?;
        let status = Path::new("/proc").join(child.id().to_string()).join("status");
        let mut peak = 0;
        let ended = loop {
            // The peak only grows: the last look before the end is the one that counts.
            peak = peak.max(high_water(&status).unwrap_or(0));
            if let Some(ended) = child.try_wait()? {
                break ended;
            }
            std::thread::sleep(PAUSE);
        };
        let took = began.elapsed();
        let (said, told) = (std::fs::read_to_string(out)?, std::fs::read_to_string(err)?);
        ensure!(ended.success(), "{step}: {said}{told}");
        ensure!(peak > 0, "nothing was measured");
        let mut result: Value = serde_json::from_str(&said).with_context(|| said.clone())?;
        let output = result["outputs"]["output"].take();
        ensure!(output.is_object(), "{step} gave out nothing: {result:#}");
        Ok(Ran { took, peak, output })
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

/// The most memory that a process has had, in bytes.
fn high_water(status: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(status).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes << 10)
}
