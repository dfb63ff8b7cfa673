//! Killed, or cut off, inside the restore and inside the switch: at every statement of the switch that changes something,
//! before the server gets it and after it took effect; at a sample of those of the restore, among which there is every
//! kind; in the middle of the rows; and at the COMMIT whose answer is lost.
//!
//! The statements are those that a recovery sends which nobody disturbs, read off the wire.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::{ACCEPT, Scene, go_on};
use crate::environment::{RECOVER, World, said};
use crate::signals::nobody_is_left;
use crate::statements::kind;
use crate::wire::{Cut, How, Place, Wire};

/// No supervisor takes so long to see that its jm is gone.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);
/// So often a place is looked for that a run has to come to.
const REHEARSALS: usize = 3;

/// A scene with a wire in it.
pub(super) struct Wired {
    pub(super) scene: Scene,
    pub(super) wire: Wire,
}

impl Wired {
    /// With an old database that still serves, or with none.
    pub(super) fn set(serving: bool) -> Result<Self> {
        Self::on(World::sandbox()?, serving)
    }

    /// The same in another world.
    fn on(mut world: World, serving: bool) -> Result<Self> {
        let wire = world.through_a_wire()?;
        let scene = Scene::set(world, serving)?;
        Ok(Self { scene, wire })
    }

    /// What a recovery says that nobody disturbs.
    pub(super) fn rehearse(&self) -> Result<()> {
        self.scene.reset()?;
        self.wire.arm(None);
        let output = self.scene.world.recover().args(ACCEPT).output()?;
        ensure!(output.status.code() == Some(0), "{}", said(&output));
        self.check().map(drop)
    }

    fn check(&self) -> Result<usize> {
        self.scene.ending.check(&self.scene.world)
    }

    /// A recovery that is killed at the cut. The cut was made, the process ended by the signal, and its children with it.
    pub(super) fn kill_at(&self, cut: Cut) -> Result<()> {
        self.wire.arm(Some(cut));
        let mut child = self
            .scene
            .world
            .recover()
            .args(ACCEPT)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        self.wire.await_hit(&mut child)?;
        child.kill()?;
        ensure!(child.wait()?.signal() == Some(9), "it was not killed");
        // While the wire is held still: no client would end by itself.
        nobody_lives_on(&self.scene.world)?;
        self.wire.arm(None);
        Ok(())
    }

    /// A recovery whose connection is cut, and which is left to itself; `None` where it did not come to the cut.
    fn try_cut_at(&self, cut: Cut) -> Result<Option<Output>> {
        self.scene.reset()?;
        self.wire.arm(Some(cut));
        let output = self.scene.world.recover().args(ACCEPT).output()?;
        let hit = self.wire.hit();
        self.wire.arm(None);
        Ok(hit.then_some(output))
    }

    /// The connection goes at the COMMIT of the switch: the run finds out what became of it, and goes on by itself.
    fn loses_the_answer(&self, place: impl Fn(usize) -> Place) -> Result<()> {
        let (step, how) = ("switch", How::Close);
        let mut made = None;
        for _ in 0..REHEARSALS {
            // How often the switch looks whether all sessions are gone depends on how busy the machine is.
            self.rehearse()?;
            let place = place(commit(self)?);
            made = self.try_cut_at(Cut { step, place, how })?.map(|output| (place, output));
            if made.is_some() {
                break;
            }
        }
        let (place, output) = made.context("the cut was not made")?;
        let context = || format!("{place:?}: {}", said(&output));
        ensure!(output.status.code() == Some(0), "{}", context());
        self.check().map(drop).with_context(context)
    }

    /// The connection goes in the middle of the restore: a run that failed, and can be resumed.
    fn breaks_in_the_restore(&self, bytes: u64) -> Result<()> {
        let (step, how, place) = ("restore", How::Close, Place::Bytes(bytes));
        let output = self
            .try_cut_at(Cut { step, place, how })?
            .context("the cut was not made")?;
        let text = said(&output);
        ensure!(output.status.code() == Some(4) && text.contains("connection"), "{text}");
        let world = &self.scene.world;
        go_on(world, world.runs()? - 1, &RECOVER, &ACCEPT)?;
        self.check().map(drop)
    }

    fn sweep(&self, cuts: &[(Cut, String)]) -> Result<()> {
        for (cut, text) in cuts {
            let context = || format!("killed {cut:?}: {text}");
            self.scene.reset().with_context(context)?;
            let runs = self.scene.world.runs()?;
            self.kill_at(*cut).with_context(context)?;
            go_on(&self.scene.world, runs, &RECOVER, &ACCEPT).with_context(context)?;
            self.check().with_context(context)?;
        }
        Ok(())
    }
}

/// What a killed jm had started is ended by its supervisor, which needs a moment for that.
fn nobody_lives_on(world: &World) -> Result<()> {
    let began = Instant::now();
    loop {
        match nobody_is_left(world) {
            Err(_) if began.elapsed() < PATIENCE => std::thread::sleep(PAUSE),
            seen => return seen,
        }
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

/// Those that frame the restore, each with both its places; and of those that fill the copy, which are many and alike, one
/// of each kind that was seen, in turns before and after it.
fn sampled(step: &'static str, statements: &[(usize, String)]) -> Vec<(Cut, String)> {
    let is_frame = |text: &str| text.contains("DATABASE") && !text.starts_with("COPY");
    let (frame, filling): (Vec<_>, Vec<_>) = statements.iter().cloned().partition(|(_, text)| is_frame(text));
    let mut cuts = around(step, &frame);
    let mut kinds = BTreeSet::new();
    let first_of_kind = filling.iter().filter(|(_, text)| kinds.insert(kind(text)));
    for (turn, statement) in first_of_kind.enumerate() {
        cuts.extend(
            around(step, std::slice::from_ref(statement))
                .into_iter()
                .skip(turn % 2)
                .take(1),
        );
    }
    cuts
}

/// Kinds of statements that a restore of this database sends.
const KINDS: [&str; 12] = [
    "CREATE DATABASE",
    "CREATE EXTENSION",
    "CREATE TYPE",
    "CREATE TABLE",
    "CREATE VIEW",
    "CREATE INDEX",
    "COPY",
    "ALTER TABLE ADD CONSTRAINT",
    "SELECT setval",
    "REFRESH VIEW",
    "GRANT",
    "COMMENT DATABASE",
];

#[test]
fn a_recovery_that_is_killed_inside_the_restore_ends_as_if_it_had_not_been() -> Result<()> {
    let wired = Wired::set(false)?;
    wired.rehearse()?;
    let statements = wired.wire.changes_of("restore");
    let mut cuts = sampled("restore", &statements);
    let sampled: BTreeSet<String> = cuts.iter().map(|(_, text)| kind(text)).collect();
    let seen: BTreeSet<String> = statements.iter().map(|(_, text)| kind(text)).collect();
    ensure!(sampled == seen, "{sampled:?} of {seen:?}");
    let missing: Vec<_> = KINDS.iter().filter(|kind| !seen.contains(**kind)).collect();
    ensure!(missing.is_empty(), "no {missing:?} among {seen:?}");
    let bytes = wired.wire.bytes_of("restore");
    // In the middle of the rows, and just before their end.
    for tenths in [3, 7, 9] {
        let place = Place::Bytes(bytes / 10 * tenths);
        let (step, how) = ("restore", How::Hold);
        cuts.push((Cut { step, place, how }, format!("{tenths} tenths of {bytes} bytes")));
    }
    wired.sweep(&cuts)
}

#[test]
fn a_recovery_that_is_killed_inside_the_switch_switches_once() -> Result<()> {
    let wired = Wired::set(true)?;
    wired.rehearse()?;
    let statements = wired.wire.changes_of("switch");
    let with = |word: &str| statements.iter().filter(|(_, text)| text.contains(word)).count();
    ensure!(
        with("RENAME TO") == 2 && with("pg_terminate_backend") >= 1 && with("COMMIT") == 1,
        "{statements:?}"
    );
    wired.sweep(&around("switch", &statements))
}

/// The first of a step's statements that is of a kind.
fn first_of(wired: &Wired, step: &'static str, wanted: &str) -> Result<(usize, String)> {
    let statements = wired.wire.changes_of(step);
    let first = statements.into_iter().find(|(_, text)| kind(text) == wanted);
    first.with_context(|| format!("a {wanted} of {step}"))
}

/// One of each sort of cut, and the run that fails and is mended, on servers that nobody of jm's wrote: PostgreSQL, S3 and
/// a Kubernetes control plane. The sweeps themselves run in the sandbox, for they take hundreds of recoveries.
#[test]
fn separately_started_servers_are_brought_back_from_the_same_cuts() -> Result<()> {
    let real = World::real_with(&["--no-fsync"])?;
    let direct = real.systems.clone();
    let mut wired = Wired::on(real, true)?;
    wired.rehearse()?;
    let (copy, rename) = (
        first_of(&wired, "restore", "COPY")?,
        first_of(&wired, "switch", "ALTER DATABASE RENAME TO")?,
    );
    let bytes = wired.wire.bytes_of("restore");
    let (before, after) = (Place::Before(copy.0), Place::After(rename.0));
    let how = How::Hold;
    wired.sweep(&[
        (
            Cut {
                step: "restore",
                place: before,
                how,
            },
            copy.1,
        ),
        (
            Cut {
                step: "switch",
                place: after,
                how,
            },
            rename.1,
        ),
    ])?;
    wired.loses_the_answer(Place::After)?;
    wired.breaks_in_the_restore(bytes / 2)?;
    // Nothing has to be read along any more: the rest is encrypted.
    wired.scene.clear()?;
    wired.scene.world.systems = direct;
    crate::resume::stops_again_before_it_switches(&wired.scene.world)
}

/// The number of the switch's COMMIT.
fn commit(wired: &Wired) -> Result<usize> {
    let statements = wired.wire.changes_of("switch");
    let commit = statements.iter().find(|(_, text)| text.starts_with("COMMIT"));
    Ok(commit.context("a COMMIT")?.0)
}

#[test]
fn a_connection_that_is_lost_at_the_commit_or_in_the_restore_is_found_out() -> Result<()> {
    let wired = Wired::set(true)?;
    wired.rehearse()?;
    let bytes = wired.wire.bytes_of("restore");
    // Done, and nobody learned of it; then not done, and nobody learned of that.
    wired.loses_the_answer(Place::After)?;
    wired.loses_the_answer(Place::Before)?;
    wired.breaks_in_the_restore(bytes / 2)
}
