//! Values with expressions in them: `${{ … }}` alone keeps its type, inside text it becomes text.
//!
//! What an expression gives is data. It is never read again as a template, YAML, shell or SQL.

mod engine;
mod evaluate;
mod pieces;
mod references;
mod render;
mod scope;
mod types;

use std::sync::Arc;

use miette::SourceSpan;
use serde_json::Value;

use crate::code::Code;
use crate::error::{PlanError, Problems};
use crate::span::{Source, Spanned};
use crate::yaml::{Kind, Node};

pub(crate) use engine::parse_code;
pub(crate) use evaluate::{Found, Lookup, evaluate};
pub(crate) use pieces::Scalar;
pub(crate) use references::{Reference, Root, Segment, secret_form};
pub(crate) use render::{FailedLeaf, as_text};
pub use render::{RenderError, Rendered, UnknownLeaf};
pub use scope::{Evaluated, Outputs, Scope, StepScope, StepStatus};
pub(crate) use scope::{NothingKnown, found};
pub(crate) use types::{Type, Types};

/// What an expression may name: a plan's differ from a targets file's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    /// `inputs`, `steps`, `run`, `objectives`.
    Plan,
    /// `env`.
    Targets,
}

/// An expression, parsed and with its references known. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Expression(Arc<ExpressionParts>);

#[derive(Debug)]
struct ExpressionParts {
    /// As it was written.
    text: String,
    /// As minijinja reads it: of the same length.
    code: String,
    span: SourceSpan,
    source: Source,
    references: Vec<Reference>,
    names: Names,
    /// Whether nothing was wrong with it; of what is not, nothing more is said.
    sound: bool,
    /// Whether it decides (an `if`): then its value is `true` or `false`, and what is undefined is false.
    condition: bool,
}

impl Expression {
    /// The text between the braces, trimmed.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// Its place in the file.
    pub fn span(&self) -> SourceSpan {
        self.0.span
    }

    pub(crate) fn code(&self) -> &str {
        &self.0.code
    }

    pub(crate) fn source(&self) -> &Source {
        &self.0.source
    }

    pub(crate) fn references(&self) -> &[Reference] {
        &self.0.references
    }

    pub(crate) fn is_condition(&self) -> bool {
        self.0.condition
    }

    /// Reads an `if`: `${{ expr }}`, an expression without the braces, or `true` and `false`.
    pub(crate) fn condition(node: &Node, file: &str, problems: &mut Problems) -> Option<Self> {
        let text = match &node.kind {
            Kind::Bool(value) => value.to_string(),
            Kind::Text(text) => text.clone(),
            _ => {
                problems.push(crate::parse::wrong_type(node, "an expression"));
                return None;
            }
        };
        let scalar = Scalar::new(file, node.span, &text);
        match pieces::split(&text) {
            Ok(pieces) => match pieces.as_slice() {
                [pieces::Piece::Code(range)] => Self::parse(&scalar, range.clone(), Names::Plan, true, problems),
                [pieces::Piece::Literal(_)] => Self::parse(&scalar, 0..text.len(), Names::Plan, true, problems),
                _ => {
                    let error = PlanError::at(Code::ExpressionSyntax, node.span, "an `if` is one expression");
                    problems.push(error.help("put all of it between one `${{` and `}}`"));
                    None
                }
            },
            Err(error) => {
                problems.push(pieces::unclosed(&scalar, error));
                None
            }
        }
    }

    fn parse(
        scalar: &Scalar<'_>,
        range: std::ops::Range<usize>,
        names: Names,
        condition: bool,
        problems: &mut Problems,
    ) -> Option<Self> {
        let (range, text) = pieces::trimmed(scalar.value, range);
        let code = engine::same_length_code(text);
        let before = problems.len();
        let references = match parse_code(&code) {
            Ok(tree) => references::collect(
                &tree,
                &code,
                names,
                |inner| scalar.locate(shift(&inner, range.start)),
                problems,
            ),
            Err(error) => {
                problems.push(engine::syntax_error(&error, scalar.locate(range)));
                return None;
            }
        };
        Some(Self(Arc::new(ExpressionParts {
            text: text.to_owned(),
            span: scalar.locate(range),
            source: problems.source().clone(),
            code,
            references,
            names,
            sound: problems.len() == before,
            condition,
        })))
    }
}

/// The references in a part of an expression's tree.
pub(crate) fn references_in(part: &minijinja::machinery::ast::Expr<'_>, whole: &Expression) -> Vec<Reference> {
    references::within(part, whole.code(), whole.0.names)
}

fn shift(range: &std::ops::Range<usize>, by: usize) -> std::ops::Range<usize> {
    range.start + by..range.end + by
}

/// A value with expressions in it: what stands under `with`. Cheap to clone.
#[derive(Debug, Clone)]
pub struct InputTemplate(Arc<Part>);

/// A part of a template and its place.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) kind: PartKind,
    pub(crate) span: SourceSpan,
}

/// What a part is.
#[derive(Debug)]
pub(crate) enum PartKind {
    /// A value without expressions.
    Literal(Value),
    /// One expression, which keeps its type.
    Expression(Expression),
    /// Text with expressions in it.
    Text(Vec<TextPiece>),
    List(Vec<Part>),
    Map(Vec<(Spanned<String>, Part)>),
    /// Something that could not be read, and was reported.
    Broken,
}

/// A piece of text with expressions in it.
#[derive(Debug)]
pub(crate) enum TextPiece {
    Literal(String),
    Expression(Expression),
}

impl InputTemplate {
    /// An empty mapping: the input of a step without `with`.
    pub(crate) fn empty(at: SourceSpan) -> Self {
        Self(Arc::new(Part {
            kind: PartKind::Map(Vec::new()),
            span: at,
        }))
    }

    /// A mapping of templates.
    pub(crate) fn map(entries: &[(Spanned<String>, InputTemplate)], at: SourceSpan) -> Self {
        let entries = entries
            .iter()
            .map(|(name, value)| (name.clone(), value.0.shallow()))
            .collect();
        Self(Arc::new(Part {
            kind: PartKind::Map(entries),
            span: at,
        }))
    }

    pub(crate) fn parse(node: &Node, file: &str, problems: &mut Problems) -> Self {
        Self(Arc::new(Part::parse(node, file, Names::Plan, problems)))
    }

    pub(crate) fn root(&self) -> &Part {
        &self.0
    }

    /// All expressions in it, in the order of the file.
    pub fn expressions(&self) -> Vec<&Expression> {
        let mut found = Vec::new();
        self.0.collect(&mut found);
        found
    }
}

impl Part {
    pub(crate) fn parse(node: &Node, file: &str, names: Names, problems: &mut Problems) -> Self {
        let kind = match &node.kind {
            Kind::List(items) => PartKind::List(
                items
                    .iter()
                    .map(|item| Self::parse(item, file, names, problems))
                    .collect(),
            ),
            Kind::Map(entries) => PartKind::Map(
                entries
                    .iter()
                    .map(|(key, value)| (key.clone(), Self::parse(value, file, names, problems)))
                    .collect(),
            ),
            Kind::Text(text) => Self::parse_text(text, node.span, file, names, problems),
            _ => PartKind::Literal(node.to_value()),
        };
        Self { kind, span: node.span }
    }

    fn parse_text(text: &str, at: SourceSpan, file: &str, names: Names, problems: &mut Problems) -> PartKind {
        let scalar = Scalar::new(file, at, text);
        let pieces = match pieces::split(text) {
            Ok(pieces) => pieces,
            Err(error) => {
                problems.push(pieces::unclosed(&scalar, error));
                return PartKind::Broken;
            }
        };
        if let [pieces::Piece::Code(range)] = pieces.as_slice() {
            let parsed = Expression::parse(&scalar, range.clone(), names, false, problems);
            return parsed.map_or(PartKind::Broken, PartKind::Expression);
        }
        if pieces.iter().all(|piece| matches!(piece, pieces::Piece::Literal(_))) {
            return PartKind::Literal(Value::from(text));
        }
        let mut read = |piece| match piece {
            pieces::Piece::Literal(range) => Some(TextPiece::Literal(text[range].to_owned())),
            pieces::Piece::Code(range) => {
                Expression::parse(&scalar, range, names, false, problems).map(TextPiece::Expression)
            }
        };
        let read: Vec<Option<TextPiece>> = pieces.into_iter().map(&mut read).collect();
        read.into_iter()
            .collect::<Option<Vec<_>>>()
            .map_or(PartKind::Broken, PartKind::Text)
    }

    fn shallow(&self) -> Part {
        let kind = match &self.kind {
            PartKind::Literal(value) => PartKind::Literal(value.clone()),
            PartKind::Expression(expression) => PartKind::Expression(expression.clone()),
            PartKind::Text(pieces) => PartKind::Text(
                pieces
                    .iter()
                    .map(|piece| match piece {
                        TextPiece::Literal(text) => TextPiece::Literal(text.clone()),
                        TextPiece::Expression(expression) => TextPiece::Expression(expression.clone()),
                    })
                    .collect(),
            ),
            PartKind::List(items) => PartKind::List(items.iter().map(Part::shallow).collect()),
            PartKind::Map(entries) => PartKind::Map(
                entries
                    .iter()
                    .map(|(key, part)| (key.clone(), part.shallow()))
                    .collect(),
            ),
            PartKind::Broken => PartKind::Broken,
        };
        Part { kind, span: self.span }
    }

    pub(crate) fn collect<'t>(&'t self, found: &mut Vec<&'t Expression>) {
        match &self.kind {
            PartKind::Expression(expression) => found.push(expression),
            PartKind::Text(pieces) => found.extend(pieces.iter().filter_map(|piece| match piece {
                TextPiece::Expression(expression) => Some(expression),
                TextPiece::Literal(_) => None,
            })),
            PartKind::List(items) => items.iter().for_each(|item| item.collect(found)),
            PartKind::Map(entries) => entries.iter().for_each(|(_, part)| part.collect(found)),
            PartKind::Literal(_) | PartKind::Broken => {}
        }
    }

    /// The part at a JSON pointer, or the nearest above it.
    pub(crate) fn at_pointer(&self, pointer: &str) -> &Part {
        let mut part = self;
        for step in pointer.split('/').skip(1) {
            let step = step.replace("~1", "/").replace("~0", "~");
            let next = match &part.kind {
                PartKind::List(items) => step.parse::<usize>().ok().and_then(|index| items.get(index)),
                PartKind::Map(entries) => entries.iter().find(|(key, _)| key.value == step).map(|(_, part)| part),
                _ => None,
            };
            match next {
                Some(next) => part = next,
                None => return part,
            }
        }
        part
    }
}

#[cfg(test)]
mod tests;
