//! Findings about a file's YAML.

use insta::assert_snapshot;

use crate::parse;
use crate::testing::{compiled, findings, plan, show};

fn read(text: &str) -> String {
    show(&parse("plan.yaml", text).1)
}

#[test]
fn broken_yaml_is_reported_where_reading_stopped() {
    assert_snapshot!(read("apiVersion: jm/v1\nname: x\nsteps:\n  - id: a\n    uses: [test.look\n"), @r#"
    jm::plan::yaml_syntax

      × this is not YAML: unclosed bracket '['
       ╭─[plan.yaml:5:11]
     4 │   - id: a
     5 │     uses: [test.look
       ·           ─────┬────
       ·                ╰── reading stopped here
       ╰────
    "#);
}

#[test]
fn tabs_do_not_indent() {
    assert_snapshot!(read("apiVersion: jm/v1\nname: x\nsteps:\n\t- id: a\n"), @r#"
    jm::plan::yaml_syntax

      × this is not YAML: tabs disallowed within this context (block indentation)
       ╭─[plan.yaml:4:2]
     3 │ steps:
     4 │     - id: a
       ·     ───────
       ╰────
      help: indentation is made of spaces: replace the tabs
    "#);
}

#[test]
fn keys_stand_once() {
    assert_snapshot!(findings("title: one\ntitle: two\nsteps: [{ id: a, uses: test.look, uses: test.look }]\n"), @r#"
    jm::plan::yaml_duplicate_key

      × the key `title` stands here twice
       ╭─[plan.yaml:4:1]
     2 │ name: test
     3 │ title: one
       · ──┬──
       ·   ╰── first here
     4 │ title: two
       · ──┬──
       ·   ╰── again
     5 │ steps: [{ id: a, uses: test.look, uses: test.look }]
       ╰────
      help: remove one of the two
    jm::plan::yaml_duplicate_key

      × the key `uses` stands here twice
       ╭─[plan.yaml:5:35]
     4 │ title: two
     5 │ steps: [{ id: a, uses: test.look, uses: test.look }]
       ·                  ──┬─             ──┬─
       ·                    │                ╰── again
       ·                    ╰── first here
       ╰────
      help: remove one of the two
    "#);
}

#[test]
fn a_byte_order_mark_is_refused() {
    assert_snapshot!(read("\u{feff}apiVersion: jm/v1\n"), @r#"
    jm::plan::yaml_unsupported

      × the file begins with a byte order mark
       ╭─[plan.yaml:1:1]
     1 │ ﻿apiVersion: jm/v1
       · ┬
       · ╰── three bytes that editors do not show
       ╰────
      help: save it as UTF-8 without BOM
    "#);
}

#[test]
fn one_document_in_a_file() {
    assert_snapshot!(read("apiVersion: jm/v1\nname: x\nsteps: [{ id: a, uses: test.look }]\n---\nname: y\n"), @r#"
    jm::plan::yaml_unsupported

      × the file holds more than one document
       ╭─[plan.yaml:4:1]
     3 │ steps: [{ id: a, uses: test.look }]
     4 │ ---
       · ─┬─
       ·  ╰── the second one begins here
     5 │ name: y
       ╰────
      help: one file, one document: split it
    "#);
}

#[test]
fn tags_and_keys_that_are_no_text_are_refused() {
    assert_snapshot!(findings("title: !!binary aGk=\nsteps: [{ id: a, uses: test.look, with: { message: hello } }]\n"), @r#"
    jm::plan::yaml_unsupported

      × the tag `!!binary` is not possible in a plan
       ╭─[plan.yaml:3:17]
     2 │ name: test
     3 │ title: !!binary aGk=
       ·                 ────
     4 │ steps: [{ id: a, uses: test.look, with: { message: hello } }]
       ╰────
      help: write the value without a tag
    "#);
    assert_snapshot!(read("apiVersion: jm/v1\n? [a, b]\n: c\n"), @r#"
    jm::plan::yaml_unsupported

      × a key is text, and this is a collection or an alias
       ╭─[plan.yaml:2:3]
     1 │ apiVersion: jm/v1
     2 │ ? [a, b]
       ·   ─
     3 │ : c
       ╰────
      help: a value that begins with `{` or `[` needs quotes
    "#);
}

#[test]
fn bombs_are_defused() {
    let mut text = plan("title: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..9 {
        let alias = format!("*a{}", level - 1);
        let items = vec![alias; 10].join(", ");
        text.push_str(&["x", &level.to_string(), ": &a", &level.to_string(), " [", &items, "]\n"].concat());
    }
    let (_, errors) = parse("plan.yaml", &text);
    assert!(
        errors.iter().any(|error| error.code() == "jm::plan::yaml_limit"),
        "{errors:?}"
    );
}

#[test]
fn depth_and_size_have_limits() {
    let deep = format!("apiVersion: jm/v1\nx: {}{}\n", "[".repeat(100), "]".repeat(100));
    let (_, errors) = parse("plan.yaml", &deep);
    assert!(
        errors.iter().any(|error| error.code() == "jm::plan::yaml_limit"),
        "{errors:?}"
    );
    let large = "#".repeat(5 << 20);
    assert_snapshot!(read(&large), @r#"
    jm::plan::yaml_limit

      × the file has 5242880 bytes, more than the 4194304 that are read
       ╭─[plan.yaml:1:1]
     1 │ ############################################################
       · ▲
       ╰────
      help: plans are text for people; keep data elsewhere
    "#);
}

#[test]
fn merge_keys_are_refused() {
    assert_snapshot!(findings("steps:\n  - { id: a, uses: test.look, with: &x { message: a } }\n  - { id: b, uses: test.look, with: { <<: *x } }\n"), @r#"
    jm::plan::yaml_unsupported

      × merge keys are not part of YAML 1.2
       ╭─[plan.yaml:5:39]
     4 │   - { id: a, uses: test.look, with: &x { message: a } }
     5 │   - { id: b, uses: test.look, with: { <<: *x } }
       ·                                       ──
       ╰────
      help: write the fields out, or use an alias for the whole value
    "#);
}

#[test]
fn findings_have_an_end() {
    let mut text = plan("steps:\n");
    for number in 0..3000 {
        text.push_str(&["  - { id: s", &number.to_string(), ", uses: test.lok }\n"].concat());
    }
    let errors = compiled(&text).expect_err("invalid").into_errors();
    assert_eq!(errors.len(), 501);
    assert!(errors.iter().any(|error| error.code() == "jm::plan::too_many"));
}

#[test]
fn an_alias_inside_its_own_value_is_refused() {
    let (_, errors) = parse("plan.yaml", "apiVersion: jm/v1\nname: &x [*x]\n");
    assert_eq!(errors[0].code(), "jm::plan::yaml_syntax", "{errors:?}");
}

#[test]
fn aliases_within_reason_are_followed() {
    let text = plan(
        "steps:\n  - { id: a, uses: test.look, with: &with { message: hello } }\n  - { id: b, uses: test.look, with: *with }\n",
    );
    let plan = compiled(&text).expect("valid").plan;
    assert_eq!(
        plan.step("b")
            .expect("there")
            .input
            .render(&crate::Scope::default())
            .expect("rendered")
            .value["message"],
        "hello"
    );
}
