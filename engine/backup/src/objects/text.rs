//! The lines of an export.

use bytes::{Buf, Bytes};
use jm_step::StepError;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::damaged;
use crate::flow::{Failure, Flow};

const SEPARATOR: &[u8] = b"---\n";
const END: &str = "# end: ";
/// etcd takes requests of a megabyte and a half; an object of more than this is none.
const LONGEST: usize = 64 << 20;

/// Writes an object as a YAML document of one line.
pub(super) fn append(buffer: &mut Vec<u8>, object: &Value) -> Result<(), StepError> {
    let text = serde_json::to_string(object)
        .map_err(|error| StepError::failed("an object cannot be written as JSON").source(error))?;
    buffer.extend_from_slice(SEPARATOR);
    let mut rest = text.as_str();
    // All of JSON is YAML but for characters that JSON may hold as they are. They stand in strings only.
    while let Some(at) = rest.find(is_refused) {
        buffer.extend_from_slice(&rest.as_bytes()[..at]);
        let refused = rest[at..].chars().next().map_or(0, u32::from);
        buffer.extend_from_slice(format!("\\u{refused:04x}").as_bytes());
        rest = &rest[at + char::from_u32(refused).map_or(1, char::len_utf8)..];
    }
    buffer.extend_from_slice(rest.as_bytes());
    buffer.push(b'\n');
    Ok(())
}

fn is_refused(c: char) -> bool {
    matches!(
        c,
        '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
    )
}

/// The last line.
pub(super) fn close(buffer: &mut Vec<u8>, count: u64) {
    buffer.extend_from_slice(format!("{END}{count} objects\n").as_bytes());
}

/// A flow, line by line.
pub(super) struct Lines {
    flow: Flow,
    rest: Bytes,
    line: Vec<u8>,
    count: u64,
    told: Option<u64>,
}

impl Lines {
    pub(super) fn new(flow: Flow) -> Self {
        Self {
            flow,
            rest: Bytes::new(),
            line: Vec::new(),
            count: 0,
            told: None,
        }
    }

    /// The next object; `None` at the end, and only where all of them came.
    pub(super) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Failure> {
        while self.read_line().await? {
            let line = self.line.trim_ascii();
            if let Some(count) = line.strip_prefix(END.as_bytes()) {
                self.told = std::str::from_utf8(count)
                    .ok()
                    .and_then(|text| text.split(' ').next()?.parse().ok());
            }
            if line.is_empty() || line.starts_with(b"#") || line == b"---" {
                continue;
            }
            self.count += 1;
            let object = serde_json::from_slice(line)
                .map_err(|error| damaged(format!("object {} cannot be read: {error}", self.count)))?;
            return Ok(Some(object));
        }
        match self.told {
            Some(told) if told == self.count => Ok(None),
            Some(told) => Err(damaged(format!("it holds {} objects of {told}", self.count))),
            None => Err(damaged(
                "its last line, which tells how many objects there are, is missing",
            )),
        }
    }

    /// Whether there was a line.
    async fn read_line(&mut self) -> Result<bool, Failure> {
        self.line.clear();
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.rest) {
                self.line.extend_from_slice(&self.rest[..at]);
                self.rest.advance(at + 1);
                return Ok(true);
            }
            self.line.extend_from_slice(&self.rest);
            if self.line.len() > LONGEST {
                return Err(damaged("one of its lines is longer than any object"));
            }
            if let Some(bytes) = self.flow.next().await? {
                self.rest = bytes;
            } else {
                self.rest = Bytes::new();
                return Ok(!self.line.is_empty());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::flow::flow;
    use crate::objects::OPENING;

    async fn read(text: &[u8], chunk: usize) -> Result<Vec<Value>, Failure> {
        let (sender, content) = flow();
        let chunks: Vec<Bytes> = text.chunks(chunk).map(Bytes::copy_from_slice).collect();
        tokio::spawn(async move {
            for chunk in chunks {
                sender.send(chunk).await.expect("room");
            }
            sender.end().await.expect("room");
        });
        let mut lines = Lines::new(content);
        let mut objects = Vec::new();
        while let Some(object) = lines.next().await? {
            objects.push(object);
        }
        Ok(objects)
    }

    #[tokio::test]
    async fn what_is_written_is_read_however_it_is_cut() {
        let objects = [
            json!({ "kind": "ConfigMap", "data": { "a": "line\nline\u{7f}\u{2028}\u{85}ä\u{feff}" } }),
            json!({ "kind": "Secret" }),
        ];
        let mut text = OPENING.as_bytes().to_vec();
        for object in &objects {
            append(&mut text, object).expect("written");
        }
        assert!(
            !String::from_utf8(text.clone()).expect("text").contains(is_refused),
            "YAML knows none of them"
        );
        let mut whole = text.clone();
        close(&mut whole, 2);
        for chunk in [1, 7, 4096] {
            assert_eq!(read(&whole, chunk).await.expect("whole"), objects, "{chunk}");
        }
        assert!(
            matches!(read(&text, 100).await, Err(Failure::Content(_))),
            "no last line"
        );
        close(&mut text, 3);
        assert!(
            matches!(read(&text, 100).await, Err(Failure::Content(_))),
            "one is missing"
        );
    }
}
