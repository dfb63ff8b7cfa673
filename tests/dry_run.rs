//! Dry runs: they change nothing, and what they compute is what the run then does.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::environment::{World, journal, of_kind, said};

#[test]
fn a_dry_run_changes_nothing_and_tells_the_truth() -> Result<()> {
    let world = World::real()?;
    world.back_up()?;
    let data = world.fingerprint()?;
    world.lose_database()?;
    let looks = || -> Result<Vec<Vec<String>>> {
        Ok(vec![
            world.databases()?,
            world.query("postgres", "SELECT rolname, rolconfig::text FROM pg_roles ORDER BY 1")?,
            world.query(
                "postgres",
                "SELECT oid::text, datname, datallowconn::text, datconnlimit::text FROM pg_database ORDER BY 1",
            )?,
        ])
    };
    let before = looks()?;
    let output = world.recover().args(["--dry-run", "--format", "json"]).output()?;
    ensure!(output.status.code() == Some(0), "{}", said(&output));
    ensure!(looks()? == before, "the dry run changed the server");
    ensure!(
        journal(&world.state())?
            .iter()
            .all(|record| record["run"]["plan"] != "complete-db-loss"),
        "a dry run has no journal"
    );
    let dry: Value = serde_json::from_slice(&output.stdout)?;

    let output = world.recover().output()?;
    ensure!(output.status.code() == Some(0), "{}", said(&output));
    ensure!(world.fingerprint()? == data, "the data is not what it was");
    let records = journal(&world.state())?;
    let done = of_kind(&records, "step-succeeded");
    let mut compared = 0;
    for step in dry["steps"]
        .as_array()
        .context("steps")?
        .iter()
        .filter(|step| step["grade"] == "computed")
    {
        let record = done
            .iter()
            .find(|record| record["step"] == step["id"])
            .with_context(|| format!("{} did not run", step["id"]))?;
        let journalled = record["changes"]["inline"].as_array().cloned().unwrap_or_default();
        ensure!(
            step["changes"].as_array() == Some(&journalled),
            "{}: told {}, did {journalled:?}",
            step["id"],
            step["changes"]
        );
        compared += 1;
    }
    ensure!(compared >= 3, "only {compared} steps were computed");
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
