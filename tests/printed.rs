//! What commands print: at a terminal no line is broken by it, and what programs read is as its schema says.

use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::environment::{JM, RECOVER, World, jm, said};

/// How wide the terminal is.
const COLUMNS: usize = 80;

/// All that these commands print at a terminal, as lines without colours. `jm` brings their environment.
fn at_a_terminal(jm: &Command, lines: &[String]) -> Result<Vec<String>> {
    let shell = format!("stty rows 24 cols {COLUMNS}\n{}", lines.join("\n"));
    let mut script = Command::new("script");
    script
        .env_clear()
        .envs(jm.get_envs().filter_map(|(name, value)| Some((name, value?))))
        // Nothing moves: how that looks is another test's.
        .env("TERM", "dumb")
        .env("SHELL", "/bin/sh")
        .args(["--quiet", "--return", "--command", &shell, "/dev/null"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null());
    let output = script.output().context("`script` of util-linux makes the terminal")?;
    let text = String::from_utf8(output.stdout)?;
    Ok(text
        .lines()
        .map(|line| uncoloured(line.trim_end_matches('\r')))
        .collect())
}

fn uncoloured(line: &str) -> String {
    let mut parts = line.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        text + part.split_once('m').map_or(part, |(_, rest)| rest)
    })
}

/// Every line fits, but for a single word that cannot be broken, such as a long path.
fn fits(lines: &[String]) -> Result<()> {
    let broken = |line: &&String| line.chars().count() > COLUMNS && line.split_whitespace().count() > 1;
    let broken: Vec<&String> = lines.iter().filter(broken).collect();
    ensure!(broken.is_empty(), "the terminal breaks:\n{broken:#?}");
    Ok(())
}

fn command(words: &str) -> String {
    format!("{JM} {words}")
}

/// The values that a command lists in one of its fields.
fn listed(words: &[&str], list: &str, field: &str) -> Result<Vec<String>> {
    let folder = tempfile::tempdir()?;
    let output = jm(folder.path()).args(words).args(["--format", "json"]).output()?;
    ensure!(output.status.success(), "{}", said(&output));
    let document: Value = serde_json::from_slice(&output.stdout)?;
    let entries = document[list].as_array().context("a list")?;
    let values = entries.iter().filter_map(|entry| entry[field].as_str());
    Ok(values.map(str::to_owned).collect())
}

#[test]
fn what_is_looked_up_fits_on_a_small_terminal() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let jm = jm(folder.path());
    let mut commands: Vec<String> = [
        "step list",
        "plan list",
        "run list",
        "lock show",
        "explain no-such-code",
    ]
    .map(command)
    .into();
    let types = listed(&["step", "list"], "step_types", "name")?;
    ensure!(types.len() > 30, "{types:?}");
    commands.extend(types.iter().map(|name| command(&format!("step show {name}"))));
    let plans = listed(&["plan", "list"], "plans", "file")?;
    ensure!(plans.len() > 3, "{plans:?}");
    commands.extend(plans.iter().map(|file| command(&format!("plan show {file}"))));
    commands.extend([command("step show no.such-type"), command("step show postgres.swich")]);
    let codes = at_a_terminal(&jm, &[command("explain no-such-code")])?.join(" ");
    let codes: Vec<&str> = codes
        .split([' ', ','])
        .filter(|word| word.starts_with("jm::plan::"))
        .collect();
    ensure!(codes.len() > 30, "{codes:?}");
    commands.extend(codes.iter().map(|code| command(&format!("explain {code}"))));
    let lines = at_a_terminal(&jm, &commands)?;
    // Each of them said something, and none of it was cut but lines of a file around what is pointed at.
    ensure!(lines.len() > 3 * commands.len(), "{lines:#?}");
    let number = |line: &str| {
        line.split_once('│')
            .is_some_and(|(number, _)| number.trim().parse::<u32>().is_ok())
    };
    let cut = lines.iter().filter(|line| line.ends_with('…') && !number(line));
    let cut: Vec<&String> = cut.collect();
    ensure!(cut.is_empty(), "this was cut: {cut:#?}");
    fits(&lines)
}

#[test]
fn what_is_said_of_a_world_fits_on_a_small_terminal() -> Result<()> {
    let mut world = World::sandbox()?;
    world.back_up()?;
    world.lose_database()?;
    let recover = RECOVER.join(" ");
    let dry = command(&format!("{recover} --dry-run"));
    let lines = at_a_terminal(
        &world.jm(),
        &[
            dry.clone(),
            format!("ENCRYPTION_KEY=another-key-of-thirty-two-letters {dry}"),
            command("plan run plans/backup-database.yaml --dry-run"),
            command("plan run plans/no-such-plan.yaml"),
            command("backup list"),
            command("backup show latest"),
            command("backup verify latest"),
            // Nobody is at the keyboard.
            format!("{} < /dev/null", command("plan run plans/complete-db-loss.yaml")),
        ],
    )?;
    let text = lines.join("\n");
    for words in [
        "dry run of complete-db-loss",
        "WOULD FAIL",
        "copy in",
        "good s3",
        "hint:",
    ] {
        ensure!(text.contains(words), "no `{words}` in\n{text}");
    }
    fits(&lines)?;
    // Whoever is asked whether to begin has seen which systems these are, and which steps cannot be taken back.
    let database = world.systems.variable("DATABASE_URL").to_owned();
    let (_, server) = database
        .rsplit_once('@')
        .unwrap_or(("", database.trim_start_matches("postgres://")));
    let server = server.split('?').next().unwrap_or_default();
    world.systems.environment.remove("WEBHOOK_URL");
    let asked = at_a_terminal(
        &world.jm(),
        &[format!(
            "echo no | {} 2>&1",
            command("plan run plans/complete-db-loss.yaml")
        )],
    )?;
    let asked = asked.join("\n");
    let bucket = format!("{} at http", world.systems.variable("BACKUP_S3_BUCKET"));
    for words in [
        server,
        "roster-recall",
        &bucket,
        "`switch` cannot be taken back",
        "protected",
    ] {
        ensure!(asked.contains(words), "no `{words}` in\n{asked}");
    }
    Ok(())
}

#[test]
fn a_dry_run_in_a_pipe_is_laid_out_and_whole() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let long: Vec<String> = (0..60).map(|number| format!("word-{number}")).collect();
    // What it echoes is known only once the step before it has run: its input is shown.
    let plan = format!(
        "apiVersion: jm/v1\nname: long\nsteps:\n  - {{ id: look, uses: command.run, with: {{ argv: [date], effect: read-only }} }}\n  - id: echo\n    uses: command.run\n    with: {{ argv: [echo, '${{{{ steps.look.outputs.stdout }}}}', {}], effect: reversible }}\n",
        long.join(", ")
    );
    let file = folder.path().join("long.yaml");
    std::fs::write(&file, plan)?;
    let output = jm(folder.path())
        .args(["plan", "run", "--dry-run"])
        .arg(&file)
        .output()?;
    ensure!(output.status.success(), "{}", said(&output));
    let text = String::from_utf8(output.stdout)?;
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    fits(&lines)?;
    let lost: Vec<&String> = long
        .iter()
        .filter(|word| !text.contains(&format!("\"{word}\"")))
        .collect();
    ensure!(lost.is_empty(), "{lost:?} are lost in\n{text}");
    Ok(())
}

/// Prints a command's document, and looks at it through the schema that is published for it.
fn document(command: &mut Command, schema: &str) -> Result<Value> {
    let output = command.args(["--format", "json"]).output()?;
    document_in(&output, schema)
}

/// The one document that a command printed.
pub(crate) fn document_in(output: &Output, schema: &str) -> Result<Value> {
    let document: Value = serde_json::from_slice(&output.stdout).with_context(|| said(output))?;
    let text = std::fs::read_to_string(crate::environment::file(&format!("schemas/{schema}.schema.json")))?;
    let mut schema: Value = serde_json::from_str(&text)?;
    // A field that the schema does not know would be one that nobody can rely on.
    schema["unevaluatedProperties"] = Value::Bool(false);
    let validator = jsonschema::draft202012::new(&schema)?;
    let errors: Vec<String> = validator
        .iter_errors(&document)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    ensure!(errors.is_empty(), "{errors:#?} in\n{document:#}");
    ensure!(document["version"] == 1, "{document:#}");
    Ok(document)
}

#[test]
fn what_programs_read_is_as_its_schema_says() -> Result<()> {
    let world = World::sandbox()?;
    world.back_up()?;
    world.lose_database()?;
    let of = |words: &[&str], schema: &str| {
        let mut command = world.jm();
        document(command.args(words), schema)
    };
    let recovery = "plans/complete-db-loss.yaml";
    let dry: Vec<&str> = RECOVER.into_iter().chain(["--dry-run"]).collect();
    ensure!(
        of(&dry, "dry-run")?["steps"]
            .as_array()
            .is_some_and(|steps| steps.len() > 10)
    );
    let summary = of(&RECOVER, "summary")?;
    ensure!(summary["status"] == "completed", "{summary:#}");
    ensure!(of(&["run", "show"], "summary")?["run"] == summary["run"]);
    of(&["run", "report"], "report")?;
    ensure!(of(&["run", "list"], "commands/run-list")?["runs"][0]["plan"] == "complete-db-loss");
    ensure!(
        of(&["plan", "list"], "commands/plan-list")?["plans"]
            .as_array()
            .is_some_and(|plans| plans.len() > 3)
    );
    ensure!(of(&["plan", "show", recovery], "commands/plan-show")?["rto_seconds"] == 1800);
    let diff = of(
        &["plan", "diff", recovery, "plans/backup-database.yaml"],
        "commands/plan-diff",
    )?;
    ensure!(diff["same"] == false && diff["steps_removed"].as_array().is_some_and(|steps| !steps.is_empty()));
    ensure!(of(&["plan", "diff", recovery, recovery], "commands/plan-diff")?["same"] == true);
    let broken = world.folder().join("broken.yaml");
    std::fs::write(
        &broken,
        "apiVersion: jm/v1\nname: broken\nsteps: [{ id: a, uses: no.such }]\n",
    )?;
    let findings = of(
        &["plan", "validate", &broken.display().to_string()],
        "commands/plan-validate",
    )?;
    ensure!(
        findings["files"][0]["findings"][0]["places"][0]["line"] == 3,
        "{findings:#}"
    );
    of(&["step", "list"], "commands/step-list")?;
    ensure!(of(&["step", "show", "postgres.switch"], "commands/step-show")?["effect"] == "irreversible");
    let code = findings["files"][0]["findings"][0]["code"].as_str().context("a code")?;
    of(&["explain", code], "commands/explain")?;
    ensure!(of(&["backup", "list"], "commands/backup-list")?["backups"][0]["level"] == "L3");
    ensure!(of(&["backup", "show", "latest"], "commands/backup-show")?["manifest"].is_object());
    ensure!(of(&["backup", "verify", "latest"], "commands/backup-verify")?["copies"][0]["good"] == true);
    of(&["lock", "show"], "commands/lock-show")?;
    Ok(())
}

/// A run of a lost database, as the README shows it: the lines up to the one that moves at the bottom.
fn picture() -> Result<Vec<String>> {
    let readme = std::fs::read_to_string(crate::environment::file("README.md"))?;
    let (_, after) = readme
        .split_once("this is what a run looks like")
        .context("a picture")?;
    let block = after.split("```").nth(1).context("a block")?;
    Ok(block
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(str::to_owned)
        .collect())
}

#[test]
fn the_picture_in_the_readme_is_what_a_run_prints() -> Result<()> {
    let world = World::sandbox()?;
    world.back_up()?;
    world.lose_database()?;
    let output = world.recover().arg("--drill").output()?;
    ensure!(output.status.code() == Some(0), "{}", said(&output));
    let printed = String::from_utf8(output.stderr)? + &String::from_utf8(output.stdout)?;
    let printed: Vec<Vec<&str>> = printed.lines().map(|line| line.split_whitespace().collect()).collect();
    let picture = picture()?;
    let (bottom, lines) = picture.split_last().context("lines")?;
    let mut ended = 0;
    for line in lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        // What differs from run to run: ids, addresses, times, bytes.
        let same = match words[0] {
            "run" => 1,
            "backups" | "cluster" | "database" => 3,
            "done" | "running" => 2,
            _ => words.len(),
        };
        ended += usize::from(["done", "skipped"].contains(&words[0]));
        let word = if words[0] == "running" { "started" } else { words[0] };
        let is_printed = printed
            .iter()
            .any(|of| of.first() == Some(&word) && of.get(1..same) == words.get(1..same));
        ensure!(is_printed, "no run prints `{line}`: {printed:#?}");
    }
    let count = lines
        .iter()
        .find_map(|line| line.trim().strip_prefix("steps "))
        .context("a count")?;
    let all = count.trim().split(':').next().context("a count")?;
    let expected = format!("{ended} of {all} steps");
    ensure!(bottom.contains(&expected), "not `{expected}`: {bottom}");
    Ok(())
}
