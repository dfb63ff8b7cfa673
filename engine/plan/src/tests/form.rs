//! Findings about the form of a file.

use insta::assert_snapshot;

use crate::parse;
use crate::testing::{codes, compiled, findings, plan, show};

const STEP: &str = "steps: [{ id: a, uses: test.look }]\n";

fn read(text: &str) -> String {
    show(&parse("plan.yaml", text).1)
}

#[test]
fn the_smallest_plan_is_valid() {
    assert_eq!(findings(STEP), "nothing");
}

#[test]
fn another_kind_of_file_is_named() {
    assert_snapshot!(read(""), @r#"
    jm::plan::not_this_kind

      × the file is empty
       ╭─[plan.yaml:1:1]
       ╰────
      help: a plan begins with `apiVersion: jm/v1`, `name:` and `steps:`
    "#);
    assert_snapshot!(read("name: x\n"), @r#"
    jm::plan::not_this_kind

      × `apiVersion` is missing
       ╭─[plan.yaml:1:1]
     1 │ name: x
       · ────
       ╰────
      help: write `apiVersion: jm/v1` at the top
    "#);
    assert_snapshot!(read("apiVersion: jm/v2\nname: x\n"), @r#"
    jm::plan::not_this_kind

      × this version of the language is not known
       ╭─[plan.yaml:1:13]
     1 │ apiVersion: jm/v2
       ·             ─────
     2 │ name: x
       ╰────
      help: this jm reads `apiVersion: jm/v1`; a newer version needs a newer jm
    "#);
    assert_snapshot!(read("apiVersion: jm/v1\nkind: Targets\n"), @r#"
    jm::plan::not_this_kind

      × this is a targets file, not a plan
       ╭─[plan.yaml:2:7]
     1 │ apiVersion: jm/v1
     2 │ kind: Targets
       ·       ───────
       ╰────
    "#);
    assert_snapshot!(read("- a\n- b\n"), @r#"
    jm::plan::wrong_type

      × a list stands where a mapping is wanted
       ╭─[plan.yaml:1:1]
     1 │ - a
       · ┬
       · ╰── a plan is a mapping of fields
     2 │ - b
       ╰────
    "#);
}

#[test]
fn missing_and_unknown_fields_of_several_steps_are_reported_together() {
    assert_snapshot!(findings("steps:\n  - id: a\n    uses: test.look\n    tiemout: 5m\n  - uses: test.look\n  - id: c\n    colour: red\ncolour: red\n"), @r#"
    jm::plan::unknown_field

      × a step has no field `tiemout`
       ╭─[plan.yaml:6:5]
     5 │     uses: test.look
     6 │     tiemout: 5m
       ·     ───────
     7 │   - uses: test.look
       ╰────
      help: did you mean `timeout`?
    jm::plan::missing_field

      × a step needs `id`
       ╭─[plan.yaml:7:5]
     6 │     tiemout: 5m
     7 │   - uses: test.look
       ·     ────
     8 │   - id: c
       ╰────
      help: `id` is the step's name, such as `restore`
    jm::plan::missing_field

      × a step needs `uses`
       ╭─[plan.yaml:8:5]
     7 │   - uses: test.look
     8 │   - id: c
       ·     ──
     9 │     colour: red
       ╰────
      help: `uses` is the step type, such as `postgres.verify`
    jm::plan::unknown_field

      × a step has no field `colour`
        ╭─[plan.yaml:9:5]
      8 │   - id: c
      9 │     colour: red
        ·     ──────
     10 │ colour: red
        ╰────
      help: the fields are `id`, `uses`, `target`, `targets`, `needs`, `if`, `with`,
            `retry`, `timeout`, `budget`, `on_failure`, `undoes`, `name`, `why`, `runbook`
    jm::plan::unknown_field

      × a plan has no field `colour`
        ╭─[plan.yaml:10:1]
      9 │     colour: red
     10 │ colour: red
        · ──────
        ╰────
      help: the fields are `apiVersion`, `kind`, `name`, `title`, `description`, `version`,
            `updated`, `reviewed`, `review_every`, `objectives`, `contacts`, `repairs`,
            `schedule`, `inputs`, `max_parallel`, `deadline`, `steps`, `finally`, `outputs`,
            `drill`
    "#);
}

#[test]
fn names_have_a_form() {
    assert_snapshot!(findings("inputs: { my-input: { type: string } }\nsteps: [{ id: Big_One, uses: test.look }]\n"), @r#"
    jm::plan::invalid_name

      × `my-input` is not a name for an input
       ╭─[plan.yaml:3:11]
     2 │ name: test
     3 │ inputs: { my-input: { type: string } }
       ·           ────────
     4 │ steps: [{ id: Big_One, uses: test.look }]
       ╰────
      help: a letter first, then letters, digits and `_`, such as `my_input`
    jm::plan::invalid_name

      × `Big_One` is not a name
       ╭─[plan.yaml:4:15]
     3 │ inputs: { my-input: { type: string } }
     4 │ steps: [{ id: Big_One, uses: test.look }]
       ·               ───────
       ╰────
      help: a lower-case letter first, then lower-case letters, digits and `-`, at most 63
            characters, such as `big-one`
    "#);
}

#[test]
fn ids_are_unique() {
    assert_snapshot!(findings("steps:\n  - { id: a, uses: test.look }\nfinally:\n  - { id: a, uses: test.look }\n"), @r#"
    jm::plan::duplicate_id

      × two steps have the id `a`
       ╭─[plan.yaml:6:11]
     3 │ steps:
     4 │   - { id: a, uses: test.look }
       ·           ┬
       ·           ╰── first here
     5 │ finally:
     6 │   - { id: a, uses: test.look }
       ·           ┬
       ·           ╰── again here
       ╰────
      help: give one of them another id
    "#);
}

#[test]
fn durations_dates_and_counts_have_a_form() {
    assert_snapshot!(findings("updated: yesterday\nmax_parallel: 0\ndeadline: 5\nsteps: [{ id: a, uses: test.look, timeout: 5 minutes, retry: { attempts: 0, backoff: { factor: 0.5 }, on: [denied] } }]\n"), @r#"
    jm::plan::invalid_value

      × `yesterday` is not a date
       ╭─[plan.yaml:3:10]
     2 │ name: test
     3 │ updated: yesterday
       ·          ─────────
     4 │ max_parallel: 0
       ╰────
      help: dates look like `2026-11-23`
    jm::plan::invalid_value

      × `0` is not a whole number from 1
       ╭─[plan.yaml:4:15]
     3 │ updated: yesterday
     4 │ max_parallel: 0
       ·               ─
     5 │ deadline: 5
       ╰────
      help: write it without quotes and without a unit
    jm::plan::invalid_value

      × `5` is not a duration
       ╭─[plan.yaml:5:11]
     4 │ max_parallel: 0
     5 │ deadline: 5
       ·           ─
     6 │ steps: [{ id: a, uses: test.look, timeout: 5 minutes, retry: { attempts: 0, backoff: { factor: 0.5 }, on: [denied] } }]
       ╰────
      help: durations look like `500ms`, `90s`, `25m`, `1h30m` or `30d`
    jm::plan::invalid_value

      × `5 minutes` is not a duration
       ╭─[plan.yaml:6:44]
     5 │ deadline: 5
     6 │ steps: [{ id: a, uses: test.look, timeout: 5 minutes, retry: { attempts: 0, backoff: { factor: 0.5 }, on: [denied] } }]
       ·                                            ─────────
       ╰────
      help: durations look like `500ms`, `90s`, `25m`, `1h30m` or `30d`
    jm::plan::invalid_value

      × `0` is not a whole number from 1
       ╭─[plan.yaml:6:74]
     5 │ deadline: 5
     6 │ steps: [{ id: a, uses: test.look, timeout: 5 minutes, retry: { attempts: 0, backoff: { factor: 0.5 }, on: [denied] } }]
       ·                                                                          ─
       ╰────
      help: write it without quotes and without a unit
    jm::plan::invalid_value

      × `0.5` is not a number from 1 to 100
       ╭─[plan.yaml:6:96]
     5 │ deadline: 5
     6 │ steps: [{ id: a, uses: test.look, timeout: 5 minutes, retry: { attempts: 0, backoff: { factor: 0.5 }, on: [denied] } }]
       ·                                                                                                ───
       ╰────
      help: write it without quotes
    jm::plan::invalid_value

      × `denied` is not possible here
       ╭─[plan.yaml:6:108]
     5 │ deadline: 5
     6 │ steps: [{ id: a, uses: test.look, timeout: 5 minutes, retry: { attempts: 0, backoff: { factor: 0.5 }, on: [denied] } }]
       ·                                                                                                            ──────
       ╰────
      help: write one of `unavailable`, `timed-out`, `conflict`, `failed`
    "#);
}

#[test]
fn versions_are_text() {
    assert_snapshot!(findings("version: 1.10\nsteps: [{ id: a, uses: test.look }]\n"), @r#"
    jm::plan::wrong_type

      × a number stands where text is wanted
       ╭─[plan.yaml:3:10]
     2 │ name: test
     3 │ version: 1.10
       ·          ────
     4 │ steps: [{ id: a, uses: test.look }]
       ╰────
      help: put it in quotes
    "#);
}

#[test]
fn choices_are_checked() {
    assert_snapshot!(findings("steps: [{ id: a, uses: test.look, on_failure: contine }]\n"), @r#"
    jm::plan::invalid_value

      × `contine` is not possible here
       ╭─[plan.yaml:3:47]
     2 │ name: test
     3 │ steps: [{ id: a, uses: test.look, on_failure: contine }]
       ·                                               ───────
       ╰────
      help: did you mean `continue`?
    "#);
}

#[test]
fn for_each_comes_later() {
    assert_snapshot!(findings("steps: [{ id: a, uses: test.look, for_each: { in: [1, 2] } }]\n"), @r#"
    jm::plan::for_each

      × `for_each` comes with a later version
       ╭─[plan.yaml:3:45]
     2 │ name: test
     3 │ steps: [{ id: a, uses: test.look, for_each: { in: [1, 2] } }]
       ·                                             ──────────────
       ╰────
      help: until then, write one step for each item
    "#);
}

#[test]
fn a_plan_does_something() {
    assert_snapshot!(findings("steps: []\n"), @r#"
    jm::plan::invalid_value

      × a plan has at least one step
       ╭─[plan.yaml:3:8]
     2 │ name: test
     3 │ steps: []
       ·        ──
       ╰────
    "#);
}

#[test]
fn schedules_have_five_fields() {
    assert_snapshot!(findings("schedule: every day\nsteps: [{ id: a, uses: test.look }]\ndrill: { inputs: { x: 1 } }\n"), @r#"
    jm::plan::invalid_value

      × this is not a schedule
       ╭─[plan.yaml:3:11]
     2 │ name: test
     3 │ schedule: every day
       ·           ─────────
     4 │ steps: [{ id: a, uses: test.look }]
       ╰────
      help: five fields as in crontab: minute, hour, day, month, day of the week, such as `0
            2 * * *`; or `@daily`
    jm::plan::unknown_input

      × the plan has no input `x`
       ╭─[plan.yaml:5:20]
     4 │ steps: [{ id: a, uses: test.look }]
     5 │ drill: { inputs: { x: 1 } }
       ·                    ─
       ╰────
      help: there are none
    "#);
}

#[test]
fn line_ends_do_not_change_the_digest() {
    let unix = compiled(&plan(STEP)).expect("valid").plan;
    let dos = compiled(&plan(STEP).replace('\n', "\r\n")).expect("valid").plan;
    assert_eq!(unix.digest(), dos.digest());
    assert_eq!(unix.digest().len(), 64);
}

#[test]
fn findings_have_places_for_machines() {
    let result = compiled(&plan("steps: [{ id: a, uses: test.lok }]\n"));
    assert_eq!(codes(&result), ["unknown_step_type"]);
    let errors = result.expect_err("invalid");
    let place = errors.errors()[0].place().expect("it has one");
    assert_eq!(
        (
            place.file.as_str(),
            place.line,
            place.column,
            place.end_line,
            place.end_column
        ),
        ("plan.yaml", 3, 24, 3, 32)
    );
    assert_eq!(errors.to_string(), "`plan.yaml` has 1 error");
}
