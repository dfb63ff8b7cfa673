//! What a restore saves to go on from, and what it counts.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What was found and done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) struct Counts {
    /// Keys that were looked at.
    pub(super) keys: u64,
    /// Versions and markers that were looked at.
    pub(super) versions: u64,
    /// When the oldest of those was written that tell it.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(super) oldest: Option<Timestamp>,
    /// Keys that were as they should be.
    pub(super) as_it_was: u64,
    /// Keys that were as they should be when the first attempt began, or came back by it, and are left as somebody made them
    /// since.
    #[serde(default)]
    pub(super) changed_since: u64,
    /// Keys that were deleted and are there again.
    pub(super) undeleted: u64,
    /// Markers that were removed for that.
    pub(super) markers_removed: u64,
    /// Keys that were overwritten and have their old content again.
    pub(super) copied_back: u64,
    /// The bytes of those.
    pub(super) bytes_copied: u64,
    /// Of those, and of the copies of attempts before: which could not be compared with their versions by a sum, for the store
    /// keeps none of one kind for both.
    #[serde(default)]
    pub(super) unverified: u64,
    /// Keys that did not exist then and were marked as deleted.
    pub(super) hidden: u64,
    /// Keys that did not exist then and were left alone.
    pub(super) created_since: u64,
    /// Keys that were deleted then and are deleted now.
    pub(super) stay_deleted: u64,
    /// Keys of which nothing but markers is left.
    pub(super) nothing_left: u64,
    /// Keys whose wanted version lies in an archive, and has been asked for or has to be.
    pub(super) archived: u64,
    /// The bytes of those.
    pub(super) archived_bytes: u64,
    /// Of those that were deleted and are back: whose content lies in an archive, as it did, and cannot be read before it was
    /// asked for, or is on its way out of it. Of the class `INTELLIGENT_TIERING` only those count that were asked for.
    #[serde(default)]
    pub(super) undeleted_archived: u64,
    /// The bytes of those.
    #[serde(default)]
    pub(super) undeleted_archived_bytes: u64,
    /// Keys that could not be brought back.
    pub(super) failed: u64,
}

macro_rules! each_field {
    ($operation:expr, $one:expr, $other:expr; $($field:ident)*) => { $( $one.$field = $operation($one.$field, $other.$field); )* };
}

impl Counts {
    pub(super) fn add(&mut self, other: &Self) {
        self.combine(other, u64::saturating_add);
        self.oldest = older(self.oldest, other.oldest);
    }

    /// Where a part of the work is done a second time: what it found done already was done by the first.
    pub(super) fn credit(&mut self, planned: &Self) {
        let done = planned.undeleted.saturating_sub(self.undeleted + self.failed);
        // What lay in an archive may have come out of it, and been copied.
        let wanted = planned.copied_back + planned.archived;
        let copied = wanted.saturating_sub(self.copied_back + self.archived + self.failed);
        let hidden = planned.hidden.saturating_sub(self.hidden + self.failed);
        self.undeleted += done;
        self.copied_back += copied;
        self.unverified = self.unverified.min(self.copied_back);
        self.hidden += hidden;
        if self.failed == 0 {
            self.markers_removed = self.markers_removed.max(planned.markers_removed);
            let wanted = planned.bytes_copied + planned.archived_bytes;
            self.bytes_copied = self.bytes_copied.max(wanted.saturating_sub(self.archived_bytes));
            self.versions = planned.versions;
        }
        self.as_it_was = self.as_it_was.saturating_sub(done + copied);
        self.stay_deleted = self.stay_deleted.saturating_sub(hidden);
    }

    /// What a later walk has done, which looks at all keys again and acts on those only that the archive gave back.
    pub(super) fn came_from_archive(&mut self, done: &Self) {
        self.copied_back += done.copied_back;
        self.bytes_copied += done.bytes_copied;
        self.unverified += done.unverified;
        self.failed += done.failed;
        self.archived += done.archived;
        self.archived_bytes += done.archived_bytes;
        self.undeleted_archived += done.undeleted_archived;
        self.undeleted_archived_bytes += done.undeleted_archived_bytes;
    }

    /// Of what was deleted and comes back, something lies in an archive.
    pub(super) fn sank(&mut self, bytes: u64) {
        self.undeleted_archived += 1;
        self.undeleted_archived_bytes += bytes;
    }

    /// It does not after all, or does not come back.
    pub(super) fn rose(&mut self, bytes: u64) {
        self.undeleted_archived -= 1;
        self.undeleted_archived_bytes -= bytes;
    }

    /// How many keys lie in an archive whose content is wanted, and how many bytes those have.
    pub(super) fn in_archive(&self) -> (u64, u64) {
        (
            self.archived + self.undeleted_archived,
            self.archived_bytes + self.undeleted_archived_bytes,
        )
    }

    /// What comes of it once everything has come out of the archive.
    pub(super) fn once_out_of_archive(self) -> Self {
        Self {
            copied_back: self.copied_back + self.archived,
            bytes_copied: self.bytes_copied + self.archived_bytes,
            archived: 0,
            archived_bytes: 0,
            undeleted_archived: 0,
            undeleted_archived_bytes: 0,
            ..self
        }
    }

    /// How many keys were changed.
    pub(super) fn changed(&self) -> u64 {
        self.undeleted + self.copied_back + self.hidden
    }

    /// Of how many copies sums tell that they have the content of their version.
    pub(super) fn verified(&self) -> u64 {
        self.copied_back.saturating_sub(self.unverified)
    }

    fn combine(&mut self, other: &Self, with: fn(u64, u64) -> u64) {
        each_field!(with, self, other; keys versions as_it_was changed_since undeleted markers_removed copied_back bytes_copied unverified hidden
            created_since stay_deleted nothing_left archived archived_bytes undeleted_archived
            undeleted_archived_bytes failed);
    }
}

/// The older of two moments, where they are known.
pub(super) fn older(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}

/// A key that could not be brought back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) struct Failure {
    /// The key, relative to the target's prefix.
    pub(super) key: String,
    /// Why not.
    pub(super) reason: String,
}

/// A part of the work that was begun: its keys are done again by whoever goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Begun {
    /// Its last key.
    pub(super) upto: String,
    /// What was to be done in it.
    pub(super) planned: Counts,
}

/// So many failures stand in a record.
const SHOWN: usize = 20;
/// So many failures are kept for the artefact.
const KEPT: usize = 10_000;

/// Keys that could not be brought back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failures {
    /// How many there are.
    pub(super) count: u64,
    /// The first of them.
    pub(super) first: Vec<Failure>,
    /// The next of them, which whoever goes on after a kill does not have any more: the log of the attempt names them.
    #[serde(skip)]
    next: Vec<Failure>,
}

impl Failures {
    /// Takes one in, as far as there is room for it. Whether it is one that a kill would lose.
    pub(super) fn add(&mut self, failure: Failure) -> bool {
        self.count += 1;
        if self.first.len() < SHOWN {
            self.first.push(failure);
            return false;
        }
        let has_room = self.next.len() < KEPT;
        if has_room {
            self.next.push(failure);
        }
        has_room
    }

    /// Takes those in that come after these.
    pub(super) fn append(&mut self, other: Self) {
        let known = other.known() as u64;
        for failure in other.first.into_iter().chain(other.next) {
            self.add(failure);
        }
        self.count += other.count - known;
    }

    /// More than the first, where there are more: one JSON object a line. With how many of them nobody knows any more.
    pub(super) fn lines(&self) -> Option<(String, u64)> {
        let lines = self.first.iter().chain(&self.next);
        let lines = lines.filter_map(|failure| serde_json::to_string(failure).ok());
        let lines: String = lines.map(|line| line + "\n").collect();
        (!self.next.is_empty()).then(|| (lines, self.count - self.known() as u64))
    }

    fn known(&self) -> usize {
        self.first.len() + self.next.len()
    }
}

/// Between which keys something was asked for from an archive, and is as it was but for that: whoever comes again looks whether
/// it is there, and at no other keys for that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Asked {
    first: String,
    /// Without one: to the end.
    last: Option<String>,
}

impl Asked {
    /// Where nobody knows any more what was asked for.
    pub(super) fn anywhere() -> Self {
        let (first, last) = (String::new(), None);
        Self { first, last }
    }

    /// Of these keys, beside those that are known.
    fn also<'k>(known: Option<Self>, keys: impl Iterator<Item = &'k str>) -> Option<Self> {
        keys.fold(known, |known, key| {
            let Some(Self { first, last }) = known else {
                let (first, last) = (key.to_owned(), Some(key.to_owned()));
                return Some(Self { first, last });
            };
            let first = if key < first.as_str() { key.to_owned() } else { first };
            let last = last.map(|last| if key > last.as_str() { key.to_owned() } else { last });
            Some(Self { first, last })
        })
    }

    pub(super) fn reaches(&self, key: &str) -> bool {
        key >= self.first.as_str() && self.last.as_deref().is_none_or(|last| key <= last)
    }
}

/// Saved before each part of the work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// When the first attempt began, by this machine's clock.
    pub(super) began: Timestamp,
    /// When the first walk began, by the store's clock.
    #[serde(default)]
    pub(super) began_there: Option<Timestamp>,
    /// Which walk through the keys this is: archived versions take several.
    pub(super) walk: u32,
    /// The last key of those that are done.
    pub(super) after: Option<String>,
    /// What was done up to there, in this walk and the ones before.
    pub(super) counts: Counts,
    /// Of how many of the copied versions the ACL stayed behind, and gave others rights, or may have.
    #[serde(default)]
    pub(super) shared: u64,
    /// The first of the keys that somebody changed since the first attempt began.
    #[serde(default)]
    pub(super) changed: Vec<String>,
    /// Where something that came back as its markers went was asked for from an archive.
    #[serde(default)]
    pub(super) asked: Option<Asked>,
    /// Those that are begun, in order.
    pub(super) begun: Vec<Begun>,
    /// Keys that could not be brought back.
    pub(super) failures: Failures,
    /// Of those whose wanted version lies in an archive: each walk tries them again, and tells anew.
    #[serde(default)]
    pub(super) in_archive: Failures,
}

impl Progress {
    pub(super) fn new(began: Timestamp) -> Self {
        Self {
            began,
            began_there: None,
            walk: 1,
            after: None,
            counts: Counts::default(),
            shared: 0,
            changed: Vec::new(),
            asked: None,
            begun: Vec::new(),
            failures: Failures::default(),
            in_archive: Failures::default(),
        }
    }

    /// Where whoever tries again begins: anew, for what is done already is left alone, and so is what others write meanwhile.
    pub(super) fn anew(&self) -> Self {
        Self {
            began_there: self.began_there,
            ..Self::new(self.began)
        }
    }

    /// What later walks and attempts go by: when the first one began. A store that does not tell the time has that of this
    /// machine.
    pub(super) fn since(&self) -> Timestamp {
        self.began_there.unwrap_or(self.began)
    }

    /// These keys are asked for from an archive.
    pub(super) fn ask_for<'k>(&mut self, keys: impl Iterator<Item = &'k str>) {
        self.asked = Asked::also(self.asked.take(), keys);
    }

    /// Each walk counts anew what lies in the archive: what it waited for may have come back by another hand, or be gone.
    pub(super) fn forget_archived(&mut self) {
        self.counts.archived = 0;
        self.counts.archived_bytes = 0;
        self.counts.undeleted_archived = 0;
        self.counts.undeleted_archived_bytes = 0;
        self.counts.failed -= self.in_archive.count;
        self.in_archive = Failures::default();
    }
}
