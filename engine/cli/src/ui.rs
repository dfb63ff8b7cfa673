//! What goes to the terminal: data on standard output, talk on standard error. Colour adds; it never carries meaning.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::args::{Color, Global};
use crate::exit::CommandError;
use crate::report::table;

/// The terminal, or what stands in its place.
#[derive(Debug, Clone)]
pub(crate) struct Ui {
    /// Whether talk may be coloured.
    pub(crate) color: bool,
    /// Whether only results and errors are wanted.
    pub(crate) quiet: bool,
    /// How much more is wanted.
    pub(crate) verbose: u8,
    /// Whether standard error is a terminal.
    pub(crate) terminal: bool,
    /// Whether it is one on which things may move.
    pub(crate) moving: bool,
    /// Whether standard output is a stream of events, and nothing else may be on it.
    pub(crate) streaming: bool,
    /// Whether the command has given its answer for programs.
    pub(crate) answered: Arc<AtomicBool>,
}

/// How a piece of text stands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Good.
    Green,
    /// To be looked at.
    Yellow,
    /// Bad.
    Red,
    /// Not so important.
    Dim,
    /// A heading.
    Bold,
}

impl Style {
    fn code(self) -> &'static str {
        match self {
            Self::Green => "32",
            Self::Yellow => "33",
            Self::Red => "1;31",
            Self::Dim => "2",
            Self::Bold => "1",
        }
    }
}

impl Ui {
    pub(crate) fn new(global: &Global) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let plain = crate::environment::is_set("NO_COLOR");
        let dumb = crate::environment::variable("TERM").is_some_and(|term| term == "dumb");
        Self {
            color: match global.color {
                Color::Always => true,
                Color::Never => false,
                Color::Auto => terminal && !plain && !dumb,
            },
            quiet: global.quiet,
            verbose: global.verbose,
            terminal,
            moving: terminal && !dumb && !global.quiet,
            streaming: false,
            answered: Arc::default(),
        }
    }

    /// A terminal of which nothing is known: for processes that write to a log.
    pub(crate) fn plain() -> Self {
        Self {
            color: false,
            quiet: false,
            verbose: 0,
            terminal: false,
            moving: false,
            streaming: false,
            answered: Arc::default(),
        }
    }

    /// The same terminal while standard output belongs to events.
    pub(crate) fn beside_events(&self) -> Self {
        Self {
            streaming: true,
            ..self.clone()
        }
    }

    /// Data: a line on standard output.
    pub(crate) fn out(&self, line: impl AsRef<str>) {
        if self.streaming {
            return self.insist(line);
        }
        write_line(&mut std::io::stdout().lock(), line.as_ref());
    }

    /// The answer to a program, which is one document.
    pub(crate) fn answer(&self, document: impl AsRef<str>) {
        self.answers();
        self.out(document);
    }

    /// From here on the answer comes by itself: from another jm, or line by line.
    pub(crate) fn answers(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    /// Whether there is an answer on standard output, or will be.
    pub(crate) fn has_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    /// Talk: a line on standard error, unless `--quiet`.
    pub(crate) fn say(&self, line: impl AsRef<str>) {
        if !self.quiet {
            self.insist(line);
        }
    }

    /// Data: some lines.
    pub(crate) fn out_all(&self, lines: &[String]) {
        for line in lines {
            self.out(line);
        }
    }

    /// Data: a line that begins with `head` and goes on below, as far in as its text, where the terminal ends.
    pub(crate) fn out_hanging(&self, head: &str, text: &str) {
        self.out_all(&table::hang(head, text, self.page()));
    }

    /// Talk: the same.
    pub(crate) fn say_hanging(&self, head: &str, text: &str) {
        self.say_all(&table::hang(head, text, self.room()));
    }

    /// Talk: some lines.
    pub(crate) fn say_all(&self, lines: &[String]) {
        for line in lines {
            self.say(line);
        }
    }

    /// Talk that `--quiet` does not silence.
    #[expect(clippy::unused_self, reason = "whoever prints has to be handed the terminal")]
    pub(crate) fn insist(&self, line: impl AsRef<str>) {
        write_line(&mut std::io::stderr().lock(), line.as_ref());
    }

    fn insist_hanging(&self, head: &str, text: &str) {
        for line in table::hang(head, text, self.room()) {
            self.insist(line);
        }
    }

    /// An error, what it comes from, and what to do next.
    pub(crate) fn error(&self, error: &CommandError) {
        if error.message.is_empty() {
            return;
        }
        self.insist_hanging(&format!("{} ", self.paint(Style::Red, "error:")), &error.message);
        for cause in &error.causes {
            self.insist_hanging("  because: ", cause);
        }
        if let Some(hint) = &error.hint {
            self.insist_hanging(&format!("{} ", self.paint(Style::Yellow, "hint:")), hint);
        }
    }

    /// Something that does not stop the command, and that should be seen.
    pub(crate) fn warn(&self, text: impl AsRef<str>) {
        self.insist_hanging(&format!("{} ", self.paint(Style::Yellow, "warning:")), text.as_ref());
    }

    /// The text in a style, where colour is wanted.
    pub(crate) fn paint(&self, style: Style, text: &str) -> String {
        if self.color {
            format!("\x1b[{}m{text}\x1b[0m", style.code())
        } else {
            text.to_owned()
        }
    }

    /// Columns of the terminal; 100 where there is none.
    #[expect(clippy::unused_self, reason = "whoever prints has to be handed the terminal")]
    pub(crate) fn width(&self) -> usize {
        terminal_size::terminal_size_of(std::io::stderr()).map_or(100, |(width, _)| usize::from(width.0))
    }

    /// Rows of the terminal; 24 where there is none.
    #[expect(clippy::unused_self, reason = "whoever prints has to be handed the terminal")]
    pub(crate) fn height(&self) -> usize {
        terminal_size::terminal_size_of(std::io::stderr()).map_or(24, |(_, height)| usize::from(height.0))
    }
}

impl Ui {
    /// Columns for data: as many as it likes where somebody reads it who is no terminal.
    pub(crate) fn page(&self) -> usize {
        if std::io::stdout().is_terminal() {
            self.width()
        } else {
            usize::MAX
        }
    }

    /// Columns for data that is laid out for people wherever it goes: those of the terminal, or 80.
    pub(crate) fn sheet(&self) -> usize {
        match self.page() {
            usize::MAX => 80,
            page => page,
        }
    }

    /// Columns for text that is broken between words: as wide as it likes where no terminal would break it.
    pub(crate) fn room(&self) -> usize {
        if self.terminal { self.width() } else { usize::MAX }
    }
}

/// A reader that has gone away (`jm run list | head -1`) is no failure of ours.
fn write_line(to: &mut dyn Write, line: &str) {
    drop(writeln!(to, "{line}").and_then(|()| to.flush()));
}
