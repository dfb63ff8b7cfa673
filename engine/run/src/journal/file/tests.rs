#![expect(clippy::disallowed_methods, reason = "tests make and read files of their own")]
use jiff::Timestamp;
use jm_step::{RunId, RunInfo};
use proptest::prelude::*;

use super::*;
use crate::journal::{Format, Opened, Payload, RunStatus};

fn opened(format: Format) -> RecordKind {
    RecordKind::RunOpened(Box::new(Opened {
        format,
        run: RunInfo {
            id: RunId::generate(),
            plan: "p".to_owned(),
            started_at: Timestamp::UNIX_EPOCH,
            drill: false,
        },
        plan: "digest".to_owned(),
        file: None,
        directory: None,
        inputs: serde_json::json!({}),
        inputs_artefact: None,
        secrets: std::collections::BTreeMap::new(),
        targets: "t".to_owned(),
        targets_digest: String::new(),
        protected: false,
        jm: "0".to_owned(),
        by: "ada@bastion".to_owned(),
    }))
}

fn started(attempt: u32) -> RecordKind {
    RecordKind::StepStarted {
        step: "a".parse().expect("a name"),
        attempt,
        key: "k".to_owned(),
    }
}

/// Batches of these sizes, the first of which begins with the opening.
fn batches(sizes: &[usize]) -> Vec<Vec<Record>> {
    let mut seq = 0;
    let mut record = |batch: u64, first: bool| {
        seq += 1;
        let kind = if first && seq == 1 {
            opened(FORMAT)
        } else {
            started(u32::try_from(seq).expect("small"))
        };
        Record {
            seq,
            batch,
            at: Timestamp::UNIX_EPOCH,
            kind,
        }
    };
    let mut next = 1;
    let mut made = Vec::new();
    for size in sizes {
        made.push((0..*size).map(|_| record(next, true)).collect::<Vec<_>>());
        next += *size as u64;
    }
    made
}

struct Kept {
    temp: tempfile::TempDir,
    records: Vec<Record>,
    bytes: Vec<u8>,
    last_batch: u64,
}

fn kept(sizes: &[usize]) -> Kept {
    let temp = tempfile::tempdir().expect("a directory");
    let mut journal = FileJournal::create(temp.path()).expect("created");
    let batches = batches(sizes);
    for batch in &batches {
        journal.append(batch).expect("written");
    }
    drop(journal);
    let bytes = std::fs::read(temp.path().join(crate::store::JOURNAL)).expect("read");
    Kept {
        last_batch: batches.last().map_or(1, |batch| batch[0].batch),
        records: batches.concat(),
        temp,
        bytes,
    }
}

impl Kept {
    fn scan(&self, bytes: &[u8]) -> Result<Reading, JournalError> {
        let path = self.temp.path().join("damaged");
        std::fs::write(&path, bytes).expect("written");
        read(&path)
    }
}

fn lines_in(bytes: &[u8]) -> usize {
    bytes.split(|byte| *byte == b'\n').count() - 1
}

#[test]
fn what_was_written_is_read_back_and_gone_on_from() {
    let kept = kept(&[1, 3, 2]);
    let (mut journal, reading) = FileJournal::open(kept.temp.path()).expect("opened");
    assert_eq!(reading.records, kept.records);
    assert_eq!(reading.torn, None);
    let next = Record {
        seq: 7,
        batch: 7,
        at: Timestamp::UNIX_EPOCH,
        kind: RecordKind::RunClosed {
            status: RunStatus::Completed,
        },
    };
    journal.append(std::slice::from_ref(&next)).expect("written");
    drop(journal);
    let again = read(&kept.temp.path().join(crate::store::JOURNAL)).expect("read");
    assert_eq!(again.records.last(), Some(&next));
    assert_eq!(again.records.len(), 7);
}

#[test]
fn a_journal_is_open_once() {
    let temp = tempfile::tempdir().expect("a directory");
    let journal = FileJournal::create(temp.path()).expect("created");
    assert!(matches!(
        FileJournal::open(temp.path()),
        Err(JournalError::Alive { .. })
    ));
    drop(journal);
    assert!(matches!(
        FileJournal::open(temp.path()),
        Err(JournalError::Empty { .. })
    ));
}

#[test]
fn a_file_cut_at_any_byte_keeps_every_whole_record() {
    let kept = kept(&[1, 2, 3]);
    let first = kept.bytes.iter().position(|byte| *byte == b'\n').expect("a line") + 1;
    for cut in first..kept.bytes.len() {
        let reading = kept.scan(&kept.bytes[..cut]).expect("readable");
        let whole = lines_in(&kept.bytes[..cut]);
        assert_eq!(reading.records, kept.records[..whole], "cut at {cut}");
        assert_eq!(reading.torn.is_some(), kept.bytes[cut - 1] != b'\n', "cut at {cut}");
    }
    for cut in 0..first {
        assert!(
            matches!(kept.scan(&kept.bytes[..cut]), Err(JournalError::Empty { .. })),
            "cut at {cut}"
        );
    }
}

#[test]
fn a_torn_batch_is_cut_off_and_can_be_torn_again() {
    let kept = kept(&[1, 3]);
    let path = kept.temp.path().join(crate::store::JOURNAL);
    let cut = kept.bytes.len() - 3;
    std::fs::write(&path, &kept.bytes[..cut]).expect("written");
    let (mut journal, reading) = FileJournal::open(kept.temp.path()).expect("opened");
    assert_eq!(reading.torn.map(|torn| torn.line), Some(4));
    let mut next = batches(&[1, 2, 2])[2].clone();
    for (record, seq) in next.iter_mut().zip([4, 5]) {
        (record.seq, record.batch) = (seq, 4);
    }
    journal.append(&next).expect("written");
    drop(journal);
    let mut bytes = std::fs::read(&path).expect("read");
    let line = bytes
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'\n')
        .nth(2)
        .expect("three lines")
        .0;
    bytes[line + 5] ^= 1;
    std::fs::write(&path, &bytes).expect("written");
    let again = read(&path).expect("the damage is in the last batch");
    assert_eq!((again.records.len(), again.torn.map(|torn| torn.line)), (3, Some(4)));
}

#[test]
fn a_newer_format_and_a_strange_record_are_told_apart_from_damage() {
    let temp = tempfile::tempdir().expect("a directory");
    let path = temp.path().join("journal");
    let write = |kind| {
        let record = Record {
            seq: 1,
            batch: 1,
            at: Timestamp::UNIX_EPOCH,
            kind,
        };
        let mut bytes = Vec::new();
        encode(&record, &mut bytes).expect("small");
        std::fs::write(&path, bytes).expect("written");
    };
    write(opened(Format { major: 2, minor: 0 }));
    assert!(matches!(read(&path), Err(JournalError::Format { major: 2, .. })));
    write(started(1));
    assert!(matches!(read(&path), Err(JournalError::Unreadable { line: 1, .. })));
    let strange = br#"{"seq":1,"batch":1,"at":"1970-01-01T00:00:00Z","kind":"step-danced""#;
    let line = format!(
        "{},\"crc\":\"{:08x}\"}}\n",
        String::from_utf8_lossy(strange),
        crc32fast::hash(strange)
    );
    std::fs::write(&path, line).expect("written");
    assert!(matches!(read(&path), Err(JournalError::Unreadable { why, .. }) if why.contains("step-danced")));
}

#[test]
fn a_record_that_is_too_large_is_refused_and_nothing_of_its_batch_written() {
    let temp = tempfile::tempdir().expect("a directory");
    let mut journal = FileJournal::create(temp.path()).expect("created");
    let mut batch = batches(&[2]).remove(0);
    batch[1].kind = RecordKind::OutputSaved {
        step: "a".parse().expect("a name"),
        output: Payload::Inline("x".repeat(crate::journal::MAX_RECORD).into()),
    };
    assert!(matches!(journal.append(&batch), Err(JournalError::TooLarge { .. })));
    batch.truncate(1);
    journal.append(&batch).expect("the journal is still good");
}

#[test]
fn a_disk_that_fails_poisons_the_journal() {
    let lock = tempfile::tempfile().expect("a file");
    let full = OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let mut journal = FileJournal::new(PathBuf::from("/dev/full"), full, lock);
    let batch = batches(&[1]).remove(0);
    assert!(matches!(
        journal.append(&batch),
        Err(JournalError::Io { doing: "write", .. })
    ));
    assert!(matches!(journal.append(&batch), Err(JournalError::Poisoned)));
}

#[test]
fn a_tail_sees_what_comes_and_waits_for_the_rest_of_a_line() {
    let kept = kept(&[1, 2]);
    let path = kept.temp.path().join("followed");
    let middle = kept.bytes.len() - 10;
    std::fs::write(&path, &kept.bytes[..middle]).expect("written");
    let mut tail = Tail::open(&path).expect("opened");
    assert_eq!(tail.read().expect("read"), kept.records[..2]);
    std::fs::write(&path, &kept.bytes).expect("written");
    assert_eq!(tail.read().expect("read"), kept.records[2..]);
    assert_eq!(tail.read().expect("read"), []);
}

/// Where the byte that changed is the end of a line, two lines look like one.
#[test]
fn a_changed_end_of_a_line_is_no_torn_batch() {
    let kept = kept(&[2, 1]);
    let mut bytes = kept.bytes.clone();
    let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    let (at, _) = ends.clone().nth(1).expect("the end of the second line");
    bytes[at] ^= 1;
    let read = kept.scan(&bytes);
    assert!(matches!(read, Err(JournalError::Damaged { line: 2, .. })), "{read:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_changed_byte_is_found(sizes in proptest::collection::vec(1usize..4, 1..5), place: prop::sample::Index, flip in 1u8..=255) {
        let kept = kept(&sizes);
        let mut bytes = kept.bytes.clone();
        let at = place.index(bytes.len());
        bytes[at] ^= flip;
        let line = lines_in(&kept.bytes[..at]) as u64 + 1;
        match kept.scan(&bytes) {
            Ok(reading) => {
                prop_assert!(line >= kept.last_batch, "damage in an earlier batch went unnoticed");
                prop_assert_eq!(&reading.records[..], &kept.records[..usize::try_from(line).expect("small") - 1]);
                prop_assert_eq!(reading.torn.map(|torn| torn.line), Some(line));
            }
            Err(JournalError::Damaged { line: found, .. }) => {
                prop_assert!(line < kept.last_batch);
                prop_assert_eq!(found, line);
            }
            Err(JournalError::Empty { .. }) => prop_assert_eq!(line, 1),
            Err(other) => return Err(TestCaseError::fail(other.to_string())),
        }
    }
}
