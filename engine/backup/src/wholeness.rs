//! Whether every backup is whole in one location: by sizes, manifests, the sums that are noted there, and by nothing having
//! been written in its place after its manifest. A backup that was, and of which no sum is noted, is read for it where that
//! is asked, and counted apart otherwise.

use std::collections::BTreeMap;
use std::path::PathBuf;

use futures::{StreamExt, TryStreamExt, stream};
use jm_step::{StepError, StepErrorKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::backups::BackupsReader;
use crate::catalogue::{BackupCopy, Catalogue, Entry, Status};
use crate::chain::Broken;
use crate::location::{Location, LocationName, Trace};
use crate::manifest::{self, Manifest, Reading};

/// Backups that are looked at together.
const AT_ONCE: usize = 16;

/// What becomes of a file of the right size that was written after its manifest, and of which no sum is noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Later {
    /// It counts as whole, and is told of.
    Told,
    /// It is read.
    Read,
}

/// What was found of a backup in a location.
enum Found {
    Whole,
    /// It has the right size, and nobody looked at its content.
    Unproven,
    Lacks(String),
}

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
    /// How many of those have the right size, were written after their manifests, and no sum is noted of them.
    pub unproven: u64,
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
    pub async fn wholeness(&self, at: LocationName, later: Later) -> Result<Wholeness, StepError> {
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
                let found = self.look_for(entry, location, later).await?;
                Ok::<_, StepError>((entry, found))
            })
            .collect();
        let looked: Vec<(&Entry, Found)> = stream::iter(looks).buffered(AT_ONCE).try_collect().await?;
        let (lacking, fine): (Vec<_>, Vec<_>) = looked
            .into_iter()
            .partition(|(_, found)| matches!(found, Found::Lacks(_)));
        let is_other = |entry: &Entry| matches!(entry.status, Status::OtherKey(_));
        let other_key = fine.iter().filter(|(entry, _)| is_other(entry)).count() as u64;
        let unproven = fine
            .iter()
            .filter(|(_, found)| matches!(found, Found::Unproven))
            .count() as u64;
        let lacking = lacking.into_iter().filter_map(|(entry, found)| match found {
            Found::Lacks(reason) => Some(Lacking {
                name: entry.name.to_string(),
                reason,
            }),
            Found::Whole | Found::Unproven => None,
        });
        let mut lacking: Vec<Lacking> = lacking.collect();
        lacking.extend(unlike_before(&catalogue.broken, &lacking));
        let known = catalogue.entries.iter().filter_map(Entry::manifest);
        let sums = known.map(|manifest| (manifest.name.to_string(), manifest.sha256.clone()));
        Ok(Wholeness {
            sums: sums.collect(),
            whole: fine.len() as u64 - other_key,
            unproven,
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

    /// What a backup lacks in a location.
    async fn look_for(&self, entry: &Entry, at: &Location, later: Later) -> Result<Found, StepError> {
        let copy = entry.copies.iter().find(|copy| copy.location == at.name());
        let lacks = match (&entry.status, copy) {
            (Status::Refused(why), _) => format!("its manifest is not believed: {why}"),
            (Status::Unread(_, why), _) => format!("its manifest cannot be read: {why}"),
            (_, None) => "its file is not there".to_owned(),
            (Status::Known(manifest), Some(copy)) => return self.look_at(manifest, *copy, at, later).await,
            // Whoever has that key can say more; it is counted apart.
            (Status::OtherKey(_) | Status::Unverified, Some(_)) => return Ok(Found::Whole),
        };
        Ok(Found::Lacks(lacks))
    }

    async fn look_at(
        &self,
        manifest: &Manifest,
        copy: BackupCopy,
        at: &Location,
        later: Later,
    ) -> Result<Found, StepError> {
        let bytes = manifest.bytes.encrypted;
        if copy.bytes != bytes {
            return Ok(Found::Lacks(format!("its file has {} bytes of {bytes}", copy.bytes)));
        }
        let text = match at.small(&manifest.name.manifest()).await {
            Err(error) if error.kind() == StepErrorKind::NotFound => {
                return Ok(Found::Lacks("its manifest is not there".to_owned()));
            }
            text => text?,
        };
        let there = manifest::read(&manifest.name, &text, self.keys())?;
        if !matches!(there, Reading::Authentic(there, _) if there.sha256 == manifest.sha256) {
            return Ok(Found::Lacks("its manifest there is not what was written".to_owned()));
        }
        let (file, manifest_file) = (manifest.name.as_str(), manifest.name.manifest());
        let sum = match (at.trace(file, &manifest_file).await?, later) {
            (Trace::Noted(noted), _) => noted,
            (Trace::AsManifest, _) => return Ok(Found::Whole),
            (Trace::Later, Later::Told) => return Ok(Found::Unproven),
            (Trace::Later, Later::Read) => match at.sha256(file).await {
                Err(error) if !error.kind().is_transient() => {
                    return Ok(Found::Lacks(format!("its file cannot be read: {error}")));
                }
                read => read?,
            },
        };
        let is_same = sum.eq_ignore_ascii_case(&manifest.sha256);
        Ok(if is_same {
            Found::Whole
        } else {
            Found::Lacks("its file has another checksum".to_owned())
        })
    }
}
