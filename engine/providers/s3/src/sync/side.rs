//! The two ends of a sync: a directory or a bucket, and what is found there.

use std::collections::{BTreeMap, HashSet};

use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use jm_client_s3::{ObjectSummary, Pace, S3Reader};
use jm_step::StepError;

use super::directory::{Directory, FileFound, LeftOut, place};
use super::pattern::Names;

/// A file or an object.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Found {
    File(FileFound),
    Object(ObjectSummary),
}

impl Found {
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::File(file) => file.bytes,
            Self::Object(object) => object.bytes,
        }
    }
}

/// What is found, by name.
pub(super) type All = BTreeMap<String, Found>;
/// The same, one after the other.
pub(super) type Each = BoxStream<'static, Result<(String, Found), StepError>>;

/// A bucket, or the part of it under a prefix.
#[derive(Clone)]
pub(super) struct Objects {
    pub(super) bucket: S3Reader,
    pub(super) prefix: String,
    pub(super) names: Names,
}

impl Objects {
    pub(super) fn new(bucket: &S3Reader, prefix: &str, names: Names) -> Self {
        Self {
            bucket: bucket.clone(),
            prefix: prefix.to_owned(),
            names,
        }
    }

    /// The key of a name.
    pub(super) fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Those of these names of which a version has content, whatever marks them as deleted.
    pub(super) async fn with_versions(&self, mut names: HashSet<&str>) -> Result<HashSet<String>, StepError> {
        let mut found = HashSet::new();
        let (pace, mut after) = (Pace::alone(), None);
        while !names.is_empty() {
            let page = self
                .bucket
                .versions_page(&pace, &self.prefix, after.as_ref(), 1000)
                .await?;
            for version in page.entries.iter().filter(|version| !version.marker) {
                let name = version.key.strip_prefix(&self.prefix);
                found.extend(name.and_then(|name| names.take(name)).map(str::to_owned));
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        Ok(found)
    }

    /// What is there, page by page.
    fn each(&self) -> Each {
        let objects = self.clone();
        self.bucket
            .list(&self.prefix)
            .try_filter_map(move |object| {
                let name = object.key.strip_prefix(&objects.prefix).map(str::to_owned);
                let meant = name.filter(|name| objects.names.mean(name));
                std::future::ready(Ok(meant.map(|name| (name, Found::Object(object)))))
            })
            .boxed()
    }
}

/// One end.
#[derive(Clone)]
pub(super) enum Side {
    Directory(Directory),
    Bucket(Objects),
}

impl Side {
    /// For people.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Directory(directory) => directory.root.display().to_string(),
            Self::Bucket(objects) => objects.bucket.url(&objects.prefix),
        }
    }

    /// The directory, where it is one.
    pub(super) fn directory(&self) -> Option<&Directory> {
        match self {
            Self::Directory(directory) => Some(directory),
            Self::Bucket(_) => None,
        }
    }

    /// What things there are called.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Directory(_) => "files",
            Self::Bucket(_) => "objects",
        }
    }

    /// What is there to be taken, and what is left out.
    pub(super) async fn list_as_source(&self, to: &Self) -> Result<(All, Vec<LeftOut>), StepError> {
        match self {
            Self::Directory(directory) => {
                let (files, left_out) = directory.list().await?;
                Ok((of_files(files), left_out))
            }
            Self::Bucket(objects) => {
                let mut all = objects.each().try_collect::<All>().await?;
                let mut left_out = Vec::new();
                if let Self::Directory(directory) = to {
                    all.retain(|name, _| {
                        let reason = place(&directory.root, name).err();
                        left_out.extend(reason.map(|reason| LeftOut {
                            name: name.clone(),
                            reason: reason.to_owned(),
                        }));
                        reason.is_none()
                    });
                }
                Ok((all, left_out))
            }
        }
    }

    /// What is there already, in any order.
    pub(super) async fn as_destination(&self) -> Result<Each, StepError> {
        match self {
            Self::Directory(directory) => {
                let files = of_files(directory.list_if_there().await?.0);
                Ok(stream::iter(files.into_iter().map(Ok)).boxed())
            }
            Self::Bucket(objects) => Ok(objects.each()),
        }
    }
}

fn of_files(files: super::directory::Files) -> All {
    let found = files.into_iter().map(|(name, file)| (name, Found::File(file)));
    found.collect()
}
