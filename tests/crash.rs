//! The crash sweep: the real binary is killed at every sync of its journal, and resumed. Each cut proves that it cut.
//!
//! A kill at the entry of `fdatasync` finds the record written and its effect not begun, or the effect done and its
//! record just written; between two of them lies every other state of the disk that a kill can leave, since the file is
//! written by one `write` for each sync.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use jm_sandbox::journeyman::REPLICAS;

use crate::environment::{JM, RECOVER, World, journal, of_kind, said};

/// More syncs than a run can have.
const MOST: usize = 200;

/// Kills the recovery at its nth sync; `false` where it ended before.
fn cut(world: &World, nth: usize) -> Result<bool> {
    let mut strace = Command::new("strace");
    world.enter(&mut strace);
    let inject = format!("inject=fdatasync:signal=SIGKILL:when={nth}");
    let log = world.folder().join("strace.log");
    let output = strace
        .args(["-f", "-qq", "-e", "trace=fdatasync", "-e", &inject, "-o"])
        .arg(&log)
        .arg(JM)
        .args(RECOVER)
        .output()?;
    // strace ends as the program ended that it traced.
    let killed = output.status.signal() == Some(9) || output.status.code() == Some(137);
    if killed {
        let traced = std::fs::read_to_string(&log)?;
        ensure!(
            traced.contains("killed by SIGKILL"),
            "the cut at {nth} did not cut: {}",
            said(&output)
        );
        return Ok(true);
    }
    ensure!(
        output.status.code() == Some(0),
        "not cut at {nth}, and it failed: {}",
        said(&output)
    );
    Ok(false)
}

/// Goes on with the newest run. Where nothing was written yet, or the end was, there is nothing to resume, and it says
/// so.
fn resume(world: &World, runs: usize) -> Result<()> {
    let made = std::fs::read_dir(world.state().join("runs"))?.count() > runs;
    let records = if made { journal(&world.state())? } else { Vec::new() };
    let output = world
        .jm()
        .args(["plan", "resume", "--yes", "--confirm", "production"])
        .output()?;
    if records.is_empty() {
        ensure!(
            !output.status.success(),
            "there was nothing to resume: {}",
            said(&output)
        );
        let anew = world.recover().output()?;
        ensure!(anew.status.code() == Some(0), "{}", said(&anew));
        return Ok(());
    }
    let ended = records.last().is_some_and(|record| record["kind"] == "run-closed");
    ensure!(
        output.status.code() == Some(if ended { 2 } else { 0 }),
        "{}",
        said(&output)
    );
    Ok(())
}

#[test]
fn a_recovery_that_is_killed_at_any_sync_ends_as_if_it_had_not_been() -> Result<()> {
    let world = World::sandbox()?;
    world.back_up()?;
    let before = world.fingerprint()?;
    let mut cuts = 0;
    for nth in 1..MOST {
        world.lose_database()?;
        let runs = std::fs::read_dir(world.state().join("runs"))?.count();
        if !cut(&world, nth)? {
            break;
        }
        cuts += 1;
        resume(&world, runs).with_context(|| format!("after the cut at sync {nth}"))?;
        let context = || format!("after the cut at sync {nth}");
        ensure!(
            world.fingerprint().with_context(context)? == before,
            "{}: other data",
            context()
        );
        ensure!(world.ready_replicas()? == REPLICAS, "{}: other replicas", context());
        ensure!(
            world.databases()? == ["journeyman_prod"],
            "{}: {:?}",
            context(),
            world.databases()?
        );
        let records = journal(&world.state())?;
        let switched = of_kind(&records, "step-succeeded")
            .into_iter()
            .filter(|record| record["step"] == "switch")
            .count();
        ensure!(switched == 1, "{}: switched {switched} times", context());
    }
    ensure!(cuts >= 15, "only {cuts} cuts");
    one_key_each(&world)
}

/// Deliveries that repeat carry one key: no run told the same thing under two keys, unless it was done anew.
fn one_key_each(world: &World) -> Result<()> {
    let file = world.folder().join("sandbox/webhook.jsonl");
    let received = jm_sandbox::webhook::received(&file)?;
    ensure!(!received.is_empty(), "nobody was told anything");
    ensure!(
        received.iter().all(|delivery| delivery.key.is_some()),
        "a delivery without a key"
    );
    let mut keys = std::collections::BTreeMap::new();
    for delivery in &received {
        let text = delivery.body["message"].as_str().unwrap_or_default().to_owned();
        let run = delivery.body["run"].to_string();
        let step = delivery.body["step"].to_string();
        keys.entry((run, step, text))
            .or_insert_with(std::collections::BTreeSet::new)
            .insert(delivery.key.clone());
    }
    let announced = keys.iter().filter(|((_, step, _), _)| step.contains("announce"));
    for ((run, ..), keys) in announced {
        ensure!(keys.len() == 1, "run {run} announced itself under {} keys", keys.len());
    }
    Ok(())
}
