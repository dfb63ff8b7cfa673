//! The connection: the locations, the key, and the catalogue they make.

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use jm_client_s3::S3;
use jm_step::{
    Connection, Environment, Identity, InputIssue, NamedFile, OpenContext, Policy, Right, Rights, Standing, StepError,
};

use crate::archive::{self, Expected, Meter, Unpacked};
use crate::catalogue::{self, BackupCopy, BackupRef, Catalogue, Entry, Status};
use crate::chain;
use crate::config::Config;
use crate::flow::{Failure, Flow};
use crate::key::{KeyRing, Passphrase};
use crate::location::{Directory, Location, LocationName};
use crate::manifest::Level;
use crate::name::BackupName;
use crate::observer::{Observer, watched};
use crate::openpgp::OpenError;
use crate::refusals::{cannot_open, damaged, no_location};
use crate::tools::Toolbox;

/// A target of provider `backup`: everything of [`BackupsReader`], and making backups.
pub struct Backups {
    reader: BackupsReader,
    /// What the bucket's connection has to tell.
    notice: Option<String>,
}

/// Looks at backups. Has no method that writes.
pub struct BackupsReader {
    locations: Vec<Location>,
    keys: Arc<KeyRing>,
    prefix: String,
    retention_days: u32,
}

impl Deref for Backups {
    type Target = BackupsReader;
    fn deref(&self) -> &BackupsReader {
        &self.reader
    }
}

/// That copies go to an archive: beside a directory they may, and where the machine that has it is lost, they are all there is.
fn in_archive(s3: &jm_client_s3::Config) -> Option<String> {
    let class = s3
        .storage_class
        .as_deref()
        .filter(|class| jm_client_s3::is_archive(class))?;
    Some(format!(
        "new copies in the bucket go to `{class}`, where nothing opens them before the store has brought them back, for hours: \
         where the machine with the directory is lost, a recovery finds no backup that it can read, and keeps no objective of \
         hours; `STANDARD_IA` and `GLACIER_IR` are read at once"
    ))
}

impl Connection for Backups {
    const PROVIDER: &'static str = "backup";
    type Config = Config;
    type Reader = BackupsReader;
    /// Backups have names of their own and are never written again: a rehearsal that reads them must not keep a recovery
    /// waiting.
    const SHARED: bool = true;

    async fn open(config: Config, cx: &OpenContext) -> Result<Self, StepError> {
        if let Some(issue) = config.check(&cx.environment).into_iter().next() {
            let error = StepError::invalid_input(issue.message);
            return Err(issue.help.into_iter().fold(error, StepError::hint));
        }
        let passphrase = Passphrase::new(&config.key)?;
        cx.secrets.register(passphrase.expose());
        let (mut locations, mut notices) = (Vec::new(), Vec::new());
        if !config.directory.is_empty() {
            locations.push(Location::Local(Directory::new(&config.directory)));
        }
        if let Some(s3) = config.s3.client(&cx.environment) {
            notices.extend(in_archive(&s3));
            let s3 = Box::pin(S3::open(s3, cx)).await?;
            notices.extend(s3.notice());
            locations.push(Location::S3(s3.into_bucket()));
        }
        let reader = BackupsReader {
            locations,
            keys: Arc::new(KeyRing::new(passphrase)),
            prefix: config.prefix,
            retention_days: config.retention_days,
        };
        let notice = (!notices.is_empty()).then(|| notices.join("; "));
        Ok(Self { reader, notice })
    }

    fn notice(&self) -> Option<String> {
        self.notice.clone()
    }

    /// All locations: the directory as it is named, and the bucket.
    fn address(config: &Config, cx: &OpenContext) -> Option<String> {
        let directory = Some(config.directory.clone()).filter(|directory| !directory.is_empty());
        let bucket = config.s3.client(&cx.environment).and_then(|s3| S3::address(&s3, cx));
        let places: Vec<String> = directory.into_iter().chain(bucket).collect();
        Some(places.join(" and ")).filter(|places| !places.is_empty())
    }

    fn check(config: &Config, environment: &Environment) -> Vec<InputIssue> {
        config.check(environment)
    }

    fn files(config: &Config, environment: &Environment) -> Vec<NamedFile> {
        config
            .s3
            .client(environment)
            .map_or_else(Vec::new, |s3| S3::files(&s3, environment))
    }

    /// One location that answers is enough; [`BackupsReader::down`] tells of the others.
    async fn ping(&self) -> Result<(), StepError> {
        let mut first = None;
        for location in &self.locations {
            match location.ping().await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    first = first.or(Some(error.context(format_args!("backup location {}", location.name()))));
                }
            }
        }
        Err(first.unwrap_or_else(|| StepError::invalid_input("the backups have no location")))
    }

    /// Of each location that answers. One that nothing was ever written to is not taken for one that does not answer: it
    /// may be the wrong directory.
    async fn identity(&self) -> Result<Identity, StepError> {
        let mut identity = Identity::default();
        for location in &self.locations {
            if let Ok(id) = location.identity().await {
                let id = id.unwrap_or_else(|| Identity::unwritten(&location.address()));
                identity.0.insert(location.name().to_string(), id);
            }
        }
        Ok(identity)
    }

    fn reader(&self) -> &BackupsReader {
        &self.reader
    }

    fn knows_right(right: &str) -> bool {
        S3::knows_right(right)
    }

    async fn rights(reader: &BackupsReader, needed: &Rights) -> Result<Vec<Right>, StepError> {
        let mut rights = Vec::new();
        for location in &reader.locations {
            match location {
                Location::S3(bucket) => rights.extend(bucket.rights(needed).await?),
                Location::Local(_) => {
                    let files = Right::new(format!("the files of {}", location.address()), Standing::NotAsked);
                    rights.push(files.note("its file system decides, by user and group"));
                }
            }
        }
        Ok(rights)
    }

    async fn policy(reader: &BackupsReader, needed: &Rights, _: &str) -> Result<Option<Policy>, StepError> {
        let policy = reader.locations.iter().find_map(|location| match location {
            Location::S3(bucket) => Some(bucket.policy_for(needed)),
            Location::Local(_) => None,
        });
        Ok(policy)
    }
}

impl BackupsReader {
    /// All backups of all locations that answer, newest first.
    pub async fn catalogue(&self) -> Result<Catalogue, StepError> {
        let kept_since = chain::kept_since(jm_step::clock::now(), self.retention_days)?;
        catalogue::read(&self.locations, &self.keys, kept_since).await
    }

    /// The locations that do not answer, and what they say instead.
    pub async fn down(&self) -> Vec<(LocationName, StepError)> {
        let mut down = Vec::new();
        for location in &self.locations {
            if let Err(error) = location.ping().await {
                down.push((location.name(), error));
            }
        }
        down
    }

    /// The locations' names and addresses.
    pub fn addresses(&self) -> Vec<(LocationName, String)> {
        self.locations
            .iter()
            .map(|location| (location.name(), location.address()))
            .collect()
    }

    /// What the names of backups without a label begin with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// How many days a backup is kept.
    pub fn retention_days(&self) -> u32 {
        self.retention_days
    }

    /// A name as people give it: the file's, or its path in the backup directory. Nothing outside is ever opened.
    pub fn name(&self, text: &str) -> Result<BackupName, StepError> {
        let directory = self.locations.iter().find_map(|location| match location {
            Location::Local(directory) => Some(directory.path()),
            Location::S3(_) => None,
        });
        let inside = directory.and_then(|directory| Path::new(text).strip_prefix(directory).ok());
        match inside.and_then(Path::to_str) {
            Some(file) => file.parse(),
            None => text.parse(),
        }
    }

    /// The backup of this name.
    pub async fn find(&self, name: &BackupName) -> Result<Entry, StepError> {
        let catalogue = self.catalogue().await?;
        catalogue.find(name).cloned().ok_or_else(|| {
            StepError::not_found(format!("there is no backup `{name}`")).hint("`jm backup list` shows them")
        })
    }

    /// A backup as plans hand it on, with all its copies.
    pub fn reference(&self, entry: &Entry) -> BackupRef {
        BackupRef::of(entry, &entry.copies, &self.prefix)
    }

    /// The backup that this deed made, where it came so far. As long as a manifest cannot be read that may tell of it,
    /// nobody knows.
    pub async fn made_by(&self, idempotency_key: &str) -> Result<Option<Entry>, StepError> {
        let made = |entry: &Entry| entry.manifest().is_some_and(|m| m.idempotency_key == idempotency_key);
        let entries = self.catalogue().await?.entries;
        let for_now = |error: &StepError| error.kind().is_transient();
        let unread = entries.iter().find_map(|entry| entry.believed().err().filter(for_now));
        match (entries.into_iter().find(made), unread) {
            (None, Some(error)) => Err(error),
            (found, _) => Ok(found),
        }
    }

    /// Proves the copy of a backup in one location up to a level, and tells its size and SHA-256.
    pub async fn prove(
        &self,
        entry: &Entry,
        at: LocationName,
        level: Level,
        tools: &Toolbox,
        observer: &dyn Observer,
    ) -> Result<(u64, String), StepError> {
        if level == Level::Checksum && entry.manifest().is_none() {
            return Err(
                StepError::invalid_input(format!("`{}` has no manifest that tells its checksum", entry.name))
                    .hint("verify it to level `archive`, for which none is needed"),
            );
        }
        let copy = BackupCopy {
            location: at,
            bytes: entry.bytes_at(at),
        };
        let proven = self.prove_copy(entry, copy, level, tools, observer).await;
        proven.map_err(|failure| explain(entry, failure).context(format_args!("the copy in {at}")))
    }

    pub(crate) async fn prove_copy(
        &self,
        entry: &Entry,
        copy: BackupCopy,
        level: Level,
        tools: &Toolbox,
        observer: &dyn Observer,
    ) -> Result<(u64, String), Failure> {
        let (flow, expected) = self.open_copy(entry, copy.location).await?;
        let meter = Meter::default();
        let proof = archive::prove(flow, &expected, level, self.keys.passphrase(), tools, &meter);
        watched(observer, &meter, Some(copy.bytes), proof).await
    }

    /// The dump inside a copy: at its end, and not before, it is proven. `seen` is what an earlier reading of a copy
    /// without a manifest told.
    pub(crate) async fn open_dump(
        &self,
        entry: &Entry,
        at: LocationName,
        seen: Option<(u64, String)>,
        meter: &Meter,
    ) -> Result<Unpacked, Failure> {
        let (copy, mut expected) = self.open_copy(entry, at).await?;
        if let (Status::Unverified, Some(seen)) = (&entry.status, seen) {
            expected = Expected::seen(seen);
        }
        Ok(archive::unpack(copy, &expected, self.keys.passphrase(), meter))
    }

    async fn open_copy(&self, entry: &Entry, at: LocationName) -> Result<(Flow, Expected), Failure> {
        let expected = match entry.believed()? {
            Some(manifest) => Expected::by(manifest),
            None => Expected::nothing(entry.bytes_at(at)),
        };
        let copy = self.location(at)?.read(entry.name.as_str()).await;
        Ok((copy.map_err(Failure::Source)?, expected))
    }

    /// A location, where the target has it.
    pub(crate) fn location(&self, name: LocationName) -> Result<&Location, StepError> {
        self.locations
            .iter()
            .find(|location| location.name() == name)
            .ok_or_else(|| no_location(name))
    }

    pub(crate) fn locations(&self) -> &[Location] {
        &self.locations
    }

    pub(crate) fn keys(&self) -> &Arc<KeyRing> {
        &self.keys
    }
}

/// What a broken flow means for this backup.
pub(crate) fn explain(entry: &Entry, failure: Failure) -> StepError {
    match failure {
        Failure::Step(error) | Failure::Source(error) => error,
        Failure::Content(OpenError::WrongKey) => cannot_open(entry, OpenError::WrongKey),
        Failure::Content(error) => damaged(&entry.name, &error.to_string()),
    }
}
