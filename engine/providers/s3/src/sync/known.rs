//! Sums of local files that were read before, so that a sync with nothing to do reads none of the large ones.
//!
//! A sum is taken over only where the file is the same by device, inode, size, and both its times to the nanosecond; the
//! time of its last change cannot be set by anybody. What changed a moment before it was read is not kept: a later change
//! could bear the same time. What is not there, or damaged, costs a reading and nothing else.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this is the module that owns the kept sums"
)]

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use jm_client_s3::Checksum;
use jm_step::{Environment, StepError, clock};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::compare::{FileSums, read};
use crate::file;

/// Smaller files are read about as fast as they are looked up.
const WORTH_IT: u64 = 64 * 1024;
/// The coarsest clock of a file system in use.
const RESOLUTION: SignedDuration = SignedDuration::from_secs(2);

/// What tells one state of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether a change at this moment would bear another time.
    fn is_settled(&self, at: Timestamp) -> bool {
        let newest = self.modified.max(self.changed).0;
        Timestamp::from_second(newest).is_ok_and(|newest| at.duration_since(newest) > RESOLUTION)
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Entry {
    stamp: Stamp,
    sums: FileSums,
}

type Entries = BTreeMap<PathBuf, Entry>;

/// The sums of the files below one directory.
pub(super) struct KnownSums {
    /// Where they are kept; nowhere, where the environment names no place for it.
    file: Option<PathBuf>,
    before: Entries,
    new: Mutex<Entries>,
}

impl KnownSums {
    /// Nothing is known, and nothing is kept.
    pub(super) fn none() -> Self {
        Self {
            file: None,
            before: Entries::new(),
            new: Mutex::default(),
        }
    }

    /// What is known of the files below a directory.
    pub(super) fn of(root: &Path, environment: &Environment) -> Self {
        let Some(file) = place(root, environment) else {
            return Self::none();
        };
        Self {
            before: load(&file).unwrap_or_default(),
            file: Some(file),
            new: Mutex::default(),
        }
    }

    /// The sums over a file, with that of the kind that the store keeps where one is named.
    pub(super) async fn sums_of(&self, path: &Path, store: Option<&Checksum>) -> Result<FileSums, StepError> {
        let hasher = store.and_then(Checksum::hasher);
        let algorithm = store.filter(|_| hasher.is_some()).map(|store| store.algorithm.clone());
        if let Some(sums) = self.look_up(path, algorithm.as_deref()) {
            return Ok(sums);
        }
        let began = clock::now();
        let reading = path.to_owned();
        let reading = tokio::task::spawn_blocking(move || {
            let before = std::fs::metadata(&reading).map(|metadata| Stamp::of(&metadata));
            let sums = read(&reading, hasher.zip(algorithm))?;
            let after = std::fs::metadata(&reading).map(|metadata| Stamp::of(&metadata));
            let stamp = before.ok().filter(|before| after.is_ok_and(|after| after == *before));
            Ok::<_, StepError>((sums, stamp))
        });
        let (sums, stamp) = reading
            .await
            .map_err(|error| StepError::failed("reading a file was ended").source(error))??;
        if let Some(stamp) = stamp.filter(|stamp| stamp.bytes >= WORTH_IT && stamp.is_settled(began)) {
            let sums = sums.clone();
            let mut new = self.new.lock().unwrap_or_else(PoisonError::into_inner);
            new.insert(path.to_owned(), Entry { stamp, sums });
        }
        Ok(sums)
    }

    fn look_up(&self, path: &Path, algorithm: Option<&str>) -> Option<FileSums> {
        let new = self.new.lock().unwrap_or_else(PoisonError::into_inner);
        let Entry { stamp, sums } = new.get(path).or_else(|| self.before.get(path))?;
        let has_kind = algorithm.is_none_or(|wanted| sums.store.as_ref().is_some_and(|sum| sum.algorithm == wanted));
        let now = std::fs::metadata(path).ok()?;
        (has_kind && Stamp::of(&now) == *stamp).then(|| sums.clone())
    }

    /// Keeps what was read, for the next time. That this fails costs the next one time, and no more.
    pub(super) async fn keep(self) -> Result<(), StepError> {
        let new = self.new.into_inner().unwrap_or_else(PoisonError::into_inner);
        let Some(file) = self.file.filter(|_| !new.is_empty()) else {
            return Ok(());
        };
        let mut entries = self.before;
        let kept = tokio::task::spawn_blocking(move || {
            entries.retain(|path, _| path.exists());
            entries.extend(new);
            save(&file, &entries).map_err(|error| file::failed("write", &file, error))
        });
        kept.await
            .map_err(|error| StepError::failed("keeping sums was ended").source(error))?
    }
}

fn place(root: &Path, environment: &Environment) -> Option<PathBuf> {
    let named = |name: &str| {
        environment
            .get(name)
            .filter(|path| path.starts_with('/'))
            .map(PathBuf::from)
    };
    let cache = named("XDG_CACHE_HOME").or_else(|| named("HOME").map(|home| home.join(".cache")))?;
    let root = std::fs::canonicalize(root).ok()?;
    let name = hex::encode(Sha256::digest(root.as_os_str().as_encoded_bytes()));
    Some(cache.join("jm/sums").join(&name[..32]))
}

/// The first line is the sum over the rest, so that nothing that was cut off or damaged is believed.
fn load(file: &Path) -> Option<Entries> {
    let text = std::fs::read(file).ok()?;
    let end = text.iter().position(|byte| *byte == b'\n')?;
    let (sum, rest) = (&text[..end], &text[end + 1..]);
    let is_whole = hex::encode(Sha256::digest(rest)).as_bytes() == sum;
    is_whole
        .then(|| serde_json::from_slice::<Vec<(PathBuf, Entry)>>(rest).ok())?
        .map(|all| all.into_iter().collect())
}

fn save(file: &Path, entries: &Entries) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let text = serde_json::to_vec(&entries.iter().collect::<Vec<_>>())?;
    let partial = file.with_extension(format!("{}.partial", std::process::id()));
    let mut options = std::fs::OpenOptions::new();
    let mut writing = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&partial)?;
    let sum = hex::encode(Sha256::digest(&text));
    writing.write_all(format!("{sum}\n").as_bytes())?;
    writing.write_all(&text)?;
    std::fs::rename(&partial, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Rig {
        folder: tempfile::TempDir,
        environment: Environment,
    }

    impl Rig {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let cache = folder.path().join("cache").display().to_string();
            std::fs::create_dir(folder.path().join("data")).expect("a folder");
            Self {
                folder,
                environment: Environment::new([("XDG_CACHE_HOME".to_owned(), cache)]),
            }
        }

        fn root(&self) -> PathBuf {
            self.folder.path().join("data")
        }

        fn file(&self) -> PathBuf {
            self.root().join("large")
        }

        fn known(&self) -> KnownSums {
            KnownSums::of(&self.root(), &self.environment)
        }

        async fn read_and_keep(&self) {
            let known = self.known();
            known.sums_of(&self.file(), None).await.expect("read");
            known.keep().await.expect("kept");
        }

        /// Of a file that is old enough.
        async fn settled() -> Self {
            let rig = Self::new();
            std::fs::write(rig.file(), vec![1; 100_000]).expect("written");
            tokio::time::sleep(std::time::Duration::from_millis(3_100)).await;
            rig.read_and_keep().await;
            rig
        }

        fn is_known(&self) -> bool {
            self.known().look_up(&self.file(), None).is_some()
        }
    }

    #[tokio::test]
    async fn a_file_that_did_not_change_is_read_once() {
        let rig = Rig::settled().await;
        let known = rig.known().look_up(&rig.file(), None).expect("known");
        let read = KnownSums::none().sums_of(&rig.file(), None).await.expect("read");
        assert_eq!((known.md5, known.sha256), (read.md5, read.sha256));
        assert!(
            rig.known().look_up(&rig.file(), Some("crc64nvme")).is_none(),
            "a sum that was not asked for"
        );
    }

    #[tokio::test]
    async fn the_same_size_and_time_do_not_make_the_same_file() {
        let rig = Rig::settled().await;
        let modified = std::fs::metadata(rig.file())
            .and_then(|metadata| metadata.modified())
            .expect("a time");
        std::fs::write(rig.file(), vec![2; 100_000]).expect("written");
        let file = std::fs::File::options().write(true).open(rig.file()).expect("open");
        file.set_modified(modified).expect("set");
        assert!(!rig.is_known());
    }

    #[tokio::test]
    async fn what_changed_a_moment_ago_is_not_kept() {
        let rig = Rig::new();
        std::fs::write(rig.file(), vec![1; 100_000]).expect("written");
        rig.read_and_keep().await;
        assert!(!rig.is_known());
    }

    #[tokio::test]
    async fn what_is_damaged_or_cut_off_is_not_believed() {
        let rig = Rig::settled().await;
        let kept = rig.known().file.expect("a place");
        let whole = std::fs::read(&kept).expect("kept");
        let at = whole.windows(3).position(|three| three == b"md5").expect("a sum") + 8;
        let mut other = whole.clone();
        other[at] ^= 1;
        for text in [&other[..], &whole[..whole.len() / 2], b"", b"\n", b"x"] {
            std::fs::write(&kept, text).expect("written");
            assert!(!rig.is_known());
            KnownSums::of(&rig.root(), &rig.environment)
                .sums_of(&rig.file(), None)
                .await
                .expect("read anew");
        }
        std::fs::write(&kept, &whole).expect("written");
        assert!(rig.is_known());
    }

    #[tokio::test]
    async fn where_there_is_no_place_nothing_is_kept() {
        let rig = Rig::new();
        let known = KnownSums::of(&rig.root(), &Environment::default());
        std::fs::write(rig.file(), "x").expect("written");
        known.sums_of(&rig.file(), None).await.expect("read");
        known.keep().await.expect("nothing to keep");
    }
}
