//! Broken off anywhere, a run goes on as if nothing had happened.

use jm_run::journal::MemoryJournal;
use jm_run::{Record, RecordKind, RunError, RunStatus};
use jm_step::StepId;
use jm_testkit::effects_in;

use crate::{Session, effects};

pub(crate) fn everything(file: &str) -> String {
    format!(
        "apiVersion: jm/v1
name: everything
max_parallel: 3
inputs: {{ extra: {{ type: boolean, default: false }} }}
steps:
  - {{ id: look, uses: test.look }}
  - {{ id: a, uses: test.once, needs: [look], with: {{ file: '{file}', name: a }} }}
  - {{ id: b, uses: test.once, needs: [look], with: {{ file: '{file}', name: b }} }}
  - {{ id: parts, uses: test.checkpoint, needs: [a], with: {{ file: '{file}', parts: 3 }} }}
  - {{ id: lost, uses: test.ambiguous, needs: [b], with: {{ file: '{file}', took: true }} }}
  - {{ id: unlost, uses: test.ambiguous, needs: [b], with: {{ file: '{file}', took: false }}, retry: {{ attempts: 2, backoff: {{ base: 1ms }} }} }}
  - {{ id: never, uses: test.once, if: '${{{{ inputs.extra }}}}', with: {{ file: '{file}', name: never }} }}
  - {{ id: c, uses: test.once, needs: [parts, lost, unlost, never], with: {{ file: '{file}', name: c }} }}
finally:
  - {{ id: tell, uses: test.echo, with: {{ value: '${{{{ run.status }}}}' }} }}
"
    )
}

pub(crate) fn sorted(file: &str, run: &str) -> Vec<String> {
    let mut lines: Vec<String> = effects_in(file).iter().map(|line| line.replace(run, "RUN")).collect();
    lines.sort();
    lines
}

/// The journal is cut after each of its records, as a kill would: each effect takes place exactly once all the same.
#[tokio::test]
async fn cut_after_every_record_every_effect_happens_exactly_once() {
    let (_temp, file) = effects();
    let mut whole = Session::new(&everything(&file));
    assert_eq!(whole.go().await, RunStatus::Completed);
    let expected = sorted(&file, whole.run.info.id.as_str());
    assert_eq!(expected.len(), 8, "{expected:?}");
    let records = whole.records.len();
    for cut in 1..records {
        let (_temp, file) = effects();
        let mut session = Session::new(&everything(&file));
        let mut journal = MemoryJournal::with_room(cut);
        let first = jm_run::run(&session.run, &[], &mut journal, &mut jm_run::Silent).await;
        assert!(
            matches!(first, Err(RunError::Journal(_))),
            "cut {cut} of {records}: {first:?}"
        );
        session.records = journal.records();
        let end = session.try_go().await;
        assert!(
            matches!(end, Ok(RunStatus::Completed)),
            "cut {cut}: {end:?}\n{:#?}",
            session.records
        );
        assert_eq!(sorted(&file, session.run.info.id.as_str()), expected, "cut {cut}");
    }
}

/// The same, cut again while it is being resumed.
#[tokio::test]
async fn cut_twice_every_effect_happens_exactly_once() {
    for cut in (2..24).step_by(3) {
        let (_temp, file) = effects();
        let mut session = Session::new(&everything(&file));
        for _ in 0..2 {
            let mut journal = MemoryJournal::with_room(cut);
            drop(jm_run::run(&session.run, &session.records, &mut journal, &mut jm_run::Silent).await);
            session.records.extend(journal.records());
        }
        if session.state().closed().is_none() {
            assert_eq!(session.go().await, RunStatus::Completed, "cut {cut}");
        }
        let lines = sorted(&file, session.run.info.id.as_str());
        assert_eq!(lines.len(), 8, "cut {cut}: {lines:?}");
    }
}

#[tokio::test]
async fn what_failed_is_mended_and_done_anew_and_what_was_looked_at_is_looked_at_again() {
    let (temp, file) = effects();
    let broken = temp.path().join("broken").to_string_lossy().into_owned();
    std::fs::write(&broken, "x").expect("written");
    let mut session = Session::new(&format!(
        "apiVersion: jm/v1
name: mended
steps:
  - {{ id: used, uses: test.look }}
  - {{ id: unused, uses: test.look }}
  - {{ id: choice, uses: test.noop, if: \"${{{{ steps.unused.outputs.attempt == 2 }}}}\" }}
  - {{ id: stop, uses: test.once, needs: [used], with: {{ file: '{file}', name: stop }} }}
  - {{ id: kept, uses: test.once, needs: [stop], with: {{ file: '{file}', name: kept }} }}
  - {{ id: verify, uses: test.fail, needs: [kept], with: {{ while: '{broken}' }} }}
  - {{ id: go, uses: test.once, needs: [verify], with: {{ file: '{file}', name: go }} }}
finally:
  - id: put-back
    uses: test.echo
    undoes: [stop]
    if: \"${{{{ steps.stop.status == 'succeeded' and steps.go.status != 'succeeded' }}}}\"
    with: {{ value: '${{{{ steps.stop.outputs.line }}}}' }}
"
    ));
    assert_eq!(session.go().await, RunStatus::Failed);
    assert_eq!(
        (session.status("stop"), session.status("put-back")),
        ("not-started", "succeeded")
    );
    assert_eq!((session.status("go"), session.status("choice")), ("blocked", "skipped"));
    std::fs::remove_file(&broken).expect("mended");
    assert_eq!(session.go().await, RunStatus::Completed);
    let keys = session.keys("stop");
    assert_eq!(keys.len(), 2, "undone, so done again");
    assert_ne!(keys[0], keys[1], "and a new deed has a new key");
    let place = |of: fn(&RecordKind) -> Option<&StepId>, step: &str| {
        let is = |record: &&Record| of(&record.kind).is_some_and(|id| id.as_str() == step);
        session.records.iter().rfind(is).expect("recorded").seq
    };
    let started: fn(&RecordKind) -> Option<&StepId> = |kind| match kind {
        RecordKind::StepStarted { step, .. } => Some(step),
        _ => None,
    };
    let succeeded: fn(&RecordKind) -> Option<&StepId> = |kind| match kind {
        RecordKind::StepSucceeded { step, .. } => Some(step),
        _ => None,
    };
    assert!(
        place(succeeded, "stop") < place(started, "verify") && place(succeeded, "stop") < place(started, "go"),
        "what was undone is done again before anything that comes after it, though `kept` lies between"
    );
    assert_eq!(
        session.keys("kept").len(),
        1,
        "it depends on what was undone, and is still good"
    );
    assert_eq!(session.keys("verify").len(), 2);
    assert_ne!(session.keys("verify")[0], session.keys("verify")[1]);
    assert_eq!(
        session.keys("used").len(),
        2,
        "all that came of it was undone, so it looks again"
    );
    assert_eq!(session.keys("unused").len(), 2, "nothing came of it yet");
    assert_eq!(
        session.status("choice"),
        "succeeded",
        "what was skipped by what was seen is decided again"
    );
    assert_eq!(
        session.status("put-back"),
        "skipped",
        "`finally` runs anew at the new end"
    );
}

#[tokio::test]
async fn what_failed_and_was_undone_since_is_told_until_it_is_done_anew() {
    let (temp, _) = effects();
    let broken = temp.path().join("broken").to_string_lossy().into_owned();
    std::fs::write(&broken, "x").expect("written");
    let mut session = Session::new(&format!(
        "apiVersion: jm/v1
name: undone
steps:
  - {{ id: stop, uses: test.noop }}
  - {{ id: safety, uses: test.fail, needs: [stop], why: never without, with: {{ while: '{broken}', message: no room }} }}
finally:
  - {{ id: put-back, uses: test.noop, undoes: [stop, safety], if: \"${{{{ steps.safety.status == 'failed' }}}}\" }}
  - {{ id: tell, uses: test.echo, with: {{ value: '${{{{ run.status }}}}: ${{{{ run.summary }}}}' }} }}
"
    ));
    assert_eq!(session.go().await, RunStatus::Failed, "nothing is left to do, and yet");
    assert_eq!(session.status("safety"), "not-started");
    let told = session.output("tell")["value"].as_str().expect("text").to_owned();
    assert!(
        told.starts_with("failed: ") && told.contains("`safety` failed: told to fail: no room"),
        "{told}"
    );
    let safety = |session: &Session| {
        let now = jm_step::clock::now();
        let summary = jm_run::summarize(&session.run.plan, &session.records, &session.files, now).expect("legal");
        summary.steps[1].clone()
    };
    let failed = safety(&session);
    assert!(failed.has_failed());
    assert_eq!(
        failed.error.map(|error| error.message).as_deref(),
        Some("told to fail: no room"),
        "the reason outlives the undoing"
    );
    assert_eq!(failed.why.as_deref(), Some("never without"));
    std::fs::remove_file(&broken).expect("mended");
    assert_eq!(session.go().await, RunStatus::Completed);
    assert!(safety(&session).error.is_none());
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_and_not_guessed() {
    let (_temp, file) = effects();
    let plan = |took: bool, tells: bool, attempts: u32| {
        format!(
            "apiVersion: jm/v1\nname: lost\nsteps:\n  - {{ id: a, uses: test.ambiguous, retry: {{ attempts: {attempts}, backoff: {{ base: 1ms }} }}, with: {{ file: '{file}', took: {took}, tells: {tells} }} }}\n"
        )
    };
    let mut session = Session::new(&plan(true, true, 1));
    assert_eq!(
        session.go().await,
        RunStatus::Completed,
        "it took effect, and that is found out"
    );
    assert_eq!(session.keys("a").len(), 1);
    let mut session = Session::new(&plan(false, true, 1));
    assert_eq!(
        session.go().await,
        RunStatus::Failed,
        "it did not, and no attempt is left"
    );
    let mut session = Session::new(&plan(false, true, 2));
    assert_eq!(session.go().await, RunStatus::Completed, "it did not, and is done");
    let mut session = Session::new(&plan(false, false, 1));
    assert_eq!(session.go().await, RunStatus::Failed, "nobody knows");
    assert_eq!(
        session.go().await,
        RunStatus::Waiting,
        "a resume asks the probe again, and then a person"
    );
    let mut session = Session::new(&plan(false, false, 2));
    assert_eq!(
        session.go().await,
        RunStatus::Waiting,
        "it may not be done twice, and an attempt is left"
    );
}

#[tokio::test]
async fn an_effect_before_a_time_out_or_a_second_signal_counts() {
    let (_temp, file) = effects();
    let plan = format!(
        "apiVersion: jm/v1\nname: stalls\nsteps:\n  - {{ id: a, uses: test.once, timeout: 30ms, with: {{ file: '{file}', stalls: true }} }}\n"
    );
    let mut session = Session::new(&plan);
    session.run.options.grace = std::time::Duration::from_millis(10);
    assert_eq!(
        session.go().await,
        RunStatus::Completed,
        "the time-out says nothing about the effect, the probe does"
    );
    assert_eq!((session.keys("a").len(), effects_in(&file).len()), (1, 1));

    std::fs::remove_file(&file).expect("there");
    let mut session = Session::new(&plan.replace("30ms", "1h"));
    let (sender, receiver) = tokio::sync::watch::channel(jm_run::Stop::Go);
    session.run.stop = receiver;
    let stop = async {
        while effects_in(&file).is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        sender
            .send(jm_run::Stop::Finish("SIGINT".to_owned()))
            .expect("somebody listens");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        sender
            .send(jm_run::Stop::Now("SIGINT".to_owned()))
            .expect("somebody listens");
    };
    let (end, ()) = tokio::join!(session.go(), stop);
    assert_eq!((end, session.status("a")), (RunStatus::Stopped, "running"));
    session.run.stop = tokio::sync::watch::channel(jm_run::Stop::Go).1;
    assert_eq!(session.go().await, RunStatus::Completed);
    assert_eq!(
        (session.keys("a").len(), effects_in(&file).len()),
        (1, 1),
        "adopted, not repeated"
    );
}

#[tokio::test]
async fn nothing_is_left_to_resume_of_a_run_that_is_done() {
    let mut session = Session::new("apiVersion: jm/v1\nname: done\nsteps:\n  - { id: a, uses: test.noop }\n");
    assert_eq!(session.go().await, RunStatus::Completed);
    assert!(matches!(
        session.try_go().await,
        Err(RunError::Over(RunStatus::Completed))
    ));
    let mut other = Session::new("apiVersion: jm/v1\nname: other\nsteps:\n  - { id: a, uses: test.noop }\n");
    other.records = session.records[..2].to_vec();
    assert!(matches!(other.try_go().await, Err(RunError::OtherPlan { .. })));
}

#[tokio::test]
async fn an_input_secret_that_changed_is_noticed() {
    let (document, _) = jm_plan::parse(
        "p.yaml",
        "apiVersion: jm/v1\nname: p\ninputs: { token: { type: secret } }\nsteps:\n  - { id: a, uses: test.noop }\n",
    );
    let arguments = jm_plan::Arguments::parse(&document, [jm_plan::Given::Pair("token=env:TOKEN")]).expect("fits");
    let now = jm_step::clock::now();
    let compiled = jm_plan::compile(
        &document,
        &jm_testkit::registry(),
        &arguments,
        None,
        jm_plan::Mode::Run,
        now,
    );
    let plan = std::sync::Arc::new(compiled.expect("right").plan);
    let mut session = Session::of(&plan);
    session
        .run
        .secret_inputs
        .insert("token".to_owned(), jm_step::Secret::new("first-secret"));
    session.run.options.until = Some(crate::id("a"));
    assert_eq!(session.go().await, RunStatus::Stopped);
    let RecordKind::RunOpened(opened) = &session.records[0].kind else {
        panic!("the first record opens")
    };
    assert_eq!(opened.secrets["token"].from, "env:TOKEN");
    let text = serde_json::to_string(&session.records).expect("JSON");
    assert!(!text.contains("first-secret"));
    session
        .run
        .secret_inputs
        .insert("token".to_owned(), jm_step::Secret::new("second-secret"));
    session.run.options.until = None;
    assert_eq!(session.go().await, RunStatus::Completed);
    let events = format!("{:?}", session.reporter.events());
    assert!(events.contains("secret input `token` has another value"), "{events}");
}
