//! Histories of a few odd keys: puts, overwrites, deletes, markers deleted, versioning switched.

use std::sync::LazyLock;
use std::time::Duration;

use jm_client_s3::{Pace, Put, S3Bucket, VersionOf};

use super::entries;
use super::model::State;

/// Keys that something stumbles over, and that every store keeps as they are.
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

/// Those that versitygw alone, whose keys are paths, makes others of.
static ODD: LazyLock<Vec<String>> = LazyLock::new(|| {
    let long = "ü/".repeat(341) + "z";
    assert_eq!(long.len(), 1024, "the longest key");
    let odd = [
        "a//b",
        "/leading",
        "trailing/",
        "//",
        "..",
        "./a",
        "\u{7f}",
        "a + %2B%",
        " lead",
    ];
    odd.into_iter().map(str::to_owned).chain([long]).collect()
});

/// All of them.
pub(super) fn keys() -> impl Iterator<Item = &'static str> {
    KEYS.iter().copied().chain(ODD.iter().map(String::as_str))
}

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
    /// And versioning that is switched off and on, never twice in a second: on versitygw, which lists versions apart from markers
    /// and dates what has the id `null` by the second, times alone tell the order of both.
    Switched,
    /// And keys of every kind.
    Everything,
}

impl Deeds {
    /// Whether versioning is switched off and on.
    pub(super) fn switches(self) -> bool {
        matches!(self, Self::Switched | Self::Everything)
    }
}

/// Something that was done.
#[derive(Debug, Clone)]
pub(super) enum Deed {
    Put {
        key: &'static str,
        content: Vec<u8>,
    },
    Delete(&'static str),
    /// The newest marker of a key was removed, where that is what it had.
    Unmark(&'static str),
    /// Whether the bucket keeps versions from now on.
    Keep(bool),
}

impl Deed {
    /// The key that it was done to.
    pub(super) fn key(&self) -> Option<&'static str> {
        match self {
            Self::Put { key, .. } | Self::Delete(key) | Self::Unmark(key) => Some(key),
            Self::Keep(_) => None,
        }
    }
}

/// The keys that it is done to.
pub(super) fn keys_of(deeds: Deeds) -> Vec<&'static str> {
    match deeds {
        Deeds::Everything => keys().collect(),
        Deeds::Plain | Deeds::Unmarked | Deeds::Switched => KEYS.to_vec(),
    }
}

/// Does so many things to a bucket; answers what.
pub(super) async fn history(bucket: &S3Bucket, rng: &mut Rng, deeds: Deeds, count: usize) -> Vec<Deed> {
    let mut done = Vec::with_capacity(count);
    let most = match deeds {
        Deeds::Plain => 17,
        Deeds::Unmarked => 18,
        Deeds::Switched | Deeds::Everything => 20,
    };
    let keys = keys_of(deeds);
    for deed in 0..count {
        let key = keys[rng.below(keys.len())];
        done.push(match rng.below(most) {
            0..=11 => {
                // The same content again and again makes versions that only their ids tell apart.
                let content = if rng.below(6) == 0 {
                    "same".to_owned()
                } else {
                    format!("{key} {deed} {}", rng.below(1000))
                };
                let written = content.clone().into_bytes();
                bucket.put_bytes(key, content, Put::default()).await.expect("written");
                Deed::Put { key, content: written }
            }
            12..=16 => {
                bucket.delete(key, None).await.expect("deleted");
                Deed::Delete(key)
            }
            17 => {
                unmark(bucket, key).await;
                Deed::Unmark(key)
            }
            _ => {
                let keep = rng.below(2) == 0;
                if deeds == Deeds::Switched {
                    tokio::time::sleep(Duration::from_millis(1100)).await;
                }
                bucket.set_versioning(keep).await.expect("set");
                Deed::Keep(keep)
            }
        });
    }
    done
}

/// Deletes every key, so that an undelete has much to do.
pub(super) async fn delete_all(bucket: &S3Bucket, keys: impl Iterator<Item = &'static str>, done: &mut Vec<Deed>) {
    for key in keys {
        bucket.delete(key, None).await.expect("deleted");
        done.push(Deed::Delete(key));
    }
}

/// What was written last to each key.
pub(super) fn written<'d>(deeds: impl IntoIterator<Item = &'d Deed>) -> State {
    let mut written = State::new();
    for deed in deeds {
        if let Deed::Put { key, content } = deed {
            written.insert((*key).to_owned(), content.clone());
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
            .remove_markers(&Pace::new(1, 1), vec![VersionOf { key, version_id }], false)
            .await;
        assert!(removed.expect("an answer").is_empty());
    }
}
