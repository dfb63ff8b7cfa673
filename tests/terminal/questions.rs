//! Questions at the terminal: the run goes on above them, signals act, and an answer that is typed is taken.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::recording::{self, Recording};
use super::{LARGE, Place, SMALL, events, is_calm};
use crate::environment::{RECOVER, World, jm, journal, of_kind, said};

/// A question beside work that takes longer than somebody takes to answer.
const ASKS: &str = r#"
apiVersion: jm/v1
name: asks
steps:
  - id: ask
    uses: manual.approve
    with: { message: "go on?" }
  - id: busy
    uses: command.run
    with: { argv: [sleep, "6"], effect: read-only }
  - id: brief
    uses: command.run
    with: { argv: [sleep, "2"], effect: read-only }
  - id: after
    uses: command.run
    needs: [ask, brief]
    with: { argv: [sleep, "1"], effect: reversible }
"#;
const QUESTION: &str = "step `ask` asks: go on? [yes/no]";

fn watch(place: &Place, size: (u16, u16), variables: &[(&str, &str)], keys: &[(&str, &str)]) -> Result<Recording> {
    let command = jm(&place.path().join("state"));
    let words = "plan run plan.yaml --yes --events events.jsonl";
    Recording::with_keys(command, place.path(), words, size, variables, keys, Duration::ZERO)
}

/// The terminal reads lines again, and shows what is typed.
fn is_given_back(folder: &Path) -> Result<()> {
    let modes = std::fs::read_to_string(folder.join("modes"))?;
    let has = |mode: &str| modes.split([' ', ';', '\n']).any(|word| word == mode);
    ensure!(has("icanon") && has("echo") && has("isig"), "{modes}");
    Ok(())
}

/// What was said, and of which step.
fn words(events: &[Value]) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let said = of_kind(events, "operator").into_iter();
    said.map(|record| (text(&record["verb"]), text(&record["step"])))
        .collect()
}

#[test]
fn steps_go_on_above_a_question_and_its_answer_is_taken() -> Result<()> {
    for size in [SMALL, LARGE] {
        let place = Place::of(ASKS)?;
        // The step beside it ends while nobody has answered yet.
        let keys = [
            (QUESTION, "yse"),
            ("done     brief", "\x7f\x7fes"),
            ("go on? [yes/no] yes", "\r"),
        ];
        let seen = watch(&place, size, &[], &keys)?;
        ensure!(seen.code == Some(0), "{}", seen.text());
        let events = place.events()?;
        ensure!(
            words(&events) == [("approve".to_owned(), "ask".to_owned())],
            "{events:?}"
        );
        is_calm(&seen, &events, &[]).with_context(|| format!("at {size:?}"))?;
        let both = |view: &&recording::View| {
            let bottom = view.bottom().unwrap_or_default();
            view.line_of("busy").is_some_and(|line| line.contains("2s")) && bottom.starts_with(QUESTION)
        };
        ensure!(seen.views.iter().any(|view| both(&view)), "{}", seen.text());
        is_given_back(place.path())?;
    }
    Ok(())
}

#[test]
fn a_question_is_answered_where_nothing_moves() -> Result<()> {
    let place = Place::of(ASKS)?;
    let keys = [(QUESTION, "what\r"), ("what", "no\r")];
    let seen = watch(&place, SMALL, &[("TERM", "dumb")], &keys)?;
    ensure!(seen.code == Some(4), "{}", seen.text());
    ensure!(words(&place.events()?) == [("reject".to_owned(), "ask".to_owned())]);
    ensure!(seen.text().matches(QUESTION).count() == 2, "{}", seen.text());
    is_given_back(place.path())
}

#[test]
fn signals_act_while_a_question_stands() -> Result<()> {
    for keys in [vec![(QUESTION, "\x03")], vec![(QUESTION, "\x03\x03")]] {
        let place = Place::of(ASKS)?;
        let seen = watch(&place, SMALL, &[], &keys)?;
        ensure!(seen.code == Some(5), "{:?}: {}", seen.code, seen.text());
        let events = place.events()?;
        let last = events.last().context("a record")?;
        ensure!(
            last["kind"] == "run-stopped" && last["by"].to_string().contains("SIGINT"),
            "{last}"
        );
        // Nobody waited for the work beside it, nor for the person.
        ensure!(of_kind(&events, "step-succeeded").is_empty(), "{events:?}");
        is_given_back(place.path())?;
    }
    Ok(())
}

#[test]
fn a_question_does_not_keep_from_ending_what_a_service_manager_ends() -> Result<()> {
    // The step's parent is jm.
    let kill = ASKS.replace("argv: [sleep, \"2\"]", "shell: \"sleep 1; kill -TERM $PPID; sleep 20\"");
    let place = Place::of(&kill)?;
    let seen = watch(&place, SMALL, &[], &[(QUESTION, "y")])?;
    ensure!(seen.code == Some(5), "{:?}: {}", seen.code, seen.text());
    ensure!(
        seen.text().contains(QUESTION),
        "it was ended before it asked: {}",
        seen.text()
    );
    let events = place.events()?;
    let last = events.last().context("a record")?;
    ensure!(
        last["kind"] == "run-stopped" && last["by"].to_string().contains("SIGTERM"),
        "{last}"
    );
    is_given_back(place.path())
}

#[test]
fn a_question_that_was_answered_elsewhere_goes_away() -> Result<()> {
    let plan = ASKS.replace(
        "argv: [sleep, \"2\"]",
        &format!(
            "shell: \"sleep 1; JM_STATE=$HERE/state '{}' run approve ask --reason seen\", env: {{ USER: bob, HERE: '${{{{ inputs.here }}}}' }}",
            env!("CARGO_BIN_EXE_jm")
        ),
    );
    let plan = plan.replace("steps:", "inputs: { here: { type: string } }\nsteps:");
    let place = Place::of(&plan)?;
    let words = format!(
        "plan run plan.yaml --yes --events events.jsonl -i here={}",
        place.path().display()
    );
    let command = jm(&place.path().join("state"));
    let keys = [(QUESTION, "n")];
    let seen = Recording::with_keys(command, place.path(), &words, SMALL, &[], &keys, Duration::ZERO)?;
    ensure!(seen.code == Some(0), "{}", seen.text());
    // The thread that reads the keys may need a moment to hear of it on a busy machine.
    let of_after = seen.views.iter().rfind(|view| view.line_of("after").is_some());
    let of_after = of_after.context("the step after it is seen")?;
    ensure!(!of_after.shows_words("[yes/no]"), "{}", seen.text());
    is_given_back(place.path())
}

#[test]
fn who_says_a_word_at_a_terminal_is_asked_why() -> Result<()> {
    let place = Place::of(&ASKS.replace("sleep, \"6\"", "sleep, \"0\""))?;
    let state = place.path().join("state");
    let waits = jm(&state)
        .current_dir(place.path())
        .args(["plan", "run", "plan.yaml", "--yes"])
        .output()?;
    ensure!(waits.status.code() == Some(6), "{}", said(&waits));
    // Nothing is no reason, and it is asked for again.
    let keys = [("why?", " \rthe copy was looked at\r")];
    let (words, patience) = ("run approve ask", Duration::ZERO);
    let seen = Recording::with_keys(jm(&state), place.path(), words, SMALL, &[], &keys, patience)?;
    ensure!(seen.code == Some(0), "{}", seen.text());
    ensure!(seen.text().matches("why?").count() >= 2, "{}", seen.text());
    let records = journal(&state)?;
    let word = of_kind(&records, "operator").pop().context("a word")?;
    ensure!(
        word["verb"] == "approve" && word["reason"] == "the copy was looked at",
        "{word}"
    );
    Ok(())
}

/// The recovery without its word on protected targets, which is asked for at the terminal.
fn recover(world: &World, keys: &[(&str, &str)]) -> Result<(Recording, Vec<Value>)> {
    let file = world.folder().join("events.jsonl");
    let plan = Path::new(env!("CARGO_MANIFEST_DIR")).join(RECOVER[2]);
    let words = format!("plan run {} --yes --events {}", plan.display(), file.display());
    let seen = Recording::with_keys(world.jm(), world.folder(), &words, LARGE, &[], keys, Duration::ZERO)?;
    Ok((seen, events(&file)?))
}

#[test]
fn a_recovery_waits_for_its_guard_without_standing_still() -> Result<()> {
    let world = World::sandbox_with(&[], |_| Ok(()))?;
    world.back_up()?;
    let data = world.fingerprint()?;
    world.lose_database()?;
    let (stopped, records) = recover(&world, &[("Go on? [yes/no]", "\x03")])?;
    ensure!(stopped.code == Some(5), "{:?}: {}", stopped.code, stopped.text());
    ensure!(of_kind(&records, "step-started").is_empty(), "{records:?}");
    // Its clock goes on while somebody thinks.
    let keys = [("Go on? [yes/no]", ""), ("3s of RTO 30m", "yes\r")];
    let (seen, records) = recover(&world, &keys)?;
    ensure!(seen.code == Some(0), "{:?}: {}", seen.code, seen.text());
    ensure!(words(&records).contains(&("consent".to_owned(), String::new())));
    seen.wraps_nowhere()?;
    ensure!(world.fingerprint()? == data, "the data is not what it was");
    Ok(())
}

/// Changes something, so that it is asked whether to begin.
const CLOCKED: &str = r#"
apiVersion: jm/v1
name: clocked
objectives: { rto: 5m }
steps:
  - id: work
    uses: command.run
    with: { argv: [sleep, "2"], effect: reversible }
"#;

#[test]
fn one_clock_runs_from_the_command_on_wherever_time_is_told() -> Result<()> {
    let place = Place::of(CLOCKED)?;
    let command = || jm(&place.path().join("state"));
    let words = "plan run plan.yaml --events events.jsonl";
    let keys = [("begin? [yes/no]", "yes\r")];
    let hesitates = Duration::from_secs(5);
    let seen = Recording::with_keys(command(), place.path(), words, SMALL, &[], &keys, hesitates)?;
    ensure!(seen.code == Some(0), "{}", seen.text());
    let first = seen
        .views
        .iter()
        .find_map(|view| view.bottom().filter(|line| line.contains(" of RTO 5m")));
    let first = first.context("a clock")?;
    ensure!(
        first.contains("clocked · 5s of"),
        "the display begins elsewhere: {first}"
    );
    let output = |words: &[&str]| -> Result<String> {
        let output = command().args(words).output()?;
        ensure!(output.status.success());
        Ok(String::from_utf8(output.stdout)?)
    };
    let shown: Value = serde_json::from_str(&output(&["run", "show", "--format", "json"])?)?;
    let (took, rto) = (shown["seconds"].as_f64(), shown["rto"]["actual"].as_f64());
    let is_near = |seconds: Option<f64>| seconds.is_some_and(|seconds| (7.0..10.0).contains(&seconds));
    ensure!(is_near(took) && is_near(rto), "{shown:#}");
    let listed = output(&["run", "list"])?;
    let took = listed
        .split_whitespace()
        .find_map(|word| word.strip_suffix('s')?.parse().ok());
    ensure!(is_near(took), "{listed}");
    Ok(())
}
