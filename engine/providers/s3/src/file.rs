//! Files on this machine: hashed as they are read, and put in place whole or not at all.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this module reads and writes the files that objects come from and go to"
)]

use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use jm_client_s3::{Checksum, Hasher, ObjectStream, unwrap_step_error};
use jm_step::{StepContext, StepError, Unit};
use rustix::fs::{CWD, RenameFlags};
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

/// How often progress is told.
const TICK: Duration = Duration::from_millis(250);

/// The sums over some bytes: SHA-256 always, and the store's own kind where there is one.
#[derive(Clone)]
pub(crate) struct Sums {
    sha256: Sha256,
    mark: Option<Hasher>,
    store: Option<(Hasher, String)>,
    bytes: u64,
}

impl Sums {
    pub(crate) fn new(store: Option<&Checksum>) -> Self {
        Self {
            sha256: Sha256::new(),
            mark: None,
            store: store.and_then(|checksum| Some((checksum.hasher()?, checksum.value.clone()))),
            bytes: 0,
        }
    }

    /// With a mark, by which an upload knows the content again.
    fn marked(mut self) -> Self {
        self.mark = Some(Hasher::crc64());
        self
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        if let Some(hasher) = &mut self.mark {
            hasher.update(bytes);
        }
        if let Some((hasher, _)) = &mut self.store {
            hasher.update(bytes);
        }
        self.bytes += bytes.len() as u64;
    }

    /// How many bytes there were.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// SHA-256 in lower-case hex.
    pub(crate) fn sha256(&self) -> String {
        hex::encode(self.sha256.clone().finalize())
    }

    /// Whether the store's checksum agrees; `None` where there is none.
    pub(crate) fn agrees(&self) -> Option<bool> {
        self.store
            .as_ref()
            .map(|(hasher, expected)| hasher.value() == *expected)
    }
}

/// Reads a file to its end.
pub(crate) async fn sums_of(path: &Path, store: Option<&Checksum>) -> Result<Sums, StepError> {
    read(path, Sums::new(store)).await
}

/// Reads a file to its end that may be uploaded then, by [`Unchanged`].
pub(crate) async fn sums_before_upload(path: &Path, store: Option<&Checksum>) -> Result<Sums, StepError> {
    read(path, Sums::new(store).marked()).await
}

async fn read(path: &Path, mut sums: Sums) -> Result<Sums, StepError> {
    let path = path.to_owned();
    let reading = tokio::task::spawn_blocking(move || {
        let failed = |error| failed("read", &path, error);
        let mut file = std::fs::File::open(&path).map_err(failed)?;
        let mut buffer = vec![0; 256 * 1024];
        loop {
            match file.read(&mut buffer).map_err(failed)? {
                0 => return Ok(sums),
                read => sums.update(&buffer[..read]),
            }
        }
    });
    reading
        .await
        .map_err(|error| StepError::failed("reading a file was ended").source(error))?
}

/// Reads an object to its end.
pub(crate) async fn sums_of_object(stream: ObjectStream) -> Result<Sums, StepError> {
    read_object(stream, Sums::new(None)).await
}

/// Reads an object to its end for these sums.
pub(crate) async fn read_object(mut stream: ObjectStream, mut sums: Sums) -> Result<Sums, StepError> {
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match stream.read(&mut buffer).await.map_err(unwrap_step_error)? {
            0 => return Ok(sums),
            read => sums.update(&buffer[..read]),
        }
    }
}

/// A file that is read for an upload: counted, and held to what it was when it was hashed.
///
/// By a CRC of 64 bits, which costs next to nothing where a second SHA-256 would take as long as the first: whatever writes
/// to a file meanwhile does not choose by that what it writes.
pub(crate) struct Unchanged {
    file: File,
    path: PathBuf,
    mark: Hasher,
    expected: String,
    done: Arc<AtomicU64>,
}

impl Unchanged {
    /// Opens a file whose sums were taken by [`sums_before_upload`].
    pub(crate) async fn open(path: &Path, sums: &Sums, done: Arc<AtomicU64>) -> Result<Self, StepError> {
        Ok(Self {
            file: File::open(path).await.map_err(|error| failed("read", path, error))?,
            path: path.to_owned(),
            mark: Hasher::crc64(),
            expected: sums.mark.as_ref().map(Hasher::value).unwrap_or_default(),
            done,
        })
    }

    fn at_end(&self) -> io::Result<()> {
        if self.mark.value() == self.expected {
            return Ok(());
        }
        let changed = format!("`{}` changed while it was read", self.path.display());
        Err(io::Error::other(
            StepError::conflict(changed).hint("let whatever writes to it finish, then try again"),
        ))
    }
}

impl AsyncRead for Unchanged {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.file).poll_read(cx, buffer);
        let Poll::Ready(Ok(())) = polled else { return polled };
        let read = &buffer.filled()[before..];
        if read.is_empty() {
            return Poll::Ready(self.at_end());
        }
        self.mark.update(read);
        let more = read.len() as u64;
        self.done.fetch_add(more, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

/// Waits for work, tells its progress meanwhile, and gives it up where the step is told to stop.
pub(crate) async fn with_progress<T>(
    cx: &StepContext,
    done: &AtomicU64,
    total: u64,
    work: impl Future<Output = Result<T, StepError>>,
) -> Result<T, StepError> {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            outcome = &mut work => return outcome,
            () = cx.cancelled() => return Err(StepError::cancelled("told to stop in the middle of a transfer")),
            () = tokio::time::sleep(TICK) => {
                cx.progress(done.load(Ordering::Relaxed), Some(total), Unit::Bytes).await;
            }
        }
    }
}

/// What a file's name ends with until it is finished. A site may have a `nav.partial` of its own.
pub(crate) const PARTIAL: &str = ".jm-partial";

/// Where a file grows until it is finished.
pub(crate) fn partial(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(PARTIAL);
    name.into()
}

/// Opens a file that is to be written after so many bytes, which stay.
pub(crate) fn open_after(path: &Path, kept: u64) -> io::Result<std::fs::File> {
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(kept == 0).open(path)?;
    file.seek(SeekFrom::Start(kept))?;
    Ok(file)
}

/// Puts a finished file in its place; where `force` is not set, only if nothing is there.
pub(crate) async fn put_in_place(from: &Path, to: &Path, force: bool) -> Result<(), StepError> {
    let (from, to) = (from.to_owned(), to.to_owned());
    let moved = tokio::task::spawn_blocking(move || {
        let flags = if force {
            RenameFlags::empty()
        } else {
            RenameFlags::NOREPLACE
        };
        match rustix::fs::renameat_with(CWD, &from, CWD, &to, flags) {
            Err(rustix::io::Errno::EXIST) => Err(is_there(&to)),
            // Some file systems know no such flag.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) if !to.exists() => {
                std::fs::rename(&from, &to).map_err(|error| failed("write", &to, error))
            }
            outcome => outcome.map_err(|error| failed("write", &to, error.into())),
        }?;
        sync_folder(folder_of(&to))
    });
    moved
        .await
        .map_err(|error| StepError::failed("moving the file was ended").source(error))?
}

/// The folder that a name is in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

/// Names are on disk only when their folder is.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), StepError> {
    let synced = std::fs::File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| failed("write", folder, error))
}

/// Another file is where the new one should be.
pub(crate) fn is_there(path: &Path) -> StepError {
    StepError::conflict(format!("`{}` is there already, with other content", path.display()))
        .hint("move it away, or set `force: true` to overwrite it")
}

/// An I/O error in words that say what to do.
pub(crate) fn failed(doing: &str, path: &Path, error: io::Error) -> StepError {
    let shown = path.display();
    let message = format!("cannot {doing} `{shown}`: {}", error.kind());
    let step = match error.kind() {
        io::ErrorKind::NotFound => {
            StepError::not_found(message).hint("check the path, and make the folder where it is missing")
        }
        io::ErrorKind::PermissionDenied => {
            StepError::denied(message).hint("check the owner and the mode of the file and its folder")
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            StepError::failed(message).hint("make room on that disk, or choose another one")
        }
        _ => StepError::failed(message),
    };
    step.source(error)
}
