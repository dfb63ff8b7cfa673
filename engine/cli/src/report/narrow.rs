//! A finding's picture of its file at a terminal that is narrower than the file's lines. The renderer breaks its own words,
//! and prints the file's lines and the labels below them as they are: so they are cut, around what is pointed at.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::ops::Range;

use jm_plan::PlanError;
use miette::{
    Diagnostic, LabeledSpan, MietteError, MietteSpanContents, Severity, SourceCode, SourceSpan, SpanContents,
};

use crate::report::table::{length, wrap};

/// Stands for what was left out.
const DOTS: &str = "…";
/// As many columns of a line are kept before what is pointed at, where it cannot begin at its beginning.
const LEAD: usize = 8;
/// As many columns are kept for a label, and the corner that it hangs on.
const LABEL: usize = 28;
const CORNER: usize = 4;
/// What stands before each line besides its number.
const GUTTER: usize = 4;
/// Fewer columns of a line tell nothing.
const LEAST: usize = 2 * LABEL;

/// The picture that `render` makes, with cut lines where one of the whole is wider than `width`.
pub(crate) fn picture(
    finding: &PlanError,
    width: usize,
    render: impl Fn(&dyn Diagnostic) -> Option<String>,
) -> Option<String> {
    let widest = |picture: &str| picture.lines().map(length).max().unwrap_or_default();
    let mut picture = render(finding)?;
    let mut limit = width.saturating_sub(GUTTER);
    // A name or a word that cannot be broken stays as wide as it is.
    while widest(&picture) > width && limit >= LEAST {
        let Some(narrow) = Narrow::of(finding, limit) else {
            break;
        };
        let cut = render(&narrow)?;
        limit -= widest(&cut).saturating_sub(width).clamp(1, limit);
        if widest(&cut) < widest(&picture) {
            picture = cut;
        }
    }
    Some(picture)
}

/// A finding whose places are in a text with cut lines.
#[derive(Debug)]
struct Narrow<'e> {
    finding: &'e PlanError,
    text: Cut,
    labels: Vec<LabeledSpan>,
}

impl<'e> Narrow<'e> {
    /// With lines of at most `limit` columns. `None` for a finding that is in no file.
    fn of(finding: &'e PlanError, limit: usize) -> Option<Self> {
        let source = finding.source_code()?;
        let all = source.read_span(&SourceSpan::from((0, 0)), 0, usize::MAX).ok()?;
        let text = std::str::from_utf8(all.data()).ok()?;
        let labels: Vec<LabeledSpan> = finding.labels()?.collect();
        let mut cut = Cut {
            name: all.name().unwrap_or_default().to_owned(),
            text: String::with_capacity(text.len()),
            columns: BTreeMap::new(),
        };
        let mut lines = Vec::new();
        let mut at = 0;
        for line in text.split_inclusive('\n') {
            let place = at..at + line.len();
            lines.push(Line::cut(line, place.clone(), &labels, limit, &mut cut.text));
            at = place.end;
        }
        let mut moved = Vec::new();
        for (label, place) in labels.iter().zip(finding.places()) {
            let (from, to) = moved_to(&lines, label);
            cut.columns.insert(from, place.column.saturating_sub(1));
            moved.push(relabelled(label, from..to, &cut.text, limit));
        }
        Some(Self {
            finding,
            text: cut,
            labels: moved,
        })
    }
}

/// Where a label's place is in the cut text.
fn moved_to(lines: &[Line], label: &LabeledSpan) -> (usize, usize) {
    let at = |offset: usize| {
        let after = lines.partition_point(|line| line.place.start <= offset);
        after.checked_sub(1).and_then(|line| lines.get(line))
    };
    let (start, end) = (label.offset(), label.offset() + label.len());
    let from = at(start).map_or(start, |line| line.moved(start, Edge::First));
    // What ends with its line does not begin the next one.
    let last = end.max(start + 1) - 1;
    let to = at(last).map_or(end, |line| line.moved(end, Edge::Last));
    (from, if label.is_empty() { from } else { to.max(from) })
}

/// The label at its new place, in lines that fit beside the corner that it hangs on.
fn relabelled(label: &LabeledSpan, place: Range<usize>, text: &str, limit: usize) -> LabeledSpan {
    let words = label.label().map(|words| {
        let start = text[..place.start].rfind('\n').map_or(0, |end| end + 1);
        let before = length(&text[start..place.start]);
        let pointed = &text[place.clone()];
        let corner = if pointed.contains('\n') {
            0
        } else {
            before + length(pointed) / 2
        };
        let room = limit.saturating_sub(corner + CORNER).max(LABEL - CORNER);
        wrap(words, room).join("\n")
    });
    let place = SourceSpan::from((place.start, place.len()));
    if label.primary() {
        LabeledSpan::new_primary_with_span(words, place)
    } else {
        LabeledSpan::new_with_span(words, place)
    }
}

/// Which end of a place is looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Edge {
    First,
    Last,
}

/// A line of the file, and what is kept of it.
#[derive(Debug)]
struct Line {
    /// Where it was, its end included.
    place: Range<usize>,
    /// Which of its bytes are kept.
    kept: Range<usize>,
    /// How many it has before its end.
    length: usize,
    /// Where it begins in the cut text.
    begins: usize,
}

impl Line {
    /// Writes what is kept of a line.
    fn cut(line: &str, place: Range<usize>, labels: &[LabeledSpan], limit: usize, cut: &mut String) -> Self {
        let bare = line.trim_end_matches(['\n', '\r']);
        let pointed = labels.iter().filter_map(|label| {
            let inside = place.contains(&label.offset()) && label.offset() + label.len() <= place.end;
            let start = columns_to(bare, label.offset().saturating_sub(place.start));
            let end = columns_to(bare, (label.offset() + label.len()).saturating_sub(place.start));
            inside.then_some(Pointed {
                columns: start..end.max(start + 1),
                is_labelled: label.label().is_some(),
            })
        });
        let kept = kept(bare, &pointed.collect::<Vec<_>>(), limit);
        let begins = cut.len();
        if kept.start > 0 {
            cut.push_str(DOTS);
        }
        cut.push_str(&bare[kept.clone()]);
        if kept.end < bare.len() {
            cut.push_str(DOTS);
        }
        cut.push_str(&line[bare.len()..]);
        Self {
            place,
            kept,
            length: bare.len(),
            begins,
        }
    }

    /// Where a byte of the file is in the cut text; one that was left out is where the dots are.
    fn moved(&self, offset: usize, edge: Edge) -> usize {
        let (inside, Range { start, end }) = (offset.saturating_sub(self.place.start), self.kept.clone());
        let dots = if start > 0 { DOTS.len() } else { 0 };
        let at_dots = if edge == Edge::Last { DOTS.len() } else { 0 };
        self.begins
            + if inside < start {
                at_dots
            } else if inside <= end {
                dots + inside - start
            } else if end < self.length {
                dots + end - start + at_dots
            } else {
                // The end of the line itself.
                dots + inside - start
            }
    }
}

/// Columns of a line that are pointed at.
struct Pointed {
    columns: Range<usize>,
    is_labelled: bool,
}

impl Pointed {
    /// The column that the label hangs on, where the line is shown from one column up to another.
    fn corner(&self, shown: &Range<usize>) -> usize {
        let within = |column: usize| column.clamp(shown.start, shown.end) - shown.start;
        usize::midpoint(within(self.columns.start), within(self.columns.end))
    }
}

/// The bytes of a line that are kept: all where they fit, else those around what is pointed at first.
fn kept(line: &str, pointed: &[Pointed], limit: usize) -> Range<usize> {
    let width = length(line);
    let has_room = |shown: &Range<usize>| {
        let labelled = pointed.iter().filter(|pointed| pointed.is_labelled);
        labelled
            .map(|pointed| pointed.corner(shown))
            .all(|corner| corner + LABEL <= limit)
    };
    if width <= limit && has_room(&(0..width)) {
        return 0..line.len();
    }
    let first = pointed
        .iter()
        .map(|pointed| pointed.columns.start)
        .min()
        .unwrap_or_default();
    let last = pointed
        .iter()
        .map(|pointed| pointed.columns.end)
        .max()
        .unwrap_or_default();
    let from = |start: usize| start..width.min(start + limit - 2 * DOTS.chars().count());
    let mut shown = from(0);
    if last > shown.end || !has_room(&shown) {
        shown = from(first.saturating_sub(LEAD));
    }
    if !has_room(&shown) {
        // More is pointed at further on than there is room for: it is where the dots are.
        shown.end = shown.end.min(shown.start + limit - LABEL);
    }
    byte_at(line, shown.start)..byte_at(line, shown.end)
}

fn columns_to(line: &str, byte: usize) -> usize {
    let end = (0..=byte.min(line.len())).rev().find(|end| line.is_char_boundary(*end));
    length(&line[..end.unwrap_or_default()])
}

/// Where the character begins that stands at a column.
fn byte_at(line: &str, column: usize) -> usize {
    let mut ends = line.char_indices().map(|(byte, _)| byte);
    ends.find(|byte| length(&line[..*byte]) >= column).unwrap_or(line.len())
}

/// The cut text of a file. It tells the columns that its places have in the file.
#[derive(Debug)]
struct Cut {
    name: String,
    text: String,
    columns: BTreeMap<usize, usize>,
}

impl SourceCode for Cut {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let found = self.text.read_span(span, before, after)?;
        let known = self.columns.get(&span.offset()).filter(|_| before == 0);
        let contents = MietteSpanContents::new_named(
            self.name.clone(),
            found.data(),
            *found.span(),
            found.line(),
            known.copied().unwrap_or_else(|| found.column()),
            found.line_count(),
        );
        Ok(Box::new(contents.with_language("yaml")))
    }
}

impl fmt::Display for Narrow<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.finding, f)
    }
}

impl Error for Narrow<'_> {}

impl Diagnostic for Narrow<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Diagnostic::code(self.finding)
    }
    fn severity(&self) -> Option<Severity> {
        Diagnostic::severity(self.finding)
    }
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Diagnostic::help(self.finding)
    }
    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.text)
    }
    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().cloned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointed(columns: Range<usize>) -> Pointed {
        Pointed {
            columns,
            is_labelled: true,
        }
    }

    #[test]
    fn a_line_is_cut_around_what_is_pointed_at() {
        let line: String = ('a'..='z').cycle().take(200).collect();
        let shown = |places: &[Pointed]| kept(&line, places, 70);
        assert_eq!(kept("short", &[pointed(0..5)], 70), 0..5);
        // What is near the beginning is shown from the beginning, what is pointed at nowhere too.
        assert_eq!(shown(&[]), 0..68);
        assert_eq!(shown(&[pointed(4..10)]), 0..68);
        // Further on it begins a little before, and there is room for the label.
        assert_eq!(shown(&[pointed(120..130)]), 112..180);
        // The end of a line that fits is no place for a label.
        assert_eq!(kept(&line[..70], &[pointed(66..70)], 70), 58..70);
        // Not both fit.
        assert_eq!(shown(&[pointed(4..10), pointed(190..195)]), 0..42);
    }

    #[test]
    fn letters_are_not_cut_in_two() {
        let line = "ä".repeat(120);
        let kept = kept(&line, &[pointed(100..102)], 70);
        assert!(line.is_char_boundary(kept.start) && line.is_char_boundary(kept.end));
        assert_eq!(columns_to(&line, kept.start), 92);
    }

    #[test]
    fn a_place_is_found_again() {
        let mut text = String::new();
        let line = format!("{}here{}\n", "x".repeat(100), "y".repeat(100));
        let label = LabeledSpan::new_primary_with_span(Some("so".to_owned()), (100, 4));
        let cut = Line::cut(&line, 0..line.len(), std::slice::from_ref(&label), 70, &mut text);
        let (from, to) = moved_to(&[cut], &label);
        assert_eq!(&text[from..to], "here");
        assert!(text.starts_with("…x") && text.ends_with("y…\n"), "{text}");
        assert_eq!(length(text.trim_end()), 70);
    }
}
