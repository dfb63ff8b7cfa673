//! Findings about targets, and rendering them.

use std::collections::{BTreeMap, BTreeSet};

use insta::assert_snapshot;
use jm_step::TargetName;

use crate::testing::{codes, compiled_with, findings_with, plan, registry, show, targets};
use crate::{Mode, parse_targets};

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

fn render(file: &str, names: &[&str], variables: &[(&str, &str)]) -> Result<crate::RenderedTargets, crate::PlanErrors> {
    let (document, errors) = parse_targets("targets.yaml", &targets(file));
    assert!(errors.is_empty(), "{errors:?}");
    let variables: BTreeMap<&str, &str> = variables.iter().copied().collect();
    let used: BTreeSet<TargetName> = names.iter().map(|name| name.parse().expect("a name")).collect();
    let around = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let around = crate::Around {
        environment: &jm_step::Environment::new(around),
        variable: &|name| match variables.get(name) {
            Some(&"unreadable") => Err("permission denied".to_owned()),
            value => Ok(value.map(|value| (*value).to_owned())),
        },
        readable: &|files| match files.iter().find(|file| file.starts_with("/nowhere")) {
            Some(file) => Err(format!("{}: it is not there", file.display())),
            None => Ok(()),
        },
        repaired: &BTreeSet::from(["three".parse().expect("a name")]),
    };
    document.render(&registry(), &used, &around)
}

#[test]
fn everything_that_is_missing_or_malformed_is_reported_at_once() {
    let file = "targets:\n  one: { provider: store, url: '${{ env.ONE }}', days: '${{ env.DAYS }}', enabled: '${{ env.ENABLED }}' }\n  two: { provider: store, url: '${{ env.TWO }}', days: '${{ env.DAYS_OF_TWO }}' }\n  three: { provider: store, url: '${{ env.THREE }}' }\n";
    let errors = render(
        file,
        &["one", "two", "four"],
        &[("DAYS", "many"), ("ENABLED", "on"), ("TWO", "unreadable")],
    )
    .expect_err("incomplete");
    assert_snapshot!(show(errors.errors()), @r#"
    jm::plan::missing_variable

      × the variable `ONE` is not set
       ╭─[targets.yaml:5:37]
     4 │ targets:
     5 │   one: { provider: store, url: '${{ env.ONE }}', days: '${{ env.DAYS }}', enabled: '${{ env.ENABLED }}' }
       ·                                     ───────
     6 │   two: { provider: store, url: '${{ env.TWO }}', days: '${{ env.DAYS_OF_TWO }}' }
       ╰────
      help: set `ONE`, or `ONE_FILE` to a file that holds the value
    jm::plan::malformed_variable

      × what `env.DAYS` gives is not a whole number
       ╭─[targets.yaml:5:61]
     4 │ targets:
     5 │   one: { provider: store, url: '${{ env.ONE }}', days: '${{ env.DAYS }}', enabled: '${{ env.ENABLED }}' }
       ·                                                             ────────
     6 │   two: { provider: store, url: '${{ env.TWO }}', days: '${{ env.DAYS_OF_TWO }}' }
       ╰────
      help: look at the value of `DAYS`
    jm::plan::malformed_variable

      × `TWO` cannot be read: permission denied
       ╭─[targets.yaml:6:37]
     5 │   one: { provider: store, url: '${{ env.ONE }}', days: '${{ env.DAYS }}', enabled: '${{ env.ENABLED }}' }
     6 │   two: { provider: store, url: '${{ env.TWO }}', days: '${{ env.DAYS_OF_TWO }}' }
       ·                                     ───────
     7 │   three: { provider: store, url: '${{ env.THREE }}' }
       ╰────
    jm::plan::missing_variable

      × the variable `DAYS_OF_TWO` is not set
       ╭─[targets.yaml:6:61]
     5 │   one: { provider: store, url: '${{ env.ONE }}', days: '${{ env.DAYS }}', enabled: '${{ env.ENABLED }}' }
     6 │   two: { provider: store, url: '${{ env.TWO }}', days: '${{ env.DAYS_OF_TWO }}' }
       ·                                                             ───────────────
     7 │   three: { provider: store, url: '${{ env.THREE }}' }
       ╰────
      help: set `DAYS_OF_TWO`, or `DAYS_OF_TWO_FILE` to a file that holds the value
    jm::plan::unknown_target

      × `targets.yaml` has no target `four`
      help: its targets are `one`, `two`, `three`
    "#);
}

#[test]
fn what_a_provider_cannot_use_is_reported_with_its_variable_and_the_right_form() {
    let file = "targets:\n  one: { provider: store, url: '${{ env.ONE }}' }\n  two: { provider: store, url: bad }\n  three: { provider: store, url: '${{ env.THREE }}', days: '${{ env.DAYS }}' }\n";
    let variables = [("ONE", "bad"), ("THREE", "x://y"), ("DAYS", "0")];
    let errors = render(file, &["one", "two", "three"], &variables).expect_err("malformed");
    assert_snapshot!(show(errors.errors()), @r#"
    jm::plan::malformed_variable

      × `ONE`: it has no scheme
       ╭─[targets.yaml:5:32]
     4 │ targets:
     5 │   one: { provider: store, url: '${{ env.ONE }}' }
       ·                                ────────────────
     6 │   two: { provider: store, url: bad }
       ╰────
      help: write `x://host`
    jm::plan::invalid_value

      × it has no scheme
       ╭─[targets.yaml:6:32]
     5 │   one: { provider: store, url: '${{ env.ONE }}' }
     6 │   two: { provider: store, url: bad }
       ·                                ───
     7 │   three: { provider: store, url: '${{ env.THREE }}', days: '${{ env.DAYS }}' }
       ╰────
      help: write `x://host`
    jm::plan::malformed_variable

      × `DAYS`: 0 is less than 1
       ╭─[targets.yaml:7:60]
     6 │   two: { provider: store, url: bad }
     7 │   three: { provider: store, url: '${{ env.THREE }}', days: '${{ env.DAYS }}' }
       ·                                                            ─────────────────
       ╰────
      help: How many days things are kept.
    "#);
    let good = [("ONE", "x://y"), ("THREE", "x://y"), ("DAYS", "1")];
    assert!(render(file, &["one", "three"], &good).is_ok());
    let zone = [("ONE", "x://y"), ("STORE_ZONE", "bad")];
    assert!(
        render(file, &["one"], &zone).is_err(),
        "the environment around counts too"
    );
}

#[test]
fn an_optional_target_that_is_configured_wrongly_is_not_left_out() {
    let file = "targets:\n  one: { provider: store, url: '${{ env.ONE }}', optional: true }\n";
    let errors = render(file, &["one"], &[("ONE", "bad")]).expect_err("malformed");
    assert_eq!(errors.errors().len(), 1);
}

#[test]
fn text_becomes_what_the_field_takes() {
    let file = "targets:\n  one: { provider: store, url: '${{ env.URL }}', days: '${{ env.DAYS }}', enabled: '${{ env.ON }}', members: '${{ env.MEMBERS }}', identity: 'abc' }\n";
    for (on, expected) in [
        ("true", true),
        ("Yes", true),
        ("on", true),
        ("1", true),
        ("no", false),
        ("0", false),
    ] {
        let rendered = render(
            file,
            &["one"],
            &[("URL", "x://y"), ("DAYS", " 7 "), ("ON", on), ("MEMBERS", "a, b")],
        )
        .expect("complete");
        let config = &rendered.targets[0].config;
        assert_eq!(config["enabled"], expected);
        assert_eq!(config["days"], 7);
        assert_eq!(config["members"], serde_json::json!(["a", "b"]));
        assert_eq!(rendered.targets[0].pinned.as_deref(), Some("abc"));
        assert!(!format!("{rendered:?}").contains("x://y"));
    }
}

#[test]
fn a_target_may_have_a_limit_of_its_own() {
    let rendered = |more: &str| {
        let file = format!("targets:\n  one: {{ provider: store, url: 'x://y'{more} }}\n");
        render(&file, &["one"], &[])
    };
    let (limited, free) = (
        rendered(", max_parallel: 2").expect("fine"),
        rendered("").expect("fine"),
    );
    assert_eq!(limited.max_parallel.values().collect::<Vec<_>>(), [&2]);
    assert!(free.max_parallel.is_empty());
    assert_ne!(limited.digest, free.digest, "a dry run was of another file");
    assert!(
        limited.targets[0].config.get("max_parallel").is_none(),
        "its provider knows of no limit"
    );
    for wrong in ["0", "-1", "many", "1.5"] {
        let file = format!("targets:\n  one: {{ provider: store, url: x, max_parallel: {wrong} }}\n");
        let errors = parse_targets("targets.yaml", &targets(&file)).1;
        let codes: Vec<&str> = errors.iter().map(crate::PlanError::code).collect();
        assert!(
            matches!(codes[..], ["jm::plan::invalid_value" | "jm::plan::wrong_type"]),
            "{wrong}: {codes:?}"
        );
    }
}

#[test]
fn an_optional_target_may_be_left_out() {
    let file = "targets:\n  one: { provider: store, url: '${{ env.URL }}', optional: true }\n";
    let reason = |variables: &[(&str, &str)]| {
        render(file, &["one"], variables)
            .expect("fine")
            .not_configured
            .into_values()
            .next()
    };
    assert_eq!(reason(&[]).as_deref(), Some("`URL` is not set"));
    assert_eq!(reason(&[("URL", "")]).as_deref(), Some("its `url` is empty"));
    assert_eq!(reason(&[("URL", "x")]), None);
}

#[test]
fn the_digest_does_not_tell_secrets() {
    let file = "targets:\n  one: { provider: store, url: '${{ env.URL }}', days: '${{ env.DAYS }}' }\n";
    let digest = |url: &str, days: &str| {
        render(file, &["one"], &[("URL", url), ("DAYS", days)])
            .expect("fine")
            .digest
    };
    assert_eq!(digest("a", "1"), digest("b", "1"));
    assert_ne!(digest("a", "1"), digest("a", "2"));
}

#[test]
fn an_optional_target_makes_a_step_one_that_may_be_skipped() {
    let file = "targets:\n  one: { provider: store, url: '${{ env.URL }}', optional: true }\n";
    let text = "steps:\n  - { id: a, uses: test.write, with: { path: x } }\n  - { id: b, uses: test.look, with: { message: '${{ steps.a.outputs.found }}' } }\n";
    assert_snapshot!(findings_with(text, file), @r#"
    jm::plan::unguarded_output

      × `a` may have been skipped: this may not be there
       ╭─[plan.yaml:5:53]
     4 │   - { id: a, uses: test.write, with: { path: x } }
     5 │   - { id: b, uses: test.look, with: { message: '${{ steps.a.outputs.found }}' } }
       ·                                                     ─────────────────────
       ╰────
      help: write `steps.a.outputs.found | default(...)`, or add `if: ${{ steps.a.status ==
            'succeeded' }}`
    "#);
}
