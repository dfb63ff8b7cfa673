//! The archive of a backup of files: a tar whose first entry tells what it is, and whose last one lists all others with their
//! checksums, so that one which was cut short or put together by somebody else is not taken for whole.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "files are read into an archive, and written out of it"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown, symlink};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use jm_step::{Secret, StepError};
use sha2::{Digest, Sha256};
use tar::{Archive, Builder, Entry, EntryType, Header, HeaderMode};

use super::gather::{Found, Gathered, What};
use crate::name::PARTIAL;
use crate::openpgp::OpenError;

/// The first entry.
const ABOUT: &str = "jm-files.txt";
/// What an archive begins with: the name of its first entry.
pub(crate) const OPENING: &str = "jm-files.txt\0";
const ABOUT_TEXT: &str = "Files and environment variables, kept by jm. Each file stands below `files` under its whole path;\n\
    `environment.sh` sets the variables for a shell that reads it with `.`; `jm-index.json` has the SHA-256 of each file.\n\
    Without jm: gpg --decrypt FILE | tar -x --preserve-permissions\n";
/// The folder below which files stand under their whole paths.
const FILES: &str = "files";
/// The variables, for a shell.
const ENVIRONMENT: &str = "environment.sh";
/// The last entry: the SHA-256 of each file, and where each link leads.
const INDEX: &str = "jm-index.json";
/// No list of files is longer.
const LONGEST_INDEX: u64 = 256 << 20;

/// What each entry holds, by its path: a checksum, where a link leads, or nothing for a folder.
type Sums = BTreeMap<String, String>;

/// Writes all of it.
pub(super) fn write(
    writer: &mut impl Write,
    gathered: &Gathered,
    environment: &BTreeMap<String, Secret>,
) -> Result<(), StepError> {
    let broken = |error: io::Error| match error.downcast::<StepError>() {
        Ok(error) => error,
        Err(error) => StepError::failed("the archive of the files cannot be written").source(error),
    };
    let mut tape = Builder::new(writer);
    text(&mut tape, ABOUT, ABOUT_TEXT.as_bytes()).map_err(broken)?;
    let mut sums = Sums::new();
    for (path, found) in &gathered.found {
        let sum = put(&mut tape, Path::new(path), found).map_err(broken)?;
        sums.insert(entry_path(path), sum);
    }
    if !environment.is_empty() {
        let script = script(environment);
        text(&mut tape, ENVIRONMENT, script.as_bytes()).map_err(broken)?;
        sums.insert(ENVIRONMENT.to_owned(), hex::encode(Sha256::digest(&script)));
    }
    let index = serde_json::to_vec_pretty(&sums)
        .map_err(|error| StepError::failed("the list of the files cannot be written as JSON").source(error))?;
    text(&mut tape, INDEX, &index)
        .and_then(|()| tape.finish())
        .map_err(broken)
}

fn entry_path(path: &str) -> String {
    format!("{FILES}{path}")
}

/// What a shell reads to have the variables.
fn script(environment: &BTreeMap<String, Secret>) -> String {
    let lines = environment
        .iter()
        .map(|(name, value)| format!("export {name}='{}'\n", value.expose().replace('\'', r"'\''")));
    lines.collect()
}

fn text(tape: &mut Builder<impl Write>, name: &str, content: &[u8]) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_mode(0o600);
    header.set_size(content.len() as u64);
    tape.append_data(&mut header, name, content)
}

/// Puts one in, and tells what it holds.
fn put(tape: &mut Builder<impl Write>, path: &Path, found: &Found) -> io::Result<String> {
    let mut header = Header::new_gnu();
    header.set_metadata_in_mode(&found.metadata, HeaderMode::Complete);
    let name = entry_path(&path.display().to_string());
    match &found.what {
        What::Folder => {
            header.set_size(0);
            tape.append_data(&mut header, name, io::empty())?;
            Ok(String::new())
        }
        What::Link(target) => {
            header.set_size(0);
            // As it is: else parts such as `//` would be taken out of it.
            match header.set_link_name_literal(target.as_os_str().as_bytes()) {
                Ok(()) => tape.append_data(&mut header, name, io::empty())?,
                Err(_) => tape.append_link(&mut header, name, target)?,
            }
            Ok(target.display().to_string())
        }
        What::File(sha256) => {
            let size = found.metadata.len();
            header.set_size(size);
            let mut content = Hashed::new(File::open(path)?.take(size));
            tape.append_data(&mut header, name, &mut content)?;
            let (read, seen) = content.finish();
            if read == size && seen == *sha256 {
                return Ok(seen);
            }
            Err(io::Error::other(changed(path)))
        }
    }
}

fn changed(path: &Path) -> StepError {
    StepError::unavailable(format!("`{}` was changed while it was backed up", path.display()))
        .hint("try again when nobody writes to it")
}

/// Hashes and counts what is read.
struct Hashed<R> {
    reader: R,
    hasher: Sha256,
    bytes: u64,
}

impl<R: Read> Hashed<R> {
    fn new(reader: R) -> Self {
        Self {
            reader,
            hasher: Sha256::new(),
            bytes: 0,
        }
    }

    fn finish(self) -> (u64, String) {
        (self.bytes, hex::encode(self.hasher.finalize()))
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buf)?;
        self.hasher.update(&buf[..count]);
        self.bytes += count as u64;
        Ok(count)
    }
}

/// Takes what comes out of an archive. Its own errors are told apart from those of the archive.
pub(super) trait Taker {
    /// A file; reads its content to the end.
    fn file(&mut self, path: &Path, header: &Header, content: &mut dyn Read) -> io::Result<Result<(), StepError>>;
    /// A folder.
    fn folder(&mut self, path: &Path, header: &Header) -> Result<(), StepError>;
    /// A symbolic link.
    fn link(&mut self, path: &Path, target: &Path) -> Result<(), StepError>;
}

/// Takes nothing.
pub(super) struct Nowhere;

impl Taker for Nowhere {
    fn file(&mut self, _: &Path, _: &Header, content: &mut dyn Read) -> io::Result<Result<(), StepError>> {
        io::copy(content, &mut io::sink()).map(|_| Ok(()))
    }
    fn folder(&mut self, _: &Path, _: &Header) -> Result<(), StepError> {
        Ok(())
    }
    fn link(&mut self, _: &Path, _: &Path) -> Result<(), StepError> {
        Ok(())
    }
}

/// Reads an archive to its end, and gives `taker` what is in it. The outer error is the archive's.
pub(super) fn read(reader: &mut impl Read, taker: &mut impl Taker) -> io::Result<Result<(), StepError>> {
    let (mut seen, mut listed) = (Sums::new(), None);
    let mut links = BTreeSet::new();
    let mut archive = Archive::new(reader);
    for entry in archive.entries().map_err(damage)? {
        let mut entry = entry.map_err(damage)?;
        if listed.is_some() {
            return Err(damaged("something follows its list of files"));
        }
        let path =
            String::from_utf8(entry.path_bytes().into_owned()).map_err(|_| damaged("a path in it is not UTF-8"))?;
        let path = path.trim_end_matches('/').to_owned();
        match path.as_str() {
            ABOUT => {}
            INDEX => listed = Some(list(&mut entry)?),
            _ => {
                // What stands below a link would be written to where that leads.
                if Path::new(&path).ancestors().any(|part| links.contains(part)) {
                    return Err(damaged(format!("`{path}` in it stands below a link")));
                }
                if entry.header().entry_type() == EntryType::Symlink {
                    links.insert(PathBuf::from(&path));
                }
                match take(&path, &mut entry, taker)? {
                    Ok(sum) => drop(seen.insert(path, sum)),
                    Err(error) => return Ok(Err(error)),
                }
            }
        }
    }
    match listed {
        None => Err(damaged("its list of files, which stands at its end, is missing")),
        Some(listed) if listed != seen => Err(damaged("what is in it is not what its list of files tells")),
        Some(_) => Ok(Ok(())),
    }
}

fn list(entry: &mut impl Read) -> io::Result<Sums> {
    serde_json::from_reader(entry.take(LONGEST_INDEX)).map_err(|error| damaged(format!("its list of files: {error}")))
}

fn take<R: Read>(
    path: &str,
    entry: &mut Entry<'_, R>,
    taker: &mut impl Taker,
) -> io::Result<Result<String, StepError>> {
    let place = inside(path)?;
    let header = entry.header().clone();
    match header.entry_type() {
        EntryType::Directory => Ok(taker.folder(&place, &header).map(|()| String::new())),
        EntryType::Symlink => {
            let target = entry.link_name().map_err(damage)?;
            let target = target.ok_or_else(|| damaged("a link in it leads nowhere"))?;
            let sum = target.display().to_string();
            Ok(taker.link(&place, &target).map(|()| sum))
        }
        EntryType::Regular => {
            let mut content = Hashed::new(entry);
            let taken = taker.file(&place, &header, &mut content).map_err(damage)?;
            Ok(taken.map(|()| content.finish().1))
        }
        other => Err(damaged(format!(
            "`{path}` in it is neither a file, a folder nor a link: {other:?}"
        ))),
    }
}

/// A path that leads nowhere but inside.
fn inside(path: &str) -> io::Result<PathBuf> {
    let path = PathBuf::from(path);
    let is_inside = path.components().all(|part| matches!(part, Component::Normal(_)));
    let is_known = path.starts_with(FILES) || path == Path::new(ENVIRONMENT);
    if is_inside && is_known {
        Ok(path)
    } else {
        Err(damaged(format!("`{}` is no path of a backup", path.display())))
    }
}

fn damaged(why: impl Into<String>) -> io::Error {
    OpenError::Damaged(why.into()).into_io()
}

/// An error of the archive's reader that is not known to be one of what it reads from.
fn damage(error: io::Error) -> io::Error {
    if OpenError::of(&error).is_some() {
        return error;
    }
    damaged(error.to_string())
}

/// A folder into which an archive goes. It has its name once all is there; else nothing of it stays.
pub(super) struct Extraction {
    partial: tempfile::TempDir,
    into: PathBuf,
    /// Set in the end, so that a folder which nobody may write to can be filled.
    folders: Vec<(PathBuf, Header)>,
    count: u64,
}

impl Extraction {
    pub(super) fn new(into: &Path) -> Result<Self, StepError> {
        let into = std::path::absolute(into).map_err(|error| cannot_write(into, error))?;
        if into.symlink_metadata().is_ok() {
            return Err(StepError::conflict(format!("`{}` is there already", into.display()))
                .hint("name a new folder: nothing is written over"));
        }
        let (Some(parent), Some(name)) = (into.parent(), into.file_name()) else {
            return Err(StepError::invalid_input(format!(
                "`{}` is no new folder",
                into.display()
            )));
        };
        // Always the same one, so that what a kill left there goes with the next attempt.
        let name = format!(".{}{PARTIAL}", name.display());
        match std::fs::remove_dir_all(parent.join(&name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(cannot_write(parent, error)),
            _ => {}
        }
        let partial = tempfile::Builder::new()
            .prefix(&name)
            .rand_bytes(0)
            .tempdir_in(parent)
            .map_err(|error| cannot_write(parent, error))?;
        Ok(Self {
            partial,
            into,
            folders: Vec::new(),
            count: 0,
        })
    }

    /// Gives it its name, and tells how many files, folders and links are in it.
    pub(super) fn give_name(self) -> Result<u64, StepError> {
        for (path, header) in self.folders.iter().rev() {
            settle(path, header).map_err(|error| cannot_write(path, error))?;
        }
        std::fs::rename(self.partial.path(), &self.into).map_err(|error| cannot_write(&self.into, error))?;
        // What was renamed is not there any more under the name that would be removed.
        drop(self.partial.keep());
        Ok(self.count)
    }

    fn place(&mut self, path: &Path) -> Result<PathBuf, StepError> {
        self.count += 1;
        let place = self.partial.path().join(path);
        let parent = place.parent().unwrap_or(self.partial.path());
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)
            .map_err(|error| cannot_write(parent, error))?;
        Ok(place)
    }
}

impl Taker for Extraction {
    fn file(&mut self, path: &Path, header: &Header, content: &mut dyn Read) -> io::Result<Result<(), StepError>> {
        let place = match self.place(path) {
            Ok(place) => place,
            Err(error) => return Ok(Err(error)),
        };
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&place);
        let mut file = match opened {
            Ok(file) => file,
            Err(error) => return Ok(Err(cannot_write(&place, error))),
        };
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let count = content.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            if let Err(error) = file.write_all(&buffer[..count]) {
                return Ok(Err(cannot_write(&place, error)));
            }
        }
        Ok(file
            .sync_all()
            .and_then(|()| settle(&place, header))
            .map_err(|error| cannot_write(&place, error)))
    }

    fn folder(&mut self, path: &Path, header: &Header) -> Result<(), StepError> {
        let place = self.place(path)?;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&place)
            .map_err(|error| cannot_write(&place, error))?;
        self.folders.push((place, header.clone()));
        Ok(())
    }

    fn link(&mut self, path: &Path, target: &Path) -> Result<(), StepError> {
        let place = self.place(path)?;
        symlink(target, &place).map_err(|error| cannot_write(&place, error))
    }
}

/// Gives a file or folder the owner, the permissions and the time that it had; only root may give it an owner.
fn settle(path: &Path, header: &Header) -> io::Result<()> {
    if rustix::process::geteuid().is_root() {
        let id = |id: io::Result<u64>| id.ok().and_then(|id| u32::try_from(id).ok());
        chown(path, id(header.uid()), id(header.gid()))?;
    }
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(header.mtime()?);
    File::open(path)?.set_modified(time)?;
    std::fs::set_permissions(path, Permissions::from_mode(header.mode()? & 0o7777))
}

fn cannot_write(path: &Path, error: io::Error) -> StepError {
    StepError::failed(format!("`{}` cannot be written: {error}", path.display()))
        .hint("see that its folder can be written to and has room, and try again")
        .source(error)
}
