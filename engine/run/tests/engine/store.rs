//! Runs on disk: files, words for dead and living runs.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use jm_run::journal::{FileJournal, MemoryJournal, OperatorVerb, Tail};
use jm_run::{
    Delivered, OperatorError, Reporter, Run, RunDir, RunError, RunStatus, Silent, StateDir, TargetLock, lock, operator,
};

use crate::{id, info};

const PLAN: &str = "apiVersion: jm/v1
name: kept
steps:
  - { id: ask, uses: test.ask, with: { question: 'may it?' } }
  - { id: big, uses: test.save, with: { bytes: 100000 } }
  - { id: say, uses: test.echo, needs: [ask], with: { value: '${{ steps.big.outputs.value | length }}' } }
";

fn run_in(state: &StateDir) -> (Run, RunDir) {
    let plan = jm_testkit::compile(PLAN, &jm_testkit::registry());
    let mut run = Run::new(plan, info());
    let dir = state.create_run(&run.info.id, PLAN).expect("made");
    run.files = Arc::new(dir.clone());
    (run, dir)
}

async fn go(run: &Run, dir: &RunDir, reporter: &mut dyn Reporter) -> RunStatus {
    let first = !dir.journal().exists();
    let (mut journal, prior) = if first {
        (FileJournal::create(dir.path()).expect("created"), Vec::new())
    } else {
        let (journal, reading) = FileJournal::open(dir.path()).expect("opened");
        (journal, reading.records)
    };
    jm_run::run(run, &prior, &mut journal, reporter)
        .await
        .expect("it comes to an end")
}

#[tokio::test]
async fn a_run_is_kept_for_its_owner_and_taken_up_from_disk() {
    let temp = tempfile::tempdir().expect("a directory");
    let state = StateDir::open(temp.path().join("state")).expect("opens");
    let (run, dir) = run_in(&state);
    assert_eq!(go(&run, &dir, &mut Silent).await, RunStatus::Waiting);
    for path in [dir.journal(), dir.log_path(&id("ask"), 1)] {
        if let Ok(meta) = path.metadata() {
            assert_eq!(meta.permissions().mode() & 0o777, 0o600, "{}", path.display());
        }
    }
    assert_eq!(
        state.path().metadata().expect("there").permissions().mode() & 0o777,
        0o700
    );
    let wrong = operator(&dir, OperatorVerb::Approve, Some(id("nobody")), "so", "ada".to_owned());
    assert!(matches!(wrong, Err(OperatorError::DoesNotFit(_))), "{wrong:?}");
    let wrong = operator(&dir, OperatorVerb::Approve, Some(id("say")), "so", "ada".to_owned());
    assert!(matches!(wrong, Err(OperatorError::DoesNotFit(why)) if why.contains("asks nothing")));
    let said = operator(&dir, OperatorVerb::Approve, Some(id("ask")), "so", "ada".to_owned());
    assert_eq!(said.expect("taken"), Delivered::ToJournal);
    assert!(!dir.is_alive());
    assert_eq!(go(&run, &dir, &mut Silent).await, RunStatus::Completed);
    let mut tail = Tail::open(&dir.journal()).expect("opened");
    assert_eq!(tail.read().expect("read"), dir.read().expect("read").records);
    assert_eq!(dir.logs().len(), 1, "only `say` logs");
}

#[tokio::test]
async fn a_word_for_a_living_run_goes_through_its_inbox() {
    let temp = tempfile::tempdir().expect("a directory");
    let state = StateDir::open(temp.path()).expect("opens");
    let plan = "apiVersion: jm/v1\nname: alive\nsteps:\n  - { id: ask, uses: test.ask, with: { question: 'may it?' } }\n  - { id: busy, uses: test.echo, with: { value: 1, takes: 1200 } }\n";
    let mut run = Run::new(jm_testkit::compile(plan, &jm_testkit::registry()), info());
    let dir = state.create_run(&run.info.id, plan).expect("made");
    run.files = Arc::new(dir.clone());
    let speak = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        assert!(dir.is_alive());
        // It waits until it is heard: by another process, so the run has to go on meanwhile.
        let dir = dir.clone();
        let say = move || operator(&dir, OperatorVerb::Approve, Some(id("ask")), "so", "ada".to_owned());
        tokio::task::spawn_blocking(say).await.expect("said").expect("taken")
    };
    let mut silent = Silent;
    let (end, delivered) = tokio::join!(go(&run, &dir, &mut silent), speak);
    assert_eq!((end, delivered), (RunStatus::Completed, Delivered::Heard));
    let left = std::fs::read_dir(dir.path().join("inbox")).expect("there").count();
    assert_eq!(left, 0, "the inbox is empty again");
}

#[tokio::test]
async fn a_run_that_loses_its_lock_stops() {
    let temp = tempfile::tempdir().expect("a directory");
    let state = StateDir::open(temp.path()).expect("opens");
    let plan = "apiVersion: jm/v1\nname: held\nsteps:\n  - { id: a, uses: test.hang }\n";
    let mut run = Run::new(jm_testkit::compile(plan, &jm_testkit::registry()), info());
    let holder = lock::Holder {
        targets: "production".to_owned(),
        owner: "ada@bastion".to_owned(),
        host: "bastion".to_owned(),
        run: run.info.id.clone(),
    };
    let system = lock::System {
        target: "box".parse().expect("a name"),
        what: "box a".to_owned(),
    };
    run.lock = Some(Arc::new(
        TargetLock::acquire(&state.locks(), holder, [system]).expect("free"),
    ));
    let take = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        lock::release(&state.locks(), "production", "bastion", true).expect("released");
    };
    let mut journal = MemoryJournal::new();
    let mut silent = Silent;
    let (end, ()) = tokio::join!(jm_run::run(&run, &[], &mut journal, &mut silent), take);
    assert!(matches!(end, Err(RunError::LockLost(why)) if why.contains("force")));
}

#[tokio::test]
async fn an_artefact_that_is_gone_is_as_bad_as_a_damaged_journal() {
    let temp = tempfile::tempdir().expect("a directory");
    let state = StateDir::open(temp.path()).expect("opens");
    let (run, dir) = run_in(&state);
    assert_eq!(go(&run, &dir, &mut Silent).await, RunStatus::Waiting);
    for file in std::fs::read_dir(dir.path().join("artefacts")).expect("there") {
        std::fs::write(file.expect("known").path(), "else").expect("written");
    }
    let (mut journal, reading) = FileJournal::open(dir.path()).expect("opened");
    let end = jm_run::run(&run, &reading.records, &mut journal, &mut Silent).await;
    assert!(matches!(end, Err(RunError::Journal(_))), "{end:?}");
}
