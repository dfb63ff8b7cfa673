//! The part of the terminal on which things move. indicatif says what is drawn; here it is put together so that a frame
//! is one write, and that a line ends with a line end: where it is filled up with blanks until the terminal breaks it,
//! what was kept cannot be copied, and a wider window joins the lines.

use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};

use crate::ui::Ui;

/// As often as the screen is drawn, at most.
const FRAMES_PER_SECOND: u8 = 20;

/// Where things move, or nothing at all where they cannot.
#[derive(Clone)]
pub(crate) struct Screen {
    bars: MultiProgress,
    frame: Frame,
    shown: Arc<Mutex<Shown>>,
}

/// What is shown below the lines that stay.
#[derive(Default)]
struct Shown {
    /// There from the beginning of a display to its end.
    area: Option<ProgressBar>,
    moving: String,
    asked: Vec<String>,
}

impl Screen {
    /// The terminal on standard error; hidden where it is none.
    pub(crate) fn new(ui: &Ui) -> Self {
        let frame = Frame {
            drawn: Arc::default(),
            ui: ui.clone(),
        };
        let target = if ui.moving {
            ProgressDrawTarget::term_like_with_hz(Box::new(frame.clone()), FRAMES_PER_SECOND)
        } else {
            ProgressDrawTarget::hidden()
        };
        Self {
            bars: MultiProgress::with_draw_target(target),
            frame,
            shown: Arc::default(),
        }
    }

    /// Whether anything is ever seen of it.
    pub(crate) fn moves(&self) -> bool {
        self.frame.ui.moving
    }

    /// Lines at the bottom that say only what they are told.
    pub(crate) fn area(&self) -> ProgressBar {
        let style = ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
        self.bars.add(ProgressBar::no_length().with_style(style))
    }

    /// Begins to show what moves.
    pub(crate) fn begin(&self) {
        let mut shown = self.shown();
        shown.area.get_or_insert_with(|| self.area());
    }

    /// Shows what moves now, below a line that stays where there is one: all of it at once.
    pub(crate) fn show(&self, moving: String, stays: Option<&str>) {
        let mut shown = self.shown();
        shown.moving = moving;
        self.draw(&shown, stays);
    }

    /// Shows a question below what moves, which goes on moving; the cursor stands at its end. No lines: no question.
    pub(crate) fn ask(&self, question: Vec<String>) {
        let mut shown = self.shown();
        shown.asked = question;
        self.draw(&shown, None);
    }

    /// The lines that a question takes.
    pub(crate) fn asked(&self) -> usize {
        self.shown().asked.len()
    }

    /// Clears what moves. From here on nothing is shown.
    pub(crate) fn end(&self) {
        if let Some(area) = self.shown().area.take() {
            area.finish_and_clear();
        }
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn draw(&self, shown: &Shown, stays: Option<&str>) {
        let Some(area) = &shown.area else { return };
        let lines = std::iter::once(&shown.moving).chain(&shown.asked);
        let lines: Vec<&str> = lines.map(String::as_str).collect();
        self.frame.drawn().held = true;
        area.set_message(lines.join("\n"));
        // A terminal that is gone cannot be written to, and the run goes on without it.
        match stays {
            Some(line) => drop(self.bars.println(line)),
            None => area.force_draw(),
        }
        self.frame.drawn().held = false;
        drop(self.frame.flush());
    }
}

/// What is to be written with the next flush.
#[derive(Debug, Default)]
struct Drawn {
    text: String,
    place: Place,
    held: bool,
}

/// Where the next string goes. Lines come in pairs: their text, then blanks up to the right edge.
#[derive(Debug, Default, PartialEq)]
enum Place {
    #[default]
    Start,
    AfterText,
    End,
}

impl Drawn {
    fn put(&mut self, text: &str) {
        match self.place {
            Place::AfterText => self.place = Place::End,
            Place::Start | Place::End => {
                if self.place == Place::End {
                    self.text.push_str("\r\n");
                }
                self.text.push_str(text);
                self.place = Place::AfterText;
            }
        }
    }

    fn go(&mut self, count: usize, towards: &str) {
        if count > 0 {
            self.text.extend(["\x1b[", &count.to_string(), towards]);
        }
    }
}

/// The terminal as indicatif sees it.
#[derive(Debug, Clone)]
struct Frame {
    drawn: Arc<Mutex<Drawn>>,
    ui: Ui,
}

impl Frame {
    fn drawn(&self) -> MutexGuard<'_, Drawn> {
        self.drawn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TermLike for Frame {
    fn width(&self) -> u16 {
        u16::try_from(self.ui.width()).unwrap_or(u16::MAX)
    }

    fn height(&self) -> u16 {
        u16::try_from(self.ui.height()).unwrap_or(u16::MAX)
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.drawn().go(n, "A");
        Ok(())
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.drawn().go(n, "B");
        Ok(())
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.drawn().go(n, "C");
        Ok(())
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.drawn().go(n, "D");
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        let mut drawn = self.drawn();
        drawn.text.push_str(text);
        drawn.text.push_str("\r\n");
        drawn.place = Place::Start;
        Ok(())
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.drawn().put(text);
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        let mut drawn = self.drawn();
        drawn.text.push_str("\r\x1b[2K");
        drawn.place = Place::Start;
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        let mut drawn = self.drawn();
        if drawn.held || drawn.text.is_empty() {
            return Ok(());
        }
        let text = std::mem::take(&mut drawn.text);
        let mut to = io::stderr().lock();
        to.write_all(text.as_bytes())?;
        to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_where_their_text_ends() {
        let mut drawn = Drawn::default();
        for text in ["kept", "      ", "", "          ", "moving", "    "] {
            drawn.put(text);
        }
        assert_eq!(drawn.text, "kept\r\n\r\nmoving");
        drawn.go(0, "A");
        drawn.go(2, "A");
        assert!(drawn.text.ends_with("moving\x1b[2A"));
    }
}
