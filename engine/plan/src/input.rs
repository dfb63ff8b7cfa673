//! What an input takes: its type, and the values within it.

use std::cmp::Ordering;

use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::{Value, json};

use crate::document::{InputSpec, InputType};
use crate::duration;

impl InputSpec {
    /// Whether a value may be given. The reason why not is the second half of a sentence, and holds no value of a secret.
    pub(crate) fn accepts(&self, value: &Value) -> Result<(), String> {
        self.is_of_type(value)?;
        if let Some(choices) = &self.choices {
            if !choices.contains(value) {
                let choices: Vec<String> = choices.iter().map(|choice| format!("`{}`", plain(choice))).collect();
                return Err(format!("`{}` is not one of {}", plain(value), choices.join(", ")));
            }
        }
        if let (Some(pattern), Some(text)) = (&self.pattern, value.as_str()) {
            if !pattern.is_match(text) {
                return Err(format!("`{text}` does not match `{pattern}`"));
            }
        }
        self.in_bounds(value)
    }

    /// Whether a value is of the input's type.
    pub(crate) fn is_of_type(&self, value: &Value) -> Result<(), String> {
        type_of(self.kind, value)?;
        if let (Some(items), Value::Array(values)) = (self.items, value) {
            for (index, item) in values.iter().enumerate() {
                type_of(items, item).map_err(|reason| format!("item {}: {reason}", index + 1))?;
            }
        }
        Ok(())
    }

    /// Text from a command line or a file of variables as a value of the input's type.
    pub(crate) fn read(&self, text: &str) -> Result<Value, String> {
        read(self.kind, self.items, text)
    }

    fn in_bounds(&self, value: &Value) -> Result<(), String> {
        let below = |bound: &Value| self.compare(value, bound) == Some(Ordering::Less);
        let above = |bound: &Value| self.compare(value, bound) == Some(Ordering::Greater);
        let what = if matches!(self.kind, InputType::String | InputType::Array) {
            "its length"
        } else {
            "it"
        };
        if let Some(min) = self.min.as_ref().filter(|min| below(&min.value)) {
            return Err(format!("{what} is below `min: {}`", plain(&min.value)));
        }
        if let Some(max) = self.max.as_ref().filter(|max| above(&max.value)) {
            return Err(format!("{what} is above `max: {}`", plain(&max.value)));
        }
        Ok(())
    }

    fn compare(&self, value: &Value, bound: &Value) -> Option<Ordering> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        match self.kind {
            InputType::Integer | InputType::Number => value.as_f64()?.partial_cmp(&bound.as_f64()?),
            InputType::String => Some(
                value
                    .as_str()?
                    .chars()
                    .count()
                    .cmp(&usize::try_from(bound.as_u64()?).ok()?),
            ),
            InputType::Array => Some(value.as_array()?.len().cmp(&usize::try_from(bound.as_u64()?).ok()?)),
            InputType::Duration => Some(duration::parse(&text(value)?)?.cmp(&duration::parse(&text(bound)?)?)),
            InputType::Timestamp => Some(
                text(value)?
                    .parse::<Timestamp>()
                    .ok()?
                    .cmp(&text(bound)?.parse::<Timestamp>().ok()?),
            ),
            InputType::Date => Some(
                text(value)?
                    .parse::<Date>()
                    .ok()?
                    .cmp(&text(bound)?.parse::<Date>().ok()?),
            ),
            InputType::Boolean | InputType::Object | InputType::Secret => None,
        }
    }

    /// Whether `min` or `max` can be compared with values of this type.
    pub(crate) fn bound_makes_sense(&self, bound: &Value) -> bool {
        match self.kind {
            InputType::Integer | InputType::Number => bound.is_number(),
            InputType::String | InputType::Array => bound.is_u64(),
            InputType::Duration | InputType::Timestamp | InputType::Date => type_of(self.kind, bound).is_ok(),
            InputType::Boolean | InputType::Object | InputType::Secret => false,
        }
    }

    /// The JSON Schema of the values that expressions see.
    pub(crate) fn schema(&self) -> Value {
        let mut schema = schema_of(self.kind);
        if let (Some(items), Some(map)) = (self.items, schema.as_object_mut()) {
            map.insert("items".to_owned(), schema_of(items));
        }
        if let (Some(choices), Some(map)) = (&self.choices, schema.as_object_mut()) {
            map.insert("enum".to_owned(), Value::Array(choices.clone()));
        }
        schema
    }
}

fn schema_of(kind: InputType) -> Value {
    match kind {
        InputType::Integer => json!({ "type": "integer" }),
        InputType::Number => json!({ "type": "number" }),
        InputType::Boolean => json!({ "type": "boolean" }),
        InputType::Array => json!({ "type": "array" }),
        InputType::Object => json!({ "type": "object", "additionalProperties": true }),
        _ => json!({ "type": "string" }),
    }
}

/// Whether text refers to a secret instead of holding it.
pub(crate) fn is_secret_reference(text: &str) -> bool {
    ["env:", "file:"]
        .iter()
        .any(|prefix| text.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty()))
}

fn type_of(kind: InputType, value: &Value) -> Result<(), String> {
    let text = value.as_str();
    let fits = match kind {
        InputType::String => text.is_some(),
        InputType::Integer => value.is_i64() || value.is_u64(),
        InputType::Number => value.is_number(),
        InputType::Boolean => value.is_boolean(),
        InputType::Array => value.is_array(),
        InputType::Object => value.is_object(),
        InputType::Duration => text.is_some_and(|text| duration::parse(text).is_some()),
        InputType::Timestamp => text.is_some_and(|text| text.parse::<Timestamp>().is_ok()),
        InputType::Date => text.is_some_and(|text| text.parse::<Date>().is_ok()),
        InputType::Secret => text.is_some_and(is_secret_reference),
    };
    if fits {
        return Ok(());
    }
    Err(match kind {
        InputType::Secret => "a secret is given as `env:NAME` or `file:PATH`".to_owned(),
        InputType::Duration => format!("`{}` is not a duration such as {}", plain(value), duration::EXAMPLES),
        InputType::Timestamp => format!("`{}` is not a time such as `2026-11-23T02:00:00Z`", plain(value)),
        InputType::Date => format!("`{}` is not a date such as `2026-11-23`", plain(value)),
        _ => format!("`{}` is not of type `{}`", plain(value), kind.name()),
    })
}

fn read(kind: InputType, items: Option<InputType>, text: &str) -> Result<Value, String> {
    let json = || serde_json::from_str::<Value>(text).ok();
    let value = match kind {
        InputType::Integer | InputType::Number => json().filter(Value::is_number),
        InputType::Boolean => boolean(text).map(Value::Bool),
        InputType::Array if text.trim_start().starts_with('[') => json(),
        InputType::Array => return list(items.unwrap_or(InputType::String), text),
        InputType::Object => json().filter(Value::is_object),
        _ => Some(Value::from(text)),
    };
    value.ok_or_else(|| match kind {
        InputType::Object => "an object is written as JSON: `{\"key\": \"value\"}`".to_owned(),
        InputType::Boolean => format!("`{text}` is neither `true` nor `false`"),
        _ => format!("`{text}` is not of type `{}`", kind.name()),
    })
}

fn list(items: InputType, text: &str) -> Result<Value, String> {
    text.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(|item| read(items, None, item))
        .collect()
}

/// The words that environments and command lines use for booleans.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Some(true),
        "false" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// A value as people would write it: text without quotes.
pub(crate) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests;
