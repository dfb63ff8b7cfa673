//! What a process of jm costs, beside the peers that people know: the start, the check of a large plan, and many small
//! children. `cargo bench -p jm`, or `tests/bench` for these and all others; `JM_BENCH_DIR` names the disk.
//!
//! A peer that is not installed is said in capitals. A goal that is missed, or not proven for want of a peer, makes the
//! benchmark end with 1.

#![expect(clippy::print_stdout, reason = "a benchmark's result is what it prints")]
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a benchmark starts the programs that it measures, reads its own settings, and keeps files of its own"
)]

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

const JM: &str = env!("CARGO_BIN_EXE_jm");
/// How often each figure is taken; the median counts.
const ROUNDS: usize = 11;

const VERSION_GOAL: f64 = 10.0;
const STEPS: usize = 1_000;
const RESOURCES: usize = 500;
const VALIDATE_GOAL: f64 = 1.0 / 3.0;
const CHILDREN: usize = 500;
const AT_ONCE: usize = 8;
const CHILDREN_GOAL: f64 = 1.2;

fn main() -> Result<ExitCode> {
    let temp = match std::env::var("JM_BENCH_DIR") {
        Ok(dir) => tempfile::tempdir_in(dir),
        Err(_) => tempfile::tempdir(),
    }?;
    let met = [version(temp.path())?, validate(temp.path())?, children(temp.path())?];
    Ok(ExitCode::from(u8::from(met.contains(&false))))
}

/// A process with an environment of its own.
fn jm(at: &Path) -> Command {
    let mut command = Command::new(JM);
    command
        .current_dir(at)
        .env("JM_STATE", at.join("state"))
        .env("HOME", at);
    command
}

/// How long a command takes, in milliseconds.
fn took(command: &mut Command) -> Result<f64> {
    let began = Instant::now();
    let output = command.stdin(Stdio::null()).output()?;
    let took = began.elapsed();
    ensure!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(milliseconds(took))
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Taken in turns, so that both see the same machine.
fn in_turns(mut one: impl FnMut() -> Result<f64>, mut other: impl FnMut() -> Result<f64>) -> Result<(f64, f64)> {
    let (mut ones, mut others) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ones.push(one()?);
        others.push(other()?);
    }
    Ok((median(ones), median(others)))
}

fn is_installed(program: &str, argument: &str) -> bool {
    let asked = Command::new(program).arg(argument).output();
    let is_there = asked.is_ok_and(|output| output.status.success());
    if !is_there {
        println!("  PEER MISSING: `{program}` is not installed, so there is no ratio and the goal is not proven");
    }
    is_there
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}

/// Gives, as those below do, whether the goal is met.
fn version(at: &Path) -> Result<bool> {
    println!("`jm --version`");
    let figures = (0..ROUNDS)
        .map(|_| took(jm(at).arg("--version")))
        .collect::<Result<_>>()?;
    let figure = median(figures);
    println!(
        "  {figure:.1} ms (goal: at most {VERSION_GOAL} ms, {})",
        verdict(figure <= VERSION_GOAL)
    );
    Ok(figure <= VERSION_GOAL)
}

fn validate(at: &Path) -> Result<bool> {
    println!("`jm plan validate` of {STEPS} steps, `terraform validate` of {RESOURCES} resources");
    let plan = at.join("large.yaml");
    std::fs::write(&plan, large_plan()?)?;
    let mine = || took(jm(at).args(["plan", "validate"]).arg(&plan));
    if !is_installed("terraform", "version") {
        let figures = (0..ROUNDS).map(|_| mine()).collect::<Result<_>>()?;
        println!(
            "  jm {:.1} ms; TERRAFORM IS NOT INSTALLED: the goal, at most {VALIDATE_GOAL:.2} of its time, is not proven (put \
             `terraform` on PATH)",
            median(figures)
        );
        return Ok(false);
    }
    let folder = at.join("terraform");
    std::fs::create_dir(&folder)?;
    let mut resources = String::new();
    for i in 0..RESOURCES {
        let of = if i == 0 {
            "0".to_owned()
        } else {
            format!("terraform_data.r{}.id", i - 1)
        };
        writeln!(resources, "resource \"terraform_data\" \"r{i}\" {{\n  input = {of}\n}}")?;
    }
    std::fs::write(folder.join("main.tf"), resources)?;
    let terraform = |words: &[&str]| {
        let mut command = Command::new("terraform");
        command.current_dir(&folder).args(words).env("CHECKPOINT_DISABLE", "1");
        took(&mut command)
    };
    terraform(&["init", "-input=false", "-no-color"])?;
    let (mine, theirs) = in_turns(mine, || terraform(&["validate", "-no-color"]))?;
    let ratio = mine / theirs;
    println!(
        "  jm {mine:.1} ms, terraform {theirs:.1} ms, ratio {ratio:.2} (goal: at most {VALIDATE_GOAL:.2}, {})",
        verdict(ratio <= VALIDATE_GOAL)
    );
    Ok(ratio <= VALIDATE_GOAL)
}

/// Every step reads what the one before it gave.
fn large_plan() -> Result<String> {
    let mut plan = "apiVersion: jm/v1\nname: large\nsteps:\n".to_owned();
    for i in 0..STEPS {
        let argument = match i {
            0 => "first".to_owned(),
            _ => format!("${{{{ steps.s{}.outputs.stdout }}}}", i - 1),
        };
        writeln!(
            plan,
            "  - id: s{i}\n    uses: command.run\n    with: {{ argv: [echo, \"{argument}\"], effect: read-only }}"
        )?;
    }
    Ok(plan)
}

fn children(at: &Path) -> Result<bool> {
    println!("{CHILDREN} times `true`, {AT_ONCE} at once");
    let plan = at.join("children.yaml");
    let mut text = format!("apiVersion: jm/v1\nname: children\nmax_parallel: {AT_ONCE}\nsteps:\n");
    for i in 0..CHILDREN {
        writeln!(
            text,
            "  - {{ id: s{i}, uses: command.run, with: {{ argv: ['true'], effect: read-only }} }}"
        )?;
    }
    std::fs::write(&plan, text)?;
    let (mut syncs, mut counts) = (Vec::new(), Vec::new());
    let mut mine = || -> Result<f64> {
        let whole = took(jm(at).args(["plan", "run", "--yes", "--quiet"]).arg(&plan))?;
        let batches = batches(&newest_journal(at)?)?;
        let alone = write_again(&at.join("alone"), &batches)?;
        counts.push(batches.len());
        syncs.push(alone);
        Ok(whole - alone)
    };
    if !is_installed("ninja", "--version") {
        let figures = (0..ROUNDS).map(|_| mine()).collect::<Result<_>>()?;
        println!("  jm {:.1} ms beside its syncs", median(figures));
        return Ok(false);
    }
    let folder = at.join("ninja");
    std::fs::create_dir(&folder)?;
    let mut text = "rule run\n  command = true\n".to_owned();
    for i in 0..CHILDREN {
        writeln!(text, "build s{i}: run")?;
    }
    std::fs::write(folder.join("build.ninja"), text)?;
    let theirs = || {
        let mut command = Command::new("ninja");
        took(command.current_dir(&folder).args(["--quiet", &format!("-j{AT_ONCE}")]))
    };
    let (mine, theirs) = in_turns(mine, theirs)?;
    let ratio = mine / theirs;
    println!(
        "  jm {mine:.1} ms beside its {} syncs of {:.1} ms, ninja {theirs:.1} ms, ratio {ratio:.2} (goal: at most \
         {CHILDREN_GOAL}, {})",
        counts[counts.len() / 2],
        median(syncs),
        verdict(ratio <= CHILDREN_GOAL)
    );
    Ok(ratio <= CHILDREN_GOAL)
}

fn newest_journal(at: &Path) -> Result<PathBuf> {
    let runs = std::fs::read_dir(at.join("state/runs"))?;
    let runs: Vec<PathBuf> = runs.map(|run| Ok(run?.path())).collect::<Result<_>>()?;
    Ok(runs.into_iter().max().context("a run")?.join("journal.jsonl"))
}

/// The bytes of each batch of a journal, as they were written.
fn batches(journal: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(journal)?;
    let mut batches: Vec<String> = Vec::new();
    for line in text.split_inclusive('\n') {
        let record: Value = serde_json::from_str(line)?;
        match batches.last_mut().filter(|_| record["seq"] != record["batch"]) {
            Some(batch) => batch.push_str(line),
            None => batches.push(line.to_owned()),
        }
    }
    Ok(batches)
}

/// A journal's writes and syncs, and nothing else.
fn write_again(path: &Path, batches: &[String]) -> Result<f64> {
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    let began = Instant::now();
    for batch in batches {
        file.write_all(batch.as_bytes())?;
        file.sync_data()?;
    }
    Ok(milliseconds(began.elapsed()))
}
