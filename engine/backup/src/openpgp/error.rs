//! Why an encrypted file cannot be read, told apart as far as it can be.

use std::io;

/// How rPGP and its decompressors say that something ended too early.
const ENDS: [&str; 4] = [
    "no more data",
    "unexpected end of file",
    "shorter than expected",
    "missing quick check",
];

/// Why an encrypted file cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It is encrypted with another passphrase.
    #[error("the key does not open it: it was encrypted with another one")]
    WrongKey,
    /// It ends before its end.
    #[error("it is cut short")]
    Truncated,
    /// Its content is not what was encrypted.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// It is no OpenPGP message.
    #[error("it is not an OpenPGP message")]
    NotOpenPgp,
    /// Encrypted, but not with a passphrase.
    #[error("it is encrypted to a public key, and not with a passphrase")]
    PublicKey,
    /// Encrypted in a way by which changes could not be noticed.
    #[error("it is encrypted without integrity protection, so that nobody can tell whether it was changed")]
    Unprotected,
    /// It unpacks to more than it may.
    #[error("it unpacks to more than {limit} bytes, which no backup of its size does")]
    Bomb {
        /// The most that was accepted.
        limit: u64,
    },
}

impl OpenError {
    /// As an error of a reader; [`OpenError::of`] finds it again.
    pub(crate) fn into_io(self) -> io::Error {
        io::Error::other(self)
    }

    /// What an error of a reader means, where it is one of the file's content; `None` where the reading itself failed.
    pub(crate) fn of(error: &io::Error) -> Option<Self> {
        error.get_ref().and_then(|inner| inner.downcast_ref::<Self>()).cloned()
    }

    /// What an error that rPGP gave on the way means.
    pub(crate) fn classify(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut next = Some(error);
        let mut text = String::new();
        while let Some(cause) = next {
            if let Some(io) = cause.downcast_ref::<io::Error>() {
                if io.kind() == io::ErrorKind::UnexpectedEof {
                    return Self::Truncated;
                }
            }
            text = cause.to_string();
            if ENDS.iter().any(|end| text.contains(end)) {
                return Self::Truncated;
            }
            next = cause.source();
        }
        Self::Damaged(first_line(&text))
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(200).collect()
}
