//! On the stand-in and on ministack; what goes wrong, on the stand-in.

use jm_sandbox::cloudfront::{Fault, Pace, Request};
use jm_step::{AnyStepType, Grade};
use jm_testkit::conformance::{self, World as _};

use super::*;
use crate::world::{ORIGIN, World, quick, stand_ins, worlds};

const STANDBY: &str = "standby.s3.eu-west-1.amazonaws.com";

#[tokio::test]
async fn the_origin_becomes_another_and_comes_back() {
    for world in worlds().await {
        let input = json!({ "domain": STANDBY, "path": "/production" });
        let bench = world.bench();
        let preview = bench.preview(&SetOrigin, input.clone()).await.expect("a preview");
        assert_eq!(preview.grade, Grade::Computed);
        let verdict = bench.probe(&SetOrigin, input.clone()).await.expect("an answer");
        assert_eq!(verdict, Probe::NotStarted, "{}", world.name);
        let ran = bench.run(&SetOrigin, input.clone()).await;
        assert_eq!(ran.changes, preview.changes, "{}", world.name);
        let saved = ran.outputs[0].clone();
        let output = ran.output();
        assert_eq!(output["previous_domain"], ORIGIN);
        let found = world.cdn().snapshot().await.expect("a snapshot").distribution;
        assert!(found.deployed, "{}", world.name);
        assert_eq!(
            (found.origins[0].domain.as_str(), found.origins[0].path.as_str()),
            (STANDBY, "/production")
        );
        // Taken up after a crash, it knows what was before, and changes nothing more.
        let again = bench.attempt(2).saved_output(saved);
        let verdict = again.probe(&SetOrigin, input.clone()).await.expect("an answer");
        assert_eq!(verdict, Probe::Succeeded(output.clone()), "{}", world.name);
        assert_eq!(again.run(&SetOrigin, input.clone()).await.output(), output);
        let preview = world.bench().preview(&SetOrigin, input).await.expect("a preview");
        assert_eq!(preview.grade, Grade::Verified);
        let back = json!({ "domain": output["previous_domain"], "path": output["previous_path"] });
        world.bench().run(&SetOrigin, back).await.output();
        let found = world.cdn().snapshot().await.expect("a snapshot").distribution;
        assert_eq!(
            (found.origins[0].domain.as_str(), found.origins[0].path.as_str()),
            (ORIGIN, "")
        );
    }
}

#[tokio::test]
async fn a_change_on_top_of_another_is_refused() {
    for world in worlds().await {
        let seen = world.cdn().snapshot().await.expect("a snapshot");
        world.touch().await;
        let origin = seen.distribution.origins[0].clone();
        let error = world.cdn().set_origin(&seen, &origin).await.expect_err("changed since");
        assert_eq!(error.kind(), StepErrorKind::Conflict, "{}: {error}", world.name);
    }
}

#[tokio::test]
async fn a_lost_reply_does_not_change_twice() {
    let world = World::stand_in(quick()).await;
    world.server().inject(Request::UpdateDistribution, Fault::ReplyLost);
    world.server().inject(Request::GetDistribution, Fault::Throttled);
    let ran = world.bench().run(&SetOrigin, json!({ "domain": STANDBY })).await;
    assert_eq!(ran.changes.len(), 1);
    assert_eq!(ran.output()["previous_domain"], ORIGIN);
    assert_eq!(world.effects(), 1);
}

#[tokio::test]
async fn it_keeps_what_a_step_type_promises() {
    let make = stand_ins(8, quick()).await;
    let input = json!({ "domain": STANDBY });
    conformance::runs_once(&SetOrigin, &make, input.clone()).await;
    conformance::preview_writes_nothing(&SetOrigin, &make, input.clone()).await;
    conformance::resumes_after_each_checkpoint(&SetOrigin, &make, input.clone()).await;
    let slow = Pace {
        deploys_after: Duration::from_mins(10),
        ..quick()
    };
    let make = stand_ins(1, slow).await;
    let (moment, patience) = (Duration::from_millis(50), Duration::from_secs(3));
    conformance::cancels_promptly(&SetOrigin, &make, input, moment, patience).await;
}

#[tokio::test]
async fn an_origin_that_is_not_there_is_said_so() {
    for world in worlds().await {
        let input = json!({ "domain": STANDBY, "origin": "other" });
        let error = world.bench().run(&SetOrigin, input).await.error();
        assert_eq!(error.kind(), StepErrorKind::NotFound, "{}", world.name);
        assert!(error.hint_text().is_some_and(|hint| hint.contains("assets")), "{error}");
    }
}

#[test]
fn what_does_not_move_is_named() {
    let mut output: Output = serde_json::from_value(json!({
        "distribution": "E", "origin": "a", "domain": STANDBY, "path": "", "previous_domain": ORIGIN, "previous_path": "",
    }))
    .expect("an output");
    assert_eq!(staying(&output), "");
    output.other_origins = vec!["api.example.com".to_owned(), "media.example.com".to_owned()];
    assert_eq!(
        staying(&output),
        "; what it takes from `api.example.com`, `media.example.com` stays there"
    );
}

#[test]
fn nonsense_is_found_before_the_run() {
    let issues = AnyStepType::check(&SetOrigin, &json!({ "domain": "https://a/", "path": "b/" })).expect_err("bad");
    let pointers: Vec<&str> = issues.iter().map(|issue| issue.pointer.as_str()).collect();
    assert_eq!(pointers, ["/domain", "/path"]);
}
