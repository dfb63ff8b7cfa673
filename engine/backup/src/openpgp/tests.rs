//! The encryption against itself, and both ways against the real gpg.

use std::io::{Cursor, Read, Write};
use std::process::{Command, Stdio};

use jm_step::Secret;
use proptest::prelude::*;

use super::*;
use crate::archive::Meter;
use crate::key::Passphrase;

const KEY: &str = "a passphrase of many words";

fn key(text: &str) -> Passphrase {
    Passphrase::new(&Secret::new(text)).expect("key")
}

fn seal(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encrypt(Cursor::new(data.to_vec()), &key(KEY), 2, Meter::default())
        .expect("encrypt")
        .read_to_end(&mut out)
        .expect("read");
    out
}

fn open_with(file: Vec<u8>, passphrase: &str) -> Result<Vec<u8>, OpenError> {
    let mut out = Vec::new();
    let mut plain = decrypt(Cursor::new(file), &key(passphrase), u64::MAX)?;
    plain
        .read_to_end(&mut out)
        .map_err(|error| OpenError::of(&error).expect("an error of the content"))?;
    Ok(out)
}

fn sql(lines: usize) -> Vec<u8> {
    (0..lines)
        .flat_map(|i| format!("{i}\tplayer {}\t{}\n", i * 7, i % 13).into_bytes())
        .collect()
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests run the real gpg, with its passphrase in a file"
)]
fn gpg(args: &[&str], passphrase: &str, input: &[u8]) -> Vec<u8> {
    let home = tempfile::tempdir().expect("tempdir");
    let pass = home.path().join("pass");
    std::fs::write(&pass, passphrase).expect("write");
    let mut child = Command::new("gpg")
        .args([
            "--batch",
            "--quiet",
            "--no-options",
            "--pinentry-mode",
            "loopback",
            "--homedir",
        ])
        .arg(home.path())
        .arg("--passphrase-file")
        .arg(&pass)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("gpg is needed for this test");
    let mut stdin = child.stdin.take().expect("stdin");
    let input = input.to_vec();
    let feed = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect("gpg");
    feed.join().expect("thread").expect("gpg reads all");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn what_goes_in_comes_out() {
    for size in [
        0,
        1,
        511,
        512,
        65_535,
        65_536,
        65_537,
        (1 << 20) - 6,
        1 << 20,
        3_000_000,
    ] {
        let data: Vec<u8> = (0..size).map(|i| u8::try_from(i * 31 % 251).expect("small")).collect();
        assert_eq!(open_with(seal(&data), KEY).expect("opens"), data, "{size}");
    }
}

#[test]
fn gpg_opens_what_jm_wrote() {
    for lines in [0, 1, 40_000, 400_000] {
        let data = sql(lines);
        let sealed = seal(&data);
        assert!(lines < 1000 || sealed.len() < data.len() / 2, "compressed");
        assert_eq!(gpg(&["--decrypt"], &format!("{KEY}\n"), &sealed), data);
    }
}

#[test]
fn jm_opens_what_gpg_wrote() {
    let data = sql(40_000);
    for args in [
        &["--symmetric"][..],
        &["--symmetric", "--cipher-algo", "AES256"],
        &["--symmetric", "--compress-algo", "none"],
        &["--symmetric", "--compress-algo", "zlib", "-z", "9"],
        &["--symmetric", "--compress-algo", "zip"],
        &["--symmetric", "--armor"],
        &["--symmetric", "--s2k-digest-algo", "SHA512", "--cipher-algo", "TWOFISH"],
    ] {
        let sealed = gpg(args, &format!("{KEY}\n"), &data);
        assert_eq!(open_with(sealed.clone(), KEY).expect("opens"), data, "{args:?}");
        assert_eq!(open_with(sealed, "another one"), Err(OpenError::WrongKey), "{args:?}");
    }
}

#[test]
fn a_wrong_key_is_told_from_the_first_block() {
    let sealed = seal(&sql(10));
    for attempt in 0..8 {
        let wrong = format!("wrong {attempt}");
        assert_eq!(
            opens(&sealed[..sealed.len().min(4096)], &key(&wrong)),
            Err(OpenError::WrongKey)
        );
    }
    assert_eq!(opens(&sealed, &key(KEY)), Ok(()));
}

#[test]
fn what_is_no_message_is_said_to_be_none() {
    assert_eq!(open_with(Vec::new(), KEY), Err(OpenError::Truncated));
    for text in ["-- PostgreSQL database dump\n", "PGDMP\u{1}\u{e}\0", "\u{1f}\u{8b}"] {
        assert_eq!(
            open_with(text.as_bytes().to_vec(), KEY),
            Err(OpenError::NotOpenPgp),
            "{text}"
        );
    }
}

#[test]
fn a_bomb_is_stopped() {
    let sealed = seal(&vec![0; 8 << 20]);
    assert!(sealed.len() < 100_000);
    let mut plain = decrypt(Cursor::new(sealed), &key(KEY), 1 << 20).expect("opens");
    let error = plain.read_to_end(&mut Vec::new()).expect_err("too much");
    assert_eq!(OpenError::of(&error), Some(OpenError::Bomb { limit: 1 << 20 }));
}

#[test]
fn a_cut_file_is_called_cut() {
    let data = sql(30_000);
    for sealed in [seal(&data), gpg(&["--symmetric"], KEY, &data)] {
        for cut in [1, 20, sealed.len() / 3, sealed.len() / 2] {
            let error = open_with(sealed[..sealed.len() - cut].to_vec(), KEY).expect_err("cut");
            assert_eq!(error, OpenError::Truncated, "{cut} of {}", sealed.len());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_flipped_byte_is_noticed(place in any::<prop::sample::Index>(), bit in 0_u8..8, by_gpg: bool) {
        let data = sql(5_000);
        let mut sealed = if by_gpg { by_gpg_once().clone() } else { seal(&data) };
        let at = place.index(sealed.len());
        sealed[at] ^= 1 << bit;
        // Either it is refused, or what comes out is what went in (a bit of a length that says the same).
        if let Ok(out) = open_with(sealed, KEY) {
            prop_assert!(out == data, "byte {at}, bit {bit}");
        }
    }

    #[test]
    fn any_cut_is_noticed(place in any::<prop::sample::Index>(), by_gpg: bool) {
        let data = sql(5_000);
        let sealed = if by_gpg { by_gpg_once().clone() } else { seal(&data) };
        let at = place.index(sealed.len());
        prop_assert!(open_with(sealed[..at].to_vec(), KEY).is_err());
    }
}

fn by_gpg_once() -> &'static Vec<u8> {
    static SEALED: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    SEALED.get_or_init(|| gpg(&["--symmetric"], KEY, &sql(5_000)))
}

#[test]
#[ignore = "a measurement; run with --ignored --nocapture"]
fn measure() {
    let data = sql(12_000_000);
    let start = std::time::Instant::now();
    let sealed = seal(&data);
    let encrypted = start.elapsed();
    let start = std::time::Instant::now();
    let mut plain = decrypt(Cursor::new(sealed.clone()), &key(KEY), u64::MAX).expect("opens");
    std::io::copy(&mut plain, &mut std::io::sink()).expect("reads");
    let report = format!(
        "{} MB to {} MB: {encrypted:?}, back {:?}\n",
        data.len() >> 20,
        sealed.len() >> 20,
        start.elapsed()
    );
    std::io::stderr().write_all(report.as_bytes()).expect("stderr");
}
