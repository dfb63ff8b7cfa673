//! Bytes on their way from one stage of a pipeline to the next: bounded, with an explicit end.
//!
//! A stage that merely goes away (a task that was dropped, a thread that panicked) must never look like the end of the
//! data, or a dump that was cut short would be encrypted to a perfect file. So the end is said, and a channel that closes
//! without it is a failure.

use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use jm_step::StepError;
use tokio::sync::mpsc;

use crate::openpgp::{OpenError, SourceFailure};

/// What a stage hands on at once.
pub(crate) const CHUNK: usize = 256 * 1024;
/// So many chunks wait between two stages.
const DEPTH: usize = 4;

/// Why a flow broke.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The content is not what it should be: another copy may be.
    Content(OpenError),
    /// The place where it lies does not give it: another place may.
    Source(StepError),
    /// Something else went wrong.
    Step(StepError),
}

impl Failure {
    /// The error of whoever has no other copy.
    pub(crate) fn into_error(self) -> StepError {
        match self {
            Self::Step(error) | Self::Source(error) => error,
            Self::Content(error) => StepError::failed(error.to_string()),
        }
    }
}

impl From<StepError> for Failure {
    fn from(error: StepError) -> Self {
        Self::Step(error)
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        Self::Content(error)
    }
}

enum Message {
    Bytes(Bytes),
    End,
    Failed(Failure),
}

/// The receiving side.
pub(crate) struct Flow {
    receiver: mpsc::Receiver<Message>,
    /// What was looked at already.
    peeked: Option<Bytes>,
}

/// The sending side. Dropped without [`FlowSender::end`], the flow has failed.
#[derive(Clone)]
pub(crate) struct FlowSender(mpsc::Sender<Message>);

/// The receiver has gone away.
#[derive(Debug)]
pub(crate) struct Gone;

/// Makes a flow.
pub(crate) fn flow() -> (FlowSender, Flow) {
    let (sender, receiver) = mpsc::channel(DEPTH);
    let flow = Flow { receiver, peeked: None };
    (FlowSender(sender), flow)
}

impl FlowSender {
    pub(crate) async fn send(&self, bytes: Bytes) -> Result<(), Gone> {
        self.0.send(Message::Bytes(bytes)).await.map_err(|_| Gone)
    }

    /// All has been sent.
    pub(crate) async fn end(self) -> Result<(), Gone> {
        self.0.send(Message::End).await.map_err(|_| Gone)
    }

    pub(crate) async fn fail(self, failure: impl Into<Failure>) {
        // A receiver that is gone has no use for the reason.
        drop(self.0.send(Message::Failed(failure.into())).await);
    }

    /// Completes when the receiver has gone away. Whoever waits for something else waits for this too, so that work that
    /// was given up ends, up to the program at the beginning of the pipeline.
    pub(crate) async fn closed(&self) {
        self.0.closed().await;
    }

    fn send_blocking(&self, bytes: Bytes) -> Result<(), Gone> {
        self.0.blocking_send(Message::Bytes(bytes)).map_err(|_| Gone)
    }

    fn close_blocking(self, result: Result<(), Failure>) {
        let last = match result {
            Ok(()) => Message::End,
            Err(failure) => Message::Failed(failure),
        };
        drop(self.0.blocking_send(last));
    }
}

impl Flow {
    /// The next bytes; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        if let Some(bytes) = self.peeked.take() {
            return Ok(Some(bytes));
        }
        match self.receiver.recv().await {
            Some(Message::Bytes(bytes)) => Ok(Some(bytes)),
            Some(Message::End) => Ok(None),
            Some(Message::Failed(failure)) => Err(failure),
            None => Err(vanished().into()),
        }
    }

    /// At least this many of the first bytes, fewer where there are fewer. They are still to come.
    pub(crate) async fn peek(&mut self, length: usize) -> Result<Bytes, Failure> {
        let mut start = Vec::new();
        let mut chunks = 0;
        while start.len() < length {
            let Some(bytes) = self.next().await? else {
                return self.peeked_end(start).await;
            };
            chunks += 1;
            if chunks == 1 && bytes.len() >= length {
                self.peeked = Some(bytes.clone());
                return Ok(bytes);
            }
            start.extend_from_slice(&bytes);
        }
        let start = Bytes::from(start);
        self.peeked = Some(start.clone());
        Ok(start)
    }

    /// A flow that ended while it was looked at: what came of it, and its end, come once more.
    async fn peeked_end(&mut self, start: Vec<u8>) -> Result<Bytes, Failure> {
        let (sender, again) = flow();
        // One place in the channel is enough for the end.
        drop(sender.end().await);
        let start = Bytes::from(start);
        *self = Self {
            peeked: Some(start.clone()).filter(|start| !start.is_empty()),
            ..again
        };
        Ok(start)
    }

    /// Reads to the end, for nothing but the errors.
    pub(crate) async fn drain(mut self) -> Result<u64, Failure> {
        let mut bytes = 0;
        while let Some(chunk) = self.next().await? {
            bytes += chunk.len() as u64;
        }
        Ok(bytes)
    }
}

fn vanished() -> StepError {
    StepError::cancelled("the work was given up")
}

/// Gives every chunk to `see` on its way; `done` may turn the end into a failure.
pub(crate) fn tap<S, D>(mut input: Flow, mut see: S, done: D) -> Flow
where
    S: FnMut(&Bytes) + Send + 'static,
    D: FnOnce() -> Result<(), Failure> + Send + 'static,
{
    let (sender, output) = flow();
    tokio::spawn(async move {
        loop {
            let next = tokio::select! {
                next = input.next() => next,
                () = sender.closed() => return,
            };
            match next {
                Ok(Some(bytes)) => {
                    see(&bytes);
                    if sender.send(bytes).await.is_err() {
                        return;
                    }
                }
                Ok(None) => break,
                Err(failure) => return sender.fail(failure).await,
            }
        }
        match done() {
            Ok(()) => drop(sender.end().await),
            Err(failure) => sender.fail(failure).await,
        }
    });
    output
}

/// Passes a flow through blocking code: `open` makes a reader of what comes in, and what that reader gives goes on.
pub(crate) fn through<F, R>(input: Flow, open: F) -> Flow
where
    F: FnOnce(FlowReader) -> io::Result<R> + Send + 'static,
    R: Read,
{
    let (sender, output) = flow();
    let runtime = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || {
        let slot = Arc::new(Mutex::new(None));
        let reader = FlowReader {
            input,
            current: Bytes::new(),
            ended: false,
            failure: Arc::clone(&slot),
            onward: sender.clone(),
            runtime,
        };
        let result = open(reader).and_then(|reader| copy(reader, &sender));
        let failure = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        sender.close_blocking(result.map_err(|error| failure.unwrap_or_else(|| explain(error))));
    });
    output
}

/// Hands a flow to blocking code, which has read it to its end when it says so: what is left after that is read too, so that
/// the end of the flow is proven.
pub(crate) async fn consume<T, F>(input: Flow, read: F) -> Result<T, Failure>
where
    F: FnOnce(&mut FlowReader) -> io::Result<T> + Send + 'static,
    T: Send + 'static,
{
    let (told, result) = tokio::sync::oneshot::channel();
    let read = through(input, move |mut reader| {
        let value = read(&mut reader)?;
        io::copy(&mut reader, &mut io::sink())?;
        // Whoever waits for it has the flow, which is not at its end before this returns.
        drop(told.send(value));
        Ok(io::empty())
    });
    read.drain().await?;
    result.await.map_err(|_| vanished().into())
}

/// Sends what blocking code writes, and says the end once all is written.
pub(crate) async fn produce<F>(sender: FlowSender, write: F) -> Result<(), StepError>
where
    F: FnOnce(&mut FlowWriter) -> Result<(), StepError> + Send + 'static,
{
    let work = tokio::task::spawn_blocking(move || {
        let mut writer = FlowWriter {
            sender,
            buffer: Vec::with_capacity(CHUNK),
        };
        write(&mut writer)?;
        writer.close().map_err(|Gone| nobody_takes_it())
    });
    work.await
        .map_err(|error| StepError::failed("a stage of the pipeline failed").source(error))?
}

/// What is told where a receiver went away, whose own outcome says why.
pub(crate) fn nobody_takes_it() -> StepError {
    StepError::failed("no location takes the backup any more")
}

/// A flow as a blocking writer. Dropped without its end being said, the flow has failed.
pub(crate) struct FlowWriter {
    sender: FlowSender,
    buffer: Vec<u8>,
}

impl FlowWriter {
    fn close(mut self) -> Result<(), Gone> {
        self.hand_on()?;
        self.sender.close_blocking(Ok(()));
        Ok(())
    }

    fn hand_on(&mut self) -> Result<(), Gone> {
        let full = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK));
        self.sender.send_blocking(Bytes::from(full))
    }
}

impl Write for FlowWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = CHUNK - self.buffer.len();
        let count = bytes.len().min(room);
        self.buffer.extend_from_slice(&bytes[..count]);
        if self.buffer.len() == CHUNK {
            self.hand_on().map_err(|Gone| io::Error::other(nobody_takes_it()))?;
        }
        Ok(count)
    }

    /// What is in the buffer goes on when it is full, or at the end: a smaller piece would cost as much.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn explain(error: io::Error) -> Failure {
    match OpenError::of(&error) {
        Some(content) => Failure::Content(content),
        None => Failure::Step(StepError::failed("a stage of the pipeline failed").source(error)),
    }
}

fn copy(mut reader: impl Read, sender: &FlowSender) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = match reader.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        if count == 0 {
            return Ok(());
        }
        sender
            .send_blocking(Bytes::copy_from_slice(&buffer[..count]))
            .map_err(|_| io::Error::other("nobody reads on"))?;
    }
}

/// A flow as a blocking reader. A failure is kept aside, since what reads from this knows only I/O errors.
pub(crate) struct FlowReader {
    input: Flow,
    current: Bytes,
    ended: bool,
    failure: Arc<Mutex<Option<Failure>>>,
    onward: FlowSender,
    runtime: tokio::runtime::Handle,
}

impl FlowReader {
    fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        self.runtime.block_on(async {
            tokio::select! {
                next = self.input.next() => next,
                () = self.onward.closed() => Err(vanished().into()),
            }
        })
    }
}

impl std::fmt::Debug for FlowReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FlowReader")
    }
}

impl Read for FlowReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !self.ended {
            match self.next() {
                Ok(Some(bytes)) => self.current = bytes,
                Ok(None) => self.ended = true,
                Err(failure) => {
                    *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
                    return Err(io::Error::other(SourceFailure("the source failed".to_owned())));
                }
            }
        }
        let count = self.current.len().min(buf.len());
        buf[..count].copy_from_slice(&self.current.split_to(count));
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sender_that_goes_away_is_no_end() {
        let (sender, mut flow) = flow();
        sender.send(Bytes::from_static(b"a")).await.expect("room");
        drop(sender);
        assert_eq!(flow.next().await.expect("bytes").as_deref(), Some(&b"a"[..]));
        assert!(matches!(flow.next().await, Err(Failure::Step(_))));
    }

    #[tokio::test]
    async fn a_failure_passes_through_blocking_code_unchanged() {
        let (sender, input) = flow();
        let output = through(input, Ok);
        sender.send(Bytes::from_static(b"a")).await.expect("room");
        sender.fail(StepError::denied("no")).await;
        match output.drain().await {
            Err(Failure::Step(error)) => assert_eq!(error.message(), "no"),
            other => panic!("{other:?}"),
        }
    }
}
