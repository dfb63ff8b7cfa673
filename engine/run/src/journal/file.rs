//! The journal on disk: JSON Lines, one write and one sync for each batch, all by the thread that runs the dispatcher. It
//! has to wait for them in any case, and handing them to another thread costs more than a quick disk's sync.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this is the journal on disk"
)]

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::line::{BEGIN, Line, decode, encode};
use super::{FORMAT, Journal, JournalError, Record, RecordKind};

/// A journal that is open for writing. Holds the run's lock for as long as it lives.
#[derive(Debug)]
pub struct FileJournal {
    path: PathBuf,
    file: File,
    buffer: Vec<u8>,
    poisoned: bool,
    _lock: File,
}

/// What stands in a journal.
#[derive(Debug, Default)]
pub struct Reading {
    /// The whole records.
    pub records: Vec<Record>,
    /// The damaged end of the last batch, where there is one: a crash or a power loss.
    pub torn: Option<Torn>,
    whole: u64,
}

/// A damaged last batch, from its first bad line to the file's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Torn {
    /// The first bad line, from 1.
    pub line: u64,
    /// Bytes that do not count.
    pub bytes: u64,
}

impl std::fmt::Display for Torn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { line, bytes } = self;
        write!(
            f,
            "the journal's last batch was not wholly on disk: {bytes} bytes from line {line} on were cut off"
        )
    }
}

impl FileJournal {
    /// A new journal in a run's directory, whose lock is taken.
    pub fn create(dir: &Path) -> Result<Self, JournalError> {
        let lock = take_lock(dir)?;
        let path = dir.join(super::super::store::JOURNAL);
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(JournalError::io("create", &path))?;
        sync_directory(dir)?;
        Ok(Self::new(path, file, lock))
    }

    /// The journal of a run that is not alive, whose lock is taken. A torn last batch is cut off.
    pub fn open(dir: &Path) -> Result<(Self, Reading), JournalError> {
        let lock = take_lock(dir)?;
        let path = dir.join(super::super::store::JOURNAL);
        let reading = read(&path)?;
        let file = OpenOptions::new()
            .append(true)
            .open(&path)
            .map_err(JournalError::io("open", &path))?;
        if reading.torn.is_some() {
            file.set_len(reading.whole)
                .and_then(|()| file.sync_all())
                .map_err(JournalError::io("cut", &path))?;
        }
        Ok((Self::new(path, file, lock), reading))
    }

    fn new(path: PathBuf, file: File, lock: File) -> Self {
        Self {
            path,
            file,
            buffer: Vec::new(),
            poisoned: false,
            _lock: lock,
        }
    }
}

impl Journal for FileJournal {
    fn append(&mut self, batch: &[Record]) -> Result<(), JournalError> {
        if self.poisoned {
            return Err(JournalError::Poisoned);
        }
        if batch.is_empty() {
            return Ok(());
        }
        self.buffer.clear();
        for record in batch {
            encode(record, &mut self.buffer)?;
        }
        let written = self.file.write_all(&self.buffer).and_then(|()| self.file.sync_data());
        self.poisoned = written.is_err();
        written.map_err(JournalError::io("write", &self.path))
    }
}

/// The first record of a journal, without the rest; nothing where it cannot be read.
pub(crate) fn first(path: &Path) -> Option<Record> {
    let mut line = Vec::new();
    let mut file = BufReader::new(File::open(path).ok()?.take(super::MAX_RECORD as u64));
    file.read_until(b'\n', &mut line).ok()?;
    match decode(line.strip_suffix(b"\n")?) {
        Line::Whole(record) => Some(*record),
        Line::Bad | Line::Strange(_) => None,
    }
}

/// Reads a journal without taking its lock; of a run that is alive, what is there so far.
pub fn read(path: &Path) -> Result<Reading, JournalError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|mut file| file.read_to_end(&mut bytes))
        .map_err(JournalError::io("read", path))?;
    let (reading, damage) = scan(path, &bytes);
    match damage {
        Some(damage) => Err(damage),
        None => check_format(path, &reading.records).map(|()| reading),
    }
}

/// Reads a journal as far as it can be read, for people alone: nothing may follow from it. What is wrong after that comes
/// along.
pub fn read_readable(path: &Path) -> Result<(Reading, Option<JournalError>), JournalError> {
    let bytes = std::fs::read(path).map_err(JournalError::io("read", path))?;
    let (reading, damage) = scan(path, &bytes);
    match (check_format(path, &reading.records), damage) {
        (Ok(()), damage) => Ok((reading, damage)),
        (Err(JournalError::Empty { .. }), Some(damage)) => Err(damage),
        (Err(error), _) => Err(error),
    }
}

/// The whole records, and why there are no more where that is no torn last batch.
fn scan(path: &Path, bytes: &[u8]) -> (Reading, Option<JournalError>) {
    let mut reading = Reading::default();
    let mut rest = bytes;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line = reading.records.len() as u64 + 1;
        match decode(&rest[..end]) {
            Line::Whole(record) if record.seq == line => {
                reading.records.push(*record);
                reading.whole += end as u64 + 1;
                rest = &rest[end + 1..];
            }
            Line::Strange(why) => {
                let path = path.to_owned();
                return (reading, Some(JournalError::Unreadable { path, line, why }));
            }
            Line::Whole(_) | Line::Bad => break,
        }
    }
    if rest.is_empty() {
        return (reading, None);
    }
    match torn(path, rest, reading.records.len() as u64 + 1) {
        Ok(torn) => reading.torn = Some(torn),
        Err(damage) => return (reading, Some(damage)),
    }
    (reading, None)
}

/// Damage from line `line` on: that of the last batch unless a batch that began later is whole.
fn torn(path: &Path, rest: &[u8], line: u64) -> Result<Torn, JournalError> {
    let begins = rest.windows(BEGIN.len()).enumerate();
    for (at, _) in begins.filter(|(_, bytes)| *bytes == BEGIN) {
        // The end of the line before may be what was damaged, so a record may begin anywhere.
        let later = rest[at..].split(|byte| *byte == b'\n').next().unwrap_or_default();
        if let Line::Whole(record) = decode(later) {
            if record.batch > line {
                let path = path.to_owned();
                return Err(JournalError::Damaged { path, line });
            }
        }
    }
    let bytes = rest.len() as u64;
    Ok(Torn { line, bytes })
}

fn check_format(path: &Path, records: &[Record]) -> Result<(), JournalError> {
    let path = path.to_owned();
    match records.first().map(|record| &record.kind) {
        None => Err(JournalError::Empty { path }),
        Some(RecordKind::RunOpened(opened)) if opened.format.major == FORMAT.major => Ok(()),
        Some(RecordKind::RunOpened(opened)) => Err(JournalError::Format {
            path,
            major: opened.format.major,
        }),
        Some(other) => Err(JournalError::Unreadable {
            path,
            line: 1,
            why: format!("it begins with `{}`", other.name()),
        }),
    }
}

/// Follows a journal that another process writes.
#[derive(Debug)]
pub struct Tail {
    path: PathBuf,
    file: File,
    next: u64,
    rest: Vec<u8>,
}

impl Tail {
    /// From the first record on.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let file = File::open(path).map_err(JournalError::io("open", path))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            next: 1,
            rest: Vec::new(),
        })
    }

    /// The records that were written since the last call.
    pub fn read(&mut self) -> Result<Vec<Record>, JournalError> {
        self.file
            .read_to_end(&mut self.rest)
            .map_err(JournalError::io("read", &self.path))?;
        let mut records = Vec::new();
        let mut done = 0;
        while let Some(end) = self.rest[done..].iter().position(|byte| *byte == b'\n') {
            match decode(&self.rest[done..done + end]) {
                Line::Whole(record) => records.push(*record),
                Line::Bad => return Err(self.damaged()),
                Line::Strange(why) => {
                    let (path, line) = (self.path.clone(), self.next);
                    return Err(JournalError::Unreadable { path, line, why });
                }
            }
            self.next += 1;
            done += end + 1;
        }
        self.rest.drain(..done);
        Ok(records)
    }

    /// Begins again, where the file became shorter because a resume cut off a torn batch.
    pub fn restart(&mut self) -> Result<(), JournalError> {
        self.next = 1;
        self.rest.clear();
        self.file
            .seek(SeekFrom::Start(0))
            .map(drop)
            .map_err(JournalError::io("read", &self.path))
    }

    fn damaged(&self) -> JournalError {
        JournalError::Damaged {
            path: self.path.clone(),
            line: self.next,
        }
    }
}

fn take_lock(dir: &Path) -> Result<File, JournalError> {
    let path = dir.join(super::super::store::LOCK);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(JournalError::io("open", &path))?;
    // Somebody who only asks whether the run is alive holds the lock for a moment.
    for patience in [20, 50, 0] {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(JournalError::io("lock", &path)(error)),
            Err(TryLockError::WouldBlock) if patience > 0 => {
                std::thread::sleep(std::time::Duration::from_millis(patience));
            }
            Err(TryLockError::WouldBlock) => break,
        }
    }
    Err(JournalError::Alive {
        path: dir.join(super::super::store::JOURNAL),
    })
}

fn sync_directory(dir: &Path) -> Result<(), JournalError> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(JournalError::io("sync", dir))
}

#[cfg(test)]
mod tests;
