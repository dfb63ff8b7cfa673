//! Findings about what stands under `with`, and about the plan's inputs.

use insta::assert_snapshot;

use crate::Mode;
use crate::testing::{codes, compiled_with, findings, plan, registry};

fn with(fields: &str) -> String {
    findings(&format!(
        "steps:\n  - id: a\n    uses: test.look\n    with: {{ {fields} }}\n"
    ))
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
            `script`, `env`, `anything`
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
        findings(
            "inputs: { days: { type: integer, default: 3 } }\nsteps:\n  - { id: a, uses: test.look, with: { times: '${{ inputs.days }}', message: 'for ${{ inputs.days }} days', names: ['${{ run.id }}'] } }\n  - { id: b, uses: test.look, with: { times: '${{ steps.a.outputs.count }}', loud: '${{ steps.a.outputs.count > 3 }}', names: '${{ steps.a.outputs.names }}', message: '${{ steps.a.outputs.details.size | string }}', anything: '${{ steps.a.outputs.details }}' } }\n"
        ),
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
fn a_step_that_does_not_run_may_be_given_nonsense() {
    let text = plan(
        "inputs: { path: { type: string, default: '' }, mood: { type: string, default: none }, n: { type: integer, default: 0 } }\nsteps:\n  - { id: a, uses: test.write, if: \"${{ inputs.path != '' }}\", with: { path: '${{ inputs.path }}' } }\n  - { id: b, uses: test.look, if: \"${{ inputs.mood != 'none' }}\", with: { mood: '${{ inputs.mood }}' } }\n  - { id: c, uses: test.run, if: '${{ inputs.n > 0 }}', with: { argv: \"${{ ['x'] * (10 / inputs.n) }}\", read_only: true } }\n",
    );
    for mode in [Mode::Validate, Mode::Run] {
        assert_eq!(
            codes(&compiled_with(&text, None, mode, &registry())),
            [""; 0],
            "{mode:?}"
        );
    }
    let literal = text.replace("path: '${{ inputs.path }}'", "path: 5");
    assert!(codes(&compiled_with(&literal, None, Mode::Run, &registry())).contains(&"wrong_type"));
}

#[test]
fn an_object_holds_what_it_likes() {
    assert_eq!(
        findings(
            "inputs: { more: { type: object, default: { deep: [1] } } }\nsteps:\n  - { id: a, uses: test.look, with: { times: '${{ inputs.more.deep[0] }}', message: '${{ inputs.more.of.it }}' } }\n"
        ),
        "nothing"
    );
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
     10 │   g: { type: secret, default: ******* }
        ╰────
      help: a number for numbers and for lengths of text and lists; a duration, time or date
            for those
    jm::plan::secret_in_plan

      × a secret stands in the plan
        ╭─[plan.yaml:10:31]
      9 │   f: { type: boolean, max: 3 }
     10 │   g: { type: secret, default: ******* }
        ·                               ───────
     11 │   h: { description: no type }
        ╰────
      help: the default of a secret is a reference: `env:NAME` or `file:PATH`
    jm::plan::missing_field

      × an input needs `type`
        ╭─[plan.yaml:11:8]
     10 │   g: { type: secret, default: ******* }
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
