//! Encrypting.

use std::io::{self, Cursor, Read};

use pgp::crypto::hash::HashAlgorithm;
use pgp::crypto::sym::SymmetricKeyAlgorithm;
use pgp::packet::{PacketTrait, SymKeyEncryptedSessionKey};
use pgp::types::{Password, StringToKey};
use rand08::rngs::OsRng;

use super::deflate::Deflate;
use super::framing::{Packet, PacketTag};
use crate::archive::Meter;
use crate::key::Passphrase;

/// OpenPGP's number for raw deflate.
const ZIP: u8 = 1;
/// The most that the format can say: 65,011,712 octets are hashed for each guess.
const ITERATIONS: u8 = 255;
const CIPHER: SymmetricKeyAlgorithm = SymmetricKeyAlgorithm::AES256;

/// The bytes of an OpenPGP message that holds what the source gives. An error of the source is one of the message, which
/// then never gets its end.
pub(crate) fn encrypt<R: Read>(
    source: R,
    passphrase: &Passphrase,
    threads: usize,
    compressed_bytes: Meter,
) -> io::Result<impl Read + use<R>> {
    let session_key = CIPHER.new_session_key(OsRng);
    let s2k = StringToKey::new_iterated(OsRng, HashAlgorithm::Sha256, ITERATIONS);
    let password = Password::from(passphrase.expose());
    let skesk =
        SymKeyEncryptedSessionKey::encrypt_v4(&password, &session_key, s2k, CIPHER).map_err(io::Error::other)?;
    let mut head = Vec::new();
    skesk.to_writer_with_header(&mut head).map_err(io::Error::other)?;

    // Binary, without a name, without a date: the manifest and the file's own name say more, and gpg needs neither.
    let literal = Packet::new(PacketTag::Literal, Cursor::new([b'b', 0, 0, 0, 0, 0]).chain(source));
    let compressed = Packet::new(
        PacketTag::Compressed,
        Cursor::new([ZIP]).chain(Counted(Deflate::new(literal, threads), compressed_bytes)),
    );
    let encrypted = CIPHER
        .stream_encryptor(OsRng, session_key.as_ref(), compressed)
        .map_err(io::Error::other)?;
    let protected = Packet::new(PacketTag::SymEncryptedProtected, Cursor::new([1]).chain(encrypted));
    Ok(Cursor::new(head).chain(protected))
}

struct Counted<R>(R, Meter);

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(buf)?;
        self.1.add(count);
        Ok(count)
    }
}
