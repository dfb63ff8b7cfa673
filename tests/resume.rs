//! A run that failed, put things back, and goes on once its cause is mended; and one that goes on on another machine.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::environment::{World, journal, journal_of, of_kind, said};

/// More than the application had before: what somebody set while the run had failed.
const SCALED: i32 = 4;

/// Place of the nth record of a kind of a step.
pub(crate) fn place(records: &[Value], kind: &str, step: &str, nth: usize) -> Result<usize> {
    let mut places = records
        .iter()
        .enumerate()
        .filter(|(_, record)| record["kind"] == kind && record["step"] == step)
        .map(|(place, _)| place);
    places.nth(nth).with_context(|| format!("{kind} {nth} of {step}"))
}

#[test]
fn a_resume_stops_the_application_again_before_it_switches() -> Result<()> {
    stops_again_before_it_switches(&World::sandbox()?)
}

/// A recovery whose `verify` fails puts the application back; once the cause is mended, a resume stops it again.
pub(crate) fn stops_again_before_it_switches(world: &World) -> Result<()> {
    world.back_up()?;
    let data = world.fingerprint()?;
    // The database serves still, and what it serves is damaged.
    world.query("journeyman_prod", "TRUNCATE players")?;
    let damaged = world.fingerprint()?;
    let accept = ["--accept-data-loss", "1d"];
    let output = world.recover().args(accept).args(["--until", "verify"]).output()?;
    ensure!(output.status.code() == Some(5), "{}", said(&output));
    ensure!(world.ready_replicas()? == 0, "the application is not stopped");
    // Whoever stops it here is told that the application is down, and both ways on.
    let text = said(&output).split_whitespace().collect::<Vec<_>>().join(" ");
    for expected in [
        "deployment/backend-deployment stands as `quiesce` left it",
        "`jm run abort`",
        "`put-back`",
    ] {
        ensure!(text.contains(expected), "no `{expected}` in {text}");
    }
    let records = journal(&world.state())?;
    let restored = of_kind(&records, "step-succeeded")
        .into_iter()
        .find(|record| record["step"] == "restore")
        .context("a restore")?;
    let copy = restored["output"]["inline"]["database"]
        .as_str()
        .context("a copy")?
        .to_owned();

    // Somebody hides a table of the copy: `verify` fails, and the application runs on the old database again.
    world.query(&copy, "ALTER TABLE game_data RENAME TO hidden")?;
    let output = world.resume().args(accept).output()?;
    let text = said(&output);
    ensure!(output.status.code() == Some(4), "{text}");
    ensure!(text.contains("game_data"), "{text}");
    ensure!(
        world.fingerprint()? == damaged,
        "the old database does not serve as it did"
    );
    ensure!(
        world.ready_replicas()? == jm_sandbox::journeyman::REPLICAS,
        "the application does not run again"
    );

    // While it runs it is given other replicas, and writes; then the cause is mended.
    let scaled = world
        .step(
            "kubernetes.scale",
            &[
                "-w",
                "workload=deployment/backend-deployment",
                "-w",
                &format!("replicas={SCALED}"),
            ],
        )
        .args(["--confirm", "production"])
        .output()?;
    ensure!(scaled.status.code() == Some(0), "{}", said(&scaled));
    let failed = journal_of(&world.state(), "complete-db-loss")?;
    world.query("journeyman_prod", "DELETE FROM sessions")?;
    let written = world.fingerprint()?;
    world.query(&copy, "ALTER TABLE hidden RENAME TO game_data")?;
    // What it has written until then is saved anew, and so nothing to warn of.
    let output = world.resume().args(accept).arg("--dry-run").output()?;
    let text = said(&output);
    ensure!(output.status.code() == Some(0) && !text.contains("DEGRADED"), "{text}");
    let output = world.resume().args(accept).output()?;
    ensure!(output.status.code() == Some(0), "{}", said(&output));

    ensure!(world.fingerprint()? == data, "the data is not that of the backup");
    ensure!(
        world.ready_replicas()? == SCALED,
        "{} replicas: the count was not taken down again",
        world.ready_replicas()?
    );
    let records = journal_of(&world.state(), "complete-db-loss")?;
    ensure!(records.len() > failed.len(), "another run went on");
    let again = place(&records, "step-succeeded", "quiesce", 1)?;
    let saved = place(&records, "step-succeeded", "safety", 1)?;
    let switch = place(&records, "step-started", "switch", 0)?;
    ensure!(
        failed.len() < again && again < saved && saved < switch,
        "{again} {saved} {switch}"
    );
    ensure!(
        place(&records, "step-started", "restore", 1).is_err() && place(&records, "step-started", "switch", 1).is_err(),
        "what was done is done again"
    );
    // The old database is kept as the application left it, and the safety backup holds that too.
    let databases = world.databases()?;
    let old = databases
        .iter()
        .find(|name| name.contains("_old_"))
        .context("the old database")?;
    let sessions = world.query(old, "SELECT count(*) FROM sessions")?;
    ensure!(
        databases.len() == 2 && sessions == [written["sessions"].0.to_string()],
        "{databases:?} {sessions:?}"
    );
    Ok(())
}

/// Brings the directory of a run, and nothing else that is kept of runs, to where another machine keeps its own.
fn bring(records: &[Value], from: &Path, to: &Path) -> Result<()> {
    let run = records.first().and_then(|record| record["run"]["id"].as_str());
    let (from, to) = (from.join("runs").join(run.context("an id")?), to.join("runs"));
    std::fs::create_dir_all(&to)?;
    let output = Command::new("cp").arg("-R").args([&from, &to]).output()?;
    ensure!(output.status.success(), "{}", said(&output));
    Ok(())
}

#[test]
fn a_run_goes_on_on_another_laptop_from_its_directory_alone() -> Result<()> {
    let world = World::sandbox()?;
    world.back_up()?;
    let data = world.fingerprint()?;
    world.lose_database()?;
    let output = world.recover().args(["--until", "verify"]).output()?;
    ensure!(output.status.code() == Some(5), "{}", said(&output));
    let here = journal(&world.state())?;
    place(&here, "step-succeeded", "restore", 0)?;

    let laptop = world.folder().join("laptop");
    let (state, home) = (laptop.join("state"), laptop.join("home"));
    std::fs::create_dir_all(&home)?;
    bring(&here, &world.state(), &state)?;
    let mut resume = world.resume();
    let output = resume.env("JM_STATE", &state).env("HOME", &home).output()?;
    ensure!(output.status.code() == Some(0), "{}", said(&output));

    ensure!(world.fingerprint()? == data, "the data is not that of the backup");
    ensure!(
        world.ready_replicas()? == jm_sandbox::journeyman::REPLICAS,
        "the application does not run as it did"
    );
    ensure!(world.databases()? == ["journeyman_prod"], "{:?}", world.databases()?);
    let there = journal(&state)?;
    ensure!(there.starts_with(&here), "another run went on");
    ensure!(
        place(&there, "step-started", "quiesce", 1).is_err() && place(&there, "step-started", "restore", 1).is_err(),
        "what was done is done again"
    );
    ensure!(
        place(&there, "step-succeeded", "switch", 0)? >= here.len(),
        "it was switched before"
    );
    // On the first laptop the run still is as it was left.
    ensure!(
        journal(&world.state())? == here,
        "the first laptop's run was written to"
    );
    Ok(())
}

#[test]
fn a_recovery_that_was_killed_can_be_ended_without_a_word_on_what_never_comes() -> Result<()> {
    // So many rows that the kill comes while they are restored.
    let world = World::sandbox_with(&["--scale", "20"], |_| Ok(()))?;
    world.back_up()?;
    world.query("journeyman_prod", "TRUNCATE players")?;
    let damaged = world.fingerprint()?;
    let mut recover = world.recover();
    let mut child = recover.args(["--accept-data-loss", "2d"]).spawn()?;
    let restores = || -> Result<bool> {
        // A record may be half on disk just now.
        let records = journal(&world.state()).unwrap_or_default();
        Ok(place(&records, "step-started", "restore", 0).is_ok())
    };
    while !restores()? {
        ensure!(child.try_wait()?.is_none(), "it ended before the restore");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    child.kill()?;
    child.wait()?;
    let records = journal(&world.state())?;
    ensure!(
        place(&records, "step-succeeded", "restore", 0).is_err(),
        "it was not interrupted"
    );
    ensure!(world.ready_replicas()? == 0, "the application is not stopped");
    // Until it is ended, going on needs the word of the first command.
    let shown = world.jm().args(["run", "show"]).output()?;
    let text = said(&shown);
    ensure!(text.contains(" --confirm production`"), "{text}");

    let output = world.jm().args(["run", "abort", "--reason", "by hand"]).output()?;
    let text = said(&output);
    ensure!(output.status.success() && !text.contains("--confirm"), "{text}");
    let output = world.jm().args(["plan", "resume", "--yes"]).output()?;
    let text = said(&output);
    ensure!(output.status.code() == Some(4) && text.contains("ABORTED"), "{text}");
    let records = journal(&world.state())?;
    ensure!(place(&records, "step-started", "switch", 0).is_err(), "it switched");
    ensure!(
        world.ready_replicas()? == jm_sandbox::journeyman::REPLICAS,
        "the application does not run again: {text}"
    );
    ensure!(
        world.fingerprint()? == damaged,
        "the old database does not serve as it did"
    );
    Ok(())
}
