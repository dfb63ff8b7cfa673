//! What is measured beside a peer: the server that both use, jm as people call it, and whether the goals are met.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::measured::{Measured, measured};

pub(crate) const JM: &str = env!("CARGO_BIN_EXE_jm");

/// A folder for all files of a benchmark, on the disk that was asked for.
pub(crate) fn folder() -> Result<tempfile::TempDir> {
    Ok(match std::env::var("JM_BENCH_DIR") {
        Ok(disk) => tempfile::tempdir_in(disk),
        Err(_) => tempfile::tempdir(),
    }?)
}

/// A server of `tests/services` that ends with this process.
pub(crate) struct Service {
    script: PathBuf,
    place: PathBuf,
}

impl Service {
    /// Starts the server of this script in a folder that it makes.
    pub(crate) fn start(script: &str, place: PathBuf, words: &[&str]) -> Result<Self> {
        let services = std::env::var("JM_TEST_SERVICES").context("run it by `tests/bench`")?;
        let script = Path::new(&services).join(script);
        let started = Command::new(&script)
            .arg("start")
            .arg(&place)
            .args(words)
            .args(["--owner", &std::process::id().to_string()])
            .output()?;
        let said = String::from_utf8_lossy(&started.stderr);
        ensure!(started.status.success(), "no server by `{}`: {said}", script.display());
        Ok(Self { script, place })
    }

    /// What it tells about itself, as lines of `NAME=VALUE`.
    pub(crate) fn told(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.place.join("env"))?)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // What does not stop now ends with this process.
        drop(Command::new(&self.script).arg("stop").arg(&self.place).output());
    }
}

/// Runs a step by itself, by a command of the binary without words yet, and gives what it gave out.
pub(crate) fn step(
    mut command: Command,
    folder: &Path,
    targets: &Path,
    step: &str,
    input: &Value,
) -> Result<(Measured, Value)> {
    command
        .current_dir(folder)
        .args(["step", "run", step, "--yes", "--format", "json", "--targets"])
        .arg(targets)
        .env("HOME", folder)
        .env("JM_STATE", folder.join("state"));
    for (field, value) in input.as_object().into_iter().flatten() {
        command.arg("--with").arg(format!("{field}={value}"));
    }
    let ran = measured(&mut command, folder)?;
    let mut result: Value = serde_json::from_str(&ran.said).with_context(|| ran.said.clone())?;
    let output = result["outputs"]["output"].take();
    ensure!(output.is_object(), "{step} gave out nothing: {result:#}");
    Ok((ran, output))
}

pub(crate) fn median(mut all: Vec<Duration>) -> Duration {
    all.sort();
    all.get(all.len() / 2).copied().unwrap_or_default()
}

pub(crate) fn ratio(one: Duration, other: Duration) -> f64 {
    one.as_secs_f64() / other.as_secs_f64()
}

/// So many things a second.
pub(crate) fn rate(things: usize, took: Duration) -> f64 {
    f64::from(u32::try_from(things).unwrap_or(u32::MAX)) / took.as_secs_f64()
}

/// Says a figure and its goal, and gives whether that is met; as those below.
pub(crate) fn at_most(what: &str, figure: f64, goal: f64) -> bool {
    let met = figure <= goal;
    println!("  {what}: {figure:.2} times (goal: at most {goal}, {})", verdict(met));
    met
}

pub(crate) fn at_least(what: &str, figure: f64, goal: f64) -> bool {
    let met = figure >= goal;
    println!("  {what}: {figure:.2} times (goal: at least {goal}, {})", verdict(met));
    met
}

/// Memory at its peak, in bytes.
pub(crate) fn in_memory(what: &str, peak: u64, goal: u64) -> bool {
    let met = peak <= goal;
    println!(
        "  {what}: {} MiB at most (goal: {} MiB, {})",
        peak >> 20,
        goal >> 20,
        verdict(met)
    );
    met
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}
