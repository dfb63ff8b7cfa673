//! A short answer as it is typed, key by key.

/// What came of some keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// It goes on.
    More,
    /// Yes or no.
    Answer(bool),
    /// Nobody answers any more.
    End,
}

/// What stands on the line.
#[derive(Debug, Default)]
pub(super) struct Typed(String);

impl Typed {
    /// The longest answer that is taken in.
    pub(super) const MOST: usize = 8;
    /// Begins what a key sends that stands for no letter: the rest belongs to it.
    pub(super) const ESCAPE: u8 = 0x1b;

    /// The line.
    pub(super) fn text(&self) -> &str {
        &self.0
    }

    /// Takes in keys as a terminal sends them.
    pub(super) fn take(&mut self, keys: &[u8]) -> Key {
        /// End of input: Ctrl-D.
        const END: u8 = 0x04;
        /// The line is cleared: Ctrl-U.
        const CLEAR: u8 = 0x15;
        for key in keys {
            match *key {
                b'\r' | b'\n' => {
                    if let Some(answer) = meaning(&std::mem::take(&mut self.0)) {
                        return Key::Answer(answer);
                    }
                }
                END if self.0.is_empty() => return Key::End,
                CLEAR => self.0.clear(),
                0x08 | 0x7f => drop(self.0.pop()),
                Self::ESCAPE => return Key::More,
                key if (key.is_ascii_graphic() || key == b' ') && self.0.len() < Self::MOST => {
                    self.0.push(char::from(key));
                }
                _ => {}
            }
        }
        Key::More
    }
}

/// Yes, no, or neither.
pub(super) fn meaning(text: &str) -> Option<bool> {
    match text.trim().to_lowercase().as_str() {
        "yes" | "y" => Some(true),
        "no" | "n" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_whole_line() {
        let mut typed = Typed::default();
        assert_eq!(typed.take(b"ye"), Key::More);
        assert_eq!(typed.text(), "ye");
        assert_eq!(typed.take(b"s\r"), Key::Answer(true));
        assert_eq!(typed.take(b"maybe\nno\n"), Key::Answer(false));
        assert_eq!(typed.take(b"x\x7fy\x1b[A"), Key::More);
        assert_eq!(typed.text(), "y");
        assert_eq!(typed.take(b"\x04"), Key::More, "not at the beginning of a line");
        assert_eq!(typed.take(b"\x15\x04"), Key::End);
        assert_eq!(typed.take("ü much too long for an answer".as_bytes()), Key::More);
        assert_eq!(typed.text().len(), Typed::MOST);
    }
}
