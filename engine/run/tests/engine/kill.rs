//! A process that is killed, again and again, and a journal on disk.

#![expect(
    clippy::disallowed_methods,
    reason = "the test starts itself once more, and tells it where to work"
)]

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use jm_run::journal::{FileJournal, JournalError};
use jm_run::{Run, RunStatus, Silent, StateDir};
use jm_step::{RunId, RunInfo};

use crate::resume::{everything, sorted};

/// Where the process that is killed works, and as which run.
const DIR: &str = "JM_TEST_DIR";
const RUN: &str = "JM_TEST_KILLED_RUN";

/// Killed after longer and longer times, the run comes to its end, and every effect took place exactly once.
#[tokio::test]
async fn a_process_that_is_killed_is_taken_up_by_the_next_one() {
    if let Ok(dir) = std::env::var(DIR) {
        return live(&dir, &std::env::var(RUN).expect("told")).await;
    }
    let temp = tempfile::tempdir().expect("a directory");
    let run = RunId::generate();
    let file = temp.path().join("effects").to_string_lossy().into_owned();
    let mut kills = 0;
    for patience in (0..4_000).step_by(7) {
        let status = run_for(temp.path(), &run, Duration::from_millis(patience));
        if status.success() {
            break;
        }
        assert_eq!(status.signal(), Some(9), "it may be killed, and nothing else");
        kills += 1;
    }
    assert!(kills > 2, "it was killed {kills} times only");
    assert_eq!(
        sorted(&file, run.as_str()).len(),
        8,
        "{:?}",
        sorted(&file, run.as_str())
    );
    let state = StateDir::open(temp.path()).expect("opens");
    let records = state
        .find(run.as_str())
        .expect("there")
        .read()
        .expect("readable")
        .records;
    let state = jm_run::RunState::replay(&records).expect("legal");
    assert_eq!(state.closed(), Some(RunStatus::Completed));
}

fn run_for(dir: &std::path::Path, run: &RunId, patience: Duration) -> std::process::ExitStatus {
    let mut child = Command::new(std::env::current_exe().expect("known"))
        .args(["kill::a_process_that_is_killed_is_taken_up_by_the_next_one", "--exact"])
        .env(DIR, dir)
        .env(RUN, run.as_str())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("started");
    // From the moment at which there is something to be killed in.
    let journal = dir.join("runs").join(run.as_str()).join("journal.jsonl");
    while !journal.exists() && child.try_wait().expect("known").is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(patience);
    child.kill().expect("ours");
    child.wait().expect("known")
}

/// What the process does that is killed.
async fn live(dir: &str, run: &str) {
    let state = StateDir::open(dir).expect("opens");
    let plan = everything(&format!("{dir}/effects"));
    let compiled = jm_testkit::compile(&plan, &jm_testkit::registry());
    let info = RunInfo {
        id: run.parse().expect("an id"),
        ..jm_testkit::info(compiled.name())
    };
    let mut run = Run::new(compiled, info);
    let (mut journal, prior) = match state
        .find(run.info.id.as_str())
        .map(|dir| FileJournal::open(dir.path()))
    {
        Ok(Ok((journal, reading))) => (journal, reading.records),
        // Killed before the first record: there is nothing to resume.
        Ok(Err(JournalError::Empty { .. } | JournalError::Io { .. })) | Err(_) => {
            let dir = state.create_run(&run.info.id, &plan).expect("made");
            drop(std::fs::remove_file(dir.journal()));
            (FileJournal::create(dir.path()).expect("created"), Vec::new())
        }
        Ok(Err(error)) => panic!("a kill does not damage a journal: {error}"),
    };
    run.files = Arc::new(state.find(run.info.id.as_str()).expect("made"));
    let end = jm_run::run(&run, &prior, &mut journal, &mut Silent).await;
    assert!(
        matches!(
            end,
            Ok(RunStatus::Completed) | Err(jm_run::RunError::Over(RunStatus::Completed))
        ),
        "{end:?}"
    );
}
