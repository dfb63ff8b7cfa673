//! Distributions and their invalidations: in memory, and on disk before anybody hears of a change.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::xml::Element;
use crate::{SandboxError, description};

/// The file in the stand-in's folder.
const FILE: &str = "state.json";

/// How fast the stand-in is, and how much it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// An invalidation is in progress for at least so long,
    pub completes_after: Duration,
    /// and for at least so many looks at it.
    pub completes_after_looks: u32,
    /// A changed distribution is being deployed for so long.
    pub deploys_after: Duration,
    /// So many paths are dropped at a time, and no more.
    pub most_paths: usize,
    /// So many of them may end with `*`.
    pub most_wildcards: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            completes_after: Duration::from_millis(500),
            completes_after_looks: 0,
            deploys_after: Duration::from_millis(500),
            most_paths: 3000,
            most_wildcards: 15,
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Distribution {
    pub(super) id: String,
    /// The element `DistributionConfig` as it was sent.
    pub(super) config: String,
    pub(super) changed_at: Timestamp,
    pub(super) deployed_at: Timestamp,
    /// How often it was changed.
    pub(super) changes: usize,
    pub(super) invalidations: Vec<Invalidation>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Invalidation {
    pub(super) id: String,
    pub(super) reference: String,
    pub(super) paths: Vec<String>,
    pub(super) created_at: Timestamp,
    completes_at: Timestamp,
    looks_left: u32,
    pub(super) completed: bool,
}

impl Distribution {
    pub(super) fn config(&self) -> Element {
        Element::parse(&self.config).unwrap_or_default()
    }

    /// What proves that nobody has changed it since somebody looked.
    pub(super) fn etag(&self) -> String {
        id_of('E', &format!("{} {}", self.id, self.changes))
    }

    pub(super) fn domain(&self) -> String {
        format!("{}.cloudfront.net", self.id.to_lowercase())
    }

    /// Whether viewers reach it by this host name.
    pub(super) fn serves(&self, host: &str) -> bool {
        let config = self.config();
        let aliases = config.children_at(&["Aliases", "Items"]);
        self.domain() == host || aliases.iter().any(|alias| alias.text == host)
    }

    pub(super) fn in_progress(&self) -> impl Iterator<Item = &Invalidation> {
        self.invalidations.iter().filter(|invalidation| !invalidation.completed)
    }
}

impl Invalidation {
    pub(super) fn new(id: String, reference: String, paths: Vec<String>, now: Timestamp, pace: &Pace) -> Self {
        Self {
            id,
            reference,
            paths,
            created_at: now,
            completes_at: later(now, pace.completes_after),
            looks_left: pace.completes_after_looks,
            completed: false,
        }
    }

    /// Somebody looks at it, or time goes by; says whether it completes by that.
    pub(super) fn pass(&mut self, now: Timestamp, look: bool) -> bool {
        if self.completed {
            return false;
        }
        self.completed = now >= self.completes_at && self.looks_left == 0;
        if look {
            self.looks_left = self.looks_left.saturating_sub(1);
        }
        self.completed
    }
}

/// An id as CloudFront's look, the same for the same thing; the first letter says of what kind.
pub(super) fn id_of(first: char, what: &str) -> String {
    let digest = hex::encode_upper(Sha256::digest(what));
    format!("{first}{}", &digest[..13])
}

/// A time that much later.
pub(super) fn later(now: Timestamp, by: Duration) -> Timestamp {
    now.checked_add(by).unwrap_or(now)
}

/// All that the stand-in knows.
#[derive(Debug)]
pub(super) struct State {
    folder: PathBuf,
    pub(super) distributions: BTreeMap<String, Distribution>,
}

impl State {
    pub(super) fn open(folder: &Path) -> Result<Self, SandboxError> {
        std::fs::create_dir_all(folder).map_err(SandboxError::file("make", folder))?;
        Ok(Self {
            folder: folder.to_path_buf(),
            distributions: description::load(folder, FILE)?.unwrap_or_default(),
        })
    }

    /// Puts it on disk.
    pub(super) fn save(&self) -> Result<(), SandboxError> {
        description::save(&self.folder, FILE, &self.distributions)
    }
}
