//! Parts of the schemas that do not depend on the step types.

use serde_json::{Value, json};

use crate::document::InputType;

/// Text for people.
pub(super) fn text(about: &str) -> Value {
    json!({ "description": about, "type": "string" })
}

/// A name of a step, a target or a plan.
pub(super) fn names(about: &str) -> Value {
    json!({ "description": about, "type": "string", "pattern": "^[a-z][a-z0-9-]{0,62}$" })
}

/// `25m`.
pub(super) fn duration(about: &str) -> Value {
    json!({ "description": about, "type": "string", "pattern": crate::duration::PATTERN, "examples": ["25m", "1h30m", "30d"] })
}

/// Text that holds an expression.
pub(super) fn expression() -> Value {
    json!({ "description": "An expression, such as `${{ inputs.name }}`.", "type": "string", "pattern": r"\$\{\{" })
}

pub(super) fn schedule() -> Value {
    json!({
        "description": "When it runs by itself.",
        "anyOf": [
            text("Five fields as in crontab, such as `0 2 * * *`, or `@daily`."),
            {
                "type": "object",
                "required": ["cron"],
                "additionalProperties": false,
                "properties": {
                    "cron": text("Five fields as in crontab, such as `0 2 * * *`, or `@daily`."),
                    "timezone": text("An IANA name, such as `Europe/Berlin`; UTC where it is absent."),
                },
            },
        ],
    })
}

pub(super) fn inputs() -> Value {
    json!({
        "description": "What the plan can be given.",
        "type": "object",
        "propertyNames": { "pattern": "^[A-Za-z][A-Za-z0-9_]{0,62}$" },
        "additionalProperties": { "$ref": "#/$defs/input" },
    })
}

pub(super) fn input() -> Value {
    let types: Vec<&str> = InputType::ALL.iter().map(|(name, _)| *name).collect();
    json!({
        "type": "object",
        "required": ["type"],
        "additionalProperties": false,
        "properties": {
            "type": { "description": "Its type.", "enum": types },
            "items": { "description": "The type of an array's items.", "enum": types },
            "default": { "description": "What it is where it is not given. Without one, it must be given." },
            "enum": { "description": "The values that it may have.", "type": "array", "minItems": 1 },
            "pattern": text("A regular expression that text must match."),
            "min": { "description": "The least value, or the least length of text or a list." },
            "max": { "description": "The greatest value, or the greatest length of text or a list." },
            "description": text("For people."),
        },
    })
}

pub(super) fn retry() -> Value {
    json!({
        "description": "How often the step is tried.",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "attempts": { "description": "Tries in all.", "type": "integer", "minimum": 1 },
            "backoff": {
                "description": "The pauses between tries.",
                "type": "object",
                "additionalProperties": false,
                "properties": {
                    "base": duration("The first pause."),
                    "factor": { "description": "By how much each pause is longer than the one before.", "type": "number", "minimum": 1, "maximum": 100 },
                    "cap": duration("The longest pause."),
                    "jitter": { "description": "How much of a pause is left to chance.", "type": "number", "minimum": 0, "maximum": 1 },
                },
            },
            "on": {
                "description": "The failures after which it is tried again.",
                "type": "array",
                "items": { "enum": ["unavailable", "timed-out", "conflict", "failed"] },
            },
        },
    })
}

pub(super) fn step_fields(uses: &Value, retry: &Value) -> Value {
    json!({
        "id": names("The step's name, unique in the plan."),
        "uses": { "description": "The step type.", "oneOf": uses },
        "with": { "description": "The step type's input." },
        "needs": {
            "description": "Steps that come before. Those that are read come before anyway.",
            "anyOf": [{ "type": "array", "items": names("A step.") }, names("A step.")],
        },
        "target": names("The target that it uses, where there are several of its provider."),
        "targets": { "description": "The targets that it uses, by role.", "type": "object" },
        "if": { "description": "Whether it runs: an expression. False: the step is skipped.", "type": ["string", "boolean"] },
        "retry": retry,
        "timeout": duration("How long one attempt may take."),
        "budget": duration("Its share of the RTO."),
        "on_failure": {
            "description": "What its failure does.",
            "oneOf": [
                { "const": "fail", "description": "Nothing new starts but `finally`." },
                { "const": "continue", "description": "The run goes on and ends degraded." },
                { "const": "pause", "description": "The run waits for a person." },
            ],
            "default": "fail",
        },
        "undoes": {
            "description": "In `finally`: steps that a resume is to do anew after this one has run.",
            "type": "array",
            "items": names("A step."),
        },
        "name": text("For people."),
        "why": text("For people: printed when the step fails."),
        "runbook": text("For people: where to read on, printed when the step fails."),
    })
}

pub(super) fn contacts() -> Value {
    json!({
        "description": "People, by the names that plans use.",
        "type": "object",
        "additionalProperties": {
            "type": "object",
            "additionalProperties": false,
            "properties": { "name": text("Who."), "reach": text("By which number or address.") },
        },
    })
}

/// A provider's configuration with the fields that every target has.
pub(super) fn with_own_fields(mut config: Value) -> Value {
    if let Some(fields) = config
        .as_object_mut()
        .map(|config| config.entry("properties").or_insert_with(|| json!({})))
    {
        fields["provider"] = json!({ "description": "The kind of system." });
        fields["optional"] = json!({ "description": "Where it is not configured, steps that use it are skipped.", "type": "boolean", "default": false });
        fields["by_name"] = json!({ "description": "Only steps that name it use it: a second system of its provider, which steps that name none must not take for the first.", "type": "boolean", "default": false });
        fields["identity"] = text("Which system this must be; another one is refused.");
        fields["max_parallel"] = json!({ "description": "How many steps of a run act on it at once, at most. Left out: as many as the plan lets run in all.", "type": "integer", "minimum": 1 });
    }
    config
}
