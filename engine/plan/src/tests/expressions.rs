//! Findings about expressions themselves.

use insta::assert_snapshot;

use crate::testing::findings;

fn message(expression: &str) -> String {
    findings(&format!(
        "steps:\n  - id: a\n    uses: test.look\n    with:\n      message: \"{expression}\"\n"
    ))
}

#[test]
fn mistakes_of_syntax_are_shown_in_place() {
    assert_snapshot!(message("${{ 1 + }}"), @r#"
    jm::plan::expression_syntax

      × this is not an expression: unexpected end of input, expected expression
       ╭─[plan.yaml:7:21]
     6 │     with:
     7 │       message: "${{ 1 + }}"
       ·                     ───
       ╰────
    "#);
    assert_snapshot!(message("before ${{ inputs.x"), @r#"
    jm::plan::expression_syntax

      × this `${{` has no `}}`
       ╭─[plan.yaml:7:24]
     6 │     with:
     7 │       message: "before ${{ inputs.x"
       ·                        ───
       ╰────
      help: close the expression with `}}`
    "#);
    assert_snapshot!(message("${{ }}"), @r#"
    jm::plan::expression_syntax

      × this is not an expression: unexpected end of input, expected expression
       ╭─[plan.yaml:7:21]
     6 │     with:
     7 │       message: "${{ }}"
       ·                     ▲
       ╰────
    "#);
}

#[test]
fn names_that_are_not_known_are_explained() {
    assert_snapshot!(message("${{ latest }}"), @r#"
    jm::plan::unknown_name

      × `latest` is not known here
       ╭─[plan.yaml:7:21]
     6 │     with:
     7 │       message: "${{ latest }}"
       ·                     ──────
       ╰────
      help: text is put in quotes: `'latest'`; names begin with `inputs`, `steps`, `run` or
            `objectives`
    "#);
    assert_snapshot!(message("${{ env.HOME }}"), @r#"
    jm::plan::unknown_name

      × `env` is not known here
       ╭─[plan.yaml:7:21]
     6 │     with:
     7 │       message: "${{ env.HOME }}"
       ·                     ────────
       ╰────
      help: a plan does not read the environment: declare an input, or read the variable in
            the targets file
    "#);
    assert_snapshot!(message("${{ input.x }}"), @r#"
    jm::plan::unknown_name

      × `input` is not known here
       ╭─[plan.yaml:7:21]
     6 │     with:
     7 │       message: "${{ input.x }}"
       ·                     ───────
       ╰────
      help: did you mean `inputs`?
    "#);
    assert_snapshot!(message("${{ run.ide }}"), @r#"
    jm::plan::unknown_name

      × `run` has no `ide`
       ╭─[plan.yaml:7:21]
     6 │     with:
     7 │       message: "${{ run.ide }}"
       ·                     ───────
       ╰────
      help: did you mean `id`?
    "#);
    assert_snapshot!(message("${{ steps.a }}"), @r#"
    jm::plan::unknown_name

      × a step has `outputs` and `status`, and nothing else
       ╭─[plan.yaml:7:21]
     6 │     with:
     7 │       message: "${{ steps.a }}"
       ·                     ───────
       ╰────
      help: write `steps.a.outputs.FIELD`, `steps.a.outputs` or `steps.a.status`
    "#);
    assert_snapshot!(message("${{ each.key }}"), @r#"
    jm::plan::unknown_name

      × `each` is not known here
       ╭─[plan.yaml:7:21]
     6 │     with:
     7 │       message: "${{ each.key }}"
       ·                     ────────
       ╰────
      help: `for_each` comes with a later version
    "#);
}

#[test]
fn steps_are_named_as_they_stand() {
    assert_snapshot!(message("${{ steps[run.id].outputs.x }}"), @r#"
    jm::plan::unknown_step

      × no step is named
       ╭─[plan.yaml:7:21]
     6 │     with:
     7 │       message: "${{ steps[run.id].outputs.x }}"
       ·                     ───────────────────────
       ╰────
      help: name it as it stands, `steps.NAME`: what a step waits for must be known before
            the run
    "#);
}

#[test]
fn filters_tests_functions_and_methods_are_those_that_there_are() {
    assert_snapshot!(message("${{ run.id | uper }}"), @r#"
    jm::plan::unknown_function

      × there is no filter `uper`
       ╭─[plan.yaml:7:30]
     6 │     with:
     7 │       message: "${{ run.id | uper }}"
       ·                              ────
       ╰────
      help: did you mean `upper`?
    "#);
    assert_snapshot!(message("${{ run.id is strange }}"), @r#"
    jm::plan::unknown_function

      × there is no test `strange`
       ╭─[plan.yaml:7:31]
     6 │     with:
     7 │       message: "${{ run.id is strange }}"
       ·                               ───────
       ╰────
      help: did you mean `string`?
    "#);
    assert_snapshot!(message("${{ now() }}"), @r#"
    jm::plan::unknown_function

      × there is no function `now`
       ╭─[plan.yaml:7:21]
     6 │     with:
     7 │       message: "${{ now() }}"
       ·                     ─────
       ╰────
      help: the functions are `dict`, `range`
    "#);
    assert_snapshot!(message("${{ run.id.upper() }}"), @r#"
    jm::plan::unknown_function

      × values have no methods
       ╭─[plan.yaml:7:21]
     6 │     with:
     7 │       message: "${{ run.id.upper() }}"
       ·                     ──────────────
       ╰────
      help: use a filter: `value | upper`
    "#);
}

#[test]
fn what_is_known_is_evaluated_before_the_run() {
    assert_snapshot!(message("${{ 1 / 0 }}"), @r#"
    jm::plan::expression_failed

      × the expression cannot be evaluated: invalid operation: unable to calculate 1 / 0
       ╭─[plan.yaml:7:21]
     6 │     with:
     7 │       message: "${{ 1 / 0 }}"
       ·                     ─────
       ╰────
    "#);
    assert_snapshot!(message("${{ range(100000000) | list | length }}"), @r#"
    jm::plan::expression_failed

      × the expression cannot be evaluated: invalid operation: range has too many elements
       ╭─[plan.yaml:7:21]
     6 │     with:
     7 │       message: "${{ range(100000000) | list | length }}"
       ·                     ────────────────────────────────
       ╰────
    "#);
}

#[test]
fn an_if_is_one_expression() {
    assert_snapshot!(findings("steps:\n  - { id: a, uses: test.look, if: \"${{ run.drill }} and ${{ run.drill }}\" }\n"), @r#"
    jm::plan::expression_syntax

      × an `if` is one expression
       ╭─[plan.yaml:4:35]
     3 │ steps:
     4 │   - { id: a, uses: test.look, if: "${{ run.drill }} and ${{ run.drill }}" }
       ·                                   ───────────────────────────────────────
       ╰────
      help: put all of it between one `${{` and `}}`
    "#);
}

#[test]
fn an_if_may_leave_the_braces_out() {
    assert_eq!(
        findings("steps:\n  - { id: a, uses: test.look, if: run.drill }\n"),
        "nothing"
    );
}

#[test]
fn an_expression_that_cannot_be_evaluated_hides_nothing() {
    let found = findings(
        "steps:\n  - id: a\n    uses: test.look\n    with:\n      message: 'at ${{ objectives.rpo }}, ${{ 1 / 0 }}'\n      \
         names: [fine, 5, '${{ objectives.rpo }}']\n      times: often\n      lowd: true\n",
    );
    assert_eq!(found.matches("jm::plan::expression_failed").count(), 3, "{found}");
    for other in ["`lowd`", "plan.yaml:9:", "plan.yaml:8:"] {
        assert!(found.contains(other), "no `{other}` in {found}");
    }
}
