//! A question at the terminal, while the run goes on above it. A thread of its own reads the keys: reading blocks, and
//! nothing else may wait for a person.

use std::io::{Write, stderr, stdin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::getpgrp;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcsetattr};
use tokio::sync::oneshot;

use super::typed::{Key, Typed};
use crate::report::screen::Screen;
use crate::report::table::wrap;
use crate::ui::Ui;

/// Between two looks at a terminal that belongs to somebody else now.
const PAUSE: Duration = Duration::from_millis(100);
/// Tenths of a second that one look at the keyboard takes, at most.
const LOOK: u8 = 1;

/// Asks until the answer is a yes or a no. `None` where nobody answers any more. Dropped, it asks no more.
pub(super) async fn ask(question: String, screen: Screen, ui: Ui) -> Option<bool> {
    let keys = Arc::new(Keys::default());
    let _given_back = GivenBack(keys.clone());
    let (tell, told) = oneshot::channel();
    std::thread::spawn(move || {
        let answer = Asking { question, screen, ui }.until_answered(&keys);
        let _ = tell.send(answer);
    });
    told.await.ok().flatten()
}

struct Asking {
    question: String,
    screen: Screen,
    ui: Ui,
}

impl Asking {
    fn until_answered(&self, keys: &Keys) -> Option<bool> {
        let mut typed = Typed::default();
        let mut is_shown = false;
        let answer = loop {
            match keys.hold() {
                Hold::Gone => break None,
                Hold::Elsewhere => std::thread::sleep(PAUSE),
                Hold::Held => {
                    if !is_shown {
                        self.show(&typed);
                        is_shown = true;
                    }
                    match self.look(&mut typed) {
                        Key::More => {}
                        Key::Answer(answer) => break Some(answer),
                        Key::End => break None,
                    }
                }
            }
        };
        if self.screen.moves() {
            self.screen.ask(Vec::new());
        } else {
            self.put("\n");
        }
        keys.give_back();
        answer
    }

    /// Takes in what was typed within a moment.
    fn look(&self, typed: &mut Typed) -> Key {
        let mut bytes = [0; 256];
        let count = match rustix::io::read(stdin(), &mut bytes) {
            Ok(0) | Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {
                // A terminal that is gone answers at once.
                std::thread::sleep(Duration::from_millis(5));
                return Key::More;
            }
            Ok(count) => count,
            Err(_) => return Key::End,
        };
        if self.screen.moves() {
            let key = typed.take(&bytes[..count]);
            self.show(typed);
            return key;
        }
        for key in bytes[..count].chunks(1).take_while(|key| *key != [Typed::ESCAPE]) {
            let before = typed.text().len();
            match typed.take(key) {
                Key::More => self.echo(before, typed),
                over => return over,
            }
        }
        Key::More
    }

    /// The question with what was typed so far, below what moves; where nothing does, as a line of its own, for others may
    /// follow before the answer.
    fn show(&self, typed: &Typed) {
        let asked = format!("{} [yes/no]", self.question);
        if !self.screen.moves() {
            return self.put(&format!("{asked}\n"));
        }
        let mut lines = wrap(&asked, self.ui.width().saturating_sub(Typed::MOST + 2));
        if let Some(last) = lines.last_mut() {
            *last = format!("{last} {}", typed.text());
        }
        self.screen.ask(lines);
    }

    /// Where nothing can be drawn anew: what was added, what was taken away; after a wrong answer the question again.
    fn echo(&self, before: usize, typed: &Typed) {
        let now = typed.text();
        if now.is_empty() && before > 0 {
            self.put("\n");
            self.show(typed);
        } else if now.len() >= before {
            self.put(&now[before..]);
        } else {
            self.put(&"\u{8} \u{8}".repeat(before - now.len()));
        }
    }

    #[expect(clippy::unused_self, reason = "it is this question that is written")]
    fn put(&self, text: &str) {
        let mut to = stderr().lock();
        drop(to.write_all(text.as_bytes()).and_then(|()| to.flush()));
    }
}

/// Whether the keyboard is ours.
enum Hold {
    /// Keys come one by one, and are not shown by the terminal.
    Held,
    /// Another program is in the foreground: to read now would stop this one.
    Elsewhere,
    /// There is no terminal any more, or nobody wants to know.
    Gone,
}

/// The keyboard. The terminal's own way of reading lines would be drawn over by what moves.
#[derive(Default)]
struct Keys(Mutex<Before>);

/// How the terminal read before.
#[derive(Default)]
enum Before {
    #[default]
    Untouched,
    Was(Box<Termios>),
    Returned,
}

impl Keys {
    fn before(&self) -> MutexGuard<'_, Before> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the keyboard, also after a shell took it back meanwhile.
    fn hold(&self) -> Hold {
        let mut before = self.before();
        if matches!(*before, Before::Returned) {
            return Hold::Gone;
        }
        let Ok(now) = tcgetattr(stdin()) else {
            return Hold::Gone;
        };
        if tcgetpgrp(stdin()).is_ok_and(|group| group != getpgrp()) {
            return Hold::Elsewhere;
        }
        if !now.local_modes.contains(LocalModes::ICANON) {
            return Hold::Held;
        }
        let mut wanted = now.clone();
        wanted.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        wanted.special_codes[SpecialCodeIndex::VMIN] = 0;
        wanted.special_codes[SpecialCodeIndex::VTIME] = LOOK;
        // What was typed before the question stood there is no answer to it.
        if tcsetattr(stdin(), OptionalActions::Flush, &wanted).is_err() {
            return Hold::Gone;
        }
        if matches!(*before, Before::Untouched) {
            *before = Before::Was(Box::new(now));
        }
        Hold::Held
    }

    fn give_back(&self) {
        if let Before::Was(was) = std::mem::replace(&mut *self.before(), Before::Returned) {
            let _ = tcsetattr(stdin(), OptionalActions::Now, &was);
        }
    }
}

/// Gives the keyboard back, however a question ends.
struct GivenBack(Arc<Keys>);

impl Drop for GivenBack {
    fn drop(&mut self) {
        self.0.give_back();
    }
}
