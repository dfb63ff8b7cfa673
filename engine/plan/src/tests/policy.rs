//! Findings about what a good plan owes its reader.

use insta::assert_snapshot;

use crate::Mode;
use crate::testing::{codes, compiled, compiled_with, findings, findings_with, plan, registry};

#[test]
fn what_cannot_be_taken_back_is_proven_or_approved_first() {
    assert_snapshot!(findings("steps:\n  - { id: look, uses: test.look }\n  - { id: burn, uses: test.burn, needs: [look] }\n"), @r#"
    jm::plan::unproven_irreversible

      × `burn` cannot be taken back, and nothing before it verifies or approves
       ╭─[plan.yaml:5:23]
     4 │   - { id: look, uses: test.look }
     5 │   - { id: burn, uses: test.burn, needs: [look] }
       ·                       ────┬────
       ·                           ╰── irreversible
       ╰────
      help: let it need a step that verifies (such as `postgres.verify` or `check.assert`)
            or `manual.approve`
    "#);
}

#[test]
fn a_proof_counts_where_it_stands_before_and_must_succeed() {
    let with = |verify: &str, needs: &str| {
        let text = format!(
            "steps:\n  - {{ id: verify, uses: test.verify{verify} }}\n  - {{ id: look, uses: test.look, needs: [verify] }}\n  - {{ id: burn, uses: test.burn, needs: [{needs}] }}\n"
        );
        codes(&compiled(&plan(&text)))
    };
    assert_eq!(with("", "look"), [""; 0]);
    assert_eq!(with("", ""), ["unproven_irreversible"]);
    assert_eq!(with(", on_failure: continue", "look"), ["unproven_irreversible"]);
}

#[test]
fn a_proof_counts_for_finally_where_its_if_asks_for_it() {
    let with = |condition: &str| {
        let text = format!(
            "steps:\n  - {{ id: verify, uses: test.verify }}\n  - {{ id: look, uses: test.look, needs: [verify] }}\nfinally:\n  - {{ id: burn, uses: test.burn{condition} }}\n"
        );
        codes(&compiled(&plan(&text)))
    };
    assert_eq!(with(", if: \"${{ steps.look.status == 'succeeded' }}\""), [""; 0]);
    assert_eq!(with(""), ["unproven_irreversible"]);
}

#[test]
fn what_an_input_makes_harmless_needs_no_proof() {
    assert_eq!(
        findings("steps: [{ id: a, uses: test.run, with: { argv: [ls], read_only: true } }]\n"),
        "nothing"
    );
    let unproven = compiled(&plan("steps: [{ id: a, uses: test.run, with: { argv: [rm] } }]\n"));
    assert_eq!(codes(&unproven), ["unproven_irreversible"]);
}

#[test]
fn budgets_fit_into_the_objective() {
    assert_snapshot!(findings("objectives: { rto: 30m }\nsteps:\n  - { id: a, uses: test.look, budget: 20m }\n  - { id: b, uses: test.look, needs: [a], budget: 15m }\n  - { id: c, uses: test.look, budget: 30m }\n"), @r#"
    jm::plan::budget_over_rto

      × the budgets on the longest way add up to 35m, more than the RTO of 30m
       ╭─[plan.yaml:3:20]
     2 │ name: test
     3 │ objectives: { rto: 30m }
       ·                    ─┬─
       ·                     ╰── the RTO
     4 │ steps:
     5 │   - { id: a, uses: test.look, budget: 20m }
       ·                                       ─┬─
       ·                                        ╰── `a`
     6 │   - { id: b, uses: test.look, needs: [a], budget: 15m }
       ·                                                   ─┬─
       ·                                                    ╰── `b`
     7 │   - { id: c, uses: test.look, budget: 30m }
       ╰────
      help: shorten a budget, let steps run side by side, or state the objective as it is
    "#);
}

const TARGETS: &str =
    "targets: {}\ncontacts:\n  on-call: { name: On call, reach: '' }\n  boss: { name: Boss, reach: '+49 30 1234' }\n";

#[test]
fn contacts_can_be_reached() {
    assert_snapshot!(findings_with("contacts: [on-call, bos, boss]\nsteps: [{ id: a, uses: test.look }]\n", TARGETS), @r#"
    jm::plan::unknown_contact

      × `targets.yaml` has no contact `bos`
       ╭─[plan.yaml:3:21]
     2 │ name: test
     3 │ contacts: [on-call, bos, boss]
       ·                     ───
     4 │ steps: [{ id: a, uses: test.look }]
       ╰────
      help: did you mean `boss`?
    jm::plan::placeholder_contact

      ⚠ nobody can reach the contact `on-call`
       ╭─[targets.yaml:6:3]
     5 │ contacts:
     6 │   on-call: { name: On call, reach: '' }
       ·   ───────
     7 │   boss: { name: Boss, reach: '+49 30 1234' }
       ╰────
      help: put a telephone number or an address into `reach`
    "#);
}

#[test]
fn reviews_are_kept_up() {
    assert_snapshot!(findings("reviewed: 2026-09-01\nreview_every: 30d\nsteps: [{ id: a, uses: test.look }]\n"), @r#"
    jm::plan::review_overdue

      ⚠ the last review was 83 days ago, and one is due every 30d
       ╭─[plan.yaml:3:11]
     2 │ name: test
     3 │ reviewed: 2026-09-01
       ·           ─────┬────
       ·                ╰── the last review
     4 │ review_every: 30d
       ╰────
      help: read the plan against the systems as they are, drill it, and set `reviewed` to
            the day
    "#);
    assert_eq!(
        findings("reviewed: 2026-11-22\nreview_every: 30d\nsteps: [{ id: a, uses: test.look }]\n"),
        "nothing"
    );
}

#[test]
fn a_schedule_that_nobody_keeps_is_told() {
    let found = findings(
        "schedule: '@daily'\ndrill: { schedule: { cron: '0 3 1 * *' } }\nsteps: [{ id: a, uses: test.look }]\n",
    );
    for told in [
        "⚠ nothing starts the plan at these times",
        "⚠ nothing starts the drill at these times",
        "`jm drill plan.yaml`",
    ] {
        assert!(found.contains(told), "no `{told}` in {found}");
    }
}

#[test]
fn what_an_undo_leaves_is_listed() {
    assert_snapshot!(findings("steps:\n  - { id: stop, uses: test.verify }\n  - { id: copy, uses: test.look, needs: [stop] }\nfinally:\n  - { id: start, uses: test.look, undoes: [stop] }\n"), @r#"
    jm::plan::undo_leaves_dependents

      ☞ not done anew although they depend on what is undone: `copy`
       ╭─[plan.yaml:7:44]
     6 │ finally:
     7 │   - { id: start, uses: test.look, undoes: [stop] }
       ·                                            ────
       ╰────
      help: add those to `undoes` that are to be done anew on a resume; leave the others
    "#);
    assert_eq!(
        findings(
            "steps:\n  - { id: stop, uses: test.verify }\n  - { id: copy, uses: test.look, needs: [stop] }\nfinally:\n  - { id: start, uses: test.look, undoes: [stop, copy] }\n"
        ),
        "nothing"
    );
}

#[test]
fn only_finally_undoes() {
    assert_snapshot!(findings("steps:\n  - { id: a, uses: test.look }\n  - { id: b, uses: test.look, undoes: [a] }\n"), @r#"
    jm::plan::finally_step

      × `undoes` is for steps of `finally`
       ╭─[plan.yaml:5:40]
     4 │   - { id: a, uses: test.look }
     5 │   - { id: b, uses: test.look, undoes: [a] }
       ·                                        ─
       ╰────
      help: what a step of `steps` does is done once; a resume does not go back over it
    "#);
}

#[test]
fn what_is_repaired_is_a_target() {
    assert_snapshot!(findings_with("repairs: [databse]\nsteps: [{ id: a, uses: test.look }]\n", "targets: { database: { provider: place, name: x } }\n"), @r#"
    jm::plan::unknown_target

      × there is no target `databse`
       ╭─[plan.yaml:3:11]
     2 │ name: test
     3 │ repairs: [databse]
       ·           ───────
     4 │ steps: [{ id: a, uses: test.look }]
       ╰────
      help: did you mean `database`?
    "#);
}

#[test]
fn outputs_of_the_plan_are_checked_as_well() {
    assert_snapshot!(findings("steps: [{ id: a, uses: test.look }]\noutputs: { found: '${{ steps.a.outputs.fond }}', other: '${{ steps.b.status }}' }\n"), @r#"
    jm::plan::unknown_output

      × `a` (`test.look`) has no output `fond`
       ╭─[plan.yaml:4:24]
     3 │ steps: [{ id: a, uses: test.look }]
     4 │ outputs: { found: '${{ steps.a.outputs.fond }}', other: '${{ steps.b.status }}' }
       ·                        ────────────────────
       ╰────
      help: did you mean `found`? it has `found`, `count`, `names`, `present`, `details`
    jm::plan::unknown_step

      × there is no step `b`
       ╭─[plan.yaml:4:62]
     3 │ steps: [{ id: a, uses: test.look }]
     4 │ outputs: { found: '${{ steps.a.outputs.fond }}', other: '${{ steps.b.status }}' }
       ·                                                              ──────────────
       ╰────
      help: the steps are `a`
    "#);
}

#[test]
fn one_step_by_itself_needs_nothing_before_it_and_is_alone() {
    let document = |steps: &str| format!("apiVersion: jm/v1\nkind: Step\nname: test\nsteps: [{steps}]\n");
    let burn = "{ id: a, uses: test.burn }";
    let with = |text: &str| codes(&compiled_with(text, None, Mode::Run, &registry()));
    assert_eq!(with(&document(burn)), [""; 0]);
    assert_eq!(
        with(&document(burn).replace("kind: Step\n", "")),
        ["unproven_irreversible"]
    );
    let two = document(&format!("{burn}, {{ id: b, uses: test.look }}"));
    assert!(with(&two).contains(&"not_this_kind"), "{:?}", with(&two));
}
