//! Another system under a known name is refused, until somebody says that it is meant.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use super::says;
use crate::environment::{World, journal, of_kind};

const PLAN: &str = "apiVersion: jm/v1
name: look
steps:
  - { id: first, uses: postgres.inspect }
  - { id: second, uses: postgres.query, needs: [first], with: { sql: 'SELECT 1' } }
";
const TARGETS: &str = "apiVersion: jm/v1
kind: Targets
name: production
targets:
  database: { provider: postgres, url: \"${{ env.DATABASE_URL }}\" }
";

/// Looks at backups, and once more.
const BACKUPS: &str = "apiVersion: jm/v1
name: find
steps:
  - { id: first, uses: backup.find }
  - { id: second, uses: backup.find, needs: [first] }
";

#[test]
fn a_resume_with_another_directory_of_backups_is_refused_also_where_nothing_was_written_there() -> Result<()> {
    let world = World::sandbox()?;
    world.back_up()?;
    let plan = world.folder().join("find.yaml");
    std::fs::write(&plan, BACKUPS)?;
    let elsewhere = world.folder().join("elsewhere");
    std::fs::create_dir(&elsewhere)?;
    let elsewhere = elsewhere.display().to_string();
    let jm = |words: &[&str], directory: Option<&str>, code: i32| {
        let mut command = world.jm();
        command.envs(directory.map(|directory| ("BACKUP_DIR", directory)));
        command
            .args(words)
            .args(["--targets", "plans/targets.yaml"])
            .stdin(Stdio::null());
        let output = command.output()?;
        ensure!(
            output.status.code() == Some(code),
            "{words:?}: {}",
            super::said(&output)
        );
        Ok(output)
    };
    let plan = plan.display().to_string();
    jm(&["plan", "run", &plan, "--yes", "--until", "second"], None, 5)?;
    let resume = ["plan", "resume", "--yes"];
    let accept = format!("backups=never written to: {elsewhere}");
    for words in [&resume[..], &[&resume[..], &["--dry-run"]].concat()] {
        let refused = jm(words, Some(&elsewhere), 10)?;
        let hint = format!("--accept-identity '{accept}'");
        says(
            &refused,
            &["target `backups` is another system now", "`directory ", &hint],
        )?;
    }
    jm(
        &[&resume[..], &["--accept-identity", &accept]].concat(),
        Some(&elsewhere),
        0,
    )?;
    let records = journal(&world.state())?;
    let opened = of_kind(&records, "target-opened");
    let last = opened.last().context("a target")?;
    let known = last["identity"]["local"].as_str().context("an identity")?;
    ensure!(known.contains(&elsewhere), "{last}");
    Ok(())
}

#[test]
fn a_resume_that_reaches_another_database_is_refused_unless_it_is_accepted() -> Result<()> {
    let world = World::sandbox()?;
    let (plan, targets) = (world.folder().join("look.yaml"), world.folder().join("t.yaml"));
    std::fs::write(&plan, PLAN)?;
    std::fs::write(&targets, TARGETS)?;
    let jm = |words: &[&str], url: &str, code: i32| {
        let mut command = world.jm();
        command.env("DATABASE_URL", url).stdin(Stdio::null());
        let output = command.args(words).arg("--targets").arg(&targets).output()?;
        ensure!(
            output.status.code() == Some(code),
            "{words:?}: {}",
            super::said(&output)
        );
        Ok(output)
    };
    let here = world.systems.variable("DATABASE_URL").to_owned();
    world.query("postgres", "CREATE DATABASE elsewhere")?;
    let there = here.replace("/journeyman_prod", "/elsewhere");
    let plan = plan.display().to_string();
    jm(&["plan", "run", &plan, "--yes", "--until", "second"], &here, 5)?;
    let resume = ["plan", "resume", "--yes"];
    for words in [&resume[..], &[&resume[..], &["--dry-run"]].concat()] {
        let refused = jm(words, &there, 10)?;
        says(
            &refused,
            &[
                "target `database` is another system now",
                "`elsewhere`",
                "`journeyman_prod`",
                "--accept-identity database=elsewhere",
            ],
        )?;
    }
    // A resume that was refused did nothing, and the run stands as it stood.
    let shown = world.jm().args(["run", "show"]).output()?;
    says(
        &shown,
        &[
            "stopped look after",
            "the last resume could not begin",
            "another system now",
        ],
    )?;
    let wrong = [&resume[..], &["--accept-identity", "database=third"]].concat();
    jm(&wrong, &there, 10)?;
    let malformed = [&resume[..], &["--accept-identity", "database"]].concat();
    jm(&malformed, &there, 2)?;
    let records = journal(&world.state())?;
    ensure!(
        of_kind(&records, "step-started").len() == 1,
        "a refused run did something"
    );
    let accepted = [&resume[..], &["--accept-identity", "database=elsewhere"]].concat();
    jm(&accepted, &there, 0)?;
    let records = journal(&world.state())?;
    let opened = of_kind(&records, "target-opened");
    let last = opened.last().context("a target")?;
    ensure!(last["identity"]["database"] == "elsewhere", "{last}");
    Ok(())
}
