//! What is told of a run before and after it: what was saved and shown, what it takes, what became of it.

use std::path::{Path, PathBuf};
use std::process::Output;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::environment::{jm, journal, of_kind, said};

/// A step that fails as long as a file is missing, and one that puts things back.
const PLAN: &str = r#"
apiVersion: jm/v1
name: mend
title: Mend it
objectives: { rto: 10m }
inputs:
  flag: { type: string }
  note: { type: string, default: "" }
  token: { type: secret, default: "env:TOKEN" }
steps:
  - id: look
    uses: command.run
    with: { argv: [echo, hello], effect: read-only, env: { TOKEN: "${{ inputs.token }}" } }
  - id: work
    uses: command.run
    needs: [look]
    if: ${{ inputs.note != 'never' }}
    why: nothing works without it
    runbook: https://example.com/mend
    with: { argv: [test, -e, "${{ inputs.flag }}"], effect: reversible }
finally:
  - id: tidy
    uses: command.run
    with: { argv: ["true"], effect: read-only }
"#;
const TOKEN: &str = "a-token-of-the-canary";

struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Result<Self> {
        let place = Self {
            folder: tempfile::tempdir()?,
        };
        std::fs::write(place.plan(), PLAN)?;
        Ok(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn plan(&self) -> PathBuf {
        self.path("mend.yaml")
    }

    fn state(&self) -> PathBuf {
        self.path("state")
    }

    fn mend(&self) -> Result<()> {
        Ok(std::fs::write(self.path("flag"), "")?)
    }

    fn flag(&self) -> String {
        format!("flag={}", self.path("flag").display())
    }

    fn jm(&self, words: &[&str], code: i32) -> Result<Output> {
        let output = jm(&self.state()).env("TOKEN", TOKEN).args(words).output()?;
        ensure!(output.status.code() == Some(code), "{words:?}: {}", said(&output));
        Ok(output)
    }

    fn run(&self, more: &[&str], code: i32) -> Result<Output> {
        let (plan, flag) = (self.plan(), self.flag());
        let mut words = vec!["plan", "run", text(&plan)?, "--yes", "-i", &flag];
        words.extend(more);
        self.jm(&words, code)
    }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path of text")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_report_tells_what_failed_who_spoke_and_no_secret() -> Result<()> {
    let place = Place::new()?;
    place.run(&[], 4)?;
    place.jm(&["run", "retry", "work", "--reason", "the disk is back"], 0)?;
    place.mend()?;
    place.jm(&["plan", "resume", "--yes"], 0)?;
    let markdown = out(&place.jm(&["run", "report"], 0)?);
    for expected in [
        "# Mend it: post-mortem",
        "**completed**",
        "| RTO 10m | met, took",
        "## What went wrong",
        "`work`, attempt 1",
        "runbook: https://example.com/mend",
        "| retry | `work` | the disk is back |",
        "## Timeline",
        "`env:TOKEN`",
    ] {
        ensure!(markdown.contains(expected), "no `{expected}` in\n{markdown}");
    }
    let run = std::fs::read_dir(place.state().join("runs"))?
        .next()
        .context("a run")??;
    let left = std::fs::read_to_string(run.path().join("report.md"))?;
    ensure!(
        left.trim_end() == markdown.trim_end(),
        "the run's own report is another:\n{left}"
    );
    let json: Value = serde_json::from_str(&out(&place.jm(&["run", "report", "--format", "json"], 0)?))?;
    ensure!(
        json["version"] == 1 && json["summary"]["status"] == "completed",
        "{json}"
    );
    ensure!(json["words"][0]["reason"] == "the disk is back" && json["sessions"][1]["who"].is_string());
    ensure!(json["failures"][0]["step"] == "work" && json["failures"][0]["error"]["kind"] == "failed");
    let page = place.path("report.html");
    place.jm(&["run", "report", "--format", "html", "--out", text(&page)?], 0)?;
    let html = std::fs::read_to_string(&page)?;
    ensure!(
        html.starts_with("<!doctype html>") && html.contains("the disk is back"),
        "{html}"
    );
    for told in [&markdown, &json.to_string(), &html] {
        ensure!(!told.contains(TOKEN), "a report tells a secret");
    }
    Ok(())
}

#[test]
fn a_resume_says_where_the_file_has_gone_on() -> Result<()> {
    let place = Place::new()?;
    place.run(&[], 4)?;
    let same = place.jm(&["plan", "resume", "--dry-run", "--format", "json"], 0)?;
    let same: Value = serde_json::from_slice(&same.stdout)?;
    ensure!(same["plan_file"]["state"] == "same", "{same}");
    std::fs::write(place.plan(), PLAN.replace("title: Mend it", "title: Mend it well"))?;
    let told = err(&place.jm(&["plan", "resume", "--dry-run"], 0)?);
    ensure!(
        told.contains("mend.yaml is not what this run began with (+1 -1 lines)"),
        "{told}"
    );
    ensure!(told.contains("jm run abort") && !told.contains("+title"), "{told}");
    let told = err(&place.jm(&["plan", "resume", "--dry-run", "-v"], 0)?);
    ensure!(told.contains("-title: Mend it\n+title: Mend it well"), "{told}");
    place.mend()?;
    let output = place.jm(&["plan", "resume", "--yes", "--format", "json"], 0)?;
    let summary: Value = serde_json::from_slice(&output.stdout)?;
    let drift = &summary["plan_file"];
    ensure!(drift["state"] == "changed" && drift["added"] == 1, "{drift}");
    ensure!(
        drift["diff"]
            .as_str()
            .is_some_and(|diff| diff.contains("+title: Mend it well")),
        "{drift}"
    );
    Ok(())
}

#[test]
fn inputs_of_any_size_are_kept_and_resumed_with() -> Result<()> {
    let place = Place::new()?;
    let note = "n".repeat(300_000);
    let inputs = place.path("inputs.yaml");
    std::fs::write(&inputs, format!("note: {note}\n"))?;
    place.run(&["--inputs", text(&inputs)?], 4)?;
    let records = journal(&place.state())?;
    let opened = of_kind(&records, "run-opened");
    ensure!(opened[0]["inputs"].is_null() && opened[0]["inputs_artefact"]["bytes"].as_u64() > Some(300_000));
    place.mend()?;
    place.jm(&["plan", "resume", "--yes"], 0)?;
    let report = out(&place.jm(&["run", "report", "--format", "json"], 0)?);
    let report: Value = serde_json::from_str(&report)?;
    ensure!(
        report["inputs"]["note"] == note.as_str(),
        "the inputs are not what they were"
    );
    Ok(())
}

#[test]
fn a_saved_dry_run_is_run_as_shown_or_not_at_all() -> Result<()> {
    let place = Place::new()?;
    place.mend()?;
    let inputs = place.path("inputs.yaml");
    std::fs::write(&inputs, "note: one\n")?;
    let saved = place.path("saved.json");
    let (saved_text, inputs_text) = (text(&saved)?.to_owned(), text(&inputs)?.to_owned());
    place.run(&["--dry-run", "--inputs", &inputs_text, "--out", &saved_text], 0)?;
    let document = std::fs::read_to_string(&saved)?;
    ensure!(!document.contains(TOKEN), "the saved dry run tells a secret");
    let run = |code: i32| place.jm(&["plan", "run", &saved_text, "--yes"], code);

    std::fs::write(&inputs, "note: two\n")?;
    let told = err(&run(10)?);
    ensure!(told.contains("inputs.yaml changed"), "{told}");
    std::fs::write(&inputs, "note: one\n")?;

    std::fs::write(place.plan(), PLAN.replace("hello", "bye"))?;
    let told = err(&run(10)?);
    ensure!(
        told.contains("the plan") && told.contains("mend.yaml changed") && told.contains("--dry-run --out"),
        "{told}"
    );
    std::fs::write(place.plan(), PLAN)?;

    let output = jm(&place.state())
        .env("TOKEN", "another token of the canary")
        .args(["plan", "run", &saved_text, "--yes"])
        .output()?;
    ensure!(
        output.status.code() == Some(10) && err(&output).contains("`token` has another value"),
        "{}",
        said(&output)
    );

    std::fs::write(&saved, document.replacen("\"note\": \"one\"", "\"note\": \"six\"", 1))?;
    let told = err(&run(3)?);
    ensure!(told.contains("changed after it was saved"), "{told}");
    std::fs::write(&saved, &document)?;

    let told = err(&place.jm(&["plan", "run", &saved_text, "--yes", "-i", "note=three"], 2)?);
    ensure!(told.contains("says already"), "{told}");
    ensure!(journal(&place.state())?.is_empty(), "something ran");

    run(0)?;
    let records = journal(&place.state())?;
    ensure!(of_kind(&records, "run-opened")[0]["inputs"]["note"] == "one");
    Ok(())
}

#[test]
fn what_took_so_long_before_is_expected_to_again() -> Result<()> {
    let place = Place::new()?;
    place.mend()?;
    let fresh = out(&place.run(&["--dry-run"], 0)?);
    ensure!(fresh.contains("RTO 10m: how long it takes is not known"), "{fresh}");
    place.run(&[], 0)?;
    place.run(&[], 0)?;
    std::fs::remove_file(place.path("flag"))?;
    place.run(&[], 4)?;
    let told: Value = serde_json::from_slice(&place.run(&["--dry-run", "--format", "json"], 0)?.stdout)?;
    let expected = &told["expected"];
    ensure!(
        expected["runs"] == 2 && expected["not_known"] == serde_json::json!([]),
        "{expected}"
    );
    let steps: f64 = told["steps"]
        .as_array()
        .context("steps")?
        .iter()
        .filter_map(|step| step["expected"].as_f64())
        .sum();
    let whole = expected["seconds"].as_f64().context("seconds")?;
    ensure!(
        whole > 0.0 && (whole - steps).abs() < 0.01,
        "a chain takes the sum: {whole} and {steps}"
    );
    let shown = out(&place.jm(&["plan", "show", text(&place.plan())?], 0)?);
    ensure!(
        shown.contains("expected") && shown.contains("median of 2 earlier runs"),
        "{shown}"
    );
    Ok(())
}

/// By this line people decide whether there is a way back.
#[test]
fn a_point_of_no_return_is_passed_only_by_a_step_that_succeeded() -> Result<()> {
    for (program, told) in [
        ("true", "`cross`, passed after"),
        ("false", "`cross`, begun after"),
        ("never", "`cross`, not reached"),
    ] {
        let folder = tempfile::tempdir()?;
        let plan = folder.path().join("cross.yaml");
        let text = format!(
            "apiVersion: jm/v1\nname: cross\nsteps:\n  - id: meant\n    uses: check.assert\n    with: {{ that: {}, message: it is \
             not meant }}\n  - id: cross\n    uses: command.run\n    needs: [meant]\n    with: {{ argv: [\"{program}\"] }}\n",
            program != "never"
        );
        std::fs::write(&plan, text)?;
        let state = folder.path().join("state");
        let ran = jm(&state).args(["plan", "run", "--yes"]).arg(&plan).output()?;
        let report = jm(&state).args(["run", "report"]).output()?;
        let report = String::from_utf8(report.stdout)?;
        ensure!(report.contains(told), "no `{told}` in\n{report}\n{}", said(&ran));
    }
    Ok(())
}

/// A resume acts on the targets that the run had, wherever it is called from.
#[test]
fn a_resume_takes_the_targets_of_its_run_and_no_others() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (bare, bound) = (folder.path().join("bare"), folder.path().join("bound"));
    let plan = "apiVersion: jm/v1\nname: two\nsteps:\n  - { id: a, uses: command.run, with: { argv: [\"true\"], effect: read-only } }\n  \
                - { id: b, uses: command.run, needs: [a], with: { argv: [\"true\"], effect: read-only } }\n";
    for place in [&bare, &bound] {
        std::fs::create_dir(place)?;
        std::fs::write(place.join("two.yaml"), plan)?;
    }
    let targets = |name: &str| format!("apiVersion: jm/v1\nkind: Targets\nname: {name}\ntargets: {{}}\n");
    std::fs::write(bound.join("targets.yaml"), targets("here"))?;
    let stop = |place: &Path, state: &Path| -> Result<()> {
        let mut run = jm(state);
        run.args(["plan", "run", "--yes", "--until", "b"])
            .arg(place.join("two.yaml"));
        let output = run.output()?;
        ensure!(output.status.code() == Some(5), "{}", said(&output));
        Ok(())
    };
    // From the root of the repository, where `plans/targets.yaml` lies, which is protected.
    let resume = |state: &Path| jm(state).args(["plan", "resume", "--yes"]).output();

    let state = folder.path().join("state-bare");
    stop(&bare, &state)?;
    let output = resume(&state)?;
    ensure!(output.status.code() == Some(0), "{}", said(&output));

    let state = folder.path().join("state-bound");
    stop(&bound, &state)?;
    // Somebody has put other targets there since.
    std::fs::write(bound.join("targets.yaml"), targets("elsewhere"))?;
    let output = resume(&state)?;
    let text = said(&output);
    ensure!(output.status.code() == Some(10), "{text}");
    for expected in ["targets `here`", "targets `elsewhere`", "--targets FILE"] {
        ensure!(text.contains(expected), "no `{expected}` in {text}");
    }
    std::fs::write(bound.join("targets.yaml"), targets("here"))?;
    let output = resume(&state)?;
    ensure!(output.status.code() == Some(0), "{}", said(&output));
    Ok(())
}
