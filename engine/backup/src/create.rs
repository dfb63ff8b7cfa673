//! Making a backup: `pg_dump` → count and hash → compress → encrypt → every location at once, read back, and only then a
//! manifest. Nothing is on any disk in clear text, nothing has a name before it is whole, and nothing counts before it
//! was proven.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use jm_client_postgres::{CountMode, DatabaseFacts, Inventory, Postgres, Reader, ServerFacts};
use jm_step::{Connection, StepError, StepId};

use crate::archive::{Expected, Meter, prove};
use crate::backups::{Backups, BackupsReader};
use crate::belongings::KeptBelongings;
use crate::catalogue::{BackupCopy, BackupRef, Catalogue, Entry, Status};
use crate::flow::Failure;
use crate::key::KeyId;
use crate::location::{Location, LocationName, Stored};
use crate::manifest::{Level, Manifest, Previous, Seconds, sha256};
use crate::name::{BackupName, DumpFormat, is_label};
use crate::observer::{Observer, watched};
use crate::source;
use crate::tools::{Tool, Toolbox};

mod adopt;
mod pipeline;
use pipeline::Totals;

/// What a backup without a forerunner is guessed to need: a fifth of the database.
const GUESSED_SHARE: u64 = 5;

/// Which backup is to be made.
#[derive(Debug, Clone)]
pub struct CreateRequest {
    /// The database.
    pub database: String,
    /// A name for it, such as `pre_migration`.
    pub label: Option<String>,
    /// How long retention leaves it alone, whatever its age.
    pub pin: Option<SignedDuration>,
    /// How it is written.
    pub format: DumpFormat,
    /// How far it is proven before it counts.
    pub level: Level,
    /// Whether a database without a table may be backed up.
    pub allow_empty: bool,
    /// How long a lock may be waited for.
    pub lock_wait: Duration,
    /// The step that asks, by which its sessions are known on the server.
    pub step: StepId,
    /// The run that asks.
    pub run: String,
    /// The deed.
    pub idempotency_key: String,
}

/// A backup that was made.
#[derive(Debug, Clone)]
pub struct Created {
    /// What is known of it.
    pub manifest: Manifest,
    /// Its copies.
    pub backup: BackupRef,
}

/// A label that fits into names: `[a-z0-9][a-z0-9_-]{0,39}`, and is not the catalogue's own prefix.
pub fn check_label(label: &str) -> Result<(), String> {
    if is_label(label) {
        return Ok(());
    }
    Err("a label has up to 40 lower-case letters, digits, `_` and `-`, and begins with a letter or digit".to_owned())
}

impl Backups {
    /// Makes a backup in every location that takes it. Locations that fail make it degraded; where none is left, it has
    /// failed, and nothing of it remains.
    pub async fn create(
        &self,
        postgres: &Postgres,
        request: &CreateRequest,
        tools: &Toolbox,
        observer: &dyn Observer,
    ) -> Result<Created, StepError> {
        self.keys().passphrase().fit_to_write()?;
        self.refuse_label(request)?;
        if let Some(advice) = self.keys().passphrase().advice() {
            observer.log(advice).await;
        }
        self.sweep(observer).await?;
        let catalogue = self.catalogue().await?;
        if let Some(other) = of_another_key(&catalogue) {
            let line =
                format!("the newest backup `{other}` was made with another key: keep that key as long as its backups");
            observer.log(line).await;
        }
        let server = postgres.reader().server().await?;
        let tool = tools.tool("pg_dump", server.major(), server.major()).await?;
        source::refuse_unreadable(postgres.reader(), request).await?;
        let making = Making {
            backups: self,
            postgres,
            request,
            tools,
            observer,
            server,
            tool,
            now: jm_step::clock::now(),
        };
        Box::pin(making.make(&catalogue)).await
    }

    /// Takes away what dead runs left; a copy that lacked only its manifest's name gets it, if both are authentic.
    async fn sweep(&self, observer: &dyn Observer) -> Result<(), StepError> {
        for location in self.locations() {
            let Location::Local(directory) = location else { continue };
            let keys = self.keys().clone();
            let adopt = move |name: &BackupName, text: &[u8], content: &mut std::fs::File| {
                adopt::belongs(name, text, content, &keys)
            };
            for file in directory.sweep(adopt).await? {
                observer.log(format!("cleared up after an earlier run: `{file}`")).await;
            }
        }
        Ok(())
    }
}

impl BackupsReader {
    /// Whether a backup could be made, and in which locations; reads only.
    pub async fn can_create(
        &self,
        postgres: &Reader,
        request: &CreateRequest,
        tools: &Toolbox,
    ) -> Result<Vec<LocationName>, StepError> {
        self.keys().passphrase().fit_to_write()?;
        self.refuse_label(request)?;
        let server = postgres.server().await?.major();
        tools.tool("pg_dump", server, server).await?;
        let database = existing(postgres, &request.database).await?;
        source::refuse_unreadable(postgres, request).await?;
        let needed = needed(&self.catalogue().await?, &database, request);
        let mut usable = Vec::new();
        let mut failures = Vec::new();
        for location in self.locations() {
            match location.ping().await.and_then(|()| refuse_full(location, needed)) {
                Ok(()) => usable.push(location.name()),
                Err(error) => failures.push((location.name(), error)),
            }
        }
        if usable.is_empty() {
            Err(first(failures))
        } else {
            Ok(usable)
        }
    }

    fn refuse_label(&self, request: &CreateRequest) -> Result<(), StepError> {
        let Some(label) = &request.label else { return Ok(()) };
        if label == self.prefix() {
            return Err(
                StepError::invalid_input(format!("`{label}` is what backups without a label are called"))
                    .hint("choose another label, or none"),
            );
        }
        check_label(label).map_err(|why| StepError::invalid_input(format!("`{label}` is no label: {why}")))
    }
}

fn of_another_key(catalogue: &Catalogue) -> Option<&BackupName> {
    let newest = catalogue.entries.first()?;
    matches!(newest.status, Status::OtherKey(_)).then_some(&newest.name)
}

async fn existing(postgres: &Reader, database: &str) -> Result<DatabaseFacts, StepError> {
    let facts = postgres.find_database(database).await?;
    facts.ok_or_else(|| StepError::not_found(format!("database `{database}` is not there")))
}

fn refuse_full(location: &Location, needed: u64) -> Result<(), StepError> {
    match location.free_bytes() {
        Some(free) if free < needed => Err(StepError::failed(format!(
            "`{}` has {free} bytes free, and the backup needs about {needed}",
            location.address()
        ))
        .hint("free space there, or give the backups another directory")),
        _ => Ok(()),
    }
}

/// A third more than the last one of this database, or a guess.
fn needed(catalogue: &Catalogue, database: &DatabaseFacts, request: &CreateRequest) -> u64 {
    let manifests = catalogue.entries.iter().filter_map(Entry::manifest);
    let mut before = manifests.filter(|m| m.inventory.database == database.name && m.dump == request.format);
    match before.next() {
        Some(before) => before.bytes.encrypted / 10 * 13,
        None => database.size_bytes.unwrap_or(0) / GUESSED_SHARE,
    }
}

struct Making<'a> {
    backups: &'a Backups,
    postgres: &'a Postgres,
    request: &'a CreateRequest,
    tools: &'a Toolbox,
    observer: &'a dyn Observer,
    server: ServerFacts,
    tool: Tool,
    now: Timestamp,
}

/// A copy that was written, and the location that has it.
type Copies = Vec<(Location, Stored)>;
/// Locations that do not have it, and why.
type Failures = Vec<(LocationName, StepError)>;

impl Making<'_> {
    async fn make(&self, catalogue: &Catalogue) -> Result<Created, StepError> {
        let database = existing(self.postgres.reader(), &self.request.database).await?;
        let name = self.free_name(catalogue)?;
        let belongings = self.belongings().await?;
        let (locations, mut failures) = self.usable_locations(catalogue, &database).await?;
        let (clock, began) = (jm_step::clock::now(), Instant::now());
        let (stored, totals, inventory) = Box::pin(self.dump(&name, &locations)).await?;
        self.refuse_empty(&inventory)?;
        let mut copies = sort_out(stored, &mut failures);
        let dumped = began.elapsed();
        self.verify(&mut copies, &totals, &mut failures).await?;
        let manifest = Manifest {
            format: Manifest::format(),
            name,
            created_at: clock,
            label: self.request.label.clone(),
            pin_until: self.request.pin.and_then(|pin| clock.checked_add(pin).ok()),
            dump: self.request.format,
            sha256: totals.sha256,
            raw_sha256: totals.raw_sha256,
            bytes: totals.bytes,
            key: self.key(catalogue)?,
            level: self.request.level,
            client_version: self.tool.version.text.clone(),
            parameters: pipeline::content_parameters(self.request),
            roles: source::roles(self.postgres.reader(), &self.request.database).await?,
            inventory,
            belongings,
            system_identifier: self.server.system_identifier.clone(),
            ctype: Some(database.ctype),
            seconds: Seconds {
                dump: dumped.as_secs(),
                verify: began.elapsed().saturating_sub(dumped).as_secs(),
            },
            previous: self.previous(catalogue)?,
            run: self.request.run.clone(),
            idempotency_key: self.request.idempotency_key.clone(),
            jm: env!("CARGO_PKG_VERSION").to_owned(),
        };
        self.commit(manifest, copies, failures).await
    }

    /// What is in no dump.
    async fn belongings(&self) -> Result<Option<KeptBelongings>, StepError> {
        let reader = self.postgres.reader();
        match reader.belongings(&self.request.database).await? {
            Some(all) => KeptBelongings::seal(all, self.backups.keys().passphrase())
                .await
                .map(Some),
            None => Ok(None),
        }
    }

    /// A name that no location has.
    fn free_name(&self, catalogue: &Catalogue) -> Result<BackupName, StepError> {
        let stem = self.request.label.as_deref().unwrap_or(self.backups.prefix());
        for again in 1..1000 {
            let name = BackupName::new(stem, self.now, again, self.request.format)?;
            let taken = |entry: &Entry| {
                entry.name.stem() == name.stem()
                    && entry.name.as_str().split('.').next() == name.as_str().split('.').next()
            };
            if !catalogue.entries.iter().any(taken) {
                return Ok(name);
            }
        }
        Err(StepError::conflict(
            "a thousand backups have this second in their names",
        ))
    }

    async fn usable_locations(
        &self,
        catalogue: &Catalogue,
        database: &DatabaseFacts,
    ) -> Result<(Vec<Location>, Failures), StepError> {
        let needed = needed(catalogue, database, self.request);
        let mut usable = Vec::new();
        let mut failures = Vec::new();
        for location in self.backups.locations() {
            match self.prepare(location, needed).await {
                Ok(()) => usable.push(location.clone()),
                Err(error) => failures.push((location.name(), error)),
            }
        }
        if usable.is_empty() {
            return Err(first(failures));
        }
        Ok((usable, failures))
    }

    async fn prepare(&self, location: &Location, needed: u64) -> Result<(), StepError> {
        if let Location::Local(directory) = location {
            directory.prepare().await?;
        }
        refuse_full(location, needed)
    }

    /// Dump and inventory look at one snapshot, at the same time.
    async fn dump(
        &self,
        name: &BackupName,
        locations: &[Location],
    ) -> Result<(Vec<pipeline::Outcome>, Totals, Inventory), StepError> {
        let (database, step) = (&self.request.database, &self.request.step);
        let reader = self.postgres.reader();
        let snapshot = reader.export_snapshot(database, Some(step)).await?;
        let meter = Meter::default();
        let counted = reader.inventory(database, CountMode::Exact, Some(snapshot.id()));
        let dumped = pipeline::run(self, name, locations, snapshot.id(), &meter);
        let dumped = watched(self.observer, &meter, None, dumped);
        let ((stored, totals), inventory) = tokio::try_join!(dumped, counted)?;
        if snapshot.is_held() {
            return Ok((stored, totals, inventory));
        }
        Err(
            StepError::unavailable("the session that held the snapshot was lost while the database was dumped")
                .hint("see the server's log, and try again"),
        )
    }

    fn refuse_empty(&self, inventory: &Inventory) -> Result<(), StepError> {
        if self.request.allow_empty || !inventory.tables.is_empty() {
            return Ok(());
        }
        Err(StepError::failed(format!(
            "database `{}` has no table: a backup of it would be empty",
            inventory.database
        ))
        .hint("is it the right database? set `allow_empty` where it is"))
    }

    /// Reads the local copy back from the disk; the bucket has compared its checksum with ours when it took it.
    async fn verify(&self, copies: &mut Copies, totals: &Totals, failures: &mut Failures) -> Result<(), StepError> {
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
        if copies.iter().any(|(_, stored)| matches!(stored, Stored::Local(_))) || self.request.level == Level::Checksum
        {
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
            self.request.level,
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
            let proof = prove(copy, expected, self.request.level, passphrase, self.tools, &meter);
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
    fn key(&self, catalogue: &Catalogue) -> Result<KeyId, StepError> {
        let salt = catalogue.newest_known().map(|manifest| manifest.key.salt.clone());
        self.backups.keys().identify(salt)
    }

    fn previous(&self, catalogue: &Catalogue) -> Result<Option<Previous>, StepError> {
        let Some(newest) = catalogue.newest_known() else {
            return Ok(None);
        };
        let text = newest.seal(self.backups.keys())?;
        Ok(Some(Previous {
            name: newest.name.clone(),
            manifest: sha256(&text),
        }))
    }

    async fn commit(&self, manifest: Manifest, copies: Copies, mut failures: Failures) -> Result<Created, StepError> {
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

fn sort_out(stored: Vec<pipeline::Outcome>, failures: &mut Failures) -> Copies {
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
        Failure::Step(error) => error,
        Failure::Content(error) => StepError::failed(format!("what was written does not read back: {error}"))
            .hint("check the disk; the backup does not count and was removed"),
    }
}

fn first(failures: Failures) -> StepError {
    match failures.into_iter().next() {
        Some((name, error)) => error.context(format_args!("the backup is in no location; {name}")),
        None => StepError::failed("the backup is in no location"),
    }
}
