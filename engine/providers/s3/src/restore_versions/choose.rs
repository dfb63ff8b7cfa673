//! What is done with a key, from its versions with the newest first. Pure: no store, no clock.

use std::collections::VecDeque;

use jiff::Timestamp;
use jm_client_s3::{NULL_VERSION, ObjectVersion, VersionOf};

use super::progress::older;
use super::walk::is_awaited;
use crate::same;

/// What is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// What was deleted is there again; what was overwritten stays.
    Undelete,
    /// Every key is as it was then.
    AsOf(Timestamp),
}

impl Wish {
    /// Whether a version may be the one that is wanted.
    fn reaches(self, version: &ObjectVersion) -> bool {
        match self {
            Self::Undelete => !version.marker,
            // One without a time may be the one, and nobody can say.
            Self::AsOf(at) => version.last_modified.is_none_or(|time| time <= at),
        }
    }
}

/// What is done with a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is as it was; or a copy of an earlier attempt made it so, and somebody went on from there.
    AsItWas,
    /// The same of one that lies in an archive, or may.
    InArchive(ObjectVersion),
    /// It was as it was when the first attempt began, or came back by the removal of markers, and somebody wrote or deleted
    /// it since: versions do not tell which of the two.
    ChangedSince,
    /// Only markers lie on the version that is wanted: they are removed.
    Undelete {
        markers: Vec<VersionOf>,
        target: ObjectVersion,
        latest: ObjectVersion,
        /// As for a copy, which takes the place of this where markers cannot be removed.
        loses_null: bool,
    },
    /// Something else lies on it, or too many markers: it is copied over that, unless that is the same ([`may_be_same`]).
    CopyBack {
        target: ObjectVersion,
        latest: ObjectVersion,
        /// The key has content under the id `null`, which a bucket that keeps no new versions would lose. So it would where
        /// that is the one that is wanted: its copy takes its place and is of today, and whoever goes on after a kill, or
        /// asks for that moment again, does not find it.
        loses_null: bool,
        /// Versions between the two that were written since the first attempt began and may be its copy, the oldest first.
        newer: Vec<ObjectVersion>,
    },
    /// It was deleted then, and is deleted now.
    StaysDeleted,
    /// It did not exist then, or was deleted, and exists now.
    CreatedSince {
        loses_null: bool,
        /// Somebody wrote it since the first attempt began.
        later: bool,
    },
    /// There are markers only: no content is left.
    NothingLeft,
    /// Nobody can tell what it was: the version that may be wanted has no time.
    Untold,
}

/// A key, and what is done with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decided {
    pub(super) key: String,
    pub(super) verdict: Verdict,
    /// How many versions and markers it has.
    pub(super) versions: u64,
    /// When the oldest of those was written that tell it.
    pub(super) oldest: Option<Timestamp>,
}

/// With more markers than that on one key, such as of a job that deletes it each minute, what lies under them is copied over
/// them: one request in the place of many, and none of them is held.
const MOST_MARKERS: usize = 10_000;
/// So many of the versions that were written since the first attempt began are held of one key: those next to the target, for
/// a copy of it comes before what others write over that.
const MOST_NEWER: usize = 1000;

/// So many seconds the clock of a store's answers may lag behind that of its versions: servers that write the header `Date`
/// anew once a second only.
const LAG: i64 = 1;

/// Whether a version was written since the first attempt began: by an attempt or a walk before, or by somebody else. Stores
/// tell times by the second. What counts as written before is brought back, so that nothing lost is taken for new.
pub(super) fn is_written_since(version: &ObjectVersion, since: Option<Timestamp>) -> bool {
    since
        .zip(version.last_modified)
        .is_some_and(|(since, written)| written.as_second() > since.as_second() + LAG)
}

/// Takes versions in the order of the listing and decides key by key. Holds one key at a time, and of that only what a
/// decision may need.
#[derive(Debug)]
pub(super) struct Chooser {
    wish: Wish,
    /// When the first attempt began, where that is not this one.
    since: Option<Timestamp>,
    group: Option<Group>,
}

#[derive(Debug)]
struct Group {
    since: Option<Timestamp>,
    latest: ObjectVersion,
    /// The last entry, to know one that is repeated at the edge of a page.
    last: String,
    target: Option<ObjectVersion>,
    /// Those above the target, as long as nothing else lies above it.
    markers: Vec<VersionOf>,
    /// Whether content lies above it, or so many markers that it is copied over them.
    content_above: bool,
    content_below: bool,
    null_content: bool,
    null_marker: bool,
    versions: u64,
    oldest: Option<Timestamp>,
    /// Those with content above the target that were written since the first attempt began, the newest first.
    newer: VecDeque<ObjectVersion>,
    /// Whether what lies next above the target was written since then, so that the target was still the newest one.
    was_newest: bool,
}

impl Chooser {
    pub(super) fn new(wish: Wish, since: Option<Timestamp>) -> Self {
        Self {
            wish,
            since,
            group: None,
        }
    }

    /// Takes the next entry; where it is the first of another key, the key before it is decided.
    pub(super) fn push(&mut self, entry: ObjectVersion) -> Option<Decided> {
        if let Some(group) = self.group.as_mut().filter(|group| group.latest.key == entry.key) {
            if group.last != entry.version_id && !group.has_null(&entry) {
                group.take(self.wish, entry);
            }
            return None;
        }
        let decided = self.finish();
        self.group = Some(Group::new(self.wish, self.since, entry));
        decided
    }

    /// There are no more entries.
    pub(super) fn finish(&mut self) -> Option<Decided> {
        let group = self.group.take()?;
        Some(Decided {
            key: group.latest.key.clone(),
            versions: group.versions,
            oldest: group.oldest,
            verdict: group.verdict(self.wish),
        })
    }
}

impl Group {
    fn new(wish: Wish, since: Option<Timestamp>, first: ObjectVersion) -> Self {
        let mut group = Self {
            since,
            latest: first.clone(),
            last: String::new(),
            target: None,
            markers: Vec::new(),
            content_above: false,
            content_below: false,
            null_content: false,
            null_marker: false,
            versions: 0,
            oldest: None,
            newer: VecDeque::new(),
            was_newest: false,
        };
        group.take(wish, first);
        group
    }

    fn take(&mut self, wish: Wish, entry: ObjectVersion) {
        self.versions += 1;
        self.oldest = older(self.oldest, entry.last_modified);
        self.last.clone_from(&entry.version_id);
        let is_null = entry.version_id == NULL_VERSION;
        self.null_content |= is_null && !entry.marker;
        self.null_marker |= is_null && entry.marker;
        if self.target.is_some() {
            self.content_below |= !entry.marker;
        } else if wish.reaches(&entry) {
            self.target = Some(entry);
        } else {
            self.lies_above(entry);
        }
    }

    /// Whether it is told again: versitygw does so with what has the id `null` on each page that goes on below it. (There a marker
    /// may have content of the same id under it.)
    fn has_null(&self, entry: &ObjectVersion) -> bool {
        let known = if entry.marker {
            self.null_marker
        } else {
            self.null_content
        };
        known && entry.version_id == NULL_VERSION
    }

    fn lies_above(&mut self, entry: ObjectVersion) {
        self.was_newest = is_written_since(&entry, self.since);
        if entry.marker {
            if !self.content_above {
                self.markers.push(VersionOf {
                    key: entry.key,
                    version_id: entry.version_id,
                });
            }
            if self.markers.len() > MOST_MARKERS {
                self.content_above = true;
                self.markers = Vec::new();
            }
        } else {
            self.content_above = true;
            self.markers = Vec::new();
            if self.was_newest {
                self.newer.push_back(entry);
            }
            if self.newer.len() > MOST_NEWER {
                self.newer.pop_front();
            }
        }
    }

    fn verdict(self, wish: Wish) -> Verdict {
        let later = is_written_since(&self.latest, self.since);
        let Some(target) = self.target else {
            return match wish {
                Wish::Undelete => Verdict::NothingLeft,
                Wish::AsOf(_) if self.latest.marker => Verdict::StaysDeleted,
                Wish::AsOf(_) => Verdict::CreatedSince {
                    loses_null: self.null_content,
                    later,
                },
            };
        };
        // Where nothing but markers is left, the key stays deleted, whenever those were made.
        let has_content = !target.marker || self.content_above || self.content_below;
        if matches!(wish, Wish::AsOf(_)) && target.last_modified.is_none() && has_content {
            return Verdict::Untold;
        }
        if target.version_id == self.latest.version_id {
            return match (target.marker, self.content_below) {
                (false, _) if is_awaited(&target) => Verdict::InArchive(target),
                (false, _) => Verdict::AsItWas,
                (true, _) => Verdict::StaysDeleted,
            };
        }
        if target.marker {
            return if self.latest.marker {
                Verdict::StaysDeleted
            } else {
                // Another marker would take the place of this one, and be of today.
                let loses_null = self.null_content || target.version_id == NULL_VERSION;
                Verdict::CreatedSince { loses_null, later }
            };
        }
        if self.was_newest {
            return Verdict::ChangedSince;
        }
        if !self.content_above {
            return Verdict::Undelete {
                markers: self.markers,
                target,
                latest: self.latest,
                loses_null: self.null_content,
            };
        }
        let between = |one: &ObjectVersion| one.version_id != self.latest.version_id && may_be_same(one, &target);
        let newer: Vec<ObjectVersion> = self.newer.into_iter().rev().filter(between).collect();
        if newer.iter().any(|one| same::has_etag_of(one, &target)) {
            return Verdict::AsItWas;
        }
        Verdict::CopyBack {
            target,
            latest: self.latest,
            loses_null: self.null_content,
            newer,
        }
    }
}

/// Whether two versions of different ETags may have the same content all the same: an ETag of parts, or of an encrypted
/// object, is not a sum of the content.
pub(super) fn may_be_same(latest: &ObjectVersion, target: &ObjectVersion) -> bool {
    !latest.marker && latest.bytes == target.bytes
}

/// Whether an ETag has the form of an MD5.
pub(super) fn is_of_parts(version: &ObjectVersion) -> bool {
    version.etag.as_ref().is_none_or(|etag| etag.contains('-'))
}
