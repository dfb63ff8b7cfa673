//! Whether every backup is whole in one location: by sizes, manifests and the sums that are noted there. No backup is read
//! for it: other content of the same size, of which nothing is noted, is found by [`BackupsReader::prove`] alone.

use std::collections::BTreeMap;
use std::path::PathBuf;

use futures::{StreamExt, TryStreamExt, stream};
use jm_step::{StepError, StepErrorKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::backups::BackupsReader;
use crate::catalogue::{BackupCopy, Catalogue, Entry, Status};
use crate::chain::Broken;
use crate::location::{Location, LocationName};
use crate::manifest::{self, Manifest, Reading};

/// Backups that are looked at together.
const AT_ONCE: usize = 16;

/// A backup that is not whole in a location.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Lacking {
    /// Its name.
    pub name: String,
    /// What it lacks.
    pub reason: String,
}

/// What a location has of all backups that a manifest tells of, wherever the manifest lies.
#[derive(Debug)]
pub struct Wholeness {
    /// How many are whole there.
    pub whole: u64,
    /// Those that are not, newest first; after them those that are not as a later one found them, wherever they lay.
    pub lacking: Vec<Lacking>,
    /// The SHA-256 of every backup that has an authentic manifest, by its name.
    pub sums: BTreeMap<String, String>,
    /// How many have a file there, and a manifest that only the key of then opens: nobody else can say whether they are whole.
    pub other_key: u64,
    /// The other locations that did not answer: backups that only they know of are not in here.
    pub down: Vec<(LocationName, StepError)>,
}

/// Where a target keeps its backups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Places {
    /// The directory; null where the target has none.
    pub directory: Option<PathBuf>,
    /// Whether that is there.
    pub directory_exists: bool,
    /// The bucket; null where the target has none.
    pub bucket: Option<String>,
    /// What the names of backups begin with in that bucket, such as `backups/`.
    pub prefix: Option<String>,
}

/// How it stands with the copies of one backup.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    /// The locations that answer and have none of its size, in words.
    pub(crate) lacking: Vec<String>,
    /// The locations that do not answer, in words.
    pub(crate) unknown: Vec<String>,
}

/// Breaks in the chain of manifests, of backups that are not told of already.
fn unlike_before(broken: &[Broken], told: &[Lacking]) -> Vec<Lacking> {
    let lacking = broken.iter().map(|broken| Lacking {
        name: broken.name.to_string(),
        reason: broken.to_string(),
    });
    lacking
        .filter(|one| told.iter().all(|told| told.name != one.name))
        .collect()
}

impl BackupsReader {
    /// Whether every location has a copy of a backup, by its size.
    pub(crate) fn copies(&self, catalogue: &Catalogue, entry: &Entry) -> Copies {
        let mut copies = Copies::default();
        let bytes = entry.manifest().map_or(0, |manifest| manifest.bytes.encrypted);
        for name in self.locations().iter().map(Location::name) {
            if let Some((_, error)) = catalogue.down.iter().find(|(down, _)| *down == name) {
                let unknown = format!("whether `{}` is in {name} is not known: {error}", entry.name);
                copies.unknown.push(unknown);
            } else if entry.bytes_at(name) != bytes {
                copies
                    .lacking
                    .push(format!("{name} has no whole copy of `{}`", entry.name));
            }
        }
        copies
    }

    /// Looks for every backup in one location. A bucket that is missing is one with nothing in it.
    pub async fn wholeness(&self, at: LocationName) -> Result<Wholeness, StepError> {
        let location = self.location(at)?;
        let mut catalogue = self.catalogue().await?;
        let is_down = catalogue.down.iter().position(|(name, _)| *name == at);
        if let Some((_, error)) = is_down.map(|place| catalogue.down.remove(place))
            && error.kind() != StepErrorKind::NotFound
        {
            return Err(error.context(format_args!("backup location {at}")));
        }
        let told = catalogue
            .entries
            .iter()
            .filter(|entry| !matches!(entry.status, Status::Unverified));
        let looks: Vec<_> = told
            .map(|entry| async move {
                let lacks = self.lacks(entry, location).await?;
                Ok::<_, StepError>((entry, lacks))
            })
            .collect();
        let looked: Vec<(&Entry, Option<String>)> = stream::iter(looks).buffered(AT_ONCE).try_collect().await?;
        let (fine, lacking): (Vec<_>, Vec<_>) = looked.into_iter().partition(|(_, lacks)| lacks.is_none());
        let is_other = |entry: &Entry| matches!(entry.status, Status::OtherKey(_));
        let other_key = fine.iter().filter(|(entry, _)| is_other(entry)).count() as u64;
        let lacking = lacking.into_iter().filter_map(|(entry, lacks)| {
            let name = entry.name.to_string();
            lacks.map(|reason| Lacking { name, reason })
        });
        let mut lacking: Vec<Lacking> = lacking.collect();
        lacking.extend(unlike_before(&catalogue.broken, &lacking));
        let known = catalogue.entries.iter().filter_map(Entry::manifest);
        let sums = known.map(|manifest| (manifest.name.to_string(), manifest.sha256.clone()));
        Ok(Wholeness {
            sums: sums.collect(),
            whole: fine.len() as u64 - other_key,
            other_key,
            lacking,
            down: catalogue.down,
        })
    }

    /// Where backups are kept.
    pub async fn places(&self) -> Result<Places, StepError> {
        let mut places = Places {
            directory: None,
            directory_exists: false,
            bucket: None,
            prefix: None,
        };
        for location in self.locations() {
            match location {
                Location::Local(directory) => {
                    places.directory = Some(directory.path().to_owned());
                    places.directory_exists = directory.is_there().await?;
                }
                Location::S3(bucket) => {
                    places.bucket = Some(bucket.bucket().to_owned());
                    places.prefix = Some(bucket.prefix().to_owned());
                }
            }
        }
        Ok(places)
    }

    /// What a backup lacks in a location; `None` where it is whole there.
    async fn lacks(&self, entry: &Entry, at: &Location) -> Result<Option<String>, StepError> {
        let copy = entry.copies.iter().find(|copy| copy.location == at.name());
        let lacks = match (&entry.status, copy) {
            (Status::Refused(why), _) => format!("its manifest is not believed: {why}"),
            (Status::Unread(_, why), _) => format!("its manifest cannot be read: {why}"),
            (_, None) => "its file is not there".to_owned(),
            (Status::Known(manifest), Some(copy)) => return self.copy_lacks(manifest, *copy, at).await,
            // Whoever has that key can say more; it is counted apart.
            (Status::OtherKey(_) | Status::Unverified, Some(_)) => return Ok(None),
        };
        Ok(Some(lacks))
    }

    async fn copy_lacks(
        &self,
        manifest: &Manifest,
        copy: BackupCopy,
        at: &Location,
    ) -> Result<Option<String>, StepError> {
        let bytes = manifest.bytes.encrypted;
        if copy.bytes != bytes {
            return Ok(Some(format!("its file has {} bytes of {bytes}", copy.bytes)));
        }
        let text = match at.small(&manifest.name.manifest()).await {
            Err(error) if error.kind() == StepErrorKind::NotFound => {
                return Ok(Some("its manifest is not there".to_owned()));
            }
            text => text?,
        };
        let there = manifest::read(&manifest.name, &text, self.keys())?;
        if !matches!(there, Reading::Authentic(there, _) if there.sha256 == manifest.sha256) {
            return Ok(Some("its manifest there is not what was written".to_owned()));
        }
        let noted = at.noted_sha256(manifest.name.as_str()).await?;
        let differs = noted.is_some_and(|noted| !noted.eq_ignore_ascii_case(&manifest.sha256));
        Ok(differs.then(|| "its file has another checksum".to_owned()))
    }
}
