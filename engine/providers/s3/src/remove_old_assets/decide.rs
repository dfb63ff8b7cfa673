//! Which assets may go. Looks at nothing and reads no clock.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use jm_client_s3::ObjectSummary;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::release::Release;

/// What was found, and what is done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Counts {
    /// Assets that there are.
    pub(crate) looked_at: u64,
    /// Assets that a release names that stays.
    pub(crate) named: u64,
    /// Other assets that are younger than the days, or than the last release that names them.
    pub(crate) young: u64,
    /// Assets that no release names and that came after the first one: of a deployment that wrote nothing down. They stay.
    pub(crate) unknown: u64,
    /// Assets that no release names, from before the first one, that stay.
    pub(crate) unrecorded: u64,
    /// Assets that were deleted.
    pub(crate) removed: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Assets that could not be deleted.
    pub(crate) failed: u64,
}

/// What becomes of an asset, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// A release that stays names it.
    Named,
    /// It was written a short while ago.
    Young,
    /// Nobody knows whose it is.
    Unknown,
    /// It is from before the first release that was written down.
    Unrecorded,
    /// No release names it that was live in these days.
    Old,
}

/// The releases, by the times from which on they count.
#[derive(Debug)]
pub(super) struct Ages {
    /// What is younger than this stays.
    pub(super) cutoff: Timestamp,
    /// The oldest release of which everything stays.
    pub(super) kept_since: Timestamp,
    /// Of how many everything stays.
    pub(super) kept: usize,
    /// The first that was written down.
    pub(super) first: Timestamp,
    /// For each key the newest release that names it.
    named: HashMap<String, Timestamp>,
}

/// Collects releases, in any order.
#[derive(Debug, Default)]
pub(super) struct Collector {
    times: Vec<Timestamp>,
    named: HashMap<String, Timestamp>,
}

impl Collector {
    pub(super) fn take(&mut self, release: Release) {
        self.times.push(release.at);
        for asset in release.manifest.objects {
            let newest = self.named.entry(asset.key).or_insert(release.at);
            *newest = release.at.max(*newest);
        }
    }

    /// What stays by the time of the release that is `live`, and at least by the days and the number; `None` where there
    /// is no release.
    pub(super) fn ages(mut self, now: Timestamp, days: u32, at_least: usize, live: Timestamp) -> Option<Ages> {
        self.times.sort_by(|one, other| other.cmp(one));
        let cutoff = now
            .saturating_sub(SignedDuration::from_hours(24 * i64::from(days)))
            .ok()?;
        // The one before the first of these days was live when they began.
        let of_these_days = self.times.iter().take_while(|at| **at >= cutoff).count() + 1;
        let since_live = self.times.iter().take_while(|at| **at >= live).count();
        let kept = of_these_days.max(since_live).max(at_least).min(self.times.len());
        Some(Ages {
            cutoff,
            kept_since: *self.times.get(kept.checked_sub(1)?)?,
            kept,
            first: *self.times.last()?,
            named: self.named,
        })
    }
}

impl Ages {
    pub(super) fn fate(&self, object: &ObjectSummary) -> Fate {
        let newest = self.named.get(&object.key).copied();
        if newest.is_some_and(|at| at >= self.kept_since) {
            return Fate::Named;
        }
        // Of an object of which the store does not say when it was written, nothing is known.
        let Some(written) = object.last_modified else {
            return Fate::Unknown;
        };
        if written >= self.cutoff {
            return Fate::Young;
        }
        match newest {
            // Somebody has written it again since the last release that names it.
            Some(at) if written > at => Fate::Young,
            Some(_) => Fate::Old,
            None if written > self.first => Fate::Unknown,
            None => Fate::Unrecorded,
        }
    }

    /// Whether releases are written down for all of these days: what came before the first of them was replaced by it.
    pub(super) fn are_covered(&self) -> bool {
        self.first < self.cutoff
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::{Asset, Manifest};

    const DAY: i64 = 24 * 60 * 60;

    fn day(day: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + day * DAY).expect("a time")
    }

    fn release(at: i64, keys: &[&str]) -> Release {
        let objects = keys.iter().map(|key| Asset {
            key: (*key).to_owned(),
            bytes: 1,
            sha256: String::new(),
        });
        Release {
            key: format!("{at}"),
            at: day(at),
            manifest: Manifest::new(day(at), None, objects.collect()),
        }
    }

    fn ages(releases: &[(i64, &[&str])], days: u32, at_least: usize) -> Ages {
        ages_since(releases, days, at_least, 0)
    }

    /// Where the release of that day is live.
    fn ages_since(releases: &[(i64, &[&str])], days: u32, at_least: usize, live: i64) -> Ages {
        let mut collector = Collector::default();
        for (at, keys) in releases {
            collector.take(release(*at, keys));
        }
        collector
            .ages(day(0), days, at_least, day(live))
            .expect("there are releases")
    }

    fn fate(ages: &Ages, key: &str, written: i64) -> Fate {
        ages.fate(&ObjectSummary {
            key: key.to_owned(),
            bytes: 1,
            etag: None,
            last_modified: Some(day(written)),
            storage_class: None,
        })
    }

    #[test]
    fn what_was_live_in_these_days_stays_and_what_was_replaced_before_them_goes() {
        // The one of day -40 was live until the one of day -20 replaced it: in the last 30 days.
        let releases: &[(i64, &[&str])] = &[
            (-80, &["a", "b"]),
            (-60, &["b", "c"]),
            (-40, &["c", "d"]),
            (-20, &["d", "e"]),
            (-5, &["e", "f"]),
        ];
        let ages = ages(releases, 30, 1);
        assert_eq!((ages.kept, ages.kept_since), (3, day(-40)));
        for (key, written, expected) in [
            ("a", -81, Fate::Old),
            ("b", -81, Fate::Old),
            ("c", -61, Fate::Named),
            ("d", -41, Fate::Named),
            ("f", -6, Fate::Named),
            // Somebody wrote it anew, after the last release that names it.
            ("b", -50, Fate::Young),
            ("b", -1, Fate::Young),
            ("x", -90, Fate::Unrecorded),
            ("x", -50, Fate::Unknown),
            ("x", -1, Fate::Young),
        ] {
            assert_eq!(fate(&ages, key, written), expected, "{key} of day {written}");
        }
    }

    #[test]
    fn the_newest_releases_stay_however_old_they_are() {
        let releases: &[(i64, &[&str])] = &[(-400, &["a"]), (-300, &["b"]), (-200, &["c"])];
        let all = ages(releases, 30, 3);
        assert_eq!((all.kept, fate(&all, "a", -401)), (3, Fate::Named));
        let two = ages(releases, 30, 2);
        assert_eq!(
            (two.kept, fate(&two, "a", -401), fate(&two, "b", -301)),
            (2, Fate::Old, Fate::Named)
        );
        let one = ages(releases, 30, 1);
        assert_eq!(
            (one.kept, fate(&one, "b", -301), fate(&one, "c", -201)),
            (1, Fate::Old, Fate::Named)
        );
    }

    #[test]
    fn what_is_live_stays_where_a_store_says_that_others_were_written_later() {
        let releases: &[(i64, &[&str])] = &[(-400, &["a"]), (-300, &["b"]), (-200, &["c"])];
        let ages = ages_since(releases, 30, 1, -300);
        assert_eq!((ages.kept, fate(&ages, "b", -301)), (2, Fate::Named));
        assert_eq!(fate(&ages, "a", -401), Fate::Old);
    }

    #[test]
    fn days_that_no_release_covers_are_told_apart() {
        assert!(!ages(&[(-10, &["a"])], 30, 1).are_covered());
        assert!(ages(&[(-31, &["a"])], 30, 1).are_covered());
        assert!(Collector::default().ages(day(0), 30, 1, day(0)).is_none());
    }

    #[test]
    fn what_has_no_time_stays() {
        let ages = ages(&[(-80, &["a"]), (-70, &["b"])], 30, 1);
        let object = ObjectSummary {
            key: "a".to_owned(),
            bytes: 1,
            etag: None,
            last_modified: None,
            storage_class: None,
        };
        assert_eq!(ages.fate(&object), Fate::Unknown);
    }
}
