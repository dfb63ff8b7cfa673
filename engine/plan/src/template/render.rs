//! Rendering a template: the same code before the run, in a dry run and in the run.

use std::fmt;

use jm_step::{Known, StepId};
use serde_json::{Map, Value};

use super::evaluate::{Found, Lookup, evaluate};
use super::references::secret_form;
use super::scope::{Evaluated, Scope};
use super::{Expression, InputTemplate, Part, PartKind, TextPiece};
use crate::error::Place;
use crate::span::{line_and_column, range};

/// An expression that could not be rendered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderError {
    /// The expression's place in the file.
    pub place: Box<Place>,
    /// The expression.
    pub expression: String,
    /// What is the matter with it.
    pub message: String,
}

impl RenderError {
    pub(super) fn new(expression: &Expression, message: impl Into<String>) -> Self {
        let bytes = range(expression.span());
        let text = expression.source().inner();
        let (line, column) = line_and_column(text, bytes.start);
        let (end_line, end_column) = line_and_column(text, bytes.end);
        Self {
            place: Box::new(Place {
                file: expression.source().name().to_owned(),
                line,
                column,
                end_line,
                end_column,
                label: None,
            }),
            expression: expression.text().to_owned(),
            message: message.into(),
        }
    }
}

impl fmt::Display for RenderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { file, line, column, .. } = self.place.as_ref();
        write!(
            f,
            "cannot evaluate `{}` ({file}:{line}:{column}): {}",
            self.expression, self.message
        )
    }
}

impl std::error::Error for RenderError {}

/// A part of an input that is not known yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownLeaf {
    /// Where in the input: a JSON pointer such as `/tables/0`.
    pub pointer: String,
    /// The steps that it waits for. Empty where it waits for something else, such as an input that was not given.
    pub waits_for: Vec<StepId>,
}

/// A rendered template.
#[derive(Clone, PartialEq)]
pub struct Rendered {
    /// The value; `null` where it is not known. It holds secrets in clear: never show it without masking
    /// [`Self::secret_pointers`].
    pub value: Value,
    /// What is not known.
    pub unknown: Vec<UnknownLeaf>,
    /// Where secrets stand.
    pub secret_pointers: Vec<String>,
}

impl fmt::Debug for Rendered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rendered")
            .field("value", &self.shown())
            .field("unknown", &self.unknown)
            .finish_non_exhaustive()
    }
}

impl Rendered {
    /// Whether nothing is unknown.
    pub fn is_whole(&self) -> bool {
        self.unknown.is_empty()
    }

    /// For people: secrets as `[secret]`, unknown parts as `(known after x)`.
    pub fn shown(&self) -> Value {
        let mut value = self.value.clone();
        for pointer in &self.secret_pointers {
            replace(&mut value, pointer, "[secret]".to_owned());
        }
        for leaf in &self.unknown {
            let steps: Vec<&str> = leaf.waits_for.iter().map(StepId::as_str).collect();
            let text = if steps.is_empty() {
                "(not known yet)".to_owned()
            } else {
                format!("(known after {})", steps.join(", "))
            };
            replace(&mut value, &leaf.pointer, text);
        }
        value
    }

    /// The known part: fields that are not known are left out, and so are lists that hold something unknown.
    pub fn known(&self) -> Known {
        let mut value = self.value.clone();
        for leaf in &self.unknown {
            remove(&mut value, &leaf.pointer);
        }
        Known::new(value)
    }
}

fn replace(value: &mut Value, pointer: &str, text: String) {
    if let Some(place) = value.pointer_mut(pointer) {
        *place = Value::String(text);
    }
}

/// Takes away what is at a pointer: a field from its map, or else the nearest list that holds it from its map.
fn remove(value: &mut Value, pointer: &str) {
    let Some((parent, last)) = pointer.rsplit_once('/') else {
        *value = Value::Null;
        return;
    };
    match value.pointer_mut(parent) {
        Some(Value::Object(map)) => {
            map.shift_remove(&last.replace("~1", "/").replace("~0", "~"));
        }
        Some(_) => remove(value, parent),
        None => {}
    }
}

impl InputTemplate {
    /// Renders it.
    pub fn render(&self, scope: &Scope) -> Result<Rendered, RenderError> {
        self.root().render(scope)
    }
}

impl Part {
    pub(crate) fn render(&self, lookup: &dyn Lookup) -> Result<Rendered, RenderError> {
        let (rendered, failed) = self.render_around(lookup);
        failed
            .into_iter()
            .next()
            .map_or(Ok(rendered), |failed| Err(failed.error))
    }

    /// Renders what can be: an expression that cannot is left unknown, and told.
    pub(crate) fn render_around(&self, lookup: &dyn Lookup) -> (Rendered, Vec<FailedLeaf>) {
        let mut rendering = Rendering {
            lookup,
            pointer: String::new(),
            unknown: Vec::new(),
            secret_pointers: Vec::new(),
            failed: Vec::new(),
        };
        let value = rendering.part(self);
        let rendered = Rendered {
            value,
            unknown: rendering.unknown,
            secret_pointers: rendering.secret_pointers,
        };
        (rendered, rendering.failed)
    }
}

/// An expression that could not be evaluated, and where it stands in the input: a JSON pointer.
pub(crate) struct FailedLeaf {
    pub(crate) pointer: String,
    pub(crate) at: miette::SourceSpan,
    pub(crate) error: RenderError,
}

struct Rendering<'a> {
    lookup: &'a dyn Lookup,
    pointer: String,
    unknown: Vec<UnknownLeaf>,
    secret_pointers: Vec<String>,
    failed: Vec<FailedLeaf>,
}

impl Rendering<'_> {
    fn part(&mut self, part: &Part) -> Value {
        match &part.kind {
            PartKind::Literal(value) => value.clone(),
            PartKind::Expression(expression) => self.expression(expression),
            PartKind::Text(pieces) => self.text(pieces),
            PartKind::List(items) => items
                .iter()
                .enumerate()
                .map(|(index, item)| self.below(&index.to_string(), item))
                .collect(),
            PartKind::Map(entries) => {
                let mut map = Map::new();
                for (key, part) in entries {
                    map.insert(key.value.clone(), self.below(&key.value, part));
                }
                Value::Object(map)
            }
            PartKind::Broken => self.leave_unknown(Vec::new()),
        }
    }

    fn below(&mut self, step: &str, part: &Part) -> Value {
        let before = self.pointer.len();
        self.pointer.push('/');
        self.pointer.push_str(&step.replace('~', "~0").replace('/', "~1"));
        let value = self.part(part);
        self.pointer.truncate(before);
        value
    }

    fn leave_unknown(&mut self, waits_for: Vec<StepId>) -> Value {
        let pointer = self.pointer.clone();
        self.unknown.push(UnknownLeaf { pointer, waits_for });
        Value::Null
    }

    fn expression(&mut self, expression: &Expression) -> Value {
        if let Some(value) = self.secret(expression) {
            self.secret_pointers.push(self.pointer.clone());
            return value;
        }
        match self.evaluated(expression) {
            Evaluated::Value(value) => value,
            Evaluated::Unknown { waits_for } => self.leave_unknown(waits_for),
        }
    }

    /// What cannot be evaluated is not known, and told.
    fn evaluated(&mut self, expression: &Expression) -> Evaluated {
        evaluate(expression, self.lookup).unwrap_or_else(|error| {
            self.failed.push(FailedLeaf {
                pointer: self.pointer.clone(),
                at: expression.span(),
                error,
            });
            Evaluated::Unknown { waits_for: Vec::new() }
        })
    }

    /// The secret that an expression passes on, if it is one: resolved here, outside the engine.
    fn secret(&self, expression: &Expression) -> Option<Value> {
        let [reference] = expression.references() else {
            return None;
        };
        match self.lookup.find(reference) {
            Found::Secret(secret) => {
                secret_form(expression.code())?;
                Some(Value::from(secret.expose()))
            }
            _ => None,
        }
    }

    fn text(&mut self, pieces: &[TextPiece]) -> Value {
        let mut text = String::new();
        let mut waits: Option<Vec<StepId>> = None;
        for piece in pieces {
            match piece {
                TextPiece::Literal(literal) => text.push_str(literal),
                TextPiece::Expression(expression) => match self.evaluated(expression) {
                    Evaluated::Value(value) => text.push_str(&as_text(&value)),
                    Evaluated::Unknown { waits_for } => waits.get_or_insert_default().extend(waits_for),
                },
            }
        }
        match waits {
            Some(mut waits_for) => {
                waits_for.sort();
                waits_for.dedup();
                self.leave_unknown(waits_for)
            }
            None => Value::String(text),
        }
    }
}

/// A value inside text: text as it is, nothing as nothing, the rest as JSON.
pub(crate) fn as_text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
