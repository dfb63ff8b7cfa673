//! Runs that cannot be read, or never began, beside one that can be gone on with.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use super::{Place, json, says};
use crate::environment::said;

/// Fails until a file is there.
const FAILS: &str = r#"
apiVersion: jm/v1
name: fails
inputs:
  flag: { type: string }
steps:
  - id: first
    uses: command.run
    with: { argv: [echo, hello], effect: reversible }
  - id: work
    uses: command.run
    needs: [first]
    with: { argv: [test, -e, "${{ inputs.flag }}"], effect: reversible }
"#;
/// Nothing listens there, and it is no part of the plan to mend that.
const REFUSED: &str = r"
apiVersion: jm/v1
name: refused
steps:
  - { id: look, uses: postgres.inspect, with: { database: app } }
";
const NOWHERE: &str = r"
apiVersion: jm/v1
kind: Targets
name: nowhere
targets:
  database: { provider: postgres, url: 'postgresql://u@127.0.0.1:1/app' }
";

impl Place {
    /// A run that failed; its id.
    fn fail(&self) -> Result<String> {
        let plan = self.write("fails.yaml", FAILS)?;
        let flag = format!("flag={}", self.path("flag").display());
        self.jm(&["plan", "run", &plan, "--yes", "-i", &flag], 4)?;
        self.newest()
    }

    fn newest(&self) -> Result<String> {
        let listed = json(&self.jm(&["run", "list", "--format", "json"], 0)?)?;
        Ok(listed["runs"][0]["id"].as_str().context("a run")?.to_owned())
    }

    fn journal_file(&self, run: &str) -> PathBuf {
        self.state().join("runs").join(run).join("journal.jsonl")
    }

    /// Flips a bit in the third line of a run's journal.
    fn damage(&self, run: &str) -> Result<()> {
        let path = self.journal_file(run);
        let mut bytes = std::fs::read(&path)?;
        let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        let second = ends.map(|(at, _)| at).nth(1).context("two lines")?;
        bytes[second + 20] ^= 1;
        Ok(std::fs::write(&path, bytes)?)
    }

    /// What a run leaves that was killed before its first record; newer than all others.
    fn killed_early(&self) -> Result<String> {
        let newest = self.newest()?;
        let id = newest.replacen("01", "02", 1);
        let folder = self.state().join("runs").join(&id);
        std::fs::create_dir_all(folder.join("inbox"))?;
        std::fs::copy(
            self.state().join("runs").join(newest).join("plan.yaml"),
            folder.join("plan.yaml"),
        )?;
        std::fs::write(folder.join("journal.jsonl"), "")?;
        Ok(id)
    }
}

#[test]
fn a_damaged_run_is_not_passed_over_in_silence() -> Result<()> {
    let place = Place::new()?;
    let older = place.fail()?;
    let newer = place.fail()?;
    place.damage(&newer)?;
    place.write("flag", "")?;
    let before = std::fs::read(place.journal_file(&older))?;
    let output = place.jm(&["plan", "resume", "--yes"], 7)?;
    let short = &older[older.len() - 6..];
    says(
        &output,
        &[&newer, "damaged at line 3", "`jm plan resume", short, "jm run show"],
    )?;
    ensure!(
        std::fs::read(place.journal_file(&older))? == before,
        "it went on with another"
    );
    let listed = json(&place.jm(&["run", "list", "--format", "json"], 0)?)?;
    let unreadable = &listed["runs"][0];
    ensure!(
        unreadable["status"] == "unreadable" && unreadable["plan"].is_null() && unreadable["started_at"].is_null(),
        "{listed:#}"
    );
    says(&place.jm(&["plan", "resume", &older, "--yes"], 0)?, &["completed"])?;
    Ok(())
}

/// What an older run would do again was done since, and things may have been written since then.
#[test]
fn a_damaged_run_sends_nobody_to_one_that_was_overtaken_or_to_other_work() -> Result<()> {
    let place = Place::new()?;
    let overtaken = place.fail()?;
    place.write("flag", "")?;
    let plan = place.path("fails.yaml").display().to_string();
    let flag = format!("flag={}", place.path("flag").display());
    place.jm(&["plan", "run", &plan, "--yes", "-i", &flag], 0)?;
    std::fs::remove_file(place.path("flag"))?;
    let other = place.write("other.yaml", &FAILS.replace("name: fails", "name: others"))?;
    place.jm(&["plan", "run", &other, "--yes", "-i", &flag], 4)?;
    let newest = place.fail()?;
    place.damage(&newest)?;
    let output = place.jm(&["plan", "resume", "--yes"], 7)?;
    says(&output, &["damaged at line 3", "jm run list"])?;
    let said = said(&output);
    ensure!(!said.contains("goes on with the one before"), "{said}");
    says(
        &place.jm(&["plan", "resume", &overtaken[overtaken.len() - 6..], "--yes"], 4)?,
        &["of fails"],
    )?;
    Ok(())
}

#[test]
fn what_is_whole_of_a_damaged_run_is_shown() -> Result<()> {
    let place = Place::new()?;
    let run = place.fail()?;
    place.damage(&run)?;
    let output = place.jm(&["run", "show"], 7)?;
    says(&output, &["DAMAGED fails", "first", "work", "damaged at line 3"])?;
    ensure!(!said(&output).contains("jm plan resume"), "{}", said(&output));
    let document = json(&place.jm(&["run", "show", "--format", "json"], 7)?)?;
    ensure!(
        document["run"]["plan"] == "fails" && document["resume"].is_null(),
        "{document:#}"
    );
    Ok(())
}

#[test]
fn a_run_that_could_not_begin_does_not_stand_before_one_that_failed() -> Result<()> {
    let place = Place::new()?;
    let plan = place.write("refused.yaml", REFUSED)?;
    let targets = place.write("nowhere.yaml", NOWHERE)?;
    let refused = ["plan", "run", &plan, "--targets", &targets, "--yes"];
    place.jm(&refused, 5)?;
    // By itself it is what there is to go on with.
    says(
        &place.jm(&["plan", "resume", "--targets", &targets, "--yes"], 5)?,
        &["of refused", "cannot begin", "jm plan resume"],
    )?;
    place.fail()?;
    place.jm(&refused, 5)?;
    place.write("flag", "")?;
    says(&place.jm(&["plan", "resume", "--yes"], 0)?, &["completed fails"])?;
    Ok(())
}

#[test]
fn a_run_that_never_began_stands_before_no_other() -> Result<()> {
    let place = Place::new()?;
    place.fail()?;
    let empty = place.killed_early()?;
    says(&place.jm(&["run", "show"], 0)?, &["FAILED fails"])?;
    says(&place.jm(&["run", "report"], 0)?, &["fails"])?;
    says(&place.jm(&["run", "watch"], 4)?, &["is failed"])?;
    says(&place.jm(&["run", "list"], 0)?, &["never began", &empty])?;
    says(&place.jm(&["run", "show", &empty], 7)?, &["the run never began"])?;
    place.jm(&["run", "abort", "--reason", "so"], 0)?;
    says(&place.jm(&["plan", "resume", "--yes"], 4)?, &["ABORTED fails"])?;
    Ok(())
}
