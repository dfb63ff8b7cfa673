//! Plain dumps are programs for psql, and psql can run programs of the machine. This reads SQL as psql reads it, lets
//! through what a dump needs, and refuses every meta-command before psql sees it.
//!
//! psql that knows `\restrict` (since 13.22, 14.19, 15.14, 16.10 and 17.6) is told to refuse them as well, so that a place
//! where the two readers differ opens nothing. An older one relies on this reader alone, which a script can get past that
//! changes how strings are read in a way that is seen only while it runs (`set_config` inside a function): the log of the
//! restore says so.

use std::mem;

mod statement;

/// Longer than any meta-command or setting line that `pg_dump` writes.
const LONGEST_HELD: usize = 200;
const LONGEST_WORD: usize = 40;
/// Whole statements of `pg_dump` 17 and later that an older server does not know.
const TRANSACTION_TIMEOUT: &[u8] = b"SET transaction_timeout = 0;";

/// Why a script is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ScriptError {
    #[error(
        "line {line}: the meta-command `{text}` is refused: a dump has no need of it, and psql would run it on this machine"
    )]
    MetaCommand { line: u64, text: String },
    #[error("line {line}: `{word}` is refused: a restore is one transaction, which the script may not end")]
    Transaction { line: u64, word: String },
    #[error(
        "line {line}: `{statement}` is refused: it acts on the whole server, and a restore fills one database; make the dump \
         of one database, without `--create`"
    )]
    Server { line: u64, statement: String },
    #[error("line {line}: the script turns standard strings off, after which its quotes cannot be told")]
    Strings { line: u64 },
    #[error("line {line}: what follows here cannot be told as psql would tell it")]
    Unclear { line: u64 },
    #[error("the script ends inside {inside}")]
    Unfinished { inside: &'static str },
}

/// What is asked of a script.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rules {
    /// It runs inside a transaction of ours.
    pub(crate) in_transaction: bool,
    /// The server is older than 17.
    pub(crate) drop_transaction_timeout: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Code,
    /// A line that may be dropped or refused whole.
    Held,
    Quoted {
        escapes: bool,
    },
    QuotedEnd {
        escapes: bool,
    },
    QuotedEscape,
    Name,
    LineComment,
    BlockComment {
        depth: u32,
        last: u8,
    },
    DollarTag,
    Dollar {
        matched: usize,
    },
    /// The rest of the line on which a COPY ended, which psql runs after the rows.
    CopyLine,
    /// Rows of a COPY. How much of `\.` the line has had; `None` once it is another line.
    Copy {
        ends: Option<u8>,
    },
}

/// Reads a script piece by piece.
#[derive(Debug)]
pub(crate) struct Script {
    rules: Rules,
    state: State,
    line: u64,
    /// The byte before, in code.
    last: u8,
    line_start: bool,
    held: Vec<u8>,
    tag: Vec<u8>,
    word: Vec<u8>,
    words: Vec<String>,
    /// Those that psql counts: words outside of quotes that are no numbers, as many as it looks at.
    identifiers: Vec<String>,
    copy_from: bool,
    copy_stdin: bool,
    parentheses: u32,
    /// Depth of `BEGIN ATOMIC … END` in the body of a function.
    body: u32,
}

impl Script {
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            rules,
            state: State::Code,
            line: 1,
            last: b'\n',
            line_start: true,
            held: Vec::new(),
            tag: Vec::new(),
            word: Vec::new(),
            words: Vec::new(),
            identifiers: Vec::new(),
            copy_from: false,
            copy_stdin: false,
            parentheses: 0,
            body: 0,
        }
    }

    /// Reads on, and adds to `out` what is to be passed on.
    pub(crate) fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), ScriptError> {
        let mut at = 0;
        while at < input.len() {
            at += self.stretch(&input[at..], out);
            let Some(&byte) = input.get(at) else { break };
            at += 1;
            self.step(byte, out)?;
        }
        Ok(())
    }

    /// The end of the script.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), ScriptError> {
        if self.state == State::Held {
            self.release(out)?;
        }
        let inside = match self.state {
            State::Code | State::LineComment => {
                self.end_word()?;
                if self.words.is_empty() {
                    return Ok(());
                }
                "a statement"
            }
            State::QuotedEnd { .. } => "a statement",
            State::Copy { .. } | State::CopyLine => "the rows of a COPY",
            State::BlockComment { .. } => "a comment",
            _ => "a quoted text",
        };
        Err(ScriptError::Unfinished { inside })
    }

    /// Copies what cannot change the state: rows up to a line's end, texts up to a quote.
    fn stretch(&mut self, input: &[u8], out: &mut Vec<u8>) -> usize {
        let length = match &self.state {
            State::Copy { ends: None } | State::LineComment => memchr::memchr(b'\n', input),
            State::Quoted { escapes: false } => memchr::memchr2(b'\'', b'\n', input),
            State::Dollar { matched: 0 } => memchr::memchr2(b'$', b'\n', input),
            _ => return 0,
        };
        let length = length.unwrap_or(input.len());
        out.extend_from_slice(&input[..length]);
        length
    }

    fn step(&mut self, byte: u8, out: &mut Vec<u8>) -> Result<(), ScriptError> {
        if self.state == State::Held {
            return self.hold(byte, out);
        }
        self.settle(byte);
        if self.state == State::Code && self.begins_held(byte) {
            self.state = State::Held;
            self.held.push(byte);
            return Ok(());
        }
        self.put(byte, out)
    }

    fn put(&mut self, byte: u8, out: &mut Vec<u8>) -> Result<(), ScriptError> {
        self.advance(byte)?;
        out.push(byte);
        self.line += u64::from(byte == b'\n');
        self.line_start = byte == b'\n';
        Ok(())
    }

    /// A quote that is not doubled has ended, and a dollar that begins no tag is one: both are known a byte later.
    fn settle(&mut self, byte: u8) {
        match self.state {
            State::QuotedEnd { .. } if byte != b'\'' => {
                self.state = State::Code;
                self.last = b'\'';
            }
            State::DollarTag if byte != b'$' && !self.goes_on_tag(byte) => {
                self.state = State::Code;
                self.word = self.tag.split_off(1);
                self.last = b'$';
            }
            _ => {}
        }
    }

    fn goes_on_tag(&self, byte: u8) -> bool {
        let first = self.tag.len() == 1;
        byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80 || (!first && byte.is_ascii_digit())
    }

    fn begins_held(&self, byte: u8) -> bool {
        let statement_start = self.words.is_empty() && self.word.is_empty();
        byte == b'\\' || (byte == b'S' && self.line_start && statement_start)
    }

    fn hold(&mut self, byte: u8, out: &mut Vec<u8>) -> Result<(), ScriptError> {
        self.held.push(byte);
        let is_command = self.held[0] == b'\\';
        if byte == b'\n' || self.held.len() >= LONGEST_HELD {
            return self.release(out);
        }
        // Any other setting is let go as soon as it is known to be another.
        if !is_command && !TRANSACTION_TIMEOUT.starts_with(&self.held) {
            return self.release(out);
        }
        Ok(())
    }

    fn release(&mut self, out: &mut Vec<u8>) -> Result<(), ScriptError> {
        let held = mem::take(&mut self.held);
        self.state = State::Code;
        let line = held.trim_ascii();
        if held[0] == b'\\' {
            if self.line_start && self.words.is_empty() && is_restriction(line) {
                // The line's end stays, so that places in errors fit the file.
                return self.pass(b"\n", out);
            }
            let text = String::from_utf8_lossy(line)
                .chars()
                .take(60)
                .flat_map(char::escape_debug)
                .collect();
            return Err(ScriptError::MetaCommand { line: self.line, text });
        }
        if self.rules.drop_transaction_timeout && line == TRANSACTION_TIMEOUT {
            return self.pass(b"\n", out);
        }
        self.pass(&held, out)
    }

    /// Bytes that were held back, taken as ordinary code.
    fn pass(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), ScriptError> {
        for (index, &byte) in bytes.iter().enumerate() {
            self.settle(byte);
            if self.state == State::Code && byte == b'\\' {
                self.state = State::Held;
                self.held = bytes[index..].to_vec();
                return self.release(out);
            }
            self.put(byte, out)?;
        }
        Ok(())
    }

    fn advance(&mut self, byte: u8) -> Result<(), ScriptError> {
        match mem::replace(&mut self.state, State::Code) {
            State::Code | State::Held => return self.code(byte),
            State::QuotedEnd { escapes } => self.state = State::Quoted { escapes },
            State::Quoted { escapes } => {
                self.state = match byte {
                    b'\'' => State::QuotedEnd { escapes },
                    b'\\' if escapes => State::QuotedEscape,
                    _ => State::Quoted { escapes },
                }
            }
            State::QuotedEscape => self.state = State::Quoted { escapes: true },
            State::Name => {
                if byte != b'"' {
                    self.state = State::Name;
                }
                self.last = b'"';
            }
            State::LineComment => {
                if byte != b'\n' {
                    self.state = State::LineComment;
                }
                self.last = byte;
            }
            State::BlockComment { depth, last } => self.comment(byte, depth, last),
            State::DollarTag => {
                self.tag.push(byte);
                self.state = match byte {
                    b'$' => State::Dollar { matched: 0 },
                    _ => State::DollarTag,
                };
            }
            State::CopyLine => match byte {
                b'\n' => self.state = State::Copy { ends: Some(0) },
                b' ' | b'\t' | b'\r' => self.state = State::CopyLine,
                _ => return Err(ScriptError::Unclear { line: self.line }),
            },
            State::Dollar { matched } => self.dollar(byte, matched),
            State::Copy { ends } => self.copy(byte, ends),
        }
        Ok(())
    }

    fn comment(&mut self, byte: u8, depth: u32, last: u8) {
        let depth = match (last, byte) {
            (b'/', b'*') => depth + 1,
            (b'*', b'/') => depth - 1,
            _ => {
                self.state = State::BlockComment { depth, last: byte };
                return;
            }
        };
        if depth > 0 {
            self.state = State::BlockComment { depth, last: 0 };
        }
        self.last = b' ';
    }

    fn code(&mut self, byte: u8) -> Result<(), ScriptError> {
        let last = mem::replace(&mut self.last, byte);
        if byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80 {
            if self.word.len() < LONGEST_WORD {
                self.word.push(byte.to_ascii_lowercase());
            }
            return Ok(());
        }
        match byte {
            // Part of a name: `a$1`. After a number, versions of psql differ.
            b'$' if self.word.first().is_some_and(u8::is_ascii_digit) => {
                return Err(ScriptError::Unclear { line: self.line });
            }
            b'$' if !self.word.is_empty() => {
                if self.word.len() < LONGEST_WORD {
                    self.word.push(byte);
                }
                return Ok(());
            }
            b'\'' => {
                let escapes = self.word == b"e";
                self.word.clear();
                self.state = State::Quoted { escapes };
                self.mark();
                return Ok(());
            }
            _ => self.end_word()?,
        }
        match byte {
            b'"' => {
                self.state = State::Name;
                self.mark();
            }
            b'$' => {
                self.tag = vec![b'$'];
                self.state = State::DollarTag;
                self.mark();
            }
            b'-' if last == b'-' => self.state = State::LineComment,
            b'*' if last == b'/' => self.state = State::BlockComment { depth: 1, last: 0 },
            b'(' => self.parentheses += 1,
            b')' => self.parentheses = self.parentheses.saturating_sub(1),
            b';' if self.parentheses == 0 && self.body == 0 => self.end_statement()?,
            _ => {}
        }
        Ok(())
    }

    fn dollar(&mut self, byte: u8, matched: usize) {
        let matched = if byte == self.tag[matched] {
            matched + 1
        } else {
            usize::from(byte == b'$')
        };
        if matched == self.tag.len() {
            self.last = b'$';
        } else {
            self.state = State::Dollar { matched };
        }
    }

    fn copy(&mut self, byte: u8, ends: Option<u8>) {
        self.state = match (ends, byte) {
            (Some(2), b'\n') => {
                self.last = byte;
                State::Code
            }
            (_, b'\n') => State::Copy { ends: Some(0) },
            (Some(0), b'\\') => State::Copy { ends: Some(1) },
            (Some(1), b'.') | (Some(2), b'\r') => State::Copy { ends: Some(2) },
            _ => State::Copy { ends: None },
        };
    }
}

/// `\restrict KEY`, `\unrestrict KEY`: what `pg_dump` itself writes.
fn is_restriction(line: &[u8]) -> bool {
    let key = line
        .strip_prefix(b"\\restrict ")
        .or_else(|| line.strip_prefix(b"\\unrestrict "));
    key.is_some_and(|key| !key.is_empty() && key.iter().all(u8::is_ascii_alphanumeric))
}

#[cfg(test)]
mod tests;
