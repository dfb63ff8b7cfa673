//! A webhook that hangs: people are not told, the database comes back all the same, and the end says so.

use std::net::TcpListener;

use anyhow::{Result, ensure};

use super::ends;
use crate::environment::{World, file};

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
    let words = ["degraded", "webhook at 127.0.0.1"];
    ends(world.recover().arg("--targets").arg(&targets), 9, &words)?;
    ensure!(world.fingerprint()? == data, "other data");
    drop(listener);
    Ok(())
}
