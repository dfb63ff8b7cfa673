//! YAML as plans use it.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Kind, Node, read};
use crate::error::Problems;
use crate::span::{range, source};

fn tree(text: &str) -> (Node, Vec<crate::PlanError>) {
    let source = source("x.yaml", text);
    let mut problems = Problems::new(&source);
    let read = read(text, &mut problems);
    (read.root, problems.into_found())
}

fn value(text: &str) -> Value {
    let (node, errors) = tree(text);
    assert!(errors.is_empty(), "{text}: {errors:?}");
    node.to_value()
}

#[test]
fn scalars_are_those_of_the_core_schema() {
    let yaml = "[no, on, yes, off, y, n, true, False, null, ~, 012, 0o14, 0xff, +1, -2, 1.5, .5, 1e3, 1_000, 2026-11-23, 12:30:00, '1', \"true\", .nan, .inf, 1.2.3, 0x, '']";
    assert_eq!(
        value(yaml),
        json!([
            "no",
            "on",
            "yes",
            "off",
            "y",
            "n",
            true,
            false,
            null,
            null,
            12,
            12,
            255,
            1,
            -2,
            1.5,
            0.5,
            1000.0,
            "1_000",
            "2026-11-23",
            "12:30:00",
            "1",
            "true",
            ".nan",
            ".inf",
            "1.2.3",
            "0x",
            ""
        ])
    );
    assert_eq!(value("18446744073709551615"), json!(u64::MAX));
}

#[test]
fn block_and_flow_and_folded_text_are_read() {
    let yaml = "a: |\n  one\n  two\nb: >\n  folded\n  text\nc:\n- 1\n- {d: 2}\n";
    assert_eq!(
        value(yaml),
        json!({ "a": "one\ntwo\n", "b": "folded text\n", "c": [1, { "d": 2 }] })
    );
}

#[test]
fn every_value_has_its_place() {
    let text = "a: hello\nb: 'qu''oted'\nc: [1, two]\nd:\n  e: é\n  f: x\n";
    let (node, _) = tree(text);
    let Kind::Map(entries) = &node.kind else {
        panic!("a mapping")
    };
    let slices: Vec<&str> = entries.iter().map(|(_, node)| &text[range(node.span)]).collect();
    assert_eq!(slices, ["hello", "'qu''oted'", "[1, two]", "e: é\n  f: x"]);
    let keys: Vec<&str> = entries.iter().map(|(key, _)| &text[range(key.span)]).collect();
    assert_eq!(keys, ["a", "b", "c", "d"]);
}

#[test]
fn what_was_read_before_a_mistake_is_kept() {
    let (node, errors) = tree("a: 1\nb: [1, 2\nc: 3\n");
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(node.to_value()["a"], 1);
}

#[test]
fn nothing_and_comments_are_null() {
    assert_eq!(value(""), Value::Null);
    assert_eq!(value("# only a comment\n"), Value::Null);
    assert_eq!(value("---\n"), Value::Null);
}

#[test]
fn numbers_that_cannot_be_written_down_are_text() {
    assert_eq!(value("1e999"), json!("1e999"));
    assert_eq!(value("99999999999999999999"), json!("99999999999999999999"));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        drop(tree(&text));
    }

    #[test]
    fn no_yaml_makes_it_panic(text in r##"([ \t\n:\-\[\]{},&*!|>'"#?@a-c0-9]){0,80}"##) {
        let (_, errors) = tree(&text);
        for error in errors {
            let place = error.place().expect("it has a place");
            prop_assert!(place.line >= 1 && place.column >= 1);
        }
    }

    #[test]
    fn json_is_yaml(text in "[ -~é]{0,20}", number in any::<i64>(), flag: bool) {
        let json = json!({ "a": [text, number, flag, null], "b": { "c": text } });
        prop_assert_eq!(value(&json.to_string()), json);
    }
}
