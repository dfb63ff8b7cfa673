//! From pages of versions to parts of the work, each about as large as one request for a thousand markers.

use std::collections::VecDeque;

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use jm_client_s3::{ObjectVersion, Pace, S3Reader, VersionMark, VersionOf};
use jm_step::StepError;

use super::choose::{Chooser, Decided, Verdict, Wish, is_of_parts, is_written_since, may_be_same};
use super::progress::{Asked, Counts, older};
use crate::same;

/// A part of which there is little to do ends after the keys of so many pages, so that what was looked at is saved.
const PAGES: u64 = 20;
/// So many keys are looked at together of which the listing does not tell whether they are as they were.
const LOOKS_AT_ONCE: usize = 32;

/// What is done to keys that did not exist.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) wish: Wish,
    /// Keys that did not exist then are marked as deleted.
    pub(super) hide: bool,
    /// New versions take the place of those with the id `null`.
    pub(super) nulls_are_lost: bool,
    /// Markers cannot be removed without a second factor: what lies under them is copied over them.
    pub(super) markers_stay: bool,
    /// The ETag of what was written in one request may be none of its sums.
    pub(super) by_kms: bool,
    /// Archived versions are asked for.
    pub(super) ask_archive: bool,
    /// Everything but archived versions was done in earlier walks.
    pub(super) only_archived: bool,
    /// When the first walk of the run's first attempt began, by the store's clock, where this is a later one: what somebody
    /// wrote after that stays.
    pub(super) since: Option<Timestamp>,
    /// So many versions come at a time; and a part is full when it has so many markers or copies.
    pub(super) page: u16,
}

/// Something that overwrites.
#[derive(Debug, Clone)]
pub(super) struct CopyBack {
    pub(super) target: ObjectVersion,
    pub(super) latest: ObjectVersion,
}

/// A part of the work.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// Its last key.
    pub(super) upto: String,
    pub(super) markers: Vec<VersionOf>,
    pub(super) copies: Vec<CopyBack>,
    pub(super) archived: Vec<CopyBack>,
    /// Of those whose markers go: what lies in an archive, or may, and is asked for first.
    pub(super) sunk: Vec<ObjectVersion>,
    /// What is as it was, and may be on its way out of an archive, for it was asked for before.
    pub(super) rising: Vec<ObjectVersion>,
    /// Of a part that was begun before: copies that are there, and may lack what is given to them once they are.
    pub(super) found: Vec<CopyBack>,
    pub(super) hide: Vec<String>,
    /// Keys that were right when the first attempt began, and are left as somebody made them since.
    pub(super) changed: Vec<String>,
    /// Keys that must not be touched, and why.
    pub(super) refused: Vec<(String, Refusal)>,
    /// What comes of it if all goes well.
    pub(super) planned: Counts,
}

/// Walks through the versions of a prefix.
pub(super) struct Walk {
    bucket: S3Reader,
    pace: Pace,
    prefix: String,
    rules: Rules,
    chooser: Chooser,
    waiting: VecDeque<ObjectVersion>,
    next: Option<VersionMark>,
    listed_all: bool,
    /// The key after which the walk begins: a store may repeat it.
    skip: Option<String>,
    /// A part ends at this key, so that it is the same as one that was begun before.
    stop_at: Option<String>,
    /// Between which keys what is as it was may be on its way out of an archive.
    asked: Option<Asked>,
    over: bool,
    /// When the store gave its first page, by its clock, which may lag behind.
    began: Option<Timestamp>,
}

impl Walk {
    pub(super) fn new(bucket: S3Reader, pace: Pace, prefix: &str, rules: Rules, after: Option<&str>) -> Self {
        Self {
            next: after.map(|key| bucket.after_key(key)),
            bucket,
            pace,
            prefix: prefix.to_owned(),
            rules,
            chooser: Chooser::new(rules.wish, rules.since),
            waiting: VecDeque::new(),
            listed_all: false,
            skip: after.map(str::to_owned),
            stop_at: None,
            asked: None,
            over: false,
            began: None,
        }
    }

    /// When it began, by the store's clock, once there was a part.
    pub(super) fn began(&self) -> Option<Timestamp> {
        self.began
    }

    /// The next part ends with this key and not before.
    pub(super) fn stop_at(&mut self, key: String) {
        self.stop_at = Some(key);
    }

    /// What is as it was between these keys may be on its way out of an archive.
    pub(super) fn look_between(&mut self, asked: Option<Asked>) {
        self.asked = asked;
    }

    /// The next part; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Part>, StepError> {
        let mut part = Part::default();
        let mut unsure = Vec::new();
        let again = self.stop_at.is_some();
        while !self.over {
            let decided = self.decide().await?;
            let Some(decided) = decided else {
                self.over = true;
                break;
            };
            part.count(&decided);
            let verdict = self.rules.without_removing(decided.verdict);
            match verdict {
                Verdict::CopyBack {
                    target,
                    latest,
                    loses_null,
                    newer,
                } if self.rules.are_unsure(&latest, &target)
                    || newer.iter().any(|one| self.rules.are_unsure(one, &target)) =>
                {
                    unsure.push(Unsure {
                        target,
                        latest,
                        loses_null,
                        newer,
                    });
                }
                Verdict::InArchive(version) if self.may_be_rising(&version) => {
                    part.rising.push(version.clone());
                    part.take(decided.key, Verdict::InArchive(version), self.rules);
                }
                verdict => part.take(decided.key, verdict, self.rules),
            }
            let full = match &self.stop_at {
                Some(key) => part.upto.as_bytes() >= key.as_bytes(),
                None => part.full(self.rules.page, unsure.len()),
            };
            if full {
                self.stop_at = None;
                break;
            }
        }
        self.look_at(unsure, again, &mut part).await?;
        Ok((part.planned.keys > 0).then_some(part))
    }

    fn may_be_rising(&self, version: &ObjectVersion) -> bool {
        self.asked.as_ref().is_some_and(|asked| asked.reaches(&version.key))
    }

    /// Compares versions of which the listing tells too little; of a part that was begun before (`again`), what is found done
    /// may not have been done to its end.
    async fn look_at(&self, unsure: Vec<Unsure>, again: bool, part: &mut Part) -> Result<(), StepError> {
        let mut looked = stream::iter(unsure)
            .map(|one| async {
                let same = one.is_same(&self.bucket, &self.pace, self.rules).await?;
                Ok::<_, StepError>((one, same))
            })
            .buffered(LOOKS_AT_ONCE);
        while let Some((one, same)) = looked.try_next().await? {
            // A retry knows no parts, and what is newer than the first attempt may be its copy.
            let may_be_ours = again || self.rules.is_written_since(&one.latest);
            let (key, copy) = (one.target.key.clone(), may_be_ours.then(|| one.copy()));
            let verdict = one.verdict(same, self.rules);
            if may_be_ours && verdict == Verdict::AsItWas {
                part.planned.unverified += u64::from(same.is_none());
                part.found.extend(copy);
            }
            part.take(key, verdict, self.rules);
        }
        Ok(())
    }

    /// The next key.
    async fn decide(&mut self) -> Result<Option<Decided>, StepError> {
        loop {
            while let Some(entry) = self.waiting.pop_front() {
                if let Some(decided) = self.chooser.push(entry) {
                    return Ok(Some(decided));
                }
            }
            if self.listed_all {
                return Ok(self.chooser.finish());
            }
            let page = self
                .bucket
                .versions_page(&self.pace, &self.prefix, self.next.as_ref(), self.rules.page)
                .await?;
            self.began = self.began.or(page.answered);
            self.listed_all = page.next.is_none();
            self.next = page.next;
            let skip = self.skip.as_deref();
            self.waiting.extend(
                page.entries
                    .into_iter()
                    .filter(|entry| Some(entry.key.as_str()) != skip),
            );
        }
    }
}

impl Rules {
    /// Whether the newest version may be the same as the one that is wanted, and the listing does not say so. The same
    /// content may have got other headers or metadata.
    pub(super) fn are_unsure(&self, latest: &ObjectVersion, target: &ObjectVersion) -> bool {
        let no_sums = self.by_kms || is_of_parts(latest) || is_of_parts(target);
        let matters = !self.only_archived || is_awaited(target);
        matters && may_be_same(latest, target) && (no_sums || same::has_etag_of(latest, target))
    }

    fn is_written_since(&self, latest: &ObjectVersion) -> bool {
        is_written_since(latest, self.since)
    }

    /// Whether a later walk has to do with it.
    fn comes_out(&self, verdict: &Verdict) -> bool {
        matches!(verdict, Verdict::CopyBack { target, loses_null, .. }
            if is_awaited(target) && !(*loses_null && self.nulls_are_lost))
    }

    fn without_removing(&self, verdict: Verdict) -> Verdict {
        match verdict {
            Verdict::Undelete {
                target,
                latest,
                loses_null,
                ..
            } if self.markers_stay => Verdict::CopyBack {
                target,
                latest,
                loses_null,
                newer: Vec::new(),
            },
            verdict => verdict,
        }
    }
}

/// Whether a version has to come out of an archive, or may have to, before it can be copied.
pub(super) fn is_awaited(target: &ObjectVersion) -> bool {
    target.in_archive() || target.may_be_archived()
}

/// A key whose newest version may be as it was, or one below that was its newest since the first attempt began.
pub(super) struct Unsure {
    pub(super) target: ObjectVersion,
    pub(super) latest: ObjectVersion,
    pub(super) loses_null: bool,
    pub(super) newer: Vec<ObjectVersion>,
}

impl Unsure {
    /// Whether it is; `None` where nobody can tell.
    async fn is_same(&self, bucket: &S3Reader, pace: &Pace, rules: Rules) -> Result<Option<bool>, StepError> {
        let unsure = |one: &&ObjectVersion| rules.are_unsure(one, &self.target);
        for one in self.newer.iter().filter(unsure) {
            if self.equals(one, bucket, pace).await? != Some(false) {
                return Ok(Some(true));
            }
        }
        if unsure(&&self.latest) {
            return self.equals(&self.latest, bucket, pace).await;
        }
        Ok(Some(false))
    }

    fn copy(&self) -> CopyBack {
        CopyBack {
            target: self.target.clone(),
            latest: self.latest.clone(),
        }
    }

    async fn equals(&self, one: &ObjectVersion, bucket: &S3Reader, pace: &Pace) -> Result<Option<bool>, StepError> {
        match same::versions(bucket, pace, one, &self.target).await {
            Err(error) if error.kind().is_transient() => Err(error),
            // Nobody may look: then the listing counts alone, and a copy says what is wrong.
            Err(_) => Ok(same::has_etag_of(one, &self.target).then_some(true)),
            same => same,
        }
    }

    /// What was written since the first attempt began, and may be the same, is a copy that was made before.
    pub(super) fn verdict(self, same: Option<bool>, rules: Rules) -> Verdict {
        if same.unwrap_or_else(|| rules.is_written_since(&self.latest)) {
            return Verdict::AsItWas;
        }
        Verdict::CopyBack {
            target: self.target,
            latest: self.latest,
            loses_null: self.loses_null,
            newer: self.newer,
        }
    }
}

impl Part {
    fn full(&self, page: u16, unsure: usize) -> bool {
        let full = usize::from(page);
        self.markers.len() >= full
            || self.copies.len() + self.archived.len() + self.rising.len() + self.hide.len() + unsure >= full
            || self.planned.keys >= u64::from(page) * PAGES
    }

    fn count(&mut self, decided: &Decided) {
        self.planned.keys += 1;
        self.planned.versions += decided.versions;
        self.planned.oldest = older(self.planned.oldest, decided.oldest);
        self.upto.clone_from(&decided.key);
    }

    fn take(&mut self, key: String, verdict: Verdict, rules: Rules) {
        let counts = &mut self.planned;
        match verdict {
            verdict if rules.only_archived && !rules.comes_out(&verdict) => {}
            Verdict::AsItWas | Verdict::InArchive(_) => counts.as_it_was += 1,
            Verdict::ChangedSince => {
                counts.changed_since += 1;
                self.changed.push(key);
            }
            Verdict::StaysDeleted => counts.stay_deleted += 1,
            Verdict::NothingLeft => counts.nothing_left += 1,
            Verdict::Untold => self.refuse(key, Refusal::Untold),
            Verdict::Undelete { latest, .. } if rules.is_written_since(&latest) => {
                self.refuse(key, Refusal::WrittenSince { awaited: false });
            }
            Verdict::Undelete { markers, target, .. } => {
                counts.undeleted += 1;
                counts.markers_removed += markers.len() as u64;
                if target.in_archive() {
                    counts.sank(target.bytes);
                }
                self.markers.extend(markers);
                if rules.ask_archive && is_awaited(&target) {
                    self.sunk.push(target);
                }
            }
            Verdict::CopyBack { loses_null: true, .. } if rules.nulls_are_lost => {
                self.refuse(key, Refusal::LosesNull);
            }
            Verdict::CopyBack { target, latest, .. } if rules.is_written_since(&latest) => {
                let awaited = is_awaited(&target);
                self.refuse(key, Refusal::WrittenSince { awaited });
            }
            Verdict::CopyBack { target, latest, .. } if rules.only_archived || target.in_archive() => {
                counts.archived += 1;
                counts.archived_bytes += target.bytes;
                if rules.ask_archive {
                    self.archived.push(CopyBack { target, latest });
                }
            }
            Verdict::CopyBack { target, latest, .. } => {
                counts.copied_back += 1;
                counts.bytes_copied += target.bytes;
                self.copies.push(CopyBack { target, latest });
            }
            Verdict::CreatedSince { later, .. } if later || !rules.hide => counts.created_since += 1,
            Verdict::CreatedSince { loses_null: true, .. } if rules.nulls_are_lost => {
                self.refuse(key, Refusal::LosesNull);
            }
            Verdict::CreatedSince { .. } => {
                counts.hidden += 1;
                self.hide.push(key);
            }
        }
    }

    fn refuse(&mut self, key: String, refusal: Refusal) {
        self.planned.failed += 1;
        self.refused.push((key, refusal));
    }
}

/// Why a key is not touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// What it has under the id `null` would be lost.
    LosesNull,
    /// Nobody can tell what it was.
    Untold,
    /// Somebody wrote it since the first attempt began.
    WrittenSince {
        /// Its old version is awaited from an archive, so that each walk tells it anew.
        awaited: bool,
    },
}

impl Refusal {
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::LosesNull => {
                "the bucket keeps no new versions now, so what it has under the id `null` would be lost: let it keep \
                 versions first"
            }
            Self::Untold => {
                "the store tells when its version with the id `null` was overwritten and not when it was written, so \
                 nobody can say whether it was there at that moment"
            }
            Self::WrittenSince { .. } => {
                "it was written or deleted anew since this restore began, so it is left as it is"
            }
        }
    }

    /// The error for a key.
    pub(super) fn error(self, key: &str) -> StepError {
        let hint = match self {
            Self::LosesNull => "set versioning on again with `s3.bucket`, then try again",
            Self::Untold => {
                "look at its versions with `s3.versions`, and bring the right one back with `s3.get` and `s3.put`"
            }
            Self::WrittenSince { .. } => {
                "look at what is there now; to have the old content all the same, run the step in a run of its own, such as by \
                 `jm step run s3.restore_versions`"
            }
        };
        StepError::conflict(format!("`{key}`: {}", self.reason())).hint(hint)
    }
}
