//! What the engine costs beside its journal: a chain of 1,000 steps that do nothing, and 1,000 of them in parallel, each
//! beside the bare syncs of a journal of the same shape, measured in the same run on the same disk.
//!
//! `cargo bench -p jm-run`; `JM_BENCH_DIR` names the disk, `JM_BENCH_STEPS` the number of steps. A goal that is missed makes
//! it end with 1.

#![expect(clippy::print_stdout, reason = "a benchmark's result is what it prints")]
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a benchmark reads its own settings from the environment, and the journal that it measures"
)]
#![expect(clippy::cast_precision_loss, reason = "steps and syncs are few")]

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jm_run::journal::{FileJournal, MemoryJournal};
use jm_run::{Run, RunDir, RunStatus, Silent, StateDir};

/// How often each figure is taken; the median counts.
const ROUNDS: usize = 9;
/// The most that a chain may take, in the time of its syncs alone.
const CHAIN_GOAL: f64 = 1.3;
/// The most that a step of many in parallel may take beside the syncs, in milliseconds.
const PARALLEL_GOAL: f64 = 0.1;

fn main() -> ExitCode {
    let steps = std::env::var("JM_BENCH_STEPS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1_000);
    let temp = match std::env::var("JM_BENCH_DIR") {
        Ok(dir) => tempfile::tempdir_in(dir),
        Err(_) => tempfile::tempdir(),
    };
    let temp = temp.expect("a directory");
    let state = StateDir::open(temp.path()).expect("opens");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("starts");
    let mut all_met = true;
    for (name, plan) in [("chain", chain(steps)), ("parallel", parallel(steps))] {
        let measured: Vec<Measured> = (0..ROUNDS).map(|_| measure(&runtime, &state, &plan)).collect();
        all_met &= report(name, steps, &measured);
    }
    ExitCode::from(u8::from(!all_met))
}

struct Measured {
    engine: Duration,
    syncs_alone: Duration,
    without_disk: Duration,
    syncs: usize,
    records: usize,
}

fn chain(steps: usize) -> String {
    let step = |i: usize| match i {
        0 => "  - { id: s0, uses: test.noop }\n".to_owned(),
        _ => format!("  - {{ id: s{i}, uses: test.noop, needs: [s{}] }}\n", i - 1),
    };
    (0..steps).fold(head("chain"), |plan, i| plan + &step(i))
}

fn parallel(steps: usize) -> String {
    let step = |i: usize| format!("  - {{ id: s{i}, uses: test.noop }}\n");
    (0..steps).fold(head("parallel"), |plan, i| plan + &step(i))
}

fn head(name: &str) -> String {
    format!("apiVersion: jm/v1\nname: {name}\nsteps:\n")
}

fn measure(runtime: &tokio::runtime::Runtime, state: &StateDir, text: &str) -> Measured {
    let plan = jm_testkit::compile(text, &jm_testkit::registry());
    let mut run = Run::new(plan, jm_testkit::info("bench"));
    let dir = state.create_run(&run.info.id, text).expect("made");
    run.files = Arc::new(dir.clone());
    let mut journal = FileJournal::create(dir.path()).expect("created");
    let began = Instant::now();
    let end = runtime
        .block_on(jm_run::run(&run, &[], &mut journal, &mut Silent))
        .expect("runs");
    let engine = began.elapsed();
    assert_eq!(end, RunStatus::Completed);
    drop(journal);
    let batches = batches_of(&dir);
    let began = Instant::now();
    write_again(&dir.path().join("alone"), &batches);
    let syncs_alone = began.elapsed();
    let began = Instant::now();
    let mut memory = MemoryJournal::new();
    let end = runtime
        .block_on(jm_run::run(&run, &[], &mut memory, &mut Silent))
        .expect("runs");
    assert_eq!(end, RunStatus::Completed);
    Measured {
        engine,
        syncs_alone,
        without_disk: began.elapsed(),
        syncs: batches.len(),
        records: dir.read().expect("read").records.len(),
    }
}

/// The bytes of each batch, as they were written.
fn batches_of(dir: &RunDir) -> Vec<Vec<u8>> {
    let records = dir.read().expect("read").records;
    let text = std::fs::read_to_string(dir.journal()).expect("read");
    let mut batches: Vec<Vec<u8>> = Vec::new();
    for (record, line) in records.iter().zip(text.split_inclusive('\n')) {
        match batches.last_mut().filter(|_| record.seq != record.batch) {
            Some(batch) => batch.extend_from_slice(line.as_bytes()),
            None => batches.push(line.as_bytes().to_vec()),
        }
    }
    batches
}

/// The journal's writes and syncs, and nothing else.
fn write_again(path: &Path, batches: &[Vec<u8>]) {
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .expect("created");
    for batch in batches {
        file.write_all(batch).expect("written");
        file.sync_data().expect("synced");
    }
}

/// Prints the figures. Gives whether the goal is met.
fn report(name: &str, steps: usize, measured: &[Measured]) -> bool {
    let median = |figure: fn(&Measured) -> f64| {
        let mut figures: Vec<f64> = measured.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    };
    let engine = median(|m| m.engine.as_secs_f64() * 1e3);
    let alone = median(|m| m.syncs_alone.as_secs_f64() * 1e3);
    let without = median(|m| m.without_disk.as_secs_f64() * 1e3);
    let ratio = median(|m| m.engine.as_secs_f64() / m.syncs_alone.as_secs_f64());
    let beside = median(|m| (m.engine.as_secs_f64() - m.syncs_alone.as_secs_f64()) * 1e3);
    let (records, syncs) = (measured[0].records, median(|m| m.syncs as f64));
    let steps_f = steps as f64;
    println!("{name}: {steps} steps, {records} records, {syncs} syncs (medians of {ROUNDS})");
    println!("  engine {engine:.1} ms, its syncs alone {alone:.1} ms, ratio {ratio:.2}");
    println!(
        "  beside the syncs {:.4} ms a step; without a disk {:.4} ms a step",
        beside / steps_f,
        without / steps_f
    );
    let (met, goal) = match name {
        "chain" => (ratio <= CHAIN_GOAL, format!("ratio at most {CHAIN_GOAL}")),
        _ => (
            beside / steps_f < PARALLEL_GOAL,
            format!("under {PARALLEL_GOAL} ms a step beside the syncs"),
        ),
    };
    println!("  goal: {goal}, {}", if met { "met" } else { "MISSED" });
    met
}
