//! Killed, or cut off, inside the restore and inside the switch: at every statement of the switch that changes something
//! and at a sample of those of the restore, before the server gets it and after it took effect; in the middle of the rows; and at the COMMIT whose answer is lost.
//!
//! The statements are those that a recovery sends which nobody disturbs, read off the wire.

use std::os::unix::process::ExitStatusExt;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::{Ending, go_on};
use crate::environment::{World, said};
use crate::wire::{Cut, How, Place, Wire};

/// No recovery takes so long.
const PATIENCE: Duration = Duration::from_secs(90);
/// Of the statements that fill the copy, which are many and alike, so many are cut at.
const SAMPLES: usize = 6;

/// The old database serves, and has lost rows since the backup.
const DAMAGE: &str = "TRUNCATE players";
const ACCEPT: [&str; 2] = ["--accept-data-loss", "1d"];

struct Scene {
    world: World,
    wire: Wire,
    ending: Ending,
}

impl Scene {
    /// With an old database that still serves, or with none.
    fn set(serving: bool) -> Result<Self> {
        let mut world = World::sandbox()?;
        let wire = world.through_a_wire()?;
        world.back_up()?;
        let data = world.fingerprint()?;
        let kept = usize::from(serving);
        let ending = Ending { data, kept };
        Ok(Self { world, wire, ending })
    }

    /// As before the recovery: the database is damaged or gone, and no other is there.
    fn reset(&self) -> Result<()> {
        for name in self.world.databases()? {
            if name != jm_sandbox::journeyman::DATABASE {
                self.world
                    .query("postgres", &format!("DROP DATABASE \"{name}\" WITH (FORCE)"))?;
            }
        }
        if self.ending.kept == 0 {
            return self.world.lose_database();
        }
        self.world.query(jm_sandbox::journeyman::DATABASE, DAMAGE).map(drop)
    }

    /// What a recovery says that nobody disturbs.
    fn rehearse(&self) -> Result<()> {
        self.reset()?;
        self.wire.arm(None);
        let output = self.world.recover().args(ACCEPT).output()?;
        ensure!(output.status.code() == Some(0), "{}", said(&output));
        self.ending.check(&self.world).map(drop)
    }

    /// A recovery that is killed at the cut. The cut was made, and the process ended by the signal.
    fn kill_at(&self, cut: Cut) -> Result<()> {
        self.wire.arm(Some(cut));
        let mut child = self
            .world
            .recover()
            .args(ACCEPT)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let began = Instant::now();
        while !self.wire.hit() {
            let ended = child.try_wait()?;
            ensure!(ended.is_none(), "it ended before the cut: {ended:?}");
            ensure!(began.elapsed() < PATIENCE, "the cut was not made");
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill()?;
        ensure!(child.wait()?.signal() == Some(9), "it was not killed");
        self.wire.arm(None);
        Ok(())
    }

    /// A recovery whose connection is cut, and which is left to itself.
    fn cut_at(&self, cut: Cut) -> Result<Output> {
        self.wire.arm(Some(cut));
        let output = self.world.recover().args(ACCEPT).output()?;
        ensure!(self.wire.hit(), "the cut was not made: {}", said(&output));
        self.wire.arm(None);
        Ok(output)
    }

    fn sweep(&self, cuts: &[(Cut, String)]) -> Result<()> {
        for (cut, text) in cuts {
            let context = || format!("killed {cut:?}: {text}");
            self.reset().with_context(context)?;
            let runs = self.world.runs()?;
            self.kill_at(*cut).with_context(context)?;
            go_on(&self.world, runs, &ACCEPT).with_context(context)?;
            self.ending.check(&self.world).with_context(context)?;
        }
        Ok(())
    }
}

/// Before and after each of the statements.
fn around(step: &'static str, statements: &[(usize, String)]) -> Vec<(Cut, String)> {
    let both = |(number, text): &(usize, String)| {
        [Place::Before(*number), Place::After(*number)].map(|place| {
            let how = How::Hold;
            (Cut { step, place, how }, text.clone())
        })
    };
    statements.iter().flat_map(both).collect()
}

/// Those that frame the restore, and some of those that fill the copy.
fn sampled(statements: Vec<(usize, String)>) -> Vec<(usize, String)> {
    let is_frame = |text: &str| {
        let words = ["DATABASE", "COPY"];
        words.iter().any(|word| text.contains(word)) || text.starts_with("COMMENT ON DATABASE")
    };
    let (frame, filling): (Vec<_>, Vec<_>) = statements
        .into_iter()
        .partition(|(_, text)| is_frame(text) && !text.starts_with("COPY"));
    let every = filling.len().div_ceil(SAMPLES).max(1);
    frame.into_iter().chain(filling.into_iter().step_by(every)).collect()
}

#[test]
fn a_recovery_that_is_killed_inside_the_restore_ends_as_if_it_had_not_been() -> Result<()> {
    let scene = Scene::set(false)?;
    scene.rehearse()?;
    let statements = scene.wire.changes_of("restore");
    ensure!(
        ["CREATE DATABASE", "COPY ", "COMMENT ON DATABASE"]
            .iter()
            .all(|word| statements.iter().any(|(_, text)| text.starts_with(word))),
        "{statements:?}"
    );
    let bytes = scene.wire.bytes_of("restore");
    let mut cuts = around("restore", &sampled(statements));
    // In the middle of the rows, and just before their end.
    for tenths in [3, 7, 9] {
        let place = Place::Bytes(bytes / 10 * tenths);
        let (step, how) = ("restore", How::Hold);
        cuts.push((Cut { step, place, how }, format!("{tenths} tenths of {bytes} bytes")));
    }
    ensure!(cuts.len() >= 10, "{cuts:?}");
    scene.sweep(&cuts)
}

#[test]
fn a_recovery_that_is_killed_inside_the_switch_switches_once() -> Result<()> {
    let scene = Scene::set(true)?;
    scene.rehearse()?;
    let statements = scene.wire.changes_of("switch");
    let renames = statements.iter().filter(|(_, text)| text.contains("RENAME TO")).count();
    ensure!(
        renames == 2 && statements.iter().any(|(_, text)| text.starts_with("COMMIT")),
        "{statements:?}"
    );
    scene.sweep(&around("switch", &statements))
}

/// The number of the switch's COMMIT.
fn commit(scene: &Scene) -> Result<usize> {
    let statements = scene.wire.changes_of("switch");
    let commit = statements.iter().find(|(_, text)| text.starts_with("COMMIT"));
    Ok(commit.context("a COMMIT")?.0)
}

#[test]
fn a_commit_whose_answer_is_lost_is_found_out() -> Result<()> {
    let scene = Scene::set(true)?;
    scene.rehearse()?;
    let (step, how, number) = ("switch", How::Close, commit(&scene)?);
    // Done, and nobody learned of it; then not done, and nobody learned of that.
    for place in [Place::After(number), Place::Before(number)] {
        scene.reset()?;
        let output = scene.cut_at(Cut { step, place, how })?;
        let context = || format!("{place:?}: {}", said(&output));
        ensure!(output.status.code() == Some(0), "{}", context());
        scene.ending.check(&scene.world).with_context(context)?;
    }
    Ok(())
}

#[test]
fn a_restore_whose_connection_goes_leaves_a_run_that_resumes() -> Result<()> {
    let scene = Scene::set(true)?;
    scene.rehearse()?;
    let place = Place::Bytes(scene.wire.bytes_of("restore") / 2);
    let (step, how) = ("restore", How::Close);
    scene.reset()?;
    let output = scene.cut_at(Cut { step, place, how })?;
    ensure!(output.status.code() == Some(4), "{}", said(&output));
    let text = said(&output);
    ensure!(text.contains("connection"), "{text}");
    go_on(&scene.world, scene.world.runs()? - 1, &ACCEPT)?;
    scene.ending.check(&scene.world).map(drop)
}
