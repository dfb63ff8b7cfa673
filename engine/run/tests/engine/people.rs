//! Questions and verbs: through the inbox, in the journal, at the terminal.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use jm_run::journal::MemoryJournal;
use jm_run::journal::{OperatorVerb, Said, Why};
use jm_run::{Consent, GuardQuestion, Person, Record, RecordKind, RunStatus, word_id};
use jm_step::{Answer, StepId, clock};
use jm_testkit::effects_in;

use crate::{Session, effects, id};

fn said(verb: OperatorVerb, step: Option<&str>) -> Said {
    Said {
        id: word_id(),
        who: "grace@laptop".to_owned(),
        verb,
        step: step.map(id),
        reason: Some("because".to_owned()),
    }
}

impl Session {
    /// What `jm run VERB` does where no process runs the run.
    fn say(&mut self, verb: OperatorVerb, step: Option<&str>) {
        let seq = self.records.last().map_or(0, |record| record.seq) + 1;
        self.records.push(Record {
            seq,
            batch: seq,
            at: clock::now(),
            kind: RecordKind::Operator(said(verb, step)),
        });
    }
}

fn asking() -> Session {
    Session::new(
        "apiVersion: jm/v1
name: asking
steps:
  - { id: ask, uses: test.ask, with: { question: 'may it?' } }
  - { id: beside, uses: test.noop }
  - { id: act, uses: test.echo, needs: [ask], with: { value: '${{ steps.ask.outputs.who }}' } }
finally:
  - { id: z, uses: test.noop }
",
    )
}

#[tokio::test]
async fn a_run_that_can_only_wait_ends_and_goes_on_with_the_answer() {
    let mut session = asking();
    assert_eq!(session.go().await, RunStatus::Waiting);
    assert_eq!(
        (session.status("ask"), session.status("beside"), session.status("z")),
        ("running", "succeeded", "not-started")
    );
    assert_eq!(session.go().await, RunStatus::Waiting, "it asks again");
    session.say(OperatorVerb::Approve, Some("ask"));
    assert_eq!(session.go().await, RunStatus::Completed);
    assert_eq!(session.output("act")["value"], "grace@laptop");
}

/// A look that failed, and the question that was asked by that.
fn asking_after_a_failed_look() -> (tempfile::TempDir, Session) {
    let (temp, _) = effects();
    let broken = temp.path().join("broken").to_string_lossy().into_owned();
    std::fs::create_dir(&broken).expect("made");
    let session = Session::new(&format!(
        "apiVersion: jm/v1
name: asking
steps:
  - {{ id: look, uses: test.look, on_failure: continue, with: {{ file: '{broken}' }} }}
  - {{ id: ask, uses: test.ask, needs: [look], with: {{ question: 'the look has ${{{{ steps.look.status }}}}, may it?' }} }}
  - {{ id: act, uses: test.echo, needs: [ask], with: {{ value: '${{{{ steps.ask.outputs.who }}}}' }} }}
"
    ));
    (temp, session)
}

impl Session {
    /// The questions that were asked, in order.
    fn questions(&self) -> Vec<String> {
        let asked = self.records.iter().filter_map(|record| match &record.kind {
            RecordKind::OperatorNeeded {
                why: Why::Approval { question },
                ..
            } => Some(question.clone()),
            _ => None,
        });
        asked.collect()
    }
}

#[tokio::test]
async fn an_answer_holds_though_a_look_before_it_would_now_find_something() {
    let (temp, mut session) = asking_after_a_failed_look();
    assert_eq!(session.go().await, RunStatus::Waiting);
    std::fs::remove_dir(temp.path().join("broken")).expect("mended");
    session.say(OperatorVerb::Approve, Some("ask"));
    assert_eq!(session.go().await, RunStatus::Degraded, "{:?}", session.questions());
    assert_eq!(session.questions(), ["the look has failed, may it?"]);
    assert_eq!(session.output("act")["value"], "grace@laptop");
}

/// However often it is killed before the answer is taken up.
#[tokio::test]
async fn an_answer_holds_over_a_resume_that_is_killed() {
    for room in 1..4 {
        let (temp, mut session) = asking_after_a_failed_look();
        assert_eq!(session.go().await, RunStatus::Waiting);
        std::fs::remove_dir(temp.path().join("broken")).expect("mended");
        session.say(OperatorVerb::Approve, Some("ask"));
        let mut journal = MemoryJournal::with_room(room);
        drop(jm_run::run(&session.run, &session.records, &mut journal, &mut jm_run::Silent).await);
        session.records.extend(journal.records());
        assert_eq!(
            session.go().await,
            RunStatus::Degraded,
            "{room}: {:?}",
            session.questions()
        );
        assert_eq!(session.questions(), ["the look has failed, may it?"], "{room}");
    }
}

#[tokio::test]
async fn a_question_that_nobody_has_answered_is_asked_by_what_is_seen_then() {
    let (temp, mut session) = asking_after_a_failed_look();
    assert_eq!(session.go().await, RunStatus::Waiting);
    std::fs::remove_dir(temp.path().join("broken")).expect("mended");
    assert_eq!(session.go().await, RunStatus::Waiting);
    assert_eq!(
        session.questions(),
        ["the look has failed, may it?", "the look has succeeded, may it?"]
    );
    session.say(OperatorVerb::Approve, Some("ask"));
    assert_eq!(session.go().await, RunStatus::Completed);
}

#[tokio::test]
async fn a_no_fails_the_step_that_asked_and_a_resume_asks_afresh() {
    let mut session = asking();
    assert_eq!(session.go().await, RunStatus::Waiting);
    session.say(OperatorVerb::Reject, Some("ask"));
    assert_eq!(session.go().await, RunStatus::Failed);
    assert!(session.error("ask").message.contains("grace@laptop said no"));
    assert_eq!(
        session.go().await,
        RunStatus::Waiting,
        "the no belonged to the deed that failed"
    );
}

#[tokio::test]
async fn a_word_in_the_inbox_reaches_a_run_that_is_alive() {
    let mut session = Session::new(
        "apiVersion: jm/v1
name: alive
steps:
  - { id: ask, uses: test.ask, with: { question: 'may it?' } }
  - { id: busy, uses: test.echo, with: { value: 1, takes: 1500 } }
",
    );
    let files = session.files.clone();
    let speak = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        files.say(said(OperatorVerb::Skip, Some("busy")));
        files.say(said(OperatorVerb::Approve, Some("ask")));
    };
    let (end, ()) = tokio::join!(session.go(), speak);
    assert_eq!(end, RunStatus::Completed);
    let story = session.story();
    let place = |what: &str| story.iter().position(|told| told == what).expect("told");
    assert!(
        place("operator ask") < place("step-succeeded ask")
            && place("step-succeeded ask") < place("step-succeeded busy")
    );
    let events = format!("{:?}", session.reporter.events());
    assert!(events.contains("`skip` does not fit step `busy`: running"), "{events}");
}

#[tokio::test]
async fn a_paused_failure_takes_each_of_the_verbs() {
    let plan = "apiVersion: jm/v1
name: paused
steps:
  - { id: bad, uses: test.flaky, with: { failures: 1 }, retry: { attempts: 1 }, on_failure: pause }
  - { id: after, uses: test.noop, needs: [bad] }
finally:
  - { id: z, uses: test.echo, with: { value: '${{ run.status }}' } }
";
    for (verb, status, after) in [
        (OperatorVerb::Retry, RunStatus::Completed, "succeeded"),
        (OperatorVerb::Skip, RunStatus::Degraded, "succeeded"),
        (OperatorVerb::MarkDone, RunStatus::Completed, "succeeded"),
        (OperatorVerb::Abort, RunStatus::Aborted, "not-started"),
    ] {
        let mut session = Session::new(plan);
        assert_eq!(session.go().await, RunStatus::Waiting, "{verb:?}");
        assert_eq!(session.status("after"), "not-started");
        let step = (verb != OperatorVerb::Abort).then_some("bad");
        session.say(verb, step);
        let end = session.go().await;
        if verb == OperatorVerb::Abort {
            assert_eq!(end, RunStatus::Aborted);
            assert_eq!(session.output("z")["value"], "aborted");
            continue;
        }
        assert_eq!(end, status, "{verb:?}");
        assert_eq!(session.status("after"), after, "{verb:?}");
    }
}

#[tokio::test]
async fn a_finished_step_is_done_anew_and_so_is_what_came_after_it() {
    let (_temp, file) = effects();
    let mut session = Session::new(&format!(
        "apiVersion: jm/v1
name: anew
steps:
  - {{ id: a, uses: test.once, with: {{ file: '{file}', name: a }} }}
  - {{ id: b, uses: test.once, needs: [a], with: {{ file: '{file}', name: b }} }}
  - {{ id: c, uses: test.once, with: {{ file: '{file}', name: c }} }}
"
    ));
    assert_eq!(session.go().await, RunStatus::Completed);
    session.say(OperatorVerb::Retry, Some("a"));
    assert_eq!(session.go().await, RunStatus::Completed);
    assert_eq!(
        (
            session.keys("a").len(),
            session.keys("b").len(),
            session.keys("c").len()
        ),
        (2, 2, 1)
    );
    assert_ne!(session.keys("b")[0], session.keys("b")[1]);
    assert_eq!(effects_in(&file).len(), 5);
}

#[tokio::test]
async fn an_abort_cancels_what_runs_and_runs_finally() {
    let (_temp, file) = effects();
    let mut session = Session::new(&format!(
        "apiVersion: jm/v1
name: abort
steps:
  - {{ id: a, uses: test.hang, with: {{ file: '{file}' }} }}
  - {{ id: ask, uses: test.ask, with: {{ question: 'may it?' }} }}
finally:
  - {{ id: z, uses: test.echo, with: {{ value: '${{{{ run.status }}}}' }} }}
"
    ));
    let files = session.files.clone();
    let speak = async {
        while effects_in(&file).is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        files.say(said(OperatorVerb::Abort, None));
    };
    let (end, ()) = tokio::join!(session.go(), speak);
    assert_eq!(end, RunStatus::Aborted);
    assert_eq!((session.status("a"), session.status("ask")), ("failed", "failed"));
    assert_eq!(session.output("z")["value"], "aborted");
}

/// Somebody at the terminal.
struct Somebody {
    approves: bool,
}

impl Person for Somebody {
    fn consent<'a>(&'a self, _: &'a GuardQuestion) -> BoxFuture<'a, Consent> {
        async {
            if self.approves {
                Consent::Yes { who: "me".to_owned() }
            } else {
                Consent::No
            }
        }
        .boxed()
    }
    fn answer<'a>(&'a self, _: &'a StepId, _: &'a str) -> BoxFuture<'a, Option<Answer>> {
        async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Some(Answer {
                approved: self.approves,
                who: "me".to_owned(),
                reason: None,
                at: clock::now(),
            })
        }
        .boxed()
    }
}

#[tokio::test]
async fn somebody_at_the_terminal_is_waited_for() {
    for (approves, status) in [(true, RunStatus::Completed), (false, RunStatus::Failed)] {
        let mut session = asking();
        session.run.person = Some(Arc::new(Somebody { approves }));
        assert_eq!(session.go().await, status);
    }
}

/// For the tests of guards.
pub(crate) fn somebody(approves: bool) -> Arc<dyn Person> {
    Arc::new(Somebody { approves })
}

/// A kill, and then an abort: what was under way is looked at, for what `finally` puts back hangs on it.
#[tokio::test]
async fn after_a_kill_and_an_abort_finally_knows_how_each_step_ended() {
    let plan = |file: &str| {
        format!(
            "apiVersion: jm/v1
name: abort
steps:
  - {{ id: a, uses: test.once, with: {{ file: '{file}', name: a }} }}
  - {{ id: p, uses: test.checkpoint, with: {{ file: '{file}', parts: 2 }} }}
  - {{ id: r, uses: test.flaky, with: {{ failures: 1 }}, retry: {{ attempts: 2, backoff: {{ base: 1ms }} }} }}
  - {{ id: f, uses: test.fail, needs: [a], on_failure: pause }}
finally:
  - {{ id: z, uses: test.echo, with: {{ value: '${{{{ steps.a.status }}}} ${{{{ steps.p.status }}}} ${{{{ steps.r.status }}}} ${{{{ steps.f.status }}}}' }} }}
"
        )
    };
    let (_temp, file) = effects();
    let mut whole = Session::new(&plan(&file));
    assert_eq!(whole.go().await, RunStatus::Waiting);
    let mut seen = std::collections::BTreeSet::new();
    for cut in 1..=whole.records.len() {
        let (_temp, file) = effects();
        let mut session = Session::new(&plan(&file));
        let mut journal = MemoryJournal::with_room(cut);
        drop(jm_run::run(&session.run, &[], &mut journal, &mut jm_run::Silent).await);
        session.records = journal.records();
        session.say(OperatorVerb::Abort, None);
        assert_eq!(session.go().await, RunStatus::Aborted, "cut {cut}");
        let told = session.output("z")["value"].as_str().unwrap_or_default().to_owned();
        assert!(!told.contains("running"), "cut {cut}: {told}\n{:#?}", session.story());
        let done = effects_in(&file).iter().any(|line| line.starts_with("a "));
        assert_eq!(told.starts_with("succeeded"), done, "cut {cut}: {told}");
        seen.insert(told);
    }
    let some = |word: &str| seen.iter().any(|told| told.contains(word));
    assert!(some("succeeded") && some("failed") && some("not-started"), "{seen:?}");
}
