//! Every version and every marker, page by page, in the order in which the store tells them.

use std::cmp::Reverse;

use aws_sdk_s3::operation::list_object_versions::ListObjectVersionsOutput;
use aws_sdk_s3::types::{DeleteMarkerEntry, EncodingType, ObjectVersion as Listed};
use aws_smithy_types::DateTime;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use jm_step::StepError;

use crate::object::{timestamp, unsigned};
use crate::{Pace, S3Reader, is_archive};

mod kept;
use kept::Kept;

/// The id of a version that was written while the bucket kept none.
pub const NULL_VERSION: &str = "null";

/// A version of an object, or a marker that says that it was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectVersion {
    /// Its key, relative to the prefix of the target.
    pub key: String,
    /// Its id; [`NULL_VERSION`] for what was written while the bucket kept no versions.
    pub version_id: String,
    /// Whether it is a marker: the object counts as deleted, and there is no content.
    pub marker: bool,
    /// Whether the store says that it is the newest.
    pub latest: bool,
    /// When it was written, as far as that can be told. Stores tell it by the second, and ids that are ULIDs by the
    /// millisecond.
    pub last_modified: Option<Timestamp>,
    /// Its size.
    pub bytes: u64,
    /// Changes whenever the content does.
    pub etag: Option<String>,
    /// Such as `STANDARD_IA`.
    pub storage_class: Option<String>,
}

impl ObjectVersion {
    /// Whether it lies in a class from which it has to be brought back before it can be read or copied.
    pub fn in_archive(&self) -> bool {
        self.storage_class.as_deref().is_some_and(is_archive)
    }

    /// Whether only a look at it tells whether it has to be brought back.
    pub fn may_be_archived(&self) -> bool {
        self.storage_class.as_deref() == Some("INTELLIGENT_TIERING")
    }
}

/// Where a page ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionMark {
    /// The last key, as the store knows it.
    key: String,
    /// The last of its versions; without one the page after it starts with the next key.
    version_id: Option<String>,
}

/// One page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionsPage {
    /// Keys in the order of the store, and the versions of a key with the newest first. A store may repeat an entry
    /// at the edge of a page.
    pub entries: Vec<ObjectVersion>,
    /// Where the next page goes on; `None` at the end.
    pub next: Option<VersionMark>,
    /// When the store answered, in whole seconds of its own clock, where it says so.
    pub answered: Option<Timestamp>,
}

impl S3Reader {
    /// The mark after all versions of a key.
    pub fn after_key(&self, key: &str) -> VersionMark {
        VersionMark {
            key: self.full(key),
            version_id: None,
        }
    }

    /// At most so many versions and markers, of the keys that start with this, after a mark. Stores give no more than
    /// a thousand.
    pub async fn versions_page(
        &self,
        pace: &Pace,
        starts_with: &str,
        after: Option<&VersionMark>,
        limit: u16,
    ) -> Result<VersionsPage, StepError> {
        let doing = self.on_object("list the versions of", starts_with, "s3:ListBucketVersions");
        let kept = Kept::default();
        let list = || {
            let call = self.0.once.list_object_versions().bucket(&self.0.bucket);
            call.prefix(self.full(starts_with))
                .encoding_type(EncodingType::Url)
                .max_keys(i32::from(limit))
                .set_key_marker(after.map(|mark| mark.key.clone()))
                .set_version_id_marker(after.and_then(|mark| mark.version_id.clone()))
                .customize()
                .interceptor(kept.clone())
                .send()
        };
        let output = pace.send(&doing, list).await?;
        if output.is_truncated() == Some(true) && output.next_key_marker().is_none() {
            return Err(doing.half_listed());
        }
        let (order, answered) = kept.take();
        let after_key = after.and_then(|mark| self.relative(mark));
        let page = self.page(&output, order.as_deref()).map(|mut page| {
            if order.is_some_and(|order| apart(&order)) {
                let after = page.next.as_ref().and_then(|mark| self.relative(mark));
                in_order(&mut page.entries, after_key.as_deref(), after.as_deref());
            }
            let newer = after.and_then(|mark| mark.version_id.as_deref());
            undate_replaced(&mut page.entries, newer.and_then(given));
            for marker in page.entries.iter_mut().filter(|entry| is_misdated(entry)) {
                marker.last_modified = None;
            }
            self.end_before_null(&mut page);
            page.answered = answered;
            page
        });
        // It would be asked for ever, or believed to have nothing more: versitygw does so with a page of one.
        if let Some(page) = &page
            && page.next.is_some()
            && page.next.as_ref() == after
        {
            let error = StepError::failed(format!("{doing}: the store gives the same page again"));
            return Err(error.hint("let more versions come at a time (`page`)"));
        }
        page.ok_or_else(|| {
            StepError::failed(format!("{doing}: the answer makes no sense"))
                .hint("see with `aws s3api list-object-versions` what the store says")
        })
    }

    /// The key of a mark, relative to the prefix of the target.
    fn relative(&self, mark: &VersionMark) -> Option<String> {
        mark.key.strip_prefix(self.0.folder.as_str()).map(str::to_owned)
    }

    /// Versitygw does not find an older version with the id `null` where it is to go on after one, and then leaves out all
    /// versions with other ids. So a page that ends with one ends before it, and the next page has it.
    fn end_before_null(&self, page: &mut VersionsPage) {
        let Some(mark) = page.next.as_ref() else { return };
        let (Some(NULL_VERSION), Some(key)) = (mark.version_id.as_deref(), self.relative(mark)) else {
            return;
        };
        let is_older = |entry: &ObjectVersion| entry.key == key && entry.version_id == NULL_VERSION && !entry.latest;
        let of_key = |entry: &&ObjectVersion| entry.key == key && entry.version_id != NULL_VERSION;
        let before = page.entries.iter().rfind(of_key);
        if let (Some(null), Some(before)) = (page.entries.iter().rposition(is_older), before) {
            page.next = Some(VersionMark {
                key: mark.key.clone(),
                version_id: Some(before.version_id.clone()),
            });
            page.entries.remove(null);
        }
    }

    /// The SDK tells versions and markers apart and loses the order among them, which `order` has.
    fn page(&self, output: &ListObjectVersionsOutput, order: Option<&[bool]>) -> Option<VersionsPage> {
        let (mut versions, mut markers) = (output.versions().iter(), output.delete_markers().iter());
        let encoding = output.encoding_type();
        let mut entries = Vec::with_capacity(versions.len() + markers.len());
        for marker in order? {
            let entry = if *marker {
                of_marker(markers.next()?, encoding)?
            } else {
                of_version(versions.next()?, encoding)?
            };
            if let Some(key) = entry.key.strip_prefix(self.0.folder.as_str()) {
                entries.push(ObjectVersion {
                    key: key.to_owned(),
                    ..entry
                });
            }
        }
        let whole = versions.next().is_none() && markers.next().is_none();
        let more = output.next_key_marker().filter(|_| output.is_truncated() == Some(true));
        let next = more.map(|key| VersionMark {
            key: decoded(key, encoding),
            version_id: output.next_version_id_marker().map(str::to_owned),
        });
        whole.then_some(VersionsPage {
            entries,
            next,
            answered: None,
        })
    }
}

/// Whether all versions of a page were told before all of its markers, or after them: S3 has them in one row, in the
/// order in which they came to be, and some stores lose it.
fn apart(order: &[bool]) -> bool {
    order.chunk_by(|one, other| one == other).count() == 2
}

/// Keys together, and of each the newest first, as far as ids and times tell. The key that goes on from the page before
/// stays at the beginning, and the one that goes on with the next page at the end.
fn in_order(entries: &mut [ObjectVersion], before: Option<&str>, after: Option<&str>) {
    entries.sort_by(|one, other| {
        let place = |key: &str| (Some(key) == after, Some(key) != before);
        (place(&one.key), one.key.as_bytes()).cmp(&(place(&other.key), other.key.as_bytes()))
    });
    for versions in entries.chunk_by_mut(|one, other| one.key == other.key) {
        if !newest_first(versions) {
            versions.sort_by_key(|version| (!version.latest, Reverse(written(version))));
        }
    }
}

/// Whether the times that were told are in order. A page that happens to have all its markers last may have lost nothing.
fn newest_first(versions: &[ObjectVersion]) -> bool {
    let falls = |pair: &[ObjectVersion]| {
        // What is told by the second comes neither before nor after what is known better, within that second.
        let exact = pair.iter().all(|version| given(&version.version_id).is_some());
        let time = |at: Timestamp| {
            if exact {
                at.as_nanosecond()
            } else {
                at.as_second().into()
            }
        };
        let [one, other] = [&pair[0], &pair[1]].map(|version| version.last_modified.map(time));
        !pair[1].latest && one >= other
    };
    versions.windows(2).all(falls)
}

/// When a version was written, and what tells two of the same moment apart.
fn written(version: &ObjectVersion) -> (Option<Timestamp>, Option<Ulid>) {
    (version.last_modified, Ulid::from_string(&version.version_id).ok())
}

/// When a version was written, by its id and by what the store tells. Versitygw dates a version by when it was overwritten;
/// but its ids are ULIDs, which hold when they were given. An id that only looks like one holds any moment, most of them in
/// a future that no store has seen.
fn dated(version_id: &str, told: Option<&DateTime>) -> Option<Timestamp> {
    let told = told.and_then(timestamp)?;
    let plausible = |given: &Timestamp| *given <= told + SignedDuration::from_mins(1);
    Some(given(version_id).filter(plausible).unwrap_or(told))
}

/// When an id was given that is a ULID.
fn given(version_id: &str) -> Option<Timestamp> {
    let millis = Ulid::from_string(version_id).ok()?.timestamp_ms();
    Timestamp::from_millisecond(i64::try_from(millis).ok()?).ok()
}

/// Nobody can tell when a version with the id `null` was written of which the store only says when it was overwritten: it
/// has the time of the version that took its place, or a later one. `newer` is when that of the first of these was written.
fn undate_replaced(entries: &mut [ObjectVersion], newer: Option<Timestamp>) {
    let mut newer = newer;
    for entry in entries {
        let replaced_at = newer.filter(|_| entry.version_id == NULL_VERSION && !entry.latest);
        // Stores tell times by the second, and put a version aside before the next one gets its id.
        let as_late = |newer: Timestamp| {
            entry
                .last_modified
                .is_some_and(|told| told.as_second() + 1 >= newer.as_second())
        };
        if replaced_at.is_some_and(as_late) {
            entry.last_modified = None;
        }
        newer = given(&entry.version_id);
    }
}

/// Nobody can tell when versitygw made a marker with the id `null`: it has the time of the content in whose place it was put. No
/// other store tells the times of markers by less than a millisecond.
fn is_misdated(marker: &ObjectVersion) -> bool {
    let is_exact = |told: Timestamp| told.subsec_nanosecond() % 1_000_000 != 0;
    marker.marker && marker.version_id == NULL_VERSION && marker.last_modified.is_some_and(is_exact)
}

fn of_version(version: &Listed, encoding: Option<&EncodingType>) -> Option<ObjectVersion> {
    Some(ObjectVersion {
        key: decoded(version.key()?, encoding),
        version_id: version.version_id().unwrap_or(NULL_VERSION).to_owned(),
        marker: false,
        latest: version.is_latest() == Some(true),
        last_modified: dated(version.version_id().unwrap_or_default(), version.last_modified()),
        bytes: unsigned(version.size()),
        etag: version.e_tag().map(str::to_owned),
        storage_class: version.storage_class().map(|class| class.as_str().to_owned()),
    })
}

fn of_marker(marker: &DeleteMarkerEntry, encoding: Option<&EncodingType>) -> Option<ObjectVersion> {
    Some(ObjectVersion {
        key: decoded(marker.key()?, encoding),
        version_id: marker.version_id().unwrap_or(NULL_VERSION).to_owned(),
        marker: true,
        latest: marker.is_latest() == Some(true),
        last_modified: dated(marker.version_id().unwrap_or_default(), marker.last_modified()),
        bytes: 0,
        etag: None,
        storage_class: None,
    })
}

/// A key of a listing that was asked for in URL encoding, where the store says that it obeyed.
pub(crate) fn decoded(key: &str, encoding: Option<&EncodingType>) -> String {
    if encoding != Some(&EncodingType::Url) {
        return key.to_owned();
    }
    let spaced = key.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced)
        .decode_utf8_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_that_lost_their_order_are_told_from_others() {
        assert!(apart(&[false, false, true]) && apart(&[true, false]));
        assert!(!apart(&[true, false, true]) && !apart(&[false, false]) && !apart(&[]));
    }

    /// A page with one marker at its end, of the same second as the version with the id `null` that took its place.
    #[test]
    fn an_order_that_seconds_do_not_gainsay_stays() {
        let entry = |version_id: &str, marker, at: &str| ObjectVersion {
            key: "k".to_owned(),
            version_id: version_id.to_owned(),
            marker,
            latest: false,
            last_modified: at.parse().ok(),
            bytes: 0,
            etag: None,
            storage_class: None,
        };
        let told = vec![
            entry("01M8EVWA0XFNAA1GS0K6A0GFSE", false, "2026-11-27T16:02:11.101Z"),
            entry(NULL_VERSION, false, "2026-11-27T16:02:05Z"),
            entry("01M8EVW481SYMTPTF9VQ82MZ35", true, "2026-11-27T16:02:05.185Z"),
        ];
        let mut ordered = told.clone();
        in_order(&mut ordered, None, None);
        assert_eq!(ordered, told);
    }

    #[test]
    fn markers_that_were_told_apart_find_their_place() {
        let entry = |key: &str, marker, second: i64, latest| ObjectVersion {
            key: key.to_owned(),
            version_id: format!("{second}"),
            marker,
            latest,
            last_modified: Timestamp::from_second(second).ok(),
            bytes: 0,
            etag: None,
            storage_class: None,
        };
        let mut told = vec![
            entry("a", false, 3, false),
            entry("a", false, 1, false),
            entry("b", false, 9, true),
            entry("a", true, 4, true),
            entry("a", true, 2, false),
        ];
        in_order(&mut told, None, None);
        let ids: Vec<_> = told.iter().map(|entry| entry.version_id.as_str()).collect();
        assert_eq!(ids, ["4", "3", "2", "1", "9"]);
        let before = told.clone();
        in_order(&mut told, None, None);
        assert_eq!(told, before);
        in_order(&mut told, Some("b"), None);
        assert_eq!(told[0].key, "b", "the key of the page before goes on");
        in_order(&mut told, None, Some("a"));
        assert_eq!(told[0].key, "b", "the key of the next page comes last");
        // As versitygw tells it: its versions, of which the oldest come first, and then the markers.
        let of = |version_id: &str, told| ObjectVersion {
            version_id: version_id.to_owned(),
            last_modified: dated(version_id, Some(&DateTime::from_secs(told))),
            ..entry("c", false, 0, false)
        };
        let told = [
            of("01M8BHKGMT9NFY7YMPYDQWR3GA", OVERWRITTEN),
            of("01M8BHKGMZCS8QW9AXB2TC0GG1", OVERWRITTEN),
            of("01M8BHKGN6V60JQ3KE5AEYMY6G", OVERWRITTEN + 1),
        ];
        let mut ordered = told.clone();
        in_order(&mut ordered, None, None);
        let [oldest, middle, newest] = told;
        assert_eq!(
            ordered,
            [newest, middle, oldest],
            "ids that are ULIDs tell more than times"
        );
    }

    #[test]
    fn a_version_is_dated_by_when_it_was_written() {
        let told = DateTime::from_secs(OVERWRITTEN);
        let of = |id: &str| dated(id, Some(&told)).expect("a time");
        let id = "01M8BHKGMT9NFY7YMPYDQWR3GA";
        let given = Ulid::from_string(id).expect("one").timestamp_ms();
        assert_eq!(of(id).as_millisecond(), i64::try_from(given).expect("a time"));
        let overwritten = Timestamp::from_second(OVERWRITTEN).expect("a time");
        for other in ["null", "3HL4kqtJvjVBH40Nrjfkd", "7ZZZZZZZZZZZZZZZZZZZZZZZZZ"] {
            assert_eq!(of(other), overwritten, "{other}");
        }
        assert_eq!(dated(id, None), None);
    }

    #[test]
    fn a_null_version_that_is_dated_by_its_successor_has_no_time() {
        let id = "01M8BHKGMT9NFY7YMPYDQWR3GA";
        let ulid = given(id).expect("a time");
        let entry = |version_id: &str, latest, seconds_later: i64| ObjectVersion {
            key: "k".to_owned(),
            version_id: version_id.to_owned(),
            marker: false,
            latest,
            last_modified: Timestamp::from_second(ulid.as_second() + seconds_later).ok(),
            bytes: 0,
            etag: None,
            storage_class: None,
        };
        let times = |mut entries: Vec<ObjectVersion>, newer| {
            undate_replaced(&mut entries, newer);
            entries
                .iter()
                .map(|entry| entry.last_modified.is_some())
                .collect::<Vec<_>>()
        };
        let null = |seconds_later| entry("null", false, seconds_later);
        assert_eq!(times(vec![entry(id, true, 0), null(0)], None), [true, false]);
        // It may have been put aside at the end of the second before.
        assert_eq!(times(vec![entry(id, true, 0), null(-1)], None), [true, false]);
        assert_eq!(times(vec![entry(id, true, 0), null(-2)], None), [true, true]);
        assert_eq!(times(vec![null(1), entry(id, false, 0)], Some(ulid)), [false, true]);
        assert_eq!(
            times(vec![entry("null", true, 5), entry(id, false, 0)], None),
            [true, true]
        );
        let other = entry("3HL4kqtJvjVBH40Nrjfkd", true, 0);
        assert_eq!(times(vec![other, null(0)], None), [true, true]);
    }

    /// Some time after the ULIDs here were given.
    const OVERWRITTEN: i64 = 1_796_000_000;

    #[test]
    fn keys_are_decoded_only_where_the_store_encoded_them() {
        let url = Some(&EncodingType::Url);
        assert_eq!(decoded("a%2Bb+c%0A%C3%A4", url), "a+b c\nä");
        assert_eq!(decoded("a%2Bb+c", None), "a%2Bb+c");
    }

    #[test]
    fn a_marker_that_versitygw_dates_by_what_was_there_before_has_no_time() {
        let null = |marker, at: &str| ObjectVersion {
            key: "k".to_owned(),
            version_id: NULL_VERSION.to_owned(),
            marker,
            latest: false,
            last_modified: at.parse().ok(),
            bytes: 0,
            etag: None,
            storage_class: None,
        };
        let times = [
            "2026-01-01T00:00:09Z",
            "2026-01-01T00:00:09.123Z",
            "2026-01-01T00:00:09.123456Z",
        ];
        assert_eq!(times.map(|at| is_misdated(&null(true, at))), [false, false, true]);
        assert!(!is_misdated(&null(false, times[2])));
    }
}
