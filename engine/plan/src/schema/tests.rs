//! The schemas that editors get.

use serde_json::Value;

use super::{plan, targets};
use crate::shape::{Shape, fit};
use crate::testing::{PAGE_PLAN, PAGE_TARGETS, page_registry, registry};
use crate::{error::Problems, span::source, yaml};

fn value(text: &str) -> Value {
    let source = source("x.yaml", text);
    let mut problems = Problems::new(&source);
    let value = yaml::read(text, &mut problems).root.to_value();
    assert!(problems.into_found().is_empty());
    value
}

/// What `allOf` with `if` and `then` asks of a step: our own reader of schemas leaves conditions to editors.
fn step_problems(schema: &Value, step: &Value) -> Vec<String> {
    let mut found = problems(schema, &schema["$defs"]["step"], step);
    for rule in schema["$defs"]["step"]["allOf"].as_array().expect("rules") {
        if rule["if"]["properties"]["uses"]["const"] == step["uses"] {
            let input = rule["then"]["properties"]["with"]["$ref"]
                .as_str()
                .expect("a reference");
            let input = schema
                .pointer(input.trim_start_matches('#'))
                .expect("it leads somewhere");
            if let Some(with) = step.get("with") {
                found.extend(problems(schema, input, with));
            } else if rule["then"].get("required").is_some() {
                found.push("`with` is missing".to_owned());
            }
        }
    }
    found
}

fn problems(schema: &Value, part: &Value, value: &Value) -> Vec<String> {
    let mut whole = part.clone();
    whole["$defs"] = schema["$defs"].clone();
    fit(value, Shape::root(&whole), &|_| false)
        .violations
        .into_iter()
        .map(|violation| format!("{}: {}", violation.pointer, violation.message))
        .collect()
}

#[test]
fn the_plan_of_the_page_fits_its_schema() {
    let schema = plan(&page_registry());
    let page = value(PAGE_PLAN);
    assert_eq!(problems(&schema, &schema, &page), [""; 0]);
    for step in page["steps"]
        .as_array()
        .into_iter()
        .chain(page["finally"].as_array())
        .flatten()
    {
        assert_eq!(step_problems(&schema, step), [""; 0], "{step}");
    }
}

#[test]
fn mistakes_do_not_fit() {
    let schema = plan(&registry());
    let wrong = |yaml: &str| step_problems(&schema, &value(yaml));
    assert_eq!(
        wrong(
            "{ id: a, uses: test.look, with: { times: 3, loud: '${{ inputs.x }}', mood: '${{ inputs.y }}', names: ['${{ a }}'] } }"
        ),
        [""; 0]
    );
    assert_eq!(
        wrong("{ id: a, uses: test.look, with: '${{ inputs.all }}' }").len(),
        1,
        "the input of a step is written out"
    );
    for yaml in [
        "{ id: a, uses: test.lok }",
        "{ id: A, uses: test.look }",
        "{ id: a, uses: test.look, colour: red }",
        "{ id: a, uses: test.look, with: { tims: 3 } }",
        "{ id: a, uses: test.look, with: { times: many } }",
        "{ id: a, uses: test.look, with: { mood: angry } }",
        "{ id: a, uses: test.look, timeout: 5 minutes }",
        "{ id: a, uses: test.write }",
        "{ id: a, uses: test.write, with: {} }",
    ] {
        assert_eq!(wrong(yaml).len(), 1, "{yaml}: {:?}", wrong(yaml));
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_step_type_is_offered() {
    for registry in [registry(), page_registry()] {
        for schema in [plan(&registry), targets(&registry)] {
            let mut references = Vec::new();
            gather(&schema, &mut references);
            for reference in references {
                assert!(
                    schema.pointer(reference.trim_start_matches('#')).is_some(),
                    "{reference}"
                );
            }
        }
        let offered = plan(&registry)["$defs"]["step"]["properties"]["uses"]["oneOf"]
            .as_array()
            .expect("a list")
            .len();
        assert_eq!(offered, registry.step_types().count());
    }
}

fn gather<'s>(schema: &'s Value, found: &mut Vec<&'s str>) {
    match schema {
        Value::Object(map) => {
            found.extend(map.get("$ref").and_then(Value::as_str));
            map.values().for_each(|value| gather(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| gather(item, found)),
        _ => {}
    }
}

#[test]
fn the_targets_of_the_page_fit_their_schema() {
    let schema = targets(&page_registry());
    let page = value(PAGE_TARGETS);
    let common: Vec<String> = problems(&schema, &schema, &page)
        .into_iter()
        .filter(|problem| !problem.contains("there is no field"))
        .collect();
    assert_eq!(common, [""; 0]);
    for (name, target) in page["targets"].as_object().expect("a mapping") {
        let config = &schema["$defs"][target["provider"].as_str().expect("text")];
        assert_eq!(problems(&schema, config, target), [""; 0], "{name}");
    }
}

#[test]
fn the_same_registry_gives_the_same_text() {
    assert_eq!(plan(&registry()).to_string(), plan(&registry()).to_string());
}
