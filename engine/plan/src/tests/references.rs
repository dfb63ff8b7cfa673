//! Findings about what steps name.

use insta::assert_snapshot;

use crate::testing::{codes, compiled, findings, plan};

#[test]
fn unknown_step_types_are_named_with_what_was_meant() {
    assert_snapshot!(findings("steps:\n  - { id: a, uses: test.lok }\n  - { id: b, uses: test.something }\n  - { id: c, uses: elsewhere.thing }\n"), @r#"
    jm::plan::unknown_step_type

      × there is no step type `test.lok`
       ╭─[plan.yaml:4:20]
     3 │ steps:
     4 │   - { id: a, uses: test.lok }
       ·                    ────────
     5 │   - { id: b, uses: test.something }
       ╰────
      help: did you mean `test.look`?
    jm::plan::unknown_step_type

      × there is no step type `test.something`
       ╭─[plan.yaml:5:20]
     4 │   - { id: a, uses: test.lok }
     5 │   - { id: b, uses: test.something }
       ·                    ──────────────
     6 │   - { id: c, uses: elsewhere.thing }
       ╰────
      help: `test` has `test.burn`, `test.copy`, `test.look`, `test.run`, `test.verify`,
            `test.write`
    jm::plan::unknown_step_type

      × there is no step type `elsewhere.thing`
       ╭─[plan.yaml:6:20]
     5 │   - { id: b, uses: test.something }
     6 │   - { id: c, uses: elsewhere.thing }
       ·                    ───────────────
       ╰────
      help: `jm step list` shows all step types
    "#);
}

#[test]
fn unknown_steps_are_named_wherever_they_stand() {
    assert_snapshot!(findings("steps:\n  - { id: restore, uses: test.look }\n  - { id: b, uses: test.look, needs: [restor], with: { message: '${{ steps.resore.outputs.found }}' } }\nfinally:\n  - { id: c, uses: test.look, undoes: [nothing] }\n"), @r#"
    jm::plan::unknown_step

      × there is no step `restor`
       ╭─[plan.yaml:5:39]
     4 │   - { id: restore, uses: test.look }
     5 │   - { id: b, uses: test.look, needs: [restor], with: { message: '${{ steps.resore.outputs.found }}' } }
       ·                                       ──────
     6 │ finally:
       ╰────
      help: did you mean `restore`?
    jm::plan::unknown_step

      × there is no step `resore`
       ╭─[plan.yaml:5:70]
     4 │   - { id: restore, uses: test.look }
     5 │   - { id: b, uses: test.look, needs: [restor], with: { message: '${{ steps.resore.outputs.found }}' } }
       ·                                                                      ──────────────────────────
     6 │ finally:
       ╰────
      help: did you mean `restore`?
    jm::plan::unknown_step

      × there is no step `nothing`
       ╭─[plan.yaml:7:40]
     6 │ finally:
     7 │   - { id: c, uses: test.look, undoes: [nothing] }
       ·                                        ───────
       ╰────
      help: the steps are `restore`, `b`, `c`
    "#);
}

#[test]
fn a_step_that_is_written_twice_is_suggested_once() {
    let text = findings("steps:\n  - { id: a, uses: test.look }\n  - { id: a, uses: test.look, needs: [nothing] }\n");
    assert!(text.trim_end().ends_with("help: the steps are `a`"), "{text}");
}

#[test]
fn outputs_that_do_not_exist_are_listed() {
    assert_snapshot!(findings("steps:\n  - { id: a, uses: test.look }\n  - { id: b, uses: test.look, with: { message: '${{ steps.a.outputs.fund }}' } }\n  - { id: c, uses: test.look, with: { times: '${{ steps.a.outputs.details.length }}' } }\n"), @r#"
    jm::plan::unknown_output

      × `a` (`test.look`) has no output `fund`
       ╭─[plan.yaml:5:53]
     4 │   - { id: a, uses: test.look }
     5 │   - { id: b, uses: test.look, with: { message: '${{ steps.a.outputs.fund }}' } }
       ·                                                     ────────────────────
     6 │   - { id: c, uses: test.look, with: { times: '${{ steps.a.outputs.details.length }}' } }
       ╰────
      help: did you mean `found`? it has `found`, `count`, `names`, `present`, `details`
    jm::plan::unknown_output

      × `a` (`test.look`) has no output `length`
       ╭─[plan.yaml:6:51]
     5 │   - { id: b, uses: test.look, with: { message: '${{ steps.a.outputs.fund }}' } }
     6 │   - { id: c, uses: test.look, with: { times: '${{ steps.a.outputs.details.length }}' } }
       ·                                                   ──────────────────────────────
       ╰────
      help: it has `size`
    "#);
}

#[test]
fn what_is_wrong_twice_is_told_twice() {
    let text = findings(
        "steps:\n  - { id: a, uses: test.look, with: { message: '${{ steps.b.outputs.fund }}' } }\n  - { id: b, uses: test.look, with: { message: '${{ steps.b.outputs.countt }}' } }\n",
    );
    for words in [
        "`b` comes later",
        "`b` (`test.look`) has no output `fund`",
        "`b` reads itself",
        "`b` (`test.look`) has no output `countt`",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn a_value_flows_downwards() {
    assert_snapshot!(findings("steps:\n  - { id: a, uses: test.look, with: { message: '${{ steps.b.outputs.found }}' } }\n  - { id: b, uses: test.look }\n"), @r#"
    jm::plan::later_step

      × `b` comes later
       ╭─[plan.yaml:4:53]
     3 │ steps:
     4 │   - { id: a, uses: test.look, with: { message: '${{ steps.b.outputs.found }}' } }
       ·                                                     ─────────────────────
     5 │   - { id: b, uses: test.look }
       ·           ┬
       ·           ╰── here
       ╰────
      help: move `b` before `a`
    "#);
}

#[test]
fn a_step_does_not_depend_on_itself() {
    assert_snapshot!(findings("steps:\n  - { id: a, uses: test.look, needs: a, with: { message: '${{ steps.a.outputs.found }}' } }\n"), @r#"
    jm::plan::self_dependency

      × `a` needs itself
       ╭─[plan.yaml:4:38]
     3 │ steps:
     4 │   - { id: a, uses: test.look, needs: a, with: { message: '${{ steps.a.outputs.found }}' } }
       ·                                      ─
       ╰────
      help: remove it from its own `needs`
    jm::plan::self_dependency

      × `a` reads itself
       ╭─[plan.yaml:4:63]
     3 │ steps:
     4 │   - { id: a, uses: test.look, needs: a, with: { message: '${{ steps.a.outputs.found }}' } }
       ·                                                               ─────────────────────
       ╰────
      help: a step's outputs and status are there only after it
    "#);
}

#[test]
fn nothing_waits_for_finally() {
    assert_snapshot!(findings("steps:\n  - { id: a, uses: test.look, needs: [z], if: \"${{ steps.z.status == 'succeeded' }}\" }\nfinally:\n  - { id: z, uses: test.look, needs: [a] }\n"), @r#"
    jm::plan::finally_step

      × `z` is a step of `finally`, which comes after all others
       ╭─[plan.yaml:4:39]
     3 │ steps:
     4 │   - { id: a, uses: test.look, needs: [z], if: "${{ steps.z.status == 'succeeded' }}" }
       ·                                       ─
     5 │ finally:
       ╰────
      help: nothing can wait for what runs when the run has ended
    jm::plan::finally_step

      × `z` is a step of `finally`, which comes after all others
       ╭─[plan.yaml:4:52]
     3 │ steps:
     4 │   - { id: a, uses: test.look, needs: [z], if: "${{ steps.z.status == 'succeeded' }}" }
       ·                                                    ──────────────
     5 │ finally:
       ╰────
      help: nothing can wait for what runs when the run has ended
    jm::plan::finally_step

      × steps of `finally` have no `needs`
       ╭─[plan.yaml:6:39]
     5 │ finally:
     6 │   - { id: z, uses: test.look, needs: [a] }
       ·                                       ─
       ╰────
      help: they run one after the other as written; an `if` decides whether one runs
    "#);
}

#[test]
fn a_circle_is_shown_whole() {
    assert_snapshot!(findings("steps:\n  - { id: a, uses: test.look, needs: [c] }\n  - { id: b, uses: test.look, needs: [a] }\n  - { id: c, uses: test.look, needs: [b] }\n  - { id: d, uses: test.look, needs: [c] }\n"), @r#"
    jm::plan::cycle

      × steps wait for each other: a → b → c → a
       ╭─[plan.yaml:5:39]
     3 │ steps:
     4 │   - { id: a, uses: test.look, needs: [c] }
       ·                                       ┬
       ·                                       ╰── `a` waits for `c`
     5 │   - { id: b, uses: test.look, needs: [a] }
       ·                                       ┬
       ·                                       ╰── `b` waits for `a`
     6 │   - { id: c, uses: test.look, needs: [b] }
       ·                                       ┬
       ·                                       ╰── `c` waits for `b`
     7 │   - { id: d, uses: test.look, needs: [c] }
       ╰────
      help: remove the dependency that is not meant
    "#);
}

#[test]
fn a_field_of_a_step_that_may_be_skipped_needs_a_guard() {
    assert_snapshot!(findings("inputs: { x: { type: boolean } }\nsteps:\n  - { id: maybe, uses: test.look, if: '${{ inputs.x }}' }\n  - { id: b, uses: test.look, with: { message: '${{ steps.maybe.outputs.found }}' } }\n"), @r#"
    jm::plan::unguarded_output

      × `maybe` may have been skipped: this may not be there
       ╭─[plan.yaml:6:53]
     4 │ steps:
     5 │   - { id: maybe, uses: test.look, if: '${{ inputs.x }}' }
       ·                                            ────┬───
       ·                                                ╰── it runs only if this is true
     6 │   - { id: b, uses: test.look, with: { message: '${{ steps.maybe.outputs.found }}' } }
       ·                                                     ─────────────────────────
       ╰────
      help: write `steps.maybe.outputs.found | default(...)`, or add `if:
            ${{ steps.maybe.status == 'succeeded' }}`
    "#);
}

#[test]
fn a_field_of_a_step_that_may_have_failed_needs_a_guard() {
    assert_snapshot!(findings("steps:\n  - { id: may-fail, uses: test.look, on_failure: continue }\n  - { id: b, uses: test.look, with: { message: 'It was ${{ steps.may-fail.outputs.found }}' } }\n"), @r#"
    jm::plan::unguarded_output

      × `may-fail` may have failed and let the run continue: this may not be there
       ╭─[plan.yaml:5:60]
     4 │   - { id: may-fail, uses: test.look, on_failure: continue }
     5 │   - { id: b, uses: test.look, with: { message: 'It was ${{ steps.may-fail.outputs.found }}' } }
       ·                                                            ────────────────────────────
       ╰────
      help: write `steps.may-fail.outputs.found | default(...)`, or add `if: ${{ steps.may-
            fail.status == 'succeeded' }}`
    "#);
}

#[test]
fn in_finally_every_field_needs_a_guard() {
    assert_snapshot!(findings("steps:\n  - { id: a, uses: test.look }\nfinally:\n  - { id: b, uses: test.look, with: { message: '${{ steps.a.outputs.found }}' } }\n"), @r#"
    jm::plan::unguarded_output

      × `a` may not have succeeded when `finally` runs: this may not be there
       ╭─[plan.yaml:6:53]
     5 │ finally:
     6 │   - { id: b, uses: test.look, with: { message: '${{ steps.a.outputs.found }}' } }
       ·                                                     ─────────────────────
       ╰────
      help: write `steps.a.outputs.found | default(...)`, or add `if: ${{ steps.a.status ==
            'succeeded' }}`
    "#);
}

fn guarded(reader: &str) -> Vec<&'static str> {
    let text = format!(
        "inputs: {{ x: {{ type: boolean }}, y: {{ type: boolean }} }}\nsteps:\n  - {{ id: a, uses: test.look, if: '${{{{ inputs.x }}}}' }}\n  - {{ id: y, uses: test.look, if: '${{{{ inputs.y }}}}' }}\n  - {{ id: b, uses: test.look, {reader} }}\n"
    );
    codes(&compiled(&plan(&text)))
}

#[test]
fn what_rules_absence_out_is_understood() {
    for reader in [
        "with: { message: \"${{ steps.a.outputs.found | default('') }}\" }",
        "with: { message: '${{ steps.a.outputs.found }}' }, if: \"${{ steps.a.status == 'succeeded' }}\"",
        "with: { message: '${{ steps.a.outputs.found }}' }, if: \"${{ 'succeeded' == steps.a.status and inputs.y }}\"",
        "with: { message: '${{ steps.a.outputs.found }}' }, if: \"${{ steps.a.status in ['succeeded'] }}\"",
        "with: { message: '${{ steps.a.outputs.found }}' }, if: \"${{ steps.a.status != 'skipped' }}\"",
        "with: { message: '${{ steps.a.outputs.found }}' }, if: \"${{ not (steps.a.status == 'skipped') }}\"",
        "with: { message: '${{ steps.a.outputs.found }}' }, if: '${{ steps.a.outputs.found }}'",
        "with: { message: '${{ steps.a.outputs.found }}' }, if: '${{ steps.a.outputs.found is defined }}'",
        "with: { times: '${{ steps.a.outputs.count }}' }, if: '${{ steps.a.outputs.count > 3 }}'",
        "with: { message: '${{ steps.a.outputs.found }}' }, if: '${{ inputs.x }}'",
        "with: { message: '${{ steps.a.outputs.found }}' }, if: '${{ inputs.y and inputs.x }}'",
        "with: { anything: '${{ steps.a.outputs }}' }",
    ] {
        assert_eq!(guarded(reader), [""; 0], "{reader}");
    }
}

#[test]
fn what_does_not_rule_absence_out_is_not() {
    for reader in [
        "with: { message: '${{ steps.a.outputs.found }}' }",
        "with: { message: '${{ steps.a.outputs.found }}' }, if: \"${{ steps.a.status == 'succeeded' or inputs.y }}\"",
        "with: { message: '${{ steps.a.outputs.found }}' }, if: '${{ not steps.a.outputs.found }}'",
        "with: { message: '${{ steps.a.outputs.found }}' }, if: '${{ inputs.y }}'",
        "with: { message: '${{ steps.a.outputs.found | upper }}' }, if: '${{ steps.a.outputs.count }}'",
    ] {
        assert_eq!(guarded(reader), ["unguarded_output"], "{reader}");
    }
}

#[test]
fn a_status_is_one_of_six_words() {
    assert_snapshot!(findings("steps:\n  - { id: a, uses: test.look }\nfinally:\n  - { id: b, uses: test.look, if: \"${{ steps.a.status == 'success' }}\" }\n"), @r#"
    jm::plan::unknown_status

      × `success` is never the status of a step
       ╭─[plan.yaml:6:40]
     5 │ finally:
     6 │   - { id: b, uses: test.look, if: "${{ steps.a.status == 'success' }}" }
       ·                                        ───────────────────────────
       ╰────
      help: the statuses are `not-started`, `running`, `succeeded`, `failed`, `skipped`,
            `blocked`
    "#);
}

#[test]
fn a_step_that_can_never_run_is_reported() {
    assert_snapshot!(findings("steps:\n  - { id: a, uses: test.look }\n  - { id: b, uses: test.look, if: \"${{ steps.a.status == 'failed' }}\" }\n  - { id: c, uses: test.look, if: false }\n  - { id: d, uses: test.look, if: '${{ 1 > 2 and steps.a.outputs.present }}' }\n"), @r#"
    jm::plan::unreachable_step

      × `b` can never run
       ╭─[plan.yaml:5:40]
     4 │   - { id: a, uses: test.look }
     5 │   - { id: b, uses: test.look, if: "${{ steps.a.status == 'failed' }}" }
       ·                                        ─────────────┬────────────
       ·                                                     ╰── at this moment `a` is skipped or succeeded
     6 │   - { id: c, uses: test.look, if: false }
       ╰────
      help: let `a` say `on_failure: continue`, or move this step to `finally`
    jm::plan::unreachable_step

      × `c` can never run
       ╭─[plan.yaml:6:35]
     5 │   - { id: b, uses: test.look, if: "${{ steps.a.status == 'failed' }}" }
     6 │   - { id: c, uses: test.look, if: false }
       ·                                   ──┬──
       ·                                     ╰── this is always false
     7 │   - { id: d, uses: test.look, if: '${{ 1 > 2 and steps.a.outputs.present }}' }
       ╰────
      help: remove the step, or say when it runs
    jm::plan::unreachable_step

      × `d` can never run
       ╭─[plan.yaml:7:40]
     6 │   - { id: c, uses: test.look, if: false }
     7 │   - { id: d, uses: test.look, if: '${{ 1 > 2 and steps.a.outputs.present }}' }
       ·                                        ────────────────┬────────────────
       ·                                                        ╰── this is always false
       ╰────
      help: remove the step, or say when it runs
    "#);
}

#[test]
fn an_if_that_names_a_status_decides_about_that_step() {
    let text = plan(
        "steps:\n  - { id: a, uses: test.look, on_failure: continue }\n  - { id: b, uses: test.look, needs: [a], if: \"${{ steps.a.status == 'failed' }}\" }\n",
    );
    let plan = compiled(&text).expect("valid").plan;
    let [dependency] = plan.dependencies("b") else {
        panic!("one dependency")
    };
    assert!(dependency.decided_by_if);
    assert_eq!(dependency.because, crate::Because::Needs);
}
