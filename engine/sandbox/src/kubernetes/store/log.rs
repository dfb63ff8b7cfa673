//! The log of the store: JSON Lines, one line a transaction.
//!
//! The first line names the format and the revision of the snapshot that follows; each later line is a list of
//! records. A line that a kill cut short is the last one and is dropped; damage elsewhere is an error.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};

use super::{Key, Staged};
use crate::SandboxError;

/// A log that is this many times longer than what it says is written anew.
const SLACK: usize = 8;
/// No shorter log is written anew.
const LEAST: usize = 20_000;

#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: File,
    records: usize,
}

/// One change as it was written.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) revision: u64,
    pub(super) key: Key,
    pub(super) object: Option<Arc<Value>>,
}

/// What the log says.
#[derive(Debug, Default)]
pub(super) struct Replayed {
    /// The revision of the snapshot.
    pub(super) revision: u64,
    pub(super) snapshot: BTreeMap<Key, Arc<Value>>,
    /// The changes since.
    pub(super) records: Vec<Record>,
}

impl Log {
    /// Opens the log and reads it; makes an empty one where there is none.
    pub(super) fn open(path: &Path) -> Result<(Self, Replayed), SandboxError> {
        if !path.exists() {
            let mut log = Self::at(path).map_err(SandboxError::file("make", path))?;
            log.compact(0, &BTreeMap::new())
                .map_err(SandboxError::file("write", path))?;
        }
        let (replayed, whole) = read(path)?;
        let mut log = Self::at(path).map_err(SandboxError::file("open", path))?;
        log.file.set_len(whole).map_err(SandboxError::file("cut", path))?;
        log.records = replayed.snapshot.len() + replayed.records.len();
        Ok((log, replayed))
    }

    fn at(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        Ok(Self {
            path: path.to_path_buf(),
            file,
            records: 0,
        })
    }

    /// Writes the changes of one transaction as one line.
    pub(super) fn append(&mut self, changes: &[Staged]) -> io::Result<()> {
        let before = self.file.metadata()?.len();
        let records: Vec<_> = changes
            .iter()
            .map(|change| Written::new(change.revision, &change.key, change.object.as_deref()))
            .collect();
        let mut line = serde_json::to_vec(&records)?;
        line.push(b'\n');
        if let Err(error) = self.file.write_all(&line) {
            // Half a line must not stand before the next one.
            self.file.set_len(before)?;
            return Err(error);
        }
        self.records += changes.len();
        Ok(())
    }

    pub(super) fn wants_compaction(&self, objects: usize) -> bool {
        self.records > LEAST.max(objects * SLACK)
    }

    /// Writes the log anew with the objects as they are.
    pub(super) fn compact(&mut self, revision: u64, objects: &BTreeMap<Key, Arc<Value>>) -> io::Result<()> {
        let aside = self.path.with_extension("new");
        let mut file = BufWriter::new(File::create(&aside)?);
        writeln!(file, "{}", json!({"format": 1, "revision": revision}))?;
        for (key, object) in objects {
            serde_json::to_writer(&mut file, &[Written::new(revision, key, Some(object))])?;
            file.write_all(b"\n")?;
        }
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&aside, &self.path)?;
        *self = Self {
            records: objects.len(),
            ..Self::at(&self.path)?
        };
        Ok(())
    }
}

/// One change as it is written.
#[derive(Serialize)]
struct Written<'a> {
    revision: u64,
    key: [&'a str; 3],
    object: Option<&'a Value>,
}

impl<'a> Written<'a> {
    fn new(revision: u64, key: &'a Key, object: Option<&'a Value>) -> Self {
        Self {
            revision,
            key: [&key.resource, &key.namespace, &key.name],
            object,
        }
    }
}

/// Reads the log, and says how many of its bytes are whole lines.
fn read(path: &Path) -> Result<(Replayed, u64), SandboxError> {
    let mut reader = BufReader::new(File::open(path).map_err(SandboxError::file("open", path))?);
    let damaged = |line: usize, why: String| SandboxError::State {
        path: path.to_path_buf(),
        reason: format!("line {line} is damaged ({why})"),
    };
    let mut replayed = Replayed::default();
    let (mut whole, mut line, mut number) = (0, Vec::new(), 0);
    loop {
        line.clear();
        let length = reader
            .read_until(b'\n', &mut line)
            .map_err(SandboxError::file("read", path))?;
        if length == 0 || line.last() != Some(&b'\n') {
            return Ok((replayed, whole));
        }
        number += 1;
        let value: Value = serde_json::from_slice(&line).map_err(|error| damaged(number, error.to_string()))?;
        take(&mut replayed, value, number).ok_or_else(|| damaged(number, "not a record".to_owned()))?;
        whole += length as u64;
    }
}

fn take(replayed: &mut Replayed, value: Value, number: usize) -> Option<()> {
    if number == 1 {
        replayed.revision = value["revision"].as_u64().filter(|_| value["format"] == json!(1))?;
        return Some(());
    }
    let Value::Array(records) = value else { return None };
    for value in records {
        let record = parse(value)?;
        match record {
            Record {
                revision,
                key,
                object: Some(object),
            } if revision <= replayed.revision => {
                replayed.snapshot.insert(key, object);
            }
            record => replayed.records.push(record),
        }
    }
    Some(())
}

fn parse(mut value: Value) -> Option<Record> {
    let revision = value["revision"].as_u64()?;
    let part = |index: usize| value["key"][index].as_str();
    let key = Key::new(part(0)?, part(1)?, part(2)?);
    let object = Some(value["object"].take())
        .filter(|object| !object.is_null())
        .map(Arc::new);
    Some(Record { revision, key, object })
}
