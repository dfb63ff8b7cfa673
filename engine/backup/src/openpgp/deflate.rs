//! Raw deflate on several threads: each block of 1 MiB is compressed by itself and ends on a byte boundary (a sync
//! flush), so that the blocks joined are one deflate stream. Costs well under one percent of size.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use flate2::{Compress, Compression, FlushCompress};

use super::framing::read_full;

const BLOCK: usize = 1 << 20;
/// Fast, and close to what gpg's own level makes of SQL text.
const LEVEL: u32 = 2;

struct Job {
    block: Vec<u8>,
    last: bool,
    reply: SyncSender<io::Result<Vec<u8>>>,
}

/// A reader's bytes, compressed.
pub(crate) struct Deflate<R> {
    source: R,
    jobs: Sender<Job>,
    under_way: VecDeque<Receiver<io::Result<Vec<u8>>>>,
    most_under_way: usize,
    ended: bool,
    block: Vec<u8>,
    read: usize,
}

impl<R: Read> Deflate<R> {
    /// Compresses on so many threads, which end when this is dropped.
    pub(crate) fn new(source: R, threads: usize) -> Self {
        let (jobs, queue) = channel();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..threads {
            let queue = Arc::clone(&queue);
            std::thread::spawn(move || work(&queue));
        }
        Self {
            source,
            jobs,
            under_way: VecDeque::new(),
            most_under_way: threads + 1,
            ended: false,
            block: Vec::new(),
            read: 0,
        }
    }

    fn feed(&mut self) -> io::Result<()> {
        while !self.ended && self.under_way.len() < self.most_under_way {
            let mut block = vec![0; BLOCK];
            let length = read_full(&mut self.source, &mut block)?;
            block.truncate(length);
            self.ended = length < BLOCK;
            let (reply, answer) = sync_channel(1);
            let job = Job {
                block,
                last: self.ended,
                reply,
            };
            self.jobs.send(job).map_err(|_| gone())?;
            self.under_way.push_back(answer);
        }
        Ok(())
    }
}

impl<R: Read> Read for Deflate<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.read == self.block.len() {
            self.feed()?;
            let Some(next) = self.under_way.pop_front() else {
                return Ok(0);
            };
            self.block = next.recv().map_err(|_| gone())??;
            self.read = 0;
        }
        let rest = &self.block[self.read..];
        let count = rest.len().min(buf.len());
        buf[..count].copy_from_slice(&rest[..count]);
        self.read += count;
        Ok(count)
    }
}

fn gone() -> io::Error {
    io::Error::other("a compressing thread has ended")
}

fn work(queue: &Mutex<Receiver<Job>>) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        // A reader that is gone needs no answer.
        drop(job.reply.send(compress(&job.block, job.last)));
    }
}

fn compress(block: &[u8], last: bool) -> io::Result<Vec<u8>> {
    let mut deflate = Compress::new(Compression::new(LEVEL), false);
    let flush = if last {
        FlushCompress::Finish
    } else {
        FlushCompress::Sync
    };
    let mut out = Vec::with_capacity(block.len() / 3 + 1024);
    loop {
        let consumed = usize::try_from(deflate.total_in()).map_err(io::Error::other)?;
        deflate
            .compress_vec(&block[consumed..], &mut out, flush)
            .map_err(io::Error::other)?;
        if out.len() < out.capacity() {
            return Ok(out);
        }
        out.reserve(block.len() / 3 + 1024);
    }
}
