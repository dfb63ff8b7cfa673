//! A large file goes straight to its disk, past the memory that the kernel keeps files in: what is written is on the disk
//! with little left for the last sync, costs one copy less, and drives nothing out of the memory of whatever else runs
//! here.

#![expect(clippy::disallowed_types, reason = "what is received is written to a file")]

use std::fs::File;
use std::io::{self, Write};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use tokio::sync::mpsc::Sender;

/// What is written at once.
const PIECE: usize = 2 << 20;
/// Where a disk's blocks begin, in the file and in memory. Few have larger ones, and those say so.
const BLOCK: usize = 4096;

/// A piece of a file, in memory that begins where a block may.
pub(crate) struct Piece {
    memory: Vec<u8>,
    from: usize,
    filled: usize,
    size: usize,
}

impl Piece {
    pub(crate) fn new() -> Self {
        Self::of(PIECE)
    }

    /// The first piece from some place in the file on: no larger than all that is expected, and so that the next one begins
    /// with a block.
    pub(crate) fn first(at: u64, expected: u64) -> Self {
        let to_block = usize::try_from(at % BLOCK as u64).unwrap_or(0);
        let size = usize::try_from(expected).map_or(PIECE, |expected| expected.clamp(BLOCK, PIECE));
        Self {
            size: size - to_block,
            ..Self::of(size)
        }
    }

    fn of(size: usize) -> Self {
        let memory = vec![0; size + BLOCK];
        Self {
            from: memory.as_ptr().align_offset(BLOCK).min(BLOCK),
            memory,
            filled: 0,
            size,
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.filled == self.size
    }

    /// Takes what there is room for, and gives back the rest.
    pub(crate) fn fill<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let (now, rest) = bytes.split_at(bytes.len().min(self.size - self.filled));
        let at = self.from + self.filled;
        self.memory[at..at + now.len()].copy_from_slice(now);
        self.filled += now.len();
        rest
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.memory[self.from..self.from + self.filled]
    }

    fn clear(&mut self) {
        self.filled = 0;
        self.size = self.memory.len() - BLOCK;
    }
}

/// Writes a file piece by piece, in a thread of its own where there are several.
pub(crate) struct Writer {
    to: To,
    written: Sender<Piece>,
}

enum To {
    /// Until there is more than one piece: a small file is written in the usual way.
    File(Straight),
    Thread(Thread),
    /// It said how it ended.
    Over,
}

impl Writer {
    /// Writes from where the file stands, and gives back the pieces that are written.
    pub(crate) fn new(file: File, at: u64, written: Sender<Piece>) -> Self {
        Self {
            to: To::File(Straight::new(file, at)),
            written,
        }
    }

    /// Writes a piece after which others come. An error may be of an earlier one.
    pub(crate) fn write(&mut self, piece: Piece) -> io::Result<()> {
        let thread = match std::mem::replace(&mut self.to, To::Over) {
            To::File(file) => Thread::start(file, self.written.clone()),
            To::Thread(thread) => thread,
            To::Over => return Err(io::Error::other("the file was given up")),
        };
        if thread.full.send(piece).is_err() {
            return thread.end().and(Err(io::Error::other("the writing was ended")));
        }
        self.to = To::Thread(thread);
        Ok(())
    }

    /// Writes the last piece, when all others are written.
    pub(crate) fn finish(mut self, piece: &Piece) -> io::Result<()> {
        let mut file = match std::mem::replace(&mut self.to, To::Over) {
            To::File(file) => file,
            To::Thread(thread) => thread.end()?,
            To::Over => return Err(io::Error::other("the file was given up")),
        };
        file.write(piece.bytes())
    }
}

impl Drop for Writer {
    /// Given up: what is not written yet is not written any more, for another attempt may write there soon.
    fn drop(&mut self) {
        if let To::Thread(thread) = std::mem::replace(&mut self.to, To::Over) {
            drop(thread.end());
        }
    }
}

/// The one that writes. It takes a piece when it has written the one before, so that none ever waits unseen.
struct Thread {
    full: SyncSender<Piece>,
    handle: JoinHandle<io::Result<Straight>>,
}

impl Thread {
    fn start(mut file: Straight, written: Sender<Piece>) -> Self {
        let (full, to_write) = sync_channel::<Piece>(0);
        let handle = std::thread::spawn(move || {
            file.go_straight();
            for mut piece in to_write {
                file.write(piece.bytes())?;
                piece.clear();
                // Nobody takes it where nothing more comes.
                drop(written.try_send(piece));
            }
            Ok(file)
        });
        Self { full, handle }
    }

    fn end(self) -> io::Result<Straight> {
        drop(self.full);
        let ended = self.handle.join();
        ended.unwrap_or_else(|_| Err(io::Error::other("the writing was ended")))
    }
}

/// A file that is written straight where that is possible.
struct Straight {
    file: File,
    at: u64,
    /// What the file is opened with when it is written in the usual way; `None` where that is all it can.
    usual: Option<OFlags>,
    is_straight: bool,
}

impl Straight {
    fn new(file: File, at: u64) -> Self {
        Self {
            file,
            at,
            usual: None,
            is_straight: false,
        }
    }

    fn go_straight(&mut self) {
        self.usual = fcntl_getfl(&self.file).ok();
    }

    /// Whole blocks go straight; what is before the first or behind the last one does not.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let is_block = self.at.is_multiple_of(BLOCK as u64);
        let blocks = if is_block { bytes.len() - bytes.len() % BLOCK } else { 0 };
        let (straight, usual) = bytes.split_at(blocks);
        if !straight.is_empty() {
            self.set(true);
            self.write_all(straight)?;
        }
        if !usual.is_empty() {
            self.set(false);
            self.write_all(usual)?;
        }
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.file.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Its blocks are larger, or it stopped within one.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput && self.is_straight => {
                    self.set(false);
                    self.usual = None;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn set(&mut self, straight: bool) {
        let Some(usual) = self.usual.filter(|_| straight != self.is_straight) else {
            return;
        };
        let flags = if straight { usual | OFlags::DIRECT } else { usual };
        match fcntl_setfl(&self.file, flags) {
            Ok(()) => self.is_straight = straight,
            // The file system knows no such thing.
            Err(_) => self.usual = None,
        }
    }
}

#[cfg(test)]
mod tests;
