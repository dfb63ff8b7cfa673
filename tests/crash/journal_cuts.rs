//! Killed at the journal: at the entry of every sync, and at the entry of every write.
//!
//! A kill at the entry of `fdatasync` finds the record written and its effect not begun; one at the entry of the `write`
//! finds the effect done and its record missing. Before the first write lie the syncs of the run's directory.
//!
//! `strace` counts calls for each thread, and the journal is written by one thread, but other threads write elsewhere:
//! so the calls are narrowed to the journal's file, whose name has to be known. A run that found its cluster out of reach
//! has one, and everything that the plan does is written by its resume. Children are not traced (`-b execve`).

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{Ending, go_on};
use crate::environment::{JM, RECOVER, RESUME, World, journal, of_kind, said};

/// More calls than a run can make.
const MOST: usize = 200;

/// A system call at whose entry the binary dies.
struct Call<'a> {
    name: &'a str,
    /// Only on this file.
    on: Option<&'a Path>,
    nth: usize,
}

/// Runs the binary until the call; `false` where it ended well before.
fn cut(world: &World, call: &Call, words: &[&str]) -> Result<bool> {
    let log = world.folder().join("strace.log");
    let mut strace = Command::new("strace");
    world.enter(&mut strace);
    let Call { name, on, nth } = call;
    strace.args(["-f", "-qq", "-b", "execve", "-e", &format!("trace={name}")]);
    strace.args(["-e", &format!("inject={name}:signal=SIGKILL:when={nth}")]);
    if let Some(file) = on {
        strace.arg("-P").arg(file);
    }
    let output = strace.arg("-o").arg(&log).arg(JM).args(words).output()?;
    // strace ends as the program ended that it traced.
    if output.status.signal() != Some(9) {
        ensure!(
            output.status.code() == Some(0),
            "not cut at {name} {nth}, and it failed: {}",
            said(&output)
        );
        return Ok(false);
    }
    let traced = std::fs::read_to_string(&log)?;
    let last_of = |thread: &str| {
        let calls = traced
            .lines()
            .filter(|line| line.starts_with(thread) && line.contains(&format!("{name}(")));
        calls.count()
    };
    let threads = traced.lines().filter_map(|line| line.split_whitespace().next());
    ensure!(
        traced.contains("killed by SIGKILL") && threads.clone().any(|thread| last_of(thread) == *nth),
        "the cut at {name} {nth} did not cut there: {traced}"
    );
    Ok(true)
}

/// Cuts at every call of one name, each in a recovery of its own. Gives the number of cuts and of repeated deliveries.
fn sweep(
    world: &World,
    ending: &Ending,
    name: &str,
    prepare: impl Fn() -> Result<Option<PathBuf>>,
    words: &[&str],
) -> Result<(usize, usize)> {
    let (mut cuts, mut repeats) = (0, 0);
    for nth in 1..MOST {
        world.lose_database()?;
        let runs = world.runs()?;
        let on = prepare()?;
        let call = Call {
            name,
            on: on.as_deref(),
            nth,
        };
        if !cut(world, &call, words)? {
            break;
        }
        cuts += 1;
        let context = || format!("after the cut at {name} {nth}");
        go_on(world, runs, &[]).with_context(context)?;
        repeats += ending.check(world).with_context(context)?;
    }
    Ok((cuts, repeats))
}

fn world() -> Result<(World, Ending)> {
    let world = World::sandbox()?;
    world.back_up()?;
    let data = world.fingerprint()?;
    Ok((world, Ending { data, kept: 0 }))
}

#[test]
fn a_recovery_that_is_killed_at_any_sync_ends_as_if_it_had_not_been() -> Result<()> {
    let (world, ending) = world()?;
    let (cuts, _) = sweep(&world, &ending, "fdatasync", || Ok(None), &RECOVER)?;
    ensure!(cuts >= 15, "only {cuts} cuts");
    Ok(())
}

#[test]
fn a_recovery_that_is_killed_at_any_write_ends_as_if_it_had_not_been() -> Result<()> {
    let (world, ending) = world()?;
    // Stopped before its first step, with a journal whose name is known.
    let stopped = || -> Result<Option<PathBuf>> {
        let output = world.recover().env("KUBECONFIG", "/nowhere/at-all").output()?;
        let records = journal(&world.state())?;
        let stopped = records.last().is_some_and(|record| record["kind"] == "run-stopped");
        ensure!(
            stopped && of_kind(&records, "step-started").is_empty(),
            "{}",
            said(&output)
        );
        let run = records[0]["run"]["id"].as_str().context("an id")?;
        Ok(Some(world.state().join("runs").join(run).join("journal.jsonl")))
    };
    let (cuts, repeats) = sweep(&world, &ending, "write", stopped, &RESUME)?;
    ensure!(cuts >= 15, "only {cuts} cuts");
    ensure!(
        repeats >= 1,
        "no delivery was repeated, so nothing was proven of its key"
    );
    Ok(())
}

#[test]
fn before_the_first_record_there_is_nothing_to_resume() -> Result<()> {
    let (world, ending) = world()?;
    // The run's directory, its plan and its journal are synced before the first record is written.
    for nth in 1..MOST {
        world.lose_database()?;
        let runs = world.runs()?;
        let call = Call {
            name: "fsync",
            on: None,
            nth,
        };
        let was_cut = cut(&world, &call, &RECOVER)?;
        if !was_cut || !journal(&world.state())?.is_empty() && world.runs()? > runs {
            ensure!(nth > 3, "only {} cuts before the first record", nth - 1);
            return Ok(());
        }
        go_on(&world, runs, &[])?;
        ending.check(&world)?;
    }
    Ok(())
}
