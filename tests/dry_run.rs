//! Dry runs: they change nothing, and what they compute is what the run then does.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::environment::{World, jm, journal, of_kind, said};

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

/// Compares what the dry run computed with what the journal of the run says that was done. Gives the steps of which
/// something was compared: one that told and did nothing proves nothing.
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
            same_backup(step, time)?;
            if !journalled.is_empty() {
                compared.extend(step["id"].as_str().map(str::to_owned));
            }
        }
    }
    Ok(compared)
}

/// Where a step takes a backup, it was the one that the dry run names. Changes call copies after what they are copies of.
fn same_backup(told: &Value, done: &Value) -> Result<()> {
    let told = &told["input"]["backup"]["name"];
    let done = &done["output"]["inline"]["backup"];
    ensure!(!told.is_string() || told == done, "told {told}, took {done}");
    Ok(())
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

/// The lines that tell how long earlier runs took, which is all that history may change; and the others.
fn recovery_time(markdown: &str) -> (Vec<&str>, Vec<&str>) {
    markdown.lines().partition(|line| line.starts_with("- RTO "))
}

#[test]
fn markdown_is_the_same_from_run_to_run() -> Result<()> {
    let world = World::sandbox()?;
    world.back_up()?;
    world.lose_database()?;
    let once = || -> Result<String> {
        let output = world.recover().args(["--dry-run", "--format", "markdown"]).output()?;
        ensure!(output.status.code() == Some(0), "{}", said(&output));
        Ok(String::from_utf8(output.stdout)?)
    };
    let first = once()?;
    let output = world.recover().output()?;
    ensure!(output.status.code() == Some(0), "{}", said(&output));
    // The world is as it was, and there is an earlier run now.
    world.lose_database()?;
    let (second, third) = (once()?, once()?);
    ensure!(second == third, "{second}\n---\n{third}");
    let ((before, kept), (after, still)) = (recovery_time(&first), recovery_time(&second));
    ensure!(kept == still, "{first}\n---\n{second}");
    let tells = |lines: &[&str], words: &str| lines.len() == 1 && lines[0].contains(words);
    ensure!(tells(&before, "how long it takes is not known"), "{before:?}");
    ensure!(tells(&after, "from 1 earlier run"), "{after:?}");
    ensure!(first.contains("```mermaid"), "{first}");
    Ok(())
}

/// A reviewer sees which systems are meant, where nothing else tells two of them apart.
#[test]
fn a_pull_request_that_means_another_server_shows_it() -> Result<()> {
    let mut world = World::sandbox()?;
    world.back_up()?;
    let shown = |world: &World, format: &str| -> Result<String> {
        let output = world
            .recover()
            .args(["--dry-run", "--format", format, "--accept-data-loss", "1d"])
            .output()?;
        ensure!(output.status.code() == Some(0), "{}", said(&output));
        Ok(String::from_utf8(output.stdout)?)
    };
    let formats = ["human", "json", "markdown"];
    let before = formats.map(|format| shown(&world, format));
    let url = world.systems.variable("DATABASE_URL").to_owned();
    let other = url.replace("@127.0.0.1:", "@localhost:");
    ensure!(other != url, "{url}");
    world.systems.environment.insert("DATABASE_URL".to_owned(), other);
    for (before, format) in before.into_iter().zip(formats) {
        let (before, after) = (before?, shown(&world, format)?);
        for (text, host) in [(&before, "postgres at 127.0.0.1:"), (&after, "postgres at localhost:")] {
            ensure!(text.contains(host), "no `{host}` in {text}");
            ensure!(text.contains("kubernetes at roster-recall at https://"), "{text}");
        }
        ensure!(!after.contains("postgres at 127.0.0.1:"), "{after}");
    }
    Ok(())
}

/// A plan on protected targets: what cannot be taken back comes in its middle.
const HALVES: &str = r#"
apiVersion: jm/v1
name: halves
inputs:
  flag: { type: string, default: "" }
steps:
  - id: before
    uses: check.assert
    with: { that: "${{ inputs.flag == '' }}", message: the flag is up }
  - id: work
    uses: command.run
    needs: [before]
    with: { argv: ["true"] }
  - id: after
    uses: command.run
    needs: [work]
    with: { argv: ["true"], effect: reversible }
finally:
  - id: tidy
    uses: command.run
    with: { argv: ["true"], effect: read-only }
"#;
const PROTECTED: &str = r#"
apiVersion: jm/v1
kind: Targets
name: production
protected: true
targets:
  webhook: { provider: notify, url: "${{ env.WEBHOOK_URL }}" }
"#;

struct Halves(tempfile::TempDir);

impl Halves {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("halves.yaml"), HALVES)?;
        std::fs::write(folder.path().join("targets.yaml"), PROTECTED)?;
        Ok(Self(folder))
    }

    /// Runs jm with these words in the plan's folder; gives its standard output.
    fn jm(&self, words: &str, code: i32) -> Result<String> {
        let output = jm(&self.0.path().join("state"))
            .current_dir(self.0.path())
            .args(words.split_whitespace())
            .output()?;
        ensure!(output.status.code() == Some(code), "{words}: {}", said(&output));
        Ok(String::from_utf8(output.stdout)?)
    }
}

#[test]
fn an_offline_dry_run_is_refused_what_the_run_is_refused() -> Result<()> {
    let halves = Halves::new()?;
    for offline in ["", " --offline"] {
        let dry = format!("plan run halves.yaml --dry-run{offline}");
        let told = halves.jm(&dry, 10)?;
        ensure!(
            told.contains("REFUSED") && told.contains("`production` are protected"),
            "{told}"
        );
        halves.jm(&format!("{dry} --confirm production"), 0)?;
        halves.jm(&format!("{dry} --confirm staging"), 10)?;
        // It does not come to what is not agreed to.
        halves.jm(&format!("{dry} --until work"), 0)?;
    }
    // To check a plan is no run: nothing is refused.
    halves.jm("plan validate halves.yaml", 0)?;
    halves.jm("plan run halves.yaml --yes", 10)?;
    halves.jm("plan run halves.yaml --yes --until work", 5)?;
    Ok(())
}

#[test]
fn a_dry_run_stops_where_the_run_stops() -> Result<()> {
    let halves = Halves::new()?;
    let dry = "plan run halves.yaml --confirm production --until work --dry-run";
    let human = halves.jm(dry, 0)?;
    for expected in [
        "left       work    the run stops before it",
        "left       after   it comes after `work`",
        "stops before `work`; left for a resume: work, after, `finally`",
        "nothing found that would stop it before `work`",
    ] {
        ensure!(human.contains(expected), "no `{expected}` in\n{human}");
    }
    ensure!(!human.contains("point of no return"), "it is not reached:\n{human}");
    let markdown = halves.jm(&format!("{dry} --format markdown"), 0)?;
    for expected in [
        "- stops before `work`; left for a resume: work, after, `finally`",
        "| left | `work` |",
        "- point of no return: `work`, not reached",
    ] {
        ensure!(markdown.contains(expected), "no `{expected}` in\n{markdown}");
    }
    let json: Value = serde_json::from_str(&halves.jm(&format!("{dry} --format json --out saved.json"), 0)?)?;
    ensure!(json["until"] == "work", "{json:#}");
    let main = json["steps"].as_array().context("steps")?;
    let all: Vec<&Value> = main
        .iter()
        .chain(json["finally"].as_array().context("finally")?)
        .collect();
    let left: Vec<&Value> = all
        .iter()
        .filter(|step| step["status"] == "left")
        .map(|step| &step["id"])
        .collect();
    ensure!(left == ["work", "after", "tidy"], "{left:?}");

    // What was saved is run as it was shown, so far and no further.
    halves.jm("plan run saved.json --yes --confirm production --until after", 2)?;
    halves.jm("plan run saved.json --yes --confirm production", 5)?;
    let run: Value = serde_json::from_str(&halves.jm("run show --format json", 0)?)?;
    for step in run["steps"].as_array().context("steps")? {
        let expected = if left.contains(&&step["id"]) {
            "not-started"
        } else {
            "succeeded"
        };
        ensure!(step["status"] == expected, "{step:#}");
    }
    // A run cannot stop before what it has come past, nor in `finally`.
    halves.jm("plan resume --yes --confirm production --until before", 2)?;
    halves.jm("plan resume --yes --confirm production --until tidy", 2)?;
    let rest = halves.jm("plan resume --dry-run --confirm production", 0)?;
    ensure!(!rest.contains("left for a resume"), "{rest}");
    halves.jm("plan resume --yes --confirm production", 0)?;
    Ok(())
}

#[test]
fn what_is_blocked_names_the_step_that_would_fail() -> Result<()> {
    let halves = Halves::new()?;
    let human = halves.jm("plan run halves.yaml --dry-run --confirm production -i flag=up", 4)?;
    ensure!(human.matches("`before` would fail").count() == 2, "{human}");
    ensure!(human.contains("it WOULD FAIL at `before`; "), "{human}");
    Ok(())
}
