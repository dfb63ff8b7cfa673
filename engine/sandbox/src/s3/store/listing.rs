//! Pages of a bucket's keys and versions. Pure: over the index alone.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::bucket::Index;
use super::history::{History, Version, VersionId};
use super::multipart::Upload;

/// Which keys a listing is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(crate) prefix: String,
    /// Keys that have it after the prefix are shown as one common prefix.
    pub(crate) delimiter: Option<String>,
}

impl Filter {
    /// The common prefix that stands for the key, where it does not stand for itself.
    pub(crate) fn common_prefix<'a>(&self, key: &'a str) -> Option<&'a str> {
        let delimiter = self.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty())?;
        let rest = key.strip_prefix(&self.prefix)?;
        let end = self.prefix.len() + rest.find(delimiter)? + delimiter.len();
        Some(&key[..end])
    }
}

/// The place after which a page begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum After {
    #[default]
    Start,
    /// After all versions of a key.
    Key(String),
    /// After every key that begins so.
    Prefix(String),
    /// After this version of a key.
    Version(String, VersionId),
}

impl After {
    /// What a marker that names a key means: one that is itself a common prefix stands for all keys below it.
    pub(crate) fn marker(filter: &Filter, key: String) -> Self {
        if filter.common_prefix(&key) == Some(&key) {
            Self::Prefix(key)
        } else {
            Self::Key(key)
        }
    }

    /// The first key that may be listed; none where nothing can follow.
    fn bound(&self) -> Option<Bound<String>> {
        match self {
            Self::Start => Some(Bound::Unbounded),
            Self::Key(key) => Some(Bound::Excluded(key.clone())),
            Self::Version(key, _) => Some(Bound::Included(key.clone())),
            Self::Prefix(prefix) => beyond(prefix).map(Bound::Included),
        }
    }
}

/// One line of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item<T> {
    One(T),
    CommonPrefix(String),
}

/// A part of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<Item<T>>,
    /// Where the next page begins; none on the last page.
    pub(crate) next: Option<After>,
}

/// A version in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) history: Arc<History>,
    pub(crate) version: Version,
    pub(crate) latest: bool,
}

/// The current objects, in the byte order of their keys.
pub(crate) fn objects(index: &Index, filter: &Filter, after: &After, max: usize) -> Page<Arc<History>> {
    let shown = |history: &Arc<History>| match history.current() {
        Some(_) => vec![(Arc::clone(history), After::Key(history.key.clone()))],
        None => Vec::new(),
    };
    walk(index, filter, after, max, shown)
}

/// All versions and markers, by key and then newest first.
pub(crate) fn versions(index: &Index, filter: &Filter, after: &After, max: usize) -> Page<Listed> {
    let shown = |history: &Arc<History>| {
        let rest = match after {
            After::Version(key, id) if *key == history.key => older(history, *id),
            _ => history.versions.len(),
        };
        let listed = |version: &Version| {
            let history = Arc::clone(history);
            let latest = history.latest() == Some(version);
            let place = After::Version(history.key.clone(), version.id());
            let version = version.clone();
            (
                Listed {
                    history,
                    version,
                    latest,
                },
                place,
            )
        };
        history.versions[..rest].iter().rev().map(listed).collect()
    };
    walk(index, filter, after, max, shown)
}

/// Uploads under way, by key and in the order in which they began. Their places are like those of versions.
pub(crate) fn uploads(
    by_key: &BTreeMap<String, Vec<Arc<Upload>>>,
    filter: &Filter,
    after: &After,
    max: usize,
) -> Page<Arc<Upload>> {
    let later = |upload: &&Arc<Upload>| match after {
        After::Version(key, VersionId::Stamp(id)) if *key == upload.plan.key => upload.plan.id > *id,
        _ => true,
    };
    let place = |upload: &Arc<Upload>| After::Version(upload.plan.key.clone(), VersionId::Stamp(upload.plan.id));
    let shown = |uploads: &Vec<Arc<Upload>>| {
        let uploads = uploads.iter().filter(later);
        uploads.map(|upload| (Arc::clone(upload), place(upload))).collect()
    };
    walk(by_key, filter, after, max, shown)
}

/// How many versions are older than the one of that id, which may be gone by now.
fn older(history: &History, id: VersionId) -> usize {
    match id {
        VersionId::Stamp(stamp) => history.versions.partition_point(|version| version.stamp < stamp),
        // A null version that is gone left no place behind: the key is listed again rather than cut short.
        VersionId::Null => {
            let place = history.versions.iter().position(|version| version.null);
            place.unwrap_or(history.versions.len())
        }
    }
}

/// Goes through the keys from `after` on until the page is full. `shown` says what a key brings to the page,
/// each with the place after it.
fn walk<K: Ord + std::borrow::Borrow<str>, V, T>(
    index: &BTreeMap<K, V>,
    filter: &Filter,
    after: &After,
    max: usize,
    shown: impl Fn(&V) -> Vec<(T, After)>,
) -> Page<T> {
    let mut page = Filling::new(max);
    let mut bound = after.bound().map(|bound| later(bound, &filter.prefix));
    while let Some(from) = bound.take() {
        let mut keys = index.range::<str, _>((from.as_ref().map(String::as_str), Bound::Unbounded));
        let inside = |(key, _): &(&K, &V)| (*key).borrow().starts_with(&filter.prefix);
        while let Some((key, value)) = keys.next().filter(inside) {
            let found = shown(value);
            if found.is_empty() {
                continue;
            }
            let full = match filter.common_prefix((*key).borrow()) {
                None => found.into_iter().any(|(one, place)| page.add(Item::One(one), place)),
                Some(prefix) => {
                    bound = beyond(prefix).map(Bound::Included);
                    page.add(Item::CommonPrefix(prefix.into()), After::Prefix(prefix.into()))
                }
            };
            if full {
                return page.finish(true);
            }
            if bound.is_some() {
                break;
            }
        }
    }
    page.finish(false)
}

/// A page being filled: it learns that there is more when an item comes that it has no room for.
struct Filling<T> {
    items: Vec<Item<T>>,
    last: Option<After>,
    max: usize,
}

impl<T> Filling<T> {
    fn new(max: usize) -> Self {
        Self {
            items: Vec::new(),
            last: None,
            max,
        }
    }

    /// Takes an item; true where there was no room for it.
    fn add(&mut self, item: Item<T>, place: After) -> bool {
        let full = self.items.len() >= self.max;
        if !full {
            self.items.push(item);
            self.last = Some(place);
        }
        full
    }

    fn finish(self, more: bool) -> Page<T> {
        Page {
            items: self.items,
            next: self.last.filter(|_| more),
        }
    }
}

/// The later one of a bound and the prefix that all keys have.
fn later(bound: Bound<String>, prefix: &str) -> Bound<String> {
    let before = match &bound {
        Bound::Unbounded => true,
        Bound::Included(key) | Bound::Excluded(key) => key.as_str() < prefix,
    };
    if before {
        Bound::Included(prefix.to_owned())
    } else {
        bound
    }
}

/// The smallest text greater than every text that begins with `prefix`; none where there is none.
fn beyond(prefix: &str) -> Option<String> {
    let mut text = prefix.to_owned();
    while let Some(last) = text.pop() {
        // The byte order of UTF-8 is the order of its characters.
        if let Some(next) = (last..=char::MAX).nth(1) {
            text.push(next);
            return Some(text);
        }
    }
    None
}
