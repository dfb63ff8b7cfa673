//! What programs read where a command does not do what it was asked: one error document for each exit code, never nothing.

use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::environment::{RECOVER, World, folder, jm, said};
use crate::printed::document_in;

const INVALID: &str = "apiVersion: jm/v1
name: invalid
steps:
  - { id: a, uses: no.such }
  - { id: b, uses: command.run, with: { argv: [true], needs: [c] } }
";
const FAILS: &str = "apiVersion: jm/v1
name: fails
steps: [{ id: a, uses: command.run, with: { argv: ['false'], effect: reversible } }]
";
/// A name of a backup that was never made.
const NO_BACKUP: &str = "journeyman_backup_20200101_000000.sql.gpg";

/// Gives the error document that a command ends with.
fn fails(command: &mut Command, code: i32, name: &str) -> Result<Value> {
    let output = command.args(["--format", "json"]).output()?;
    is_error(&output, code, name)
}

fn is_error(output: &Output, code: i32, name: &str) -> Result<Value> {
    ensure!(output.status.code() == Some(code), "not {code}: {}", said(output));
    let document = document_in(output, "commands/error")?;
    let error = &document["error"];
    ensure!(
        error["exit_code"] == code
            && error["code"] == name
            && error["message"].as_str().is_some_and(|text| !text.is_empty()),
        "{document:#}"
    );
    // People are told the same.
    ensure!(!output.stderr.is_empty(), "{}", said(output));
    Ok(document)
}

#[test]
fn an_invalid_plan_is_told_as_validation_tells_it() -> Result<()> {
    let folder = folder()?;
    let file = folder.path().join("invalid.yaml");
    std::fs::write(&file, INVALID)?;
    let jm = |words: &[&str]| {
        let mut command = jm(folder.path());
        command.args(words).arg(&file);
        command
    };
    let output = jm(&["plan", "validate"]).args(["--format", "json"]).output()?;
    let validated = document_in(&output, "commands/plan-validate")?;
    ensure!(validated["errors"].as_u64() >= Some(2), "{validated:#}");
    for words in [
        &["plan", "run"][..],
        &["plan", "run", "--dry-run"],
        &["plan", "run", "--dry-run", "--offline"],
        &["plan", "show"],
    ] {
        let told = fails(&mut jm(words), 3, "invalid")?;
        for field in ["valid", "errors", "warnings", "files"] {
            ensure!(told[field] == validated[field], "{words:?}: {field} of {told:#}");
        }
    }
    let drill = fails(&mut jm(&["drill", "--sandbox"]), 3, "invalid")?;
    ensure!(drill["files"] == validated["files"], "{drill:#}");
    Ok(())
}

#[test]
fn what_a_run_is_given_is_told_too() -> Result<()> {
    let folder = folder()?;
    let jm = || jm(folder.path());
    // Variables that are not set, at their lines of the targets file.
    for words in [
        &["plan", "run", "plans/complete-db-loss.yaml", "--dry-run"][..],
        &["backup", "list"],
    ] {
        let told = fails(jm().args(words), 3, "invalid")?;
        let (file, findings) = (&told["files"][0], &told["files"][0]["findings"]);
        ensure!(
            file["kind"] == "targets" && findings[0]["places"][0]["line"].is_u64(),
            "{told:#}"
        );
    }
    let input = [
        "plan",
        "run",
        "plans/complete-db-loss.yaml",
        "--dry-run",
        "-i",
        "no_such=1",
    ];
    ensure!(fails(jm().args(input), 3, "invalid")?["errors"] == 1);
    Ok(())
}

#[test]
fn wrong_use_and_what_is_not_there_is_told() -> Result<()> {
    let folder = folder()?;
    std::fs::write(folder.path().join("state"), "no directory")?;
    let usage = |words: &[&str]| fails(jm(folder.path()).args(words), 2, "usage");
    for words in [
        &["plan", "run"][..],
        &["plan", "run", "no-such.yaml"],
        &["plan", "validate", "no-such.yaml"],
        &["plan", "show", "no-such.yaml"],
        &["plan", "resume"],
        &["run", "show"],
        &["run", "report"],
        &["run", "watch"],
        &["run", "list", "--no-such-word"],
        &["backup", "list", "--targets", "no-such.yaml"],
        &["backup", "show", "latest", "--targets", "no-such.yaml"],
        &["backup", "verify", "latest", "--targets", "no-such.yaml"],
        &["step", "run", "no.such"],
        &["step", "show", "no.such"],
        &["drill", "plans/complete-db-loss.yaml"],
        &["sandbox", "list", "more"],
        &["explain", "no-such-code"],
    ] {
        usage(words).with_context(|| format!("{words:?}"))?;
    }
    let told = usage(&["plan", "run"])?;
    ensure!(
        told["error"]["help"]
            .as_str()
            .is_some_and(|help| help.contains("jm plan run")),
        "{told:#}"
    );
    // State that cannot be used.
    for words in [&["run", "list"][..], &["lock", "show"], &["plan", "resume"]] {
        let mut command = jm(folder.path());
        fails(
            command.env("JM_STATE", folder.path().join("state")).args(words),
            7,
            "state",
        )?;
    }
    // The document is for programs alone; words for another jm are not this one's.
    let output = jm(folder.path()).args(["plan", "run", "no-such.yaml"]).output()?;
    ensure!(output.stdout.is_empty(), "{}", said(&output));
    Ok(())
}

#[test]
fn a_run_that_fails_has_its_own_document_and_no_other() -> Result<()> {
    let folder = folder()?;
    let file = folder.path().join("fails.yaml");
    std::fs::write(&file, FAILS)?;
    let mut run = jm(folder.path());
    let output = run
        .args(["plan", "run", "--yes", "--format", "json"])
        .arg(&file)
        .output()?;
    ensure!(output.status.code() == Some(4), "{}", said(&output));
    ensure!(document_in(&output, "summary")?["status"] == "failed");
    // A damaged journal: what can be read is told, and the code says the rest.
    let journal = std::fs::read_dir(folder.path().join("runs"))?
        .next()
        .context("a run")??
        .path()
        .join("journal.jsonl");
    let text = std::fs::read_to_string(&journal)?;
    std::fs::write(&journal, text.replacen("step-started", "step-stirred", 1))?;
    let output = jm(folder.path()).args(["run", "show", "--format", "json"]).output()?;
    ensure!(output.status.code() == Some(7), "{}", said(&output));
    let document: Value = serde_json::from_slice(&output.stdout).with_context(|| said(&output))?;
    ensure!(document["version"] == 1, "{document:#}");
    fails(jm(folder.path()).args(["plan", "resume"]), 7, "state")?;
    Ok(())
}

#[test]
fn a_system_that_is_lost_is_told() -> Result<()> {
    let mut world = World::sandbox()?;
    // Nobody listens there, and the plan does not repair it.
    let lost = "postgresql://jm@127.0.0.1:1/journeyman_prod".to_owned();
    world.systems.environment.insert("DATABASE_URL".to_owned(), lost);
    let backup = ["plan", "run", "plans/backup-database.yaml", "--yes"];
    // A dry run ends as the run would: it cannot begin.
    for more in [&[][..], &["--dry-run"]] {
        let output = world.jm().args(backup).args(more).args(["--format", "json"]).output()?;
        ensure!(output.status.code() == Some(5), "{}", said(&output));
        let document: Value = serde_json::from_slice(&output.stdout).with_context(|| said(&output))?;
        ensure!(
            document["version"] == 1 && document.to_string().contains("127.0.0.1:1"),
            "{document:#}"
        );
    }
    let dry = world.jm().args(backup).arg("--dry-run").output()?;
    ensure!(
        said(&dry).contains("it CANNOT BEGIN without `database`"),
        "{}",
        said(&dry)
    );
    // A guard, and nobody to ask.
    let told = fails(world.jm().args(&RECOVER[..3]), 10, "refused")?;
    ensure!(
        told["error"]["help"]
            .as_str()
            .is_some_and(|help| help.contains("--yes")),
        "{told:#}"
    );
    let told = fails(world.jm().args(["backup", "show", NO_BACKUP]), 4, "failed")?;
    ensure!(told.get("files").is_none(), "{told:#}");
    Ok(())
}
