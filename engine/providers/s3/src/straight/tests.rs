//! What is written, in which way, is what was given.

#![expect(clippy::disallowed_methods, reason = "tests make and read files of their own")]

use std::fs::OpenOptions;
use std::io::{Seek, SeekFrom};
use std::path::Path;

use jm_testkit::noise;
use tokio::sync::mpsc::channel;

use super::*;

/// The file of a download that goes on behind what is there.
fn opened(path: &Path, at: usize) -> File {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(at == 0)
        .open(path)
        .expect("opened");
    file.seek(SeekFrom::Start(at as u64)).expect("there");
    file
}

/// Writes bytes as they come in chunks from a line, all but the end.
fn write(file: File, at: usize, expected: usize, bytes: &[u8]) -> io::Result<(Writer, Piece)> {
    let (written, mut empty) = channel(3);
    let mut writer = Writer::new(file, at as u64, written);
    let mut piece = Piece::first(at as u64, expected as u64);
    for mut chunk in bytes.chunks(100_003) {
        while !chunk.is_empty() {
            if piece.is_full() {
                writer.write(piece)?;
                piece = empty.try_recv().unwrap_or_else(|_| Piece::new());
            }
            chunk = piece.fill(chunk);
        }
    }
    Ok((writer, piece))
}

#[test]
fn every_size_is_written_from_every_place_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file");
    for size in [
        0,
        1,
        BLOCK,
        PIECE - 1,
        PIECE,
        PIECE + 1,
        3 * PIECE,
        4 * PIECE + BLOCK + 77,
    ] {
        for at in [0, 1, BLOCK, BLOCK + 1, PIECE, PIECE + 1] {
            let content = noise(1, size.max(at));
            // What was said of the size need not be true.
            for expected in [size, 0, 10 * PIECE] {
                std::fs::write(&path, &content[..at]).expect("a file");
                let (writer, last) = write(opened(&path, at), at, expected, &content[at..]).expect("taken");
                writer.finish(&last).expect("written");
                let there = std::fs::read(&path).expect("a file");
                assert!(there == content, "{size} from {at}, {expected} expected");
            }
        }
    }
}

#[test]
fn whole_blocks_go_straight_where_the_file_system_lets_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file");
    let mut file = Straight::new(opened(&path, 0), 0);
    file.go_straight();
    let mut piece = Piece::of(2 * BLOCK + 1);
    piece.fill(&noise(1, 2 * BLOCK + 1));
    file.write(&piece.bytes()[..2 * BLOCK]).expect("written");
    let can = file.usual.is_some();
    assert_eq!(file.is_straight, can);
    file.write(&piece.bytes()[2 * BLOCK..]).expect("written");
    assert!(!file.is_straight, "an end that is no block cannot");
    // What does not lie as it has to is written all the same, whether the file system refuses it or not.
    file.at = 0;
    file.write(&piece.bytes()[1..=BLOCK]).expect("written");
    let there = std::fs::read(&path).expect("a file");
    assert!(there[..=2 * BLOCK] == *piece.bytes());
    assert!(there[2 * BLOCK + 1..] == piece.bytes()[1..=BLOCK]);
}

#[test]
fn what_is_given_up_is_not_written_later() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file");
    let content = noise(1, 2 * PIECE + 5);
    let (writer, _) = write(opened(&path, 0), 0, content.len(), &content).expect("taken");
    drop(writer);
    let there = std::fs::read(&path).expect("a file");
    assert!(there == content[..2 * PIECE], "{}", there.len());
}

#[test]
fn what_cannot_be_written_is_said() {
    for pieces in [1, 5] {
        let file = OpenOptions::new().read(true).open("/dev/null").expect("opened");
        let content = noise(1, pieces * PIECE);
        let ended = write(file, 0, content.len(), &content).and_then(|(writer, last)| writer.finish(&last));
        assert_eq!(ended.expect_err("it cannot be written").raw_os_error(), Some(9));
    }
}
