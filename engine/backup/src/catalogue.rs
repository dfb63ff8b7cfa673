//! All backups of all locations that answer, newest first.

use std::collections::BTreeMap;

use futures::{StreamExt, stream};
use jiff::Timestamp;
use jm_client_postgres::Inventory;
use jm_step::{StepError, StepErrorKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::chain::{self, Broken, Files};
use crate::content::{DatabaseContent, KubernetesIndex};
use crate::key::{KeyId, KeyRing};
use crate::location::{Location, LocationName};
use crate::manifest::{self, Level, Manifest, Previous, Reading};
use crate::name::{BackupName, ContentKind, Format};
use crate::refusals::{of_another, refused, unread, wrong_key};

/// Manifests that are read at the same time.
const AT_ONCE: usize = 16;

/// What is known of a backup.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Status {
    /// Its manifest is authentic.
    Known(Box<Manifest>),
    /// It has no manifest: made by something else, or not finished. Its age is what its name says.
    Unverified,
    /// Its manifest was made with another key.
    OtherKey(KeyId),
    /// Its manifest is not to be believed, for this reason.
    Refused(String),
    /// Its manifest could not be read, for this reason: what it says is not known for now.
    Unread(StepErrorKind, String),
}

/// One copy of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackupCopy {
    /// Where it lies.
    pub location: LocationName,
    /// How many bytes it has there.
    pub bytes: u64,
}

/// One backup.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its name.
    pub name: BackupName,
    /// Its copies. None where only a manifest is left.
    pub copies: Vec<BackupCopy>,
    /// What is known of it.
    pub status: Status,
}

impl Entry {
    /// The moment of its data, as far as is known.
    pub fn created_at(&self) -> Timestamp {
        self.manifest()
            .map_or_else(|| self.name.taken_at(), |manifest| manifest.created_at)
    }

    /// Its manifest, where that is authentic.
    pub fn manifest(&self) -> Option<&Manifest> {
        match &self.status {
            Status::Known(manifest) => Some(manifest),
            _ => None,
        }
    }

    /// Its manifest, `None` where it has none; an error where there is one that cannot be believed, or read.
    pub(crate) fn believed(&self) -> Result<Option<&Manifest>, StepError> {
        match &self.status {
            Status::Known(manifest) => Ok(Some(manifest)),
            Status::Unverified => Ok(None),
            Status::OtherKey(key) => Err(wrong_key(&self.name, Some(&key.id))),
            Status::Refused(why) => Err(refused(&self.name, why)),
            Status::Unread(kind, why) => Err(unread(&self.name, *kind, why)),
        }
    }

    /// Refuses what is not the file that was chosen before, by the SHA-256 of that. Where the manifest of what is there
    /// cannot be believed, that is what is said: nothing is known of the file then.
    pub fn must_be(&self, chosen: &str) -> Result<(), StepError> {
        let how = match self.believed()? {
            Some(manifest) if manifest.sha256 == chosen => return Ok(()),
            Some(_) => "its checksum is another",
            None => "its manifest is gone, which told its checksum",
        };
        Err(
            StepError::refused(format!("`{}` is not the backup that was chosen: {how}", self.name))
                .hint("find out who wrote there, and choose again"),
        )
    }

    /// Refuses the backup of a database that is not the one which is meant: the one that was asked for by its name (`of`), or
    /// else the one that it goes into. What has no manifest does not tell of which it is.
    pub fn must_be_of(&self, of: Option<&str>, into: &str) -> Result<(), StepError> {
        let Some(is) = self
            .manifest()
            .and_then(Manifest::inventory)
            .map(|inventory| &inventory.database)
        else {
            return Ok(());
        };
        match of {
            Some(of) if of == is => Ok(()),
            None if into == is => Ok(()),
            Some(of) => Err(of_another(&self.name, is, of)),
            None => Err(of_another(&self.name, is, into)),
        }
    }

    /// Of what it is and what it goes into, in words.
    pub fn of_into(&self, into: &str) -> String {
        match self.manifest() {
            Some(manifest) => format!("backup of `{}` into `{into}`", manifest.of()),
            None => format!("backup of a database that nothing tells into `{into}`"),
        }
    }

    /// The size of its copy in a location.
    pub(crate) fn bytes_at(&self, at: LocationName) -> u64 {
        let copy = self.copies.iter().find(|copy| copy.location == at);
        copy.map_or(0, |copy| copy.bytes)
    }

    /// How far it was proven; `None` where nothing was.
    pub fn level(&self) -> Option<Level> {
        self.manifest().map(|manifest| manifest.level)
    }

    /// Its label: from the manifest, or what its name begins with where that is not the catalogue's prefix.
    pub fn label(&self, prefix: &str) -> Option<&str> {
        match self.manifest() {
            Some(manifest) => manifest.label.as_deref(),
            None => Some(self.name.stem()).filter(|stem| *stem != self.kind().stem(prefix)),
        }
    }

    /// Of which kind of system it is.
    pub fn kind(&self) -> ContentKind {
        self.manifest()
            .map_or_else(|| self.name.format().kind(), Manifest::kind)
    }

    /// The version of the `pg_dump` that made it; 0 where nothing says it.
    pub(crate) fn made_by_major(&self) -> u32 {
        let database = self.manifest().and_then(Manifest::database);
        database.map_or(0, DatabaseContent::made_by_major)
    }
}

/// All backups, newest first.
#[derive(Debug)]
pub struct Catalogue {
    /// The backups.
    pub entries: Vec<Entry>,
    /// The locations that did not answer, and what they said instead.
    pub down: Vec<(LocationName, StepError)>,
    /// Backups that are not as later ones found them.
    pub broken: Vec<Broken>,
    files: Files,
}

impl Catalogue {
    /// The backup of this name.
    pub fn find(&self, name: &BackupName) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == *name)
    }

    /// The newest with an authentic manifest.
    pub(crate) fn newest_known(&self) -> Option<&Manifest> {
        self.entries.iter().find_map(Entry::manifest)
    }

    /// The link to it, for the one that is made next.
    pub(crate) fn link(&self) -> Option<Previous> {
        let newest = self.newest_known()?;
        let manifest = self.files.get(&newest.name)?.clone();
        Some(Previous {
            name: newest.name.clone(),
            of: Some(newest.of()),
            manifest,
        })
    }
}

/// What a plan hands from step to step: which backup, and what is in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BackupRef {
    /// Its name.
    pub name: BackupName,
    /// The moment of its data.
    #[schemars(with = "String")]
    pub created_at: Timestamp,
    /// Where copies of it lie.
    pub locations: Vec<LocationName>,
    /// What is inside.
    pub format: Format,
    /// The size of the file.
    pub bytes: u64,
    /// The size of the dump inside, where known.
    #[serde(default)]
    pub raw_bytes: Option<u64>,
    /// SHA-256 of the file, where it has a manifest.
    #[serde(default)]
    pub sha256: Option<String>,
    /// Its label.
    #[serde(default)]
    pub label: Option<String>,
    /// How far it was proven; none where it has no manifest.
    #[serde(default)]
    pub level: Option<Level>,
    /// The database it is of.
    #[serde(default)]
    pub database: Option<String>,
    /// The database that was asked for by its name, where one was: then it may go into a database of another name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_of: Option<String>,
    /// Roles that own or may use something in the database.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// The namespaces it is of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// How many objects of a cluster are inside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<u64>,
    /// The version of the server it was made from.
    #[serde(default)]
    pub server_version: Option<String>,
    /// Which server the database was on: its system identifier, where it told one.
    #[serde(default)]
    pub server: Option<String>,
    /// The key that opens it.
    #[serde(default)]
    pub key_id: Option<String>,
    /// What the database held.
    #[serde(default)]
    pub inventory: Option<Inventory>,
}

impl BackupRef {
    pub(crate) fn of(entry: &Entry, copies: &[BackupCopy], prefix: &str) -> Self {
        let manifest = entry.manifest();
        Self {
            name: entry.name.clone(),
            created_at: entry.created_at(),
            locations: copies.iter().map(|copy| copy.location).collect(),
            format: manifest.map_or(entry.name.format(), |manifest| manifest.dump),
            bytes: copies.first().map_or(0, |copy| copy.bytes),
            raw_bytes: manifest.map(|manifest| manifest.bytes.raw),
            sha256: manifest.map(|manifest| manifest.sha256.clone()),
            label: entry.label(prefix).map(str::to_owned),
            level: entry.level(),
            database: manifest
                .and_then(Manifest::inventory)
                .map(|inventory| inventory.database.clone()),
            asked_of: None,
            roles: manifest
                .and_then(Manifest::database)
                .map_or_else(Vec::new, |database| database.roles.clone()),
            namespaces: manifest
                .and_then(Manifest::kubernetes)
                .map_or_else(Vec::new, |index| index.namespaces.clone()),
            objects: manifest.and_then(Manifest::kubernetes).map(KubernetesIndex::count),
            server_version: manifest.map(|manifest| manifest.server_version().to_owned()),
            server: manifest
                .and_then(Manifest::database)
                .and_then(|database| database.system_identifier.clone()),
            key_id: manifest.map(|manifest| manifest.key.id.clone()),
            inventory: manifest.and_then(Manifest::inventory).cloned(),
        }
    }
}

#[derive(Default)]
struct Gathered {
    copies: Vec<BackupCopy>,
    manifests: Vec<LocationName>,
}

/// Looks through all locations. An error only where none answers. Backups since `kept_since` are kept in any case.
pub(crate) async fn read(
    locations: &[Location],
    keys: &KeyRing,
    kept_since: Timestamp,
) -> Result<Catalogue, StepError> {
    let (gathered, down) = gather(locations).await?;
    let entries = gathered
        .into_iter()
        .map(|(name, gathered)| async move {
            let (status, file) = status(&name, &gathered.manifests, locations, keys).await?;
            let file = file.map(|file| (name.clone(), file));
            let entry = Entry {
                name,
                copies: gathered.copies,
                status,
            };
            Ok((entry, file))
        })
        .collect::<Vec<_>>();
    let read: Vec<Result<_, StepError>> = stream::iter(entries).buffer_unordered(AT_ONCE).collect().await;
    let read = read.into_iter().collect::<Result<Vec<_>, _>>()?;
    let (mut entries, files): (Vec<Entry>, Vec<_>) = read.into_iter().unzip();
    entries.sort_by(|a, b| (b.created_at(), &b.name).cmp(&(a.created_at(), &a.name)));
    let files = files.into_iter().flatten().collect();
    Ok(Catalogue {
        broken: chain::broken(&entries, &files, down.is_empty(), kept_since),
        entries,
        down,
        files,
    })
}

type Lists = (BTreeMap<BackupName, Gathered>, Vec<(LocationName, StepError)>);

async fn gather(locations: &[Location]) -> Result<Lists, StepError> {
    let mut gathered: BTreeMap<BackupName, Gathered> = BTreeMap::new();
    let mut down = Vec::new();
    for location in locations {
        let found = match location.list().await {
            Ok(found) => found,
            Err(error) => {
                down.push((location.name(), error));
                continue;
            }
        };
        for found in found {
            let copy = BackupCopy {
                location: location.name(),
                bytes: found.bytes,
            };
            if let Ok(name) = found.file.parse() {
                gathered.entry(name).or_default().copies.push(copy);
            } else if let Some(name) = BackupName::of_manifest(&found.file) {
                gathered.entry(name).or_default().manifests.push(location.name());
            }
        }
    }
    if down.len() == locations.len() {
        if let Some((name, error)) = down.into_iter().next() {
            return Err(error.context(format_args!("no location of the backups answers; {name}")));
        }
        return Err(StepError::invalid_input("the backups have no location"));
    }
    Ok((gathered, down))
}

/// What is known of a backup, and the SHA-256 of the manifest's file that tells it.
async fn status(
    name: &BackupName,
    at: &[LocationName],
    locations: &[Location],
    keys: &KeyRing,
) -> Result<(Status, Option<String>), StepError> {
    let mut status = Status::Unverified;
    for location in locations.iter().filter(|location| at.contains(&location.name())) {
        status = match location.small(&name.manifest()).await {
            Err(error) => Status::Unread(error.kind(), error.to_string()),
            Ok(text) => match manifest::read(name, &text, keys)? {
                Reading::Authentic(manifest, file) => return Ok((Status::Known(manifest), Some(file))),
                Reading::OtherKey(key) => Status::OtherKey(key),
                Reading::Refused(why) => Status::Refused(why),
            },
        };
    }
    Ok((status, None))
}
