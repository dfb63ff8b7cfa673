//! What a release of a site consists of, written down in the bucket when it is published: which objects, with which
//! content, from which commit. Who keeps or removes old assets goes by these manifests, and by nothing else.

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use jm_client_s3::{ObjectSummary, S3Reader};
use jm_step::{InputIssue, StepError, StepErrorKind};
use serde::{Deserialize, Serialize};

/// What manifests of this form say of themselves.
const FORMAT: &str = "jm/release/v1";
/// No manifest is larger than this: half a million objects.
const LARGEST: u64 = 128 << 20;
/// What its name ends with.
const ENDING: &str = ".json";
/// So many manifests are read at once.
const AT_ONCE: usize = 4;

/// The folder of the manifests, where none is named.
pub(crate) fn folder() -> String {
    ".jm/releases/".to_owned()
}

/// What is wrong with the folder of the manifests.
pub(crate) fn folder_issue(folder: &str) -> Option<InputIssue> {
    let fits = folder.len() > 1 && folder.ends_with('/') && !folder.starts_with('/');
    (!fits).then(|| {
        InputIssue::at("/releases", "the manifests of releases need a folder of their own")
            .help("write it with a slash at its end and none before it, such as `.jm/releases/`")
    })
}

/// A release as its manifest tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    format: String,
    /// When it was written down, which is before its pages are published.
    pub(crate) recorded_at: Timestamp,
    /// The commit that it was built from, where that is known.
    pub(crate) commit: Option<String>,
    /// All that it consists of, in the order of the keys.
    pub(crate) objects: Vec<Asset>,
}

/// One object of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Asset {
    /// Its key, relative to the target's prefix.
    pub(crate) key: String,
    /// Its size.
    pub(crate) bytes: u64,
    /// Of its content, in lower-case hex.
    pub(crate) sha256: String,
}

impl Manifest {
    pub(crate) fn new(recorded_at: Timestamp, commit: Option<String>, objects: Vec<Asset>) -> Self {
        Self {
            format: FORMAT.to_owned(),
            recorded_at,
            commit,
            objects,
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.objects.iter().map(|object| object.bytes).sum()
    }
}

/// A release that is written down in a bucket.
#[derive(Debug, Clone)]
pub(crate) struct Release {
    /// The key of its manifest.
    pub(crate) key: String,
    /// From when on it counts: when it was written down, by its own word or by the store's, whichever is later.
    pub(crate) at: Timestamp,
    pub(crate) manifest: Manifest,
}

/// The key of a manifest. In the order of their names, they are in the order of their times.
pub(crate) fn key(folder: &str, at: Timestamp, word: &str) -> String {
    format!("{folder}{}-{word}{ENDING}", at.strftime("%Y%m%dT%H%M%SZ"))
}

/// All manifests there are, oldest name first.
pub(crate) async fn list(bucket: &S3Reader, folder: &str) -> Result<Vec<ObjectSummary>, StepError> {
    let all: Vec<ObjectSummary> = bucket.list(folder).try_collect().await?;
    Ok(all.into_iter().filter(|object| object.key.ends_with(ENDING)).collect())
}

/// Reads a manifest. One that cannot be read is an error: what it names is not known.
pub(crate) async fn load(bucket: &S3Reader, listed: &ObjectSummary) -> Result<Release, StepError> {
    let text = bucket.get_bytes(&listed.key, LARGEST).await?;
    let unreadable = |why: String| {
        StepError::failed(format!(
            "`{}` is no manifest of a release that jm can read: {why}",
            bucket.url(&listed.key)
        ))
        .hint("bring back an older version of it, or move it out of the folder if it is something else")
    };
    let manifest: Manifest = serde_json::from_slice(&text).map_err(|error| unreadable(error.to_string()))?;
    if manifest.format != FORMAT {
        return Err(unreadable(format!("its format is `{}`", manifest.format)));
    }
    Ok(Release {
        key: listed.key.clone(),
        at: listed
            .last_modified
            .map_or(manifest.recorded_at, |stored| stored.max(manifest.recorded_at)),
        manifest,
    })
}

/// Gives each of these releases to `take`, a few at a time in memory.
pub(crate) async fn load_all(
    bucket: &S3Reader,
    listed: &[ObjectSummary],
    mut take: impl FnMut(Release),
) -> Result<(), StepError> {
    let work = listed.iter().map(|one| load(bucket, one)).collect::<Vec<_>>();
    let mut loaded = stream::iter(work).buffered(AT_ONCE);
    while let Some(release) = loaded.try_next().await? {
        take(release);
    }
    Ok(())
}

/// The release of this name, or the newest one for `latest`.
pub(crate) async fn find(bucket: &S3Reader, folder: &str, name: &str) -> Result<Release, StepError> {
    let listed = list(bucket, folder).await?;
    let found = match name {
        "latest" => listed.last(),
        name => listed
            .iter()
            .find(|one| one.key == name || one.key.strip_prefix(folder).map(trimmed) == Some(trimmed(name))),
    };
    let Some(found) = found else {
        return Err(StepError::new(
            StepErrorKind::NotFound,
            match listed.last() {
                None => format!("no release is written down under `{}`", bucket.url(folder)),
                Some(last) => format!(
                    "no release `{name}` is written down under `{}`; the newest is `{}`",
                    bucket.url(folder),
                    last.key.strip_prefix(folder).map(trimmed).unwrap_or_default()
                ),
            },
        )
        .hint(
            "`plans/cdn-recovery.yaml` writes down each release that it publishes; `s3.record_release` does it alone",
        ));
    };
    load(bucket, found).await
}

fn trimmed(name: &str) -> &str {
    name.strip_suffix(ENDING).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_the_order_of_their_times() {
        let at = |second| Timestamp::from_second(second).expect("a time");
        let (older, newer) = (key("r/", at(1_700_000_000), "zzz"), key("r/", at(1_700_000_001), "aaa"));
        assert_eq!(older, "r/20231114T221320Z-zzz.json");
        assert!(older < newer);
    }

    #[test]
    fn a_folder_is_one() {
        for folder in ["", "/", "x", "/x/"] {
            assert!(folder_issue(folder).is_some(), "{folder:?}");
        }
        assert!(folder_issue(&folder()).is_none());
    }
}
