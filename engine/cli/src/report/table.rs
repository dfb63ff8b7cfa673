//! Tables that align and never wrap: the last column gives way.

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
        *last = (*last).min(width.saturating_sub(before).max(12));
    }
    let heading: Vec<String> = headings.iter().map(|heading| (*heading).to_owned()).collect();
    std::iter::once(&heading)
        .chain(rows)
        .map(|row| line(row, &widths))
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

/// The text on one line and within a width, with `…` where something was left out.
pub(crate) fn shorten(text: &str, width: usize) -> String {
    let text = text.lines().next().unwrap_or_default();
    if length(text) <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
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

fn length(text: &str) -> usize {
    text.chars().count()
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
    fn lines_break_between_words() {
        assert_eq!(
            wrap("mend the cause, then go on", 12),
            ["mend the", "cause, then", "go on"]
        );
        assert_eq!(wrap("log: /a/long/path", 8), ["log:", "/a/long/path"]);
        assert_eq!(wrap("one line", usize::MAX), ["one line"]);
    }

    #[test]
    fn what_is_shortened_says_so() {
        assert_eq!(shorten("a long text", 7), "a long…");
        assert_eq!(shorten("first\nsecond", 10), "first");
    }
}
