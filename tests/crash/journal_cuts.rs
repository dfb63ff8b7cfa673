//! Killed at the journal: at the entry of every sync, and at the entry of every write.
//!
//! A kill at the entry of `fdatasync` finds the record written and its effect not begun; one at the entry of the `write`
//! finds the effect done and its record missing. Before the first write lie the syncs of the run's directory.
//!
//! `strace` counts calls for each thread, and the journal is written by one thread, but other threads write elsewhere:
//! so the calls are narrowed to the journal's file, whose name has to be known. A run that found its cluster out of reach
//! has one, and everything that the plan does is written by its resume. Children are not traced (`-b execve`).

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{ACCEPT, Scene, go_on};
use crate::environment::{JM, RECOVER, RESUME, World, journal, of_kind, said};
use crate::resume::place;

/// More calls than a run can make.
const MOST: usize = 200;

/// A system call at whose entry the binary dies.
pub(crate) struct Call<'a> {
    pub(crate) name: &'a str,
    /// Only on this file.
    pub(crate) on: Option<&'a Path>,
    pub(crate) nth: usize,
}

/// What is cut again and again, and how it goes on after that.
struct Sweep<'s> {
    scene: &'s Scene,
    /// The system call.
    name: &'s str,
    /// Whether each effect that begins after the call is cut at the write that follows it too. Where no step is under way
    /// nothing happens in between, and that cut would find what the other one found.
    and_after: bool,
    /// What the binary is told to do.
    words: &'s [&'s str],
    /// How it ends where it is not cut.
    code: i32,
    /// Makes ready for a cut. Gives the file that the calls have to be on, where only those count.
    prepare: &'s dyn Fn() -> Result<Option<PathBuf>>,
    /// Done after the cut, before anybody goes on.
    mend: &'s dyn Fn() -> Result<()>,
}

/// What came of a sweep.
#[derive(Default)]
struct Swept {
    cuts: usize,
    /// What the run wrote that came to its own end, each with one write and one sync, from where it could be cut.
    batches: usize,
    /// How many deliveries repeated an earlier one.
    repeats: usize,
    /// How many recoveries stopped again what they had let run.
    stopped_again: usize,
    /// The steps into which cuts fell.
    within: BTreeSet<String>,
    /// Those whose effect was cut at the write that follows it, besides.
    after: BTreeSet<String>,
}

impl Swept {
    /// Every batch was cut, and so was each of these steps.
    fn reached(&self, steps: &[&str]) -> Result<()> {
        let Self { cuts, batches, .. } = self;
        // Calls are counted for each thread: a journal that several wrote would have more batches than cuts.
        ensure!(*batches > 0 && cuts >= batches, "{cuts} cuts, {batches} batches");
        for step in steps {
            ensure!(self.within.contains(*step), "no cut in {step}: {:?}", self.within);
        }
        Ok(())
    }
}

impl Sweep<'_> {
    /// Cuts at every call, each in a recovery of its own.
    fn all(&self) -> Result<Swept> {
        let mut swept = Swept::default();
        for nth in 1..MOST {
            let Some(within) = self.at(self.name, nth, &mut swept)? else {
                return Ok(swept);
            };
            swept.cuts += 1;
            if self.and_after && !within.is_empty() {
                let after = self.at("write", nth + 1, &mut swept)?;
                swept.after.extend(after.into_iter().flatten());
            }
            swept.within.extend(within);
        }
        anyhow::bail!("more than {MOST} cuts")
    }

    fn at(&self, name: &str, nth: usize, swept: &mut Swept) -> Result<Option<BTreeSet<String>>> {
        let context = || format!("at {name} {nth}");
        self.one(name, nth, swept).with_context(context)
    }

    /// The steps into which the cut fell; `None` where there was nothing more to cut.
    fn one(&self, name: &str, nth: usize, swept: &mut Swept) -> Result<Option<BTreeSet<String>>> {
        let Scene { world, ending } = self.scene;
        self.scene.reset()?;
        let runs = world.runs()?;
        let on = (self.prepare)()?;
        // What is in the journal already is out of reach.
        let before = if on.is_some() {
            batches(&journal(&world.state())?)
        } else {
            0
        };
        let on = on.as_deref();
        let was_cut = cut(world, &Call { name, on, nth }, self.words, self.code)?;
        let records = journal(&world.state())?;
        if !was_cut {
            swept.batches = batches(&records) - before;
        }
        if was_cut || self.code != 0 {
            (self.mend)()?;
            go_on(world, runs, &RECOVER, &ACCEPT)?;
        }
        swept.repeats += ending.check(world)?;
        swept.stopped_again += usize::from(stopped_again(&journal(&world.state())?)?);
        Ok(was_cut.then(|| under_way(&records)))
    }
}

/// How many batches these records are of.
pub(crate) fn batches(records: &[Value]) -> usize {
    let all: BTreeSet<Option<u64>> = records.iter().map(|record| record["batch"].as_u64()).collect();
    all.len()
}

/// Whether the application was let run on the old database meanwhile. Then it was stopped again before the switch began.
fn stopped_again(records: &[Value]) -> Result<bool> {
    let undone = of_kind(records, "step-undone");
    if undone.iter().all(|record| record["step"] != "quiesce") {
        return Ok(false);
    }
    let undone = place(records, "step-undone", "quiesce", 0)?;
    let again = place(records, "step-succeeded", "quiesce", 1)?;
    let switch = place(records, "step-started", "switch", 0)?;
    ensure!(
        undone < again && again < switch,
        "let run at {undone}, stopped again at {again}, switched at {switch}"
    );
    Ok(true)
}

/// The steps that have begun and not ended.
pub(crate) fn under_way(records: &[Value]) -> BTreeSet<String> {
    let mut begun = BTreeSet::new();
    for record in records {
        let Some(step) = record["step"].as_str() else { continue };
        match record["kind"].as_str() {
            Some("step-started") => drop(begun.insert(step.to_owned())),
            Some("step-succeeded" | "step-failed") => drop(begun.remove(step)),
            _ => {}
        }
    }
    begun
}

/// Runs the binary until the call; `false` where it came to its own end before, which is to be this one.
pub(crate) fn cut(world: &World, call: &Call, words: &[&str], code: i32) -> Result<bool> {
    let log = world.folder().join("strace.log");
    let mut strace = Command::new("strace");
    world.enter(&mut strace);
    let Call { name, on, nth } = call;
    strace.args(["-f", "-qq", "-b", "execve", "-e", &format!("trace={name}")]);
    strace.args(["-e", &format!("inject={name}:signal=SIGKILL:when={nth}")]);
    if let Some(file) = on {
        strace.arg("-P").arg(file);
    }
    let output = strace.arg("-o").arg(&log).arg(JM).args(words).output()?;
    // strace ends as the program ended that it traced.
    if output.status.signal() != Some(9) {
        ensure!(
            output.status.code() == Some(code),
            "not cut at {name} {nth}, and not ended by {code}: {}",
            said(&output)
        );
        return Ok(false);
    }
    let traced = std::fs::read_to_string(&log)?;
    let last_of = |thread: &str| {
        let calls = traced
            .lines()
            .filter(|line| line.starts_with(thread) && line.contains(&format!("{name}(")));
        calls.count()
    };
    let threads = traced.lines().filter_map(|line| line.split_whitespace().next());
    ensure!(
        traced.contains("killed by SIGKILL") && threads.clone().any(|thread| last_of(thread) == *nth),
        "the cut at {name} {nth} did not cut there: {traced}"
    );
    Ok(true)
}

/// A real world whose PostgreSQL need not outlive this machine.
fn world() -> Result<World> {
    World::real_with(&["--no-fsync"])
}

/// Every word of the recovery.
fn recover() -> Vec<&'static str> {
    RECOVER.into_iter().chain(ACCEPT).collect()
}

/// Every word that goes on with it.
fn resume() -> Vec<&'static str> {
    RESUME.into_iter().chain(ACCEPT).collect()
}

/// The steps of a recovery whose old database still serves, where each writes or proves something.
const STEPS: [&str; 7] = ["quiesce", "safety", "restore", "verify", "switch", "resume", "tell"];

#[test]
fn a_recovery_that_is_killed_at_any_sync_ends_as_if_it_had_not_been() -> Result<()> {
    // The old database serves still, so that it is saved first.
    let scene = Scene::set(world()?, true)?;
    let sweep = Sweep {
        scene: &scene,
        name: "fdatasync",
        and_after: false,
        words: &recover(),
        code: 0,
        prepare: &|| Ok(None),
        mend: &|| Ok(()),
    };
    sweep.all()?.reached(&STEPS)
}

#[test]
fn a_recovery_that_is_killed_at_any_write_ends_as_if_it_had_not_been() -> Result<()> {
    // Here too it is saved first: what is saved, and not written down, must not be saved a second time.
    let scene = Scene::set(world()?, true)?;
    let world = &scene.world;
    // Stopped before its first step, for no cluster answers, with a journal whose name is known.
    let elsewhere = world.folder().join("kubeconfig-of-nobody");
    let kubeconfig = std::fs::read_to_string(world.systems.variable("KUBECONFIG"))?;
    let (before, server) = kubeconfig.split_once("server: ").context("a server")?;
    let after = server.split_once('\n').map_or("", |(_, after)| after);
    std::fs::write(&elsewhere, format!("{before}server: https://127.0.0.1:1\n{after}"))?;
    let stopped = || -> Result<Option<PathBuf>> {
        let output = world.recover().env("KUBECONFIG", &elsewhere).output()?;
        let records = journal(&world.state())?;
        let stopped = records.last().is_some_and(|record| record["kind"] == "run-stopped");
        ensure!(
            stopped && of_kind(&records, "step-started").is_empty(),
            "{}",
            said(&output)
        );
        journal_file(world, &records).map(Some)
    };
    let sweep = Sweep {
        scene: &scene,
        name: "write",
        and_after: false,
        words: &resume(),
        code: 0,
        prepare: &stopped,
        mend: &|| Ok(()),
    };
    let swept = sweep.all()?;
    swept.reached(&STEPS)?;
    ensure!(
        swept.repeats >= 1,
        "no delivery was repeated, so nothing was proven of its key"
    );
    Ok(())
}

#[test]
fn a_recovery_that_is_killed_while_it_puts_things_back_ends_as_if_it_had_not_been() -> Result<()> {
    let scene = Scene::set(world()?, true)?;
    let world = &scene.world;
    // Restored, and a table hidden: `verify` fails, and the application runs on the old database again.
    let doomed = || -> Result<Option<PathBuf>> {
        let output = world.recover().args(ACCEPT).args(["--until", "verify"]).output()?;
        ensure!(output.status.code() == Some(5), "{}", said(&output));
        let records = journal(&world.state())?;
        world.query(&copy(&records)?, "ALTER TABLE game_data RENAME TO hidden")?;
        journal_file(world, &records).map(Some)
    };
    let mend = || -> Result<()> {
        let copy = copy(&journal(&world.state())?)?;
        world.query(&copy, "ALTER TABLE hidden RENAME TO game_data").map(drop)
    };
    let sweep = Sweep {
        scene: &scene,
        name: "fdatasync",
        // Every write besides would take twice as long, and prove no more.
        and_after: true,
        words: &resume(),
        code: 4,
        prepare: &doomed,
        mend: &mend,
    };
    let swept = sweep.all()?;
    let steps = ["verify", "put-back", "tell"];
    swept.reached(&steps)?;
    let missed: Vec<_> = steps.iter().filter(|step| !swept.after.contains(**step)).collect();
    ensure!(missed.is_empty(), "no cut after {missed:?}: {:?}", swept.after);
    // By the run that came to its own end, and by one at least that was cut while it put things back.
    ensure!(swept.stopped_again >= 2, "stopped again {} times", swept.stopped_again);
    Ok(())
}

pub(crate) fn journal_file(world: &World, records: &[Value]) -> Result<PathBuf> {
    let run = records[0]["run"]["id"].as_str().context("an id")?;
    Ok(world.state().join("runs").join(run).join("journal.jsonl"))
}

/// The database that was restored.
fn copy(records: &[Value]) -> Result<String> {
    let all = of_kind(records, "step-succeeded");
    let restore = all.into_iter().find(|record| record["step"] == "restore");
    let output = &restore.context("a restore")?["output"]["inline"];
    Ok(output["database"].as_str().context("a copy")?.to_owned())
}

#[test]
fn before_the_first_record_there_is_nothing_to_resume() -> Result<()> {
    let scene = Scene::set(World::sandbox()?, false)?;
    let world = &scene.world;
    // The run's directory, its plan and its journal are synced before the first record is written.
    for nth in 1..MOST {
        scene.reset()?;
        let runs = world.runs()?;
        let call = Call {
            name: "fsync",
            on: None,
            nth,
        };
        let was_cut = cut(world, &call, &RECOVER, 0)?;
        if !was_cut || !journal(&world.state())?.is_empty() && world.runs()? > runs {
            ensure!(nth > 3, "only {} cuts before the first record", nth - 1);
            return Ok(());
        }
        go_on(world, runs, &RECOVER, &[])?;
        scene.ending.check(world)?;
    }
    Ok(())
}

/// Nothing of what is waited for here takes so long.
const PATIENCE: Duration = Duration::from_secs(30);

fn until(what: &str, is_so: impl Fn() -> Result<bool>) -> Result<()> {
    let began = Instant::now();
    while !is_so()? {
        ensure!(began.elapsed() < PATIENCE, "it was waited for in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// A file's text; none where it is not there.
fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn signal(name: &str, process: u32) -> Result<()> {
    let output = Command::new("kill").args([name, &process.to_string()]).output()?;
    ensure!(output.status.success(), "{}", said(&output));
    Ok(())
}

/// Whether a process is gone; nobody may have asked yet how it ended.
fn is_gone(process: u32) -> bool {
    let status = text(Path::new(&format!("/proc/{process}/status")));
    status.is_empty() || status.contains("State:\tZ")
}

/// Runs a recovery until its nth `fsync`, and leaves it stopped there. Gives its process.
fn stopped_at(world: &World, nth: usize) -> Result<u32> {
    let log = world.folder().join("stop.log");
    drop(std::fs::remove_file(&log));
    let mut strace = Command::new("strace");
    world.enter(&mut strace);
    strace.args(["-f", "-qq", "-b", "execve", "-e", "trace=fsync"]);
    strace.args(["-e", &format!("inject=fsync:signal=SIGSTOP:when={nth}")]);
    strace.arg("-o").arg(&log).arg(JM).args(RECOVER);
    let mut strace = strace.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    until("the stop", || Ok(text(&log).contains("stopped by SIGSTOP")))?;
    let children = text(Path::new(&format!("/proc/{0}/task/{0}/children", strace.id())));
    let process = children.split_whitespace().next().context("a child")?.parse()?;
    // What is traced by one cannot be traced by another; what is stopped stays so when its tracer is gone.
    strace.kill()?;
    strace.wait()?;
    Ok(process)
}

/// The journal of a run that has none of its records yet.
fn empty_journal(world: &World, runs: usize) -> Result<Option<PathBuf>> {
    let folder = world.state().join("runs");
    if world.runs()? == runs {
        return Ok(None);
    }
    let mut all: Vec<PathBuf> = std::fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    all.sort();
    let journal = all.pop().context("a run")?.join("journal.jsonl");
    Ok(journal.exists().then_some(journal))
}

#[test]
fn a_recovery_that_is_killed_at_its_very_first_write_has_nothing_to_resume() -> Result<()> {
    let scene = Scene::set(World::sandbox()?, false)?;
    let world = &scene.world;
    scene.reset()?;
    for nth in 1..MOST {
        let runs = world.runs()?;
        let process = stopped_at(world, nth)?;
        let Some(journal) = empty_journal(world, runs)? else {
            signal("-KILL", process)?;
            until("its end", || Ok(is_gone(process)))?;
            continue;
        };
        ensure!(text(&journal).is_empty(), "it was stopped after its first write");
        // Now that its name is known, the calls can be narrowed to it.
        let log = world.folder().join("first-write.log");
        let mut strace = Command::new("strace");
        strace.args([
            "-f",
            "-qq",
            "-e",
            "trace=write",
            "-e",
            "inject=write:signal=SIGKILL:when=1",
        ]);
        strace.arg("-P").arg(&journal).arg("-o").arg(&log);
        strace.args(["-p", &process.to_string()]);
        let mut strace = strace.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let traced = format!("TracerPid:\t{}", strace.id());
        let tasks = format!("/proc/{process}/task");
        until("the tracer", || {
            let mut tasks = std::fs::read_dir(&tasks)?;
            Ok(tasks.all(|task| task.is_ok_and(|task| text(&task.path().join("status")).contains(&traced))))
        })?;
        signal("-CONT", process)?;
        until("its end", || Ok(is_gone(process)))?;
        strace.wait()?;
        let seen = text(&log);
        ensure!(
            seen.contains("write(") && seen.contains("killed by SIGKILL"),
            "not cut there: {seen}"
        );
        ensure!(text(&journal).is_empty(), "something was written");
        go_on(world, runs, &RECOVER, &[])?;
        return scene.ending.check(world).map(drop);
    }
    anyhow::bail!("no stop between the journal's making and its first record")
}
