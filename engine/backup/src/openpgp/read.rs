//! Decrypting: what jm wrote, and what `gpg --symmetric` wrote with or without its compression or armour.

use std::io::{self, BufReader, Cursor, Read};

use pgp::armor::Dearmor;
use pgp::composed::{
    DecryptionOptions, Edata, Esk, Message, PlainSessionKey, TheRing, decrypt_session_key_with_password,
};
use pgp::packet::{ProtectedDataConfig, SymEncryptedProtectedDataConfig};
use pgp::types::{Password, Seipdv1ReadMode};

use super::error::OpenError;
use super::framing::read_full;
use crate::key::Passphrase;

/// Enough for the packets that come before the data, armoured or not.
pub(crate) const HEAD: u64 = 4096;
const BUFFER: usize = 256 * 1024;
/// Messages in messages: one compressed inside an encrypted one is usual, and nobody nests deeper.
const DEEPEST: usize = 4;
const ARMOUR: &[u8] = b"-----BEGIN PGP MESSAGE-----";

/// What is inside an encrypted file, read piece by piece. Its end is proven: a file that was changed or cut gives an
/// error before, or instead of, the end.
pub(crate) struct Plain {
    message: Message<'static>,
    seen: u64,
    limit: u64,
}

impl Read for Plain {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.message.read(buf).map_err(keep_outer)?;
        self.seen += count as u64;
        if self.seen > self.limit {
            return Err(OpenError::Bomb { limit: self.limit }.into_io());
        }
        Ok(count)
    }
}

/// Errors of the source underneath pass through, and those of the content are told apart.
fn keep_outer(error: io::Error) -> io::Error {
    if let Some(known) = find_source_failure(&error) {
        return known;
    }
    OpenError::classify(&error).into_io()
}

/// A failure of the source (a disk, a network) on its way through rPGP.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct SourceFailure(pub(crate) String);

fn find_source_failure(error: &io::Error) -> Option<io::Error> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = next {
        if let Some(failure) = cause.downcast_ref::<SourceFailure>() {
            return Some(io::Error::other(SourceFailure(failure.0.clone())));
        }
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            if let Some(failure) = io.get_ref().and_then(|inner| inner.downcast_ref::<SourceFailure>()) {
                return Some(io::Error::other(SourceFailure(failure.0.clone())));
            }
        }
        next = cause.source();
    }
    None
}

trait Source: Read + Send + std::fmt::Debug {}
impl<R: Read + Send + std::fmt::Debug> Source for R {}

/// Opens an encrypted file, and gives at most `limit` bytes of what is inside.
pub(crate) fn decrypt<R>(source: R, passphrase: &Passphrase, limit: u64) -> Result<Plain, OpenError>
where
    R: Read + Send + std::fmt::Debug + 'static,
{
    let mut source = without_armour(source)?;
    let head = read_head(&mut source)?;
    let key = session_key(&head, passphrase)?;
    let whole = BufReader::with_capacity(BUFFER, Cursor::new(head).chain(source));
    let message = Message::from_bytes(whole).map_err(|error| OpenError::classify(&error))?;
    let mut message = unlock(message, key)?;
    for _ in 0..DEEPEST {
        if !message.is_compressed() {
            break;
        }
        message = message.decompress().map_err(|error| OpenError::classify(&error))?;
    }
    if !message.is_literal() && !message.is_signed() {
        return Err(OpenError::Damaged("there is no data inside".to_owned()));
    }
    Ok(Plain {
        message,
        seen: 0,
        limit,
    })
}

/// The binary form. What begins as no packet does, and as no armour either, is no message.
fn without_armour<R>(mut source: R) -> Result<Box<dyn Source>, OpenError>
where
    R: Read + Send + std::fmt::Debug + 'static,
{
    let head = read_head(&mut source)?;
    let Some(first) = head.first() else {
        return Err(OpenError::Truncated);
    };
    if first & 0x80 != 0 {
        return Ok(Box::new(Cursor::new(head).chain(source)));
    }
    if !head.trim_ascii_start().starts_with(ARMOUR) {
        return Err(OpenError::NotOpenPgp);
    }
    let mut armoured = Dearmor::new(BufReader::with_capacity(BUFFER, Cursor::new(head).chain(source)));
    armoured.read_header().map_err(|_| OpenError::NotOpenPgp)?;
    Ok(Box::new(armoured))
}

fn read_head(source: &mut impl Read) -> Result<Vec<u8>, OpenError> {
    let mut head = Vec::new();
    source
        .take(HEAD)
        .read_to_end(&mut head)
        .map_err(|error| OpenError::of(&error).unwrap_or_else(|| OpenError::Damaged(error.to_string())))?;
    Ok(head)
}

/// Whether the passphrase opens a file that begins like this: its session key is unlocked, and the first block of the
/// data is decrypted and says by its repeated bytes whether the key is right.
pub(crate) fn opens(head: &[u8], passphrase: &Passphrase) -> Result<(), OpenError> {
    let mut source = without_armour(Cursor::new(head.to_vec()))?;
    // Armour that was cut off ends in an error, and what came before it is enough.
    let (mut binary, mut piece) = (Vec::new(), [0; 64]);
    while let Ok(count @ 1..) = source.read(&mut piece) {
        binary.extend_from_slice(&piece[..count]);
    }
    session_key(&binary, passphrase).map(drop)
}

fn unlock(message: Message<'static>, key: PlainSessionKey) -> Result<Message<'static>, OpenError> {
    let ring = TheRing {
        session_keys: vec![key],
        decrypt_options: DecryptionOptions::new()
            .enable_gnupg_aead()
            .set_seipdv1_read_mode(Seipdv1ReadMode::Streaming),
        ..TheRing::default()
    };
    message
        .decrypt_the_ring(ring, true)
        .map(|(message, _)| message)
        .map_err(|error| OpenError::classify(&error))
}

fn session_key(head: &[u8], passphrase: &Passphrase) -> Result<PlainSessionKey, OpenError> {
    if head.is_empty() {
        return Err(OpenError::Truncated);
    }
    let head_length = head.len() as u64;
    let message =
        Message::from_bytes(Cursor::new(head.to_vec())).map_err(|error| match OpenError::classify(&error) {
            OpenError::Truncated if head_length < HEAD => OpenError::Truncated,
            _ => OpenError::NotOpenPgp,
        })?;
    let Message::Encrypted { esk, mut edata, .. } = message else {
        return Err(OpenError::NotOpenPgp);
    };
    if matches!(edata, Edata::SymEncryptedData { .. }) {
        return Err(OpenError::Unprotected);
    }
    let start = first_block(&mut edata);
    let password = Password::from(passphrase.expose());
    let mut by_passphrase = false;
    for esk in &esk {
        let Esk::SymKeyEncryptedSessionKey(esk) = esk else {
            continue;
        };
        by_passphrase = true;
        if let Ok(key) = decrypt_session_key_with_password(esk, &password) {
            if fits(&key, start.as_deref()) {
                return Ok(key);
            }
        }
    }
    Err(if by_passphrase || esk.is_empty() {
        OpenError::WrongKey
    } else {
        OpenError::PublicKey
    })
}

/// The encrypted random bytes at the start of SEIPDv1 data, whose last two are repeated.
fn first_block(edata: &mut Edata<'_>) -> Option<Vec<u8>> {
    let Edata::SymEncryptedProtectedData { reader } = edata else {
        return None;
    };
    if !matches!(
        reader.config(),
        ProtectedDataConfig::Seipd(SymEncryptedProtectedDataConfig::V1)
    ) {
        return None;
    }
    let mut start = vec![0; 32];
    // A file that ends here is cut short, and its reader will say so.
    let length = read_full(reader, &mut start).unwrap_or(0);
    start.truncate(length);
    Some(start)
}

fn fits(key: &PlainSessionKey, start: Option<&[u8]>) -> bool {
    let (PlainSessionKey::V3_4 { sym_alg, key }, Some(start)) = (key, start) else {
        // The other forms authenticate the session key itself.
        return true;
    };
    let block = sym_alg.block_size();
    if key.len() != sym_alg.key_size() {
        return false;
    }
    if start.len() < block + 2 {
        return true;
    }
    let mut start = start[..block + 2].to_vec();
    let decrypted = sym_alg.decrypt_with_iv_regular(key.as_ref(), &vec![0; block], &mut start);
    decrypted.is_ok() && start[block - 2..block] == start[block..]
}
