//! Targets with the values of the environment put in.

use std::collections::{BTreeMap, BTreeSet};

use insta::assert_snapshot;
use jm_step::TargetName;

use crate::parse_targets;
use crate::testing::{findings_with, registry, show, targets};

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

/// A file that ships leaves it to the environment whether a system is pinned.
#[test]
fn an_identity_may_come_from_the_environment_and_empty_pins_nothing() {
    let file = "targets:\n  one: { provider: store, url: 'x://y', identity: \"${{ env.ID | default('') }}\" }\n";
    let pinned = |variables: &[(&str, &str)]| {
        let rendered = render(file, &["one"], variables).expect("complete");
        (rendered.targets[0].pinned.clone(), rendered.digest)
    };
    let (none, digest) = pinned(&[]);
    assert_eq!(none, None);
    assert_eq!(pinned(&[("ID", " ")]), (None, digest.clone()));
    let (some, other) = pinned(&[("ID", "abc\n")]);
    assert_eq!(some.as_deref(), Some("abc"));
    assert_ne!(digest, other, "other targets");
    let strict = file.replace(" | default('')", "");
    assert!(
        render(&strict, &["one"], &[]).is_err(),
        "it is to be pinned, and nobody says to what"
    );
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
