//! Cutting text at `${{` and `}}`, and finding the places of the pieces in the file.

use std::ops::Range;

use miette::SourceSpan;

use crate::code::Code;
use crate::error::PlanError;
use crate::span::{range, span};

/// A piece of text.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Piece {
    /// As it stands.
    Literal(Range<usize>),
    /// What is between the braces.
    Code(Range<usize>),
}

/// A `${{` that no `}}` follows: where it stands.
pub(super) struct Unclosed(usize);

pub(super) fn unclosed(scalar: &Scalar<'_>, error: Unclosed) -> PlanError {
    let at = scalar.locate(error.0..error.0 + 3);
    PlanError::at(Code::ExpressionSyntax, at, "this `${{` has no `}}`").help("close the expression with `}}`")
}

/// Cuts text into literal pieces and expressions. Braces and quotes inside an expression are respected.
pub(super) fn split(text: &str) -> Result<Vec<Piece>, Unclosed> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while let Some(found) = text[at..].find("${{") {
        let open = at + found;
        if open > at {
            pieces.push(Piece::Literal(at..open));
        }
        let close = close(text, open + 3).ok_or(Unclosed(open))?;
        pieces.push(Piece::Code(open + 3..close));
        at = close + 2;
    }
    if at < text.len() || pieces.is_empty() {
        pieces.push(Piece::Literal(at..text.len()));
    }
    Ok(pieces)
}

fn close(text: &str, from: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut depth = 0usize;
    let mut quote = None;
    let mut at = from;
    while at < bytes.len() {
        match (bytes[at], quote) {
            (b'\\', Some(_)) => at += 1,
            (byte, Some(open)) if byte == open => quote = None,
            (byte @ (b'\'' | b'"'), None) => quote = Some(byte),
            (b'{', None) => depth += 1,
            (b'}', None) if depth > 0 => depth -= 1,
            (b'}', None) if bytes.get(at + 1) == Some(&b'}') => return Some(at),
            // Inside quotes, or nothing that matters.
            _ => {}
        }
        at += 1;
    }
    None
}

/// A range without the white space at its ends, and its text.
pub(super) fn trimmed(text: &str, range: Range<usize>) -> (Range<usize>, &str) {
    let slice = &text[range.clone()];
    let start = range.start + (slice.len() - slice.trim_start().len());
    let slice = slice.trim();
    (start..start + slice.len(), slice)
}

/// A scalar's value and where it stands, to find parts of it in the file.
pub(crate) struct Scalar<'t> {
    pub(super) value: &'t str,
    file: &'t str,
    at: SourceSpan,
}

impl<'t> Scalar<'t> {
    pub(crate) fn new(file: &'t str, at: SourceSpan, value: &'t str) -> Self {
        Self { value, file, at }
    }

    /// The place of a part of the value. Where escapes or folding stand in the way: of the whole.
    pub(crate) fn locate(&self, part: Range<usize>) -> SourceSpan {
        let written = self.file.get(range(self.at)).unwrap_or_default();
        let quote = usize::from(written.starts_with(['"', '\'']));
        if written.get(quote..).is_some_and(|rest| rest.starts_with(self.value)) {
            let start = self.at.offset() + quote;
            return span(start + part.start..start + part.end);
        }
        let wanted = self.value.get(part.clone()).unwrap_or_default();
        match written.find(wanted) {
            Some(found) if !wanted.is_empty() => {
                let start = self.at.offset() + found;
                span(start..start + part.len())
            }
            _ => self.at,
        }
    }
}
