//! The same contract on the stand-in and on ministack; what goes wrong, on the stand-in.

use jm_sandbox::cloudfront::{Fault, Pace, Request};
use jm_step::{AnyStepType, Grade, StepErrorKind};
use jm_testkit::conformance::{self, World as _};
use serde_json::{Value, json};

use super::*;
use crate::world::{World, quick, stand_ins, worlds};

/// A stand-in that needs nobody to look.
fn at_once() -> Pace {
    Pace {
        completes_after_looks: 0,
        ..quick()
    }
}

fn two_paths() -> Value {
    json!({ "paths": ["/static/*", "/ü.html", "/static/app.js"] })
}

#[tokio::test]
async fn one_reference_makes_one_invalidation() {
    for world in worlds().await {
        let paths = ["/a".to_owned()];
        let cdn = world.cdn();
        let Asked::Accepted(first) = cdn.invalidate(&paths, "r1").await.expect("an answer") else {
            panic!("{}: not accepted", world.name);
        };
        let Asked::Accepted(again) = cdn.invalidate(&paths, "r1").await.expect("an answer") else {
            panic!("{}: not accepted", world.name);
        };
        assert_eq!(first.id, again.id, "{}", world.name);
        let other = cdn.invalidate(&["/b".to_owned()], "r1").await.expect_err("other paths");
        assert_eq!(other.kind(), StepErrorKind::Conflict, "{}: {other}", world.name);
        assert_eq!(world.invalidations().await, 1, "{}", world.name);
        let gone = cdn.invalidation("INOTTHERE").await.expect("an answer");
        assert_eq!(gone, None, "{}", world.name);
    }
}

#[tokio::test]
async fn it_does_what_the_preview_says_and_waits_until_it_is_done() {
    for world in worlds().await {
        let bench = world.bench();
        let preview = bench.preview(&Invalidate, two_paths()).await.expect("a preview");
        assert_eq!(preview.grade, Grade::Computed);
        assert!(
            preview.summary.contains("2 paths") && preview.summary.contains("0.010 USD"),
            "{}",
            preview.summary
        );
        assert_eq!(
            world.invalidations().await,
            0,
            "{}: a preview writes nothing",
            world.name
        );
        let ran = bench.run(&Invalidate, two_paths()).await;
        assert_eq!(ran.changes, preview.changes, "{}", world.name);
        let output = ran.output();
        assert_eq!(output["paths"], 2);
        let id = output["invalidations"][0].as_str().expect("an id");
        let found = world.cdn().invalidation(id).await.expect("an answer").expect("there");
        assert!(found.completed, "{}", world.name);
        // The same deed again, as after a crash between the request and the journal.
        assert_eq!(bench.attempt(2).run(&Invalidate, two_paths()).await.output(), output);
        assert_eq!(world.invalidations().await, 1, "{}", world.name);
        // Another deed is another invalidation.
        world
            .bench()
            .key("run-step-1")
            .run(&Invalidate, two_paths())
            .await
            .output();
        assert_eq!(world.invalidations().await, 2, "{}", world.name);
    }
}

#[tokio::test]
async fn a_distribution_that_is_not_there_is_said_so() {
    for world in worlds().await {
        let bench = world.bench_of("ENOTTHERE12345").await;
        let error = bench.preview(&Invalidate, json!({})).await.expect_err("not there");
        assert_eq!(error.kind(), StepErrorKind::NotFound, "{}: {error}", world.name);
        let error = bench.run(&Invalidate, json!({})).await.error();
        assert_eq!(error.kind(), StepErrorKind::NotFound, "{}: {error}", world.name);
    }
}

#[tokio::test]
async fn throttling_trouble_and_lost_replies_come_to_one_invalidation() {
    for fault in [Fault::Throttled, Fault::Unavailable, Fault::ReplyLost] {
        let world = World::stand_in(quick()).await;
        // More than the SDK's own tries.
        for _ in 0..5 {
            world.server().inject(Request::CreateInvalidation, fault);
        }
        let ran = world.bench().run(&Invalidate, json!({})).await;
        let again = |line: &String| line.ends_with("; asking again");
        assert!(ran.log.iter().any(again), "{fault:?}: {:?}", ran.log);
        assert_eq!(ran.output()["paths"], 1, "{fault:?}");
        assert_eq!(world.effects(), 1, "{fault:?}");
    }
}

/// A resume after the policy was mended is another deed: what was accepted before would be asked for, and paid, again.
#[tokio::test]
async fn who_may_not_look_at_it_asks_for_none() {
    let world = World::stand_in(quick()).await;
    world.server().inject(Request::GetInvalidation, Fault::Denied);
    let error = world.bench().run(&Invalidate, json!({})).await.error();
    assert_eq!(error.kind(), StepErrorKind::Denied, "{error}");
    assert_eq!(world.effects(), 0);
    world
        .bench()
        .key("run-step-1")
        .run(&Invalidate, json!({}))
        .await
        .output();
    assert_eq!(world.effects(), 1);
}

#[tokio::test]
async fn trouble_that_outlasts_the_sdk_is_waited_out() {
    for accepted in [false, true] {
        let world = World::stand_in(quick()).await;
        // What was accepted goes straight to the looks that wait for it.
        let bench = if accepted {
            let cut = world.bench().run_until(&Invalidate, json!({}), 1).await;
            world.bench().attempt(2).checkpoint(cut.checkpoints[0].clone())
        } else {
            world.bench()
        };
        // More than the SDK's own tries.
        for _ in 0..5 {
            world.server().inject(Request::GetInvalidation, Fault::Unavailable);
        }
        let ran = bench.run(&Invalidate, json!({})).await;
        let again = |line: &String| line.ends_with("; asking again");
        assert!(ran.log.iter().any(again), "{accepted}: {:?}", ran.log);
        ran.output();
        assert_eq!(world.effects(), 1, "{accepted}");
    }
}

#[tokio::test]
async fn a_full_cloudfront_is_waited_for() {
    let pace = Pace {
        completes_after: Duration::from_secs(3),
        completes_after_looks: 0,
        ..quick()
    };
    let world = World::stand_in(pace).await;
    let others: Vec<String> = (0..15).map(|n| format!("/others/{n}/*")).collect();
    world.cdn().invalidate(&others, "others").await.expect("accepted");
    let ran = world.bench().run(&Invalidate, json!({})).await;
    assert!(
        ran.log.iter().any(|line| line.contains("waiting for a place")),
        "{:?}",
        ran.log
    );
    ran.output();
    assert_eq!(world.effects(), 2);
}

#[tokio::test]
async fn many_wildcards_go_in_batches_or_as_one() {
    let many: Vec<String> = (0..20).map(|n| format!("/{n:02}/*")).collect();
    let world = World::stand_in(at_once()).await;
    let ran = world.bench().run(&Invalidate, json!({ "paths": many })).await;
    assert_eq!(ran.saves(), 2);
    assert_eq!(ran.output()["invalidations"].as_array().expect("a list").len(), 2);
    let world = World::stand_in(quick()).await;
    let input = json!({ "paths": many, "collapse_over": 15 });
    let output = world.bench().run(&Invalidate, input).await.output();
    assert_eq!(output["paths"], 1);
}

#[tokio::test]
async fn it_keeps_what_a_step_type_promises() {
    let make = stand_ins(8, quick()).await;
    conformance::runs_once(&Invalidate, &make, json!({})).await;
    conformance::preview_writes_nothing(&Invalidate, &make, json!({})).await;
    let many: Vec<String> = (0..20).map(|n| format!("/{n:02}/*")).collect();
    // Two batches, of which the second finds room when the first is done: cut after each is accepted.
    let make = stand_ins(3, at_once()).await;
    conformance::resumes_after_each_checkpoint(&Invalidate, &make, json!({ "paths": many })).await;
    let slow = Pace {
        completes_after: Duration::from_mins(10),
        ..quick()
    };
    let make = stand_ins(1, slow).await;
    let (moment, patience) = (Duration::from_millis(50), Duration::from_secs(3));
    conformance::cancels_promptly(&Invalidate, &make, json!({}), moment, patience).await;
}

#[tokio::test]
async fn the_probe_tells_running_from_done_and_from_gone() {
    let world = World::stand_in(quick()).await;
    let cut = world.bench().run_until(&Invalidate, json!({}), 1).await;
    let bench = world.bench().checkpoint(cut.checkpoints[0].clone());
    assert_eq!(
        bench.probe(&Invalidate, json!({})).await.expect("an answer"),
        Probe::Running
    );
    // It completes after one look.
    let verdict = bench.probe(&Invalidate, json!({})).await.expect("an answer");
    assert!(matches!(verdict, Probe::Succeeded(_)), "{verdict:?}");
    let gone = bench.checkpoint(json!({ "invalidations": ["INOTTHERE"] }));
    assert_eq!(
        gone.probe(&Invalidate, json!({})).await.expect("an answer"),
        Probe::NotStarted
    );
    let fresh = world.bench().probe(&Invalidate, json!({})).await.expect("an answer");
    assert_eq!(fresh, Probe::NotStarted);
}

#[test]
fn bad_paths_are_found_before_the_run() {
    let input = json!({ "paths": ["index.html", "/a*b", "/good"] });
    let issues = AnyStepType::check(&Invalidate, &input).expect_err("bad");
    let pointers: Vec<&str> = issues.iter().map(|issue| issue.pointer.as_str()).collect();
    assert_eq!(pointers, ["/paths/0", "/paths/1"]);
    AnyStepType::check(&Invalidate, &json!({ "paths": [] })).expect_err("nothing to drop");
}

#[test]
fn a_reference_names_the_deed_and_its_paths() {
    let paths = ["/a".to_owned()];
    assert_eq!(reference("k", &paths), reference("k", &paths));
    assert_ne!(reference("k", &paths), reference("k", &["/b".to_owned()]));
    assert_ne!(reference("k", &paths), reference("l", &paths));
    assert!(reference("k", &paths).starts_with("jm-k-"));
    assert!(reference(&"k".repeat(200), &paths).len() <= LONGEST_REFERENCE);
}

/// How long an invalidation takes is up to CloudFront, and how long it is waited for to the time-out: on a clock that
/// nobody has to wait for.
#[tokio::test(start_paused = true)]
async fn forty_minutes_are_waited_for_and_more_than_the_time_out_is_not() {
    for (minutes, is_in_time) in [(40, true), (46, false)] {
        let (cx, listener) = jm_step::testing::Bench::new().step();
        let began = tokio::time::Instant::now();
        let looks = std::cell::Cell::new(0);
        let look = || {
            looks.set(looks.get() + 1);
            let completed = began.elapsed() >= Duration::from_mins(minutes);
            let id = "I".to_owned();
            std::future::ready(Ok(Some(Invalidation { id, completed })))
        };
        let waited = tokio::time::timeout(Invalidate::TIMEOUT, until_complete(&cx, "it", look)).await;
        assert_eq!(matches!(waited, Ok(Ok(()))), is_in_time, "{minutes}: {waited:?}");
        let took = began.elapsed();
        let least = Duration::from_mins(if is_in_time { minutes } else { 45 });
        assert!(
            least <= took && took < least + Duration::from_mins(1),
            "{minutes}: {took:?}"
        );
        // Often enough, and not so often that CloudFront would mind.
        let looks = looks.get();
        assert!((100..=250).contains(&looks), "{minutes}: {looks} looks");
        assert!(listener.told(cx).await.log.is_empty());
    }
}

/// Trouble that passes is waited out, and a CloudFront that is down is told as that.
#[tokio::test(start_paused = true)]
async fn trouble_is_waited_out_for_five_minutes() {
    for (minutes, passes) in [(4, true), (6, false)] {
        let (cx, listener) = jm_step::testing::Bench::new().step();
        let began = tokio::time::Instant::now();
        let look = || {
            let id = "I".to_owned();
            let answer = Some(Invalidation { id, completed: true });
            let is_down = began.elapsed() < Duration::from_mins(minutes);
            std::future::ready(if is_down {
                Err(StepError::unavailable("503"))
            } else {
                Ok(answer)
            })
        };
        let waited = until_complete(&cx, "it", look).await;
        assert_eq!(waited.is_ok(), passes, "{minutes}: {waited:?}");
        assert!(
            listener
                .told(cx)
                .await
                .log
                .iter()
                .all(|line| line.contains("asking again"))
        );
    }
}
