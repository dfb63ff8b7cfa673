//! Dry runs: they change nothing, and what they compute is what the run then does.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::environment::{World, journal, of_kind, said};

mod looks;
mod server_logs;
use looks::Looks;
use server_logs::Logs;

/// While data is served, a recovery has to be told how much of it may be lost.
const ACCEPT: [&str; 2] = ["--accept-data-loss", "1d"];

/// A world whose database server writes down every statement, and does nothing by itself.
fn world() -> Result<World> {
    let words = ["--no-fsync", "--set", "log_statement=all", "--set", "autovacuum=off"];
    World::real_with(&words)
}

/// A dry run that is looked at from all sides: nothing is another than before, and the servers were asked to do nothing.
fn dry(world: &World) -> Result<Value> {
    let before = Looks::at(world)?;
    let logs = Logs::from_here(world)?;
    let output = world
        .recover()
        .args(ACCEPT)
        .args(["--dry-run", "--format", "json"])
        .output()?;
    let heard = logs.since(world)?;
    ensure!(output.status.code() == Some(0), "{}", said(&output));
    heard.only_reading(world)?;
    before.are_still(world)?;
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Compares what the dry run computed with what the journal of the run says that was done. Gives the steps compared.
fn compare(dry: &Value, records: &[Value]) -> Result<BTreeSet<String>> {
    let done = of_kind(records, "step-succeeded");
    let skipped = of_kind(records, "step-skipped");
    let mut compared = BTreeSet::new();
    let steps = [&dry["steps"], &dry["finally"]].map(|steps| steps.as_array().context("steps"));
    for step in steps.into_iter().collect::<Result<Vec<_>>>()?.into_iter().flatten() {
        let of_step = |records: &[&Value]| -> Vec<Value> {
            let of_step = records.iter().filter(|record| record["step"] == step["id"]);
            of_step.map(|record| (*record).clone()).collect()
        };
        let times = of_step(&done);
        if step["grade"] != "computed" {
            continue;
        }
        let may_be_left_out = step["status"] == "may-run" && !of_step(&skipped).is_empty();
        ensure!(!times.is_empty() || may_be_left_out, "{} did not run", step["id"]);
        // Where it was done anew, it was the same every time.
        for time in &times {
            let journalled = time["changes"]["inline"].as_array().cloned().unwrap_or_default();
            ensure!(
                step["changes"].as_array() == Some(&journalled),
                "{}: told {}, did {journalled:?}",
                step["id"],
                step["changes"]
            );
            compared.extend(step["id"].as_str().map(str::to_owned));
        }
    }
    Ok(compared)
}

#[test]
fn a_dry_run_of_a_lost_database_changes_nothing_and_tells_the_truth() -> Result<()> {
    let world = world()?;
    world.back_up()?;
    let data = world.fingerprint()?;
    world.lose_database()?;
    let dry = dry(&world)?;
    let logs = Logs::from_here(&world)?;
    let output = world.recover().args(ACCEPT).output()?;
    ensure!(output.status.code() == Some(0), "{}", said(&output));
    ensure!(world.fingerprint()? == data, "the data is not what it was");
    // The same look at the same logs sees what a run does.
    logs.since(&world)?.more_than_reading()?;
    let compared = compare(&dry, &journal(&world.state())?)?;
    for step in ["quiesce", "restore", "analyze", "switch", "resume"] {
        ensure!(compared.contains(step), "{step} was not computed: {compared:?}");
    }
    Ok(())
}

/// A session of the application in the old database. It ends with the value, if nobody ends it before.
struct Player(Child);

impl Player {
    fn of(world: &World) -> Result<Self> {
        let mut psql = Command::new("psql");
        world.enter(&mut psql);
        psql.args(["-XAtqd", world.systems.variable("DATABASE_URL")]);
        let child = psql.env("PGAPPNAME", "player").stdin(Stdio::piped()).spawn()?;
        let player = Self(child);
        for _ in 0..200 {
            if !world
                .query(
                    "postgres",
                    "SELECT pid FROM pg_stat_activity WHERE application_name = 'player'",
                )?
                .is_empty()
            {
                return Ok(player);
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        anyhow::bail!("the player does not come in")
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        // One that ended is only waited for.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_dry_run_of_a_database_that_serves_changes_nothing_and_tells_the_truth() -> Result<()> {
    let world = world()?;
    world.query(
        "postgres",
        "ALTER DATABASE journeyman_prod SET work_mem TO '9MB'; GRANT CREATE ON DATABASE journeyman_prod TO pg_monitor",
    )?;
    world.back_up()?;
    let data = world.fingerprint()?;
    world.query("journeyman_prod", "TRUNCATE players")?;
    let player = Player::of(&world)?;
    let dry = dry(&world)?;
    // `verify` fails first, so that things are put back; then its cause is mended, and the run goes on to its end.
    let output = world.recover().args(ACCEPT).args(["--until", "verify"]).output()?;
    ensure!(output.status.code() == Some(5), "{}", said(&output));
    let records = journal(&world.state())?;
    let restored = of_kind(&records, "step-succeeded")
        .into_iter()
        .find(|record| record["step"] == "restore");
    let copy = restored.context("a restore")?["output"]["inline"]["database"].clone();
    let copy = copy.as_str().context("a copy")?;
    world.query(copy, "ALTER TABLE game_data RENAME TO hidden")?;
    let output = world.resume().args(ACCEPT).output()?;
    ensure!(output.status.code() == Some(4), "{}", said(&output));
    let failed = journal(&world.state())?;
    world.query(copy, "ALTER TABLE hidden RENAME TO game_data")?;
    let output = world.resume().args(ACCEPT).output()?;
    ensure!(output.status.code() == Some(0), "{}", said(&output));
    ensure!(world.fingerprint()? == data, "the data is not what it was");
    drop(player);

    let mut compared = compare(&dry, &journal(&world.state())?)?;
    ensure!(
        of_kind(&failed, "step-succeeded")
            .iter()
            .any(|record| record["step"] == "put-back"),
        "nothing was put back"
    );
    for step in [
        "quiesce", "safety", "restore", "analyze", "switch", "resume", "put-back",
    ] {
        ensure!(compared.remove(step), "{step} was not computed: {compared:?}");
    }
    Ok(())
}

#[test]
fn a_backup_that_is_not_there_would_fail() -> Result<()> {
    let world = World::sandbox()?;
    let output = world.recover().args(["--dry-run", "-i", "backup=20200101"]).output()?;
    ensure!(output.status.code() == Some(4), "{}", said(&output));
    ensure!(
        String::from_utf8_lossy(&output.stdout).contains("WOULD FAIL"),
        "{}",
        said(&output)
    );
    Ok(())
}

#[test]
fn markdown_is_the_same_from_run_to_run() -> Result<()> {
    let world = World::sandbox()?;
    world.back_up()?;
    let once = || -> Result<String> {
        let output = world.recover().args(["--dry-run", "--format", "markdown"]).output()?;
        ensure!(output.status.code() == Some(0), "{}", said(&output));
        Ok(String::from_utf8(output.stdout)?)
    };
    let (first, second) = (once()?, once()?);
    ensure!(first == second, "{first}\n---\n{second}");
    ensure!(first.contains("```mermaid"), "{first}");
    Ok(())
}
