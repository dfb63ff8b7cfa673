//! The values that inputs are given: on the command line and in files.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::code::Code;
use crate::document::{Document, InputSpec, InputType};
use crate::error::{PlanError, PlanErrors, Problems};
use crate::input::is_secret_reference;
use crate::parse::suggestion;
use crate::span::{Source, Spanned, source, span};
use crate::yaml::{self, Kind, Node};

/// Where values come from. Later ones win over earlier ones.
#[derive(Debug, Clone, Copy)]
pub enum Given<'a> {
    /// `-i name=value`, without the `-i`.
    Pair(&'a str),
    /// `--inputs FILE`: its name and its text, a YAML mapping of names to values.
    File {
        /// As it was named.
        name: &'a str,
        /// What it holds.
        text: &'a str,
    },
}

/// Values for a plan's inputs, typed as the plan declares them.
#[derive(Debug, Clone, Default)]
pub struct Arguments {
    pub(crate) values: Map<String, Value>,
    pub(crate) secrets: BTreeMap<String, String>,
}

impl Arguments {
    /// Nothing given.
    pub fn none() -> Self {
        Self::default()
    }

    /// Reads what was given, in the order in which it was given. Every mistake is reported.
    pub fn parse<'a>(document: &Document, given: impl IntoIterator<Item = Given<'a>>) -> Result<Self, PlanErrors> {
        let mut arguments = Self::default();
        let mut errors = Vec::new();
        for given in given {
            match given {
                Given::Pair(pair) => arguments.pair(document, pair, &mut errors),
                Given::File { name, text } => arguments.file(document, name, text, &mut errors),
            }
        }
        if errors.is_empty() {
            return Ok(arguments);
        }
        Err(PlanErrors::new("arguments", errors))
    }

    /// Whether an input was given, a secret one too.
    pub fn give(&self, name: &str) -> bool {
        self.values.contains_key(name) || self.secrets.contains_key(name)
    }

    /// The values that came from the journal of a run, as [`crate::Plan::inputs`] gave them.
    pub fn from_journal(document: &Document, inputs: &Map<String, Value>) -> Self {
        let mut arguments = Self::default();
        for (name, value) in inputs {
            if let Some(spec) = declared(document, name) {
                arguments.set(spec, value.clone());
            }
        }
        arguments
    }

    fn set(&mut self, spec: &InputSpec, value: Value) {
        let name = spec.name.value.clone();
        match (spec.kind, value) {
            (InputType::Secret, Value::String(reference)) => {
                self.secrets.insert(name, reference);
            }
            (_, value) => {
                self.values.insert(name, value);
            }
        }
    }

    fn pair(&mut self, document: &Document, pair: &str, errors: &mut Vec<PlanError>) {
        let Some((name, text)) = pair.split_once('=') else {
            let error = at_whole(Code::InvalidArgument, pair, "this is not of the form `name=value`");
            return errors.push(error.help("write `-i name=value`"));
        };
        let Some(spec) = declared(document, name) else {
            return errors.push(unknown(document, name, &source("-i", name), span(0..name.len())));
        };
        let secret = spec.kind == InputType::Secret;
        let value = spec.read(text).and_then(|value| spec.accepts(&value).map(|()| value));
        match value {
            Ok(value) => self.set(spec, value),
            Err(reason) => {
                // A secret that was given in clear must not be printed again.
                let shown = if secret {
                    format!("{name}=[secret]")
                } else {
                    pair.to_owned()
                };
                let error = at_whole(Code::InvalidArgument, &shown, format!("input `{name}`: {reason}"));
                errors.push(error.maybe_help(spec.description.clone()));
            }
        }
    }

    fn file(&mut self, document: &Document, name: &str, text: &str, errors: &mut Vec<PlanError>) {
        let source = source(name, text);
        let mut problems = Problems::new(&source);
        let root = yaml::read(text, &mut problems).root;
        match &root.kind {
            Kind::Map(entries) => entries
                .iter()
                .for_each(|(key, node)| self.entry(document, key, node, &mut problems)),
            Kind::Null => {}
            _ => problems.push(crate::parse::wrong_type(&root, "a mapping of inputs to values")),
        }
        errors.extend(problems.into_found());
    }

    fn entry(&mut self, document: &Document, key: &Spanned<String>, node: &Node, problems: &mut Problems) {
        let Some(spec) = declared(document, &key.value) else {
            let error = unknown(document, &key.value, problems.source(), key.span);
            return problems.push(error);
        };
        let value = node.to_value();
        match spec.accepts(&value) {
            Ok(()) => self.set(spec, value),
            Err(_) if spec.kind == InputType::Secret && !value.as_str().is_some_and(is_secret_reference) => {
                let message = format!("the secret `{}` stands here in clear", key.value);
                let error = PlanError::at(Code::InvalidArgument, key.span, message);
                problems.push(error.help("give it as `env:NAME` or `file:PATH`"));
            }
            Err(reason) => {
                let message = format!("input `{}`: {reason}", key.value);
                let error = PlanError::at(Code::InvalidArgument, node.span, message);
                problems.push(error.maybe_help(spec.description.clone()));
            }
        }
    }
}

fn declared<'d>(document: &'d Document, name: &str) -> Option<&'d InputSpec> {
    document.plan.inputs.iter().find(|input| input.name.value == name)
}

fn at_whole(code: Code, argument: &str, message: impl Into<String>) -> PlanError {
    PlanError::at(code, span(0..argument.len()), message).in_source(&source("-i", argument))
}

fn unknown(document: &Document, name: &str, source: &Source, at: miette::SourceSpan) -> PlanError {
    let known = document.plan.inputs.iter().map(|input| input.name.value.as_str());
    PlanError::at(Code::UnknownInput, at, format!("the plan has no input `{name}`"))
        .help(suggestion(name, known, "its inputs are"))
        .in_source(source)
}

#[cfg(test)]
mod tests;
