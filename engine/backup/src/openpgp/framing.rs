//! The frame of a packet whose length is not known when it begins: chunks of 64 KiB, then a last, shorter one.

use std::io::{self, Read};

/// Length of a chunk as a power of two.
const CHUNK_POWER: u8 = 16;
const CHUNK: usize = 1 << CHUNK_POWER;

/// OpenPGP packet types that are framed here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PacketTag {
    Compressed = 8,
    Literal = 11,
    SymEncryptedProtected = 18,
}

/// A reader's bytes as the body of a packet.
pub(super) struct Packet<R> {
    source: R,
    frame: Vec<u8>,
    read: usize,
    ended: bool,
}

impl<R: Read> Packet<R> {
    pub(super) fn new(tag: PacketTag, body: R) -> Self {
        Self {
            source: body,
            frame: vec![0xC0 | tag as u8],
            read: 0,
            ended: false,
        }
    }

    fn next_frame(&mut self) -> io::Result<()> {
        self.frame.clear();
        self.read = 0;
        if self.ended {
            return Ok(());
        }
        // Room for the longer of the two headers; a whole chunk needs one octet of the five.
        self.frame.resize(5 + CHUNK, 0);
        let length = read_full(&mut self.source, &mut self.frame[5..])?;
        if length == CHUNK {
            self.frame[4] = 0xE0 | CHUNK_POWER;
            self.read = 4;
        } else {
            self.ended = true;
            self.frame[0] = 0xFF;
            self.frame[1..5].copy_from_slice(&u32::try_from(length).map_err(io::Error::other)?.to_be_bytes());
            self.frame.truncate(5 + length);
        }
        Ok(())
    }
}

impl<R: Read> Read for Packet<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.read == self.frame.len() {
            self.next_frame()?;
        }
        let rest = &self.frame[self.read..];
        let count = rest.len().min(buf.len());
        buf[..count].copy_from_slice(&rest[..count]);
        self.read += count;
        Ok(count)
    }
}

/// Reads until the buffer is full or the source ends.
pub(crate) fn read_full(source: &mut impl Read, buf: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buf.len() {
        match source.read(&mut buf[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
