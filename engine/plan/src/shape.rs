//! JSON Schemas as jm reads them: which fields there are, of which type, and what of a value does not fit.
//!
//! Fields that a schema does not declare are refused even where JSON Schema would let them pass: a field that nobody
//! reads is a mistake.

mod fit;
mod kinds;

use serde_json::Value;

pub(crate) use fit::{Violation, below, fit};
pub(crate) use kinds::Kinds;

/// Marks the schema of a field that is taken as it is written: a script, a query. No value is ever put into it.
const LITERAL: &str = "x-jm-literal";

/// How deep references may lead into each other.
const DEPTH: usize = 32;

/// A schema within the document whose `$defs` it refers to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape<'s> {
    root: &'s Value,
    schema: &'s Value,
}

/// What a schema says of a field.
#[derive(Debug)]
pub(crate) enum Field<'s> {
    /// It is declared: by one of these.
    Declared(Vec<Shape<'s>>),
    /// Anything may be there.
    Open,
    /// There is no such field.
    Absent,
}

impl<'s> Shape<'s> {
    /// The schema of a whole document.
    pub(crate) fn root(schema: &'s Value) -> Self {
        Self { root: schema, schema }
    }

    fn at(self, schema: &'s Value) -> Self {
        Self { schema, ..self }
    }

    fn get(self, keyword: &str) -> Option<&'s Value> {
        self.schema.get(keyword)
    }

    /// The schema that `$ref` names.
    fn target(self) -> Option<Self> {
        let pointer = self.get("$ref")?.as_str()?.strip_prefix('#')?;
        self.root.pointer(pointer).map(|schema| self.at(schema))
    }

    fn branches(self, keyword: &str) -> impl Iterator<Item = Self> {
        self.get(keyword)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(move |schema| self.at(schema))
    }

    /// The alternatives of `anyOf` and `oneOf`.
    fn alternatives(self) -> impl Iterator<Item = Self> {
        self.branches("anyOf").chain(self.branches("oneOf"))
    }

    /// This schema and all those that take part in it: by reference, all of them, or one of them.
    fn parts(self) -> Vec<Self> {
        let mut found = Vec::new();
        self.gather(&mut found, 0);
        found
    }

    fn gather(self, found: &mut Vec<Self>, depth: usize) {
        if depth > DEPTH {
            return;
        }
        found.push(self);
        let below = self
            .target()
            .into_iter()
            .chain(self.branches("allOf"))
            .chain(self.alternatives());
        for part in below {
            part.gather(found, depth + 1);
        }
    }

    /// The types that its values can have.
    pub(crate) fn kinds(self) -> Kinds {
        self.kinds_within(0)
    }

    fn kinds_within(self, depth: usize) -> Kinds {
        if self.schema == &Value::Bool(false) {
            return Kinds::NONE;
        }
        if depth > DEPTH {
            return Kinds::ANY;
        }
        let mut kinds = self.get("type").map_or(Kinds::ANY, Kinds::of_type_keyword);
        if let Some(constant) = self.get("const") {
            kinds = kinds & Kinds::of(constant);
        }
        if let Some(values) = self.get("enum").and_then(Value::as_array) {
            kinds = kinds & values.iter().map(Kinds::of).fold(Kinds::NONE, |all, one| all | one);
        }
        for part in self.target().into_iter().chain(self.branches("allOf")) {
            kinds = kinds & part.kinds_within(depth + 1);
        }
        for keyword in ["anyOf", "oneOf"] {
            if self.get(keyword).is_some() {
                let any = self.branches(keyword).map(|part| part.kinds_within(depth + 1));
                kinds = kinds & any.fold(Kinds::NONE, |all, one| all | one);
            }
        }
        kinds
    }

    /// The values that it lists, where it lists all of them.
    pub(crate) fn choices(self) -> Option<Vec<&'s Value>> {
        self.choices_within(0)
    }

    fn choices_within(self, depth: usize) -> Option<Vec<&'s Value>> {
        if depth > DEPTH {
            return None;
        }
        if let Some(constant) = self.get("const") {
            return Some(vec![constant]);
        }
        if let Some(values) = self.get("enum").and_then(Value::as_array) {
            return Some(values.iter().collect());
        }
        if let Some(target) = self.target() {
            return target.choices_within(depth + 1);
        }
        let mut all = Vec::new();
        let mut some = false;
        for branch in self.alternatives() {
            some = true;
            all.extend(branch.choices_within(depth + 1)?);
        }
        some.then_some(all)
    }

    /// What it says of a field.
    pub(crate) fn field(self, name: &str) -> Field<'s> {
        let mut declared = Vec::new();
        let mut open = true;
        for part in self.parts() {
            if let Some(schema) = part.get("properties").and_then(|fields| fields.get(name)) {
                declared.push(part.at(schema));
            }
            match part.get("additionalProperties") {
                Some(Value::Bool(true)) => return Field::Open,
                Some(schema @ Value::Object(_)) => declared.push(part.at(schema)),
                Some(_) => open = false,
                None if part.get("properties").is_some() => open = false,
                None if part.get("type").and_then(Value::as_str) == Some("object") => open = false,
                None => {}
            }
        }
        if !declared.is_empty() {
            Field::Declared(declared)
        } else if open && self.kinds().meets(Kinds::MAP) {
            Field::Open
        } else {
            Field::Absent
        }
    }

    /// The first declaration of a field.
    pub(crate) fn only_field(self, name: &str) -> Option<Shape<'s>> {
        match self.field(name) {
            Field::Declared(shapes) => shapes.first().copied(),
            _ => None,
        }
    }

    /// The fields that it declares, in the order of the schema.
    pub(crate) fn field_names(self) -> Vec<&'s str> {
        let mut names: Vec<&str> = Vec::new();
        for part in self.parts() {
            for name in part
                .get("properties")
                .and_then(Value::as_object)
                .into_iter()
                .flat_map(|fields| fields.keys())
            {
                if !names.contains(&name.as_str()) {
                    names.push(name);
                }
            }
        }
        names
    }

    /// The schemas that an item of a list can have; empty where it says nothing.
    pub(crate) fn items(self) -> Vec<Shape<'s>> {
        self.parts()
            .into_iter()
            .filter_map(|part| part.get("items").map(|schema| part.at(schema)))
            .collect()
    }

    /// Whether its values are secrets.
    pub(crate) fn is_secret(self) -> bool {
        self.is_marked(jm_step::schema::SECRET)
    }

    /// Whether its values are taken as they are written, so that no expression may stand in them.
    pub(crate) fn is_literal(self) -> bool {
        self.is_marked(LITERAL)
    }

    fn is_marked(self, mark: &str) -> bool {
        self.parts()
            .iter()
            .any(|part| part.get(mark) == Some(&Value::Bool(true)))
    }

    /// The fields that must be there.
    pub(crate) fn required(self) -> Vec<&'s str> {
        let mut names = Vec::new();
        let mut parts = vec![self];
        for _ in 0..DEPTH {
            let Some(part) = parts.pop() else { break };
            names.extend(
                part.get("required")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str),
            );
            parts.extend(part.target().into_iter().chain(part.branches("allOf")));
        }
        names
    }

    /// The first paragraph of its description.
    pub(crate) fn description(self) -> Option<String> {
        let text = self
            .parts()
            .into_iter()
            .find_map(|part| part.get("description")?.as_str())?;
        let first = text.split("\n\n").next().unwrap_or(text);
        Some(first.split_whitespace().collect::<Vec<_>>().join(" "))
    }
}

#[cfg(test)]
mod tests;
