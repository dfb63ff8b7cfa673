//! Carries out a part of the work.

use std::collections::{HashMap, HashSet};

use futures::{StreamExt, stream};
use jiff::Timestamp;
use jm_client_s3::{ArchiveTier, ObjectVersion, Pace, S3Bucket, VersionOf};
use jm_step::StepError;

use super::choose::may_be_same;
use super::progress::{Counts, Failure};
use super::verify;
use super::walk::{CopyBack, Part, Refusal, is_awaited};
use crate::same;

/// What a worker needs.
#[derive(Clone)]
pub(super) struct Worker {
    pub(super) bucket: S3Bucket,
    pub(super) pace: Pace,
    /// Versions written since then may be our own, from an attempt that was cut off.
    pub(super) ours_since: Option<Timestamp>,
    /// Whether versions may have what neither a listing tells nor a store copies by itself.
    pub(super) look: bool,
    /// Whether versions may have ACLs that count.
    pub(super) acls: bool,
    /// Whether the bucket keeps versions now.
    pub(super) keeps: bool,
    /// Whether archived versions are asked for.
    pub(super) ask: bool,
    pub(super) days: u16,
    pub(super) tier: ArchiveTier,
}

/// What came of a part.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) counts: Counts,
    pub(super) failures: Vec<(Failure, StepError)>,
    /// How many versions were copied to which others had rights, or may have had, that could not be given again.
    pub(super) shared: u64,
    /// Keys that somebody changed since the first attempt began.
    pub(super) changed: Vec<String>,
    /// Those of versions in an archive.
    pub(super) in_archive: Vec<(Failure, StepError)>,
}

impl Worker {
    /// Does it. What fails for one key is told and holds up no other; an error is about all of them.
    pub(super) async fn carry_out(self, part: Part, at_once: usize) -> Result<Outcome, StepError> {
        let mut outcome = Outcome {
            counts: part.planned.clone(),
            changed: part.changed,
            ..Outcome::default()
        };
        for (key, refusal) in part.refused {
            let (reason, error) = (refusal.reason().to_owned(), refusal.error(&key));
            let in_archive = refusal == (Refusal::WrittenSince { awaited: true });
            outcome.tell(Failure { key, reason }, error, in_archive);
        }
        let waiting = self.ask_for(part.sunk, at_once, &mut outcome).await;
        self.undelete(part.markers, waiting, &mut outcome).await?;
        self.count_rising(part.rising, at_once, &mut outcome).await;
        let copies = part.copies.into_iter().map(|copy| (copy, false));
        let archived = part.archived.into_iter().map(|copy| (copy, true));
        let mut done = stream::iter(copies.chain(archived))
            .map(|(copy, archived)| {
                let worker = self.clone();
                async move {
                    let done = worker.copy_back(&copy, archived).await;
                    (copy, archived, done)
                }
            })
            .buffer_unordered(at_once);
        while let Some((copy, archived, done)) = done.next().await {
            outcome.copied(&copy, archived, done);
        }
        drop(done);
        outcome.shared += self.finish(part.found, at_once).await;
        self.hide(part.hide, &mut outcome).await?;
        Ok(outcome)
    }

    /// Asks for what lies in an archive under markers, before those go: as long as they are there, whoever comes again knows
    /// that it is to be asked for, and what nobody may ask for can come from elsewhere.
    async fn ask_for(&self, sunk: Vec<ObjectVersion>, at_once: usize, outcome: &mut Outcome) -> Sunk {
        for version in sunk.iter().filter(|version| version.in_archive()) {
            outcome.counts.rose(version.bytes);
        }
        let mut asked = stream::iter(sunk)
            .map(|version| async move {
                let there = self.is_there(&version).await;
                (version, there)
            })
            .buffer_unordered(at_once);
        let mut waiting = Sunk::default();
        while let Some((version, there)) = asked.next().await {
            match there {
                Ok(true) => {}
                Ok(false) => {
                    waiting.asked.insert(version.key, version.bytes);
                }
                Err(error) => {
                    outcome.stays_deleted(version.key.clone(), error.context("it stays deleted"));
                    waiting.refused.insert(version.key);
                }
            }
        }
        waiting
    }

    async fn undelete(&self, mut markers: Vec<VersionOf>, sunk: Sunk, outcome: &mut Outcome) -> Result<(), StepError> {
        let Sunk { mut asked, refused } = sunk;
        let planned = markers.len();
        markers.retain(|marker| !refused.contains(&marker.key));
        outcome.counts.markers_removed -= (planned - markers.len()) as u64;
        if markers.is_empty() {
            return Ok(());
        }
        let not_removed = self.bucket.remove_markers(&self.pace, markers, self.keeps).await?;
        let mut failed = HashSet::new();
        for (marker, error) in not_removed {
            outcome.counts.markers_removed -= 1;
            asked.remove(&marker.key);
            // A key with two markers fails once.
            if failed.insert(marker.key.clone()) {
                outcome.stays_deleted(marker.key, error);
            }
        }
        for bytes in asked.into_values() {
            outcome.counts.sank(bytes);
        }
        Ok(())
    }

    /// Counts what came back, and is on its way out of an archive yet.
    async fn count_rising(&self, rising: Vec<ObjectVersion>, at_once: usize, outcome: &mut Outcome) {
        let mut looks = stream::iter(rising)
            .map(|version| async move {
                let info = self.bucket.look_at(&self.pace, &version.key, Some(&version.version_id));
                let info = info.await;
                (version, info)
            })
            .buffer_unordered(at_once);
        while let Some((version, info)) = looks.next().await {
            match info {
                Ok(Some(info)) if info.on_its_way => outcome.counts.sank(version.bytes),
                Ok(_) => {}
                Err(error) => outcome.fail(version.key, error, true),
            }
        }
    }

    /// Marks keys as deleted.
    async fn hide(&self, keys: Vec<String>, outcome: &mut Outcome) -> Result<(), StepError> {
        if keys.is_empty() {
            return Ok(());
        }
        for (key, error) in self.bucket.delete_many(&self.pace, keys).await? {
            outcome.counts.hidden -= 1;
            outcome.fail(key, error, false);
        }
        Ok(())
    }

    async fn copy_back(&self, copy: &CopyBack, archived: bool) -> Result<Done, StepError> {
        if self.is_done(copy).await? {
            let shared = self.keep_acl(copy, Some(&copy.latest.version_id)).await;
            return Ok(Done::Before { shared });
        }
        let archived = archived || self.ask && copy.target.may_be_archived();
        if archived && !self.is_there(&copy.target).await? {
            return Ok(Done::AskedFor);
        }
        let copied = self.bucket.copy_version(&self.pace, &copy.target, self.look).await?;
        let verified = verify::copy(self.bucket.reader(), &self.pace, copy, &copied).await?;
        let shared = self.keep_acl(copy, copied.version_id.as_deref()).await;
        Ok(Done::Now { shared, verified })
    }

    /// Does what an attempt before may have left undone when it was killed: a copy is there before it has its rights. Of how
    /// many some stay behind.
    async fn finish(&self, found: Vec<CopyBack>, at_once: usize) -> u64 {
        let found = found.into_iter().filter(|_| self.acls);
        stream::iter(found)
            .map(|copy| async move {
                let ours = matches!(self.is_done(&copy).await, Ok(true));
                ours && self.keep_acl(&copy, Some(&copy.latest.version_id)).await
            })
            .buffer_unordered(at_once)
            .fold(0, async |shared, behind| shared + u64::from(behind))
            .await
    }

    /// Gives others the rights to a copy that they had to the version. Whether some stay behind.
    async fn keep_acl(&self, copy: &CopyBack, made: Option<&str>) -> bool {
        self.acls && self.bucket.keep_acl(&self.pace, &copy.target, made).await
    }

    /// Whether the newest version is the copy of an attempt before, where no sum that the store keeps could say so.
    async fn is_done(&self, copy: &CopyBack) -> Result<bool, StepError> {
        let ours = self
            .ours_since
            .is_some_and(|since| copy.latest.last_modified.is_none_or(|time| time >= since));
        Ok(ours
            && may_be_same(&copy.latest, &copy.target)
            && same::versions_if_read(&self.bucket, &self.pace, &copy.latest, &copy.target).await?)
    }

    /// Whether an archived version can be read now; asks for it where not, and nobody has.
    async fn is_there(&self, version: &ObjectVersion) -> Result<bool, StepError> {
        let info = self
            .bucket
            .look_at(&self.pace, &version.key, Some(&version.version_id))
            .await?;
        match info {
            Some(info) if info.on_its_way => Ok(false),
            Some(info) if info.archived => {
                let asked = self.bucket.ask_for_archived(&self.pace, version, self.days, self.tier);
                Ok(!asked.await?)
            }
            _ => Ok(true),
        }
    }
}

/// What was found in an archive under markers.
#[derive(Debug, Default)]
struct Sunk {
    /// The bytes of what is on its way out, by key.
    asked: HashMap<String, u64>,
    /// Keys of what could not be asked for.
    refused: HashSet<String>,
}

/// What was done about one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    Now {
        /// Whether others had rights to it, by an ACL that could not be kept.
        shared: bool,
        /// Whether sums tell that the copy has the content of its version.
        verified: bool,
    },
    Before {
        shared: bool,
    },
    AskedFor,
}

impl Outcome {
    fn fail(&mut self, key: String, error: StepError, in_archive: bool) {
        self.counts.failed += 1;
        let reason = error.message().to_owned();
        self.tell(Failure { key, reason }, error, in_archive);
    }

    /// A key that was to come back as its markers go does not.
    fn stays_deleted(&mut self, key: String, error: StepError) {
        self.counts.undeleted = self.counts.undeleted.saturating_sub(1);
        self.fail(key, error, false);
    }

    fn tell(&mut self, failure: Failure, error: StepError, in_archive: bool) {
        let of_those = if in_archive {
            &mut self.in_archive
        } else {
            &mut self.failures
        };
        of_those.push((failure, error));
    }

    fn copied(&mut self, copy: &CopyBack, archived: bool, done: Result<Done, StepError>) {
        let bytes = copy.target.bytes;
        if archived && !matches!(done, Ok(Done::AskedFor)) {
            self.counts.archived -= 1;
            self.counts.archived_bytes -= bytes;
            self.counts.copied_back += 1;
            self.counts.bytes_copied += bytes;
        }
        match done {
            // Only a look at it told that it has to be asked for.
            Ok(Done::AskedFor) if !archived => {
                self.counts.copied_back -= 1;
                self.counts.bytes_copied -= bytes;
                self.counts.archived += 1;
                self.counts.archived_bytes += bytes;
            }
            Ok(Done::Now { shared, verified }) => {
                self.shared += u64::from(shared);
                self.counts.unverified += u64::from(!verified);
            }
            Ok(Done::AskedFor) => {}
            Ok(Done::Before { shared }) => {
                self.shared += u64::from(shared);
                self.counts.copied_back -= 1;
                self.counts.bytes_copied -= bytes;
                self.counts.as_it_was += 1;
            }
            Err(error) => {
                self.counts.copied_back -= 1;
                self.counts.bytes_copied -= bytes;
                self.fail(copy.target.key.clone(), error, is_awaited(&copy.target));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use jm_client_s3::ObjectVersion;

    use super::*;

    #[test]
    fn what_only_a_look_finds_in_an_archive_is_waited_for() {
        let version = ObjectVersion {
            key: "k".to_owned(),
            version_id: "v".to_owned(),
            marker: false,
            latest: false,
            bytes: 5,
            etag: None,
            last_modified: None,
            storage_class: Some("INTELLIGENT_TIERING".to_owned()),
        };
        let copy = CopyBack {
            target: version.clone(),
            latest: version,
        };
        let planned = Counts {
            copied_back: 1,
            bytes_copied: 5,
            ..Counts::default()
        };
        let mut outcome = Outcome {
            counts: planned,
            ..Outcome::default()
        };
        outcome.copied(&copy, false, Ok(Done::AskedFor));
        let waiting = Counts {
            archived: 1,
            archived_bytes: 5,
            ..Counts::default()
        };
        assert_eq!(outcome.counts, waiting);
    }
}
