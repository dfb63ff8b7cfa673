//! Bytes on their way to disk: written once, digested as they pass, removed again unless something names them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::checksum::{Algorithm, Checksums, Digests};
use super::disk::{self, BucketFolder};
use super::error::StoreError;
use super::object::{Details, Object, Segment};
use super::stamp::Stamp;

/// Bytes are read and written in pieces of this size.
pub(crate) const PIECE: usize = 256 * 1024;

/// A data file that goes away again unless it is kept.
#[derive(Debug)]
struct Draft {
    path: PathBuf,
    kept: bool,
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = disk::remove(&self.path)
        {
            tracing::warn!(%error, "a data file that nothing names stays until the next start");
        }
    }
}

/// A data file being written.
pub(crate) struct BlobWriter {
    out: BufWriter<File>,
    draft: Draft,
    segment: Segment,
    digests: Digests,
}

impl BlobWriter {
    /// Begins the data file `file` of a bucket.
    pub(crate) fn create(
        folder: &BucketFolder,
        file: Stamp,
        algorithms: &BTreeSet<Algorithm>,
    ) -> Result<Self, StoreError> {
        let path = folder.segment(file);
        let out = disk::make_parent(&path).and_then(|()| File::create_new(&path));
        let out = out.map_err(StoreError::disk("create", &path))?;
        Ok(Self {
            out: BufWriter::with_capacity(PIECE, out),
            draft: Draft { path, kept: false },
            segment: Segment { file, size: 0 },
            digests: Digests::new(algorithms),
        })
    }

    /// Takes the next bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.digests.update(bytes);
        self.segment.size += bytes.len() as u64;
        self.out
            .write_all(bytes)
            .map_err(StoreError::disk("write", &self.draft.path))
    }

    /// Takes all bytes of a reader.
    pub(crate) fn copy_from(&mut self, source: &mut dyn Read) -> Result<(), StoreError> {
        let mut piece = vec![0; PIECE];
        loop {
            let count = source
                .read(&mut piece)
                .map_err(StoreError::disk("read for", &self.draft.path))?;
            if count == 0 {
                return Ok(());
            }
            self.write(&piece[..count])?;
        }
    }

    /// The whole file: it still goes away unless something keeps it.
    pub(crate) fn finish(mut self) -> Result<Blob, StoreError> {
        self.out.flush().map_err(StoreError::disk("write", &self.draft.path))?;
        let (md5, checksums) = self.digests.finish();
        Ok(Blob {
            segment: self.segment,
            md5,
            checksums,
            draft: self.draft,
        })
    }
}

/// A data file with all its bytes and their digests.
#[derive(Debug)]
pub(crate) struct Blob {
    pub(crate) segment: Segment,
    pub(crate) md5: [u8; 16],
    pub(crate) checksums: Checksums,
    draft: Draft,
}

impl Blob {
    /// The ETag of an object that has just these bytes.
    pub(crate) fn etag(&self) -> String {
        hex::encode(self.md5)
    }

    /// An object of these bytes, and the file that goes away unless it is kept.
    pub(crate) fn into_object(self, details: Details) -> (Object, Drafts) {
        let object = Object {
            etag: self.etag(),
            size: self.segment.size,
            segments: vec![self.segment],
            checksums: self.checksums,
            details,
            upload: None,
        };
        (object, Drafts(vec![self.draft]))
    }

    /// Something on disk names the file now.
    pub(crate) fn keep(mut self) {
        self.draft.kept = true;
    }
}

/// Data files that go away again unless they are kept.
#[derive(Debug, Default)]
pub(crate) struct Drafts(Vec<Draft>);

impl Drafts {
    /// Gives the data file at `source` a second name in `folder`; copies it where the file system has no links.
    pub(crate) fn link(&mut self, source: &Path, folder: &BucketFolder, file: Stamp) -> Result<(), StoreError> {
        let path = folder.segment(file);
        let failed = StoreError::disk("create", &path);
        disk::make_parent(&path)
            .and_then(|()| fs::hard_link(source, &path))
            .or_else(|_| fs::copy(source, &path).map(drop))
            .map_err(failed)?;
        self.0.push(Draft { path, kept: false });
        Ok(())
    }

    /// Something on disk names the files now.
    pub(crate) fn keep(mut self) {
        self.0.iter_mut().for_each(|draft| draft.kept = true);
    }
}

/// Opens `count` bytes of a data file from byte `start` on; refuses a file that has not its recorded size.
pub(crate) fn open(path: &Path, segment: Segment, start: u64, count: u64) -> Result<io::Take<File>, StoreError> {
    let opened = File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
    let (size, mut file) = opened.map_err(StoreError::disk("open", path))?;
    if size != segment.size {
        return Err(StoreError::Damaged(path.to_path_buf()));
    }
    file.seek(SeekFrom::Start(start))
        .map_err(StoreError::disk("read", path))?;
    Ok(file.take(count))
}
