//! The objects of an export, wave by wave: read from the catalogue once for each wave, so that memory holds a few of
//! them whatever the size of the export, and all of it is proven before the first is applied.

use std::collections::{BTreeMap, BTreeSet};

use jm_backup::{
    BackupRef, BackupsReader, ChosenImage, Entry, KubernetesIndex, LocationName, ObjectReader, RecordedImage,
    UnkeptContents, is_written,
};
use jm_client_kubernetes::{ObjectKey, Wave};
use jm_step::StepError;
use serde_json::Value;

use crate::contents;
use crate::deploy::{Chunks, Object, Source, added, weight};
use crate::recorded::{self, Images, Pinning};

/// Objects that are applied before more are read, and what they may weigh, in bytes of text: large ones come in smaller
/// chunks.
const CHUNK: usize = 512;
const CHUNK_WEIGHT: usize = 16 << 20;

/// Which objects of an export are wanted.
#[derive(Debug, Clone, Default)]
pub(super) struct Filter {
    pub(super) waves: BTreeSet<Wave>,
    pub(super) kinds: Vec<String>,
    pub(super) without: Vec<String>,
    pub(super) objects: Vec<String>,
    pub(super) except: Vec<String>,
    pub(super) allow_empty: bool,
    pub(super) images: Images,
    pub(super) chosen: Vec<ChosenImage>,
}

impl Filter {
    /// Kind and name of what is written `statefulset/postgres`.
    pub(super) fn named(object: &str) -> Option<(&str, &str)> {
        let (kind, name) = object.split_once('/')?;
        (!kind.is_empty() && !name.is_empty() && !name.contains('/')).then_some((kind, name))
    }

    fn wants(&self, wave: Wave, kind: &str, name: &str) -> bool {
        let among = |list: &[String]| list.iter().any(|one| one.eq_ignore_ascii_case(kind));
        (self.waves.is_empty() || self.waves.contains(&wave))
            && (self.kinds.is_empty() || among(&self.kinds))
            && (self.objects.is_empty() || self.objects.iter().any(|object| is_written(object, kind, name)))
            && !among(&self.without)
            && !self.except.iter().any(|object| is_written(object, kind, name))
    }

    /// What was asked for by name and is not among these.
    fn missing(&self, found: &[ObjectKey]) -> Vec<&str> {
        let there = |object: &str| found.iter().any(|key| is_written(object, &key.kind, &key.name));
        let objects = self.objects.iter().map(String::as_str);
        objects.filter(|object| !there(object)).collect()
    }
}

/// An export that was read to its end once.
pub(super) struct Exported<'b> {
    backups: &'b BackupsReader,
    entry: Entry,
    at: LocationName,
    filter: Filter,
    images: Vec<RecordedImage>,
    found: Found,
    /// The claims that are wanted and whose contents are elsewhere.
    unkept: Vec<UnkeptContents>,
}

/// What a look through all of an export found.
#[derive(Default)]
struct Found {
    /// How many objects of each wave are wanted.
    waves: BTreeMap<Wave, u64>,
    /// The claims that are wanted, by namespace and name.
    claims: BTreeSet<(String, String)>,
    /// What adds to the API, wanted or not, and what it adds.
    additions: Vec<(String, String)>,
}

impl<'b> Exported<'b> {
    /// Reads an export from the first copy that is whole.
    pub(super) async fn open(
        backups: &'b BackupsReader,
        backup: &BackupRef,
        filter: Filter,
    ) -> Result<Self, StepError> {
        let entry = backups.find(&backup.name).await?;
        if let Some(chosen) = &backup.sha256 {
            entry.must_be(chosen)?;
        }
        let index = entry.manifest().and_then(|manifest| manifest.kubernetes());
        let KubernetesIndex {
            images,
            unkept_contents: mut unkept,
            ..
        } = index.cloned().unwrap_or_default();
        unkept.retain(|one| filter.wants(Wave::Volumes, "PersistentVolumeClaim", &one.claim));
        let mut exported = Self {
            backups,
            images,
            unkept,
            at: LocationName::Local,
            entry,
            filter,
            found: Found::default(),
        };
        let mut last = StepError::not_found(format!("no copy of `{}` is left", backup.name));
        for at in &backup.locations {
            exported.at = *at;
            match exported.read_all().await {
                Ok(found) => {
                    exported.found = found;
                    return exported.not_empty();
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// How many objects are wanted.
    pub(super) fn count(&self) -> u64 {
        self.found.waves.values().sum()
    }

    /// The claims that are wanted, by namespace and name.
    pub(super) fn claims(&self) -> &BTreeSet<(String, String)> {
        &self.found.claims
    }

    /// What is to be said of what does not come back with the objects.
    pub(super) fn warning(&self) -> Option<String> {
        contents::warning(&self.unkept)
    }

    fn pinning(&self) -> Pinning<'_> {
        Pinning {
            images: self.filter.images,
            ran: &self.images,
            chosen: &self.filter.chosen,
        }
    }

    fn not_empty(self) -> Result<Self, StepError> {
        if self.found.waves.is_empty() && !self.filter.allow_empty {
            return Err(
                StepError::not_found(format!("`{}` holds nothing of what is to be restored", self.entry.name))
                    .hint("`jm backup show` lists its kinds"),
            );
        }
        Ok(self)
    }

    /// Every object is looked at, and refused where it cannot be restored, before any is applied.
    async fn read_all(&self) -> Result<Found, StepError> {
        let mut found = Found::default();
        let mut missing = Vec::new();
        let mut named = Vec::new();
        let mut reader = self.backups.read_objects(&self.entry, self.at).await?;
        while let Some(object) = reader.next().await? {
            let wave = Wave::of(&object);
            let key = ObjectKey::of(&object)?;
            let added = added::by(&object).map(|added| (key.to_string(), added));
            found.additions.extend(added);
            // What is not wanted may be what jm would not touch.
            if !self.filter.wants(wave, &key.kind, &key.name) {
                continue;
            }
            let mut object = Object::new(object)?;
            *found.waves.entry(wave).or_default() += 1;
            missing.extend(self.pinning().pin(&object.key, &mut object.value)?);
            let ObjectKey {
                kind, namespace, name, ..
            } = &object.key;
            if kind == "PersistentVolumeClaim" {
                found
                    .claims
                    .extend(namespace.clone().map(|namespace| (namespace, name.clone())));
            }
            if !self.filter.objects.is_empty() {
                named.push(object.key);
            }
        }
        let absent = self.filter.missing(&named);
        if !absent.is_empty() && !self.filter.allow_empty {
            return Err(
                StepError::not_found(format!("`{}` does not hold {}", self.entry.name, absent.join(", ")))
                    .hint("`jm backup show` lists what it holds"),
            );
        }
        recorded::refuse(&missing).map(|()| found)
    }
}

impl Source for Exported<'_> {
    fn waves(&self) -> &BTreeMap<Wave, u64> {
        &self.found.waves
    }

    fn additions(&self) -> &[(String, String)] {
        &self.found.additions
    }

    async fn open(&self, wave: Wave) -> Result<impl Chunks, StepError> {
        Ok(Reading {
            reader: self.backups.read_objects(&self.entry, self.at).await?,
            exported: self,
            wave,
            ended: false,
        })
    }
}

struct Reading<'e> {
    reader: ObjectReader,
    exported: &'e Exported<'e>,
    wave: Wave,
    ended: bool,
}

impl Chunks for Reading<'_> {
    async fn next(&mut self) -> Result<Vec<Object>, StepError> {
        let mut chunk = Vec::new();
        let mut heavy = 0;
        while chunk.len() < CHUNK && heavy < CHUNK_WEIGHT && !self.ended {
            let Some(object) = self.reader.next().await? else {
                self.ended = true;
                break;
            };
            let kind = object["kind"].as_str().unwrap_or_default();
            let name = object
                .pointer("/metadata/name")
                .and_then(Value::as_str)
                .unwrap_or_default();
            if Wave::of(&object) == self.wave && self.exported.filter.wants(self.wave, kind, name) {
                heavy += weight(&object);
                let mut object = Object::new(object)?;
                // That all of them are known was asked when it was opened.
                self.exported.pinning().pin(&object.key, &mut object.value)?;
                chunk.push(object);
            }
        }
        Ok(chunk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_chosen_by_kind_and_name() {
        let filter = Filter {
            objects: vec!["statefulset/postgres".to_owned(), "Service/postgres".to_owned()],
            ..Filter::default()
        };
        assert!(filter.wants(Wave::Workloads, "StatefulSet", "postgres"));
        assert!(filter.wants(Wave::Services, "Service", "postgres"));
        assert!(!filter.wants(Wave::Workloads, "StatefulSet", "cache"));
        assert!(!filter.wants(Wave::Workloads, "Deployment", "postgres"));
        for text in ["postgres", "statefulset/", "/postgres", "a/b/c"] {
            assert_eq!(Filter::named(text), None, "{text}");
        }
    }
}
