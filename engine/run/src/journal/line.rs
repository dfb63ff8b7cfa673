//! One line of a journal: a JSON object whose last member is the CRC32 of everything before it.

use super::{JournalError, MAX_RECORD, Record};

/// How every line begins.
pub(super) const BEGIN: &[u8] = b"{\"seq\":";

/// `,"crc":"` and eight hex digits and `"}`.
const TAIL: usize = 18;

/// Appends a record's line, its end included.
pub(super) fn encode(record: &Record, to: &mut Vec<u8>) -> Result<(), JournalError> {
    let start = to.len();
    serde_json::to_writer(&mut *to, record).expect("a record is made of JSON, and memory does not fail");
    to.pop();
    let crc = crc32fast::hash(&to[start..]);
    to.extend_from_slice(format!(",\"crc\":\"{crc:08x}\"}}\n").as_bytes());
    let bytes = to.len() - start;
    if bytes > MAX_RECORD {
        to.truncate(start);
        return Err(JournalError::TooLarge {
            kind: record.kind.name(),
            bytes,
        });
    }
    Ok(())
}

/// What a line turned out to be.
pub(super) enum Line {
    /// A record.
    Whole(Box<Record>),
    /// Not what was written.
    Bad,
    /// What was written, by a jm that knows more.
    Strange(String),
}

/// Reads a line, without its end.
pub(super) fn decode(line: &[u8]) -> Line {
    let Some(body) = line.len().checked_sub(TAIL).map(|end| &line[..end]) else {
        return Line::Bad;
    };
    let expected = format!(",\"crc\":\"{:08x}\"}}", crc32fast::hash(body));
    if &line[body.len()..] != expected.as_bytes() {
        return Line::Bad;
    }
    let mut object = body.to_vec();
    object.push(b'}');
    match serde_json::from_slice(&object) {
        Ok(record) => Line::Whole(Box::new(record)),
        Err(error) => Line::Strange(error.to_string()),
    }
}
