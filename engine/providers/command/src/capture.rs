//! Reading what a program prints: all of it into the log, the beginning or the end of it into memory.

use std::collections::VecDeque;

use jm_step::StepContext;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, BufReader};

/// A line that is longer is logged in pieces.
const LONGEST_LINE: usize = 8 * 1024;

/// What was printed, as far as it is kept.
#[derive(Debug, Default)]
pub(crate) struct Captured {
    pub(crate) bytes: Vec<u8>,
    /// Whether there was more.
    pub(crate) truncated: bool,
}

impl Captured {
    /// As text, with what is no text replaced and without the line end at its end.
    pub(crate) fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        text.strip_suffix("\r\n")
            .or(text.strip_suffix('\n'))
            .unwrap_or(&text)
            .to_owned()
    }
}

/// Reads to the end, keeps the first `most` bytes, and logs every line where there is a log. Dropped before the end, it
/// has kept what came so far.
pub(crate) async fn head(from: impl AsyncRead + Unpin, most: usize, log: Option<&StepContext>, kept: &mut Captured) {
    let mut from = BufReader::new(from);
    while let Some(piece) = next_piece(&mut from).await {
        let room = most - kept.bytes.len();
        kept.bytes.extend_from_slice(&piece[..piece.len().min(room)]);
        kept.truncated |= piece.len() > room;
        to_log(log, &piece).await;
    }
}

/// The same for the last `most` lines.
pub(crate) async fn tail(
    from: impl AsyncRead + Unpin,
    most: usize,
    log: Option<&StepContext>,
    kept: &mut VecDeque<String>,
) {
    let mut from = BufReader::new(from);
    while let Some(piece) = next_piece(&mut from).await {
        if kept.len() == most {
            kept.pop_front();
        }
        kept.push_back(line(&piece));
        to_log(log, &piece).await;
    }
}

/// A line with its end, or as much of it as is logged at once. A stream that breaks is at its end.
async fn next_piece(from: &mut (impl AsyncBufRead + Unpin)) -> Option<Vec<u8>> {
    let mut piece = Vec::new();
    loop {
        let buffer = from.fill_buf().await.ok()?;
        let end = buffer.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        let take = end.unwrap_or(buffer.len()).min(LONGEST_LINE - piece.len());
        piece.extend_from_slice(&buffer[..take]);
        from.consume(take);
        if take == 0 || piece.ends_with(b"\n") || piece.len() == LONGEST_LINE {
            return (!piece.is_empty()).then_some(piece);
        }
    }
}

async fn to_log(log: Option<&StepContext>, piece: &[u8]) {
    if let Some(cx) = log {
        cx.log(line(piece)).await;
    }
}

fn line(piece: &[u8]) -> String {
    String::from_utf8_lossy(piece).trim_end_matches(['\r', '\n']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn headed(from: &[u8]) -> (String, bool) {
        let mut kept = Captured::default();
        head(from, 6, None, &mut kept).await;
        (kept.text(), kept.truncated)
    }

    async fn tailed(from: &[u8], most: usize) -> VecDeque<String> {
        let mut kept = VecDeque::new();
        tail(from, most, None, &mut kept).await;
        kept
    }

    #[tokio::test]
    async fn the_head_is_bounded_and_says_so() {
        assert_eq!(headed(b"one\ntwo\nthree\n").await, ("one\ntw".to_owned(), true));
        assert_eq!(headed(b"one\r\n").await, ("one".to_owned(), false));
    }

    #[tokio::test]
    async fn the_tail_keeps_the_last_lines() {
        assert_eq!(tailed(b"one\ntwo\nthree", 2).await, ["two", "three"]);
        assert!(tailed(b"", 2).await.is_empty());
    }

    #[tokio::test]
    async fn a_line_without_end_does_not_fill_the_memory() {
        let lengths: Vec<usize> = tailed(&vec![b'x'; 3 * LONGEST_LINE + 1], 10)
            .await
            .iter()
            .map(String::len)
            .collect();
        assert_eq!(lengths, [LONGEST_LINE, LONGEST_LINE, LONGEST_LINE, 1]);
    }
}
