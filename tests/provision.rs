//! The examples that make a cluster: what they ask before they act, and what they do when they are asked again.
//!
//! The tools are played by scripts that keep what they made in a file, so that these run on any machine; Terraform's own
//! opinion of the code in the example is a test of its own.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::environment::{JM, file, jm, said};

/// `kind` and `kubectl`, whose clusters are lines of a file, and `terraform`, whose state is one.
const KIND: &str = r#"echo "kind $*" >>"$HOME/calls"
case "$1 $2" in
  "get clusters") cat "$HOME/clusters" 2>/dev/null || true ;;
  "create cluster") ! grep -Fqx "$4" "$HOME/clusters" 2>/dev/null || exit 1; cat >"$HOME/config"; echo "$4" >>"$HOME/clusters" ;;
esac"#;
const KUBECTL: &str = r#"[ ! -e "$HOME/deaf" ] && echo node/one"#;
const TERRAFORM: &str = r#"echo "terraform $*" >>"$HOME/calls"
case "$1" in
  plan) [ -e "$HOME/initialised" ] || exit 1; [ -e "$HOME/applied" ] || exit 2 ;;
  init) touch "$HOME/initialised" ;;
  apply) [ -n "$TF_VAR_name" ] && touch "$HOME/applied" ;;
esac"#;

/// A machine with these tools.
struct Machine {
    home: TempDir,
}

impl Machine {
    fn new() -> Result<Self> {
        let home = tempfile::tempdir()?;
        let programs = home.path().join("bin");
        std::fs::create_dir(&programs)?;
        for (name, script) in [("kind", KIND), ("kubectl", KUBECTL), ("terraform", TERRAFORM)] {
            let path = programs.join(name);
            std::fs::write(&path, format!("#!/bin/sh\n{script}\n"))?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
        }
        Ok(Self { home })
    }

    fn jm(&self, words: &[&str]) -> Result<Output> {
        let path = std::env::var("PATH")?;
        let mut command = Command::new(JM);
        command
            .env_clear()
            .env("PATH", format!("{}:{path}", self.home.path().join("bin").display()))
            .env("HOME", self.home.path())
            .env("JM_STATE", self.home.path().join("state"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(words);
        Ok(command.output()?)
    }

    fn run(&self, plan: &str, more: &[&str]) -> Result<Output> {
        self.jm(&[&["plan", "run", plan, "--yes"], more].concat())
    }

    /// How often a tool was called with words that begin so.
    fn calls(&self, words: &str) -> usize {
        let calls = std::fs::read_to_string(self.home.path().join("calls")).unwrap_or_default();
        calls.lines().filter(|line| line.starts_with(words)).count()
    }

    fn put(&self, name: &str, text: &str) -> Result<()> {
        Ok(std::fs::write(self.home.path().join(name), text)?)
    }
}

/// A dry run changes nothing; the first run makes it; the second finds that it is made.
fn makes_it_once(plan: &str, makes: &str) -> Result<()> {
    let machine = Machine::new()?;
    let dry = machine.run(plan, &["--dry-run"])?;
    ensure!(dry.status.code() == Some(0), "{}", said(&dry));
    ensure!(machine.calls(makes) == 0, "the dry run made it");
    for _ in 0..2 {
        let output = machine.run(plan, &[])?;
        ensure!(output.status.code() == Some(0), "{}", said(&output));
        ensure!(machine.calls(makes) == 1, "made {} times", machine.calls(makes));
    }
    let dry = machine.run(plan, &["--dry-run"])?;
    let text = String::from_utf8_lossy(&dry.stdout).into_owned();
    ensure!(text.contains("done already"), "{}", said(&dry));
    Ok(())
}

#[test]
fn kind_makes_a_cluster_once() -> Result<()> {
    makes_it_once("examples/provision-kind/plan.yaml", "kind create cluster")
}

#[test]
fn terraform_makes_a_cluster_once() -> Result<()> {
    makes_it_once("examples/provision-terraform/plan.yaml", "terraform apply")
}

#[test]
fn a_cluster_that_is_there_and_silent_is_not_made_again() -> Result<()> {
    let machine = Machine::new()?;
    machine.put("clusters", "journeyman\n")?;
    machine.put("deaf", "")?;
    let output = machine.run("examples/provision-kind/plan.yaml", &[])?;
    ensure!(output.status.code() != Some(0), "{}", said(&output));
    Ok(())
}

#[test]
#[ignore = "needs Terraform on PATH: cargo test --test it -- --ignored terraforms_own_opinion"]
fn terraforms_own_opinion_of_the_example() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let code = "examples/provision-terraform/main.tf";
    std::fs::copy(file(code), folder.path().join("main.tf"))?;
    for words in [
        ["init", "-input=false", "-no-color"].as_slice(),
        &["validate", "-no-color"],
        &["fmt", "-check"],
    ] {
        let output = terraform(folder.path(), words)?;
        ensure!(output.status.success(), "terraform {words:?}: {}", said(&output));
    }
    Ok(())
}

fn terraform(folder: &Path, words: &[&str]) -> Result<Output> {
    let mut command = Command::new("terraform");
    command.current_dir(folder).args(words).env("CHECKPOINT_DISABLE", "1");
    command.output().context("terraform is not on PATH")
}

#[test]
fn both_are_valid_offline() -> Result<()> {
    let state = tempfile::tempdir()?;
    let output = jm(state.path())
        .args(["plan", "validate", "--strict"])
        .args([
            "examples/provision-kind/plan.yaml",
            "examples/provision-terraform/plan.yaml",
        ])
        .output()?;
    ensure!(output.status.code() == Some(0), "{}", said(&output));
    Ok(())
}
