//! Dry runs: grades, what is unknown, what would fail.

use jm_run::{DryStatus, DryStep, DryVerdict, RunStatus, Silent};
use jm_step::Grade;
use serde_json::json;

use crate::systems::boxed;
use crate::{Session, effects};

impl Session {
    async fn dry(&self) -> jm_run::DryRun {
        jm_run::dry_run(&self.run, &self.records, &mut Silent)
            .await
            .expect("tried")
    }
}

fn step<'d>(dry: &'d jm_run::DryRun, id: &str) -> &'d DryStep {
    let all = dry.steps.iter().chain(&dry.finally);
    all.into_iter()
        .find(|step| step.id.as_str() == id)
        .expect("a step of the plan")
}

#[tokio::test]
async fn what_is_predicted_flows_and_what_is_unknown_stays_unknown() {
    let (_temp, file) = effects();
    let session = Session::new(&format!(
        "apiVersion: jm/v1
name: dry
steps:
  - {{ id: look, uses: test.look }}
  - {{ id: a, uses: test.echo, with: {{ value: '${{{{ steps.look.outputs.content }}}}!' }} }}
  - {{ id: b, uses: test.once, needs: [a], with: {{ file: '{file}', name: b }} }}
  - {{ id: c, uses: test.echo, with: {{ value: '${{{{ steps.b.outputs.line }}}}' }} }}
  - {{ id: may, uses: test.noop, if: \"${{{{ steps.b.outputs.line == 'x' }}}}\" }}
  - {{ id: not, uses: test.noop, if: \"${{{{ steps.look.outputs.content == 'x' }}}}\" }}
  - {{ id: behind, uses: test.noop, needs: [not, may] }}
finally:
  - {{ id: put-back, uses: test.noop, if: \"${{{{ steps.b.status == 'failed' }}}}\" }}
"
    ));
    let dry = session.dry().await;
    let graded = |id| (step(&dry, id).status, step(&dry, id).grade);
    assert_eq!(graded("look"), (DryStatus::WillRun, Grade::Verified));
    assert_eq!(graded("a"), (DryStatus::WillRun, Grade::Computed));
    assert_eq!(step(&dry, "a").input, json!({ "value": "!" }));
    assert!(step(&dry, "a").predicted_input);
    assert_eq!(graded("b"), (DryStatus::WillRun, Grade::Computed));
    assert_eq!(graded("c"), (DryStatus::WillRun, Grade::Unknown));
    assert_eq!(step(&dry, "c").input, json!({ "value": "(known after b)" }));
    assert_eq!(graded("may"), (DryStatus::MayRun, Grade::Computed));
    assert_eq!(graded("not").0, DryStatus::Skipped);
    assert_eq!(graded("behind").0, DryStatus::WillRun);
    assert_eq!(graded("put-back").0, DryStatus::MayRun);
    assert_eq!(dry.verdict, DryVerdict::Ready);
    assert!(jm_testkit::effects_in(&file).is_empty(), "nothing was done");
    let again = session.dry().await;
    assert_eq!(dry, again, "stable from run to run");
}

#[tokio::test]
async fn what_is_computed_is_what_the_run_journals() {
    let (_temp, file) = effects();
    let mut session = Session::new(&format!(
        "apiVersion: jm/v1\nname: same\nsteps:\n  - {{ id: a, uses: test.echo, with: {{ value: 1 }} }}\n  - {{ id: b, uses: test.once, needs: [a], with: {{ file: '{file}', name: b }} }}\n"
    ));
    let dry = session.dry().await;
    assert_eq!(session.go().await, RunStatus::Completed);
    let summary = jm_run::summarize(
        &session.run.plan,
        &session.records,
        &session.files,
        jm_step::clock::now(),
    )
    .expect("legal");
    for (announced, done) in dry.steps.iter().zip(&summary.steps) {
        assert_eq!(
            (announced.grade, &announced.changes),
            (Grade::Computed, &done.changes),
            "{}",
            announced.id
        );
    }
    assert_eq!(summary.critical_path.len(), 2);
}

#[tokio::test]
async fn what_will_fail_is_said_and_what_comes_after_it_is_blocked() {
    let session = Session::new(
        "apiVersion: jm/v1
name: doomed
steps:
  - { id: bad, uses: test.fail, with: { message: wrong key } }
  - { id: after, uses: test.noop, needs: [bad] }
  - { id: last, uses: test.noop, needs: [after], on_failure: continue }
  - { id: very-last, uses: test.noop, needs: [last] }
  - { id: beside, uses: test.noop }
",
    );
    let dry = session.dry().await;
    assert_eq!(dry.verdict, DryVerdict::WouldFail);
    assert_eq!(step(&dry, "bad").grade, Grade::WouldFail);
    assert!(
        step(&dry, "bad")
            .error
            .as_ref()
            .is_some_and(|error| error.message.contains("wrong key"))
    );
    for id in ["after", "last", "very-last"] {
        let blocked = step(&dry, id);
        assert_eq!(
            (blocked.status, blocked.because.as_deref()),
            (DryStatus::Blocked, Some("`bad` would fail")),
            "{id}"
        );
    }
    assert_eq!(step(&dry, "beside").status, DryStatus::WillRun);
}

/// What a dry run says is what the run comes to.
#[tokio::test]
async fn the_verdict_is_that_of_the_run_whatever_step_fails() {
    let fails = "uses: test.fail, with: { message: no }";
    for (steps, verdict, ends) in [
        (
            format!("  - {{ id: a, {fails} }}"),
            DryVerdict::WouldFail,
            RunStatus::Failed,
        ),
        (
            format!("  - {{ id: a, {fails}, on_failure: continue }}\n  - {{ id: b, uses: test.noop, needs: [a] }}"),
            DryVerdict::Ready,
            RunStatus::Degraded,
        ),
        (
            format!("  - {{ id: a, uses: test.noop }}\nfinally:\n  - {{ id: t, {fails} }}"),
            DryVerdict::WouldFail,
            RunStatus::Failed,
        ),
        (
            format!("  - {{ id: a, uses: test.noop }}\nfinally:\n  - {{ id: t, {fails}, on_failure: continue }}"),
            DryVerdict::Ready,
            RunStatus::Degraded,
        ),
        (
            format!(
                "  - {{ id: a, uses: test.noop }}\nfinally:\n  - {{ id: t, if: \"${{{{ run.status == 'failed' }}}}\", {fails} }}"
            ),
            DryVerdict::Ready,
            RunStatus::Completed,
        ),
    ] {
        let mut session = Session::new(&format!("apiVersion: jm/v1\nname: ends\nsteps:\n{steps}\n"));
        let dry = session.dry().await;
        assert_eq!(dry.verdict, verdict, "{steps}");
        let told = dry
            .steps
            .iter()
            .chain(&dry.finally)
            .any(|step| !step.degraded.is_empty());
        assert_eq!(told, ends == RunStatus::Degraded, "{steps}");
        assert_eq!(session.go().await, ends, "{steps}");
    }
}

#[tokio::test]
async fn a_step_that_may_not_run_decides_nothing() {
    let (_temp, file) = effects();
    for kind in ["failed", "refused"] {
        let session = Session::new(&format!(
            "apiVersion: jm/v1\nname: may\nsteps:\n  - {{ id: a, uses: test.once, with: {{ file: '{file}', name: a }} }}\n  - {{ id: b, uses: test.fail, needs: [a], if: \"${{{{ steps.a.outputs.line == 'x' }}}}\", with: {{ message: no, kind: {kind} }} }}\n  - {{ id: c, uses: test.noop, needs: [b], if: \"${{{{ steps.b.status == 'succeeded' }}}}\" }}\n"
        ));
        let dry = session.dry().await;
        assert_eq!(
            (step(&dry, "b").status, step(&dry, "b").grade),
            (DryStatus::MayRun, Grade::WouldFail)
        );
        assert_eq!(step(&dry, "c").status, DryStatus::MayRun);
        assert_eq!(dry.verdict, DryVerdict::Ready, "{kind}");
    }
}

/// A program that is not there may be what an earlier step installs.
#[tokio::test]
async fn what_is_missing_from_this_machine_may_come_through_a_step_before() {
    let (_temp, file) = effects();
    let plan = |needs: &str| {
        Session::new(&format!(
            "apiVersion: jm/v1\nname: here\nsteps:\n  - {{ id: a, uses: test.once, with: {{ file: '{file}', name: a }} }}\n  - {{ id: b, uses: test.fail, needs: {needs}, with: {{ message: gone, kind: not-found }} }}\n"
        ))
    };
    let before = plan("[a]").dry().await;
    assert_eq!(
        (step(&before, "b").grade, before.verdict),
        (Grade::Unknown, DryVerdict::Ready)
    );
    let last = Session::new(&format!(
        "apiVersion: jm/v1\nname: here\nsteps:\n  - {{ id: a, uses: test.once, with: {{ file: '{file}', name: a }} }}\nfinally:\n  - {{ id: b, uses: test.fail, with: {{ message: gone, kind: not-found }} }}\n"
    ));
    let last = last.dry().await;
    assert_eq!(
        (step(&last, "b").grade, last.verdict),
        (Grade::Unknown, DryVerdict::Ready)
    );
    let beside = plan("[]").dry().await;
    assert_eq!(
        (step(&beside, "b").grade, beside.verdict),
        (Grade::WouldFail, DryVerdict::WouldFail)
    );
}

#[tokio::test]
async fn a_system_that_an_earlier_step_changes_is_computed_at_most() {
    let mut session = boxed(
        "",
        "  - { id: a, uses: box.use }\n  - { id: b, uses: box.use, needs: [a] }\n",
    );
    session.with_box("a", false, None);
    let dry = session.dry().await;
    assert_eq!(
        (step(&dry, "a").grade, step(&dry, "b").grade),
        (Grade::Verified, Grade::Computed)
    );
    assert_eq!(dry.targets[0].up, Some(true));
}

#[tokio::test]
async fn a_system_that_is_to_be_repaired_is_no_failure_and_another_system_is_a_refusal() {
    let mut session = boxed("repairs: [box]\n", "  - { id: a, uses: box.use }\n");
    session.with_box("a", true, None);
    let dry = session.dry().await;
    assert_eq!(
        (dry.verdict, step(&dry, "a").grade),
        (DryVerdict::Ready, Grade::Unknown)
    );
    session.with_box("a", false, Some("b"));
    assert_eq!(session.dry().await.verdict, DryVerdict::Refused);
    let mut session = boxed("", "  - { id: a, uses: box.use }\n");
    session.with_box("a", true, None);
    assert_eq!(session.dry().await.verdict, DryVerdict::CannotBegin);
    session.run.options.offline = true;
    let dry = session.dry().await;
    assert_eq!(
        (dry.verdict, step(&dry, "a").grade, dry.targets[0].up),
        (DryVerdict::Ready, Grade::Declared, None)
    );
}

#[tokio::test]
async fn what_is_missing_from_a_system_in_repair_may_come_through_another_one() {
    let (_temp, file) = effects();
    let steps = |needs: &str| {
        format!(
            "  - {{ id: fill, uses: test.once, with: {{ file: '{file}', name: fill }} }}\n  - {{ id: seek, uses: box.seek{needs} }}\n"
        )
    };
    for (repairs, needs, grade) in [
        ("repairs: [box]\n", ", needs: [fill]", Grade::Unknown),
        ("repairs: [box]\n", "", Grade::WouldFail),
        ("", ", needs: [fill]", Grade::WouldFail),
    ] {
        let mut session = boxed(repairs, &steps(needs));
        session.with_box("a", false, None);
        let dry = session.dry().await;
        assert_eq!(step(&dry, "seek").grade, grade, "{repairs:?} {needs:?}");
    }
}

/// Steps before and beside `work`, which cannot be taken back, and after it.
fn halves(file: &str) -> Session {
    Session::new(&format!(
        "apiVersion: jm/v1
name: halves
steps:
  - {{ id: before, uses: test.recover, with: {{ recovery_point: '', serving: false }} }}
  - {{ id: work, uses: test.final, needs: [before], with: {{ file: '{file}', name: work }} }}
  - {{ id: after, uses: test.noop, needs: [work] }}
  - {{ id: beside, uses: test.noop }}
finally:
  - {{ id: tidy, uses: test.noop }}
"
    ))
}

#[tokio::test]
async fn a_dry_run_goes_as_far_as_the_run_would() {
    let (_temp, file) = effects();
    let mut session = halves(&file);
    session.run.protected = true;
    assert_eq!(
        session.dry().await.verdict,
        DryVerdict::Refused,
        "`work` is not agreed to"
    );
    session.run.options.until = Some(crate::id("work"));
    let dry = session.dry().await;
    assert_eq!(dry.verdict, DryVerdict::Ready, "and it would not come to it");
    assert_eq!(dry.until, session.run.options.until);
    let left = |dry: &jm_run::DryRun| -> Vec<String> {
        let all = dry.steps.iter().chain(&dry.finally);
        let left = all.filter(|step| step.status == DryStatus::Left);
        left.map(|step| step.id.to_string()).collect()
    };
    assert_eq!(left(&dry), ["work", "after", "tidy"]);
    assert_eq!(step(&dry, "work").because.as_deref(), Some("the run stops before it"));

    assert_eq!(session.go().await, RunStatus::Stopped);
    for id in left(&dry) {
        assert_eq!(session.status(&id), "not-started", "{id} was left, as told");
    }
    assert_eq!(
        (session.status("before"), session.status("beside")),
        ("succeeded", "succeeded")
    );

    session.run.options.until = None;
    session.run.options.confirmed = true;
    let dry = session.dry().await;
    assert_eq!((dry.until.as_ref(), left(&dry).len()), (None, 0));
    assert_eq!(session.go().await, RunStatus::Completed);
}

#[tokio::test]
async fn what_fails_before_the_run_stops_ends_it() {
    let mut session = Session::new(
        "apiVersion: jm/v1
name: sooner
steps:
  - { id: bad, uses: test.fail, with: { message: broken } }
  - { id: work, uses: test.noop, needs: [bad] }
finally:
  - { id: tidy, uses: test.noop }
",
    );
    session.run.options.until = Some(crate::id("work"));
    let dry = session.dry().await;
    assert_eq!(
        (dry.verdict, step(&dry, "work").status, step(&dry, "tidy").status),
        (DryVerdict::WouldFail, DryStatus::Blocked, DryStatus::WillRun)
    );
    assert_eq!(session.go().await, RunStatus::Failed);
    assert_eq!(
        (session.status("work"), session.status("tidy")),
        ("blocked", "succeeded")
    );
}

#[tokio::test]
async fn a_dry_resume_shows_what_is_left() {
    let (temp, file) = effects();
    let broken = temp.path().join("broken").to_string_lossy().into_owned();
    std::fs::write(&broken, "x").expect("written");
    let mut session = Session::new(&format!(
        "apiVersion: jm/v1
name: rest
steps:
  - {{ id: a, uses: test.once, with: {{ file: '{file}', name: a }} }}
  - {{ id: b, uses: test.fail, needs: [a], with: {{ while: '{broken}' }} }}
  - {{ id: c, uses: test.echo, needs: [b], with: {{ value: '${{{{ steps.a.outputs.line }}}}' }} }}
"
    ));
    assert_eq!(session.go().await, RunStatus::Failed);
    let before = session.records.len();
    let dry = session.dry().await;
    assert!(dry.resumes);
    assert_eq!(step(&dry, "a").status, DryStatus::Done);
    assert_eq!(step(&dry, "b").grade, Grade::WouldFail);
    assert_eq!(
        (session.records.len(), jm_testkit::effects_in(&file).len()),
        (before, 1)
    );
}
