//! A directory as a location: private files, no symbolic links, a name only for what is whole and on disk.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this is the location that is a directory"
)]

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use jm_step::StepError;
use rustix::fs::{Advice, OFlags, RenameFlags, fadvise, renameat_with};

use super::Found;
use crate::flow::{CHUNK, Failure, Flow, flow};
use crate::name::{BackupName, PARTIAL};

/// Tells one directory from another; written with the first backup.
const MARKER: &str = ".jm-location";
const LONGEST_MARKER: u64 = 100;

/// A directory of this machine.
#[derive(Debug, Clone)]
pub(crate) struct Directory(Arc<PathBuf>);

/// A file that is whole and on disk, under the name of one that is not finished. Goes when it is dropped.
#[derive(Debug)]
pub(crate) struct Unnamed {
    partial: PathBuf,
    name: PathBuf,
    /// Locked as long as it is held, which says that it is not abandoned.
    file: File,
    named: bool,
}

impl Drop for Unnamed {
    fn drop(&mut self) {
        if !self.named {
            // Where it cannot be removed, the sweep of a later run will.
            drop(std::fs::remove_file(&self.partial));
        }
    }
}

impl Unnamed {
    /// What is on the disk, from its beginning: not what the page cache remembers of what was written.
    pub(crate) fn read_back(&self) -> Result<Flow, StepError> {
        let mut file = self
            .file
            .try_clone()
            .and_then(|mut file| file.seek(SeekFrom::Start(0)).map(|_| file))
            .map_err(|error| failed("read", &self.partial, error))?;
        // Only a hint; a file system that ignores it reads from memory.
        let _ = fadvise(&file, 0, None, Advice::DontNeed);
        let path = self.partial.clone();
        let (sender, output) = flow();
        tokio::task::spawn_blocking(move || pump(&mut file, &path, sender));
        Ok(output)
    }
}

impl Directory {
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self(Arc::new(path.into()))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// A directory that is not there yet is an empty one: the first backup makes it.
    pub(super) async fn list(&self) -> Result<Vec<Found>, StepError> {
        self.blocking(|path| match std::fs::read_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            entries => entries
                .and_then(|entries| {
                    entries
                        .filter_map(|entry| entry.map(|entry| found(&entry)).transpose())
                        .collect::<io::Result<Vec<_>>>()
                })
                .map_err(|error| failed("list", path, error)),
        })
        .await
    }

    pub(crate) async fn is_there(&self) -> Result<bool, StepError> {
        self.blocking(|path| Ok(path.is_dir())).await
    }

    pub(super) async fn identity(&self) -> Result<Option<String>, StepError> {
        self.blocking(|path| {
            let marker = path.join(MARKER);
            match open(&marker) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                file => file
                    .and_then(|file| io::read_to_string(file.take(LONGEST_MARKER)))
                    .map(|text| Some(format!("directory {}", text.trim())))
                    .map_err(|error| failed("read", &marker, error)),
            }
        })
        .await
    }

    pub(super) async fn small(&self, file: &str, limit: u64) -> Result<Bytes, StepError> {
        let file = file.to_owned();
        self.blocking(move |path| {
            let path = path.join(&file);
            let mut content = Vec::new();
            open(&path)
                .and_then(|file| file.take(limit + 1).read_to_end(&mut content))
                .map_err(|error| failed("read", &path, error))?;
            if content.len() as u64 > limit {
                return Err(StepError::failed(format!(
                    "`{}` is larger than any manifest",
                    path.display()
                )));
            }
            Ok(content.into())
        })
        .await
    }

    pub(super) async fn head(&self, file: &str, length: u64) -> Result<(Bytes, u64), StepError> {
        let file = file.to_owned();
        self.blocking(move |path| {
            let path = path.join(&file);
            let mut content = Vec::new();
            let bytes = open(&path).and_then(|file| {
                let bytes = file.metadata()?.len();
                file.take(length).read_to_end(&mut content)?;
                Ok(bytes)
            });
            let bytes = bytes.map_err(|error| failed("read", &path, error))?;
            Ok((content.into(), bytes))
        })
        .await
    }

    pub(super) async fn read(&self, file: &str) -> Result<Flow, StepError> {
        let path = self.0.join(file);
        let mut file = self
            .blocking({
                let path = path.clone();
                move |_| open(&path).map_err(|error| failed("read", &path, error))
            })
            .await?;
        let (sender, output) = flow();
        tokio::task::spawn_blocking(move || pump(&mut file, &path, sender));
        Ok(output)
    }

    pub(super) async fn store(&self, name: &str, mut flow: Flow) -> Result<Unnamed, Failure> {
        let name = name.to_owned();
        let mut unnamed = self.blocking(move |path| begin(path, &name)).await?;
        while let Some(bytes) = flow.next().await? {
            unnamed = write_on(unnamed, bytes).await?;
        }
        Ok(self.blocking(move |_| sync(unnamed)).await?)
    }

    pub(super) async fn commit(&self, copy: Unnamed, manifest_file: &str, manifest: Bytes) -> Result<(), StepError> {
        let manifest_file = manifest_file.to_owned();
        self.blocking(move |path| {
            let mut described = begin(path, &manifest_file)?;
            let partial = described.partial.clone();
            described
                .file
                .write_all(&manifest)
                .map_err(|error| failed("write", &partial, error))?;
            // Both are on disk before either has its name, so that a crash in between leaves what can be adopted.
            let described = sync(described)?;
            give_name(copy)?;
            give_name(described)?;
            sync_directory(path)
        })
        .await
    }

    /// Writes one file that is no backup: durable, private, under its name only when it is whole.
    pub(crate) async fn save(&self, name: &str, flow: Flow) -> Result<(), Failure> {
        let unnamed = self.store(name, flow).await?;
        Ok(self
            .blocking(|path| {
                give_name(unnamed)?;
                sync_directory(path)
            })
            .await?)
    }

    pub(super) fn free_bytes(&self) -> Option<u64> {
        let there = self.0.ancestors().find(|path| path.exists())?;
        let space = rustix::fs::statvfs(there).ok()?;
        Some(space.f_bavail * space.f_frsize)
    }

    /// Makes the directory where it is missing, for its owner alone.
    pub(crate) async fn make(&self) -> Result<(), StepError> {
        self.blocking(make).await
    }

    /// Makes the directory and its marker where they are missing.
    pub(crate) async fn prepare(&self) -> Result<(), StepError> {
        self.blocking(|path| {
            make(path)?;
            refuse_open_directory(path)?;
            match create_new(&path.join(MARKER)) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                file => file
                    .and_then(|mut file| {
                        file.write_all(format!("{}\n", ulid::Ulid::new()).as_bytes())?;
                        file.sync_all()
                    })
                    .map_err(|error| failed("write to", path, error)),
            }
        })
        .await
    }

    /// Takes away what dead runs left unfinished. A copy that lacked only its name or its manifest's name is given to
    /// `adopt`, which says whether manifest and content belong together.
    pub(crate) async fn sweep<A>(&self, adopt: A) -> Result<Vec<String>, StepError>
    where
        A: Fn(&BackupName, &[u8], &mut File) -> bool + Send + 'static,
    {
        self.blocking(move |path| {
            let mut swept = Vec::new();
            let Ok(entries) = std::fs::read_dir(path) else {
                return Ok(swept);
            };
            let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
            let mut names: Vec<String> = names.filter(|name| BackupName::is_partial(name)).collect();
            // Manifests come first, as `.manifest.json.partial` sorts before `.partial`.
            names.sort();
            for name in names {
                if sweep_one(path, &name, &adopt) {
                    swept.push(name);
                }
            }
            Ok(swept)
        })
        .await
    }

    async fn blocking<T, F>(&self, work: F) -> Result<T, StepError>
    where
        T: Send + 'static,
        F: FnOnce(&Path) -> Result<T, StepError> + Send + 'static,
    {
        let path = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || work(&path))
            .await
            .map_err(|error| StepError::failed("work on the backup directory was given up").source(error))?
    }
}

fn make(path: &Path) -> Result<(), StepError> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| failed("make", path, error))
}

fn found(entry: &std::fs::DirEntry) -> Option<Found> {
    // A file may go while it is listed, and names that are no text are not ours.
    let (meta, file) = (entry.metadata().ok()?, entry.file_name().into_string().ok()?);
    let bytes = meta.len();
    meta.is_file().then_some(Found { file, bytes })
}

/// A regular file, never what a symbolic link points to.
fn open(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK)
        .bits()
        .cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("it is not a regular file"))
    }
}

fn create_new(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::CLOEXEC).bits().cast_signed();
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(flags);
    let file = options.open(path)?;
    // Whatever the umask is.
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}

fn refuse_open_directory(path: &Path) -> Result<(), StepError> {
    let meta = path.metadata().map_err(|error| failed("look at", path, error))?;
    if meta.mode() & 0o002 != 0 {
        return Err(StepError::refused(format!(
            "anybody may write to the backup directory `{}`",
            path.display()
        ))
        .hint(format!("run `chmod 700 {}`", path.display())));
    }
    Ok(())
}

fn begin(directory: &Path, name: &str) -> Result<Unnamed, StepError> {
    let partial = directory.join(format!("{name}{PARTIAL}"));
    let file = create_new(&partial).map_err(|error| failed("write", &partial, error))?;
    let unnamed = Unnamed {
        name: directory.join(name),
        partial,
        file,
        named: false,
    };
    unnamed
        .file
        .try_lock()
        .map_err(|error| StepError::failed(format!("`{}` cannot be locked: {error}", unnamed.partial.display())))?;
    Ok(unnamed)
}

async fn write_on(mut unnamed: Unnamed, bytes: Bytes) -> Result<Unnamed, StepError> {
    tokio::task::spawn_blocking(move || {
        let written = unnamed.file.write_all(&bytes);
        written
            .map_err(|error| failed("write", &unnamed.partial, error))
            .map(|()| unnamed)
    })
    .await
    .map_err(|error| StepError::failed("writing was given up").source(error))?
}

fn sync(unnamed: Unnamed) -> Result<Unnamed, StepError> {
    unnamed
        .file
        .sync_all()
        .map_err(|error| failed("write", &unnamed.partial, error))?;
    Ok(unnamed)
}

/// The name must be free: a backup is never written over.
fn give_name(mut unnamed: Unnamed) -> Result<(), StepError> {
    let cwd = rustix::fs::CWD;
    let renamed = match renameat_with(cwd, &unnamed.partial, cwd, &unnamed.name, RenameFlags::NOREPLACE) {
        // Some network file systems cannot promise it.
        Err(rustix::io::Errno::INVAL) if !unnamed.name.exists() => std::fs::rename(&unnamed.partial, &unnamed.name),
        other => other.map_err(io::Error::from),
    };
    renamed.map_err(|error| failed("name", &unnamed.name, error))?;
    unnamed.named = true;
    Ok(())
}

fn sync_directory(path: &Path) -> Result<(), StepError> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| failed("write", path, error))
}

/// Whether it was abandoned. Whoever writes a file holds its lock, on whatever machine, and loses it with its life.
fn sweep_one(directory: &Path, name: &str, adopt: &impl Fn(&BackupName, &[u8], &mut File) -> bool) -> bool {
    let path = directory.join(name);
    let Ok(file) = open(&path) else { return false };
    if file.try_lock().is_err() {
        return false;
    }
    let finished = name.strip_suffix(PARTIAL).unwrap_or(name);
    if let Some(backup) = BackupName::of_manifest(finished) {
        if adopt_one(directory, &path, &backup, finished, file, adopt) {
            return true;
        }
    }
    std::fs::remove_file(&path).is_ok()
}

fn adopt_one(
    directory: &Path,
    partial: &Path,
    backup: &BackupName,
    manifest_file: &str,
    manifest: File,
    adopt: &impl Fn(&BackupName, &[u8], &mut File) -> bool,
) -> bool {
    let mut text = Vec::new();
    let read = manifest.take(super::LARGEST_MANIFEST).read_to_end(&mut text);
    let Ok(mut content) = open(&directory.join(backup.as_str())) else {
        return false;
    };
    read.is_ok()
        && adopt(backup, &text, &mut content)
        && std::fs::rename(partial, directory.join(manifest_file)).is_ok()
        && sync_directory(directory).is_ok()
}

fn pump(file: &mut File, path: &Path, sender: crate::flow::FlowSender) {
    let runtime = tokio::runtime::Handle::current();
    let mut buffer = vec![0; CHUNK];
    let result = loop {
        match file.read(&mut buffer) {
            Ok(0) => break Ok(()),
            Ok(count) => {
                let bytes = Bytes::copy_from_slice(&buffer[..count]);
                if runtime.block_on(sender.send(bytes)).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break Err(failed("read", path, error)),
        }
    };
    match result {
        Ok(()) => drop(runtime.block_on(sender.end())),
        Err(error) => runtime.block_on(sender.fail(Failure::Source(error))),
    }
}

fn failed(doing: &str, path: &Path, error: io::Error) -> StepError {
    let message = format!("cannot {doing} `{}`: {error}", path.display());
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            StepError::failed(format!("the disk is full: {message}"))
                .hint("free space where the backups are kept, or give them another directory")
        }
        io::ErrorKind::PermissionDenied => StepError::denied(message).hint("run jm as the user who owns the backups"),
        io::ErrorKind::NotFound => StepError::not_found(message),
        io::ErrorKind::AlreadyExists => StepError::conflict(message),
        io::ErrorKind::ReadOnlyFilesystem => {
            StepError::denied(message).hint("mount it for writing, or give the backups another directory")
        }
        _ if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            StepError::refused(format!("{message}: it is a symbolic link"))
                .hint("put the file itself there; links are not followed among backups")
        }
        _ => StepError::failed(message),
    }
    .source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel refuses the reading, as it does where a disk cannot read a block.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_file_that_cannot_be_read_is_the_fault_of_its_place() {
        let folder = tempfile::tempdir().expect("tempdir");
        let path = folder.path().join("copy");
        let mut unreadable = File::create(&path).expect("created");
        let (sender, mut output) = flow();
        tokio::task::spawn_blocking(move || pump(&mut unreadable, &path, sender));
        match output.next().await {
            Err(Failure::Source(error)) => assert!(error.message().contains("cannot read `"), "{error}"),
            other => panic!("{other:?}"),
        }
    }
}
