//! The objects of an export, wave by wave: read from the catalogue once for each wave, so that memory holds a few of
//! them whatever the size of the export, and all of it is proven before the first is applied.

use std::collections::{BTreeMap, BTreeSet};

use jm_backup::{BackupRef, BackupsReader, Entry, LocationName, ObjectReader, RecordedImage};
use jm_client_kubernetes::{ObjectKey, Wave};
use jm_step::StepError;
use serde_json::Value;

use super::images::{self, Images};
use crate::deploy::{Chunks, Object, Source};

/// Objects that are applied before more are read.
const CHUNK: usize = 512;

/// Which objects of an export are wanted.
#[derive(Debug, Clone, Default)]
pub(super) struct Filter {
    pub(super) waves: BTreeSet<Wave>,
    pub(super) kinds: Vec<String>,
    pub(super) without: Vec<String>,
    pub(super) images: Images,
}

impl Filter {
    fn wants(&self, wave: Wave, kind: &str) -> bool {
        let named = |list: &[String]| list.iter().any(|name| name.eq_ignore_ascii_case(kind));
        (self.waves.is_empty() || self.waves.contains(&wave))
            && (self.kinds.is_empty() || named(&self.kinds))
            && !named(&self.without)
    }
}

/// An export that was read to its end once.
pub(super) struct Exported<'b> {
    backups: &'b BackupsReader,
    entry: Entry,
    at: LocationName,
    filter: Filter,
    images: Vec<RecordedImage>,
    waves: BTreeMap<Wave, u64>,
}

impl<'b> Exported<'b> {
    /// Reads an export from the first copy that is whole.
    pub(super) async fn open(
        backups: &'b BackupsReader,
        backup: &BackupRef,
        filter: Filter,
    ) -> Result<Self, StepError> {
        let entry = backups.find(&backup.name).await?;
        if entry.manifest().map(|manifest| &manifest.sha256) != backup.sha256.as_ref() {
            return Err(StepError::refused(format!(
                "`{}` is not the export that was chosen: its checksum is another",
                entry.name
            ))
            .hint("find out who wrote there, and choose again"));
        }
        let images = entry.manifest().and_then(|manifest| manifest.kubernetes());
        let mut exported = Self {
            backups,
            images: images.map(|index| index.images.clone()).unwrap_or_default(),
            at: LocationName::Local,
            entry,
            filter,
            waves: BTreeMap::new(),
        };
        let mut last = StepError::not_found(format!("no copy of `{}` is left", backup.name));
        for at in &backup.locations {
            exported.at = *at;
            match exported.read_all().await {
                Ok(waves) => {
                    exported.waves = waves;
                    return exported.not_empty();
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// How many objects are wanted.
    pub(super) fn count(&self) -> u64 {
        self.waves.values().sum()
    }

    fn not_empty(self) -> Result<Self, StepError> {
        if self.waves.is_empty() {
            return Err(
                StepError::not_found(format!("`{}` holds nothing of what is to be restored", self.entry.name))
                    .hint("`jm backup show` lists its kinds"),
            );
        }
        Ok(self)
    }

    /// Every object is looked at, and refused where it cannot be restored, before any is applied.
    async fn read_all(&self) -> Result<BTreeMap<Wave, u64>, StepError> {
        let mut waves = BTreeMap::new();
        let mut missing = Vec::new();
        let mut reader = self.backups.read_objects(&self.entry, self.at).await?;
        while let Some(object) = reader.next().await? {
            let wave = Wave::of(&object);
            let object = Object::new(object)?;
            if !self.filter.wants(wave, &object.key.kind) {
                continue;
            }
            *waves.entry(wave).or_default() += 1;
            if self.filter.images == Images::Recorded {
                missing.extend(images::unrecorded(&object.key, &object.value, &self.images));
            }
        }
        if missing.is_empty() {
            return Ok(waves);
        }
        Err(StepError::refused(format!(
            "which image ran is not recorded for {}",
            missing.join(", ")
        ))
        .hint("take the images as they are written with `images: recorded-or-written`, which may not be those that ran"))
    }
}

impl Source for Exported<'_> {
    fn waves(&self) -> &BTreeMap<Wave, u64> {
        &self.waves
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
        while chunk.len() < CHUNK && !self.ended {
            let Some(object) = self.reader.next().await? else {
                self.ended = true;
                break;
            };
            let kind = object["kind"].as_str().unwrap_or_default();
            if Wave::of(&object) == self.wave && self.exported.filter.wants(self.wave, kind) {
                chunk.push(self.pinned(object)?);
            }
        }
        Ok(chunk)
    }
}

impl Reading<'_> {
    fn pinned(&self, mut object: Value) -> Result<Object, StepError> {
        if self.exported.filter.images != Images::Written {
            let key = ObjectKey::of(&object)?;
            images::pin(&key, &mut object, &self.exported.images);
        }
        Object::new(object)
    }
}
