//! A report as Markdown, as GitHub renders it.

use super::layout::{Bar, Block};

/// The width of a bar that takes the whole time.
const WIDTH: usize = 40;

pub(super) fn render(blocks: &[Block]) -> String {
    let parts: Vec<String> = blocks.iter().map(of_block).collect();
    parts.join("\n\n") + "\n"
}

fn of_block(block: &Block) -> String {
    match block {
        Block::Title(text) => format!("# {}", line(text)),
        Block::Heading(text) => format!("## {}", line(text)),
        Block::Text(text) => line(text),
        Block::List(points) => points
            .iter()
            .map(|point| format!("- {}", line(point)))
            .collect::<Vec<_>>()
            .join("\n"),
        Block::Facts(facts) => {
            let rows: Vec<_> = facts
                .iter()
                .map(|(name, text)| vec![name.clone(), text.clone()])
                .collect();
            table(&["", ""], &rows)
        }
        Block::Table(heads, rows) => table(heads, rows),
        Block::Verbatim(text) => fenced(text),
        Block::Bars(total, bars) => fenced(&drawn(*total, bars)),
    }
}

fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let row = |cells: Vec<String>| format!("| {} |", cells.join(" | "));
    let mut lines = vec![
        row(heads.iter().map(|head| (*head).to_owned()).collect()),
        row(heads.iter().map(|_| "---".to_owned()).collect()),
    ];
    lines.extend(
        rows.iter()
            .map(|cells| row(cells.iter().map(|text| cell(text)).collect())),
    );
    lines.join("\n")
}

/// Text of the world: it stays one line, and no tag of it is a tag.
fn line(text: &str) -> String {
    text.replace('<', "&lt;").replace(['\n', '\r'], " ")
}

fn cell(text: &str) -> String {
    line(text).replace('|', "\\|")
}

/// A block that its content cannot end.
fn fenced(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}text\n{}\n{fence}", text.trim_end())
}

fn drawn(total: f64, bars: &[Bar]) -> String {
    let column = bars.iter().map(|bar| bar.step.len()).max().unwrap_or(0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a place on a line of 40"
    )]
    let place = |seconds: f64| (seconds / total.max(0.001) * WIDTH as f64).round().min(WIDTH as f64) as usize;
    let one = |bar: &Bar| {
        let from = place(bar.from).min(WIDTH - 1);
        let length = place(bar.to).saturating_sub(from).max(1);
        let drawn = format!("{}{}", "·".repeat(from), "█".repeat(length));
        let rest = "·".repeat(WIDTH.saturating_sub(from + length));
        format!("{:<column$}  {drawn}{rest}  {:>7}  {}", bar.step, bar.note, bar.status)
    };
    bars.iter().map(one).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_the_world_cannot_leave_its_place() {
        assert_eq!(cell("a|b\n<img>"), "a\\|b &lt;img>");
        let text = fenced("x\n```\n</details>");
        assert!(text.starts_with("````text\n") && text.ends_with("\n````"), "{text}");
    }

    #[test]
    fn bars_show_when_and_how_long() {
        let bar = |step: &str, from, to| Bar {
            step: step.to_owned(),
            status: "succeeded".to_owned(),
            from,
            to,
            note: "1.0s".to_owned(),
        };
        let text = drawn(4.0, &[bar("a", 0.0, 1.0), bar("bb", 1.0, 4.0)]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[0].starts_with(&format!("a   {}{}", "█".repeat(10), "·".repeat(30))),
            "{text}"
        );
        assert!(
            lines[1].starts_with(&format!("bb  {}{}", "·".repeat(10), "█".repeat(30))),
            "{text}"
        );
    }
}
