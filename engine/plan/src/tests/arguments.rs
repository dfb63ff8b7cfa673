//! Findings about the values that inputs are given.

use insta::assert_snapshot;

use crate::testing::{codes, compiled, compiled_with, plan, registry, shown};
use crate::{Arguments, Given, Mode, parse};

const GIVEN: &str = "inputs:\n  name: { type: string, enum: [x, y], description: Which one. }\n  days: { type: integer, min: 1, max: 9, default: 3 }\n  flags: { type: array, items: boolean, default: [] }\n  token: { type: secret, default: 'env:TOKEN' }\n  since: { type: timestamp, default: '2026-01-01T00:00:00Z' }\nsteps:\n  - { id: a, uses: test.look, with: { message: '${{ inputs.name }} ${{ inputs.days }} ${{ inputs.flags }} ${{ inputs.since }}', password: '${{ inputs.token }}' } }\n";

fn given(pairs: &[&str]) -> Result<Arguments, crate::PlanErrors> {
    let (document, _) = parse("plan.yaml", &plan(GIVEN));
    Arguments::parse(&document, pairs.iter().map(|pair| Given::Pair(pair)))
}

#[test]
fn arguments_are_typed_by_the_plan() {
    let (document, _) = parse("plan.yaml", &plan(GIVEN));
    let arguments = given(&["name=x", "days=4", "flags=true,no", "token=file:/run/token"]).expect("valid");
    let compiled = crate::compile(
        &document,
        &registry(),
        &arguments,
        None,
        Mode::Run,
        crate::testing::now(),
    )
    .expect("valid");
    let plan = compiled.plan;
    assert_eq!(plan.inputs()["days"], 4);
    assert_eq!(plan.inputs()["flags"], serde_json::json!([true, false]));
    assert_eq!(plan.inputs()["token"], "file:/run/token");
    assert_eq!(plan.secret_inputs()["token"], "file:/run/token");
    let again = Arguments::from_journal(&document, plan.inputs());
    let again = crate::compile(&document, &registry(), &again, None, Mode::Run, crate::testing::now())
        .expect("valid")
        .plan;
    assert_eq!(again.inputs(), plan.inputs());
    assert_eq!(again.secret_inputs(), plan.secret_inputs());
}

#[test]
fn arguments_that_do_not_fit_are_reported_together_and_no_secret_is_repeated() {
    let errors = given(&[
        "name=z",
        "days=12",
        "days",
        "nam=x",
        "token=hunter2",
        "flags=maybe",
        "since=today",
    ])
    .expect_err("invalid");
    let shown = crate::testing::show(errors.errors());
    assert!(!shown.contains("hunter2"), "{shown}");
    assert_snapshot!(shown, @r#"
    jm::plan::invalid_argument

      × input `name`: `z` is not one of `x`, `y`
       ╭─[-i:1:1]
     1 │ name=z
       · ──────
       ╰────
      help: Which one.
    jm::plan::invalid_argument

      × input `days`: it is above `max: 9`
       ╭─[-i:1:1]
     1 │ days=12
       · ───────
       ╰────
    jm::plan::invalid_argument

      × this is not of the form `name=value`
       ╭─[-i:1:1]
     1 │ days
       · ────
       ╰────
      help: write `-i name=value`
    jm::plan::invalid_argument

      × input `token`: a secret is given as `env:NAME` or `file:PATH`
       ╭─[-i:1:1]
     1 │ token=[secret]
       · ──────────────
       ╰────
    jm::plan::invalid_argument

      × input `flags`: `maybe` is neither `true` nor `false`
       ╭─[-i:1:1]
     1 │ flags=maybe
       · ───────────
       ╰────
    jm::plan::invalid_argument

      × input `since`: `today` is not a time such as `2026-11-23T02:00:00Z`
       ╭─[-i:1:1]
     1 │ since=today
       · ───────────
       ╰────
    jm::plan::unknown_input

      × the plan has no input `nam`
       ╭─[-i:1:1]
     1 │ nam
       · ───
       ╰────
      help: did you mean `name`?
    "#);
}

#[test]
fn files_of_inputs_are_read() {
    let (document, _) = parse("plan.yaml", &plan(GIVEN));
    let text = "name: y\ndays: many\ntoken: hunter2\nother: 1\n";
    let errors = Arguments::parse(
        &document,
        [Given::File {
            name: "inputs.yaml",
            text,
        }],
    )
    .expect_err("invalid");
    assert_snapshot!(crate::testing::show(errors.errors()), @r#"
    jm::plan::invalid_argument

      × input `days`: `many` is not of type `integer`
       ╭─[inputs.yaml:2:7]
     1 │ name: y
     2 │ days: many
       ·       ────
     3 │ token: hunter2
       ╰────
    jm::plan::invalid_argument

      × the secret `token` stands here in clear
       ╭─[inputs.yaml:3:1]
     2 │ days: many
     3 │ token: hunter2
       · ─────
     4 │ other: 1
       ╰────
      help: give it as `env:NAME` or `file:PATH`
    jm::plan::unknown_input

      × the plan has no input `other`
       ╭─[inputs.yaml:4:1]
     3 │ token: hunter2
     4 │ other: 1
       · ─────
       ╰────
      help: its inputs are `name`, `days`, `flags`, `token`, `since`
    "#);
    let file = Given::File {
        name: "inputs.yaml",
        text: "name: y\ndays: 5\n",
    };
    let arguments = Arguments::parse(&document, [file, Given::Pair("days=6")]).expect("valid");
    assert_eq!(arguments.values["days"], 6);
}

#[test]
fn what_has_no_default_must_be_given_to_a_run() {
    assert_snapshot!(shown(compiled_with(&plan(GIVEN), None, Mode::Run, &registry())), @r#"
    jm::plan::missing_argument

      × the input `name` was not given
       ╭─[plan.yaml:4:3]
     3 │ inputs:
     4 │   name: { type: string, enum: [x, y], description: Which one. }
       ·   ──┬─
       ·     ╰── declared here, without a default
     5 │   days: { type: integer, min: 1, max: 9, default: 3 }
       ╰────
      help: add `-i name=VALUE`
    "#);
    assert_eq!(codes(&compiled(&plan(GIVEN))), [""; 0]);
}
