//! Files that a connection needs and that somebody names: a kubeconfig, certificates, a key.

use std::path::PathBuf;

/// A file that opening a connection would read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedFile {
    /// What it is, such as `kubeconfig`.
    pub what: &'static str,
    /// Where it may be. One of them is enough; those that are there have to be readable.
    pub paths: Vec<PathBuf>,
    /// Who names it.
    pub by: NamedBy,
    /// Whether it describes the system itself, so that a step that brings the system back may write it.
    pub comes_with_system: bool,
}

/// Where a file's name is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedBy {
    /// The value of the configuration at this JSON pointer.
    Field(&'static str),
    /// A variable that clients of the system follow by convention, such as `KUBECONFIG`.
    Variable(&'static str),
}

impl NamedFile {
    /// A file.
    pub fn new(what: &'static str, path: impl Into<PathBuf>, by: NamedBy) -> Self {
        Self {
            what,
            paths: vec![path.into()],
            by,
            comes_with_system: false,
        }
    }
}
