//! What keeps a stand-in from starting or from keeping its state.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Why a stand-in could not start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// A file or folder of the sandbox's state could not be used.
    #[error("cannot {action} `{}`: {source}", path.display())]
    File {
        /// What was tried, such as `write`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The address could not be listened on.
    #[error("cannot listen on {address}: {source}; choose port 0 to be given a free one")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The state on disk is not what this program wrote.
    #[error("the sandbox's state in `{}` cannot be read: {reason}; remove the folder to begin anew", path.display())]
    State {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A server that the sandbox starts did not start, or ended.
    #[error("{service} of the sandbox {reason}")]
    Server {
        /// Which, such as `PostgreSQL`.
        service: &'static str,
        /// What happened, and what to do.
        reason: String,
    },
    /// What the sandbox holds could not be made.
    #[error("cannot {action} in the sandbox: {reason}")]
    Furnish {
        /// What was tried, such as `create the database`.
        action: &'static str,
        /// What the system said.
        reason: String,
    },
    /// A key, a certificate or the TLS settings could not be made.
    #[error("cannot make the TLS identity of the {service} stand-in: {reason}")]
    Tls {
        /// Which stand-in, such as `Kubernetes`.
        service: &'static str,
        /// What the library said.
        reason: String,
    },
}

impl SandboxError {
    /// The error for a file operation: `result.map_err(SandboxError::file("write", path))`.
    pub fn file(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| Self::File { action, path, source }
    }

    /// The error for something that could not be made: `result.map_err(SandboxError::furnish("create the bucket"))`.
    pub(crate) fn furnish<E: std::fmt::Display>(action: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self::Furnish {
            action,
            reason: error.to_string(),
        }
    }
}
