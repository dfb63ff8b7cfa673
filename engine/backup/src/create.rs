//! Making a backup: `pg_dump` → count and hash → compress → encrypt → every location at once, read back, and only then a
//! manifest. Nothing is on any disk in clear text, nothing has a name before it is whole, and nothing counts before it
//! was proven.

#![expect(
    clippy::disallowed_types,
    reason = "a backup is handed on as the file that it was written to"
)]

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};
use jm_client_postgres::{CountMode, DatabaseFacts, Inventory, Postgres, Reader, ServerFacts};
use jm_step::{Connection, StepError, StepId};

use crate::archive::Meter;
use crate::backups::{Backups, BackupsReader};
use crate::belongings::KeptBelongings;
use crate::catalogue::{BackupRef, Catalogue, Entry, Status};
use crate::content::{Content, DatabaseContent};
use crate::location::{Location, LocationName};
use crate::manifest::{Level, Manifest, Release, Seconds};
use crate::name::{BackupName, ContentKind, DumpFormat, is_label};
use crate::observer::{Observer, watched};
use crate::source;
use crate::tools::{Tool, Toolbox};

mod adopt;
pub(crate) mod filing;
pub(crate) mod pipeline;
use filing::Filing;
use pipeline::Totals;

/// What a backup without a forerunner is guessed to need: a fifth of the database.
const GUESSED_SHARE: u64 = 5;
/// An upload that was begun longer ago is nobody's any more: three times what the step that makes a backup may take.
const LONGEST: SignedDuration = SignedDuration::from_hours(12);

/// Which backup is to be made.
#[derive(Debug, Clone)]
pub struct CreateRequest {
    /// The database.
    pub database: String,
    /// A name for it, such as `pre_migration`.
    pub label: Option<String>,
    /// How long retention leaves it alone, whatever its age.
    pub pin: Option<SignedDuration>,
    /// The release of the application that runs, where it is known.
    pub release: Option<Release>,
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

/// How long retention is to leave a backup alone, such as `30d`. Empty: no longer than others.
pub fn parse_pin(text: &str) -> Result<Option<SignedDuration>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let unreadable = || format!("`{}` is not a duration", text.escape_debug());
    let span: Span = text.parse().map_err(|_| unreadable())?;
    let duration = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|_| unreadable())?;
    if duration.is_negative() {
        Err(unreadable())
    } else {
        Ok(Some(duration))
    }
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
        self.refuse_label(request.label.as_deref())?;
        let catalogue = self.begin(observer).await?;
        let server = postgres.reader().server().await?;
        let tool = tools.tool("pg_dump", server.major(), server.major()).await?;
        source::refuse_unreadable(postgres.reader(), request).await?;
        let making = Making {
            filing: Filing {
                backups: self,
                tools,
                observer,
                level: request.level,
            },
            postgres,
            request,
            server,
            tool,
            now: jm_step::clock::now(),
        };
        Box::pin(making.make(&catalogue)).await
    }

    /// What comes before every backup: a key that may encrypt, no leavings of dead runs, and the catalogue.
    pub(crate) async fn begin(&self, observer: &dyn Observer) -> Result<Catalogue, StepError> {
        self.keys().passphrase().fit_to_write()?;
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
        Ok(catalogue)
    }

    /// Takes away what dead runs left; a copy that lacked only its manifest's name gets it, if both are authentic.
    async fn sweep(&self, observer: &dyn Observer) -> Result<(), StepError> {
        for location in self.locations() {
            let Location::Local(directory) = location else {
                sweep_uploads(location, observer).await;
                continue;
            };
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

/// Nothing of a backup depends on it, and not everybody may list uploads.
async fn sweep_uploads(location: &Location, observer: &dyn Observer) {
    let before = jm_step::clock::now() - LONGEST;
    match location.end_uploads(before).await {
        Err(error) => {
            observer
                .log(format!("nothing is known of unfinished uploads: {error}"))
                .await;
        }
        Ok(files) => {
            for file in files {
                observer
                    .log(format!("ended an upload that an earlier run left: `{file}`"))
                    .await;
            }
        }
    }
}

/// Where a backup could be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usable {
    /// The locations that would take it: one at least.
    pub locations: Vec<LocationName>,
    /// Why it would not be in the others.
    pub degraded: Vec<String>,
}

impl BackupsReader {
    /// Whether a backup could be made, and in which locations; reads only.
    pub async fn can_create(
        &self,
        postgres: &Reader,
        request: &CreateRequest,
        tools: &Toolbox,
    ) -> Result<Usable, StepError> {
        self.keys().passphrase().fit_to_write()?;
        self.refuse_label(request.label.as_deref())?;
        let server = postgres.server().await?.major();
        tools.tool("pg_dump", server, server).await?;
        let database = existing(postgres, &request.database).await?;
        source::refuse_unreadable(postgres, request).await?;
        self.usable(needed(&self.catalogue().await?, &database, request)).await
    }

    /// The locations that have room for so many bytes; reads only.
    pub(crate) async fn usable(&self, needed: u64) -> Result<Usable, StepError> {
        let mut looked_at = Vec::new();
        for location in self.locations() {
            let look = location.ping().await.and_then(|()| refuse_full(location, needed));
            looked_at.push((location.clone(), look));
        }
        let (usable, failures) = filing::those_that_will_do(looked_at)?;
        let reason =
            |(location, error): (LocationName, StepError)| format!("the backup would not be in {location}: {error}");
        Ok(Usable {
            locations: usable.iter().map(Location::name).collect(),
            degraded: failures.into_iter().map(reason).collect(),
        })
    }

    pub(crate) fn refuse_label(&self, label: Option<&str>) -> Result<(), StepError> {
        let Some(label) = label else { return Ok(()) };
        if ContentKind::ALL.iter().any(|kind| label == kind.stem(self.prefix())) {
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
    let mut before = manifests.filter(|m| {
        m.inventory()
            .is_some_and(|inventory| inventory.database == database.name)
            && m.dump == request.format.into()
    });
    match before.next() {
        Some(before) => before.bytes.encrypted / 10 * 13,
        None => database.size_bytes.unwrap_or(0) / GUESSED_SHARE,
    }
}

struct Making<'a> {
    filing: Filing<'a>,
    postgres: &'a Postgres,
    request: &'a CreateRequest,
    server: ServerFacts,
    tool: Tool,
    now: Timestamp,
}

impl Making<'_> {
    async fn make(&self, catalogue: &Catalogue) -> Result<Created, StepError> {
        let database = existing(self.postgres.reader(), &self.request.database).await?;
        let stem = self.request.label.as_deref().unwrap_or(self.filing.backups.prefix());
        let name = filing::free_name(catalogue, stem, self.now, self.request.format.into())?;
        let belongings = self.belongings().await?;
        let needed = needed(catalogue, &database, self.request);
        let (locations, mut failures) = self.filing.usable_locations(needed).await?;
        let (clock, began) = (jm_step::clock::now(), Instant::now());
        let (stored, totals, inventory) = Box::pin(self.dump(&name, &locations)).await?;
        self.refuse_empty(&inventory)?;
        let mut copies = filing::sort_out(stored, &mut failures);
        let dumped = began.elapsed();
        self.filing.verify(&mut copies, &totals, &mut failures).await?;
        let manifest = Manifest {
            format: Manifest::format(),
            name,
            created_at: clock,
            label: self.request.label.clone(),
            pin_until: self.request.pin.and_then(|pin| clock.checked_add(pin).ok()),
            dump: self.request.format.into(),
            sha256: totals.sha256,
            raw_sha256: totals.raw_sha256,
            bytes: totals.bytes,
            key: self.filing.key(catalogue)?,
            level: self.request.level,
            content: Content::Database(Box::new(DatabaseContent {
                client_version: self.tool.version.text.clone(),
                parameters: pipeline::content_parameters(self.request),
                roles: source::roles(self.postgres.reader(), &self.request.database).await?,
                owners: source::owners(self.postgres.reader(), &self.request.database).await?,
                inventory,
                belongings,
                system_identifier: self.server.system_identifier.clone(),
                ctype: Some(database.ctype),
            })),
            seconds: Seconds {
                dump: dumped.as_secs(),
                verify: began.elapsed().saturating_sub(dumped).as_secs(),
            },
            previous: catalogue.link(),
            release: self.request.release.clone(),
            run: self.request.run.clone(),
            idempotency_key: self.request.idempotency_key.clone(),
            jm: env!("CARGO_PKG_VERSION").to_owned(),
        };
        self.filing.commit(manifest, copies, failures).await
    }

    /// What is in no dump.
    async fn belongings(&self) -> Result<Option<KeptBelongings>, StepError> {
        let reader = self.postgres.reader();
        match reader.belongings(&self.request.database).await? {
            Some(all) => KeptBelongings::seal(all, self.filing.backups.keys().passphrase())
                .await
                .map(Some),
            None => Ok(None),
        }
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
        let dumped = watched(self.filing.observer, &meter, None, dumped);
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
}
