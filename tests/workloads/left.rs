//! What a run that died has left stopped.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use jm_sandbox::journeyman::REPLICAS;

use super::{BACKEND, TARGETS, has_succeeded};
use crate::environment::{JM, World, has_words, journal_of, said};

const WATCH: &str = "plans/watch-writers.yaml";

/// A machine dies with the run that has stopped the application: whoever watches from another one calls people, with the line
/// that starts it again.
#[test]
fn what_a_dead_run_has_stopped_is_told_from_elsewhere() -> Result<()> {
    let world = World::sandbox()?;
    world.back_up()?;
    let mut recovery = world.recover().stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    while !has_succeeded(
        &journal_of(&world.state(), "complete-db-loss").unwrap_or_default(),
        "quiesce",
    ) {
        ensure!(recovery.try_wait()?.is_none(), "it ended before it was killed");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    recovery.kill()?;
    recovery.wait()?;
    ensure!(world.ready_replicas()? == 0, "the application is not stopped");

    let elsewhere = world.folder().join("elsewhere");
    let watch = |words: &[&str]| -> Result<(Option<i32>, String)> {
        let mut command = world.jm();
        command
            .env("JM_STATE", &elsewhere)
            .args(["plan", "run", WATCH, "--yes"]);
        let output = command.args(TARGETS).args(words).output()?;
        Ok((output.status.code(), said(&output)))
    };
    let (code, text) = watch(&[])?;
    ensure!(code == Some(0), "a recovery may take an hour: {code:?}: {text}");
    let told = world.told()?.len();
    let (code, text) = watch(&["-i", "for_seconds=0", "--dry-run"])?;
    ensure!(code == Some(4) && has_words(&text, BACKEND), "{code:?}: {text}");
    ensure!(world.told()?.len() == told, "a dry run tells nobody");
    let (code, text) = watch(&["-i", "for_seconds=0"])?;
    ensure!(code == Some(4) && has_words(&text, BACKEND), "{code:?}: {text}");
    let calls = world.told()?;
    ensure!(calls.len() == told + 1, "{} calls", calls.len() - told);

    // The line of its hint, as it stands there but for its line breaks.
    let hint = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (_, line) = hint
        .split_once("`jm step run kubernetes.resume")
        .context("a line to start it")?;
    let (words, _) = line.split_once('`').context("its end")?;
    let line =
        format!("\"$0\" step run kubernetes.resume{words} --targets plans/targets.yaml --yes --confirm production");
    let mut shell = std::process::Command::new("sh");
    world.enter(&mut shell);
    let output = shell.env("JM_STATE", &elsewhere).args(["-c", &line, JM]).output()?;
    ensure!(output.status.success(), "{line}: {}", said(&output));
    ensure!(world.ready_replicas()? == REPLICAS, "it does not run again");
    let (code, text) = watch(&["-i", "for_seconds=0"])?;
    ensure!(code == Some(0), "{code:?}: {text}");
    Ok(())
}
