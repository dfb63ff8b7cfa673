//! What may not be taken back, and what may be lost.

use std::time::Duration;

use jm_run::{Event, RecordKind, RunError, RunStatus};
use jm_step::StepErrorKind;

use crate::people::somebody;
use crate::{Session, effects};

fn recovery(file: &str, hours_old: i64, serving: bool) -> String {
    let point = jm_step::clock::now() - jiff::SignedDuration::from_hours(hours_old);
    format!(
        "apiVersion: jm/v1
name: recovery
objectives: {{ rpo: 24h }}
steps:
  - {{ id: find, uses: test.recover, with: {{ recovery_point: '{point}', serving: {serving} }} }}
  - {{ id: switch, uses: test.final, needs: [find], with: {{ file: '{file}', name: switch }} }}
"
    )
}

#[tokio::test]
async fn data_that_is_still_served_is_not_lost_without_a_word() {
    let (_temp, file) = effects();
    let mut session = Session::new(&recovery(&file, 26, true));
    assert_eq!(session.go().await, RunStatus::Failed);
    assert_eq!(session.error("switch").kind, StepErrorKind::Refused);
    assert!(jm_testkit::effects_in(&file).is_empty());
    session.run.options.accept_data_loss = Some(Duration::from_hours(27));
    assert_eq!(
        session.go().await,
        RunStatus::Completed,
        "with the loss accepted it goes on"
    );
    let summary = summary(&session);
    assert!(
        summary.objective_missed
            && summary
                .data_loss
                .is_some_and(|loss| loss.window() >= Duration::from_hours(26))
    );
}

#[tokio::test]
async fn where_nothing_is_served_any_more_recovery_is_never_refused() {
    let (_temp, file) = effects();
    let mut session = Session::new(&recovery(&file, 26, false));
    assert_eq!(session.go().await, RunStatus::Completed);
    let told = |event: &Event| matches!(event, Event::Notice { text } if text.contains("`switch` makes it final that 26h of data"));
    let events = session.reporter.events();
    assert_eq!(events.iter().filter(|event| told(event)).count(), 1, "{events:?}");
}

#[tokio::test]
async fn a_person_may_say_yes_to_the_loss() {
    for (approves, status) in [(true, RunStatus::Completed), (false, RunStatus::Failed)] {
        let (_temp, file) = effects();
        let mut session = Session::new(&recovery(&file, 26, true));
        session.run.person = Some(somebody(approves));
        assert_eq!(session.go().await, status);
        let consents = session.state().consents().len();
        assert_eq!(consents, usize::from(approves), "the yes is in the journal");
    }
}

fn protected(file: &str, gate: &str) -> Session {
    let mut session = Session::new(&format!(
        "apiVersion: jm/v1
name: protected
steps:
  - {{ id: gate, {gate} }}
  - {{ id: switch, uses: test.final, needs: [gate], with: {{ file: '{file}', name: switch }} }}
"
    ));
    session.run.protected = true;
    "production".clone_into(&mut session.run.targets_name);
    session
}

#[tokio::test]
async fn protected_targets_need_a_confirmation_an_approval_or_a_person() {
    let (_temp, file) = effects();
    let look = "uses: test.recover, with: { recovery_point: '', serving: false }";
    let mut session = protected(&file, look);
    let error = session.try_go().await.expect_err("a proof is no person's word");
    assert!(error.is_refusal(), "{error}");
    assert_eq!(
        session.status("gate"),
        "not-started",
        "and nothing is begun for nothing"
    );
    let hint = match error {
        RunError::Refused(error) => error.hint,
        _ => None,
    };
    assert!(hint.is_some_and(|hint| hint.contains("--confirm production")));

    let mut session = protected(&file, look);
    session.run.options.confirmed = true;
    assert_eq!(session.go().await, RunStatus::Completed);

    let mut session = protected(&file, look);
    session.run.person = Some(somebody(false));
    assert!(session.try_go().await.is_err_and(|error| error.is_refusal()));
    session.run.person = Some(somebody(true));
    assert_eq!(
        session.go().await,
        RunStatus::Completed,
        "a refused start can be resumed"
    );
}

#[tokio::test]
async fn an_approval_before_it_is_word_enough() {
    let (_temp, file) = effects();
    let mut session = protected(&file, "uses: test.ask, with: { question: 'may it?' }");
    assert_eq!(session.go().await, RunStatus::Waiting);
    let seq = session.records.len() as u64 + 1;
    session.records.push(jm_run::Record {
        seq,
        batch: seq,
        at: jm_step::clock::now(),
        kind: RecordKind::Operator(jm_run::journal::Said {
            id: "1".to_owned(),
            who: "grace".to_owned(),
            verb: jm_run::OperatorVerb::Approve,
            step: Some(crate::id("gate")),
            reason: None,
        }),
    });
    assert_eq!(session.go().await, RunStatus::Completed);
}

/// It would be refused in the end: nothing is stopped, saved or restored for it.
#[tokio::test]
async fn a_recovery_that_would_lose_too_much_is_refused_before_it_changes_anything() {
    for (approves, status, lines) in [
        (None, RunStatus::Failed, 0),
        (Some(false), RunStatus::Failed, 0),
        (Some(true), RunStatus::Completed, 2),
    ] {
        let (_temp, file) = effects();
        let stop =
            format!("  - {{ id: stop, uses: test.once, needs: [find], with: {{ file: '{file}', name: stop }} }}\n");
        let plan = recovery(&file, 26, true).replace("needs: [find]", "needs: [stop]");
        let mut session = Session::new(&(plan + &stop));
        session.run.person = approves.map(somebody);
        assert_eq!(session.go().await, status, "{approves:?}");
        assert_eq!(jm_testkit::effects_in(&file).len(), lines, "{approves:?}");
        if lines == 0 {
            assert_eq!(session.error("stop").kind, StepErrorKind::Refused);
        } else {
            assert_eq!(session.state().consents().len(), 1, "one loss is asked about once");
        }
    }
}

/// A recovery to this moment that may lose a second, with a step that stops writing, and that takes so long.
fn stopped(file: &str, takes: u64, serving: bool) -> Session {
    let plan = recovery(file, 0, serving)
        .replace("rpo: 24h", "rpo: 1s")
        .replace("needs: [find]", "needs: [stop]");
    let stop = format!("  - {{ id: stop, uses: test.stop, needs: [find], with: {{ takes: {takes} }} }}\n");
    Session::new(&(plan + &stop))
}

fn summary(session: &Session) -> jm_run::RunSummary {
    let now = jm_step::clock::now();
    jm_run::summarize(&session.run.plan, &session.records, &session.files, now).expect("legal")
}

#[tokio::test]
async fn what_is_written_until_writing_stops_is_lost_and_asked_about_again() {
    let (_temp, file) = effects();
    let mut session = stopped(&file, 2100, true);
    assert_eq!(session.go().await, RunStatus::Failed);
    assert_eq!(session.error("switch").kind, StepErrorKind::Refused);
    assert!(session.error("switch").message.starts_with("2s of data would be lost"));
    assert!(jm_testkit::effects_in(&file).is_empty());
}

#[tokio::test]
async fn of_a_database_that_is_gone_nothing_more_is_lost() {
    let (_temp, file) = effects();
    let mut session = stopped(&file, 0, false);
    session.run.options.until = Some(crate::id("switch"));
    assert_eq!(session.go().await, RunStatus::Stopped);
    tokio::time::sleep(Duration::from_millis(2100)).await;
    session.run.options.until = None;
    assert_eq!(session.go().await, RunStatus::Completed);
    assert_eq!(summary(&session).data_loss.map(|loss| loss.seconds), Some(0));
}

#[tokio::test]
async fn nothing_more_is_lost_once_writing_has_stopped() {
    let (_temp, file) = effects();
    let mut session = stopped(&file, 0, true);
    session.run.options.until = Some("switch".parse().expect("an id"));
    assert_eq!(session.go().await, RunStatus::Stopped);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    session.run.options.until = None;
    assert_eq!(session.go().await, RunStatus::Completed);
    let summary = summary(&session);
    assert!(!summary.objective_missed, "{:?}", summary.data_loss);
    assert_eq!(summary.data_loss.map(|loss| loss.seconds), Some(0));
}
