//! What has to come out, worked out key by key from what was done to a bucket, with no thought of pages or memory, and without a
//! word of the store or of jm about what is in it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jm_client_s3::{Get, NULL_VERSION, ObjectVersion, Pace, Put, S3Bucket};
use serde_json::Value;
use tokio::io::AsyncReadExt;

use super::histories::Deed;
use crate::store::Store;

/// What every key holds.
pub(super) type State = BTreeMap<String, Vec<u8>>;

/// What has to come out.
#[derive(Debug, Default)]
pub(super) struct Expected {
    pub(super) state: State,
    pub(super) undeleted: u64,
    pub(super) copied_back: u64,
    pub(super) hidden: u64,
    pub(super) refused: BTreeSet<String>,
}

/// All versions, in the order of the store.
pub(super) async fn entries(bucket: &S3Bucket) -> Vec<ObjectVersion> {
    let mut all: Vec<ObjectVersion> = Vec::new();
    let mut after = None;
    loop {
        let page = bucket
            .versions_page(&Pace::alone(), "", after.as_ref(), 1000)
            .await
            .expect("a page");
        for entry in page.entries {
            if all.last() != Some(&entry) {
                all.push(entry);
            }
        }
        after = page.next;
        if after.is_none() {
            return all;
        }
    }
}

pub(super) async fn content(bucket: &S3Bucket, key: &str, version: Option<&str>) -> Option<Vec<u8>> {
    let get = Get {
        version_id: version.map(str::to_owned),
        ..Get::default()
    };
    let mut content = Vec::new();
    let mut stream = bucket.get(key, get).await.ok()?;
    stream.read_to_end(&mut content).await.expect("whole");
    Some(content)
}

/// What every key holds now, asked one by one.
pub(super) async fn state(bucket: &S3Bucket) -> State {
    let mut state = State::new();
    for key in super::keys() {
        if let Some(content) = content(bucket, key, None).await {
            state.insert(key.to_owned(), content);
        }
    }
    state
}

/// A moment of the store's own clock, with a whole second on both sides of which nothing is written: stores tell times
/// by the second.
pub(super) async fn now_of(store: &Store) -> Timestamp {
    let bucket = store.bucket("clock").await;
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    bucket.put_bytes("tick", "", Put::default()).await.expect("written");
    let info = bucket.head("tick", None).await.expect("an answer").expect("there");
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    info.last_modified.expect("a time")
}

/// A version of a key, as it has to be.
#[derive(Debug)]
struct Version<'d> {
    /// What was written; `None` of a marker.
    content: Option<&'d [u8]>,
    /// Whether it has the id `null`.
    null: bool,
    /// Whether it was there at the moment that is restored.
    then: bool,
}

/// What was done to a bucket that kept versions from the first: up to the moment that is restored, and since then.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    pub(super) then: Vec<Deed>,
    pub(super) since: Vec<Deed>,
}

impl Told {
    /// All that was done, in its order.
    pub(super) fn all(&self) -> impl Iterator<Item = &Deed> {
        self.then.iter().chain(&self.since)
    }

    /// The versions of each key, the newest first.
    fn versions(&self) -> BTreeMap<&str, Vec<Version<'_>>> {
        let mut keys: BTreeMap<&str, Vec<Version<'_>>> = BTreeMap::new();
        let mut keeps = true;
        for (number, deed) in self.all().enumerate() {
            let (key, content) = match deed {
                Deed::Keep(keep) => {
                    keeps = *keep;
                    continue;
                }
                Deed::Unmark(key) => {
                    let versions = keys.entry(key).or_default();
                    if versions.first().is_some_and(|newest| newest.content.is_none()) {
                        versions.remove(0);
                    }
                    continue;
                }
                Deed::Put { key, content } => (key, Some(&content[..])),
                Deed::Delete(key) => (key, None),
            };
            let versions = keys.entry(key).or_default();
            versions.retain(|version| keeps || !version.null);
            let (null, then) = (!keeps, number < self.then.len());
            versions.insert(0, Version { content, null, then });
        }
        keys
    }

    /// Whether a store lists the same, in the same order: kinds, and ids that are `null`. Versitygw does not mark as deleted what was
    /// never there.
    pub(super) fn is_listed(&self, entries: &[ObjectVersion]) {
        let mut listed: BTreeMap<&str, Vec<(bool, bool)>> = BTreeMap::new();
        for entry in entries {
            let kind = (entry.marker, entry.version_id == NULL_VERSION);
            listed.entry(&entry.key).or_default().push(kind);
        }
        let kind = |version: &Version| (version.content.is_none(), version.null);
        let told = self.versions().into_iter();
        let told = told.map(|(key, versions)| (key, versions.iter().map(kind).collect()));
        let [listed, told] = [listed, told.collect()].map(|mut keys: BTreeMap<&str, Vec<(bool, bool)>>| {
            for kinds in keys.values_mut() {
                let content = kinds.iter().rposition(|(marker, _)| !marker);
                kinds.truncate(content.map_or(0, |place| place + 1));
            }
            keys.retain(|_, kinds| !kinds.is_empty());
            keys
        });
        assert_eq!(listed, told, "what is listed, and what was done");
    }

    /// What has to come of a restore of the moment, or of an undelete; in a bucket that keeps no new versions (`suspended`) or does.
    /// Of some keys nobody can say when their version with the id `null` was written (`undated`).
    pub(super) fn expected(&self, input: &Value, suspended: bool, undated: &BTreeSet<&str>) -> Expected {
        let mut expected = Expected::default();
        for (key, versions) in &self.versions() {
            let Some(latest) = versions.first() else { continue };
            if let Some(content) = latest.content {
                expected.state.insert((*key).to_owned(), content.to_vec());
            }
            let is_undated = |version: &Version| version.null && undated.contains(key);
            let place = match input["as_of"].as_str() {
                Some(_) => versions.iter().position(|version| version.then || is_undated(version)),
                None => versions.iter().position(|version| version.content.is_some()),
            };
            let has_content = versions.iter().any(|version| version.content.is_some());
            if input["as_of"].is_string() && place.is_some_and(|place| is_undated(&versions[place])) && has_content {
                expected.refused.insert((*key).to_owned());
                continue;
            }
            let wanted = place.map(|place| &versions[place]);
            let marked = wanted.is_some_and(|wanted| wanted.content.is_none() && wanted.null);
            let loses_null = suspended && (marked || versions.iter().any(|one| one.null && one.content.is_some()));
            let Some(then) = wanted.and_then(|wanted| wanted.content) else {
                if latest.content.is_some() && loses_null {
                    expected.refused.insert((*key).to_owned());
                } else if latest.content.is_some() {
                    expected.hidden += 1;
                    expected.state.remove(*key);
                }
                continue;
            };
            let above = &versions[..place.unwrap_or_default()];
            if above.is_empty() || latest.content == Some(then) {
                continue;
            }
            if above.iter().all(|version| version.content.is_none()) {
                expected.undeleted += 1;
            } else if loses_null {
                expected.refused.insert((*key).to_owned());
                continue;
            } else {
                expected.copied_back += 1;
            }
            expected.state.insert((*key).to_owned(), then.to_vec());
        }
        expected
    }
}
