//! What a run has made on the machine, and what is not there any more when it goes on.

use jm_run::{Record, RecordKind, RunStatus};
use jm_testkit::effects_in;

use crate::{Session, effects};

/// What was made on a machine, and is still needed, is made again where it is gone; what was done with it goes with it.
#[tokio::test]
async fn what_is_gone_from_this_machine_is_made_again_where_it_is_needed() {
    let (temp, file) = effects();
    let place = |name: &str| temp.path().join(name).to_string_lossy().into_owned();
    let (tree, used, broken) = (place("tree"), place("used"), place("broken"));
    std::fs::write(&broken, "x").expect("written");
    let mut session = Session::new(&format!(
        "apiVersion: jm/v1
name: made
steps:
  - {{ id: used, uses: test.make, with: {{ file: '{used}' }} }}
  - {{ id: done, uses: test.once, with: {{ file: '{file}', name: '${{{{ steps.used.outputs.file }}}}' }} }}
  - {{ id: tree, uses: test.make, with: {{ file: '{tree}' }} }}
  - {{ id: build, uses: test.once, with: {{ file: '{file}', name: '${{{{ steps.tree.outputs.file }}}}/dist' }} }}
  - {{ id: publish, uses: test.fail, needs: [done], with: {{ while: '{broken}', message: '${{{{ steps.build.outputs.line }}}}' }} }}
"
    ));
    assert_eq!(session.go().await, RunStatus::Failed);
    assert_eq!(session.go().await, RunStatus::Failed);
    let tries = |session: &Session| ["used", "done", "tree", "build"].map(|step| session.keys(step).len());
    assert_eq!(tries(&session), [1, 1, 1, 1], "all is there");

    std::fs::remove_file(&used).expect("gone");
    std::fs::remove_file(&tree).expect("gone");
    std::fs::remove_file(&broken).expect("mended");
    let dry = jm_run::dry_run(&session.run, &session.records, &mut session.reporter.clone()).await;
    let dry = dry.expect("tried");
    let ahead = dry
        .steps
        .iter()
        .filter(|step| step.status == jm_run::DryStatus::WillRun);
    let ahead: Vec<&str> = ahead.map(|step| step.id.as_str()).collect();
    assert_eq!(ahead, ["tree", "build", "publish"]);

    assert_eq!(session.go().await, RunStatus::Completed);
    assert_eq!(tries(&session), [1, 1, 2, 2], "what nobody needs any more is let be");
    assert!(std::path::Path::new(&tree).exists());
    let is_told = |record: &Record| {
        matches!(&record.kind, RecordKind::StepAnew { step, because }
            if step.as_str() == "tree" && because.contains("not on this machine"))
    };
    assert!(session.records.iter().any(is_told));
}

/// A tree, a step that works in it, and one that comes after that.
fn worked_in(tree: &str, uses: &str, file: &str, broken: &str) -> Session {
    Session::new(&format!(
        "apiVersion: jm/v1
name: worked
steps:
  - {{ id: sure, uses: test.recover, with: {{ recovery_point: '', serving: false }} }}
  - {{ id: tree, uses: test.make, with: {{ file: '{tree}' }} }}
  - {{ id: work, uses: {uses}, needs: [sure], with: {{ file: '{file}', name: '${{{{ steps.tree.outputs.file }}}}' }} }}
  - {{ id: publish, uses: test.fail, needs: [work], with: {{ while: '{broken}', message: '${{{{ steps.tree.outputs.file }}}}' }} }}
"
    ))
}

/// Whatever became of a step that was under way, its probe is asked before what it worked in is made anew.
#[tokio::test]
async fn a_step_that_was_under_way_in_what_is_gone_is_asked_for_first() {
    for (uses, took) in [
        ("test.once", true),
        ("test.once", false),
        ("test.final", true),
        ("test.final", false),
    ] {
        let (temp, file) = effects();
        let tree = temp.path().join("tree").to_string_lossy().into_owned();
        let mut session = worked_in(&tree, uses, &file, "/nowhere");
        assert_eq!(session.go().await, RunStatus::Completed);
        let began =
            |record: &Record| matches!(&record.kind, RecordKind::StepStarted { step, .. } if step.as_str() == "work");
        let killed = session.records.iter().position(began).expect("it began");
        session.records.truncate(killed + 1);
        std::fs::remove_file(&tree).expect("gone");
        if !took {
            std::fs::remove_file(&file).expect("it had not come so far");
        }
        let end = session.go().await;
        assert_eq!(effects_in(&file).len(), 1, "{uses}, {took}: it happens once");
        let (works, trees) = (session.keys("work").len(), session.keys("tree").len());
        let expected = if took { 1 } else { 2 };
        assert_eq!(
            (end, works, trees),
            (RunStatus::Completed, expected, expected),
            "{uses}, {took}"
        );
    }
}

#[tokio::test]
async fn what_cannot_be_taken_back_is_not_done_again_with_what_is_gone() {
    let (temp, file) = effects();
    let place = |name: &str| temp.path().join(name).to_string_lossy().into_owned();
    let (tree, broken) = (place("tree"), place("broken"));
    std::fs::write(&broken, "x").expect("written");
    let mut session = worked_in(&tree, "test.final", &file, &broken);
    assert_eq!(session.go().await, RunStatus::Failed);
    std::fs::remove_file(&tree).expect("gone");
    std::fs::remove_file(&broken).expect("mended");
    assert_eq!(session.go().await, RunStatus::Completed);
    let tries = ["tree", "work", "publish"].map(|step| session.keys(step).len());
    assert_eq!((tries, effects_in(&file).len()), ([2, 1, 2], 1));
    let is_told = |record: &Record| {
        matches!(&record.kind, RecordKind::StepAnew { step, because }
            if step.as_str() == "tree" && because.contains("`work`") && because.contains("jm run retry"))
    };
    assert!(session.records.iter().any(is_told), "whoever needs it again can say so");
}

/// What is made anew, and what looks again, needs in its turn what it was made of.
#[tokio::test]
async fn what_is_gone_is_made_again_with_all_that_it_is_made_of() {
    let (temp, _) = effects();
    let place = |name: &str| temp.path().join(name).to_string_lossy().into_owned();
    let (source, list, broken) = (place("source"), place("list"), place("broken"));
    std::fs::write(&broken, "x").expect("written");
    let mut session = Session::new(&format!(
        "apiVersion: jm/v1
name: chain
steps:
  - {{ id: source, uses: test.make, with: {{ file: '{source}' }} }}
  - {{ id: bundle, uses: test.make, with: {{ file: '${{{{ steps.source.outputs.file }}}},bundle' }} }}
  - {{ id: list, uses: test.make, with: {{ file: '{list}' }} }}
  - {{ id: pushed, uses: test.look, with: {{ file: '${{{{ steps.list.outputs.file }}}}' }} }}
  - {{ id: tree, uses: test.make, needs: [pushed], with: {{ file: '${{{{ steps.bundle.outputs.file }}}},tree' }} }}
  - {{ id: build, uses: test.fail, with: {{ while: '{broken}', message: '${{{{ steps.tree.outputs.file }}}}' }} }}
"
    ));
    assert_eq!(session.go().await, RunStatus::Failed);
    let (bundle, tree) = (format!("{source},bundle"), format!("{source},bundle,tree"));
    for gone in [&source, &bundle, &list, &tree, &broken] {
        std::fs::remove_file(gone).expect("there");
    }
    assert_eq!(session.go().await, RunStatus::Completed);
    let tries = ["source", "bundle", "list", "pushed", "tree"].map(|step| session.keys(step).len());
    assert_eq!(tries, [2; 5]);
    assert_eq!(
        session.output("pushed")["content"],
        "made\n",
        "it looks at what is there again"
    );
}
