//! Plans that ship, that teach, and that are wrong: each through the command line, offline.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::environment::{file, folder, jm, said};

fn validate(arguments: &[&str]) -> Result<(Option<i32>, String)> {
    let state = tempfile::tempdir()?;
    let output = jm(state.path()).args(["plan", "validate"]).args(arguments).output()?;
    Ok((output.status.code(), String::from_utf8(output.stdout)?))
}

#[test]
fn what_ships_is_valid() -> Result<()> {
    let (code, text) = validate(&["plans", "examples", "tests/samples/valid"])?;
    ensure!(code == Some(0), "{text}");
    Ok(())
}

/// The codes of the findings that a sample's first line says are expected, one for each finding, in their order.
fn expected(sample: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(sample)?;
    let first = text.lines().next().unwrap_or_default();
    let (_, codes) = first
        .split_once(" Expected: ")
        .with_context(|| format!("{}: the first line says nothing of what is expected", sample.display()))?;
    Ok(codes.split(", ").map(|code| format!("jm::plan::{code}")).collect())
}

#[test]
fn every_bad_sample_is_found_out_with_its_place() -> Result<()> {
    let mut samples = 0;
    for entry in std::fs::read_dir(file("tests/samples/invalid"))? {
        let path = entry?.path();
        let (code, text) = validate(&[path.to_str().context("text")?, "--format", "json"])?;
        ensure!(code == Some(3), "{}: exit {code:?}", path.display());
        let document: Value = serde_json::from_str(&text)?;
        let findings = document["files"][0]["findings"].as_array().context("findings")?;
        let placed = findings
            .iter()
            .all(|finding| finding["severity"] == "error" && finding["places"][0]["line"].is_u64());
        ensure!(
            placed,
            "{}: not each is an error that has a place: {text}",
            path.display()
        );
        let codes: Vec<&str> = findings.iter().filter_map(|finding| finding["code"].as_str()).collect();
        // Another error would pass for the right one otherwise: the sample would not be read as far as its mistake.
        ensure!(codes == expected(&path)?, "{}: found {codes:?}", path.display());
        samples += 1;
    }
    ensure!(samples >= 10, "only {samples} samples");
    Ok(())
}

#[test]
fn a_file_that_cannot_be_read_does_not_hide_what_is_wrong_with_the_others() -> Result<()> {
    let folder = folder()?;
    std::fs::write(folder.path().join("a.yaml"), [0xff, 0xfe, 0x00])?;
    std::fs::write(
        folder.path().join("b.yaml"),
        "apiVersion: jm/v1\nname: b\nsteps: [{ id: x, uses: no.such }]\n",
    )?;
    // A link back does not make them more.
    std::os::unix::fs::symlink(folder.path(), folder.path().join("again"))?;
    let (code, text) = validate(&[folder.path().to_str().context("text")?, "--format", "json"])?;
    ensure!(code == Some(3), "exit {code:?}: {text}");
    let document: Value = serde_json::from_str(&text)?;
    let files = document["files"].as_array().context("files")?;
    let codes: Vec<_> = files
        .iter()
        .map(|file| file["findings"][0]["code"].as_str().unwrap_or_default())
        .collect();
    ensure!(
        codes == ["jm::plan::unreadable", "jm::plan::unknown_step_type"],
        "{codes:?}"
    );
    Ok(())
}

#[test]
fn a_plan_that_fails_for_its_warnings_alone_is_not_called_fine() -> Result<()> {
    for (words, code, verdict) in [
        (&["plans/complete-db-loss.yaml"][..], 0, "ok "),
        (&["plans/complete-db-loss.yaml", "--strict"], 3, "FAIL"),
    ] {
        let (ended, text) = validate(words)?;
        ensure!(
            ended == Some(code) && text.starts_with(verdict),
            "exit {ended:?}: {text}"
        );
    }
    Ok(())
}

/// What is wrong with the targets file they share is printed once, and counts for each.
#[test]
fn plans_that_share_a_warning_are_all_called_what_they_are() -> Result<()> {
    let folder = folder()?;
    let at = |name: &str| folder.path().join(name);
    let plan = |name: &str| {
        format!(
            "apiVersion: jm/v1\nname: {name}\ncontacts: [ops]\nsteps: [{{ id: a, uses: command.run, with: {{ argv: [\"true\"], effect: read-only }} }}]\n"
        )
    };
    for name in ["a", "b"] {
        std::fs::write(at(&format!("{name}.yaml")), plan(name))?;
    }
    let targets = "apiVersion: jm/v1\nkind: Targets\nname: here\ntargets: {}\ncontacts: { ops: { name: Operations, reach: '' } }\n";
    std::fs::write(at("targets.yaml"), targets)?;
    let path = folder.path().to_str().context("text")?;
    for (words, code, verdict) in [(&[path][..], 0, "ok  "), (&[path, "--strict"], 3, "FAIL")] {
        let (ended, text) = validate(words)?;
        ensure!(ended == Some(code), "exit {ended:?}: {text}");
        for name in ["a.yaml", "b.yaml"] {
            let line = format!("{verdict} {}: valid, 1 warning", at(name).display());
            ensure!(text.lines().any(|one| one == line), "no `{line}` in {text}");
        }
    }
    Ok(())
}

#[test]
fn findings_have_a_form_for_machines() -> Result<()> {
    let (_, github) = validate(&["tests/samples/invalid/cycle.yaml", "--format", "github"])?;
    ensure!(
        github
            .lines()
            .any(|line| line.starts_with("::error file=tests/samples/invalid/cycle.yaml,line=")),
        "{github}"
    );
    let (_, sarif) = validate(&["tests/samples/invalid/cycle.yaml", "--format", "sarif"])?;
    let sarif: Value = serde_json::from_str(&sarif)?;
    ensure!(sarif["version"] == "2.1.0" && !sarif["runs"][0]["results"].as_array().context("results")?.is_empty());
    Ok(())
}

#[test]
fn graphs_have_three_forms() -> Result<()> {
    let state = tempfile::tempdir()?;
    for (format, begins) in [
        ("mermaid", "flowchart"),
        ("dot", "digraph"),
        ("text", "complete-db-loss\n"),
    ] {
        let output = jm(state.path())
            .args(["plan", "graph", "plans/complete-db-loss.yaml", "--format", format])
            .output()?;
        let text = String::from_utf8(output.stdout.clone())?;
        ensure!(
            output.status.success() && text.starts_with(begins) && text.contains("switch"),
            "{}",
            said(&output)
        );
    }
    Ok(())
}

#[test]
fn wrong_use_is_told_from_a_wrong_plan() -> Result<()> {
    let state = tempfile::tempdir()?;
    for (arguments, code) in [
        (vec!["plan", "run", "nowhere.yaml"], 2),
        (vec!["plan", "walk"], 2),
        (vec!["plan", "run", "tests/samples/invalid/cycle.yaml"], 3),
        (vec!["plan", "resume"], 2),
        (vec!["step", "show", "postgres.dance"], 2),
        (vec!["explain", "unknown_step"], 0),
    ] {
        let output = jm(state.path()).args(&arguments).output()?;
        ensure!(output.status.code() == Some(code), "{arguments:?}: {}", said(&output));
    }
    Ok(())
}

#[test]
fn a_code_is_explained_to_programs_and_every_command_has_a_page() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let explained = jm(folder.path())
        .args(["explain", "unknown_step_type", "--format", "json"])
        .output()?;
    ensure!(explained.status.success(), "{}", said(&explained));
    let document: serde_json::Value = serde_json::from_slice(&explained.stdout)?;
    ensure!(
        document["version"] == 1 && document["code"] == "jm::plan::unknown_step_type",
        "{document:#}"
    );
    ensure!(
        document["text"].as_str().is_some_and(|text| text.len() > 20),
        "{document:#}"
    );
    let pages = folder.path().join("man1");
    let written = jm(folder.path()).args(["man", "--write"]).arg(&pages).output()?;
    ensure!(written.status.success(), "{}", said(&written));
    for page in ["jm.1", "jm-plan-run.1", "jm-run-mark-done.1", "jm-man.1"] {
        let text = std::fs::read_to_string(pages.join(page))?;
        ensure!(text.contains(".TH jm") && text.contains("SYNOPSIS"), "{page}: {text}");
    }
    Ok(())
}
