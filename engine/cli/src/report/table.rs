//! Tables that align and never wrap: the last column gives way.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// No column gets narrower.
const LEAST: usize = 12;

/// No text that has to be read whole is broken into narrower lines: where there is no more room, it begins below.
const NARROWEST: usize = 20;

/// How far in it begins there.
const BELOW: usize = 4;

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

/// The same for text that has to be read whole: cells go on below instead of giving way. No column but the last takes more
/// than a third.
pub(crate) fn flowing(headings: &[&str], rows: &[Vec<String>], width: usize) -> Vec<String> {
    let last = headings.len().saturating_sub(1);
    let most = (width / 3).max(LEAST);
    let widest = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let lines = cells.flat_map(|cell| broken(cell, most)).map(|line| length(&line));
        lines.max().unwrap_or_default().max(length(headings[column]))
    };
    let mut widths: Vec<usize> = (0..last).map(widest).collect();
    let before: usize = widths.iter().map(|width| width + 2).sum();
    let room = width.saturating_sub(before);
    if room < NARROWEST && last > 0 {
        return below(headings, rows, width);
    }
    widths.push(room);
    let flowed: Vec<Vec<String>> = rows.iter().flat_map(|row| flow(row, &widths)).collect();
    render(headings, &flowed, width)
}

/// The same where no room is left beside the other columns: what stands in the last one goes below its row.
fn below(headings: &[&str], rows: &[Vec<String>], width: usize) -> Vec<String> {
    let last = headings.len() - 1;
    let beside: Vec<Vec<String>> = rows.iter().map(|row| row[..last.min(row.len())].to_vec()).collect();
    let mut table = render(&headings[..last], &beside, width).into_iter();
    let mut lines: Vec<String> = table.next().into_iter().collect();
    for (line, row) in table.zip(rows) {
        lines.push(line);
        if let Some(text) = row.get(last).filter(|text| !text.is_empty()) {
            lines.extend(hang(&" ".repeat(BELOW), text, width));
        }
    }
    lines
}

/// A cell in lines, which go on with the blanks that it begins with.
fn broken(cell: &str, width: usize) -> Vec<String> {
    let text = cell.trim_start();
    hang(&" ".repeat(length(cell) - length(text)), text, width)
}

/// A row in as many lines as its longest cell takes.
fn flow(row: &[String], widths: &[usize]) -> Vec<Vec<String>> {
    let cells = row.iter().zip(widths).map(|(cell, width)| broken(cell, *width));
    let cells: Vec<Vec<String>> = cells.collect();
    let lines = cells.iter().map(Vec::len).max().unwrap_or_default();
    let line = |i: usize| {
        cells
            .iter()
            .map(|cell| cell.get(i).cloned().unwrap_or_default())
            .collect()
    };
    (0..lines).map(line).collect()
}

/// A line that begins with `head`, and goes on below, as far in as its text begins, where it gets wider than `width`.
pub(crate) fn hang(head: &str, text: &str, width: usize) -> Vec<String> {
    let indent = length(head);
    let room = width.saturating_sub(indent);
    let begins = length(text.split(' ').next().unwrap_or_default());
    if indent > BELOW && length(text) > room && (room < NARROWEST || begins > room) {
        let below = hang(&" ".repeat(BELOW), text, width);
        return std::iter::once(head.trim_end().to_owned()).chain(below).collect();
    }
    let mut lines = wrap(text, room).into_iter();
    let first = format!("{head}{}", lines.next().unwrap_or_default());
    let rest = lines.map(|line| format!("{}{line}", " ".repeat(indent)));
    std::iter::once(first)
        .chain(rest)
        .map(|line| line.trim_end().to_owned())
        .collect()
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

/// The text in lines of at most so many columns, broken between words, and in a longer one after its commas, as JSON has
/// them. What has none, such as a path, stays whole.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for given in text.lines() {
        let mut line = String::new();
        for word in given.split(' ') {
            if !line.is_empty() {
                if length(&line) + 1 + length(word) > width {
                    lines.push(std::mem::take(&mut line));
                } else {
                    line.push(' ');
                }
            }
            let parts = if length(word) > width {
                word.split_inclusive(',').collect()
            } else {
                vec![word]
            };
            for part in parts {
                if !line.is_empty() && length(&line) + length(part) > width {
                    lines.push(std::mem::take(&mut line));
                }
                line.push_str(part);
            }
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
pub(crate) fn length(text: &str) -> usize {
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
            vec!["a".to_owned(), "one two three four five six".to_owned()],
            vec!["b".to_owned(), String::new()],
        ];
        let lines = flowing(&["NAME", "WHAT"], &rows, 28);
        assert_eq!(lines, ["NAME  WHAT", "a     one two three four", "      five six", "b"]);
    }

    #[test]
    fn no_column_takes_all_of_the_room() {
        let rows = vec![vec![
            "  a".to_owned(),
            "one | two | three".to_owned(),
            "what it means".to_owned(),
        ]];
        let lines = flowing(&["NAME", "TYPE", "MEANING"], &rows, 48);
        let expected = [
            "NAME  TYPE         MEANING",
            "  a   one | two |  what it means",
            "      three",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn where_the_other_columns_leave_no_room_the_last_goes_below() {
        let rows = vec![
            vec!["w".repeat(16), "what it means is told here".to_owned()],
            vec!["b".to_owned(), String::new()],
        ];
        let lines = flowing(&["NAME", "MEANING"], &rows, 24);
        let expected = ["NAME", "wwwwwwwwwwwwwwww", "    what it means is", "    told here", "b"];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_line_goes_on_below_its_text() {
        assert_eq!(hang("", "", 9), [""]);
        assert_eq!(hang("done  ", "short", 40), ["done  short"]);
        let lines = hang("done  ", "it goes on below where it is too wide", 26);
        assert_eq!(lines, ["done  it goes on below", "      where it is too wide"]);
        let lines = hang("a head that is wide  ", "and some text", 30);
        assert_eq!(lines, ["a head that is wide", "    and some text"]);
        assert_eq!(hang("x ", "text", usize::MAX), ["x text"]);
        let word = "w".repeat(25);
        assert_eq!(
            hang("a head  ", &word, 30),
            ["a head".to_owned(), format!("    {word}")]
        );
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
        assert_eq!(
            wrap("~ {\"a\":1,\"b\":2} -> x", 10),
            ["~", "{\"a\":1,", "\"b\":2} ->", "x"]
        );
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
