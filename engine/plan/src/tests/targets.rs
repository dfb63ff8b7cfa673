//! Findings about targets.

use insta::assert_snapshot;

use crate::Mode;
use crate::testing::{codes, compiled_with, findings_with, plan, registry, targets};

const WRITE: &str = "steps: [{ id: a, uses: test.write, with: { path: x } }]\n";
const TWO: &str = "targets:\n  here: { provider: store, url: '${{ env.HERE }}' }\n  there: { provider: store, url: '${{ env.THERE }}' }\n";

#[test]
fn a_role_takes_the_one_target_of_its_provider() {
    let text = plan(WRITE);
    let compiled = compiled_with(
        &text,
        Some(&targets(
            "targets: { main: { provider: store, url: '${{ env.URL }}' } }\n",
        )),
        Mode::Validate,
        &registry(),
    );
    let plan = compiled.expect("valid").plan;
    assert_eq!(plan.step("a").expect("there").bindings["store"].as_str(), "main");
}

#[test]
fn of_two_targets_the_step_says_which() {
    assert_snapshot!(findings_with(WRITE, TWO), @r#"
    jm::plan::ambiguous_target

      × `test.write` can use `here` or `there`
       ╭─[plan.yaml:3:24]
     2 │ name: test
     3 │ steps: [{ id: a, uses: test.write, with: { path: x } }]
       ·                        ──────────
       ╰────
      help: say which: `target: here`
    "#);
    assert_eq!(
        findings_with(
            "steps: [{ id: a, uses: test.write, target: there, with: { path: x } }]\n",
            TWO
        ),
        "nothing"
    );
}

#[test]
fn a_target_that_is_used_by_name_is_taken_for_no_other() {
    let here = "targets:\n  here: { provider: store, url: '${{ env.URL }}' }\n";
    let there = "  there: { provider: store, by_name: true, url: '${{ env.URL }}' }\n";
    let bound = |step: &str, file: &str| {
        let text = plan(&format!(
            "steps: [{{ id: a, uses: test.write, {step} with: {{ path: x }} }}]\n"
        ));
        let compiled = compiled_with(&text, Some(&targets(file)), Mode::Validate, &registry());
        compiled.expect("valid").plan.step("a").expect("there").bindings["store"].to_string()
    };
    assert_eq!(bound("", &format!("{here}{there}")), "here");
    assert_eq!(bound("target: there,", &format!("{here}{there}")), "there");
    assert_snapshot!(findings_with(WRITE, &format!("targets:\n{there}")), @r#"
    jm::plan::ambiguous_target

      × `test.write` can use `there`, which is used only where it is named
       ╭─[plan.yaml:3:24]
     2 │ name: test
     3 │ steps: [{ id: a, uses: test.write, with: { path: x } }]
       ·                        ──────────
       ╰────
      help: say which: `target: there`
    "#);
    let third = "  third: { provider: store, url: '${{ env.URL }}' }\n";
    assert!(findings_with(WRITE, &format!("{here}{third}{there}")).contains("can use `here` or `third`\n"));
}

#[test]
fn a_step_with_several_roles_names_them() {
    let file = format!("{TWO}  place: {{ provider: place, name: x }}\n");
    assert_snapshot!(findings_with("steps: [{ id: a, uses: test.copy, with: { path: x } }]\n", &file), @r#"
    jm::plan::ambiguous_target

      × `test.copy` can use `here` or `there`
       ╭─[plan.yaml:3:24]
     2 │ name: test
     3 │ steps: [{ id: a, uses: test.copy, with: { path: x } }]
       ·                        ─────────
       ╰────
      help: say which: `targets: { source: here }`
    "#);
    for good in [
        "target: here",
        "targets: { source: here }",
        "targets: { source: there, place: place }",
    ] {
        let text = plan(&format!(
            "steps: [{{ id: a, uses: test.copy, {good}, with: {{ path: x }} }}]\n"
        ));
        let result = compiled_with(&text, Some(&targets(&file)), Mode::Validate, &registry());
        assert_eq!(codes(&result), [""; 0], "{good}");
    }
}

#[test]
fn targets_that_do_not_fit_are_explained() {
    let file = format!("{TWO}  place: {{ provider: place, name: x }}\n");
    assert_snapshot!(findings_with("steps:\n  - { id: a, uses: test.write, target: her, with: { path: x } }\n  - { id: b, uses: test.write, target: place, with: { path: x } }\n  - { id: c, uses: test.copy, targets: { sorce: here }, target: there, with: { path: x } }\n  - { id: d, uses: test.look, target: here }\n", &file), @r#"
    jm::plan::unknown_target

      × there is no target `her`
       ╭─[plan.yaml:4:40]
     3 │ steps:
     4 │   - { id: a, uses: test.write, target: her, with: { path: x } }
       ·                                        ───
     5 │   - { id: b, uses: test.write, target: place, with: { path: x } }
       ╰────
      help: did you mean `here`?
    jm::plan::wrong_target

      × target `place` is of provider `place`, and the role `store` takes one of `store`
       ╭─[plan.yaml:5:40]
     4 │   - { id: a, uses: test.write, target: her, with: { path: x } }
     5 │   - { id: b, uses: test.write, target: place, with: { path: x } }
       ·                                        ─────
     6 │   - { id: c, uses: test.copy, targets: { sorce: here }, target: there, with: { path: x } }
       ╰────
      help: targets of `store` are `here`, `there`
    jm::plan::wrong_target

      × `test.copy` has no role `sorce`
       ╭─[plan.yaml:6:42]
     5 │   - { id: b, uses: test.write, target: place, with: { path: x } }
     6 │   - { id: c, uses: test.copy, targets: { sorce: here }, target: there, with: { path: x } }
       ·                                          ─────
     7 │   - { id: d, uses: test.look, target: here }
       ╰────
      help: did you mean `source`?
    jm::plan::wrong_target

      × `test.look` uses no target
       ╭─[plan.yaml:7:39]
     6 │   - { id: c, uses: test.copy, targets: { sorce: here }, target: there, with: { path: x } }
     7 │   - { id: d, uses: test.look, target: here }
       ·                                       ────
       ╰────
      help: remove `target`
    "#);
}

#[test]
fn a_provider_without_targets_is_named() {
    assert_snapshot!(findings_with(WRITE, "targets: {}\n"), @r#"
    jm::plan::no_target

      × `test.write` uses a system of `store`, and `targets.yaml` has none
       ╭─[plan.yaml:3:24]
     2 │ name: test
     3 │ steps: [{ id: a, uses: test.write, with: { path: x } }]
       ·                        ──────────
       ╰────
      help: add a target with `provider: store` to it
    "#);
}

#[test]
fn a_provider_that_nobody_uses_need_not_be_known() {
    let file = "targets: { cdn: { provider: cloudfront, distribution: x } }\n";
    let result = compiled_with(
        &plan("steps: [{ id: a, uses: test.look }]\n"),
        Some(&targets(file)),
        Mode::Validate,
        &registry(),
    );
    assert_eq!(codes(&result), ["unknown_provider"]);
    assert!(result.is_ok());
}

#[test]
fn a_targets_file_is_checked_against_its_providers() {
    assert_snapshot!(findings_with("steps: [{ id: a, uses: test.look }]\n", "protected: yes\ntargets:\n  one: { provider: stoer }\n  two: { provider: place, nam: x }\n  three: { provider: store, url: '${{ env.URL }}', days: many, colour: red }\n  Four: { provider: place, name: x }\n  five: { name: x }\n  six: { provider: place, name: '${{ inputs.x }}' }\n"), @r#"
    jm::plan::wrong_type

      × text stands where `true` or `false` is wanted
       ╭─[targets.yaml:4:12]
     3 │ name: here
     4 │ protected: yes
       ·            ───
     5 │ targets:
       ╰────
      help: write `true`: in YAML 1.2 `yes` is text
    jm::plan::unknown_provider

      ⚠ there is no provider `stoer` with systems
       ╭─[targets.yaml:6:20]
     5 │ targets:
     6 │   one: { provider: stoer }
       ·                    ─────
     7 │   two: { provider: place, nam: x }
       ╰────
      help: did you mean `store`?
    jm::plan::missing_field

      × the field `name` is missing
       ╭─[targets.yaml:7:27]
     6 │   one: { provider: stoer }
     7 │   two: { provider: place, nam: x }
       ·                           ───
     8 │   three: { provider: store, url: '${{ env.URL }}', days: many, colour: red }
       ╰────
      help: `name`: Which one.
    jm::plan::unknown_field

      × there is no field `nam`
       ╭─[targets.yaml:7:27]
     6 │   one: { provider: stoer }
     7 │   two: { provider: place, nam: x }
       ·                           ───
     8 │   three: { provider: store, url: '${{ env.URL }}', days: many, colour: red }
       ╰────
      help: did you mean `name`?
    jm::plan::wrong_type

      × text stands where a whole number is wanted
       ╭─[targets.yaml:8:58]
     7 │   two: { provider: place, nam: x }
     8 │   three: { provider: store, url: '${{ env.URL }}', days: many, colour: red }
       ·                                                          ────
     9 │   Four: { provider: place, name: x }
       ╰────
      help: How many days things are kept.
    jm::plan::unknown_field

      × there is no field `colour`
       ╭─[targets.yaml:8:64]
     7 │   two: { provider: place, nam: x }
     8 │   three: { provider: store, url: '${{ env.URL }}', days: many, colour: red }
       ·                                                                ──────
     9 │   Four: { provider: place, name: x }
       ╰────
      help: the fields are `url`, `days`, `enabled`, `members`
    jm::plan::invalid_name

      × `Four` is not a name
        ╭─[targets.yaml:9:3]
      8 │   three: { provider: store, url: '${{ env.URL }}', days: many, colour: red }
      9 │   Four: { provider: place, name: x }
        ·   ────
     10 │   five: { name: x }
        ╰────
      help: a lower-case letter first, then lower-case letters, digits and `-`, at most 63
            characters, such as `four`
    jm::plan::missing_field

      × a target needs `provider`
        ╭─[targets.yaml:10:11]
      9 │   Four: { provider: place, name: x }
     10 │   five: { name: x }
        ·           ────
     11 │   six: { provider: place, name: '${{ inputs.x }}' }
        ╰────
      help: `provider` is the kind of system, such as `postgres`
    jm::plan::unknown_name

      × `inputs` is not known here
        ╭─[targets.yaml:11:38]
     10 │   five: { name: x }
     11 │   six: { provider: place, name: '${{ inputs.x }}' }
        ·                                      ────────
        ╰────
      help: a targets file reads `env.NAME` and nothing else
    "#);
}
