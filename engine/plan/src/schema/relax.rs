//! Schemas of inputs as parts of a plan's schema: definitions under one roof, and expressions wherever a value stands.

use serde_json::{Map, Value, json};

/// The definitions that a schema refers to.
#[derive(Default)]
pub(super) struct Definitions(Map<String, Value>);

/// A schema that was added.
pub(super) struct Added {
    /// `#/$defs/…`.
    pub(super) reference: String,
    /// Whether it has fields that must be there.
    pub(super) needed: bool,
}

impl Definitions {
    /// Adds a root schema under a name, with what it refers to.
    pub(super) fn add(&mut self, name: &str, schema: &Value) -> Added {
        let mut root = schema.clone();
        let inner = root.as_object_mut().and_then(|root| root.remove("$defs"));
        if let Some(root) = root.as_object_mut() {
            root.remove("$schema");
            root.remove("title");
        }
        for (key, definition) in inner.as_ref().and_then(Value::as_object).into_iter().flatten() {
            self.0.insert(format!("{name}.{key}"), relaxed(definition, name, true));
        }
        let needed = root
            .get("required")
            .and_then(Value::as_array)
            .is_some_and(|required| !required.is_empty());
        self.0.insert(name.to_owned(), relaxed(&root, name, true));
        Added {
            reference: format!("#/$defs/{name}"),
            needed,
        }
    }

    pub(super) fn into_map(self) -> Map<String, Value> {
        self.0
    }
}

/// The schema with references into the common definitions, and with expressions allowed in all its fields; `top` is
/// left as it is itself, for what refers to it allows them already.
fn relaxed(schema: &Value, name: &str, top: bool) -> Value {
    let Value::Object(map) = schema else {
        return schema.clone();
    };
    let mut inner = Map::new();
    for (keyword, value) in map {
        let value = match (keyword.as_str(), value) {
            ("$ref", Value::String(reference)) => {
                Value::from(reference.replace("#/$defs/", &format!("#/$defs/{name}.")))
            }
            ("properties" | "patternProperties", Value::Object(fields)) => fields
                .iter()
                .map(|(key, field)| (key.clone(), relaxed(field, name, false)))
                .collect::<Map<_, _>>()
                .into(),
            ("items" | "additionalProperties", schema) => relaxed(schema, name, false),
            ("prefixItems", Value::Array(schemas)) => {
                schemas.iter().map(|schema| relaxed(schema, name, false)).collect()
            }
            // The alternatives are the same value as the whole.
            ("anyOf" | "oneOf" | "allOf", Value::Array(schemas)) => {
                schemas.iter().map(|schema| relaxed(schema, name, true)).collect()
            }
            _ => value.clone(),
        };
        inner.insert(keyword.clone(), value);
    }
    if top || takes_any_text(&inner) {
        Value::Object(inner)
    } else {
        or_expression(inner)
    }
}

/// Whether text with an expression passes anyway.
fn takes_any_text(schema: &Map<String, Value>) -> bool {
    let limits = [
        "enum",
        "const",
        "pattern",
        "maxLength",
        "format",
        "$ref",
        "anyOf",
        "oneOf",
        "allOf",
    ];
    let text = match schema.get("type") {
        None => true,
        Some(Value::String(kind)) => kind == "string",
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "string"),
        Some(_) => false,
    };
    text && limits.iter().all(|limit| !schema.contains_key(*limit))
}

/// What people read stays outside, where editors look for it.
fn or_expression(mut schema: Map<String, Value>) -> Value {
    let mut outer = Map::new();
    for keyword in ["description", "default", "title", "examples"] {
        if let Some(value) = schema.shift_remove(keyword) {
            outer.insert(keyword.to_owned(), value);
        }
    }
    outer.insert("anyOf".to_owned(), json!([schema, { "$ref": "#/$defs/expression" }]));
    Value::Object(outer)
}
