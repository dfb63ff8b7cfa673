//! Tables that align and never wrap: the last column gives way.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// No column gets narrower.
const LEAST: usize = 12;

/// Rows of cells under headings, with two blanks between columns, no wider than `width` where that can be had.
pub(crate) fn render(headings: &[&str], rows: &[Vec<String>], width: usize) -> Vec<String> {
    let columns = headings.len();
    let mut widths: Vec<usize> = headings.iter().map(|heading| length(heading)).collect();
    for row in rows {
        for (column, cell) in row.iter().enumerate().take(columns) {
            widths[column] = widths[column].max(length(cell));
        }
    }
    let before: usize = widths
        .iter()
        .take(columns.saturating_sub(1))
        .map(|width| width + 2)
        .sum();
    if let Some(last) = widths.last_mut() {
        *last = (*last).min(width.saturating_sub(before).max(LEAST));
    }
    // Where even that is too wide, the widest gives way.
    let gaps = 2 * columns.saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > width {
        let Some(widest) = widths.iter_mut().max().filter(|widest| **widest > LEAST) else {
            break;
        };
        *widest -= 1;
    }
    let heading: Vec<String> = headings.iter().map(|heading| (*heading).to_owned()).collect();
    std::iter::once(&heading)
        .chain(rows)
        .map(|row| line(row, &widths))
        .collect()
}

/// The same for text that has to be read whole: the last column goes on below instead of giving way.
pub(crate) fn flowing(headings: &[&str], rows: &[Vec<String>], width: usize) -> Vec<String> {
    let last = headings.len().saturating_sub(1);
    let widest = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| length(cell));
        cells.max().unwrap_or_default().max(length(headings[column]))
    };
    let before: usize = (0..last).map(|column| widest(column) + 2).sum();
    let room = width.saturating_sub(before).max(LEAST);
    let mut flowed = Vec::new();
    for row in rows {
        let text = row.get(last).map_or_else(Vec::new, |cell| wrap(cell, room));
        let mut cells = row[..last.min(row.len())].to_vec();
        for line in text
            .into_iter()
            .chain((row.get(last).is_none_or(String::is_empty)).then(String::new))
        {
            cells.push(line);
            flowed.push(std::mem::replace(&mut cells, vec![String::new(); last]));
        }
    }
    render(headings, &flowed, width)
}

fn line(row: &[String], widths: &[usize]) -> String {
    let cells: Vec<String> = row
        .iter()
        .zip(widths)
        .map(|(cell, width)| {
            let cell = shorten(cell, *width);
            let blanks = width.saturating_sub(length(&cell));
            format!("{cell}{}", " ".repeat(blanks))
        })
        .collect();
    cells.join("  ").trim_end().to_owned()
}

/// The text on one line and within a width, with `…` where something was left out. What would move a cursor is a blank.
pub(crate) fn shorten(text: &str, width: usize) -> String {
    let text = tame(text.lines().next().unwrap_or_default());
    if length(&text) <= width {
        return text;
    }
    let mut room = width.saturating_sub(1);
    let fits = |c: &char| {
        let left = room.checked_sub(c.width().unwrap_or(0));
        left.inspect(|left| room = *left).is_some()
    };
    let kept: String = text.chars().take_while(fits).collect();
    format!("{}…", kept.trim_end())
}

/// The text in lines of at most so many columns, broken between words; a longer word, such as a path, stays whole.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for given in text.lines() {
        let mut line = String::new();
        for word in given.split(' ') {
            if !line.is_empty() && length(&line) + 1 + length(word) > width {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines
}

/// Text of the world without what would move a cursor or change a colour: such characters are blanks.
pub(crate) fn tame(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Columns that a text takes: letters of some scripts take two, and colours none.
fn length(text: &str) -> usize {
    let mut parts = text.split("\u{1b}[");
    let first = parts.next().map_or(0, UnicodeWidthStr::width);
    let coloured = parts.map(|part| part.split_once('m').map_or(part, |(_, rest)| rest).width());
    first + coloured.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_the_last_gives_way() {
        let rows = vec![
            vec!["a".to_owned(), "x".repeat(40)],
            vec!["longer".to_owned(), "y".to_owned()],
        ];
        let lines = render(&["NAME", "WHAT"], &rows, 24);
        assert_eq!(lines, ["NAME    WHAT", "a       xxxxxxxxxxxxxxx…", "longer  y"]);
        assert!(lines.iter().all(|line| line.chars().count() <= 24));
    }

    #[test]
    fn what_has_to_be_read_goes_on_below() {
        let rows = vec![
            vec!["a".to_owned(), "one two three four".to_owned()],
            vec!["b".to_owned(), String::new()],
        ];
        let lines = flowing(&["NAME", "WHAT"], &rows, 18);
        assert_eq!(lines, ["NAME  WHAT", "a     one two", "      three four", "b"]);
    }

    #[test]
    fn a_table_is_no_wider_than_the_terminal() {
        let rows = vec![vec!["n".repeat(60), "running".to_owned(), "w".repeat(60)]];
        let lines = render(&["NAME", "STATUS", "WHAT"], &rows, 60);
        assert!(lines.iter().all(|line| length(line) <= 60), "{lines:?}");
    }

    #[test]
    fn lines_break_between_words() {
        assert_eq!(
            wrap("mend the cause, then go on", 12),
            ["mend the", "cause, then", "go on"]
        );
        assert_eq!(wrap("log: /a/long/path", 8), ["log:", "/a/long/path"]);
        assert_eq!(wrap("one line", usize::MAX), ["one line"]);
        assert_eq!(wrap("\u{1b}[2mone\u{1b}[0m line", 8), ["\u{1b}[2mone\u{1b}[0m line"]);
    }

    #[test]
    fn what_is_shortened_says_so() {
        assert_eq!(shorten("a long text", 7), "a long…");
        assert_eq!(shorten("first\nsecond", 10), "first");
        assert_eq!(shorten("a\tb\u{1b}[2Jc", 10), "a b [2Jc");
        assert_eq!(shorten("数据库", 6), "数据库");
        assert_eq!(shorten("数据库", 5), "数据…");
    }
}
