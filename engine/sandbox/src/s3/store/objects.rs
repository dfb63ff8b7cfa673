//! Putting, reading and deleting objects of a bucket.

use std::io;
use std::sync::Arc;

use jiff::Timestamp;

use super::blob::{self, Drafts};
use super::bucket::{Bucket, Held};
use super::error::StoreError;
use super::history::{History, Version, VersionId};
use super::object::{Object, Segment, Tag, places};
use super::pins::Pin;

/// What must hold for a write to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Condition {
    /// The current object has this ETag (without quotes); `*` is any object.
    pub(crate) if_match: Option<String>,
    /// There is no current object.
    pub(crate) if_none: bool,
}

impl Condition {
    pub(super) fn check(&self, history: &History) -> Result<(), StoreError> {
        let current = history.current();
        if self.if_none && current.is_some() {
            return Err(StoreError::PreconditionFailed("If-None-Match"));
        }
        let Some(expected) = &self.if_match else { return Ok(()) };
        let marker = history.latest().map(Version::id);
        let (_, object) = current.ok_or(StoreError::NoSuchKey { marker })?;
        if expected == "*" || *expected == object.etag {
            return Ok(());
        }
        Err(StoreError::PreconditionFailed("If-Match"))
    }
}

/// A version that was written.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    /// None in a bucket that never had versions.
    pub(crate) version: Option<VersionId>,
    pub(crate) modified: Timestamp,
    pub(crate) object: Arc<Object>,
}

/// What a delete did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deleted {
    /// The marker that was made, or the version that was removed; none in a bucket that never had versions.
    pub(crate) version: Option<VersionId>,
    /// Whether that version is or was a delete marker.
    pub(crate) marker: bool,
}

/// An object to be read: its bytes stay on disk while this lives.
#[derive(Debug)]
pub(crate) struct Reading {
    /// None in a bucket that never had versions.
    pub(crate) version: Option<VersionId>,
    pub(crate) modified: Timestamp,
    /// Whether it is the current one.
    pub(crate) current: bool,
    pin: Pin,
    bucket: Arc<Bucket>,
}

impl Reading {
    /// The object.
    pub(crate) fn object(&self) -> &Arc<Object> {
        &self.pin.object
    }

    /// The bytes `start..end`, opened one segment after the other.
    pub(crate) fn pieces(&self, start: u64, end: u64) -> Vec<(Segment, u64, u64)> {
        places(&self.object().segments, start, end)
    }

    /// Opens one of the pieces.
    pub(crate) fn open(
        &self,
        (segment, start, count): (Segment, u64, u64),
    ) -> Result<impl io::Read + use<>, StoreError> {
        blob::open(&self.bucket.folder.segment(segment.file), segment, start, count)
    }
}

impl Bucket {
    /// Puts an object whose bytes are on disk already.
    pub(crate) fn put(
        &self,
        key: &str,
        object: Object,
        drafts: Drafts,
        condition: &Condition,
    ) -> Result<Written, StoreError> {
        let held = self.hold(key)?;
        condition.check(&held.history())?;
        let written = held.push(object)?;
        drafts.keep();
        Ok(written)
    }

    /// Finds an object for reading: that version, or else the current one.
    pub(crate) fn read(self: &Arc<Self>, key: &str, id: Option<VersionId>) -> Result<Reading, StoreError> {
        let held = self.hold(key)?;
        let history = held.history();
        let (version, object) = history.read(id)?;
        Ok(Reading {
            version: held.shown(version),
            modified: version.modified,
            current: history.latest() == Some(version),
            pin: self.shared.pins.pin(&self.folder, object),
            bucket: Arc::clone(self),
        })
    }

    /// Gives the bytes of another object second names in this bucket: a copy that reads nothing.
    pub(crate) fn link(&self, source: &Reading) -> Result<(Vec<Segment>, Drafts), StoreError> {
        let mut drafts = Drafts::default();
        let mut segments = Vec::new();
        for segment in &source.object().segments {
            let file = self.shared.stamps.next();
            drafts.link(&source.bucket.folder.segment(segment.file), &self.folder, file)?;
            segments.push(Segment { file, ..*segment });
        }
        Ok((segments, drafts))
    }

    /// Deletes a key: with a marker where the bucket has versions, for good where it never had.
    pub(crate) fn delete_key(&self, key: &str, condition: &Condition) -> Result<Deleted, StoreError> {
        let held = self.hold(key)?;
        let mut history = History::clone(&held.history());
        condition.check(&history)?;
        let (stamp, modified) = held.moment();
        let gone = history.delete(held.versioning, stamp, modified);
        let made = history.latest().filter(|version| version.stamp == stamp);
        let deleted = Deleted {
            version: made.map(Version::id),
            marker: made.is_some(),
        };
        if made.is_some() || gone.is_some() {
            held.replace(history, gone)?;
        }
        Ok(deleted)
    }

    /// Removes one version or marker for good. One that is not there is as good as removed.
    pub(crate) fn delete_version(
        &self,
        key: &str,
        id: VersionId,
        condition: &Condition,
    ) -> Result<Deleted, StoreError> {
        let held = self.hold(key)?;
        let mut history = History::clone(&held.history());
        condition.check(&history)?;
        let gone = history.remove(id);
        let marker = gone.as_ref().is_some_and(|version| version.object.is_none());
        if gone.is_some() {
            held.replace(history, gone)?;
        }
        let version = Some(id);
        Ok(Deleted { version, marker })
    }

    /// Replaces the tags of that version, or else of the current one; answers the version's id.
    pub(crate) fn set_tags(
        &self,
        key: &str,
        id: Option<VersionId>,
        tags: Vec<Tag>,
    ) -> Result<Option<VersionId>, StoreError> {
        let held = self.hold(key)?;
        let mut history = History::clone(&held.history());
        let (version, object) = history.read(id)?;
        let (stamp, shown) = (version.stamp, held.shown(version));
        let mut object = Object::clone(object);
        object.details.tags = tags;
        let object = Arc::new(object);
        let changed = history.versions.iter_mut().find(|version| version.stamp == stamp);
        if let Some(version) = changed {
            version.object = Some(object);
        }
        held.replace(history, None)?;
        Ok(shown)
    }
}

impl Held<'_> {
    /// Adds an object to the end of the key's history.
    pub(super) fn push(&self, object: Object) -> Result<Written, StoreError> {
        let mut history = History::clone(&self.history());
        let (stamp, modified) = self.moment();
        let object = Arc::new(object);
        let gone = history.push(self.versioning, stamp, modified, Some(Arc::clone(&object)));
        let version = history.latest().and_then(|version| self.shown(version));
        self.replace(history, gone)?;
        Ok(Written {
            version,
            modified,
            object,
        })
    }
}
