//! Findings about what stands under `with`, and about the plan's inputs.

use insta::assert_snapshot;

use crate::testing::{codes, compiled, compiled_with, findings, plan, registry, shown};
use crate::{Arguments, Given, Mode, parse};

fn with(fields: &str) -> String {
    findings(&format!("steps:\n  - id: a\n    uses: test.look\n    with: {{ {fields} }}\n"))
}

#[test]
fn unknown_fields_are_named_with_what_was_meant() {
    assert_snapshot!(with("mesage: hello, colour: red"), @r#"
    jm::plan::unknown_field

      × there is no field `mesage`
       ╭─[plan.yaml:6:13]
     5 │     uses: test.look
     6 │     with: { mesage: hello, colour: red }
       ·             ──────
       ╰────
      help: did you mean `message`?
    jm::plan::unknown_field

      × there is no field `colour`
       ╭─[plan.yaml:6:28]
     5 │     uses: test.look
     6 │     with: { mesage: hello, colour: red }
       ·                            ──────
       ╰────
      help: the fields are `message`, `times`, `loud`, `names`, `mood`, `way`, `password`,
            `anything`
    "#);
}

#[test]
fn missing_fields_are_explained() {
    assert_snapshot!(findings("steps: [{ id: a, uses: test.write }, { id: b, uses: test.write, with: {} }]\n"), @r#"
    jm::plan::missing_field

      × the field `path` is missing
       ╭─[plan.yaml:3:15]
     2 │ name: test
     3 │ steps: [{ id: a, uses: test.write }, { id: b, uses: test.write, with: {} }]
       ·               ─
       ╰────
      help: `path`: Where to write.
    jm::plan::missing_field

      × the field `path` is missing
       ╭─[plan.yaml:3:71]
     2 │ name: test
     3 │ steps: [{ id: a, uses: test.write }, { id: b, uses: test.write, with: {} }]
       ·                                                                       ──
       ╰────
      help: `path`: Where to write.
    "#);
}

#[test]
fn types_are_checked() {
    assert_snapshot!(with("message: 5, times: '3', loud: yes, names: Ann"), @r#"
    jm::plan::wrong_type

      × a whole number stands where text is wanted
       ╭─[plan.yaml:6:22]
     5 │     uses: test.look
     6 │     with: { message: 5, times: '3', loud: yes, names: Ann }
       ·                      ─
       ╰────
      help: put it in quotes
    jm::plan::wrong_type

      × text stands where a whole number is wanted
       ╭─[plan.yaml:6:32]
     5 │     uses: test.look
     6 │     with: { message: 5, times: '3', loud: yes, names: Ann }
       ·                                ───
       ╰────
      help: write it without quotes
    jm::plan::wrong_type

      × text stands where `true` or `false` is wanted
       ╭─[plan.yaml:6:43]
     5 │     uses: test.look
     6 │     with: { message: 5, times: '3', loud: yes, names: Ann }
       ·                                           ───
       ╰────
      help: write `true`: in YAML 1.2 `yes` is text
    jm::plan::wrong_type

      × text stands where a list is wanted
       ╭─[plan.yaml:6:55]
     5 │     uses: test.look
     6 │     with: { message: 5, times: '3', loud: yes, names: Ann }
       ·                                                       ───
       ╰────
      help: write a list: `[Ann]`
    "#);
}

#[test]
fn choices_and_limits_are_checked() {
    assert_snapshot!(with("mood: mery, times: 10"), @r#"
    jm::plan::invalid_value

      × `mery` is not possible here
       ╭─[plan.yaml:6:19]
     5 │     uses: test.look
     6 │     with: { mood: mery, times: 10 }
       ·                   ────
       ╰────
      help: did you mean `merry`?
    jm::plan::invalid_value

      × 10 is more than 9
       ╭─[plan.yaml:6:32]
     5 │     uses: test.look
     6 │     with: { mood: mery, times: 10 }
       ·                                ──
       ╰────
      help: How often.
    "#);
    assert_snapshot!(findings("steps: [{ id: a, uses: test.write, with: { path: '' } }]\n"), @r#"
    jm::plan::invalid_value

      × it must not be empty
       ╭─[plan.yaml:3:50]
     2 │ name: test
     3 │ steps: [{ id: a, uses: test.write, with: { path: '' } }]
       ·                                                  ──
       ╰────
      help: Where to write.
    "#);
}

#[test]
fn of_several_forms_the_one_that_was_meant_is_checked() {
    assert_snapshot!(with("way: { by: train, kilometres: 3 }"), @r#"
    jm::plan::missing_field

      × the field `ticket` is missing
       ╭─[plan.yaml:6:20]
     5 │     uses: test.look
     6 │     with: { way: { by: train, kilometres: 3 } }
       ·                    ──
       ╰────
      help: `ticket`: Which one.
    jm::plan::unknown_field

      × there is no field `kilometres`
       ╭─[plan.yaml:6:31]
     5 │     uses: test.look
     6 │     with: { way: { by: train, kilometres: 3 } }
       ·                               ──────────
       ╰────
      help: the fields are `by`, `ticket`
    "#);
    assert_snapshot!(with("way: { by: boat }"), @r#"
    jm::plan::invalid_value

      × `boat` is not possible here
       ╭─[plan.yaml:6:24]
     5 │     uses: test.look
     6 │     with: { way: { by: boat } }
       ·                        ────
       ╰────
      help: write one of `foot`, `train`
    "#);
    assert_eq!(with("way: { by: foot, kilometres: 3 }"), "nothing");
}

#[test]
fn the_step_type_has_the_last_word() {
    assert_snapshot!(findings("steps: [{ id: a, uses: test.run, with: { argv: [], read_only: true } }]\n"), @r#"
    jm::plan::invalid_value

      × no program is named
       ╭─[plan.yaml:3:48]
     2 │ name: test
     3 │ steps: [{ id: a, uses: test.run, with: { argv: [], read_only: true } }]
       ·                                                ──
       ╰────
      help: write `argv: [program, argument]`
    "#);
}

#[test]
fn expressions_have_types_too() {
    assert_snapshot!(findings("inputs: { days: { type: integer, default: 3 }, names: { type: array, items: integer, default: [] } }\nsteps:\n  - { id: a, uses: test.look, with: { message: '${{ inputs.days }}', names: '${{ inputs.names }}' } }\n  - { id: b, uses: test.look, with: { times: '${{ steps.a.outputs.found }}', loud: \"${{ steps.a.outputs.names }}\", names: 'a ${{ run.id }}' } }\n"), @r#"
    jm::plan::wrong_type

      × `inputs.days` is a whole number, and text is wanted
       ╭─[plan.yaml:5:53]
     4 │ steps:
     5 │   - { id: a, uses: test.look, with: { message: '${{ inputs.days }}', names: '${{ inputs.names }}' } }
       ·                                                     ───────────
     6 │   - { id: b, uses: test.look, with: { times: '${{ steps.a.outputs.found }}', loud: "${{ steps.a.outputs.names }}", names: 'a ${{ run.id }}' } }
       ╰────
      help: add `| string` to make it text
    jm::plan::wrong_type

      × each item of `inputs.names` is a whole number, and text is wanted
       ╭─[plan.yaml:5:82]
     4 │ steps:
     5 │   - { id: a, uses: test.look, with: { message: '${{ inputs.days }}', names: '${{ inputs.names }}' } }
       ·                                                                                  ────────────
     6 │   - { id: b, uses: test.look, with: { times: '${{ steps.a.outputs.found }}', loud: "${{ steps.a.outputs.names }}", names: 'a ${{ run.id }}' } }
       ╰────
    jm::plan::wrong_type

      × `steps.a.outputs.found` is text, and a whole number is wanted
       ╭─[plan.yaml:6:51]
     5 │   - { id: a, uses: test.look, with: { message: '${{ inputs.days }}', names: '${{ inputs.names }}' } }
     6 │   - { id: b, uses: test.look, with: { times: '${{ steps.a.outputs.found }}', loud: "${{ steps.a.outputs.names }}", names: 'a ${{ run.id }}' } }
       ·                                                   ─────────────────────
       ╰────
    jm::plan::wrong_type

      × `steps.a.outputs.names` is a list, and `true` or `false` is wanted
       ╭─[plan.yaml:6:89]
     5 │   - { id: a, uses: test.look, with: { message: '${{ inputs.days }}', names: '${{ inputs.names }}' } }
     6 │   - { id: b, uses: test.look, with: { times: '${{ steps.a.outputs.found }}', loud: "${{ steps.a.outputs.names }}", names: 'a ${{ run.id }}' } }
       ·                                                                                         ─────────────────────
       ╰────
    jm::plan::wrong_type

      × text with expressions in it is text, and a list is wanted
       ╭─[plan.yaml:6:123]
     5 │   - { id: a, uses: test.look, with: { message: '${{ inputs.days }}', names: '${{ inputs.names }}' } }
     6 │   - { id: b, uses: test.look, with: { times: '${{ steps.a.outputs.found }}', loud: "${{ steps.a.outputs.names }}", names: 'a ${{ run.id }}' } }
       ·                                                                                                                           ─────────────────
       ╰────
      help: an expression that is to keep its type stands alone: `${{ ... }}` and nothing
            else
    "#);
}

#[test]
fn expressions_of_the_right_type_pass() {
    assert_eq!(
        findings("inputs: { days: { type: integer, default: 3 } }\nsteps:\n  - { id: a, uses: test.look, with: { times: '${{ inputs.days }}', message: 'for ${{ inputs.days }} days', names: ['${{ run.id }}'] } }\n  - { id: b, uses: test.look, with: { times: '${{ steps.a.outputs.count }}', loud: '${{ steps.a.outputs.count > 3 }}', names: '${{ steps.a.outputs.names }}', message: '${{ steps.a.outputs.details.size | string }}', anything: '${{ steps.a.outputs.details }}' } }\n"),
        "nothing"
    );
}

#[test]
fn a_default_must_fit_where_it_goes() {
    assert_snapshot!(findings("inputs: { mood: { type: string, default: angry } }\nsteps:\n  - { id: a, uses: test.look, with: { mood: '${{ inputs.mood }}' } }\n"), @r#"
    jm::plan::invalid_value

      × the default of input `mood` does not fit here: `angry` is not possible here
       ╭─[plan.yaml:5:50]
     2 │ name: test
     3 │ inputs: { mood: { type: string, default: angry } }
       ·                                          ──┬──
       ·                                            ╰── the default
     4 │ steps:
     5 │   - { id: a, uses: test.look, with: { mood: '${{ inputs.mood }}' } }
       ·                                                  ───────────
       ╰────
      help: write one of `merry`, `sad`
    "#);
}

#[test]
fn declarations_are_checked() {
    assert_snapshot!(findings("inputs:\n  a: { type: text }\n  b: { type: integer, default: many }\n  c: { type: string, pattern: '[' }\n  d: { type: string, enum: [x, y], default: z }\n  e: { type: duration, default: 5m, min: 10m }\n  f: { type: boolean, max: 3 }\n  g: { type: secret, default: hunter2 }\n  h: { description: no type }\nsteps: [{ id: a, uses: test.look }]\n"), @r#"
    jm::plan::invalid_value

      × `text` is not possible here
       ╭─[plan.yaml:4:14]
     3 │ inputs:
     4 │   a: { type: text }
       ·              ────
     5 │   b: { type: integer, default: many }
       ╰────
      help: write one of `string`, `integer`, `number`, `boolean`, `array`, `object`,
            `duration`, `timestamp`, `date`, `secret`
    jm::plan::invalid_value

      × the default of input `b` does not fit: `many` is not of type `integer`
       ╭─[plan.yaml:5:32]
     4 │   a: { type: text }
     5 │   b: { type: integer, default: many }
       ·                                ────
     6 │   c: { type: string, pattern: '[' }
       ╰────
    jm::plan::invalid_value

      × this is not a regular expression
       ╭─[plan.yaml:6:31]
     5 │   b: { type: integer, default: many }
     6 │   c: { type: string, pattern: '[' }
       ·                               ─┬─
       ·                                ╰── unclosed character class
     7 │   d: { type: string, enum: [x, y], default: z }
       ╰────
    jm::plan::invalid_value

      × the default of input `d` does not fit: `z` is not one of `x`, `y`
       ╭─[plan.yaml:7:45]
     6 │   c: { type: string, pattern: '[' }
     7 │   d: { type: string, enum: [x, y], default: z }
       ·                                             ─
     8 │   e: { type: duration, default: 5m, min: 10m }
       ╰────
    jm::plan::invalid_value

      × the default of input `e` does not fit: it is below `min: 10m`
       ╭─[plan.yaml:8:33]
     7 │   d: { type: string, enum: [x, y], default: z }
     8 │   e: { type: duration, default: 5m, min: 10m }
       ·                                 ──
     9 │   f: { type: boolean, max: 3 }
       ╰────
    jm::plan::invalid_value

      × this is no bound for an input of type `boolean`
        ╭─[plan.yaml:9:28]
      8 │   e: { type: duration, default: 5m, min: 10m }
      9 │   f: { type: boolean, max: 3 }
        ·                            ─
     10 │   g: { type: secret, default: hunter2 }
        ╰────
      help: a number for numbers and for lengths of text and lists; a duration, time or date
            for those
    jm::plan::secret_in_plan

      × a secret stands in the plan
        ╭─[plan.yaml:10:31]
      9 │   f: { type: boolean, max: 3 }
     10 │   g: { type: secret, default: hunter2 }
        ·                               ───────
     11 │   h: { description: no type }
        ╰────
      help: the default of a secret is a reference: `env:NAME` or `file:PATH`
    jm::plan::missing_field

      × an input needs `type`
        ╭─[plan.yaml:11:8]
     10 │   g: { type: secret, default: hunter2 }
     11 │   h: { description: no type }
        ·        ───────────
     12 │ steps: [{ id: a, uses: test.look }]
        ╰────
      help: `type` is the input's type, such as `string`
    "#);
}

#[test]
fn inputs_are_declared_and_used() {
    assert_snapshot!(findings("inputs: { name: { type: string } }\nsteps:\n  - { id: a, uses: test.look, with: { message: '${{ inputs.nam }}' } }\n"), @r#"
    jm::plan::unused_input

      ⚠ nothing reads the input `name`
       ╭─[plan.yaml:3:11]
     2 │ name: test
     3 │ inputs: { name: { type: string } }
       ·           ────
     4 │ steps:
       ╰────
      help: write `${{ inputs.name }}` where it is meant, or remove it
    jm::plan::unknown_input

      × the plan has no input `nam`
       ╭─[plan.yaml:5:53]
     4 │ steps:
     5 │   - { id: a, uses: test.look, with: { message: '${{ inputs.nam }}' } }
       ·                                                     ──────────
       ╰────
      help: did you mean `name`?
    "#);
    assert_snapshot!(findings("inputs: { name: { type: string } }\nsteps:\n  - { id: a, uses: test.look, with: { message: '${{ inputs.name.first }}' } }\n"), @r#"
    jm::plan::wrong_type

      × the input `name` is of type `string` and has no `first`
       ╭─[plan.yaml:5:53]
     2 │ name: test
     3 │ inputs: { name: { type: string } }
       ·           ──┬─
       ·             ╰── declared here
     4 │ steps:
     5 │   - { id: a, uses: test.look, with: { message: '${{ inputs.name.first }}' } }
       ·                                                     ─────────────────
       ╰────
    "#);
}

const GIVEN: &str = "inputs:\n  name: { type: string, enum: [x, y], description: Which one. }\n  days: { type: integer, min: 1, max: 9, default: 3 }\n  flags: { type: array, items: boolean, default: [] }\n  token: { type: secret, default: 'env:TOKEN' }\n  since: { type: timestamp, default: '2026-01-01T00:00:00Z' }\nsteps:\n  - { id: a, uses: test.look, with: { message: '${{ inputs.name }} ${{ inputs.days }} ${{ inputs.flags }} ${{ inputs.since }}', password: '${{ inputs.token }}' } }\n";

fn given(pairs: &[&str]) -> Result<Arguments, crate::PlanErrors> {
    let (document, _) = parse("plan.yaml", &plan(GIVEN));
    Arguments::parse(&document, pairs.iter().map(|pair| Given::Pair(pair)))
}

#[test]
fn arguments_are_typed_by_the_plan() {
    let (document, _) = parse("plan.yaml", &plan(GIVEN));
    let arguments = given(&["name=x", "days=4", "flags=true,no", "token=file:/run/token"]).expect("valid");
    let compiled = crate::compile(&document, &registry(), &arguments, None, Mode::Run, crate::testing::now()).expect("valid");
    let plan = compiled.plan;
    assert_eq!(plan.inputs()["days"], 4);
    assert_eq!(plan.inputs()["flags"], serde_json::json!([true, false]));
    assert_eq!(plan.inputs()["token"], "file:/run/token");
    assert_eq!(plan.secret_inputs()["token"], "file:/run/token");
    let again = Arguments::from_journal(&document, plan.inputs());
    let again = crate::compile(&document, &registry(), &again, None, Mode::Run, crate::testing::now()).expect("valid").plan;
    assert_eq!(again.inputs(), plan.inputs());
    assert_eq!(again.secret_inputs(), plan.secret_inputs());
}

#[test]
fn arguments_that_do_not_fit_are_reported_together_and_no_secret_is_repeated() {
    let errors = given(&["name=z", "days=12", "days", "nam=x", "token=hunter2", "flags=maybe", "since=today"]).expect_err("invalid");
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
    let errors = Arguments::parse(&document, [Given::File { name: "inputs.yaml", text }]).expect_err("invalid");
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
    let file = Given::File { name: "inputs.yaml", text: "name: y\ndays: 5\n" };
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
