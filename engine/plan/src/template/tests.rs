//! Expressions and templates: what they give, what stays unknown, and that nothing panics.

use std::collections::BTreeMap;

use jm_step::Secret;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Evaluated, InputTemplate, Outputs, Scope, StepScope, StepStatus};
use crate::error::Problems;
use crate::span::source;
use crate::template::Expression;
use crate::yaml;

fn template(text: &str) -> (InputTemplate, Vec<crate::PlanError>) {
    let source = source("plan.yaml", text);
    let mut problems = Problems::new(&source);
    let root = yaml::read(text, &mut problems).root;
    let template = InputTemplate::parse(&root, text, &mut problems);
    (template, problems.into_found())
}

fn good(text: &str) -> InputTemplate {
    let (template, errors) = template(text);
    assert!(errors.is_empty(), "{errors:?}");
    template
}

fn condition(text: &str) -> Expression {
    let quoted = serde_json::to_string(text).expect("text");
    let source = source("plan.yaml", &quoted);
    let mut problems = Problems::new(&source);
    let root = yaml::read(&quoted, &mut problems).root;
    let condition = Expression::condition(&root, &quoted, &mut problems);
    assert!(problems.len() == 0, "{:?}", problems.into_found());
    condition.expect("it is an expression")
}

fn succeeded(outputs: Value) -> StepScope {
    StepScope {
        status: StepStatus::Succeeded,
        outputs: Outputs::Known(outputs),
    }
}

fn later(of: &str, partial: Option<Value>) -> StepScope {
    StepScope {
        status: StepStatus::Unknown,
        outputs: Outputs::Unknown {
            of: of.parse().expect("a name"),
            partial,
        },
    }
}

fn scope(steps: Vec<(&str, StepScope)>) -> Scope {
    Scope {
        inputs: json!({ "n": 3, "list": ["a", "b"], "text": "${{ 1 + 1 }} {{ x }} $(rm) 'q\"", "flag": true, "none": null }),
        steps: steps
            .into_iter()
            .map(|(id, step)| (id.parse().expect("a name"), step))
            .collect(),
        run: json!({ "id": "r1", "drill": false }),
        objectives: json!({ "rto": "30m" }),
        secret_inputs: BTreeMap::from([("token".to_owned(), Secret::new("hunter2"))]),
    }
}

fn render(text: &str) -> Value {
    good(text).render(&scope(vec![])).expect("it renders").value
}

#[test]
fn alone_an_expression_keeps_its_type_and_inside_text_it_becomes_text() {
    assert_eq!(render("'${{ inputs.n }}'"), json!(3));
    assert_eq!(render("'${{ inputs.list }}'"), json!(["a", "b"]));
    assert_eq!(render("'${{ inputs.flag }}'"), json!(true));
    assert_eq!(render("'${{ inputs.none }}'"), json!(null));
    assert_eq!(render("'${{ 1 + 1 }}'"), json!(2));
    assert_eq!(render("'${{ 1.5 * 2 }}'"), json!(3));
    assert_eq!(render("'${{ 6 / 2 }} ${{ 7 / 2 }}'"), json!("3 3.5"));
    assert_eq!(
        render("\"${{ {'a': [1, {'b': none}]} }}\""),
        json!({ "a": [1, { "b": null }] })
    );
    assert_eq!(
        render("'n is ${{ inputs.n }}, ${{ inputs.flag }}, ${{ inputs.list }}${{ inputs.none }}.'"),
        json!("n is 3, true, [\"a\",\"b\"].")
    );
    assert_eq!(render("' ${{ inputs.n }}'"), json!(" 3"), "white space makes it text");
}

#[test]
fn values_are_data_and_never_read_again() {
    assert_eq!(render("'${{ inputs.text }}'"), json!("${{ 1 + 1 }} {{ x }} $(rm) 'q\""));
    assert_eq!(
        render("'<${{ inputs.text }}>'"),
        json!("<${{ 1 + 1 }} {{ x }} $(rm) 'q\">")
    );
    assert_eq!(render("\"${{ '${{ not this }}' }}\""), json!("${{ not this }}"));
    assert_eq!(
        render("'{{ inputs.n }} {% if x %} $x ${x} }}'"),
        json!("{{ inputs.n }} {% if x %} $x ${x} }}")
    );
}

#[test]
fn structures_are_rendered_all_through() {
    let rendered =
        render("{ a: [1, '${{ inputs.n }}', { b: 'x${{ inputs.n }}' }], c: true, 'a/b~c': '${{ objectives.rto }}' }");
    assert_eq!(
        rendered,
        json!({ "a": [1, 3, { "b": "x3" }], "c": true, "a/b~c": "30m" })
    );
}

#[test]
fn ids_with_dashes_are_read_as_they_stand() {
    let scope = scope(vec![("put-back", succeeded(json!({ "a-b": 1, "n": 2 })))]);
    let one = |text: &str| good(text).render(&scope).expect("it renders").value;
    assert_eq!(one("'${{ steps.put-back.outputs.n - 1 }}'"), json!(1));
    assert_eq!(one("\"${{ steps['put-back'].outputs.n }}\""), json!(2));
    assert_eq!(one("\"${{ steps.put-back.outputs['a-b'] }}\""), json!(1));
    assert_eq!(
        one("\"${{ 'steps.put-back' }}\""),
        json!("steps.put-back"),
        "text is left alone"
    );
    assert_eq!(one("'${{ steps.put-back.status }}'"), json!("succeeded"));
}

#[test]
fn unknown_parts_are_named_with_what_they_wait_for() {
    let scope = scope(vec![
        ("a", later("a", Some(json!({ "known": 1 })))),
        ("b", later("a", None)),
    ]);
    let template = good(
        "{ x: '${{ steps.a.outputs.known }}', y: ['${{ steps.a.outputs.other }}'], z: 'and ${{ steps.b.outputs.q }}', w: '${{ steps.a.outputs }}' }",
    );
    let rendered = template.render(&scope).expect("it renders");
    let unknown: Vec<(&str, Vec<&str>)> = rendered
        .unknown
        .iter()
        .map(|leaf| {
            (
                leaf.pointer.as_str(),
                leaf.waits_for.iter().map(jm_step::StepId::as_str).collect(),
            )
        })
        .collect();
    assert_eq!(unknown, [("/y/0", vec!["a"]), ("/z", vec!["a"]), ("/w", vec!["a"])]);
    assert_eq!(rendered.known().value(), &json!({ "x": 1 }));
    assert_eq!(rendered.shown()["z"], "(known after a)");
    assert!(!rendered.is_whole());
}

#[test]
fn what_is_known_decides_where_it_can() {
    let scope = scope(vec![
        ("a", later("a", None)),
        ("b", succeeded(json!({ "yes": true, "n": 1, "null": null }))),
    ]);
    let value = |text: &str| condition(text).evaluate(&scope).expect("it evaluates");
    let unknown = Evaluated::Unknown {
        waits_for: vec!["a".parse().expect("a name")],
    };
    assert_eq!(value("steps.a.outputs.x"), unknown);
    assert_eq!(value("steps.a.status == 'failed'"), unknown);
    assert_eq!(
        value("steps.a.outputs.x and inputs.n == 4"),
        Evaluated::Value(false.into())
    );
    assert_eq!(
        value("inputs.n == 4 and steps.a.outputs.x"),
        Evaluated::Value(false.into())
    );
    assert_eq!(value("steps.a.outputs.x or inputs.flag"), Evaluated::Value(true.into()));
    assert_eq!(value("steps.a.outputs.x or inputs.n == 4"), unknown);
    assert_eq!(value("not steps.a.outputs.x"), unknown);
    assert_eq!(value("steps.a.outputs.x if inputs.flag else 1"), unknown);
    assert_eq!(
        value("1 if inputs.flag else steps.a.outputs.x"),
        Evaluated::Value(true.into())
    );
    assert!(value("steps.b.outputs.yes and run.id == 'r1'").is_true());
}

#[test]
fn in_an_if_what_is_undefined_is_false() {
    let scope = scope(vec![("a", succeeded(json!({ "null": null })))]);
    let value = |text: &str| condition(text).evaluate(&scope).expect("it evaluates").is_true();
    for text in [
        "steps.b.outputs.x",
        "steps.b.outputs.x.y.z",
        "steps.b.outputs.x < 3",
        "steps.b.outputs.x != 'a'",
        "steps.a.outputs.null < 3",
        "steps.a.outputs.null > 3",
        "steps.b.outputs.list[3]",
        "steps.b.outputs.x | length > 0",
        "inputs.list[9]",
        "inputs.list[9] == 'x'",
    ] {
        assert!(!value(text), "{text}");
        assert!(value(&format!("not ({text})")), "not ({text})");
        assert!(value(&format!("({text}) or true")), "({text}) or true");
    }
    assert!(value("steps.b.outputs.x is undefined"));
    assert!(value("steps.b.outputs.x | default(true)"));
    assert!(value("steps.b.status == 'not-started'"));
    assert!(value("steps.b.outputs == {}"));
}

#[test]
fn in_a_value_what_is_undefined_is_an_error_with_a_place() {
    let error = good("{ x: 1, y: '${{ steps.b.outputs.x }}' }")
        .render(&scope(vec![]))
        .expect_err("it is not there");
    assert_eq!(
        error.to_string(),
        "cannot evaluate `steps.b.outputs.x` (plan.yaml:1:17): `steps.b.outputs.x` is not there"
    );
    for text in [
        "'${{ inputs.list[9] }}'",
        "'${{ 1 if false }}'",
        "'${{ inputs.n.x }}'",
        "\"${{ inputs.n + 'a' }}\"",
    ] {
        let error = good(text).render(&scope(vec![])).expect_err(text);
        assert!(!error.message.is_empty());
    }
    assert_eq!(render("\"${{ steps.b.outputs.x | default('else') }}\""), json!("else"));
    assert_eq!(
        render("\"${{ steps.b.outputs.x.y | default('else') }}\""),
        json!("else")
    );
}

#[test]
fn a_field_that_a_finished_step_left_out_is_nothing() {
    let scope = scope(vec![
        ("a", succeeded(json!({}))),
        (
            "b",
            StepScope {
                status: StepStatus::Failed,
                outputs: Outputs::Known(json!({})),
            },
        ),
    ]);
    assert_eq!(
        good("'${{ steps.a.outputs.x }}'")
            .render(&scope)
            .expect("it renders")
            .value,
        json!(null)
    );
    assert!(good("'${{ steps.a.outputs.x.y }}'").render(&scope).is_err());
    assert!(good("'${{ steps.b.outputs.x }}'").render(&scope).is_err());
}

#[test]
fn secrets_pass_through_and_nothing_else_sees_them() {
    let scope = scope(vec![]);
    let rendered = good("{ a: '${{ inputs.token }}', b: \"${{ inputs.token | default('') }}\", c: \"${{ inputs.other | default('x') }}\" }")
        .render(&scope)
        .expect("it renders");
    assert_eq!(rendered.value, json!({ "a": "hunter2", "b": "hunter2", "c": "x" }));
    assert_eq!(rendered.secret_pointers, ["/a", "/b"]);
    assert!(!format!("{rendered:?}").contains("hunter2"));
    for text in [
        "'x${{ inputs.token }}'",
        "'${{ inputs.token | upper }}'",
        "\"${{ inputs.token ~ '' }}\"",
        "'${{ [inputs.token] }}'",
    ] {
        let error = good(text).render(&scope).expect_err(text);
        assert!(!error.to_string().contains("hunter2"));
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test of how long it takes")]
fn work_is_bounded() {
    for text in [
        "'${{ range(90000) | map(\"string\") | join(\"\") | length }}'",
        "\"${{ 'aaaaaaaaaaaaaaaa' * 100000000 }}\"",
        "'${{ 2 ** 2 ** 2 ** 2 ** 2 ** 2 ** 9 }}'",
    ] {
        let started = std::time::Instant::now();
        drop(good(text).render(&scope(vec![])));
        assert!(started.elapsed() < std::time::Duration::from_secs(5), "{text}");
    }
}

#[test]
fn deep_nesting_is_refused() {
    let text = format!("\"${{{{ {}1{} }}}}\"", "(".repeat(5000), ")".repeat(5000));
    let (_, errors) = template(&text);
    assert_eq!(errors.len(), 1, "{errors:?}");
}

proptest! {
    #[test]
    fn no_text_makes_parsing_or_rendering_panic(text in any::<String>()) {
        let quoted = serde_json::to_string(&text).expect("text");
        let (template, _) = template(&quoted);
        drop(template.render(&scope(vec![])));
    }

    #[test]
    fn no_expression_makes_parsing_or_rendering_panic(text in r#"[a-c0-9.\[\]{}()|'" +*~%<>=!&-]{0,40}|(steps|inputs|run)\.[a-z.\[\]0-9 |()'-]{0,30}"#) {
        let quoted = serde_json::to_string(&format!("${{{{ {text} }}}}")).expect("text");
        let (template, _) = template(&quoted);
        drop(template.render(&scope(vec![])));
        let source = source("plan.yaml", &quoted);
        let mut problems = Problems::new(&source);
        let root = yaml::read(&quoted, &mut problems).root;
        if let Some(condition) = Expression::condition(&root, &quoted, &mut problems) {
            drop(condition.evaluate(&scope(vec![])));
        }
    }

    #[test]
    fn text_without_expressions_stays_as_it_is(text in "[ -#%-~\\n\\té–ÿ日本]{0,60}") {
        let quoted = serde_json::to_string(&text).expect("text");
        let (template, errors) = template(&quoted);
        prop_assert!(errors.is_empty(), "{errors:?} {quoted}");
        prop_assert_eq!(template.render(&scope(vec![])).expect("it renders").value, Value::from(text));
    }

    #[test]
    fn a_value_comes_out_as_it_went_in(text in any::<String>(), number in any::<i64>(), flag: bool) {
        let mut scope = scope(vec![]);
        scope.inputs = json!({ "x": { "text": text, "list": [number, flag, null] } });
        let rendered = good("'${{ inputs.x }}'").render(&scope).expect("it renders");
        prop_assert_eq!(rendered.value, scope.inputs["x"].clone());
    }
}
