//! A rebuild that is killed on its way, and gone on with.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};

use super::{Before, CONTROL_PLANE, EVERYTHING, Ground, MOST, run, world_on};
use crate::crash::go_on;
use crate::crash::journal_cuts::{Call, batches, cut, journal_file, under_way};
use crate::environment::{RESUME, World, journal, said};

/// Every so many syncs one cut is made. Where it begins differs from run to run of the tests; that at all of them takes
/// five minutes and is a test of its own.
const STRIDE: usize = 6;
/// The same on a control plane, which takes longer to come up.
const WIDE_STRIDE: usize = 8;

/// What came of cuts at the syncs of a rebuild.
#[derive(Default)]
pub(super) struct Swept {
    cuts: usize,
    /// How many batches of records the rebuild wrote that was not cut, from where it could be cut: one call each. How many
    /// these are differs from rebuild to rebuild.
    batches: usize,
    /// The steps into which cuts fell.
    within: BTreeSet<String>,
}

/// What is lost again and again, and how it has to be each time.
pub(super) struct Scene<'g> {
    ground: &'g Ground,
    world: World,
    /// As it was, or where the rebuild changes something: as a rebuild that nobody disturbs leaves it.
    before: Before,
    rebuild: Vec<String>,
}

impl<'g> Scene<'g> {
    fn new(ground: &'g Ground) -> Result<Self> {
        let (world, mut before) = world_on(ground)?;
        let rebuild = ground.rebuild(&world)?;
        if rebuild.iter().any(|word| word.starts_with("manifests=")) {
            (ground.lose)(&world)?;
            run(&world, &rebuild)?;
            before = Before::look(&world)?;
        }
        Ok(Self {
            ground,
            world,
            before,
            rebuild,
        })
    }

    fn lose(&self) -> Result<()> {
        (self.ground.lose)(&self.world)
    }

    fn rebuild(&self) -> Vec<&str> {
        self.rebuild.iter().map(String::as_str).collect()
    }
}

/// Cuts at every place that is handed out, each in a rebuild of its own, until a rebuild has no more of them.
fn half(ground: &Ground, next: &AtomicUsize, stride: usize) -> Result<Swept> {
    let scene = Scene::new(ground)?;
    let mut swept = Swept::default();
    loop {
        let nth = next.fetch_add(stride, Ordering::Relaxed);
        ensure!(nth < MOST, "more than {MOST} places");
        let was_cut = (ground.cut)(&scene, nth, &mut swept).with_context(|| format!("at place {nth}"))?;
        if !was_cut {
            let batches = swept.batches;
            ensure!(
                batches > 0 && batches < nth,
                "{batches} batches, and none of them is number {nth}"
            );
            return Ok(swept);
        }
        swept.cuts += 1;
    }
}

/// Killed with a record written whose effect has not begun.
pub(super) fn at_sync(scene: &Scene, nth: usize, swept: &mut Swept) -> Result<bool> {
    let world = &scene.world;
    scene.lose()?;
    let runs = world.runs()?;
    let call = Call {
        name: "fdatasync",
        on: None,
        nth,
    };
    let was_cut = cut(world, &call, &scene.rebuild(), 0)?;
    let records = journal(&world.state())?;
    if was_cut {
        swept.within.extend(under_way(&records));
        go_on(world, runs, &scene.rebuild(), &[])?;
    } else {
        swept.batches = batches(&records);
    }
    scene.before.check(world)?;
    Ok(was_cut)
}

/// One rebuild that is killed in each of these steps, as they come. Steps that are done beside each other share syncs, and how
/// often a server is asked before it is ready differs, so that none of them has a sync that is its own in every rebuild: each
/// is reached by a run that stops before it.
fn in_each(ground: &Ground, steps: &[&str]) -> Result<()> {
    let scene = Scene::new(ground)?;
    let world = &scene.world;
    scene.lose()?;
    let mut words = scene.rebuild();
    for step in steps {
        let stopped = world.jm().args(&words).args(["--until", step]).output()?;
        ensure!(stopped.status.code() == Some(5), "{}", said(&stopped));
        kill_in(world, step)?;
        words = RESUME.to_vec();
    }
    run(world, &RESUME)?;
    scene.before.check(world)
}

/// Kills resumes until one has begun the step: each at the first sync that brings anything new of a step, so that none is
/// begun and over between two of them.
fn kill_in(world: &World, step: &str) -> Result<()> {
    let mut records = journal(&world.state())?;
    let file = journal_file(world, &records)?;
    let mut nth = 1;
    for _ in 0..MOST {
        let call = Call {
            name: "fdatasync",
            on: Some(&file),
            nth,
        };
        ensure!(
            cut(world, &call, &RESUME, 0)?,
            "a resume was over before {step} was cut"
        );
        let before = told(&records);
        records = journal(&world.state())?;
        if under_way(&records).contains(step) {
            return Ok(());
        }
        nth = if told(&records) > before { 1 } else { nth + 1 };
    }
    anyhow::bail!("{step} was not begun")
}

/// How much is known of steps: what each resume tells of them anew counts once.
fn told(records: &[serde_json::Value]) -> usize {
    let of_steps = records.iter().filter(|record| record["step"].is_string());
    let told: BTreeSet<_> = of_steps
        .map(|record| (record["step"].as_str(), record["kind"].as_str()))
        .collect();
    told.len()
}

/// Killed with an effect done of which there is no record yet. It begins with the first step that puts something into the
/// cluster: until then the journal's name is not known.
pub(super) fn at_write(scene: &Scene, nth: usize, swept: &mut Swept) -> Result<bool> {
    let world = &scene.world;
    scene.lose()?;
    let stopped = world
        .jm()
        .args(scene.rebuild())
        .args(["--until", "foundation"])
        .output()?;
    ensure!(stopped.status.code() == Some(5), "{}", said(&stopped));
    let begun = journal(&world.state())?;
    let file = journal_file(world, &begun)?;
    let call = Call {
        name: "write",
        on: Some(&file),
        nth,
    };
    let was_cut = cut(world, &call, &RESUME, 0)?;
    let records = journal(&world.state())?;
    if was_cut {
        swept.within.extend(under_way(&records));
        run(world, &RESUME)?;
    } else {
        swept.batches = batches(&records) - batches(&begun);
    }
    scene.before.check(world)?;
    Ok(was_cut)
}

/// Cuts at every so many places. Two worlds share them: most of a rebuild is spent waiting.
fn sweep(ground: &Ground, first: usize, stride: usize) -> Result<Swept> {
    let next = AtomicUsize::new(first);
    let halves: Vec<Result<Swept>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(|| half(ground, &next, stride))).collect();
        let joined = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
        joined
            .map(|swept| swept.unwrap_or_else(|_| Err(anyhow::anyhow!("a sweep panicked"))))
            .collect()
    });
    let mut all = Swept::default();
    for half in halves {
        let half = half?;
        all.cuts += half.cuts;
        all.within.extend(half.within);
    }
    ensure!(all.cuts > 0, "no cut");
    Ok(all)
}

#[test]
fn a_rebuild_that_is_killed_at_a_sync_ends_as_if_it_had_not_been() -> Result<()> {
    let within = sweep(&EVERYTHING, anywhere(STRIDE), STRIDE)?.within;
    ensure!(within.len() >= 3, "cuts only in {within:?}");
    Ok(())
}

#[test]
fn a_rebuild_on_a_control_plane_that_is_killed_ends_as_if_it_had_not_been() -> Result<()> {
    let within = sweep(&CONTROL_PLANE, anywhere(WIDE_STRIDE), WIDE_STRIDE)?.within;
    ensure!(within.len() >= 2, "cuts only in {within:?}");
    Ok(())
}

/// Where a sweep begins, another place in each run of the tests.
fn anywhere(stride: usize) -> usize {
    1 + usize::try_from(std::process::id()).unwrap_or_default() % stride
}

#[test]
#[ignore = "takes five minutes: `tests/run -p jm every_sync -- --ignored`"]
fn a_rebuild_that_is_killed_at_every_sync_ends_as_if_it_had_not_been() -> Result<()> {
    let within = sweep(&EVERYTHING, 1, 1)?.within;
    ensure!(within.len() >= 12, "cuts only in {within:?}");
    Ok(())
}

/// Those that only look are done anew by each resume while nothing came of them, so that none is the next thing for long.
#[test]
#[ignore = "which records share a sync hangs on how busy the machine is, and it may miss a step: `tests/run -p jm in_each_extra -- --ignored`"]
fn a_rebuild_that_is_killed_in_each_extra_step_that_changes_something_ends_as_if_it_had_not_been() -> Result<()> {
    in_each(&EVERYTHING, &["provision", "manifests", "image"])
}

#[test]
#[ignore = "takes eight minutes: `tests/run -p jm every_write -- --ignored`"]
fn a_rebuild_on_a_control_plane_that_is_killed_at_every_write_ends_as_if_it_had_not_been() -> Result<()> {
    let within = sweep(&CONTROL_PLANE, 1, 1)?.within;
    ensure!(within.len() >= 10, "cuts only in {within:?}");
    Ok(())
}
