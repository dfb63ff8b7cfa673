//! The side of a sync that is a directory: what is in it, and which names may be in it.

#![expect(clippy::disallowed_methods, reason = "one side of a sync is a directory")]

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use jm_step::{StepError, StepErrorKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::pattern::Names;
use crate::file::{self, PARTIAL};

/// The endings of all unfinished files of jm: those of backups, too, into whose directory another step may look.
const UNFINISHED: [&str; 3] = [PARTIAL, ".gpg.partial", ".manifest.json.partial"];

/// Whether a file of this name is one that jm has not finished.
fn is_unfinished(name: &str) -> bool {
    UNFINISHED.iter().any(|ending| name.ends_with(ending))
}

/// A manifest is not larger than this.
const LARGEST_MANIFEST: u64 = 64 << 20;

/// A manifest lies beside each file that counts, and says what its content is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifests {
    /// What is added to a file's name to make that of its manifest, such as `.manifest.json`.
    pub(crate) ending: String,
    /// Where in the manifest the file's SHA-256 stands, such as `/sha256`.
    #[serde(default = "sha256")]
    pub(crate) sha256: String,
    /// Files and their SHA-256, in the place of what manifests say, where somebody has proven those: `sums` of
    /// `backup.inventory`. Files that are not among them are left out.
    #[serde(default)]
    pub(crate) proven: Option<BTreeMap<String, String>>,
}

fn sha256() -> String {
    "/sha256".to_owned()
}

/// A file of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileFound {
    pub(crate) path: PathBuf,
    pub(super) bytes: u64,
    pub(super) modified: Option<SystemTime>,
    /// What its manifest says that its SHA-256 is.
    pub(super) vouched: Option<String>,
}

/// What is left out, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct LeftOut {
    /// The name, relative to the directory or the prefix.
    pub(crate) name: String,
    /// Why.
    pub(crate) reason: String,
}

/// What there is to look at, and how.
#[derive(Debug, Clone)]
pub(crate) struct Directory {
    pub(crate) root: PathBuf,
    pub(crate) names: Names,
    pub(crate) follow_links: bool,
    pub(crate) manifests: Option<Manifests>,
}

/// The files of a directory by their names, with slashes.
pub(crate) type Files = BTreeMap<String, FileFound>;

impl Directory {
    /// All files, and what was left out. One that cannot be read is an error: what is not known must not count as missing.
    pub(crate) async fn list(&self) -> Result<(Files, Vec<LeftOut>), StepError> {
        self.list_with(Unfinished::LeftOut).await
    }

    async fn list_with(&self, unfinished: Unfinished) -> Result<(Files, Vec<LeftOut>), StepError> {
        let directory = self.clone();
        let listed = tokio::task::spawn_blocking(move || {
            let mut found = Listing {
                unfinished,
                ..Listing::default()
            };
            directory.walk(&directory.root, "", &mut found)?;
            directory.vouch(&mut found)?;
            Ok((found.files, found.left_out))
        });
        listed
            .await
            .map_err(|error| StepError::failed("looking at the directory was ended").source(error))?
    }

    /// The same, where the directory may be missing: it is made when something goes into it.
    pub(super) async fn list_if_there(&self) -> Result<(Files, Vec<LeftOut>), StepError> {
        match self.list_with(Unfinished::Hidden).await {
            Err(error) if error.kind() == StepErrorKind::NotFound && !self.root.exists() => {
                Ok((Files::new(), Vec::new()))
            }
            outcome => outcome,
        }
    }

    fn walk(&self, folder: &Path, prefix: &str, found: &mut Listing) -> Result<(), StepError> {
        let failed = |error: io::Error| file::failed("look into", folder, error);
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let path = entry.path();
            let Some(last) = entry.file_name().to_str().map(str::to_owned) else {
                let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
                // What lies in such a folder may be meant.
                if path.is_dir() || self.names.mean(&name) {
                    found.leave_out(name, "its name is not UTF-8, so no object can have it");
                }
                continue;
            };
            let name = format!("{prefix}{last}");
            let kind = entry
                .file_type()
                .map_err(|error| file::failed("look at", &path, error))?;
            if kind.is_dir() {
                self.walk(&path, &format!("{name}/"), found)?;
            } else if kind.is_symlink() && path.is_dir() || self.names.mean(&name) {
                // What lies in a folder that a link leads to may be meant, too.
                match found.unfinished {
                    Unfinished::LeftOut if is_unfinished(&name) => found.leave_out(name, "it is not finished"),
                    Unfinished::Hidden if is_unfinished(&name) => {}
                    _ => self.take(kind.is_symlink(), name, path, found)?,
                }
            }
        }
        Ok(())
    }

    fn take(&self, is_link: bool, name: String, path: PathBuf, found: &mut Listing) -> Result<(), StepError> {
        if is_link && !self.follow_links {
            found.leave_out(name, "it is a symbolic link");
            return Ok(());
        }
        let metadata = match std::fs::metadata(&path) {
            Ok(metadata) => metadata,
            // Listed a moment ago, or a link to nothing.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                found.leave_out(name, "it is gone");
                return Ok(());
            }
            Err(error) => return Err(file::failed("look at", &path, error)),
        };
        if metadata.is_file() {
            found.files.insert(name, FileFound::new(path, &metadata));
        } else {
            let reason = if metadata.is_dir() {
                "it is a symbolic link to a directory"
            } else {
                "it is no plain file"
            };
            found.leave_out(name, reason);
        }
        Ok(())
    }

    /// Keeps what a manifest speaks for, and the manifests of it.
    fn vouch(&self, found: &mut Listing) -> Result<(), StepError> {
        let Some(manifests) = &self.manifests else {
            return Ok(());
        };
        let names: Vec<String> = found.files.keys().cloned().collect();
        let is_manifest = |name: &str| {
            let of = name.strip_suffix(&manifests.ending);
            of.is_some_and(|of| found.files.contains_key(of))
        };
        let (manifest_names, others): (Vec<String>, Vec<String>) =
            names.into_iter().partition(|name| is_manifest(name));
        for name in others {
            let manifest = format!("{name}{}", manifests.ending);
            let said = match found.files.get(&manifest) {
                Some(manifest) => manifests.tell(&name, manifest)?,
                None => None,
            };
            if let (Some(sha256), Some(file)) = (said, found.files.get_mut(&name)) {
                file.vouched = Some(sha256);
            } else {
                found.files.remove(&name);
                found.leave_out(name, manifests.silence());
            }
        }
        for name in manifest_names {
            let of = name.strip_suffix(&manifests.ending).unwrap_or_default();
            if !found.files.contains_key(of) {
                found.files.remove(&name);
            }
        }
        Ok(())
    }
}

impl Manifests {
    /// The SHA-256 of a file, as far as it can be believed.
    fn tell(&self, name: &str, manifest: &FileFound) -> Result<Option<String>, StepError> {
        match &self.proven {
            Some(proven) => Ok(proven.get(name).map(|sum| sum.to_ascii_lowercase())),
            None => self.read(manifest),
        }
    }

    fn silence(&self) -> &'static str {
        match self.proven {
            Some(_) => "no manifest of it was proven",
            None => "no manifest beside it tells its SHA-256",
        }
    }

    fn read(&self, manifest: &FileFound) -> Result<Option<String>, StepError> {
        if manifest.bytes > LARGEST_MANIFEST {
            return Ok(None);
        }
        let text = std::fs::read(&manifest.path).map_err(|error| file::failed("read", &manifest.path, error))?;
        let Ok(value) = serde_json::from_slice::<serde_json::Value>(&text) else {
            return Ok(None);
        };
        let said = value.pointer(&self.sha256).and_then(serde_json::Value::as_str);
        let is_sha256 = |text: &&str| text.len() == 64 && hex::decode(text).is_ok();
        Ok(said.filter(is_sha256).map(str::to_ascii_lowercase))
    }
}

impl FileFound {
    fn new(path: PathBuf, metadata: &Metadata) -> Self {
        Self {
            path,
            bytes: metadata.len(),
            modified: metadata.modified().ok(),
            vouched: None,
        }
    }

    /// Takes the file as it is now.
    pub(super) fn refresh(&mut self) -> io::Result<()> {
        let metadata = std::fs::metadata(&self.path)?;
        self.bytes = metadata.len();
        self.modified = metadata.modified().ok();
        Ok(())
    }

    /// Whether the file is as it was when it was listed.
    pub(super) fn is_unchanged(&self) -> bool {
        std::fs::metadata(&self.path).is_ok_and(|now| now.len() == self.bytes && now.modified().ok() == self.modified)
    }
}

#[derive(Default)]
struct Listing {
    files: Files,
    left_out: Vec<LeftOut>,
    unfinished: Unfinished,
}

/// What becomes of jm's unfinished files.
#[derive(Debug, Clone, Copy, Default)]
enum Unfinished {
    /// They are told of: another step may be writing one, or was killed.
    #[default]
    LeftOut,
    /// They are nobody's business in the directory that is written to.
    Hidden,
}

impl Listing {
    fn leave_out(&mut self, name: String, reason: &str) {
        let reason = reason.to_owned();
        self.left_out.push(LeftOut { name, reason });
    }
}

/// Where an object of this name goes, within the directory; why it goes nowhere.
pub(super) fn place(root: &Path, name: &str) -> Result<PathBuf, &'static str> {
    if name.is_empty() || name.ends_with('/') {
        return Err("it is a folder's mark, and no file can have its name");
    }
    if name.contains('\0') || name.split('/').any(str::is_empty) {
        return Err("no file can have its name");
    }
    let relative = Path::new(name);
    let stays = relative.components().all(|part| matches!(part, Component::Normal(_)));
    if !stays || name.split('/').any(|part| part == "." || part == "..") {
        return Err("its name leads out of the directory");
    }
    if is_unfinished(name) {
        return Err("its name is that of an unfinished file");
    }
    Ok(root.join(relative))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_the_directory() {
        let root = Path::new("/root");
        for name in [
            "",
            "/",
            "a/",
            "/a",
            "..",
            "../a",
            "a/../../b",
            "a//b",
            "a/./b",
            "a\0",
            "a.jm-partial",
            "backup.gpg.partial",
        ] {
            assert!(place(root, name).is_err(), "{name:?}");
        }
        assert_eq!(place(root, "a/..b/c"), Ok(PathBuf::from("/root/a/..b/c")));
        assert_eq!(place(root, "nav.partial"), Ok(PathBuf::from("/root/nav.partial")));
    }
}
