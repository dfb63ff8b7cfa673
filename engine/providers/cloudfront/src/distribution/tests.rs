//! On the stand-in and on ministack.

use std::time::Duration;

use jm_client_cloudfront::Origin;
use jm_step::{AnyStepType, Grade, StepErrorKind};
use jm_testkit::conformance::{World as _, cancels_promptly, preview_writes_nothing, runs_once, saves_nothing};

use super::*;
use crate::list::List;
use crate::world::{ALIAS, ORIGIN, World, quick, stand_ins, worlds};

#[tokio::test]
async fn a_distribution_that_is_as_expected_is_told_of() {
    for world in worlds().await {
        let input = json!({ "alias": ALIAS, "origin": ORIGIN });
        let preview = world.bench().preview(&Look, input.clone()).await.expect("a preview");
        let output = world.bench().run(&Look, input).await.output();
        assert_eq!(
            (preview.grade, preview.predicted.as_ref()),
            (Grade::Verified, Some(&output))
        );
        assert_eq!(output["id"], world.distribution.as_str(), "{}", world.name);
        assert_eq!(output["url"], format!("https://{ALIAS}/"));
        assert_eq!(output["default_root_object"], "index.html");
        assert_eq!(output["comment"], "a & b", "{}", world.name);
        // The bucket's name alone will do.
        world
            .bench()
            .run(&Look, json!({ "origin": "assets", "path": "" }))
            .await
            .output();
        let listed = world.bench().run(&List, json!({})).await.output();
        let all = listed["distributions"].as_array().expect("a list");
        assert_eq!(all.len(), 1, "{}", world.name);
        assert_eq!((&all[0]["id"], &all[0]["aliases"]), (&output["id"], &output["aliases"]));
    }
}

#[tokio::test]
async fn each_expectation_can_fail() {
    for world in worlds().await {
        for (input, said) in [
            (
                json!({ "alias": "other.example.com" }),
                "does not serve `other.example.com`",
            ),
            (json!({ "origin": "other" }), "does not take its content from `other`"),
            (
                json!({ "path": "/production" }),
                "serves the folder `/` of its origin, and not `/production`",
            ),
        ] {
            let error = world.bench().run(&Look, input.clone()).await.error();
            assert_eq!(error.kind(), StepErrorKind::Failed);
            assert!(error.message().contains(said), "{}: {error}", world.name);
            world
                .bench()
                .preview(&Look, input)
                .await
                .expect_err("a preview sees it too");
        }
        let error = world
            .bench_of("ENOTTHERE12345")
            .await
            .run(&Look, json!({}))
            .await
            .error();
        assert_eq!(error.kind(), StepErrorKind::NotFound, "{}: {error}", world.name);
    }
}

#[tokio::test]
async fn a_long_list_is_read_to_its_end() {
    let world = World::stand_in(quick()).await;
    // More than one page.
    for n in 0..120 {
        let made = world.server().distribute("assets", &format!("{n}.example.com"));
        made.expect("a distribution");
    }
    let listed = world.bench().run(&List, json!({})).await.output();
    let mut ids: Vec<&str> = listed["distributions"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|one| one["id"].as_str())
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 121);
}

#[tokio::test]
async fn who_does_not_know_the_id_can_list() {
    for world in worlds().await {
        let nobody = world.bench_of("").await;
        let error = nobody.run(&Look, json!({})).await.error();
        assert_eq!(error.kind(), StepErrorKind::InvalidInput, "{}: {error}", world.name);
        assert!(
            error.hint_text().is_some_and(|hint| hint.contains("cloudfront.list")),
            "{error}"
        );
        let listed = nobody.run(&List, json!({})).await.output();
        assert_eq!(
            listed["distributions"][0]["id"],
            world.distribution.as_str(),
            "{}",
            world.name
        );
    }
}

/// A distribution of no world.
fn found(aliases: &[&str]) -> Distribution {
    Distribution {
        id: "E".to_owned(),
        domain: "e.cloudfront.net".to_owned(),
        aliases: aliases.iter().map(|&alias| alias.to_owned()).collect(),
        origins: Vec::new(),
        default_origin: String::new(),
        enabled: true,
        deployed: true,
        default_root_object: String::new(),
        comment: String::new(),
    }
}

fn input(fields: serde_json::Value) -> Input {
    serde_json::from_value(fields).expect("an input")
}

#[test]
fn a_disabled_distribution_is_not_as_expected() {
    let found = Distribution {
        enabled: false,
        ..found(&[])
    };
    assert_eq!(faults(&found, &input(json!({}))), ["is disabled"]);
    assert!(faults(&found, &input(json!({ "enabled": false }))).is_empty());
}

#[test]
fn a_star_in_an_alias_stands_for_one_label_and_is_no_address() {
    let found = found(&["*.example.com", "example.org"]);
    let asked = |alias: &str| input(json!({ "alias": alias }));
    for alias in ["www.example.com", "*.example.com", "example.org"] {
        assert!(faults(&found, &asked(alias)).is_empty(), "{alias}");
    }
    for alias in ["example.com", "a.www.example.com", "www.example.org", "wwwexample.com"] {
        assert_eq!(faults(&found, &asked(alias)), [format!("does not serve `{alias}`")]);
    }
    assert_eq!(host(&found, &asked("www.example.com")), "www.example.com");
    assert_eq!(host(&found, &asked("*.example.com")), "example.org");
    assert_eq!(host(&found, &asked("")), "example.org");
    let only = Distribution {
        aliases: vec!["*.example.com".to_owned()],
        ..found
    };
    assert_eq!(host(&only, &asked("")), "e.cloudfront.net");
}

#[test]
fn the_folder_that_is_served_and_other_origins_are_told() {
    let origin = |id: &str, domain: &str, path: &str| Origin {
        id: id.to_owned(),
        domain: domain.to_owned(),
        path: path.to_owned(),
    };
    let found = Distribution {
        origins: vec![
            origin("a", "a.example.com", "/production"),
            origin("b", "b.example.com", ""),
        ],
        default_origin: "a".to_owned(),
        ..found(&[])
    };
    assert_eq!(folder(&found), "production");
    assert_eq!(found.other_origins("a"), ["b.example.com"]);
}

#[tokio::test]
async fn those_that_look_keep_what_a_step_type_promises() {
    let cases: [(&dyn AnyStepType, serde_json::Value); 2] = [(&Look, json!({ "alias": ALIAS })), (&List, json!({}))];
    for (step, input) in cases {
        // Each world has a distribution by another name.
        let make = stand_ins(4, quick()).await;
        preview_writes_nothing(step, &make, input.clone()).await;
        runs_once(step, &make, input.clone()).await;
        saves_nothing(step, &make, input.clone()).await;
        let (moment, patience) = (Duration::from_millis(1), Duration::from_secs(3));
        cancels_promptly(step, &make, input, moment, patience).await;
    }
}
