//! A report as one page of HTML: no script, nothing loaded from elsewhere, readable in print and in the dark.

use super::layout::{Bar, Block};

const STYLE: &str = "
:root{color-scheme:light dark;--line:#8884;--dim:#888;--good:#2da44e;--bad:#cf222e;--mid:#bf8700}
body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2rem;border-bottom:1px solid var(--line)}
table{border-collapse:collapse;width:100%;font-size:.9rem}
th,td{text-align:left;vertical-align:top;padding:.25rem .6rem;border-bottom:1px solid var(--line);overflow-wrap:anywhere}
th{color:var(--dim);font-weight:600}dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem}
dt{color:var(--dim)}dd{margin:0;overflow-wrap:anywhere}code,pre{font-family:ui-monospace,monospace;font-size:.9em}
pre{padding:.6rem;border:1px solid var(--line);overflow-x:auto;white-space:pre-wrap}
.bars{display:grid;grid-template-columns:max-content 1fr max-content;gap:.15rem .8rem;align-items:center;margin-bottom:1rem}
.lane{position:relative;height:1rem;background:var(--line)}.lane i{position:absolute;height:100%;min-width:2px;background:var(--mid)}
.lane i.succeeded{background:var(--good)}.lane i.failed{background:var(--bad)}
";

pub(super) fn render(blocks: &[Block]) -> String {
    let title = blocks
        .iter()
        .find_map(|block| match block {
            Block::Title(text) => Some(escape(text)),
            _ => None,
        })
        .unwrap_or_default();
    let body: String = blocks.iter().map(of_block).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
        <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
        <title>{title}</title><style>{STYLE}</style></head><body>\n{body}</body></html>\n"
    )
}

fn of_block(block: &Block) -> String {
    match block {
        Block::Title(text) => format!("<h1>{}</h1>\n", inline(text)),
        Block::Heading(text) => format!("<h2>{}</h2>\n", inline(text)),
        Block::Text(text) => format!("<p>{}</p>\n", inline(text)),
        Block::List(points) => {
            let points = within("li", points.iter().map(|point| inline(point)));
            format!("<ul>{points}</ul>\n")
        }
        Block::Facts(facts) => {
            let facts = facts
                .iter()
                .map(|(name, text)| format!("<dt>{}</dt><dd>{}</dd>", inline(name), inline(text)));
            format!("<dl>{}</dl>\n", facts.collect::<String>())
        }
        Block::Table(heads, rows) => table(heads, rows),
        Block::Verbatim(text) => format!("<pre>{}</pre>\n", escape(text)),
        Block::Bars(total, bars) => drawn(*total, bars),
    }
}

/// Each text in an element of its own.
fn within(element: &str, texts: impl Iterator<Item = String>) -> String {
    let each = texts.map(|text| format!("<{element}>{text}</{element}>"));
    each.collect::<Vec<_>>().concat()
}

fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let heads = within("th", heads.iter().map(|head| escape(head)));
    let mut text = format!("<table><thead><tr>{heads}</tr></thead><tbody>\n");
    for row in rows {
        let cells = within("td", row.iter().map(|cell| inline(cell)));
        text.push_str(&["<tr>", &cells, "</tr>\n"].concat());
    }
    text.push_str("</tbody></table>\n");
    text
}

fn drawn(total: f64, bars: &[Bar]) -> String {
    let share = |seconds: f64| (seconds / total.max(0.001) * 100.0).clamp(0.0, 100.0);
    let one = |bar: &Bar| {
        format!(
            "<code>{}</code><span class=\"lane\"><i class=\"{}\" style=\"left:{:.2}%;width:{:.2}%\"></i></span><span>{}</span>\n",
            escape(&bar.step),
            escape(&bar.status),
            share(bar.from),
            share(bar.to) - share(bar.from),
            escape(&bar.note)
        )
    };
    format!(
        "<div class=\"bars\">\n{}</div>\n",
        bars.iter().map(one).collect::<String>()
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// Escaped, and what stands between backticks or double stars set off.
fn inline(text: &str) -> String {
    let code = between(&escape(text), "`", "<code>", "</code>");
    between(&code, "**", "<strong>", "</strong>")
}

fn between(text: &str, mark: &str, open: &str, close: &str) -> String {
    let parts: Vec<&str> = text.split(mark).collect();
    let last = parts.len() - 1;
    let mut set = String::new();
    for (i, part) in parts.into_iter().enumerate() {
        set.push_str(part);
        match (i % 2 == 0, i) {
            (_, i) if i == last => {}
            // A mark without its fellow is only text.
            (true, i) if i + 1 == last => set.push_str(mark),
            (true, _) => set.push_str(open),
            (false, _) => set.push_str(close),
        }
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_the_world_is_text() {
        assert_eq!(
            inline("<script>\"&`a<b`"),
            "&lt;script&gt;&quot;&amp;<code>a&lt;b</code>"
        );
        assert_eq!(inline("**yes** and `no"), "<strong>yes</strong> and `no");
        assert_eq!(inline("a `b` c `d"), "a <code>b</code> c `d");
    }

    #[test]
    fn a_page_loads_nothing() {
        let page = render(&[Block::Title("x".to_owned()), Block::Verbatim("</pre>".to_owned())]);
        assert!(
            !page.contains("src=") && !page.contains("href=") && !page.contains("</pre></pre>"),
            "{page}"
        );
        assert!(page.contains("&lt;/pre&gt;"));
    }
}
