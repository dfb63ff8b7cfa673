//! Looks at the bucket, its releases and its assets, before anything is deleted. Whatever cannot be looked at is an error.

use std::sync::atomic::AtomicU64;

use futures::TryStreamExt;
use jiff::Timestamp;
use jm_client_s3::{ObjectSummary, S3Reader, VersioningStatus};
use jm_step::StepError;
use serde_json::json;

use super::decide::{Ages, Collector, Counts, Fate};
use super::{Input, Output, Unrecorded, place};
use crate::release::{self, Asset, Release};
use crate::whole;

/// So many names stand as examples in a change and in an output.
pub(super) const SHOWN: usize = 20;

/// What was found, and what would be deleted.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) doomed: Vec<ObjectSummary>,
    pub(super) counts: Counts,
    ages: Ages,
    /// The manifests that there were.
    manifests: Vec<String>,
    versions_kept: bool,
}

impl Survey {
    pub(super) async fn take(bucket: &S3Reader, input: &Input, now: Timestamp) -> Result<Self, StepError> {
        let versions_kept = versions_kept(bucket, input).await?;
        let manifests = release::list(bucket, &input.releases).await?;
        let live = manifests.last().ok_or_else(|| no_release(bucket, input))?;
        let live = release::load(bucket, live).await?;
        is_live(bucket, input, &live).await?;
        let mut collector = Collector::default();
        release::load_all(bucket, &manifests, |release| collector.take(release)).await?;
        let ages = collector
            .ages(now, input.days, input.at_least, live.at)
            .ok_or_else(|| no_release(bucket, input))?;
        let mut survey = Self {
            doomed: Vec::new(),
            counts: Counts::default(),
            ages,
            manifests: manifests.into_iter().map(|manifest| manifest.key).collect(),
            versions_kept,
        };
        survey.look_at_assets(bucket, input).await?;
        survey.is_sane(bucket, input)?;
        Ok(survey)
    }

    async fn look_at_assets(&mut self, bucket: &S3Reader, input: &Input) -> Result<(), StepError> {
        let names = input.names();
        let remove_unrecorded = input.unrecorded == Unrecorded::Remove && self.ages.are_covered();
        let mut listed = bucket.list("");
        while let Some(object) = listed.try_next().await? {
            if !input.means(&names, &object.key) {
                continue;
            }
            let counts = &mut self.counts;
            counts.looked_at += 1;
            match self.ages.fate(&object) {
                Fate::Named => counts.named += 1,
                Fate::Young => counts.young += 1,
                Fate::Unknown => counts.unknown += 1,
                Fate::Unrecorded if !remove_unrecorded => counts.unrecorded += 1,
                Fate::Unrecorded | Fate::Old => {
                    counts.removed += 1;
                    counts.bytes += object.bytes;
                    self.doomed.push(object);
                }
            }
        }
        Ok(())
    }

    /// What looks like a mistake is refused as a whole.
    fn is_sane(&self, bucket: &S3Reader, input: &Input) -> Result<(), StepError> {
        let first: Vec<&str> = self.names().collect();
        if !self.doomed.is_empty() && self.counts.named == 0 {
            return Err(StepError::refused(format!(
                "no asset in `{}` is named by a release that stays, and {} would be deleted",
                place(bucket),
                self.doomed.len()
            ))
            .hint("see whether `include` fits the releases, and whether the newest one is whole (`s3.verify_release`)")
            .evidence(json!({ "first": first })));
        }
        if self.counts.removed > input.at_most {
            return Err(StepError::refused(format!(
                "{} assets would be deleted, and no more than {} may be",
                self.counts.removed, input.at_most
            ))
            .hint("look at them; where they are to go, raise `at_most`")
            .evidence(json!({ "first": first })));
        }
        Ok(())
    }

    /// That no release was written down since: it may name what is about to be deleted.
    pub(super) async fn still_holds(&self, bucket: &S3Reader, input: &Input) -> Result<(), StepError> {
        let now = release::list(bucket, &input.releases).await?;
        if now.iter().map(|manifest| &manifest.key).eq(&self.manifests) {
            return Ok(());
        }
        Err(StepError::conflict(format!(
            "the releases under `{}` are others than when the assets were looked at",
            bucket.url(&input.releases)
        ))
        .hint("a release is being published: wait until that is done, then try again"))
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.doomed.iter().take(SHOWN).map(|object| object.key.as_str())
    }

    /// One line for people.
    pub(super) fn summary(&self, bucket: &S3Reader, input: &Input) -> String {
        let counts = &self.counts;
        let mut said = vec![match counts.removed {
            0 => "nothing is to be deleted".to_owned(),
            count => format!("{count} assets, {} bytes, are deleted", counts.bytes),
        }];
        said.push(format!(
            "{} of {} releases stay, from {} on",
            self.ages.kept,
            self.manifests.len(),
            self.ages.kept_since
        ));
        for (count, what) in [
            (counts.named, "are named by them"),
            (counts.young, "are too young"),
            (counts.unknown, "are of no release that is written down and stay"),
            (counts.unrecorded, "are from before the first release and stay"),
        ] {
            if count > 0 {
                said.push(format!("{count} {what}"));
            }
        }
        if !self.ages.are_covered() {
            said.push(format!(
                "the first release is of {}, so that {} days are not written down yet",
                self.ages.first, input.days
            ));
        }
        if counts.removed > 0 {
            said.push(if self.versions_kept {
                "the bucket keeps their versions".to_owned()
            } else {
                "nothing brings them back".to_owned()
            });
        }
        format!("`{}`: {}", place(bucket), said.join("; "))
    }

    pub(super) fn output(&self, bucket: &S3Reader, counts: Counts) -> Output {
        Output {
            place: place(bucket),
            releases: self.manifests.len() as u64,
            kept_releases: self.ages.kept as u64,
            kept_since: self.ages.kept_since,
            counts,
            names: self.names().map(str::to_owned).collect(),
            versions_kept: self.versions_kept,
            list: None,
        }
    }
}

/// Viewers get the pages that are in the bucket, whatever was written down: an older site may have been put back, and a
/// release may not have been published to its end. All pages are compared, for one alone names the assets that it needs.
async fn is_live(bucket: &S3Reader, input: &Input, newest: &Release) -> Result<(), StepError> {
    let names = input.names();
    let pages = newest.manifest.objects.iter();
    let pages: Vec<Asset> = pages.filter(|page| !input.means(&names, &page.key)).cloned().collect();
    let manifest = bucket.url(&newest.key);
    if pages.is_empty() {
        return Err(StepError::refused(format!(
            "the newest release `{manifest}` names nothing but assets, so that nobody can see whether it is the one that is live"
        ))
        .hint("see whether `include` means assets alone, and write whole releases down (`s3.record_release`)"));
    }
    let mut found = whole::by_listing(bucket, &pages).await?;
    if found.is_none() {
        found = whole::by_content(bucket, &pages.iter().collect::<Vec<_>>(), &AtomicU64::new(0)).await?;
    }
    if found.is_none() {
        return Ok(());
    }
    Err(StepError::refused(format!(
        "the newest release `{manifest}` is not the one that is live: of its {} pages, {found}",
        pages.len()
    ))
    .hint(
        "an older site was put back, or a release was not published to its end: publish the one that is meant \
         (`plans/cdn-recovery.yaml` with its commit), then try again",
    )
    .evidence(found.evidence()))
}

/// Whether the bucket keeps what is deleted; an error where it does not and nobody has said that it need not.
async fn versions_kept(bucket: &S3Reader, input: &Input) -> Result<bool, StepError> {
    let kept = bucket.versioning().await?.status == VersioningStatus::Enabled;
    if kept || input.without_versions {
        return Ok(kept);
    }
    Err(StepError::refused(format!(
        "bucket `{}` keeps no versions, so that nothing would bring back what is deleted",
        bucket.bucket()
    ))
    .hint("let it keep versions (`s3.bucket` with `versioning: enabled`), or say `without_versions: true`"))
}

fn no_release(bucket: &S3Reader, input: &Input) -> StepError {
    StepError::refused(format!(
        "no release is written down under `{}`, so that nobody knows which assets are old",
        bucket.url(&input.releases)
    ))
    .hint("publish one with `plans/cdn-recovery.yaml`, which writes it down; nothing older than it is deleted at first")
}
