//! `jm run approve|reject|retry|skip|mark-done|abort`, and `jm run list|show|watch|logs`.

use std::process::Command;

use anyhow::{Result, ensure};

use super::{Place, json, says};
use crate::environment::said;

/// Asks, does something that works once a file is there, and does something after it.
const PLAN: &str = r#"
apiVersion: jm/v1
name: words
title: What people say
inputs:
  flag: { type: string }
  log: { type: string }
steps:
  - id: look
    uses: command.run
    with: { argv: [echo, looked around], effect: read-only }
  - id: ask
    uses: manual.approve
    needs: [look]
    with: { message: "go on?" }
  - id: work
    uses: command.run
    needs: [ask]
    with: { argv: [test, -e, "${{ inputs.flag }}"], effect: reversible }
  - id: after
    uses: check.assert
    needs: [work]
    with: { that: true, message: "never said" }
finally:
  - id: tidy
    uses: command.run
    with: { shell: 'echo tidied >>"$LOG"', env: { LOG: "${{ inputs.log }}" }, effect: reversible }
"#;

/// A run of it, up to the question.
fn asked() -> Result<Place> {
    let place = Place::new()?;
    let plan = place.write("words.yaml", PLAN)?;
    let (flag, log) = (place.path("flag"), place.path("log"));
    let flag = format!("flag={}", flag.display());
    let log = format!("log={}", log.display());
    let output = place.jm(&["plan", "run", &plan, "--yes", "-i", &flag, "-i", &log], 6)?;
    says(&output, &["go on?", "jm run approve"])?;
    ensure!(!place.path("log").exists(), "a run that waits is not at its end");
    Ok(place)
}

/// The same, with the question answered and the step after it failed.
fn failed() -> Result<Place> {
    let place = asked()?;
    place.jm(&["run", "approve", "ask", "--reason", "so"], 0)?;
    place.jm(&["plan", "resume", "--yes"], 4)?;
    Ok(place)
}

fn tidied(place: &Place) -> Result<usize> {
    Ok(std::fs::read_to_string(place.path("log"))?.lines().count())
}

fn is_word(place: &Place, verb: &str, step: &str, reason: &str) -> Result<()> {
    let words = place.words()?;
    let found = words
        .iter()
        .any(|[v, s, who, why]| v == verb && s == step && who.starts_with("ada@") && why == reason);
    ensure!(found, "no {verb} of {step}: {words:?}");
    Ok(())
}

#[test]
fn a_yes_lets_the_run_go_on() -> Result<()> {
    let place = asked()?;
    place.write("flag", "")?;
    // Nobody has answered yet: it asks the same again.
    place.jm(&["plan", "resume", "--yes"], 6)?;
    let output = place.jm(&["run", "approve", "ask", "--reason", "looked at the copy"], 0)?;
    says(&output, &["written down", "jm plan resume"])?;
    is_word(&place, "approve", "ask", "looked at the copy")?;
    let again = place.jm(&["run", "approve", "ask", "--reason", "so"], 2)?;
    says(&again, &["`approve` does not fit step `ask`", "jm run show"])?;
    let output = place.jm(&["plan", "resume", "--yes"], 0)?;
    says(&output, &["completed"])?;
    ensure!(place.starts("after")? == 1 && tidied(&place)? == 1, "not all was done");
    let over = place.jm(&["plan", "resume", "--yes"], 2)?;
    says(&over, &["nothing to resume"])?;
    Ok(())
}

#[test]
fn a_no_fails_the_step_and_says_who_said_it_and_why() -> Result<()> {
    let place = asked()?;
    place.jm(&["run", "reject", "ask", "--reason", "the copy is old"], 0)?;
    is_word(&place, "reject", "ask", "the copy is old")?;
    let output = place.jm(&["plan", "resume", "--yes"], 4)?;
    says(&output, &["said no: the copy is old", "ada@", "jm plan resume"])?;
    ensure!(place.starts("work")? == 0 && tidied(&place)? == 1, "it went on");
    // Settled: the next resume asks anew, and a yes counts.
    place.jm(&["plan", "resume", "--yes"], 6)?;
    place.jm(&["run", "approve", "ask", "--reason", "so"], 0)?;
    place.write("flag", "")?;
    place.jm(&["plan", "resume", "--yes"], 0)?;
    Ok(())
}

#[test]
fn a_retry_is_a_new_deed_of_that_step_and_of_what_came_after_it() -> Result<()> {
    let place = failed()?;
    place.jm(&["run", "retry", "work", "--reason", "the disk is back"], 0)?;
    is_word(&place, "retry", "work", "the disk is back")?;
    place.write("flag", "")?;
    place.jm(&["plan", "resume", "--yes", "--until", "after"], 5)?;
    ensure!(place.starts("work")? == 2, "{} times", place.starts("work")?);
    // A step that is finished may be done again, too.
    place.jm(&["run", "retry", "work", "--reason", "so"], 0)?;
    place.jm(&["plan", "resume", "--yes"], 0)?;
    ensure!(place.starts("work")? == 3 && place.starts("after")? == 1);
    let keys: Vec<_> = place
        .journal()?
        .into_iter()
        .filter(|record| record["kind"] == "step-started" && record["step"] == "work")
        .map(|record| record["key"].clone())
        .collect();
    ensure!(
        keys[0] != keys[1] && keys[1] != keys[2],
        "one key for two deeds: {keys:?}"
    );
    Ok(())
}

#[test]
fn a_word_without_a_reason_is_refused_with_the_command_to_type() -> Result<()> {
    let place = asked()?;
    let before = place.journal()?.len();
    let run = place.journal()?[0]["run"]["id"].as_str().unwrap_or_default().to_owned();
    for (words, command) in [
        (vec!["approve", "ask"], "jm run approve ask --reason TEXT".to_owned()),
        (
            vec!["reject", "ask", "--reason", " "],
            "jm run reject ask --reason TEXT".to_owned(),
        ),
        (
            vec!["retry", "work", "--run", &run],
            format!("jm run retry work --run {run} --reason TEXT"),
        ),
        (vec!["skip", "work"], "jm run skip work --reason TEXT".to_owned()),
        (
            vec!["mark-done", "work"],
            "jm run mark-done work --reason TEXT".to_owned(),
        ),
        (vec!["abort", &run], format!("jm run abort {run} --reason TEXT")),
    ] {
        let output = place.jm(&[&["run"], &words[..]].concat(), 2)?;
        says(&output, &["needs a reason", &command])?;
    }
    ensure!(
        place.journal()?.len() == before,
        "a word without a reason was written down"
    );
    Ok(())
}

#[test]
fn a_step_is_skipped_or_was_done_by_other_means() -> Result<()> {
    // What the plan wanted done and is not, is not passed over in silence.
    for (verb, status, code) in [("skip", "skipped", 9), ("mark-done", "succeeded", 0)] {
        let place = failed()?;
        place.jm(&["run", verb, "work", "--reason", "done by hand"], 0)?;
        is_word(&place, verb, "work", "done by hand")?;
        let output = place.jm(&["plan", "resume", "--yes"], code)?;
        if code == 9 {
            says(&output, &["`work`: left out by ada@", "done by hand"])?;
        }
        ensure!(place.starts("work")? == 1 && place.starts("after")? == 1);
        let shown = json(&place.jm(&["run", "show", "--format", "json"], 0)?)?;
        let steps = shown["steps"].as_array().map(Vec::as_slice).unwrap_or_default();
        let work = steps.iter().find(|step| step["id"] == "work" || step["step"] == "work");
        ensure!(work.is_some_and(|step| step["status"] == status), "{shown:#}");
    }
    Ok(())
}

#[test]
fn an_abort_ends_the_run_and_tidies_up() -> Result<()> {
    let place = asked()?;
    place.jm(&["run", "abort", "--reason", "another plan"], 0)?;
    is_word(&place, "abort", "", "another plan")?;
    let output = place.jm(&["plan", "resume", "--yes"], 4)?;
    says(&output, &["ABORTED"])?;
    let text = said(&output);
    ensure!(
        !text.contains("go on with") && !text.contains("waits"),
        "it still asks: {text}"
    );
    let shown = json(&place.jm(&["run", "show", "--format", "json"], 0)?)?;
    let steps = shown["steps"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ask = steps.iter().find(|step| step["id"] == "ask");
    ensure!(
        ask.is_some_and(|ask| ask["status"] == "failed"
            && ask["error"]["kind"] == "cancelled"
            && ask["waits"].is_null()),
        "{shown}"
    );
    ensure!(steps.iter().all(|step| step["status"] != "running"), "{shown}");
    ensure!(place.starts("work")? == 0 && tidied(&place)? == 1);
    let over = place.jm(&["run", "abort", "--reason", "so"], 2)?;
    says(&over, &["the run is over"])?;
    Ok(())
}

#[test]
fn a_run_that_failed_can_be_ended_too() -> Result<()> {
    let place = failed()?;
    let output = place.jm(&["run", "abort", "--reason", "no such disk"], 0)?;
    says(&output, &["jm plan resume", "`finally`"])?;
    is_word(&place, "abort", "", "no such disk")?;
    says(&place.jm(&["run", "abort", "--reason", "so"], 2)?, &["aborted already"])?;
    let dry = json(&place.jm(&["plan", "resume", "--dry-run", "--format", "json"], 0)?)?;
    let steps = dry["steps"].as_array().map(Vec::as_slice).unwrap_or_default();
    let runs = steps.iter().filter(|step| step["status"] == "will-run").count();
    ensure!(runs == 0, "{dry:#}");
    let output = place.jm(&["plan", "resume", "--yes"], 4)?;
    // What failed is still told.
    says(&output, &["ABORTED", "failed `work`"])?;
    ensure!(place.starts("work")? == 1 && tidied(&place)? == 2, "not ended once");
    says(&place.jm(&["plan", "resume", "--yes"], 2)?, &["nothing to resume"])?;
    Ok(())
}

#[test]
fn a_second_thought_lets_an_ended_run_go_on() -> Result<()> {
    let place = failed()?;
    place.jm(&["run", "abort", "--reason", "so"], 0)?;
    place.write("flag", "")?;
    place.jm(&["run", "retry", "work", "--reason", "so"], 0)?;
    says(&place.jm(&["plan", "resume", "--yes"], 0)?, &["completed"])?;
    Ok(())
}

#[test]
fn words_that_do_not_fit_are_refused_and_change_nothing() -> Result<()> {
    let place = asked()?;
    let before = place.journal()?;
    for (words, why) in [
        (vec!["run", "approve", "nowhere", "--reason", "so"], "no step `nowhere`"),
        (vec!["run", "approve", "No Name", "--reason", "so"], "No Name"),
        (vec!["run", "approve", "work", "--reason", "so"], "it asks nothing"),
        (vec!["run", "reject", "look", "--reason", "so"], "it asks nothing"),
        (vec!["run", "skip", "ask", "--reason", "so"], "approve or reject"),
        (vec!["run", "mark-done", "look", "--reason", "so"], "succeeded"),
        (vec!["run", "retry", "after", "--reason", "so"], "not-started"),
        (
            vec!["run", "approve", "ask", "--run", "zzzzzz", "--reason", "so"],
            "no run `zzzzzz`",
        ),
    ] {
        says(&place.jm(&words, 2)?, &[why, "error:"])?;
    }
    ensure!(place.journal()? == before, "a refused word is in the journal");
    let nobody = Place::new()?;
    says(
        &nobody.jm(&["run", "approve", "ask", "--reason", "so"], 2)?,
        &["there are no runs"],
    )?;
    Ok(())
}

/// Asks while something else is under way, so that the run lives when it is answered.
const ALIVE: &str = r#"
apiVersion: jm/v1
name: alive
inputs:
  flag: { type: string }
steps:
  - id: ask
    uses: manual.approve
    with: { message: "go on?" }
  - id: busy
    uses: command.run
    with: { shell: 'until test -e "$FLAG.end"; do sleep 0.05; done', env: { FLAG: "${{ inputs.flag }}" }, effect: reversible }
  - id: pause
    uses: command.run
    needs: [ask]
    on_failure: pause
    with: { argv: [test, -e, "${{ inputs.flag }}"], effect: reversible }
"#;

#[test]
fn a_run_that_lives_hears_the_word_at_once() -> Result<()> {
    let place = Place::new()?;
    let plan = place.write("alive.yaml", ALIVE)?;
    let flag = format!("flag={}", place.path("flag").display());
    let mut running = place.start(&["plan", "run", &plan, "--yes", "-i", &flag])?;
    running.until("the question", || {
        Ok(place
            .journal()?
            .iter()
            .any(|record| record["kind"] == "operator-needed"))
    })?;
    let shown = place.jm(&["run", "show"], 0)?;
    says(&shown, &["running alive after"])?;
    ensure!(!said(&shown).contains("plan resume"), "{}", said(&shown));
    let document = json(&place.jm(&["run", "show", "--format", "json"], 0)?)?;
    ensure!(
        document["alive"] == true && document["status"] == "running" && document["resume"].is_null(),
        "{document:#}"
    );
    let report = json(&place.jm(&["run", "report", "--format", "json"], 0)?)?;
    ensure!(report["summary"]["status"] == "running", "{}", report["summary"]);
    says(&place.jm(&["run", "report"], 0)?, &["**running** after"])?;
    let id = document["run"]["id"].as_str().unwrap_or_default().to_owned();
    for words in [vec!["plan", "resume"], vec!["plan", "resume", &id]] {
        says(&place.jm(&words, 8)?, &["is alive", "jm run watch"])?;
    }
    // Two say it at once: one word is enough, and whoever said the other hears that.
    let words = ["run", "approve", "ask", "--reason", "now"];
    let both = [place.start(&words)?, place.start(&words)?];
    let mut heard = Vec::new();
    for one in both {
        heard.push(one.outcome()?);
    }
    heard.sort_by_key(|output| output.status.code());
    let codes: Vec<_> = heard.iter().map(|output| output.status.code()).collect();
    ensure!(codes == [Some(0), Some(2)], "{codes:?}: {}", said(&heard[1]));
    says(&heard[0], &["is alive"])?;
    says(&heard[1], &["does not fit step `ask`"])?;
    // What failed is paused, and the run goes on to live because of what is busy.
    running.until_started(&place.state(), "pause")?;
    running.until("the pause", || {
        let records = place.journal()?;
        let waits = records.iter().filter(|record| record["kind"] == "operator-needed");
        Ok(waits.count() == 2)
    })?;
    let listed = json(&place.jm(&["run", "list", "--format", "json"], 0)?)?;
    ensure!(listed["runs"][0]["status"] == "running", "{listed}");
    place.write("flag", "")?;
    says(
        &place.jm(&["run", "retry", "pause", "--reason", "so"], 0)?,
        &["is alive"],
    )?;
    running.until("the second try", || {
        let records = place.journal()?;
        let done = records.iter().filter(|record| record["kind"] == "step-succeeded");
        Ok(done.filter(|record| record["step"] == "pause").count() == 1)
    })?;
    place.write("flag.end", "")?;
    running.ends(0)?;
    is_word(&place, "approve", "ask", "now")?;
    is_word(&place, "retry", "pause", "so")?;
    Ok(())
}

#[test]
fn runs_are_listed_shown_watched_and_read() -> Result<()> {
    let place = failed()?;
    let listed = json(&place.jm(&["run", "list", "--format", "json"], 0)?)?;
    let run = &listed["runs"][0];
    ensure!(
        listed["version"] == 1 && run["plan"] == "words" && run["status"] == "failed",
        "{listed}"
    );
    says(&place.jm(&["run", "list"], 0)?, &["RUN", "STATUS", "words", "failed"])?;
    let shown = json(&place.jm(&["run", "show", "--format", "json"], 0)?)?;
    ensure!(shown["status"] == "failed" && shown["version"] == 1, "{shown:#}");
    let shown = place.jm(&["run", "show", "-q"], 0)?;
    says(&shown, &["FAILED", "work", "jm plan resume"])?;
    let page = String::from_utf8(shown.stdout)?;
    ensure!(
        page.contains("STEP") && page.contains("tidy"),
        "the table is not data: {page}"
    );
    says(
        &place.jm(&["run", "logs"], 0)?,
        &["looked around", "== look, attempt 1"],
    )?;
    says(&place.jm(&["run", "logs", "--step", "after"], 0)?, &["wrote nothing"])?;
    // A run is told from its beginning, with its own exit code, whatever stood between its sessions.
    says(&place.jm(&["run", "watch"], 4)?, &["work", "is failed"])?;
    let watched = place.jm(&["run", "watch", "--format", "json"], 4)?;
    let lines = super::events::lines(&String::from_utf8(watched.stdout)?)?;
    ensure!(lines.len() == place.journal()?.len(), "{} lines", lines.len());
    Ok(())
}

/// Nobody can tell whether the step is done, until a file says how to tell.
const UNCLEAR: &str = r#"
apiVersion: jm/v1
name: unclear
inputs:
  here: { type: string }
steps:
  - id: once
    uses: command.run
    with:
      shell: 'echo done >>"$HERE/log"'
      env: { HERE: "${{ inputs.here }}" }
      verify: [sh, -c, 'test -e "$HERE/tells" || exit 7; test -e "$HERE/log"']
      effect: reversible
"#;

#[test]
fn what_may_be_done_already_is_not_done_until_that_can_be_told() -> Result<()> {
    let place = Place::new()?;
    let plan = place.write("unclear.yaml", UNCLEAR)?;
    let here = format!("here={}", place.folder.path().display());
    let run = ["plan", "run", &plan, "--yes", "-i", &here];
    for _ in 0..2 {
        let output = place.jm(&run, 4)?;
        says(&output, &["was not run", "exit code 7", "jm run mark-done once"])?;
    }
    place.write("tells", "")?;
    place.jm(&["plan", "resume", "--yes"], 0)?;
    place.jm(&run, 0)?;
    ensure!(std::fs::read_to_string(place.path("log"))? == "done\n", "not once");
    Ok(())
}

#[test]
fn people_have_names_where_the_environment_says_none() -> Result<()> {
    let place = Place::new()?;
    let plan = place.write("alive.yaml", ALIVE)?;
    place.write("flag.end", "")?;
    let flag = format!("flag={}", place.path("flag").display());
    let known = Command::new("id").arg("-un").output()?;
    let known = format!("{}@", String::from_utf8(known.stdout)?.trim());
    let nameless = |words: &[&str], code: i32| -> Result<()> {
        let output = place.command(words).env_remove("USER").env("LOGNAME", "").output()?;
        ensure!(output.status.code() == Some(code), "{words:?}: {}", said(&output));
        Ok(())
    };
    nameless(&["plan", "run", &plan, "--yes", "-i", &flag], 6)?;
    nameless(&["run", "approve", "ask", "--reason", "so"], 0)?;
    let records = place.journal()?;
    ensure!(
        records[0]["by"].as_str().is_some_and(|by| by.starts_with(&known)),
        "{}",
        records[0]
    );
    let [word] = &place.words()?[..] else {
        anyhow::bail!("{:?}", place.words()?)
    };
    ensure!(word[0] == "approve" && word[2].starts_with(&known), "{word:?}");
    Ok(())
}
