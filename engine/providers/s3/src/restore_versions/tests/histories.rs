//! Histories of a few odd keys: puts, overwrites, deletes, markers deleted, versioning switched.

use jm_client_s3::{Pace, Put, S3Bucket, VersionOf};

use super::entries;
use super::model::State;

/// Keys that something stumbles over: versitygw alone makes one of two slashes, so those are left out.
pub(super) const KEYS: &[&str] = &[
    "plain",
    "with space",
    "a+b",
    "a%2Fb",
    "ä/ö",
    "new\nline",
    "tab\there",
    "quote\"&<>'",
    "deep/er/key",
    "deep/er-",
    "日本",
    "😀",
];

/// The same numbers for the same seed.
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 33) % n as u64).unwrap_or(0)
    }
}

/// What a history is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deeds {
    /// Puts and deletes.
    Plain,
    /// And markers that are removed again.
    Unmarked,
    /// And versioning that is switched off and on.
    Everything,
}

/// Does so many things to a bucket; answers what was written last to each key.
pub(super) async fn history(bucket: &S3Bucket, rng: &mut Rng, deeds: Deeds, count: usize) -> State {
    let mut written = State::new();
    let most = match deeds {
        Deeds::Plain => 17,
        Deeds::Unmarked => 18,
        Deeds::Everything => 20,
    };
    for deed in 0..count {
        let key = KEYS[rng.below(KEYS.len())];
        match rng.below(most) {
            0..=11 => {
                // The same content again and again makes versions that only their ids tell apart.
                let content = if rng.below(6) == 0 {
                    "same".to_owned()
                } else {
                    format!("{key} {deed} {}", rng.below(1000))
                };
                written.insert(key.to_owned(), content.clone().into_bytes());
                bucket.put_bytes(key, content, Put::default()).await.expect("written");
            }
            12..=16 => bucket.delete(key, None).await.expect("deleted"),
            17 => unmark(bucket, key).await,
            _ => bucket.set_versioning(rng.below(2) == 0).await.expect("set"),
        }
    }
    written
}

/// Removes the newest marker of a key, where that is what it has.
async fn unmark(bucket: &S3Bucket, key: &str) {
    let newest = entries(bucket).await.into_iter().find(|entry| entry.key == key);
    if let Some(marker) = newest.filter(|entry| entry.marker) {
        let version_id = marker.version_id;
        let key = key.to_owned();
        let removed = bucket
            .remove_markers(&Pace::new(1, 1), vec![VersionOf { key, version_id }])
            .await;
        assert!(removed.expect("an answer").is_empty());
    }
}
