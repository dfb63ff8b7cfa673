//! What a person sees at a terminal: the real binary in a real one (`script` makes it), read by a terminal's own rules.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::environment::{RECOVER, World, jm};

mod questions;
mod recording;
use recording::{Recording, View};

/// Several steps at once, one that is tried again, one that fails with more words than fit on a line, and a `finally`.
const PLAN: &str = r#"
apiVersion: jm/v1
name: in-sight
title: A run that is looked at
objectives: { rto: 5m }
contacts: [ada]
steps:
  - id: quick
    uses: command.run
    with: { argv: [sleep, "0.2"], effect: read-only }
  - id: chatter
    uses: command.run
    needs: [quick]
    with: { shell: "for i in 1 2 3 4 5; do echo \"line $i of what it says\"; sleep 0.5; done", effect: read-only }
  - id: a-step-whose-name-is-rather-long
    uses: command.run
    with: { argv: [sleep, "5.5"], effect: read-only }
  - id: again
    uses: command.run
    on_failure: continue
    timeout: 1s
    retry: { attempts: 2, backoff: { base: 1500ms, jitter: 0 } }
    with: { argv: [sleep, "9"], effect: read-only }
  - id: bad
    uses: command.run
    needs: [chatter]
    why: without it the shop stays closed
    runbook: https://example.com/runbooks/bad
    with:
      effect: reversible
      shell: |
        sleep 1.5
        printf 'a tab\t, a colour \033[31mred\033[0m, and the same words, over and over: ' >&2
        for i in 1 2 3 4 5 6 7 8 9; do printf 'nothing that fits on a line; ' >&2; done
        exit 3
  - id: never
    uses: command.run
    needs: [bad]
    with: { argv: ["true"], effect: reversible }
finally:
  - id: tidy
    uses: command.run
    with: { argv: [sleep, "1.3"], effect: read-only }
"#;
const TARGETS: &str = r#"
apiVersion: jm/v1
kind: Targets
name: here
targets:
  webhook: { provider: notify, url: "${{ env.WEBHOOK_URL }}" }
contacts: { ada: { name: Ada, reach: "at her desk" } }
"#;

struct Place(TempDir);

impl Place {
    fn of(plan: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("plan.yaml"), plan)?;
        std::fs::write(folder.path().join("targets.yaml"), TARGETS)?;
        Ok(Self(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// What a terminal of this size shows while jm runs there.
    fn watch(&self, words: &str, (rows, columns): (u16, u16), variables: &[(&str, &str)]) -> Result<Recording> {
        let command = jm(&self.path().join("state"));
        let words = format!("{words} --events events.jsonl");
        Recording::of(command, self.path(), &words, (rows, columns), variables)
    }

    /// Every record of the last run that was watched.
    fn events(&self) -> Result<Vec<Value>> {
        events(&self.path().join("events.jsonl"))
    }
}

/// Every record in a file of events.
fn events(file: &Path) -> Result<Vec<Value>> {
    let text = std::fs::read_to_string(file)?;
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// What has to be true of every run at every terminal.
fn is_calm(seen: &Recording, events: &[Value], already: &[&str]) -> Result<()> {
    seen.wraps_nowhere()?;
    let live = recording::under_way(events, already)?;
    ensure!(live.len() > 3, "hardly anything was under way: {live:?}");
    seen.shows(&live)?;
    seen.does_not_flicker(&live)?;
    seen.does_not_jump()
}

const SMALL: (u16, u16) = (24, 80);
const LARGE: (u16, u16) = (48, 160);

/// The end of a failed run: first what failed and what to do, then the table.
fn ends_with_what_to_do(view: &View) -> Result<()> {
    let lines = &view.lines;
    let at = |start: &str| lines.iter().position(|line| line.starts_with(start));
    let text = lines.join("\n");
    let headline = at("FAILED in-sight after").with_context(|| format!("no headline in sight:\n{text}"))?;
    let failed = at("  failed `bad`: `sh` ended with exit code 3");
    ensure!(failed == Some(headline + 1), "what failed does not come first:\n{text}");
    let next = at("  next   mend the cause, then `jm plan resume").with_context(|| text.clone())?;
    let table = at("  STEP").with_context(|| text.clone())?;
    ensure!(next < table, "what to do comes after the table:\n{text}");
    for words in [
        "why: without it the shop stays closed",
        "runbook: https://example.com/runbooks/bad",
        "call: ada",
    ] {
        let told = lines[headline..next].iter().any(|line| line.contains(words));
        ensure!(told, "no `{words}` between what failed and what to do:\n{text}");
    }
    has_aligned_rows(view, &["bad ", "a-step-whose"])
}

/// The table at the end has rows that begin with these names, and each cell stands under its heading.
fn has_aligned_rows(view: &View, names: &[&str]) -> Result<()> {
    let lines = &view.lines;
    let text = lines.join("\n");
    let table = lines.iter().position(|line| line.starts_with("  STEP"));
    let table = table.with_context(|| format!("no table:\n{text}"))?;
    let columns = ["STATUS", "TOOK"].map(|name| lines[table].find(name));
    let [Some(status), Some(took)] = columns else {
        anyhow::bail!("no columns:\n{text}")
    };
    let rows: Vec<&String> = lines[table + 1..]
        .iter()
        .take_while(|line| line.starts_with("  "))
        .filter(|line| !line.starts_with("  …"))
        .collect();
    let named = |name: &&str| rows.iter().any(|row| row.trim_start().starts_with(*name));
    ensure!(rows.len() >= 5 && names.iter().all(named), "the table:\n{text}");
    for row in rows {
        let cells: Vec<char> = row.chars().collect();
        let begins = |at: usize| cells[at - 1] == ' ' && cells.get(at).is_none_or(|cell| *cell != ' ');
        ensure!(
            begins(status),
            "the status of `{row}` is not under its heading:\n{text}"
        );
        let untimed = ["blocked", "skipped"].iter().any(|status| row.contains(status));
        ensure!(
            untimed || begins(took),
            "the time of `{row}` is not under its heading:\n{text}"
        );
    }
    Ok(())
}

#[test]
fn a_run_is_calm_at_a_small_and_at_a_large_terminal() -> Result<()> {
    for (size, words) in [
        (SMALL, "plan run plan.yaml --yes"),
        (LARGE, "plan run plan.yaml --yes -v"),
    ] {
        let place = Place::of(PLAN)?;
        let seen = place.watch(words, size, &[])?;
        ensure!(seen.code == Some(4), "{}", seen.text());
        is_calm(&seen, &place.events()?, &[]).with_context(|| format!("at {size:?}"))?;
        let end = seen.last();
        ends_with_what_to_do(end).with_context(|| format!("at {size:?}"))?;
        ensure!(seen.is_coloured(), "{}", seen.text());
    }
    Ok(())
}

#[test]
fn a_run_reads_the_same_without_colour() -> Result<()> {
    let run = |variables: &[(&str, &str)]| -> Result<Recording> {
        let place = Place::of(PLAN)?;
        let seen = place.watch("plan run plan.yaml --yes", SMALL, variables)?;
        is_calm_or_plain(&seen, &place.events()?, variables)?;
        Ok(seen)
    };
    let coloured = run(&[])?;
    let plain = run(&[("NO_COLOR", "1")])?;
    ensure!(!plain.is_coloured(), "{}", plain.text());
    ensure!(
        plain.last().words() == coloured.last().words(),
        "{}\n--- and in colour\n{}",
        plain.last().lines.join("\n"),
        coloured.last().lines.join("\n")
    );
    let dumb = run(&[("TERM", "dumb")])?;
    ensure!(!dumb.text().contains('\u{1b}'), "{}", dumb.text());
    ends_with_what_to_do(dumb.last())
}

/// A terminal on which nothing can move gets a line for each fact; they wrap as little.
fn is_calm_or_plain(seen: &Recording, events: &[Value], variables: &[(&str, &str)]) -> Result<()> {
    if variables.contains(&("TERM", "dumb")) {
        return seen.wraps_nowhere();
    }
    is_calm(seen, events, &[])
}

/// One step whose probe takes its time, one that is just run again, and one that comes after both.
const INTERRUPTED: &str = r#"
apiVersion: jm/v1
name: taken-up
steps:
  - id: asked
    uses: command.run
    with:
      argv: [sleep, "30"]
      verify: [sh, -c, "test ! -e resumed || { sleep 3; exit 0; }; exit 1"]
      effect: reversible
  - id: anew
    uses: command.run
    with: { shell: "test ! -e resumed || { sleep 2; exit 0; }; sleep 30", effect: reversible, repeat: safe }
  - id: beside
    uses: command.run
    with: { shell: "test ! -e resumed || { sleep 4; exit 0; }; sleep 30", effect: read-only }
  - id: after
    uses: command.run
    needs: [asked, anew, beside]
    with: { argv: [sleep, "2"], effect: read-only }
"#;

#[test]
fn a_resume_is_calm_and_shows_what_is_asked_about() -> Result<()> {
    for size in [SMALL, LARGE] {
        let place = Place::of(INTERRUPTED)?;
        let mut first = jm(&place.path().join("state"));
        let mut first = first
            .current_dir(place.path())
            .args([
                "plan",
                "run",
                "plan.yaml",
                "--yes",
                "--quiet",
                "--events",
                "events.jsonl",
            ])
            .spawn()?;
        let started = || {
            let events = place.events().unwrap_or_default();
            events.iter().filter(|event| event["kind"] == "step-started").count()
        };
        while started() < 3 {
            ensure!(first.try_wait()?.is_none(), "it ended");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        first.kill()?;
        first.wait()?;
        std::fs::write(place.path().join("resumed"), "")?;
        let seen = place.watch("plan resume --yes", size, &[])?;
        ensure!(seen.code == Some(0), "{}", seen.text());
        is_calm(&seen, &place.events()?, &["asked", "anew", "beside"]).with_context(|| format!("at {size:?}"))?;
        let asked = seen
            .views
            .iter()
            .any(|view| view.lines.iter().any(|line| line.starts_with("probing  asked")));
        ensure!(asked, "nobody saw that it is asked what became of it:\n{}", seen.text());
        ensure!(
            seen.last()
                .lines
                .iter()
                .any(|line| line.starts_with("completed taken-up")),
            "{}",
            seen.text()
        );
    }
    Ok(())
}

/// What a terminal of this size shows while the database is brought back, and every record of that run.
fn watch_recovery(world: &World, size: (u16, u16)) -> Result<(Recording, Vec<Value>)> {
    let file = world.folder().join(format!("events-{}.jsonl", size.1));
    let words = format!("{} --events {}", RECOVER.join(" "), file.display());
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let seen = Recording::of(world.jm(), here, &words, size, &[])?;
    ensure!(seen.code == Some(0), "{}", seen.text());
    Ok((seen, events(&file)?))
}

/// From the moment on at which bytes are in sight, the restore's line goes on showing them, and soon how fast they come;
/// the last line shows the time against what is promised, and what is next.
fn shows_how_far_the_restore_is(seen: &Recording) -> Result<()> {
    let pictures: Vec<(&str, &str)> = seen
        .views
        .iter()
        .filter_map(|view| Some((view.line_of("restore")?, view.bottom()?)))
        .skip_while(|(line, _)| !line.contains("B of "))
        .collect();
    // A slow machine has a rate in another unit.
    let is_full = |line: &str| line.contains(" MiB of ") && line.contains(" MiB, ") && line.contains("iB/s");
    let full = pictures.iter().any(|(line, _)| is_full(line));
    ensure!(full, "nobody saw bytes and a rate: {pictures:#?}");
    for (line, bottom) in &pictures {
        ensure!(line.contains("B of "), "the bytes are gone: {line}");
        // There is no rate before the first second, nor before the first byte.
        let is_early = line.contains("  0s  ") || line.contains("  0 B of ");
        ensure!(is_early || line.contains("B/s"), "no rate: {line}");
        for words in ["complete-db-loss · ", "s of RTO 30m · ", " · next: verify, analyze"] {
            ensure!(bottom.contains(words), "no `{words}` in the last line: {bottom}");
        }
    }
    Ok(())
}

#[test]
fn a_recovery_is_calm_and_shows_how_far_its_restore_is() -> Result<()> {
    // So many rows that the restore takes seconds: before the first one there is no rate.
    let world = World::sandbox_with(&["--scale", "20"], |_| Ok(()))?;
    world.back_up()?;
    let data = world.fingerprint()?;
    for size in [SMALL, LARGE] {
        world.lose_database()?;
        let (seen, events) = watch_recovery(&world, size)?;
        ensure!(world.fingerprint()? == data, "the data is not what it was");
        let context = || format!("at {size:?}");
        is_calm(&seen, &events, &[]).with_context(context)?;
        shows_how_far_the_restore_is(&seen).with_context(context)?;
        has_aligned_rows(seen.last(), &["restore ", "safety ", "tell "]).with_context(context)?;
    }
    Ok(())
}

#[test]
fn a_line_of_a_plan_is_shown_whole_where_no_terminal_would_break_it() -> Result<()> {
    let long = "that reads on and on ".repeat(12);
    let line = format!("  - {{ id: a, uses: command.run, wiht: {{ argv: [echo, \"{long}\"] }} }}");
    let place = Place::of(&format!("apiVersion: jm/v1\nname: long\nsteps:\n{line}\n"))?;
    let output = jm(place.path())
        .current_dir(place.path())
        .args(["plan", "validate", "plan.yaml"])
        .output()?;
    let text = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(3) && text.contains(&line), "{text}");
    let mut words = text.lines().filter(|line| line.contains("did you mean"));
    ensure!(words.next().is_some(), "the help is not on one line:\n{text}");
    Ok(())
}

/// Lines that are longer than any terminal, of which the ends are wrong too.
const LONG: &str = r#"
apiVersion: jm/v1
name: long
title: Lines that go on and on
inputs:
  greeting: { type: string, enum: [hello, good morning, good afternoon, good evening], default: "good night", description: "Said at the beginning, ü, and at the end, and whenever somebody comes in" }
steps:
  - { id: look, uses: command.run, with: { argv: [echo, "a message of many words that goes on and on and on, ${{ inputs.greeting }}"], efect: read-only } }
  - { id: again, uses: command.runn, needs: [look, nowhere], with: { argv: [echo, "a message of many words that goes on and on"] }, on_failure: carry-on }
  - id: short
    uses: check.assert
    with: { that: true }
"#;

/// The same with several places that belong together, far to the right.
const CYCLE: &str = r#"
apiVersion: jm/v1
name: long
steps:
  - { id: one, uses: check.assert, with: { that: true, message: "a message of many words that goes on and on and on and" }, needs: [two] }
  - { id: two, uses: check.assert, with: { that: true, message: "a message of many words that goes on and on and on and" }, needs: [a-step-with-a-long-name] }
  - { id: a-step-with-a-long-name, uses: check.assert, with: { that: true, message: "words" }, needs: [one], needs: [one] }
"#;

#[test]
fn findings_break_no_line_of_the_terminal() -> Result<()> {
    for size in [SMALL, LARGE] {
        let place = Place::of(CYCLE)?;
        let command = jm(&place.path().join("state"));
        let seen = Recording::of(command, place.path(), "plan validate plan.yaml", size, &[])?;
        seen.wraps_nowhere()?;
        for words in ["`one` waits for `two`", "first here", "again"] {
            ensure!(seen.text().contains(words), "no `{words}` in {}", seen.text());
        }
        let place = Place::of(LONG)?;
        let command = || jm(&place.path().join("state"));
        let seen = Recording::of(command(), place.path(), "plan validate plan.yaml", size, &[])?;
        seen.wraps_nowhere()?;
        ensure!(seen.code == Some(3), "{}", seen.text());
        // What is pointed at is in sight, at the place that it has in the file.
        for words in [
            "efect",
            "command.runn",
            "nowhere",
            "carry-on",
            "good night",
            "plan.yaml:8:136",
        ] {
            ensure!(seen.text().contains(words), "no `{words}` in {}", seen.text());
        }
        for plan in ["complete-db-loss", "cluster-failure", "s3-loss"] {
            let words = format!("plan validate plans/{plan}.yaml");
            let seen = Recording::of(command(), &crate::environment::file(""), &words, size, &[])?;
            seen.wraps_nowhere()?;
            ensure!(seen.code == Some(0), "{}", seen.text());
        }
    }
    Ok(())
}
