//! Files and environment variables as backups: configuration that lies in no database and in no cluster.
//!
//! They are looked at first, and hashed, so that a backup is made only where something changed since the last one, and what
//! changed can be told by name. What is then read a second time and has another hash was changed meanwhile, and is not filed.

mod gather;
mod tape;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jm_step::{Secret, StepError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::gather::Gathered;
pub(crate) use self::tape::OPENING;
use crate::archive::Unpacked;
use crate::backups::{Backups, BackupsReader, explain};
use crate::catalogue::{BackupRef, Entry};
use crate::content::{Content, FilesContent, FilesIndex, LeftOut};
use crate::create::Created;
use crate::flow::{Failure, Flow, consume, produce};
use crate::keeping::Keeping;
use crate::key::{KeyId, KeyRing};
use crate::name::ContentKind;
use crate::observer::{Observer, watched};
use crate::refusals::of_another_kind;
use crate::tools::Toolbox;
use crate::wholeness::Copies;

/// Which files are to be filed.
#[derive(Debug, Clone)]
pub struct FilesRequest {
    /// What they are called together: backups of one set are versions of each other.
    pub set: String,
    /// Files and folders; of a folder everything in it.
    pub paths: Vec<PathBuf>,
    /// Environment variables by name, with their values; none for one that is not set.
    pub environment: BTreeMap<String, Option<Secret>>,
    /// How the backup is kept.
    pub keeping: Keeping,
}

/// What differs between two backups of one set, by path; a variable as `$NAME`. Values are never told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FilesDifference {
    /// What is new.
    pub added: Vec<String>,
    /// What is gone.
    pub removed: Vec<String>,
    /// What has another content, other permissions or another kind.
    pub changed: Vec<String>,
}

impl FilesDifference {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }

    /// In words, with so many names of each sort at most.
    pub fn describe(&self, shown: usize) -> String {
        let sorts = [
            ("new", &self.added),
            ("gone", &self.removed),
            ("changed", &self.changed),
        ];
        let told = sorts.into_iter().filter(|(_, names)| !names.is_empty());
        told.map(|(sort, names)| {
            let more = names.len().saturating_sub(shown);
            let names = names.iter().take(shown).map(String::as_str).collect::<Vec<_>>();
            let more = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            format!("{sort}: {}{more}", names.join(", "))
        })
        .collect::<Vec<_>>()
        .join("; ")
    }

    fn between(old: &FilesIndex, new: &FilesIndex) -> Self {
        let mut difference = Self::default();
        difference.add(&old.files, &new.files, "");
        difference.add(&old.environment, &new.environment, "$");
        difference
    }

    fn add<T: PartialEq>(&mut self, old: &BTreeMap<String, T>, new: &BTreeMap<String, T>, prefix: &str) {
        let call = |name: &String| format!("{prefix}{name}");
        self.removed
            .extend(old.keys().filter(|name| !new.contains_key(*name)).map(call));
        for (name, value) in new {
            match old.get(name) {
                None => self.added.push(call(name)),
                Some(before) if before != value => self.changed.push(call(name)),
                Some(_) => {}
            }
        }
    }
}

/// What was found where a backup is to be made of.
pub struct FilesLook {
    gathered: Gathered,
    environment: BTreeMap<String, Secret>,
    /// What is not there to be kept, and why.
    pub left_out: Vec<LeftOut>,
    /// The last backup of the set.
    pub newest: Option<BackupRef>,
    /// Why that one will not do although nothing differs: locations that have no whole copy of it, another release.
    pub lacking: Vec<String>,
    /// What is not known of it: locations that do not answer.
    pub unknown: Vec<String>,
    /// What differs from that one; everything is new where there is none.
    pub difference: FilesDifference,
}

impl FilesLook {
    /// How many files, folders and links there are.
    pub fn files(&self) -> u64 {
        self.gathered.found.len() as u64
    }

    /// How many variables there are.
    pub fn variables(&self) -> u64 {
        self.environment.len() as u64
    }

    /// What a manifest tells of it, under a salt.
    fn index(&self, set: &str, keys: &KeyRing, salt: &str) -> Result<FilesIndex, StepError> {
        let mut environment = BTreeMap::new();
        for (name, value) in &self.environment {
            let tag = keys.mac(salt, format!("${name}\0{}", value.expose()).as_bytes())?;
            environment.insert(name.clone(), tag);
        }
        Ok(FilesIndex {
            set: set.to_owned(),
            files: self.gathered.index(|text| keys.mac(salt, text))?,
            environment,
            left_out: self.left_out.clone(),
        })
    }
}

impl BackupsReader {
    /// Reads and hashes all of it, and compares it with the last backup of the set. A path that is named and not there, or
    /// cannot be read, is an error; what cannot be read inside of a folder is left out.
    pub async fn look_at_files(&self, request: &FilesRequest) -> Result<FilesLook, StepError> {
        let paths = request.paths.clone();
        let mut gathered = tokio::task::spawn_blocking(move || gather::gather(&paths))
            .await
            .map_err(|error| StepError::failed("reading the files broke off").source(error))??;
        let mut left_out = std::mem::take(&mut gathered.left_out);
        let mut environment = BTreeMap::new();
        for (name, value) in &request.environment {
            match value {
                Some(value) => drop(environment.insert(name.clone(), value.clone())),
                None => left_out.push(LeftOut {
                    name: format!("${name}"),
                    why: "it is not set where jm runs".to_owned(),
                }),
            }
        }
        let mut look = FilesLook {
            gathered,
            environment,
            left_out,
            newest: None,
            lacking: Vec::new(),
            unknown: Vec::new(),
            difference: FilesDifference::default(),
        };
        let catalogue = self.catalogue().await?;
        let last = catalogue.entries.iter().find(|entry| {
            let is_of_set = |index: &FilesIndex| index.set == request.set;
            entry
                .manifest()
                .and_then(|manifest| manifest.files())
                .is_some_and(is_of_set)
        });
        let Some((entry, manifest)) = last.and_then(|entry| Some((entry, entry.manifest()?))) else {
            let new = look.index(&request.set, self.keys(), &self.keys().identify(None)?.salt)?;
            look.difference = FilesDifference::between(&FilesIndex::default(), &new);
            return Ok(look);
        };
        let now = look.index(&request.set, self.keys(), &manifest.key.salt)?;
        let before = manifest.files().cloned().unwrap_or_default();
        look.difference = FilesDifference::between(&before, &now);
        look.newest = Some(self.reference(entry));
        let Copies { lacking, unknown } = self.copies(&catalogue, entry);
        (look.lacking, look.unknown) = (lacking, unknown);
        if manifest.release != request.keeping.release {
            look.lacking
                .push(format!("`{}` was made with another release", entry.name));
        }
        Ok(look)
    }

    /// Writes what is inside a backup of files into a new folder, from the first copy that can be opened: a folder `files`
    /// with the whole paths in it, and `environment.sh`. It has its name when all of it is proven, or not at all.
    pub async fn extract_files(&self, entry: &Entry, into: &Path, observer: &dyn Observer) -> Result<u64, StepError> {
        if entry.kind() != ContentKind::Files {
            return Err(of_another_kind(&entry.name, entry.kind(), ContentKind::Files));
        }
        let (unpacked, bytes, meter) = self.first_copy(entry).await?;
        let Unpacked { dump, .. } = unpacked;
        let extracted = watched(observer, &meter, Some(bytes), extract(dump, into.to_path_buf())).await;
        extracted.map_err(|failure| explain(entry, failure))
    }
}

async fn extract(dump: Flow, into: PathBuf) -> Result<u64, Failure> {
    let written = tape::Extraction::new(&into)?;
    let (written, outcome) = consume(dump, move |reader| {
        let mut written = written;
        let outcome = tape::read(reader, &mut written)?;
        Ok((written, outcome))
    })
    .await?;
    outcome?;
    Ok(written.give_name()?)
}

impl Backups {
    /// Files what was looked at in every location that takes it, encrypted on the way, read back, and with a manifest last.
    pub async fn store_files(
        &self,
        request: &FilesRequest,
        look: FilesLook,
        tools: &Toolbox,
        observer: &dyn Observer,
    ) -> Result<Created, StepError> {
        let written = async |sender, key: KeyId| {
            let files = look.index(&request.set, self.keys(), &key.salt)?;
            produce(sender, move |writer| {
                tape::write(writer, &look.gathered, &look.environment)
            })
            .await?;
            Ok(Content::Files(Box::new(FilesContent { files })))
        };
        self.file(ContentKind::Files, &request.keeping, None, tools, observer, written)
            .await
    }
}

/// Every file is read, has its checksum, and all of them are there.
pub(crate) async fn prove(content: Flow) -> Result<(), Failure> {
    consume(content, |reader| tape::read(reader, &mut tape::Nowhere)).await??;
    Ok(())
}

#[cfg(test)]
mod tests;
