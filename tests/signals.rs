//! Signals: the first lets a step stop by itself, the second drops it; both leave a run that resumes, and nothing of it
//! that goes on. Each comes while a connection to PostgreSQL is held, so that it meets the step that it is meant for.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use jm_sandbox::journeyman::{Fingerprint, REPLICAS};

use crate::environment::{World, journal, of_kind, said};
use crate::wire::{Cut, How, Place, Wire};

/// No run takes so long to stop.
const PATIENCE: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(5);

/// A recovery that waits where the wire was cut.
struct Held {
    child: Child,
    said: PathBuf,
}

impl Held {
    fn at(world: &World, wire: &Wire, cut: Cut) -> Result<Self> {
        wire.arm(Some(cut));
        let said = world.folder().join("said");
        let file = std::fs::File::create(&said)?;
        let mut recover = world.recover();
        recover.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let mut child = recover.spawn()?;
        wire.await_hit(&mut child)?;
        Ok(Self { child, said })
    }

    fn send(&self, signal: &str) -> Result<()> {
        let mut kill = Command::new("kill");
        let sent = kill
            .args([format!("-{signal}"), self.child.id().to_string()])
            .status()?;
        ensure!(sent.success(), "it was not there to be told");
        Ok(())
    }

    /// Waits until it has said this.
    fn says(&mut self, words: &str) -> Result<()> {
        let began = Instant::now();
        while !std::fs::read_to_string(&self.said)?.contains(words) {
            let ended = self.child.try_wait()?;
            ensure!(
                ended.is_none() && began.elapsed() < PATIENCE,
                "`{words}` is not said, {ended:?}: {}",
                std::fs::read_to_string(&self.said)?
            );
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Its end: stopped by the last of the signals, with words on how to go on.
    fn stops(mut self, world: &World, signal: &str) -> Result<()> {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            ensure!(began.elapsed() < PATIENCE, "it does not stop");
            std::thread::sleep(PAUSE);
        };
        let text = std::fs::read_to_string(&self.said)?;
        ensure!(status.code() == Some(5), "{status}: {text}");
        ensure!(text.contains("jm plan resume"), "how to go on is not said: {text}");
        let records = journal(&world.state())?;
        let last = records.last().context("a record")?;
        ensure!(
            last["kind"] == "run-stopped" && last["by"].to_string().contains(signal),
            "{last}"
        );
        Ok(())
    }
}

/// The processes that jm has started in this world, by the home that each of them has: all of its own are children of jm.
fn children(world: &World) -> Result<Vec<String>> {
    let home = format!("HOME={}", world.systems.variable("HOME"));
    let mut found = Vec::new();
    for process in std::fs::read_dir("/proc")? {
        let process = process?.path();
        let environment = std::fs::read(process.join("environ")).unwrap_or_default();
        let words = std::fs::read(process.join("cmdline")).unwrap_or_default();
        if environment
            .split(|byte| *byte == 0)
            .any(|entry| entry == home.as_bytes())
        {
            found.push(String::from_utf8_lossy(&words).replace('\0', " "));
        }
    }
    Ok(found)
}

/// Nobody is left, of the children at once, of those who watch them a moment later.
pub(crate) fn nobody_is_left(world: &World) -> Result<()> {
    let is_client = |words: &String| {
        let program = words.split(' ').next().map(Path::new).and_then(Path::file_name);
        program.is_some_and(|name| ["psql", "pg_restore", "pg_dump"].iter().any(|client| name == *client))
    };
    let left = children(world)?;
    ensure!(!left.iter().any(is_client), "left behind: {left:?}");
    let began = Instant::now();
    loop {
        let left = children(world)?;
        if left.is_empty() {
            return Ok(());
        }
        ensure!(began.elapsed() < PATIENCE, "left behind: {left:?}");
        std::thread::sleep(PAUSE);
    }
}

fn goes_on(world: &World, wire: &Wire, data: &Fingerprint) -> Result<()> {
    wire.arm(None);
    let output = world.resume().output()?;
    ensure!(output.status.code() == Some(0), "{}", said(&output));
    ensure!(
        world.fingerprint()? == *data && world.ready_replicas()? == REPLICAS,
        "not as before"
    );
    ensure!(world.databases()? == ["journeyman_prod"], "{:?}", world.databases()?);
    Ok(())
}

fn scene() -> Result<(World, Wire, Fingerprint)> {
    let mut world = World::sandbox()?;
    let wire = world.through_a_wire()?;
    world.back_up()?;
    let data = world.fingerprint()?;
    Ok((world, wire, data))
}

#[test]
fn a_signal_within_the_restore_stops_a_run_that_resumes() -> Result<()> {
    let (world, wire, data) = scene()?;
    let (step, how) = ("restore", How::Hold);
    let place = Place::Bytes(50_000);
    // The last is hurried: the second comes before the first can have been heeded.
    for signals in [&["TERM"][..], &["INT"], &["HUP"], &["INT", "TERM"]] {
        let context = || format!("{signals:?}");
        world.lose_database()?;
        let held = Held::at(&world, &wire, Cut { step, place, how }).with_context(context)?;
        let under_way = children(&world)?;
        ensure!(under_way.iter().any(|words| words.contains("psql")), "{under_way:?}");
        for signal in signals {
            held.send(signal)?;
        }
        let heeded = if signals.len() == 1 { signals[0] } else { "SIG" };
        held.stops(&world, heeded).with_context(context)?;
        nobody_is_left(&world).with_context(context)?;
        goes_on(&world, &wire, &data).with_context(context)?;
    }
    Ok(())
}

#[test]
fn a_second_signal_drops_a_switch_that_waits_and_the_resume_finds_out() -> Result<()> {
    let (world, wire, data) = scene()?;
    world.lose_database()?;
    wire.arm(None);
    let output = world.recover().output()?;
    ensure!(output.status.code() == Some(0), "{}", said(&output));
    let statements = wire.changes_of("switch");
    let commit = statements.iter().find(|(_, text)| text.starts_with("COMMIT"));
    let commit = commit.context("a COMMIT")?.0;
    let (step, how) = ("switch", How::Hold);
    for place in [Place::Before(commit), Place::After(commit)] {
        let context = || format!("{place:?}");
        world.lose_database()?;
        let mut held = Held::at(&world, &wire, Cut { step, place, how }).with_context(context)?;
        held.send("TERM")?;
        // A transaction that is about to commit is not dropped by the first one.
        held.says("SIGTERM: nothing new starts").with_context(context)?;
        held.send("INT").with_context(context)?;
        held.stops(&world, "SIGINT").with_context(context)?;
        nobody_is_left(&world).with_context(context)?;
        let records = journal(&world.state())?;
        let ended = of_kind(&records, "step-succeeded")
            .into_iter()
            .any(|record| record["step"] == "switch");
        ensure!(!ended, "the switch was not under way");
        goes_on(&world, &wire, &data).with_context(context)?;
    }
    Ok(())
}
