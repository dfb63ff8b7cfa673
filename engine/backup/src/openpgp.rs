//! OpenPGP with a passphrase: what `gpg --symmetric` writes and `gpg --decrypt` reads, as streams in bounded memory.
//!
//! A file that jm writes is `SKESK(iterated SHA-256, AES-256) · SEIPDv1(AES-256, MDC)[Compressed(ZIP)[Literal]]`, all of
//! unknown length, in chunks of 64 KiB. Both the plain and the custom dump are written by `pg_dump` uncompressed and
//! compressed here, because of what was measured (two cores, 729 MB of plain dump, see `dependencies.md`): `pg_dump -Fc`
//! with its own gzip takes 5.4 s, with `-Z0` and compression beside it 2.2 s, and multi-threaded zstd cannot be chosen
//! in `pg_dump` 15. zstd inside the encryption would be a little smaller still, but nobody could restore with
//! `gpg --decrypt FILE | pg_restore` at three in the morning without `unzstd`; OpenPGP's own ZIP is undone by every gpg.
//! Raw deflate blocks may be joined, so they are compressed on several threads ([`deflate`]).
//!
//! rPGP's builder offers neither a compressor of ours nor one on several threads, so the three packet frames are written
//! here; cipher, checksum, session key and everything that reads are rPGP's.

pub(crate) mod deflate;
mod error;
mod framing;
mod read;
mod write;

pub use error::OpenError;
pub(crate) use read::{HEAD, SourceFailure, decrypt, opens};
pub(crate) use write::encrypt;

#[cfg(test)]
mod tests;
