//! What every backup goes through, whatever it is of: a free name, locations with room, proof of what was written, and
//! the manifest last.

use jiff::Timestamp;
use jm_step::StepError;

use super::{Created, pipeline, refuse_full};
use crate::archive::{Expected, Meter, prove};
use crate::backups::Backups;
use crate::catalogue::{BackupCopy, BackupRef, Catalogue, Entry, Status};
use crate::flow::Failure;
use crate::key::KeyId;
use crate::location::{Location, LocationName, Stored};
use crate::manifest::{Level, Manifest, Previous, sha256};
use crate::name::{BackupName, Format};
use crate::observer::{Observer, watched};
use crate::tools::Toolbox;

use super::pipeline::Totals;

/// A copy that was written, and the location that has it.
pub(crate) type Copies = Vec<(Location, Stored)>;
/// Locations that do not have it, and why.
pub(crate) type Failures = Vec<(LocationName, StepError)>;

/// A backup that is being filed.
pub(crate) struct Filing<'a> {
    pub(crate) backups: &'a Backups,
    pub(crate) tools: &'a Toolbox,
    pub(crate) observer: &'a dyn Observer,
    /// How far it is proven before it counts.
    pub(crate) level: Level,
}

/// A name that no location has.
pub(crate) fn free_name(
    catalogue: &Catalogue,
    stem: &str,
    now: Timestamp,
    format: Format,
) -> Result<BackupName, StepError> {
    for again in 1..1000 {
        let name = BackupName::new(stem, now, again, format)?;
        let taken = |entry: &Entry| {
            entry.name.stem() == name.stem() && entry.name.as_str().split('.').next() == name.as_str().split('.').next()
        };
        if !catalogue.entries.iter().any(taken) {
            return Ok(name);
        }
    }
    Err(StepError::conflict(
        "a thousand backups have this second in their names",
    ))
}

impl Filing<'_> {
    /// The locations that have room for so many bytes.
    pub(crate) async fn usable_locations(&self, needed: u64) -> Result<(Vec<Location>, Failures), StepError> {
        let mut tried = Vec::new();
        for location in self.backups.locations() {
            tried.push((location.clone(), self.prepare(location, needed).await));
        }
        those_that_will_do(tried)
    }

    async fn prepare(&self, location: &Location, needed: u64) -> Result<(), StepError> {
        if let Location::Local(directory) = location {
            directory.prepare().await?;
        }
        refuse_full(location, needed)
    }

    /// Reads the local copy back from the disk; the bucket has compared its checksum with ours when it took it.
    pub(crate) async fn verify(
        &self,
        copies: &mut Copies,
        totals: &Totals,
        failures: &mut Failures,
    ) -> Result<(), StepError> {
        let expected = totals.expected();
        let mut good = Vec::new();
        for (location, stored) in copies.drain(..) {
            match self.verify_one(&stored, &expected).await {
                Ok(()) => good.push((location, stored)),
                Err(error) => {
                    failures.push((location.name(), error));
                    location.discard(stored).await?;
                }
            }
        }
        *copies = good;
        // A bucket's copy alone is read back as well where more than its checksum is asked for.
        if copies.iter().any(|(_, stored)| matches!(stored, Stored::Local(_))) || self.level == Level::Checksum {
            return Ok(());
        }
        self.verify_bucket(copies, &expected, failures).await
    }

    async fn verify_one(&self, stored: &Stored, expected: &Expected) -> Result<(), StepError> {
        let Stored::Local(copy) = stored else { return Ok(()) };
        let meter = Meter::default();
        let proof = prove(
            copy.read_back()?,
            expected,
            self.level,
            self.backups.keys().passphrase(),
            self.tools,
            &meter,
        );
        watched(self.observer, &meter, Some(expected.bytes()), proof)
            .await
            .map(drop)
            .map_err(not_read_back)
    }

    async fn verify_bucket(
        &self,
        copies: &mut Copies,
        expected: &Expected,
        failures: &mut Failures,
    ) -> Result<(), StepError> {
        let mut good = Vec::new();
        for (location, stored) in copies.drain(..) {
            let Stored::S3 { file, .. } = &stored else { continue };
            let meter = Meter::default();
            let passphrase = self.backups.keys().passphrase();
            let copy = location.read(file).await?;
            let proof = prove(copy, expected, self.level, passphrase, self.tools, &meter);
            match watched(self.observer, &meter, Some(expected.bytes()), proof).await {
                Ok(_) => good.push((location, stored)),
                Err(failure) => {
                    failures.push((location.name(), not_read_back(failure)));
                    location.discard(stored).await?;
                }
            }
        }
        *copies = good;
        Ok(())
    }

    /// Under the salt of the newest manifest, so that a catalogue costs one derivation.
    pub(crate) fn key(&self, catalogue: &Catalogue) -> Result<KeyId, StepError> {
        let salt = catalogue.newest_known().map(|manifest| manifest.key.salt.clone());
        self.backups.keys().identify(salt)
    }

    pub(crate) fn previous(&self, catalogue: &Catalogue) -> Result<Option<Previous>, StepError> {
        let Some(newest) = catalogue.newest_known() else {
            return Ok(None);
        };
        let text = newest.seal(self.backups.keys())?;
        Ok(Some(Previous {
            name: newest.name.clone(),
            manifest: sha256(&text),
        }))
    }

    pub(crate) async fn commit(
        &self,
        manifest: Manifest,
        copies: Copies,
        mut failures: Failures,
    ) -> Result<Created, StepError> {
        let text = bytes::Bytes::from(manifest.seal(self.backups.keys())?);
        let mut there = Vec::new();
        for (location, stored) in copies {
            match location.commit(stored, &manifest.name.manifest(), text.clone()).await {
                Ok(()) => there.push(BackupCopy {
                    location: location.name(),
                    bytes: manifest.bytes.encrypted,
                }),
                Err(error) => failures.push((location.name(), error)),
            }
        }
        if there.is_empty() {
            return Err(first(failures));
        }
        for (location, error) in failures {
            let reason = format!("backup `{}` is not in {location}: {error}", manifest.name);
            self.observer.degraded(reason).await?;
        }
        let entry = Entry {
            name: manifest.name.clone(),
            copies: there,
            status: Status::Known(Box::new(manifest.clone())),
        };
        Ok(Created {
            backup: BackupRef::of(&entry, &entry.copies, self.backups.prefix()),
            manifest,
        })
    }
}

pub(crate) fn sort_out(stored: Vec<pipeline::Outcome>, failures: &mut Failures) -> Copies {
    let mut copies = Vec::new();
    for (location, outcome) in stored {
        match outcome {
            Ok(stored) => copies.push((location, stored)),
            Err(error) => failures.push((location.name(), error)),
        }
    }
    copies
}

fn not_read_back(failure: Failure) -> StepError {
    match failure {
        Failure::Step(error) | Failure::Source(error) => error,
        Failure::Content(error) => StepError::failed(format!("what was written does not read back: {error}"))
            .hint("check the disk; the backup does not count and was removed"),
    }
}

/// The locations of which it went well, and why the others will not do; an error where none will.
pub(super) fn those_that_will_do(
    tried: Vec<(Location, Result<(), StepError>)>,
) -> Result<(Vec<Location>, Failures), StepError> {
    let (mut usable, mut failures) = (Vec::new(), Vec::new());
    for (location, outcome) in tried {
        match outcome {
            Ok(()) => usable.push(location),
            Err(error) => failures.push((location.name(), error)),
        }
    }
    if usable.is_empty() {
        Err(first(failures))
    } else {
        Ok((usable, failures))
    }
}

pub(super) fn first(failures: Failures) -> StepError {
    match failures.into_iter().next() {
        Some((name, error)) => error.context(format_args!("the backup is in no location; {name}")),
        None => StepError::failed("the backup is in no location"),
    }
}
