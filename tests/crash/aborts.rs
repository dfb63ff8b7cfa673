//! Killed, and then given up: what a person aborts is put back as far as it can be, also where nobody saw a step end.

use anyhow::{Context, Result, ensure};
use jm_sandbox::journeyman::{DATABASE, REPLICAS, is_marked};

use super::ACCEPT;
use super::effects::Wired;
use crate::environment::said;
use crate::wire::{Cut, How, Place};

#[test]
fn a_recovery_that_is_killed_in_the_switch_and_aborted_lets_the_old_database_serve_again() -> Result<()> {
    let wired = Wired::set(true)?;
    wired.rehearse()?;
    let world = &wired.scene.world;
    let statements = wired.wire.changes_of("switch");
    let number = |word: &str| {
        let found = statements.iter().rfind(|(_, text)| text.contains(word));
        found
            .map(|(number, _)| *number)
            .with_context(|| format!("{word} among {statements:?}"))
    };
    // Both databases are closed, the old one last, and their sessions are being ended.
    for place in [
        Place::After(number("ALLOW_CONNECTIONS false")?),
        Place::Before(number("COMMIT")?),
    ] {
        wired.scene.reset()?;
        wired.kill_at(Cut {
            step: "switch",
            place,
            how: How::Hold,
        })?;
        ensure!(
            world.query(DATABASE, "SELECT 1").is_err(),
            "{place:?}: the old database was not closed"
        );
        let aborted = world.jm().args(["run", "abort", "--reason", "enough"]).output()?;
        ensure!(aborted.status.code() == Some(0), "{}", said(&aborted));
        let ended = world.resume().args(ACCEPT).output()?;
        ensure!(ended.status.code() == Some(4), "{}", said(&ended));
        let text = || format!("{place:?}: {}", said(&ended));
        ensure!(
            world.query(DATABASE, "SELECT 1").is_ok(),
            "the old database is closed, {}",
            text()
        );
        ensure!(
            world.ready_replicas()? == REPLICAS && !is_marked(&world.workloads()?),
            "the application does not run, {}",
            text()
        );
    }
    Ok(())
}
