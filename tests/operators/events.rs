//! `--events`: a run as JSON Lines.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Place, says};
use crate::environment::file;

const PLAN: &str = r#"
apiVersion: jm/v1
name: told
steps:
  - id: look
    uses: command.run
    with: { argv: [echo, hello], effect: read-only }
  - id: hold
    uses: check.assert
    needs: [look]
    with: { that: "${{ steps.look.outputs.stdout == 'hello' }}", message: "it says something else" }
"#;

/// Every line is an event as the schema says.
pub(super) fn lines(text: &str) -> Result<Vec<Value>> {
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(file("schemas/events.schema.json"))?)?;
    let schema = jsonschema::validator_for(&schema)?;
    let read = |line: &str| -> Result<Value> {
        let event: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        if let Err(error) = schema.validate(&event) {
            anyhow::bail!("{line}: {error}");
        }
        Ok(event)
    };
    text.lines().map(read).collect()
}

fn is_whole(lines: &[Value], last: &str) -> Result<()> {
    let first = lines.first().context("a line")?;
    let end = lines.last().context("a line")?;
    ensure!(first["event"] == "recorded" && first["kind"] == "run-opened", "{first}");
    ensure!(end["event"] == "recorded" && end["kind"] == last, "{end}");
    Ok(())
}

#[test]
fn a_file_gets_every_event() -> Result<()> {
    let place = Place::new()?;
    let plan = place.write("told.yaml", PLAN)?;
    let events = place.path("events").display().to_string();
    let output = place.jm(&["plan", "run", &plan, "--events", &events], 0)?;
    says(&output, &["completed"])?;
    let told = lines(&std::fs::read_to_string(&events)?)?;
    is_whole(&told, "run-closed")?;
    let records: Vec<_> = told.iter().filter(|event| event["event"] == "recorded").collect();
    ensure!(records.len() == place.journal()?.len(), "{} records", records.len());
    Ok(())
}

#[test]
fn standard_output_gets_nothing_else() -> Result<()> {
    let place = Place::new()?;
    let plan = place.write("told.yaml", PLAN)?;
    let output = place.jm(&["plan", "run", &plan, "--events", "-"], 0)?;
    let told = lines(&String::from_utf8(output.stdout.clone())?)?;
    is_whole(&told, "run-closed")?;
    ensure!(String::from_utf8_lossy(&output.stderr).contains("completed"));
    // Two documents on one output are neither.
    let both = place.jm(&["plan", "run", &plan, "--events", "-", "--format", "json"], 2)?;
    says(&both, &["--events FILE"])?;
    Ok(())
}

#[test]
fn a_run_that_waits_says_so_in_its_last_event() -> Result<()> {
    let place = Place::new()?;
    let ask =
        "apiVersion: jm/v1\nname: ask\nsteps:\n  - { id: ask, uses: manual.approve, with: { message: 'yes?' } }\n";
    let plan = place.write("ask.yaml", ask)?;
    let output = place.jm(&["plan", "run", &plan, "--events", "-"], 6)?;
    is_whole(&lines(&String::from_utf8(output.stdout)?)?, "run-stopped")
}
