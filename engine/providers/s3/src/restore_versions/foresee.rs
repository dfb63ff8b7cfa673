//! What a run would do, as far as a preview has the time to see.

use std::time::Duration;

use jm_client_s3::{ArchiveTier, Pace, S3Reader};
use jm_step::{Preview, ReadContext, StepError};

use super::progress::{Counts, Failure, Failures};
use super::walk::{Rules, Walk};
use super::{Archived, EXAMPLES, Input, Output, run, some};

/// What a preview sees.
#[derive(Default)]
pub(super) struct Foreseen {
    pub(super) counts: Counts,
    failures: Failures,
    /// Why the first of the keys that must not be touched is not.
    refused: Option<StepError>,
    undelete: Vec<String>,
    copy_back: Vec<String>,
    hide: Vec<String>,
    /// The last key that it had the time to look at, where there are more.
    only_upto: Option<String>,
}

impl Foreseen {
    pub(super) async fn look(
        cx: &ReadContext,
        bucket: &S3Reader,
        input: &Input,
        rules: Rules,
        patience: Duration,
    ) -> Result<Self, StepError> {
        let mut foreseen = Self::default();
        let mut upto = String::new();
        let over = tokio::time::Instant::now() + patience;
        let pace = Pace::new(run::START, input.concurrency);
        let mut walk = Walk::new(bucket.clone(), pace, &input.prefix, rules, None);
        loop {
            let part = tokio::select! {
                part = walk.next() => part?,
                () = cx.cancelled() => return Err(StepError::cancelled("told to stop while looking at versions")),
                () = tokio::time::sleep_until(over) => {
                    foreseen.only_upto = Some(upto);
                    return Ok(foreseen);
                }
            };
            let Some(part) = part else { return Ok(foreseen) };
            upto.clone_from(&part.upto);
            foreseen.counts.add(&part.planned);
            examples(&mut foreseen.undelete, part.markers.iter().map(|marker| &marker.key));
            examples(&mut foreseen.copy_back, part.copies.iter().map(|copy| &copy.target.key));
            examples(&mut foreseen.hide, part.hide.iter());
            for (key, refusal) in part.refused {
                let reason = refusal.reason().to_owned();
                foreseen.refused.get_or_insert_with(|| refusal.error(&key));
                foreseen.failures.add(Failure { key, reason });
            }
        }
    }

    /// Where some keys must not be touched, a run fails, and does the rest all the same.
    pub(super) fn preview(self, bucket: &S3Reader, input: &Input) -> Result<Preview<Output>, StepError> {
        let summary = self.summary(input);
        let changes = input.changes(bucket, &self.counts);
        let refused = self
            .refused
            .map(|error| run::not_brought_back(self.counts.failed, error));
        let fails = match refused {
            Some(error) if changes.is_empty() => return Err(error),
            refused => refused.map(|error| format!("it would fail: {}", error.message())),
        };
        let foreseen = if let Some(key) = self.only_upto {
            let seen = format!("a preview has time for {} keys, up to `{key}`", self.counts.keys);
            let summary = format!("{seen}, and a run goes on to the end: at least {summary}");
            Preview::declared(summary).with_changes(changes)
        } else if fails.is_some() {
            Preview::computed(summary, changes)
        } else {
            let early = input.too_early(&self.counts);
            let counts = if input.archived.ask {
                self.counts.once_out_of_archive()
            } else {
                self.counts
            };
            let output = input.output(bucket, counts, self.failures.first);
            let foreseen = if changes.is_empty() {
                Preview::verified(summary)
            } else {
                Preview::computed(summary, changes)
            };
            foreseen.predict(output).degraded(early)
        };
        Ok(foreseen.degraded(fails))
    }

    fn summary(&self, input: &Input) -> String {
        let counts = &self.counts;
        let mut said = vec![
            told(counts.undeleted, "deleted come back", &self.undelete),
            told(
                counts.copied_back,
                "overwritten get their old content again",
                &self.copy_back,
            ),
            told(counts.hidden, "created since are marked as deleted", &self.hide),
        ];
        said.retain(|text| !text.is_empty());
        if counts.in_archive().0 > 0 {
            said.push(archive_note(input.archived, counts));
        }
        if said.is_empty() {
            said.push("nothing is to be brought back".to_owned());
        }
        let left = counts.as_it_was + counts.stay_deleted + counts.created_since;
        format!("{}; {left} of {} keys stay as they are", said.join("; "), counts.keys)
    }
}

fn examples<'k>(known: &mut Vec<String>, keys: impl Iterator<Item = &'k String>) {
    for key in keys {
        if known.len() >= EXAMPLES {
            return;
        }
        if known.last() != Some(key) {
            known.push(key.clone());
        }
    }
}

fn told(keys: u64, what: &str, examples: &[String]) -> String {
    if keys == 0 {
        return String::new();
    }
    format!("{keys} keys that were {what} ({})", some(keys, examples))
}

/// What an archive costs in time and money.
fn archive_note(archived: Archived, counts: &Counts) -> String {
    let (wanted, bytes) = counts.in_archive();
    let found = format!("{wanted} wanted versions with {bytes} bytes lie in an archive");
    if !archived.ask {
        let back = match counts.undeleted_archived {
            0 => String::new(),
            back => {
                format!("; {back} of them were deleted and come back, and cannot be read before somebody asks for them")
            }
        };
        return format!("{found} and are left there{back}");
    }
    let wait = match archived.tier {
        ArchiveTier::Expedited => "minutes, at the highest price per GB and request",
        ArchiveTier::Standard => "3 to 5 hours (12 from `DEEP_ARCHIVE`), at a price per GB and request",
        ArchiveTier::Bulk => "5 to 12 hours (48 from `DEEP_ARCHIVE`), at the lowest price per GB",
    };
    format!(
        "{found}: they are asked for, which takes {wait}, and kept at hand for {} days",
        archived.days
    )
}
