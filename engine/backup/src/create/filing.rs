//! What every backup goes through, whatever it is of: a free name, locations with room, proof of what was written, and
//! the manifest last.

use std::time::Instant;

use jiff::Timestamp;
use jm_step::StepError;

use super::{Created, Usable, pipeline, refuse_full};
use crate::archive::{Expected, Meter, prove};
use crate::backups::{Backups, BackupsReader};
use crate::catalogue::{BackupCopy, BackupRef, Catalogue, Entry, Status};
use crate::content::Content;
use crate::flow::{Failure, FlowSender, flow};
use crate::keeping::Keeping;
use crate::key::KeyId;
use crate::location::{Location, LocationName, Stored};
use crate::manifest::{Level, Manifest, Seconds};
use crate::name::{BackupName, ContentKind, Format};
use crate::observer::{Observer, watched};
use crate::tools::Toolbox;

use super::pipeline::Totals;

/// Configuration and exports are small beside any disk.
const GUESSED_SMALL: u64 = 1 << 20;
/// A repository without a forerunner.
const GUESSED_CODE: u64 = 64 << 20;

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

impl Backups {
    /// Files what `write` sends as a backup of this kind, of now unless said otherwise: see [`Filing::store`].
    pub(crate) async fn file<W, F>(
        &self,
        kind: ContentKind,
        keeping: &Keeping,
        taken_at: Option<Timestamp>,
        tools: &Toolbox,
        observer: &dyn Observer,
        write: W,
    ) -> Result<Created, StepError>
    where
        W: FnOnce(FlowSender, KeyId) -> F,
        F: Future<Output = Result<Content, StepError>>,
    {
        let filing = Filing {
            backups: self,
            tools,
            observer,
            level: keeping.level,
        };
        let taken_at = taken_at.unwrap_or_else(jm_step::clock::now);
        filing.store(kind, keeping, taken_at, write).await
    }
}

impl BackupsReader {
    /// Whether a backup of this kind, which is no dump, could be filed, and in which locations; reads only.
    pub async fn can_file(&self, kind: ContentKind, label: Option<&str>) -> Result<Usable, StepError> {
        self.keys().passphrase().fit_to_write()?;
        self.refuse_label(label)?;
        self.usable(needed(&self.catalogue().await?, kind)).await
    }
}

/// A third more than the last backup of this kind, or a guess.
fn needed(catalogue: &Catalogue, kind: ContentKind) -> u64 {
    let mut manifests = catalogue.entries.iter().filter_map(Entry::manifest);
    let before = manifests.find(|manifest| manifest.kind() == kind);
    match (before, kind) {
        (Some(before), _) => before.bytes.encrypted / 10 * 13,
        (None, ContentKind::Code) => GUESSED_CODE,
        (None, _) => GUESSED_SMALL,
    }
}

/// A name that no location has.
pub(super) fn free_name(
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
    /// Files what `write` sends in every location that takes it: encrypted on the way, read back, and with a manifest last.
    /// `write` says the end of what it sends, and gives back what it was.
    async fn store<W, F>(
        &self,
        kind: ContentKind,
        keeping: &Keeping,
        taken_at: Timestamp,
        write: W,
    ) -> Result<Created, StepError>
    where
        W: FnOnce(FlowSender, KeyId) -> F,
        F: Future<Output = Result<Content, StepError>>,
    {
        self.backups.refuse_label(keeping.label.as_deref())?;
        let catalogue = &self.backups.begin(self.observer).await?;
        let stem = keeping.label.as_deref().unwrap_or(kind.stem(self.backups.prefix()));
        let format = kind.format();
        let name = free_name(catalogue, stem, taken_at, format)?;
        let (locations, mut failures) = self.usable_locations(needed(catalogue, kind)).await?;
        let key = self.key(catalogue)?;
        let (sender, content) = flow();
        let (meter, began) = (Meter::default(), Instant::now());
        let written = write(sender, key.clone());
        let sent = pipeline::send(content, self.backups.keys().passphrase(), &name, &locations, &meter);
        let both = async { tokio::join!(written, sent) };
        let (content, sent) = watched(self.observer, &meter, None, both).await;
        // Where no location took it, that is why it could not be written to its end; else what kept it from being written
        // says more than that it did not come.
        let none_took_it = matches!(&sent, Ok((stored, _)) if stored.iter().all(|(_, outcome)| outcome.is_err()));
        let (content, (stored, totals)) = match (content, sent) {
            (Err(error), _) if !none_took_it => return Err(error),
            (content, sent) => (content, sent.map_err(Failure::into_error)?),
        };
        let mut copies = sort_out(stored, &mut failures);
        if copies.is_empty() {
            return Err(first(failures));
        }
        let written = began.elapsed();
        self.verify(&mut copies, &totals, &mut failures).await?;
        let manifest = Manifest {
            format: Manifest::format(),
            name,
            created_at: taken_at,
            label: keeping.label.clone(),
            pin_until: keeping.pin.and_then(|pin| jm_step::clock::now().checked_add(pin).ok()),
            dump: format,
            sha256: totals.sha256,
            raw_sha256: totals.raw_sha256,
            bytes: totals.bytes,
            key,
            level: self.level,
            content: content?,
            seconds: Seconds {
                dump: written.as_secs(),
                verify: began.elapsed().saturating_sub(written).as_secs(),
            },
            previous: catalogue.link(),
            release: keeping.release.clone(),
            run: keeping.run.clone(),
            idempotency_key: keeping.idempotency_key.clone(),
            jm: env!("CARGO_PKG_VERSION").to_owned(),
        };
        self.commit(manifest, copies, failures).await
    }

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

pub(super) fn sort_out(stored: Vec<pipeline::Outcome>, failures: &mut Failures) -> Copies {
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
