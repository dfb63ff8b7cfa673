//! Where a run stands, and what is told of it: after a kill, a refused resume, a deadline, a word that overrules a step, and
//! beside a newer run that did the same.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Place, Running, json, says};
use crate::environment::said;

/// Looks at something that is there or not, and goes on from it.
const LOOKS: &str = r#"
apiVersion: jm/v1
name: looks
inputs:
  flag: { type: string }
steps:
  - id: check
    uses: command.run
    with: { argv: [test, -e, "${{ inputs.flag }}"], effect: read-only }
  - id: after
    uses: command.run
    needs: [check]
    with: { argv: ["true"], effect: reversible }
"#;

fn run(place: &Place, code: i32) -> Result<String> {
    let plan = place.write("looks.yaml", LOOKS)?;
    let flag = format!("flag={}", place.path("flag").display());
    place.jm(&["plan", "run", &plan, "--yes", "-i", &flag], code)?;
    let listed = json(&place.jm(&["run", "list", "--format", "json"], 0)?)?;
    ensure!(
        listed["runs"][0]["started_at"] == shown(place)?["run"]["started_at"],
        "one time in two forms: {listed:#}"
    );
    Ok(listed["runs"][0]["id"].as_str().context("a run")?.to_owned())
}

fn shown(place: &Place) -> Result<Value> {
    json(&place.jm(&["run", "show", "--format", "json"], 0)?)
}

fn step<'v>(shown: &'v Value, id: &str) -> Result<&'v Value> {
    let steps = shown["steps"].as_array().context("steps")?;
    steps.iter().find(|step| step["id"] == id).context("a step")
}

#[test]
fn a_look_that_a_person_overruled_is_not_taken_again() -> Result<()> {
    let place = Place::new()?;
    run(&place, 4)?;
    place.jm(&["run", "mark-done", "check", "--reason", "seen with my own eyes"], 0)?;
    place.jm(&["plan", "resume", "--yes"], 0)?;
    ensure!(place.starts("check")? == 1 && place.starts("after")? == 1);
    Ok(())
}

#[test]
fn what_a_newer_run_has_done_is_not_done_again_unless_the_older_one_is_named() -> Result<()> {
    let place = Place::new()?;
    let older = run(&place, 4)?;
    place.write("flag", "")?;
    let newer = run(&place, 0)?;
    let output = place.jm(&["plan", "resume", "--yes"], 2)?;
    let short = |id: &str| id[id.len() - 8..].to_owned();
    let command = format!("`jm plan resume {}`", short(&older));
    says(
        &output,
        &[
            "there is nothing to resume",
            &short(&newer),
            "was completed after",
            &command,
        ],
    )?;
    ensure!(place.starts("check")? == 1, "it went on");
    place.jm(&["plan", "resume", &older, "--yes"], 0)?;
    // One that failed after it is another matter.
    std::fs::remove_file(place.path("flag"))?;
    run(&place, 4)?;
    place.write("flag", "")?;
    place.jm(&["plan", "resume", "--yes"], 0)?;
    Ok(())
}

#[test]
fn who_begins_anew_is_told_of_the_run_that_is_not_finished() -> Result<()> {
    let place = Place::new()?;
    let older = run(&place, 4)?;
    let command = format!("`jm plan resume {}`", &older[older.len() - 8..]);
    let plan = place.path("looks.yaml").display().to_string();
    let flag = format!("flag={}", place.path("flag").display());
    let again = ["plan", "run", &plan, "--yes", "-i", &flag];
    says(
        &place.jm(&again, 4)?,
        &["of the same plan and targets is not finished", &command],
    )?;
    place.write("flag", "")?;
    place.jm(&again, 0)?;
    // It is over by now, by another run.
    let output = place.jm(&again, 0)?;
    ensure!(!said(&output).contains("is not finished"), "{}", said(&output));
    Ok(())
}

/// A run of a plan that is killed as soon as something holds.
fn killed(place: &Place, plan: &str, holds: impl FnOnce(&mut Running) -> Result<()>) -> Result<()> {
    let plan = place.write("killed.yaml", plan)?;
    let flag = format!("flag={}", place.path("flag").display());
    let mut run = place.start(&["plan", "run", &plan, "--yes", "-i", &flag])?;
    holds(&mut run)?;
    run.0.kill()?;
    run.0.wait()?;
    Ok(())
}

/// Goes on with what is under way, once a file is there.
const SLOW: &str = r#"
apiVersion: jm/v1
name: slow
inputs:
  flag: { type: string }
steps:
  - id: work
    uses: command.run
    with:
      shell: 'test ! -e "$FLAG" || exit 0; sleep 60'
      env: { FLAG: "${{ inputs.flag }}" }
      effect: reversible
      repeat: safe
  - id: asked
    uses: command.run
    needs: [work]
    with: { shell: "exit 0", verify: [sh, -c, "exit 0"], effect: reversible }
"#;

#[test]
fn time_in_which_nobody_worked_is_nobodys() -> Result<()> {
    let place = Place::new()?;
    killed(&place, SLOW, |run| run.until_started(&place.state(), "work"))?;
    std::thread::sleep(std::time::Duration::from_secs(3));
    let interrupted = shown(&place)?;
    ensure!(interrupted["status"] == "interrupted", "{interrupted:#}");
    ensure!(
        interrupted["seconds"].as_f64().is_some_and(|seconds| seconds < 2.5),
        "{interrupted:#}"
    );
    let human = place.jm(&["run", "show"], 0)?;
    says(&human, &["INTERRUPTED slow after", "cut off", "next   `jm plan resume"])?;
    says(&place.jm(&["run", "list"], 0)?, &["interrupted"])?;
    // A dry run asks what became of it, as the resume would.
    let dry = json(&place.jm(&["plan", "resume", "--dry-run", "--format", "json"], 0)?)?;
    let work = step(&dry, "work")?;
    ensure!(
        work["status"] == "will-run" && work["because"].to_string().contains("it is run again"),
        "{dry:#}"
    );
    place.write("flag", "")?;
    place.jm(&["plan", "resume", "--yes"], 0)?;
    let done = shown(&place)?;
    let spent = step(&done, "work")?["seconds"].as_f64().context("seconds")?;
    ensure!(spent < 2.5, "the pause is counted as the step's: {done:#}");
    Ok(())
}

/// Its verification finds at once what its first attempt had done.
const DONE: &str = r#"
apiVersion: jm/v1
name: done
inputs:
  flag: { type: string }
steps:
  - id: work
    uses: command.run
    with:
      shell: 'touch "$FLAG"; sleep 60'
      env: { FLAG: "${{ inputs.flag }}" }
      verify: [test, -e, "${{ inputs.flag }}"]
      effect: reversible
  - id: after
    uses: command.run
    needs: [work]
    with: { argv: ["true"], effect: reversible }
"#;

#[test]
fn a_dry_run_of_a_resume_knows_what_had_been_done() -> Result<()> {
    let place = Place::new()?;
    killed(&place, DONE, |run| {
        run.until("the effect", || Ok(place.path("flag").exists()))
    })?;
    let before = place.journal()?;
    let dry = json(&place.jm(&["plan", "resume", "--dry-run", "--format", "json"], 0)?)?;
    let work = step(&dry, "work")?;
    ensure!(
        work["status"] == "done" && work["because"].to_string().contains("takes it over"),
        "{dry:#}"
    );
    ensure!(place.journal()? == before, "a dry run wrote");
    place.jm(&["plan", "resume", "--yes"], 0)?;
    ensure!(place.starts("work")? == 1, "it was done again");
    Ok(())
}

#[test]
fn a_deadline_says_that_it_was_the_cause() -> Result<()> {
    let place = Place::new()?;
    let plan = place.write(
        "late.yaml",
        "apiVersion: jm/v1\nname: late\ndeadline: 1s\nsteps:
  - { id: slow, uses: command.run, with: { argv: [sleep, '2'], effect: read-only } }
  - { id: never, uses: command.run, needs: [slow], with: { argv: ['true'], effect: reversible } }\n",
    )?;
    let output = place.jm(&["plan", "run", &plan, "--yes"], 4)?;
    let cause = "the deadline of 1s passed, and nothing new was started but `finally`; not begun: `never`";
    says(&output, &["FAILED late", cause])?;
    says(&place.jm(&["run", "show"], 0)?, &[cause])?;
    let report = place.jm(&["run", "report"], 0)?;
    says(&report, &["What went wrong", "deadline passed"])?;
    Ok(())
}

#[test]
fn logs_of_a_step_that_there_is_not_are_not_just_empty() -> Result<()> {
    let place = Place::new()?;
    run(&place, 4)?;
    let output = place.jm(&["run", "logs", "--step", "chekc"], 2)?;
    says(&output, &["has no step `chekc`", "`check`, `after`"])?;
    ensure!(!said(&output).contains("wrote nothing"));
    Ok(())
}

/// Nobody is there to be asked: what cannot be taken back is not done for want of a word, at a resume as little as at first.
#[test]
fn a_resume_does_what_cannot_be_taken_back_only_by_a_word() -> Result<()> {
    let place = Place::new()?;
    let (flag, log) = (place.path("flag"), place.path("log"));
    let plan = place.write(
        "final.yaml",
        r#"
apiVersion: jm/v1
name: final
inputs: { flag: { type: string }, log: { type: string } }
steps:
  - id: check
    uses: command.run
    with: { argv: [test, -e, "${{ inputs.flag }}"], effect: reversible }
  - id: meant
    uses: check.assert
    needs: [check]
    with: { that: "${{ inputs.flag != '' }}", message: no flag }
  - id: delete
    uses: command.run
    needs: [meant]
    with: { shell: 'echo gone >>"$LOG"', env: { LOG: "${{ inputs.log }}" }, effect: irreversible }
"#,
    )?;
    let inputs = [format!("flag={}", flag.display()), format!("log={}", log.display())];
    place.jm(&["plan", "run", &plan, "--yes", "-i", &inputs[0], "-i", &inputs[1]], 4)?;
    let resume = shown(&place)?["resume"].as_str().context("a command")?.to_owned();
    ensure!(resume.ends_with(" --yes"), "{resume}");
    place.write("flag", "")?;
    let refused = place.jm(&["plan", "resume"], 10)?;
    super::says(
        &refused,
        &[
            "cannot be taken back",
            "add `--yes`",
            "1 only look, 1 change something, `delete` cannot be taken back",
        ],
    )?;
    ensure!(!log.exists(), "it was done");
    place.jm(&["plan", "resume", "--yes"], 0)?;
    ensure!(std::fs::read_to_string(&log)? == "gone\n");
    Ok(())
}
