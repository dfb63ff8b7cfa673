//! Places in a file: a value with its place, and the file's text with its name.

use std::ops::Range;
use std::sync::Arc;

use miette::{NamedSource, SourceSpan};

/// A file's name and text, shared by everything that points into it.
pub type Source = Arc<NamedSource<Arc<str>>>;

/// Makes a [`Source`].
///
/// Of a text that is too large to be a plan, findings show the beginning.
pub(crate) fn source(name: &str, text: &str) -> Source {
    let text = if text.len() > crate::yaml::MAX_BYTES {
        beginning(text)
    } else {
        text
    };
    Arc::new(NamedSource::new(name, Arc::from(text)).with_language("yaml"))
}

fn beginning(text: &str) -> &str {
    let end = (0..=60).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    &text[..end]
}

/// A value and the place where it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Its place, in bytes.
    pub span: SourceSpan,
}

impl<T> Spanned<T> {
    /// Puts the two together.
    pub fn new(value: T, span: SourceSpan) -> Self {
        Self { value, span }
    }

    /// The same place with another value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Spanned<U> {
        Spanned::new(f(self.value), self.span)
    }
}

impl<T> AsRef<T> for Spanned<T> {
    fn as_ref(&self) -> &T {
        &self.value
    }
}

/// A range of bytes as a span.
pub(crate) fn span(range: Range<usize>) -> SourceSpan {
    SourceSpan::from((range.start, range.end.saturating_sub(range.start)))
}

/// A span as a range of bytes.
pub(crate) fn range(span: SourceSpan) -> Range<usize> {
    span.offset()..span.offset() + span.len()
}

/// Line and column of a byte, both from 1; the column counts characters.
pub(crate) fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let before = &text[..offset];
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (line, before[start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one() {
        let text = "a\nbé c\n";
        assert_eq!(line_and_column(text, 0), (1, 1));
        assert_eq!(line_and_column(text, 2), (2, 1));
        assert_eq!(line_and_column(text, 4), (2, 2), "inside a character: at its start");
        assert_eq!(line_and_column(text, 5), (2, 3));
        assert_eq!(line_and_column(text, 999), (3, 1));
    }
}
