//! From a stream into a file: one side receives while the other hashes and writes, and what was written goes to the disk
//! meanwhile, so that neither waits for the other, and the last sync is short.

#![expect(clippy::disallowed_types, reason = "what is received is written to a file")]

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::StreamExt;
use jm_client_s3::{ObjectStream, unwrap_step_error};
use jm_step::StepError;
use tokio::sync::mpsc;

use crate::file::{self, Sums};

/// Chunks that wait between the two sides; a store sends them in some tens of kilobytes.
const WAITING: usize = 64;
/// What is written at once.
const PIECE: usize = 1 << 20;
/// After so many bytes, what there is goes to the disk in the background.
const SYNC_EVERY: u64 = 64 << 20;

enum Message {
    Bytes(Bytes),
    /// All of it came: a side that merely went away must not look like that.
    End,
}

/// Writes a stream to a file, from where that stands, and adds it to the sums, and each byte to `done`. Where the stream breaks off, the file holds some beginning of it.
pub(crate) async fn receive(
    stream: ObjectStream,
    file: File,
    path: &Path,
    sums: Sums,
    done: Arc<AtomicU64>,
) -> Result<Sums, StepError> {
    let (sender, receiver) = mpsc::channel(WAITING);
    let path = path.to_owned();
    let written = tokio::task::spawn_blocking(move || write(receiver, file, &path, sums, &done));
    let received = pass_on(stream, sender).await;
    let written = written
        .await
        .map_err(|error| StepError::failed("writing the file was ended").source(error))?;
    // A disk that takes no more says why the other side had nobody to pass on to.
    match (received, written) {
        (_, Err(error)) | (Err(error), _) => Err(error),
        (Ok(()), Ok(sums)) => Ok(sums),
    }
}

async fn pass_on(stream: ObjectStream, sender: mpsc::Sender<Message>) -> Result<(), StepError> {
    let mut chunks = stream.into_stream();
    while let Some(chunk) = chunks.next().await {
        let bytes = chunk.map_err(unwrap_step_error)?;
        if sender.send(Message::Bytes(bytes)).await.is_err() {
            return Ok(());
        }
    }
    // Where nobody takes it, the other side has failed, and says so.
    drop(sender.send(Message::End).await);
    Ok(())
}

fn write(
    mut receiver: mpsc::Receiver<Message>,
    file: File,
    path: &Path,
    mut sums: Sums,
    done: &AtomicU64,
) -> Result<Sums, StepError> {
    let failed = |error| file::failed("write", path, error);
    let mut background = Background::new(path);
    let mut file = BufWriter::with_capacity(PIECE, file);
    while let Some(message) = receiver.blocking_recv() {
        let bytes = match message {
            Message::Bytes(bytes) => bytes,
            Message::End => {
                file.flush().map_err(failed)?;
                background.wait()?;
                return Ok(sums);
            }
        };
        file.write_all(&bytes).map_err(failed)?;
        sums.update(&bytes);
        let count = bytes.len() as u64;
        done.fetch_add(count, Ordering::Relaxed);
        background.written(count, file.get_ref())?;
    }
    // Given up: what is in the buffer may not be written any more, for another attempt may write there by now.
    drop(file.into_parts());
    background.wait()?;
    Ok(sums)
}

/// Syncs in a thread of its own, one sync at a time.
struct Background<'p> {
    path: &'p Path,
    under_way: Option<std::thread::JoinHandle<io::Result<()>>>,
    /// Bytes that were written since it began.
    since: u64,
}

impl<'p> Background<'p> {
    fn new(path: &'p Path) -> Self {
        Self {
            path,
            under_way: None,
            since: 0,
        }
    }

    /// So many bytes more are written now.
    fn written(&mut self, bytes: u64, file: &File) -> Result<(), StepError> {
        self.since += bytes;
        let is_busy = self.under_way.as_ref().is_some_and(|sync| !sync.is_finished());
        if self.since < SYNC_EVERY || is_busy {
            return Ok(());
        }
        self.wait()?;
        self.since = 0;
        let file = file
            .try_clone()
            .map_err(|error| file::failed("write", self.path, error))?;
        self.under_way = Some(std::thread::spawn(move || file.sync_data()));
        Ok(())
    }

    /// What a sync could not write is lost to every later one, which would not tell.
    fn wait(&mut self) -> Result<(), StepError> {
        let Some(sync) = self.under_way.take() else {
            return Ok(());
        };
        let synced = sync
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the sync was ended")));
        synced.map_err(|error| file::failed("write", self.path, error))
    }
}
