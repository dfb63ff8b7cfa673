//! A webhook that hangs: people are not told, the database comes back all the same, and the end says so.

use std::io::Read;
use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::ends;
use crate::environment::{World, journal};

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
    let words = ["degraded", "`webhook at 127.0.0.1` did not answer within 10s"];
    ends(&mut world.recover(), 9, &words)?;
    ensure!(world.fingerprint()? == data, "other data");
    was_told(&listener)?;

    let records = journal(&world.state())?;
    let ended = |kind: &str, step: &str| {
        let is_it = |record: &Value| record["kind"] == kind && record["step"] == step;
        records
            .iter()
            .rposition(is_it)
            .with_context(|| format!("{kind} of {step}"))
    };
    let (resumed, gave_up) = (ended("step-succeeded", "resume")?, ended("step-failed", "announce")?);
    ensure!(resumed < gave_up, "the recovery waited for the webhook");
    let shown = world.jm().args(["run", "show", "--format", "json"]).output()?;
    let run: Value = serde_json::from_slice(&shown.stdout)?;
    let (took, all) = (run["rto"]["actual"].as_f64(), run["seconds"].as_f64());
    ensure!(
        took.context("rto")? + 30.0 < all.context("seconds")?,
        "the objective counts until nobody was told: {took:?} of {all:?}"
    );
    Ok(())
}
