//! Whether objects are in a bucket as a release has written them down.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::{StreamExt, TryStreamExt, stream};
use jm_client_s3::{Get, S3Reader};
use jm_step::StepError;
use serde_json::{Value, json};

use crate::file;
use crate::release::Asset;

/// So many objects are read at a time.
const AT_ONCE: usize = 16;
/// So many names stand as examples in an error.
const SHOWN: usize = 20;

/// The keys of those that are not as they were written down.
#[derive(Debug, Default)]
pub(crate) struct Differences {
    missing: Vec<String>,
    other: Vec<String>,
}

impl Differences {
    pub(crate) fn is_none(&self) -> bool {
        self.missing.is_empty() && self.other.is_empty()
    }

    /// The first of each sort.
    pub(crate) fn evidence(&self) -> Value {
        let first_of = |keys: &[String]| keys.iter().take(SHOWN).cloned().collect::<Vec<_>>();
        json!({ "missing": first_of(&self.missing), "other_content": first_of(&self.other) })
    }
}

impl fmt::Display for Differences {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.missing.first().or(self.other.first()).map(String::as_str);
        write!(
            formatter,
            "{} are missing and {} have other content, the first `{}`",
            self.missing.len(),
            self.other.len(),
            first.unwrap_or_default()
        )
    }
}

/// Those that are not there, or not with their size, by a listing.
pub(crate) async fn by_listing(bucket: &S3Reader, assets: &[Asset]) -> Result<Differences, StepError> {
    let mut wanted: HashMap<&str, u64> = assets.iter().map(|asset| (asset.key.as_str(), asset.bytes)).collect();
    let mut found = Differences::default();
    let mut listed = bucket.list(shared_start(assets));
    while let Some(object) = listed.try_next().await? {
        match wanted.remove(object.key.as_str()) {
            Some(bytes) if bytes != object.bytes => found.other.push(object.key),
            _ => {}
        }
    }
    found.missing = wanted.into_keys().map(str::to_owned).collect();
    found.missing.sort();
    Ok(found)
}

/// Those that have other content. `done` counts the bytes that were read.
pub(crate) async fn by_content(
    bucket: &S3Reader,
    assets: &[&Asset],
    done: &AtomicU64,
) -> Result<Differences, StepError> {
    let work: Vec<_> = assets
        .iter()
        .map(|asset| async move {
            let stream = bucket.get(&asset.key, Get::default()).await?;
            let sums = file::sums_of_object(stream).await?;
            done.fetch_add(sums.bytes(), Ordering::Relaxed);
            let same = sums.sha256().eq_ignore_ascii_case(&asset.sha256);
            Ok::<_, StepError>((!same).then(|| asset.key.clone()))
        })
        .collect();
    let other: Vec<Option<String>> = stream::iter(work).buffered(AT_ONCE).try_collect().await?;
    Ok(Differences {
        missing: Vec::new(),
        other: other.into_iter().flatten().collect(),
    })
}

/// What all keys start with.
fn shared_start(assets: &[Asset]) -> &str {
    let Some((first, rest)) = assets.split_first() else {
        return "";
    };
    rest.iter().fold(first.key.as_str(), |start, asset| {
        let same = start.char_indices().zip(asset.key.chars());
        let end = same.take_while(|((_, one), other)| one == other).last();
        &start[..end.map_or(0, |((at, one), _)| at + one.len_utf8())]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keys_share_is_listed_and_no_more() {
        let asset = |key: &str| Asset {
            key: key.to_owned(),
            bytes: 0,
            sha256: String::new(),
        };
        for (keys, expected) in [
            (&["a/b", "a/c"][..], "a/"),
            (&["a", "b"], ""),
            (&["ä1", "ä2"], "ä"),
            (&["a"], "a"),
            (&["a", "ab"], "a"),
            (&[], ""),
        ] {
            let assets: Vec<Asset> = keys.iter().map(|key| asset(key)).collect();
            assert_eq!(shared_start(&assets), expected);
        }
    }
}
