//! A webhook that hangs: people are not told, the database comes back all the same, and the end says so.

use std::io::Read;
use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::ends;
use crate::environment::{World, file};

/// Somebody came to this address and said something, and has not only failed to reach it.
fn was_told(listener: &TcpListener) -> Result<()> {
    // The kernel has kept what came: where nothing did, nobody waits for it.
    listener.set_nonblocking(true)?;
    let (mut caller, _) = listener.accept().context("nobody came to the webhook")?;
    caller.set_nonblocking(false)?;
    caller.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut begin = [0; 5];
    caller.read_exact(&mut begin).context("the webhook was told nothing")?;
    ensure!(begin == *b"POST ", "the webhook was told {begin:?}");
    Ok(())
}

#[test]
fn a_webhook_that_hangs_holds_up_no_recovery() -> Result<()> {
    let mut world = World::sandbox()?;
    world.back_up()?;
    let data = world.fingerprint()?;
    world.lose_database()?;
    // The kernel takes the connections, and nobody ever answers.
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}/", listener.local_addr()?);
    world.systems.environment.insert("WEBHOOK_URL".to_owned(), url);
    // The targets as they are, with a shorter wait.
    let targets = world.folder().join("targets.yaml");
    let text = std::fs::read_to_string(file("plans/targets.yaml"))?;
    let shorter = text.replace("provider: notify\n", "provider: notify\n    timeout: 1s\n");
    ensure!(shorter != text, "the targets file has no webhook");
    std::fs::write(&targets, shorter)?;
    let words = ["degraded", "`webhook at 127.0.0.1` did not answer within 1s"];
    ends(world.recover().arg("--targets").arg(&targets), 9, &words)?;
    ensure!(world.fingerprint()? == data, "other data");
    was_told(&listener)
}
