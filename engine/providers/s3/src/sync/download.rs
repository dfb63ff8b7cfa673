//! One object of a bucket that becomes a file: whole or not at all, and a large one from where it was cut off.

#![expect(clippy::disallowed_methods, reason = "one side of a sync is a directory")]

use std::path::Path;
use std::sync::atomic::Ordering;

use jm_client_s3::{Checksum, Get, ObjectSummary};
use jm_step::{StepError, StepErrorKind};
use rustix::fs::{CWD, RenameFlags};

use super::across::{differs, not_as_written};
use super::act::{AT_ONCE, SMALL, Worker};
use super::decide::Existing;
use super::directory::place;
use super::side::Objects;
use crate::file::{self, Sums};
use crate::receive::receive;

/// What a file has of an object before the rest of it comes.
struct Beginning {
    sums: Sums,
    /// The SHA-256 that the writer of the object told.
    told: Option<String>,
}

impl Worker<'_> {
    pub(super) async fn download(
        &self,
        name: &str,
        object: &ObjectSummary,
        from: &Objects,
        root: &Path,
    ) -> Result<(), StepError> {
        let path = place(root, name).map_err(StepError::failed)?;
        make_folder(root, &path).await?;
        let partial = file::partial(&path);
        let written = match self.fetch(object, from, &partial).await {
            // What was damaged on its way, or began as another, comes whole the second time; what is damaged in the store does not.
            Err(error) if error.kind() == StepErrorKind::Failed => {
                drop(tokio::fs::remove_file(&partial).await);
                self.fetch(object, from, &partial).await
            }
            written => written,
        };
        let placed = match written {
            Ok(()) => self.place(&partial, &path).await,
            Err(error) => Err(error),
        };
        self.unsettled.note(&path, object.bytes);
        let goes_on = |error: &StepError| object.bytes > AT_ONCE && error.kind().is_transient();
        if placed.as_ref().is_err_and(|error| !goes_on(error)) {
            drop(tokio::fs::remove_file(&partial).await);
        }
        placed
    }

    async fn fetch(&self, object: &ObjectSummary, from: &Objects, partial: &Path) -> Result<(), StepError> {
        let failed = |error| file::failed("write", partial, error);
        let Beginning { mut sums, mut told } = beginning(object, from, partial).await?;
        let have = sums.bytes();
        let file = file::open_after(partial, have).map_err(failed)?;
        let large = (object.bytes > SMALL)
            .then(|| file.try_clone())
            .transpose()
            .map_err(failed)?;
        if have == 0 || have < object.bytes {
            let get = Get {
                etag: object.etag.clone(),
                offset: have,
                ..Get::default()
            };
            let stream = from.bucket.get(&object.key, get).await?;
            told = told.or_else(|| stream.info().metadata.get("sha256").cloned());
            self.done.fetch_add(have, Ordering::Relaxed);
            sums = receive(stream, file, partial, sums, self.done.clone()).await?;
        }
        if let Some(large) = large {
            let synced = tokio::task::spawn_blocking(move || large.sync_all()).await;
            let synced = synced.map_err(|error| StepError::failed("writing to disk was ended").source(error))?;
            synced.map_err(failed)?;
        }
        if sums.bytes() != object.bytes || differs(&sums, told.as_deref()) {
            return Err(not_as_written(&from.bucket.url(&object.key), &sums));
        }
        Ok(())
    }

    /// Puts a finished file in its place.
    async fn place(&self, partial: &Path, path: &Path) -> Result<(), StepError> {
        let overwrites = self.rules.existing == Existing::Overwrite;
        let (from, to) = (partial.to_owned(), path.to_owned());
        let moved = tokio::task::spawn_blocking(move || {
            if overwrites {
                return std::fs::rename(&from, &to).map_err(|error| file::failed("write", &to, error));
            }
            match rustix::fs::renameat_with(CWD, &from, CWD, &to, RenameFlags::NOREPLACE) {
                Ok(()) => Ok(()),
                Err(rustix::io::Errno::EXIST) => Err(file::is_there(&to)),
                Err(error) => Err(file::failed("write", &to, error.into())),
            }
        });
        moved
            .await
            .map_err(|error| StepError::failed("moving the file was ended").source(error))?
    }
}

/// What an attempt before this one brought of a large object. Whether it is the beginning of this one only a sum over all of it
/// tells: where there is none, it begins anew.
async fn beginning(object: &ObjectSummary, from: &Objects, partial: &Path) -> Result<Beginning, StepError> {
    let nothing = Beginning {
        sums: Sums::new(None),
        told: None,
    };
    let there = tokio::fs::metadata(partial).await.map_or(0, |metadata| metadata.len());
    if object.bytes <= AT_ONCE || there == 0 || there > object.bytes {
        return Ok(nothing);
    }
    let Some(info) = from.bucket.head(&object.key, None).await? else {
        return Ok(nothing);
    };
    let (sum, told) = (info.sum(), info.metadata.get("sha256").cloned());
    let is_told = told.is_some() || sum.as_ref().and_then(Checksum::hasher).is_some();
    if info.etag != object.etag || !is_told {
        return Ok(nothing);
    }
    let sums = file::sums_of(partial, sum.as_ref()).await?;
    Ok(Beginning { sums, told })
}

/// Makes the folder of a file. A link in it that leads out of the directory is not followed.
async fn make_folder(root: &Path, path: &Path) -> Result<(), StepError> {
    let Some(folder) = path.parent().map(Path::to_owned) else {
        return Ok(());
    };
    let root = root.to_owned();
    let made = tokio::task::spawn_blocking(move || {
        std::fs::create_dir_all(&folder).map_err(|error| file::failed("make", &folder, error))?;
        let real = |path: &Path| {
            path.canonicalize()
                .map_err(|error| file::failed("look at", path, error))
        };
        if real(&folder)?.starts_with(real(&root)?) {
            return Ok(());
        }
        Err(StepError::refused(format!(
            "`{}` is a link that leads out of the directory",
            folder.display()
        ))
        .hint("take the link away, or sync to where it leads"))
    });
    made.await
        .map_err(|error| StepError::failed("making a folder was ended").source(error))?
}
