//! The plan and the targets file of the language page.

use std::collections::BTreeMap;

use jm_step::Effect;

use crate::testing::{PAGE_PLAN, PAGE_TARGETS, codes, compiled_with, now, page_registry, shown};
use crate::{Arguments, Because, Mode, Plan, compile, parse, parse_targets};

fn page() -> Plan {
    let compiled = compiled_with(PAGE_PLAN, Some(PAGE_TARGETS), Mode::Validate, &page_registry());
    compiled.expect("the plan of the page is valid").plan
}

#[test]
fn it_compiles_and_says_what_is_worth_saying() {
    let result = compiled_with(PAGE_PLAN, Some(PAGE_TARGETS), Mode::Validate, &page_registry());
    let found = codes(&result);
    assert_eq!(
        found,
        [
            "undo_leaves_dependents",
            "placeholder_contact",
            "placeholder_contact",
            "placeholder_contact"
        ],
        "{}",
        shown(result)
    );
}

#[test]
fn the_graph_is_as_written() {
    let plan = page();
    let waits: Vec<(&str, Because)> = plan
        .dependencies("resume")
        .iter()
        .map(|dep| (dep.step.as_str(), dep.because))
        .collect();
    assert_eq!(waits, [("quiesce", Because::Reference), ("switch", Because::Needs)]);
    let order: Vec<&str> = plan.topological().map(|step| step.id.as_str()).collect();
    assert_eq!(
        order,
        [
            "announce", "look", "find", "quiesce", "safety", "restore", "verify", "analyze", "switch", "resume",
            "health"
        ]
    );
    assert_eq!(plan.point_of_no_return().map(jm_step::StepId::as_str), Some("switch"));
    assert_eq!(plan.step("restore").expect("there").effect, Effect::Reversible);
    assert_eq!(plan.step("restore").expect("there").retry.attempts, 1);
    let put_back = plan.step("put-back").expect("there");
    assert!(put_back.in_finally);
    let decided: Vec<(&str, bool)> = plan
        .dependencies("put-back")
        .iter()
        .map(|dep| (dep.step.as_str(), dep.decided_by_if))
        .collect();
    assert_eq!(decided, [("look", false), ("quiesce", true), ("switch", true)]);
    let dependents: Vec<&str> = plan.dependents("find").iter().map(jm_step::StepId::as_str).collect();
    assert_eq!(dependents, ["quiesce", "restore", "verify"]);
}

#[test]
fn targets_are_bound_by_role() {
    let plan = page();
    let restore = plan.step("restore").expect("there");
    let bound: Vec<(&str, &str)> = restore
        .bindings
        .iter()
        .map(|(role, target)| (role.as_str(), target.as_str()))
        .collect();
    assert_eq!(bound, [("backups", "backups"), ("database", "database")]);
    let used: Vec<String> = plan.targets_used().into_iter().map(String::from).collect();
    assert_eq!(used, ["backups", "cluster", "database", "webhook"]);
}

#[test]
fn the_environment_is_put_in_with_the_types_of_the_fields() {
    let environment = BTreeMap::from([
        ("DATABASE_URL", "postgres://app:hunter2@db/journeyman"),
        ("ENCRYPTION_KEY", "correct horse"),
        ("AWS_ENABLED", "true"),
        ("BACKUP_S3_BUCKET", "bucket"),
        ("RETENTION_DAYS", "14"),
    ]);
    let (targets, errors) = parse_targets("targets.yaml", PAGE_TARGETS);
    assert!(errors.is_empty(), "{errors:?}");
    let lookup = |name: &str| Ok(environment.get(name).map(|value| (*value).to_owned()));
    let rendered = targets
        .render(
            &page_registry(),
            &page().targets_used(),
            &crate::Around {
                environment: &jm_step::Environment::default(),
                variable: &lookup,
                readable: &|_| Ok(()),
                repaired: page().repairs(),
            },
        )
        .expect("complete");
    let backups = rendered
        .targets
        .iter()
        .find(|target| target.name.as_str() == "backups")
        .expect("there");
    assert_eq!(
        backups.config,
        serde_json::json!({
            "directory": "/var/backups/journeyman",
            "s3": { "enabled": true, "bucket": "bucket" },
            "key": "correct horse",
            "retention_days": 14,
        })
    );
    let secrets: Vec<&str> = rendered.secrets.iter().map(jm_step::Secret::expose).collect();
    assert_eq!(secrets, ["correct horse", "postgres://app:hunter2@db/journeyman"]);
    let webhook: Vec<(&str, &str)> = rendered
        .not_configured
        .iter()
        .map(|(name, reason)| (name.as_str(), reason.as_str()))
        .collect();
    assert_eq!(webhook, [("webhook", "its `url` is empty")]);
}

#[test]
fn a_run_takes_the_defaults() {
    let (document, _) = parse("plan.yaml", PAGE_PLAN);
    let (targets, _) = parse_targets("targets.yaml", PAGE_TARGETS);
    let plan = compile(
        &document,
        &page_registry(),
        &Arguments::none(),
        Some(&targets),
        Mode::Run,
        now(),
    )
    .expect("valid")
    .plan;
    assert_eq!(plan.inputs()["replicas"], 10);
    assert_eq!(
        plan.objectives_value(),
        serde_json::json!({ "rto": "30m", "rpo": "24h" })
    );
}
