//! From a stream into a file: one side receives while another hashes and a third writes, so that none waits for another.

#![expect(clippy::disallowed_types, reason = "what is received is written to a file")]

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::StreamExt;
use jm_client_s3::{ObjectStream, unwrap_step_error};
use jm_step::StepError;
use tokio::sync::mpsc;

use crate::file::{self, Sums};
use crate::straight::{Piece, Writer};

/// So many pieces go round: one is filled, one is hashed, one is written, and one is on its way.
const PIECES: usize = 4;

enum Message {
    /// It is full.
    Piece(Piece),
    /// All of it came, and this is the last of it: a side that merely went away must not look like that.
    End(Piece),
}

/// Writes a stream to a file, from where that stands, and adds it to the sums, and each byte to `done`. Where the stream breaks off, the file holds some beginning of it.
pub(crate) async fn receive(
    stream: ObjectStream,
    file: File,
    path: &Path,
    sums: Sums,
    done: Arc<AtomicU64>,
) -> Result<Sums, StepError> {
    let (full, to_hash) = mpsc::channel(PIECES);
    let (written, empty) = mpsc::channel(PIECES);
    let path = path.to_owned();
    let first = Piece::first(sums.bytes(), stream.info().bytes);
    let writer = Writer::new(file, sums.bytes(), written);
    let writing = tokio::task::spawn_blocking(move || write(to_hash, writer, &path, sums));
    let received = pass_on(stream, first, full, empty, &done).await;
    let written = writing
        .await
        .map_err(|error| StepError::failed("writing the file was ended").source(error))?;
    // A disk that takes no more says why the other side had nobody to pass on to.
    match (received, written) {
        (_, Err(error)) | (Err(error), _) => Err(error),
        (Ok(()), Ok(sums)) => Ok(sums),
    }
}

async fn pass_on(
    stream: ObjectStream,
    first: Piece,
    full: mpsc::Sender<Message>,
    mut empty: mpsc::Receiver<Piece>,
    done: &AtomicU64,
) -> Result<(), StepError> {
    let mut chunks = stream.into_stream();
    let (mut piece, mut pieces) = (first, 1);
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(unwrap_step_error)?;
        // Each chunk, for a slow line takes minutes for a piece.
        done.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        let mut rest = &chunk[..];
        while !rest.is_empty() {
            if piece.is_full() {
                // Where nobody takes it, the other side has failed, and says so.
                if full.send(Message::Piece(piece)).await.is_err() {
                    return Ok(());
                }
                piece = if pieces < PIECES {
                    pieces += 1;
                    Piece::new()
                } else {
                    let Some(piece) = empty.recv().await else { return Ok(()) };
                    piece
                };
            }
            rest = piece.fill(rest);
        }
    }
    drop(full.send(Message::End(piece)).await);
    Ok(())
}

fn write(
    mut to_hash: mpsc::Receiver<Message>,
    mut writer: Writer,
    path: &Path,
    mut sums: Sums,
) -> Result<Sums, StepError> {
    let failed = |error| file::failed("write", path, error);
    while let Some(message) = to_hash.blocking_recv() {
        match message {
            Message::Piece(piece) => {
                sums.update(piece.bytes());
                writer.write(piece).map_err(failed)?;
            }
            Message::End(piece) => {
                sums.update(piece.bytes());
                writer.finish(&piece).map_err(failed)?;
                return Ok(sums);
            }
        }
    }
    // Given up, and so is what is not written yet.
    Ok(sums)
}
