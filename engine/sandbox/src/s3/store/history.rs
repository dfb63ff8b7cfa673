//! The versions of one key and the rules by which they come and go. Pure: no disk, no clock.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::StoreError;
use super::object::Object;
use super::stamp::Stamp;

/// Whether a bucket keeps versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Versioning {
    /// Versioning was never switched on; a bucket never comes back to this.
    #[default]
    Never,
    Enabled,
    Suspended,
}

/// The name of a version: its stamp, or `null` for what was written while versioning was not on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum VersionId {
    Null,
    Stamp(Stamp),
}

impl FromStr for VersionId {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        match text {
            "null" => Ok(Self::Null),
            text => text.parse().map(Self::Stamp).map_err(|_| StoreError::InvalidVersionId),
        }
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => out.write_str("null"),
            Self::Stamp(stamp) => stamp.fmt(out),
        }
    }
}

/// One version of a key, or a delete marker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Version {
    /// Its place in time; also its id where it is not the null version.
    pub(crate) stamp: Stamp,
    /// Written while versioning was not on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) null: bool,
    pub(crate) modified: Timestamp,
    /// None is a delete marker.
    pub(crate) object: Option<Arc<Object>>,
}

impl Version {
    /// The id by which clients name it.
    pub(crate) fn id(&self) -> VersionId {
        if self.null {
            VersionId::Null
        } else {
            VersionId::Stamp(self.stamp)
        }
    }
}

/// All versions of a key, oldest first. At most one of them is null.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct History {
    pub(crate) key: String,
    pub(crate) versions: Vec<Version>,
}

impl History {
    /// The history of a key that was never written.
    pub(crate) fn new(key: &str) -> Self {
        let key = key.to_owned();
        Self {
            key,
            versions: Vec::new(),
        }
    }

    /// The newest version or marker.
    pub(crate) fn latest(&self) -> Option<&Version> {
        self.versions.last()
    }

    /// The object that a plain get finds: the latest version where that is no marker.
    pub(crate) fn current(&self) -> Option<(&Version, &Arc<Object>)> {
        let latest = self.latest()?;
        Some((latest, latest.object.as_ref()?))
    }

    /// The version of that id.
    pub(crate) fn find(&self, id: VersionId) -> Option<&Version> {
        self.versions.iter().find(|version| version.id() == id)
    }

    /// The version that a request means: by id, or else the current one.
    pub(crate) fn read(&self, id: Option<VersionId>) -> Result<(&Version, &Arc<Object>), StoreError> {
        match id {
            None => self.current().ok_or_else(|| StoreError::NoSuchKey {
                marker: self.latest().map(Version::id),
            }),
            Some(id) => {
                let version = self.find(id).ok_or(StoreError::NoSuchVersion)?;
                let modified = version.modified;
                let marker = StoreError::IsMarker { version: id, modified };
                version.object.as_ref().map(|object| (version, object)).ok_or(marker)
            }
        }
    }

    /// Adds a version, or a marker where `object` is none; answers the version that it replaces.
    pub(crate) fn push(
        &mut self,
        versioning: Versioning,
        stamp: Stamp,
        modified: Timestamp,
        object: Option<Arc<Object>>,
    ) -> Option<Version> {
        let null = versioning != Versioning::Enabled;
        let replaced = if null { self.remove(VersionId::Null) } else { None };
        let version = Version {
            stamp,
            null,
            modified,
            object,
        };
        self.versions.push(version);
        replaced
    }

    /// Deletes the key as a request without a version id does; answers the version that is gone for good.
    pub(crate) fn delete(&mut self, versioning: Versioning, stamp: Stamp, modified: Timestamp) -> Option<Version> {
        match versioning {
            Versioning::Never => self.remove(VersionId::Null),
            Versioning::Enabled | Versioning::Suspended => self.push(versioning, stamp, modified, None),
        }
    }

    /// Removes a version for good.
    pub(crate) fn remove(&mut self, id: VersionId) -> Option<Version> {
        let place = self.versions.iter().position(|version| version.id() == id)?;
        Some(self.versions.remove(place))
    }
}
