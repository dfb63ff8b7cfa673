//! Data for people: objects as fields, lists of objects as tables, texts as they are. What a step gives out, and what an
//! error has seen, are shown so.

use serde_json::{Map, Value};

use crate::report::table;

/// A part of so many lines within a value is counted, not shown: an inventory of a database pushes off the screen what
/// people look for.
const LONGEST_PART: usize = 12;

/// A value in lines, no wider than `width` where that can be had. An only field needs no name.
pub(crate) fn lines(value: &Value, width: usize) -> Vec<String> {
    match value {
        Value::Object(fields) if fields.len() == 1 => fields
            .values()
            .flat_map(|value| match value {
                Value::Object(_) => lines(value, width),
                value => body(value, width),
            })
            .collect(),
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, value)| field(name, value, width))
            .collect(),
        value => body(value, width),
    }
}

fn field(name: &str, value: &Value, width: usize) -> Vec<String> {
    let inner = match value {
        Value::Null => return Vec::new(),
        Value::Object(fields) => {
            let parts = fields.iter();
            let lines: Vec<String> = parts
                .flat_map(|(name, value)| field(name, value, width.saturating_sub(2)))
                .collect();
            if lines.len() > LONGEST_PART {
                return vec![format!("{name}: {} entries, which `--format json` shows", fields.len())];
            }
            lines
        }
        value => match one_line(value) {
            Some(text) => return vec![format!("{name}: {text}")],
            None => body(value, width.saturating_sub(2)),
        },
    };
    let indented = inner.into_iter().map(|line| format!("  {line}"));
    std::iter::once(format!("{name}:")).chain(indented).collect()
}

fn body(value: &Value, width: usize) -> Vec<String> {
    match value {
        Value::Array(items) => list(items, width),
        Value::String(text) => text.lines().map(str::to_owned).collect(),
        value => vec![cell(value)],
    }
}

fn list(items: &[Value], width: usize) -> Vec<String> {
    let objects: Vec<&Map<String, Value>> = items.iter().filter_map(Value::as_object).collect();
    if items.is_empty() {
        return vec!["none".to_owned()];
    }
    if objects.len() < items.len() {
        return items.iter().map(cell).collect();
    }
    let is_long = |value: &Value| value.as_str().is_some_and(|text| text.contains('\n'));
    if objects.iter().any(|object| object.values().any(is_long)) {
        return objects.into_iter().flat_map(block).collect();
    }
    let mut names: Vec<&str> = Vec::new();
    for name in objects.iter().flat_map(|object| object.keys()) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let headings: Vec<String> = names.iter().map(|name| name.replace('_', " ").to_uppercase()).collect();
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    let rows: Vec<Vec<String>> = objects
        .iter()
        .map(|object| {
            names
                .iter()
                .map(|name| object.get(*name).map(cell).unwrap_or_default())
                .collect()
        })
        .collect();
    table::render(&headings, &rows, width)
}

/// An object with a long text in it: its short fields as a heading, and the text.
fn block(object: &Map<String, Value>) -> Vec<String> {
    let (long, short): (Vec<_>, Vec<_>) = object
        .iter()
        .partition(|(_, value)| value.as_str().is_some_and(|text| text.contains('\n')));
    let heading: Vec<String> = short
        .iter()
        .map(|(name, value)| format!("{name}: {}", cell(value)))
        .collect();
    let texts = long.into_iter().filter_map(|(_, value)| value.as_str());
    std::iter::once(format!("--- {}", heading.join(", ")))
        .chain(texts.flat_map(|text| text.lines().map(str::to_owned)))
        .collect()
}

/// The value in one line, where it is not more.
fn one_line(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => (!text.contains('\n')).then(|| text.clone()),
        Value::Array(items) => {
            let simple = items.iter().all(|item| !item.is_object() && !item.is_array());
            let text = cell(value);
            (simple && text.len() <= 60 && !text.contains('\n')).then_some(text)
        }
        Value::Object(_) => None,
        value => Some(cell(value)),
    }
}

fn cell(value: &Value) -> String {
    let joined = |values: &mut dyn Iterator<Item = &Value>, by: &str| {
        let cells = values.map(cell).filter(|cell| !cell.is_empty());
        cells.collect::<Vec<_>>().join(by)
    };
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Array(items) => joined(&mut items.iter(), ", "),
        Value::Object(fields) => joined(&mut fields.values(), ": "),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_of_objects_is_a_table() {
        let pods = json!({ "pods": [
            { "name": "web-1", "ready": "1/1", "restarts": 0 },
            { "name": "web-2", "ready": "0/1", "restarts": 12, "trouble": { "reason": "CrashLoopBackOff", "message": "m" } }] });
        let shown = lines(&pods, 80);
        assert_eq!(shown[0], "NAME   READY  RESTARTS  TROUBLE");
        assert_eq!(shown[2], "web-2  0/1    12        CrashLoopBackOff: m");
        assert_eq!(lines(&json!({ "pods": [] }), 80), ["none"]);
    }

    #[test]
    fn texts_are_shown_as_they_are() {
        assert_eq!(
            lines(&json!({ "text": "Name: x\n  Ready: no\n" }), 80),
            ["Name: x", "  Ready: no"]
        );
        let logs = json!({ "logs": [{ "pod": "p", "container": "c", "text": "one\ntwo" }] });
        assert_eq!(lines(&logs, 80), ["--- pod: p, container: c", "one", "two"]);
    }

    #[test]
    fn several_fields_have_their_names() {
        let value = json!({ "replicas": 3, "ok": true, "nothing": null, "images": ["a", "b"],
            "inner": { "x": 1 }, "rows": [{ "a": 1 }] });
        let expected = [
            "replicas: 3",
            "ok: yes",
            "images: a, b",
            "inner:",
            "  x: 1",
            "rows:",
            "  A",
            "  1",
        ];
        assert_eq!(lines(&value, 80), expected);
    }

    #[test]
    fn a_long_part_is_counted() {
        let tables: Map<String, Value> = (0..20).map(|n| (format!("t{n}"), json!({ "rows": n }))).collect();
        let value = json!({ "name": "x", "inventory": { "tables": tables } });
        let told = "  tables: 20 entries, which `--format json` shows";
        assert_eq!(lines(&value, 80), ["name: x", "inventory:", told]);
    }
}
