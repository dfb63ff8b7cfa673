//! As much of PostgreSQL's protocol as a wire has to understand to know what is said.

use std::collections::HashMap;

const ENCRYPTION: [u32; 2] = [80_877_103, 80_877_104];
const CANCEL: u32 = 80_877_102;

/// What a message of the client means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// A statement is to be done.
    Statement(String),
    /// Anything else.
    Other,
}

/// The client's side of a connection.
#[derive(Default)]
pub(super) struct Frontend {
    rest: Vec<u8>,
    started: bool,
    encryption: usize,
    session: String,
    prepared: HashMap<Vec<u8>, String>,
}

impl Frontend {
    /// The name of the session, where it is known.
    pub(super) fn session(&self) -> &str {
        &self.session
    }

    /// How often it asked for encryption, which is answered by one byte without a frame.
    pub(super) fn asked_for_encryption(&self) -> usize {
        self.encryption
    }

    /// Takes what came, and gives the messages that are whole, with what they mean.
    pub(super) fn take(&mut self, new: &[u8]) -> Vec<(Vec<u8>, Said)> {
        self.rest.extend_from_slice(new);
        let mut messages = Vec::new();
        while let Some(length) = self.whole() {
            let message: Vec<u8> = self.rest.drain(..length).collect();
            let said = if self.started {
                self.understand(&message)
            } else {
                self.start(&message)
            };
            messages.push((message, said));
        }
        messages
    }

    /// The length of the first message, where all of it is there.
    fn whole(&self) -> Option<usize> {
        let kind = usize::from(self.started);
        let length = kind + number(self.rest.get(kind..kind + 4)?) as usize;
        (self.rest.len() >= length).then_some(length)
    }

    fn start(&mut self, message: &[u8]) -> Said {
        match number(&message[4..8]) {
            code if ENCRYPTION.contains(&code) => self.encryption += 1,
            CANCEL => {}
            _ => {
                self.started = true;
                let words: Vec<&[u8]> = message[8..].split(|byte| *byte == 0).collect();
                let name = words.chunks(2).find(|pair| pair[0] == b"application_name");
                self.session = name
                    .and_then(|pair| pair.get(1))
                    .map_or_else(String::new, |name| text(name));
            }
        }
        Said::Other
    }

    fn understand(&mut self, message: &[u8]) -> Said {
        let mut words = message[5..].split(|byte| *byte == 0);
        match message[0] {
            b'Q' => Said::Statement(text(words.next().unwrap_or_default())),
            b'P' => {
                let name = words.next().unwrap_or_default().to_vec();
                self.prepared.insert(name, text(words.next().unwrap_or_default()));
                Said::Other
            }
            b'B' => {
                let name = words.nth(1).unwrap_or_default();
                Said::Statement(self.prepared.get(name).cloned().unwrap_or_default())
            }
            _ => Said::Other,
        }
    }
}

/// The server's side of a connection.
#[derive(Default)]
pub(super) struct Backend {
    rest: Vec<u8>,
    unframed: usize,
}

impl Backend {
    /// Takes what came; whether the server is done with what it was asked, or waits for rows.
    pub(super) fn take(&mut self, new: &[u8], encryption: usize) -> bool {
        self.rest.extend_from_slice(new);
        while self.unframed < encryption && !self.rest.is_empty() {
            self.rest.remove(0);
            self.unframed += 1;
        }
        let mut answered = false;
        while let Some(length) = self.rest.get(1..5).map(|bytes| 1 + number(bytes) as usize) {
            if self.rest.len() < length {
                break;
            }
            answered |= matches!(self.rest[0], b'Z' | b'G');
            self.rest.drain(..length);
        }
        answered
    }
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
