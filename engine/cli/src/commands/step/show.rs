//! `jm step show TYPE`: what a step type does, takes and gives, from its schemas.

use jm_step::{AnyStepType, Effect, Registry};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::args::{Format, StepShowArgs};
use crate::commands::Outcome;
use crate::exit::{CommandError, Exit};
use crate::report::document::Document;
use crate::report::{table, time, words};
use crate::ui::{Style, Ui};

pub(in crate::commands) fn show(args: &StepShowArgs, ui: &Ui) -> Outcome {
    let registry = crate::providers::registry();
    let step_type = registry
        .get(&args.step_type)
        .ok_or_else(|| unknown(&registry, &args.step_type))?;
    match args.format {
        Format::Json => Document::of(StepShow::of(step_type.as_ref())).print(ui),
        Format::Human => human(step_type.as_ref(), ui),
    }
    Ok(Exit::Done)
}

/// The error for a step type that there is not.
pub(super) fn unknown(registry: &Registry, name: &str) -> CommandError {
    let provider = name.split('.').next().unwrap_or_default();
    let near: Vec<&str> = registry
        .step_types()
        .map(|one| one.name())
        .filter(|one| one.split('.').next() == Some(provider))
        .collect();
    let hint = if near.is_empty() {
        "`jm step list` shows them all".to_owned()
    } else {
        format!("there are: {}", near.join(", "))
    };
    CommandError::usage(format!("there is no step type `{name}`")).hint(hint)
}

/// What a step type does, takes and gives.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::commands) struct StepShow {
    /// Such as `postgres.switch`.
    name: &'static str,
    /// What it does.
    summary: &'static str,
    /// The most that it can do to the world.
    effect: Effect,
    /// Whether it asks a person.
    gate: bool,
    /// How long it may take where the plan says nothing.
    timeout_seconds: u64,
    /// The targets that it uses.
    roles: Vec<ShownRole>,
    /// JSON Schema of `with`.
    input: Value,
    /// JSON Schema of `outputs`.
    output: Value,
}

/// A target that a step type uses.
#[derive(Debug, Serialize, JsonSchema)]
struct ShownRole {
    name: &'static str,
    /// The provider that the target has to have.
    provider: &'static str,
}

impl StepShow {
    fn of(step_type: &dyn AnyStepType) -> Self {
        let roles = step_type.roles().into_iter().map(|role| ShownRole {
            name: role.name,
            provider: role.provider,
        });
        Self {
            name: step_type.name(),
            summary: step_type.summary(),
            effect: step_type.most_effect(),
            gate: step_type.is_gate(),
            timeout_seconds: step_type.timeout().as_secs(),
            roles: roles.collect(),
            input: step_type.input_schema(),
            output: step_type.output_schema(),
        }
    }
}

fn human(step_type: &dyn AnyStepType, ui: &Ui) {
    let head = format!("{} ", ui.paint(Style::Bold, step_type.name()));
    ui.out_hanging(&head, step_type.summary());
    let roles: Vec<String> = step_type
        .roles()
        .iter()
        .map(|role| format!("{} ({})", role.name, role.provider))
        .collect();
    let rows = [
        ("effect", words::effect(step_type.most_effect()).to_owned()),
        (
            "uses",
            if roles.is_empty() {
                "no target".to_owned()
            } else {
                roles.join(", ")
            },
        ),
        ("time-out", time::duration(step_type.timeout())),
    ];
    for (name, value) in rows {
        ui.out_hanging(&format!("  {name:<9} "), &value);
    }
    fields(ui, "with", &step_type.input_schema());
    fields(ui, "outputs", &step_type.output_schema());
}

fn fields(ui: &Ui, heading: &str, schema: &Value) {
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let Some(properties) = schema
        .get("properties")
        .and_then(Value::as_object)
        .filter(|all| !all.is_empty())
    else {
        ui.out(format!("\n{}\n  nothing", ui.paint(Style::Bold, heading)));
        return;
    };
    let rows: Vec<Vec<String>> = properties
        .iter()
        .map(|(name, field)| {
            let must = if heading == "with" && required.contains(&name.as_str()) {
                "*"
            } else {
                ""
            };
            vec![
                format!("  {name}{must}"),
                kind(field, schema),
                description(field, schema),
            ]
        })
        .collect();
    ui.out("");
    ui.out_all(&table::flowing(&[heading, "TYPE", "MEANING"], &rows, ui.page()));
}

/// A schema's type in one word or a few.
fn kind(field: &Value, root: &Value) -> String {
    let field = resolve(field, root);
    if field.get("x-jm-secret").is_some() {
        return "secret".to_owned();
    }
    if let Some(values) = field.get("enum").and_then(Value::as_array) {
        return values
            .iter()
            .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            .collect::<Vec<_>>()
            .join(" | ");
    }
    if let Some(choices) = field
        .get("oneOf")
        .or_else(|| field.get("anyOf"))
        .and_then(Value::as_array)
    {
        let kinds: Vec<String> = choices
            .iter()
            .map(|choice| kind(choice, root))
            .filter(|kind| kind != "null")
            .collect();
        return kinds.join(" | ");
    }
    if let Some(constant) = field.get("const") {
        return constant.as_str().map_or_else(|| constant.to_string(), str::to_owned);
    }
    match field.get("type") {
        Some(Value::String(kind)) if kind == "array" => {
            format!(
                "list of {}",
                field
                    .get("items")
                    .map_or_else(|| "anything".to_owned(), |items| self::kind(items, root))
            )
        }
        Some(Value::String(kind)) => kind.clone(),
        Some(Value::Array(kinds)) => kinds
            .iter()
            .filter_map(Value::as_str)
            .filter(|kind| *kind != "null")
            .collect::<Vec<_>>()
            .join(" | "),
        _ => "anything".to_owned(),
    }
}

fn description(field: &Value, root: &Value) -> String {
    let of = |value: &Value| {
        value
            .get("description")
            .and_then(Value::as_str)
            .map(|text| text.replace('\n', " "))
    };
    of(field).or_else(|| of(resolve(field, root))).unwrap_or_default()
}

fn resolve<'s>(field: &'s Value, root: &'s Value) -> &'s Value {
    let Some(reference) = field.get("$ref").and_then(Value::as_str) else {
        return field;
    };
    reference
        .strip_prefix('#')
        .and_then(|pointer| root.pointer(pointer))
        .unwrap_or(field)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn types_read_as_people_say_them() {
        let root = json!({ "$defs": { "Level": { "enum": ["low", "high"] } } });
        for (schema, shown) in [
            (json!({ "type": "string" }), "string"),
            (json!({ "type": ["string", "null"] }), "string"),
            (
                json!({ "type": "array", "items": { "type": "integer" } }),
                "list of integer",
            ),
            (json!({ "$ref": "#/$defs/Level" }), "low | high"),
            (
                json!({ "anyOf": [{ "$ref": "#/$defs/Level" }, { "type": "null" }] }),
                "low | high",
            ),
            (json!({ "type": "string", "x-jm-secret": true }), "secret"),
            (json!(true), "anything"),
        ] {
            assert_eq!(kind(&schema, &root), shown);
        }
    }
}
