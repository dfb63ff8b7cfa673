//! Order, conditions, failures, retries, limits.

use std::time::{Duration, Instant};

use jm_run::{Event, Payload, RecordKind, RunStatus, Stop};
use jm_step::StepErrorKind;
use serde_json::json;

use crate::{Session, effects};

#[tokio::test]
async fn outputs_flow_and_each_link_costs_one_sync() {
    let mut session = Session::new(
        "apiVersion: jm/v1
name: chain
steps:
  - { id: a, uses: test.echo, with: { value: { n: 1 } } }
  - { id: b, uses: test.echo, with: { value: '${{ steps.a.outputs.value.n }}' } }
  - { id: c, uses: test.echo, with: { value: 'b said ${{ steps.b.outputs.value }}' } }
",
    );
    assert_eq!(session.go().await, RunStatus::Completed);
    assert_eq!(session.output("b"), json!({ "value": 1 }));
    assert_eq!(session.output("c"), json!({ "value": "b said 1" }));
    assert_eq!(
        session.story(),
        [
            "run-opened",
            "step-started a",
            "step-succeeded a",
            "step-started b",
            "step-succeeded b",
            "step-started c",
            "step-succeeded c",
            "run-closed completed"
        ]
    );
    let batches: std::collections::BTreeSet<u64> = session.records.iter().map(|record| record.batch).collect();
    assert_eq!(
        batches.len(),
        5,
        "opened; a starts; a ends and b starts; b ends and c starts; the end"
    );
    assert!(session.files.log_of("c", 1).contains("echo \"b said 1\""));
}

#[tokio::test]
async fn a_failure_lets_what_runs_finish_and_starts_nothing_but_finally() {
    let mut session = Session::new(
        "apiVersion: jm/v1
name: halt
max_parallel: 2
steps:
  - { id: slow, uses: test.echo, with: { value: 1, takes: 80 } }
  - { id: bad, uses: test.fail, with: { message: broken } }
  - { id: after, uses: test.noop, needs: [bad] }
  - { id: later, uses: test.noop }
finally:
  - { id: tidy, uses: test.echo, with: { value: '${{ run.status }}: ${{ run.summary }}' } }
  - { id: never, uses: test.noop, if: \"${{ steps.bad.status == 'succeeded' }}\" }
  - { id: saved, uses: test.echo, with: { value: '${{ steps.bad.outputs }}' } }
",
    );
    assert_eq!(session.go().await, RunStatus::Failed);
    let status = |step| session.status(step);
    assert_eq!(
        (status("slow"), status("after"), status("later")),
        ("succeeded", "blocked", "not-started")
    );
    assert_eq!((status("tidy"), status("never")), ("succeeded", "skipped"));
    let told = session.output("tidy")["value"].as_str().expect("text").to_owned();
    assert!(told.starts_with("failed: halt: failed after"), "{told}");
    assert!(told.contains("`bad` failed: told to fail: broken"), "{told}");
    assert_eq!(session.output("saved")["value"]["value"], json!(session.keys("bad")[0]));
}

#[tokio::test]
async fn what_is_tolerated_degrades_and_does_not_block() {
    let mut session = Session::new(
        "apiVersion: jm/v1
name: tolerant
inputs: { extra: { type: boolean, default: false } }
steps:
  - { id: bad, uses: test.fail, on_failure: continue }
  - { id: after, uses: test.noop, needs: [bad] }
  - { id: half, uses: test.echo, with: { value: 1, degraded: true } }
  - { id: off, uses: test.noop, if: '${{ inputs.extra }}' }
  - { id: behind, uses: test.noop, needs: [off] }
",
    );
    assert_eq!(session.go().await, RunStatus::Degraded);
    assert_eq!(
        (session.status("after"), session.status("off"), session.status("behind")),
        ("succeeded", "skipped", "succeeded")
    );
    assert_eq!(session.state().degraded().count(), 1);
}

#[tokio::test]
async fn an_if_on_a_status_decides_about_that_step_itself() {
    let mut session = Session::new(
        "apiVersion: jm/v1
name: deciding
steps:
  - { id: bad, uses: test.fail, on_failure: continue }
  - { id: rescue, uses: test.noop, if: \"${{ steps.bad.status == 'failed' }}\" }
  - { id: cheer, uses: test.noop, if: \"${{ steps.bad.status == 'succeeded' }}\" }
",
    );
    assert_eq!(session.go().await, RunStatus::Degraded);
    assert_eq!(
        (session.status("rescue"), session.status("cheer")),
        ("succeeded", "skipped")
    );
}

#[tokio::test]
async fn what_passes_is_tried_again_under_the_same_key() {
    let mut session = Session::new(
        "apiVersion: jm/v1
name: flaky
steps:
  - { id: a, uses: test.flaky, with: { failures: 2 }, retry: { attempts: 3, backoff: { base: 1ms } } }
  - { id: b, uses: test.flaky, needs: [a], with: { failures: 9 }, retry: { attempts: 2, backoff: { base: 1ms } } }
",
    );
    assert_eq!(session.go().await, RunStatus::Failed);
    assert_eq!(session.status("a"), "succeeded");
    let keys = session.keys("a");
    assert_eq!(keys.len(), 3);
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    assert_eq!(session.keys("b").len(), 2);
    assert_eq!(session.error("b").kind, StepErrorKind::Unavailable);
    let failures = session.records.iter().filter_map(|record| match &record.kind {
        RecordKind::StepFailed { step, error, .. } if step.as_str() == "b" => Some(error.message.as_str()),
        _ => None,
    });
    let told: Vec<&str> = failures.collect();
    assert_eq!(told, ["attempt 1 is to fail", "attempt 2 is to fail, the last"]);
}

#[tokio::test]
async fn time_outs_end_steps_that_listen_and_drop_those_that_do_not() {
    let mut session = Session::new(
        "apiVersion: jm/v1
name: slow
steps:
  - { id: a, uses: test.hang, timeout: 20ms, retry: { attempts: 1 }, on_failure: continue }
  - { id: b, uses: test.hang, with: { deaf: true }, timeout: 20ms, retry: { attempts: 1 }, on_failure: continue }
",
    );
    session.run.options.grace = Duration::from_millis(30);
    let began = Instant::now();
    assert_eq!(session.go().await, RunStatus::Degraded);
    assert!(began.elapsed() < Duration::from_secs(2));
    for step in ["a", "b"] {
        assert_eq!(session.error(step).kind, StepErrorKind::TimedOut);
        assert!(session.error(step).message.contains("20ms"));
    }
}

#[tokio::test]
async fn a_bug_in_a_step_is_a_failed_step() {
    let mut session = Session::new("apiVersion: jm/v1\nname: bug\nsteps:\n  - { id: a, uses: test.panic }\n");
    assert_eq!(session.go().await, RunStatus::Failed);
    assert!(
        session.error("a").message.contains("told to panic"),
        "{:?}",
        session.error("a")
    );
}

#[tokio::test]
async fn limits_hold() {
    let mut plan = String::from("apiVersion: jm/v1\nname: wide\nmax_parallel: 3\nsteps:\n");
    plan.extend((0..12).map(|i| format!("  - {{ id: s{i}, uses: test.echo, with: {{ value: 1, takes: 5 }} }}\n")));
    let mut session = Session::new(&plan);
    assert_eq!(session.go().await, RunStatus::Completed);
    let (mut running, mut most) = (0, 0);
    for record in &session.records {
        match record.kind {
            RecordKind::StepStarted { .. } => running += 1,
            RecordKind::StepSucceeded { .. } => running -= 1,
            _ => {}
        }
        most = most.max(running);
    }
    assert_eq!(most, 3);
}

#[tokio::test]
async fn large_outputs_become_files_and_still_flow() {
    let mut session = Session::new(
        "apiVersion: jm/v1
name: large
steps:
  - { id: a, uses: test.save, with: { bytes: 200000 } }
  - { id: b, uses: test.echo, with: { value: '${{ steps.a.outputs.value | length }}' } }
",
    );
    assert_eq!(session.go().await, RunStatus::Completed);
    assert_eq!(session.output("b"), json!({ "value": 200_000 }));
    let large = session.records.iter().find_map(|record| match &record.kind {
        RecordKind::StepSucceeded { step, output, .. } if step.as_str() == "a" => Some(output.clone()),
        _ => None,
    });
    assert!(matches!(large, Some(Payload::Artefact(artefact)) if artefact.bytes > 200_000));
}

#[tokio::test]
async fn no_secret_gets_into_journal_log_or_events() {
    let mut session = Session::new(
        "apiVersion: jm/v1
name: canary
inputs: { word: { type: string, default: other } }
steps:
  - { id: out, uses: test.echo, with: { value: 'my hunter22-word' }, on_failure: continue }
  - { id: check, uses: test.save, with: { checkpoint: 'hunter22-word' }, on_failure: continue }
  - { id: err, uses: test.fail, with: { message: 'no hunter22-word' }, on_failure: continue }
  - { id: ask, uses: test.echo, if: \"${{ inputs.word == 'hunter22-word' }}\", with: { value: 1 } }
",
    );
    session.run.secrets.register("hunter22-word");
    assert_eq!(session.go().await, RunStatus::Degraded);
    assert!(session.error("out").message.contains("holds a secret"));
    assert!(session.error("check").message.contains("holds a secret"));
    assert!(session.error("err").message.contains("no [secret]"));
    let events = serde_json::to_string(&session.reporter.events()).expect("JSON");
    assert!(!events.contains("hunter22"), "{events}");
    assert!(events.contains("[secret]"));
    assert!(session.files.log_of("out", 1).contains("my [secret]"));
    let logged = session
        .reporter
        .events()
        .iter()
        .any(|event| matches!(event, Event::Log { .. }));
    assert!(logged);
}

#[tokio::test]
async fn signals_stop_gently_then_at_once_and_both_can_be_resumed() {
    for (first, steps) in [
        (Stop::Finish("SIGTERM".to_owned()), "false"),
        (Stop::Now("SIGINT".to_owned()), "true"),
    ] {
        let (_temp, file) = effects();
        let mut session = Session::new(&format!(
            "apiVersion: jm/v1
name: stop
steps:
  - {{ id: a, uses: test.hang, with: {{ deaf: {steps}, file: '{file}' }} }}
  - {{ id: b, uses: test.noop, needs: [a] }}
finally:
  - {{ id: z, uses: test.noop }}
"
        ));
        let (sender, receiver) = tokio::sync::watch::channel(Stop::Go);
        session.run.stop = receiver;
        let stop = async {
            while jm_testkit::effects_in(&file).is_empty() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            sender.send(first.clone()).expect("somebody listens");
        };
        let (end, ()) = tokio::join!(session.go(), stop);
        assert_eq!(end, RunStatus::Stopped);
        assert_eq!((session.status("a"), session.status("z")), ("running", "not-started"));
        assert!(session.story().last().is_some_and(|last| last == "run-stopped"));
    }
}

#[tokio::test]
async fn until_stops_before_a_step_and_a_resume_goes_on() {
    let mut session = Session::new(
        "apiVersion: jm/v1
name: until
steps:
  - { id: a, uses: test.echo, with: { value: 1 } }
  - { id: b, uses: test.noop, needs: [a] }
  - { id: side, uses: test.noop }
finally:
  - { id: z, uses: test.noop }
",
    );
    session.run.options.until = Some(crate::id("b"));
    assert_eq!(session.go().await, RunStatus::Stopped);
    assert_eq!(
        (session.status("a"), session.status("b"), session.status("side")),
        ("succeeded", "not-started", "succeeded")
    );
    assert_eq!(session.status("z"), "not-started");
    session.run.options.until = None;
    assert_eq!(session.go().await, RunStatus::Completed);
    assert_eq!((session.keys("a").len(), session.status("z")), (1, "succeeded"));
}

#[tokio::test]
async fn a_deadline_starts_nothing_more_but_finally() {
    let mut session = Session::new(
        "apiVersion: jm/v1
name: late
deadline: 30ms
steps:
  - { id: a, uses: test.echo, with: { value: 1, takes: 80 } }
  - { id: b, uses: test.noop, needs: [a] }
finally:
  - { id: z, uses: test.echo, with: { value: '${{ run.status }}' } }
",
    );
    assert_eq!(session.go().await, RunStatus::Failed);
    assert_eq!((session.status("a"), session.status("b")), ("succeeded", "not-started"));
    assert_eq!(session.output("z"), json!({ "value": "failed" }));
    assert!(session.story().contains(&"deadline-passed".to_owned()));
}

#[tokio::test]
async fn the_plan_gives_out_what_it_says() {
    let mut session = Session::new(
        "apiVersion: jm/v1
name: giving
objectives: { rto: 1h }
steps:
  - { id: a, uses: test.echo, with: { value: 7 } }
outputs: { seven: '${{ steps.a.outputs.value }}' }
",
    );
    assert_eq!(session.go().await, RunStatus::Completed);
    let now = jm_step::clock::now();
    let summary = jm_run::summarize(&session.run.plan, &session.records, &session.files, now).expect("legal");
    assert_eq!(summary.outputs, Some(json!({ "seven": 7 })));
    assert!(summary.rto.is_some_and(|rto| rto.met == Some(true)) && !summary.objective_missed);
    assert_eq!(summary.critical_path, [crate::id("a")]);
}
