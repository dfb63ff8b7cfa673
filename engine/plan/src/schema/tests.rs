//! The schemas that editors get.

use serde_json::Value;

use super::{plan, targets};
use crate::testing::{PAGE_PLAN, PAGE_TARGETS, page_registry, registry};
use crate::{error::Problems, span::source, yaml};

fn value(text: &str) -> Value {
    let source = source("x.yaml", text);
    let mut problems = Problems::new(&source);
    let value = yaml::read(text, &mut problems).root.to_value();
    assert!(problems.into_found().is_empty());
    value
}

/// What an editor's validator says.
fn problems(schema: &Value, value: &Value) -> Vec<String> {
    let validator = jsonschema::draft202012::new(schema).expect("it is a schema");
    let place = |error: jsonschema::ValidationError<'_>| format!("{}: {error}", error.instance_path());
    validator.iter_errors(value).map(place).collect()
}

fn plan_with(step: &str) -> Value {
    value(&format!("{{ apiVersion: jm/v1, name: x, steps: [{step}] }}"))
}

#[test]
fn the_plan_of_the_page_fits_its_schema() {
    assert_eq!(problems(&plan(&page_registry()), &value(PAGE_PLAN)), [""; 0]);
}

#[test]
fn the_targets_of_the_page_fit_their_schema() {
    assert_eq!(problems(&targets(&page_registry()), &value(PAGE_TARGETS)), [""; 0]);
}

#[test]
fn expressions_fit_wherever_a_value_stands() {
    let schema = plan(&registry());
    for step in [
        "{ id: a, uses: test.look, with: { times: '${{ inputs.n }}', loud: '${{ inputs.x }}', mood: '${{ inputs.y }}' } }",
        "{ id: a, uses: test.look, with: { names: '${{ inputs.all }}', way: '${{ inputs.way }}', env: { A: '${{ b }}' } } }",
        "{ id: a, uses: test.look, with: { names: ['${{ a }}', 'b ${{ c }}'], way: { by: foot, kilometres: '${{ n }}' } } }",
        "{ id: a, uses: test.look, with: { message: '${{ a }}', password: '${{ b }}', anything: [1, { two: 3 }] } }",
        "{ id: a, uses: test.look, if: '${{ a }}', needs: b }",
        "{ id: a, uses: test.look, if: true, needs: [b, c], retry: { attempts: 2, on: [unavailable] }, timeout: 1h30m }",
    ] {
        assert_eq!(problems(&schema, &plan_with(step)), [""; 0], "{step}");
    }
}

#[test]
fn mistakes_do_not_fit() {
    let schema = plan(&registry());
    for step in [
        "{ id: a, uses: test.lok }",
        "{ id: A, uses: test.look }",
        "{ id: a, uses: test.look, colour: red }",
        "{ id: a, uses: test.look, with: { tims: 3 } }",
        "{ id: a, uses: test.look, with: { times: many } }",
        "{ id: a, uses: test.look, with: { mood: angry } }",
        "{ id: a, uses: test.look, with: { way: { by: train, kilometres: 3 } } }",
        "{ id: a, uses: test.look, timeout: 5 minutes }",
        "{ id: a, uses: test.look, on_failure: contine }",
        "{ id: a, uses: test.write }",
        "{ id: a, uses: test.write, with: {} }",
        "{ id: a, uses: test.write, with: { path: x }, targets: { stoer: y } }",
    ] {
        assert_ne!(problems(&schema, &plan_with(step)), [""; 0], "{step}");
    }
    for plan in [
        "{ apiVersion: jm/v1 }",
        "{ apiVersion: jm/v2, name: x, steps: [] }",
        "{ apiVersion: jm/v1, name: x, steps: [], colour: red }",
    ] {
        assert_ne!(problems(&schema, &value(plan)), [""; 0], "{plan}");
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
fn targets_with_mistakes_do_not_fit() {
    let schema = targets(&registry());
    let file = |target: &str| {
        value(&format!(
            "{{ apiVersion: jm/v1, kind: Targets, name: here, targets: {{ one: {target} }} }}"
        ))
    };
    for good in [
        "{ provider: store, url: '${{ env.X }}', days: '${{ env.Y }}', optional: true, identity: abc }",
        "{ provider: place, name: x }",
    ] {
        assert_eq!(problems(&schema, &file(good)), [""; 0], "{good}");
    }
    for bad in [
        "{ provider: stoer }",
        "{ name: x }",
        "{ provider: place }",
        "{ provider: place, name: x, colour: red }",
        "{ provider: store, url: x, days: many }",
    ] {
        assert_ne!(problems(&schema, &file(bad)), [""; 0], "{bad}");
    }
}

#[test]
fn the_same_registry_gives_the_same_text() {
    assert_eq!(plan(&registry()).to_string(), plan(&registry()).to_string());
}
