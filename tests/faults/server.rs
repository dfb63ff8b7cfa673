//! PostgreSQL gone in the middle of the restore: its process is killed, and stays away until somebody starts it again.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{ACCEPT, Served};
use crate::environment::World;
use crate::wire::{Cut, How, Place};

/// A variable of the file in which the server says how it is reached.
fn of_server(world: &World, name: &str) -> Result<String> {
    let text = std::fs::read_to_string(world.folder().join("postgres/env"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
    Ok(line.with_context(|| format!("no {name}"))?.to_owned())
}

#[test]
fn a_server_that_goes_in_the_middle_of_the_restore_leaves_a_run_that_resumes() -> Result<()> {
    let mut world = World::real()?;
    let wire = world.through_a_wire()?;
    world.back_up()?;
    let data = world.fingerprint()?;
    world.query("journeyman_prod", "TRUNCATE players")?;
    // A server that crashes skips the numbers that its sequences had logged ahead, unless they are on disk.
    world.query("postgres", "CHECKPOINT")?;
    let served = Served::by(&world)?;

    let (step, how) = ("restore", How::Hold);
    let place = Place::Bytes(50_000);
    wire.arm(Some(Cut { step, place, how }));
    let said_out = world.folder().join("said");
    let said_file = std::fs::File::create(&said_out)?;
    let mut child = super::recover(&world)
        .stdout(said_file.try_clone()?)
        .stderr(said_file)
        .stdin(Stdio::null())
        .spawn()?;
    wire.await_hit(&mut child)?;
    let killed = Command::new("kill")
        .args(["-KILL", &of_server(&world, "POSTGRES_PID")?])
        .status()?;
    ensure!(killed.success(), "the server was not there to be killed");
    wire.release();
    let status = child.wait()?;
    let text = std::fs::read_to_string(&said_out)?;
    ensure!(status.code() == Some(4), "{status}: {text}");
    for words in ["the connection was lost", "see that the server runs", "jm plan resume"] {
        ensure!(text.contains(words), "`{words}` is not said: {text}");
    }

    // Somebody starts it again: the old database is where it was, and its application runs.
    let script = format!("{}/postgres", std::env::var("JM_TEST_SERVICES")?);
    let place = world.folder().join("postgres");
    // Its supervisor ends with it, a moment later.
    let mut started = false;
    for _ in 0..50 {
        let mut start = Command::new(&script);
        started = start.arg("start").arg(&place).output()?.status.success();
        if started {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    ensure!(started, "the server does not start again");
    wire.arm(None);
    ensure!(world.fingerprint()? == served.0, "the old database serves other data");
    ensure!(
        world.ready_replicas()? == jm_sandbox::journeyman::REPLICAS,
        "the application does not run"
    );

    let output = world.resume().args(ACCEPT).output()?;
    ensure!(output.status.code() == Some(0), "{}", crate::environment::said(&output));
    ensure!(world.fingerprint()? == data, "other data");
    ensure!(
        world.ready_replicas()? == jm_sandbox::journeyman::REPLICAS,
        "the application does not run"
    );
    let databases = world.databases()?;
    ensure!(
        databases.len() == 2 && databases.iter().all(|name| !name.contains("_jmr_")),
        "{databases:?}"
    );
    Ok(())
}
