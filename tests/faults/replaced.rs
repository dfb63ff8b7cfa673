//! Somebody puts another database under the name while a run stands still before its switch.

use anyhow::{Context, Result, ensure};
use jm_sandbox::journeyman::DATABASE;

use super::{ACCEPT, ends, recover, without_bucket};
use crate::environment::{World, journal, of_kind, said};

const WORDS: [&str; 3] = [
    "somebody has put it there since, and it was neither stopped nor saved",
    "begin anew with `jm plan run`",
    "RENAME TO",
];

/// Goes on with the run, and is refused in a dry run too; what is served stays so.
fn is_refused(world: &World, run: &str) -> Result<()> {
    let served = world.query(
        DATABASE,
        "SELECT oid FROM pg_database WHERE datname = current_database()",
    )?;
    let resume = |words: &[&str]| {
        let mut command = world.resume();
        command.arg(run).args(ACCEPT).args(words);
        command
    };
    ends(
        &mut resume(&["--dry-run"]),
        10,
        &["WOULD FAIL", WORDS[0], WORDS[1], WORDS[2]],
    )?;
    ends(&mut resume(&[]), 10, &WORDS)?;
    let now = world.query(
        DATABASE,
        "SELECT oid FROM pg_database WHERE datname = current_database()",
    )?;
    ensure!(served == now, "{served:?} was switched away for {now:?}");
    Ok(())
}

/// A row that somebody wrote since.
fn write(world: &World) -> Result<()> {
    world.query(DATABASE, "UPDATE users SET display_name = 'written since' WHERE id = 1")?;
    Ok(())
}

fn is_there(world: &World, database: &str) -> Result<bool> {
    Ok(world.query(database, "SELECT display_name FROM users WHERE id = 1")? == ["written since"])
}

/// The run that the newest journal is of.
fn run_of_newest(world: &World) -> Result<String> {
    let records = journal(&world.state())?;
    let run = records.first().and_then(|record| record["run"]["id"].as_str());
    Ok(run.context("an id")?.to_owned())
}

#[test]
fn a_database_that_was_made_by_hand_is_not_switched_away() -> Result<()> {
    let world = without_bucket()?;
    world.back_up()?;
    ends(recover(&world).args(["--until", "switch"]), 5, &[])?;
    let run = run_of_newest(&world)?;
    world.query("postgres", &format!("ALTER DATABASE {DATABASE} RENAME TO by_hand"))?;
    world.query("postgres", &format!("CREATE DATABASE {DATABASE} TEMPLATE by_hand"))?;
    write(&world)?;
    is_refused(&world, &run)?;
    ensure!(is_there(&world, DATABASE)?, "the row is not in what is served");
    // A new run stops and saves it first, and then may replace it.
    ends(&mut recover(&world), 0, &[])?;
    let saved = of_kind(&journal(&world.state())?, "step-succeeded")
        .iter()
        .any(|record| record["step"] == "safety");
    ensure!(saved, "it was not saved");
    let databases = world.databases()?;
    let kept = databases.iter().find(|name| name.contains("_old_"));
    ensure!(is_there(&world, kept.context("kept")?)?, "{databases:?}");
    Ok(())
}

#[test]
fn a_database_that_another_run_has_brought_back_is_not_switched_away() -> Result<()> {
    let world = without_bucket()?;
    world.back_up()?;
    ends(recover(&world).args(["--until", "switch"]), 5, &[])?;
    let stopped = run_of_newest(&world)?;
    ends(&mut recover(&world), 0, &[])?;
    ensure!(run_of_newest(&world)? != stopped, "one run");
    write(&world)?;
    is_refused(&world, &stopped)?;
    ensure!(is_there(&world, DATABASE)?, "the row is not in what is served");
    Ok(())
}

#[test]
fn a_database_that_came_where_there_was_none_is_not_switched_away() -> Result<()> {
    let world = without_bucket()?;
    world.back_up()?;
    world.lose_database()?;
    ends(world.recover().args(["--until", "switch"]), 5, &[])?;
    let stopped = run_of_newest(&world)?;
    let output = world.recover().output()?;
    ensure!(output.status.code() == Some(0), "{}", said(&output));
    write(&world)?;
    is_refused(&world, &stopped)?;
    ensure!(is_there(&world, DATABASE)?, "the row is not in what is served");
    Ok(())
}
