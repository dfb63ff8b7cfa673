//! JSON Schemas of plans and targets files, so that an editor completes step types, inputs and values.
//!
//! Where a value may be an expression, its schema takes text with `${{` besides.

mod pieces;
mod relax;

use jm_step::Registry;
use serde_json::{Map, Value, json};

use pieces::{duration, expression, inputs, names, retry, schedule, text};
use relax::Definitions;

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The schema of plan files.
pub fn plan(registry: &Registry) -> Value {
    let mut definitions = Definitions::default();
    let (step, typed_step) = steps(registry, &mut definitions);
    let mut defs = definitions.into_map();
    defs.insert("step".to_owned(), step);
    defs.insert("typed-step".to_owned(), typed_step);
    defs.insert("input".to_owned(), pieces::input());
    defs.insert("expression".to_owned(), expression());
    json!({
        "$schema": DIALECT,
        "title": "jm plan",
        "description": "A recovery plan: what is done, in which order.",
        "type": "object",
        "required": ["apiVersion", "name", "steps"],
        "additionalProperties": false,
        "properties": plan_fields(),
        "$defs": defs,
    })
}

fn plan_fields() -> Value {
    let steps =
        |about: &str| json!({ "description": about, "type": "array", "items": { "$ref": "#/$defs/typed-step" } });
    json!({
        "apiVersion": { "description": "The version of the language.", "const": "jm/v1" },
        "kind": { "description": "May be left out.", "const": "Plan" },
        "name": names("The plan's name, by which runs are listed."),
        "title": text("For people."),
        "description": text("For people: what the plan does, and when to use it."),
        "version": text("The plan's own version."),
        "updated": { "description": "When it was last changed.", "type": "string", "format": "date" },
        "reviewed": { "description": "When it was last reviewed.", "type": "string", "format": "date" },
        "review_every": duration("How often it is to be reviewed."),
        "objectives": {
            "description": "What is promised.",
            "type": "object",
            "additionalProperties": false,
            "properties": { "rto": duration("Recovery time objective."), "rpo": duration("Recovery point objective.") },
        },
        "contacts": { "description": "Keys of `contacts` in the targets file.", "type": "array", "items": { "type": "string" } },
        "repairs": { "description": "Targets that may be down or absent when the plan starts.", "type": "array", "items": names("A target.") },
        "schedule": schedule(),
        "inputs": inputs(),
        "max_parallel": { "description": "How many steps run at once, at most.", "type": "integer", "minimum": 1, "default": 8 },
        "deadline": duration("How long the run may take."),
        "steps": steps("What is done. A step waits for those that it reads or needs."),
        "finally": steps("What is done when the run has ended, one step after the other, each if its `if` says so."),
        "outputs": { "description": "What the plan gives out, by name.", "type": "object" },
        "drill": {
            "description": "How the plan is drilled.",
            "type": "object",
            "additionalProperties": false,
            "properties": { "schedule": schedule(), "inputs": { "description": "Inputs that differ from their defaults.", "type": "object" } },
        },
    })
}

/// What every step has, and beside it what its type demands. In two schemas, because yaml-language-server offers no keys
/// where rules and fields stand in one.
fn steps(registry: &Registry, definitions: &mut Definitions) -> (Value, Value) {
    let mut uses = Vec::new();
    let mut rules = vec![json!({ "$ref": "#/$defs/step" })];
    for step_type in registry.step_types() {
        let name = step_type.name();
        uses.push(json!({ "const": name, "description": step_type.summary() }));
        let input = definitions.add(name, &step_type.input_schema());
        let needed = input.needed;
        let roles: Map<String, Value> = step_type
            .roles()
            .iter()
            .map(|role| {
                (
                    role.name.to_owned(),
                    names(&format!("A target of provider `{}`.", role.provider)),
                )
            })
            .collect();
        let mut then = json!({ "properties": { "with": { "$ref": input.reference } } });
        if needed {
            then["required"] = json!(["with"]);
        }
        if !roles.is_empty() {
            then["properties"]["targets"] =
                json!({ "type": "object", "additionalProperties": false, "properties": roles });
        }
        rules
            .push(json!({ "if": { "properties": { "uses": { "const": name } }, "required": ["uses"] }, "then": then }));
    }
    let step = json!({
        "type": "object",
        "required": ["id", "uses"],
        "additionalProperties": false,
        "properties": pieces::step_fields(&Value::Array(uses), &retry()),
    });
    (step, json!({ "allOf": rules }))
}

/// The schema of targets files.
pub fn targets(registry: &Registry) -> Value {
    let mut definitions = Definitions::default();
    let mut providers = Vec::new();
    // Beside the field, not around it, for the same reason as with steps.
    let mut rules = vec![json!({ "$ref": "#/$defs/target" })];
    for (provider, connection) in registry.connections() {
        providers.push(json!({ "const": provider }));
        let config = definitions.add(provider, &pieces::with_own_fields(connection.config_schema()));
        rules.push(json!({
            "if": { "properties": { "provider": { "const": provider } }, "required": ["provider"] },
            "then": { "$ref": config.reference },
        }));
    }
    let target = json!({
        "type": "object",
        "required": ["provider"],
        "properties": { "provider": { "description": "The kind of system.", "oneOf": providers } },
    });
    let mut defs = definitions.into_map();
    defs.insert("target".to_owned(), target);
    defs.insert("expression".to_owned(), expression());
    json!({
        "$schema": DIALECT,
        "title": "jm targets",
        "description": "The systems that plans name. The only file that reads the environment: `${{ env.NAME }}`.",
        "type": "object",
        "required": ["apiVersion", "kind", "name", "targets"],
        "additionalProperties": false,
        "properties": {
            "apiVersion": { "description": "The version of the language.", "const": "jm/v1" },
            "kind": { "const": "Targets" },
            "name": names("Which set of systems this is, such as `production`."),
            "protected": { "description": "Irreversible steps need `--confirm NAME`, an approval step, or a person at the terminal.", "type": "boolean", "default": false },
            "targets": {
                "description": "The systems, by the names that plans use.",
                "type": "object",
                "propertyNames": { "pattern": "^[a-z][a-z0-9-]{0,62}$" },
                "additionalProperties": { "allOf": rules },
            },
            "contacts": pieces::contacts(),
        },
        "$defs": defs,
    })
}

#[cfg(test)]
mod tests;
