//! What has to come out, worked out key by key from the whole list with no thought of pages or memory.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jm_client_s3::{Get, NULL_VERSION, ObjectVersion, Pace, Put, S3Bucket};
use serde_json::Value;
use tokio::io::AsyncReadExt;

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
    pub(super) refused: u64,
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

pub(super) async fn expected(bucket: &S3Bucket, all: &[ObjectVersion], input: &Value, suspended: bool) -> Expected {
    let at: Option<Timestamp> = input["as_of"].as_str().map(|text| text.parse().expect("a moment"));
    let mut expected = Expected {
        state: state(bucket).await,
        ..Expected::default()
    };
    for key in super::keys() {
        let versions: Vec<&ObjectVersion> = all.iter().filter(|entry| entry.key == key).collect();
        let Some(latest) = versions.first() else { continue };
        let wanted = match at {
            Some(at) => versions
                .iter()
                .find(|version| version.last_modified.is_none_or(|time| time <= at)),
            None => versions.iter().find(|version| !version.marker),
        };
        if at.is_some() && wanted.is_some_and(|version| version.last_modified.is_none()) {
            expected.refused += 1;
            continue;
        }
        // A copy of that version itself would take its place too, and another marker that of the one which says that it was deleted.
        let is_lost = |version: &&ObjectVersion| !version.marker || Some(*version) == wanted.copied();
        let is_null = |version: &&ObjectVersion| version.version_id == NULL_VERSION && is_lost(version);
        let loses_null = suspended && versions.iter().any(is_null);
        let wanted = wanted.filter(|version| !version.marker);
        let Some(wanted) = wanted else {
            if latest.marker {
                continue;
            }
            if loses_null {
                expected.refused += 1;
            } else {
                expected.hidden += 1;
                expected.state.remove(key);
            }
            continue;
        };
        let above = versions
            .iter()
            .take_while(|version| version.version_id != wanted.version_id);
        let content_above = above.clone().any(|version| !version.marker);
        let then = content(bucket, key, Some(&wanted.version_id)).await.expect("content");
        if above.count() == 0 || expected.state.get(key) == Some(&then) {
            continue;
        }
        if !content_above {
            expected.undeleted += 1;
        } else if loses_null {
            expected.refused += 1;
            continue;
        } else {
            expected.copied_back += 1;
        }
        expected.state.insert(key.to_owned(), then);
    }
    expected
}
