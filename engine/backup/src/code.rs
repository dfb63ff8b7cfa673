//! Git repositories as backups: a bundle, which is one file that git clones from.

#![expect(clippy::disallowed_types, reason = "a bundle is read from the file that git made")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use jm_step::StepError;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::backups::{Backups, BackupsReader};
use crate::catalogue::Entry;
use crate::content::{CodeContent, CodeIndex, Content};
use crate::create::Created;
use crate::flow::{CHUNK, Failure, Flow, consume, produce};
use crate::keeping::Keeping;
use crate::location::Directory;
use crate::manifest::{Manifest, Release};
use crate::name::ContentKind;
use crate::observer::Observer;
use crate::openpgp::OpenError;
use crate::refusals::of_another_kind;
use crate::tools::Toolbox;

/// What bundles begin with: <https://git-scm.com/docs/gitformat-bundle>.
const VERSIONS: [&str; 2] = ["# v2 git bundle", "# v3 git bundle"];
/// A line of a bundle's head is a hash and the name of a branch or tag.
const LONGEST_LINE: u64 = 64 * 1024;

/// Which bundle is to be filed.
#[derive(Debug, Clone)]
pub struct BundleRequest {
    /// The address of the remote, without the credentials in it.
    pub repository: String,
    /// The commit of each branch and tag in it.
    pub refs: BTreeMap<String, String>,
    /// The file that git made.
    pub bundle: PathBuf,
    /// How the backup is kept.
    pub keeping: Keeping,
}

impl Backups {
    /// Files a bundle in every location that takes it, encrypted on the way, read back, and with a manifest last.
    pub async fn store_bundle(
        &self,
        request: &BundleRequest,
        tools: &Toolbox,
        observer: &dyn Observer,
    ) -> Result<Created, StepError> {
        let bundle = request.bundle.clone();
        let written = async |sender, _| {
            produce(sender, move |writer| {
                let unread = |error| StepError::failed("the bundle that git made cannot be read").source(error);
                let mut file = File::open(&bundle).map_err(unread)?;
                io::copy(&mut file, writer).map(drop).map_err(unread)
            })
            .await?;
            Ok(Content::Code(Box::new(CodeContent {
                code: CodeIndex {
                    repository: request.repository.clone(),
                    refs: request.refs.clone(),
                },
            })))
        };
        self.file(ContentKind::Code, &request.keeping, None, tools, observer, written)
            .await
    }
}

impl BackupsReader {
    /// The newest bundle of a repository, where it has these branches and tags at these commits, and is of this release.
    /// Every location that answers has to have it; which do not, is told.
    pub async fn bundle_of(
        &self,
        index: &CodeIndex,
        release: &Release,
    ) -> Result<Option<(Entry, Vec<String>)>, StepError> {
        let is_of = |manifest: &Manifest| manifest.code().is_some_and(|code| code.repository == index.repository);
        let catalogue = self.catalogue().await?;
        let Some(newest) = catalogue
            .entries
            .iter()
            .find(|entry| entry.manifest().is_some_and(is_of))
        else {
            return Ok(None);
        };
        let is_same =
            |manifest: &Manifest| manifest.code() == Some(index) && manifest.release.as_ref() == Some(release);
        let copies = self.copies(&catalogue, newest);
        let will_do = newest.manifest().is_some_and(is_same) && copies.lacking.is_empty();
        Ok(will_do.then(|| (newest.clone(), copies.unknown)))
    }
}

/// The file of a bundle in a folder of its own.
const FILE: &str = "code.bundle";

/// Where [`BackupsReader::extract_bundle`] puts the bundle.
pub fn bundle_in(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

impl BackupsReader {
    /// Writes the bundle into a folder, which is made where it is missing: it is there when all of it is proven.
    pub async fn extract_bundle(&self, entry: &Entry, into: &Path, observer: &dyn Observer) -> Result<u64, StepError> {
        if entry.kind() != ContentKind::Code {
            return Err(of_another_kind(&entry.name, entry.kind(), ContentKind::Code));
        }
        Directory::new(into).make().await?;
        self.decrypt_to_file(entry, &bundle_in(into), observer).await
    }
}

/// Whether this is the beginning of a bundle.
pub(crate) fn begins(start: &[u8]) -> bool {
    VERSIONS.iter().any(|version| start.starts_with(version.as_bytes()))
}

/// Its head reads, it needs no commit that is not in it, and its pack has the checksum that git gave it.
pub(crate) async fn prove(content: Flow) -> Result<(), Failure> {
    consume(content, |reader| read(BufReader::with_capacity(CHUNK, reader))).await
}

fn read(mut bundle: impl BufRead) -> io::Result<()> {
    let first = line(&mut bundle)?;
    if !VERSIONS.contains(&first.as_str()) {
        return Err(damaged(format!(
            "`{}` is no beginning of a bundle",
            first.escape_debug()
        )));
    }
    let mut long_hashes = false;
    loop {
        let line = line(&mut bundle)?;
        match line.as_bytes().first() {
            None => break,
            Some(b'@') => long_hashes |= line == "@object-format=sha256",
            Some(b'-') => return Err(damaged("it needs commits that are not in it")),
            Some(_) => {}
        }
    }
    if long_hashes {
        read_pack::<Sha256>(bundle)
    } else {
        read_pack::<Sha1>(bundle)
    }
}

fn line(bundle: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    bundle.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line)?;
    // Git lets names of branches be of any bytes.
    let ended = line
        .strip_suffix(b"\n")
        .map(|line| String::from_utf8_lossy(line).into_owned());
    ended.ok_or_else(|| damaged("its head has no end"))
}

/// A pack ends with the checksum of all that comes before: <https://git-scm.com/docs/gitformat-pack>.
fn read_pack<D: Digest>(mut pack: impl Read) -> io::Result<()> {
    let length = <D as Digest>::output_size();
    let (mut hasher, mut held, mut buffer) = (D::new(), Vec::new(), vec![0; CHUNK]);
    let mut bytes = 0_u64;
    loop {
        let count = match pack.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        if bytes == 0 && !buffer[..count].starts_with(b"PACK") {
            return Err(damaged("no pack follows its head"));
        }
        if count == 0 {
            break;
        }
        bytes += count as u64;
        held.extend_from_slice(&buffer[..count]);
        let passed = held.len().saturating_sub(length);
        hasher.update(&held[..passed]);
        held.drain(..passed);
    }
    if hasher.finalize().as_slice() == held.as_slice() {
        Ok(())
    } else {
        Err(damaged("its pack has not the checksum that git gave it"))
    }
}

fn damaged(why: impl Into<String>) -> io::Error {
    OpenError::Damaged(why.into()).into_io()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bundle whose pack is this.
    fn bundle(head: &str, pack: &[u8]) -> Vec<u8> {
        [head.as_bytes(), pack, &Sha1::digest(pack)].concat()
    }

    #[test]
    fn a_bundle_is_whole_or_damaged() {
        let head = "# v2 git bundle\n0123 refs/heads/main\n\n";
        let whole = bundle(head, b"PACK and what is in it");
        read(whole.as_slice()).expect("whole");
        for cut in 1..whole.len() {
            read(&whole[..cut]).expect_err("cut short");
        }
        for at in 0..whole.len() - 1 {
            let mut other = whole.clone();
            other[at] ^= 1;
            // Another version is a bundle, too, and so is one of other names.
            let is_a_name = at == 3 || (head.find("0123").expect("a hash")..head.len() - 2).contains(&at);
            assert_eq!(read(other.as_slice()).is_ok(), is_a_name, "byte {at}");
        }
        // Git lets a branch have any name.
        let odd = [
            b"# v2 git bundle\n0123 refs/heads/caf\xe9\n\n",
            b"PACK".as_slice(),
            &Sha1::digest(b"PACK"),
        ]
        .concat();
        read(odd.as_slice()).expect("whole");
        let needy = bundle("# v2 git bundle\n-4567 before\n0123 refs/heads/main\n\n", b"PACK");
        let error = read(needy.as_slice()).expect_err("it is not whole").to_string();
        assert!(error.contains("needs commits"), "{error}");
    }
}
