//! Files: plans, and the targets files beside them.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this module reads and writes the files that people name"
)]

use std::collections::HashSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::exit::{CommandError, Exit};

/// The targets file that a plan uses where none is named.
const TARGETS: &str = "targets.yaml";
/// The largest file that is read as a plan. jm-plan has a limit of its own; this one spares the memory.
const LARGEST: u64 = 16 * 1024 * 1024;

/// The text of a plan or targets file.
pub(crate) fn read(path: &Path) -> Result<String, CommandError> {
    let shown = path.display();
    let cannot = |error: std::io::Error| {
        let wrong = CommandError::new(Exit::Usage, format!("cannot read {shown}: {error}"));
        match error.kind() {
            std::io::ErrorKind::NotFound => wrong.hint("`jm plan list` shows the plans below `plans`"),
            _ => wrong,
        }
    };
    let mut text = String::new();
    // A device has no length and no end.
    let file = std::fs::File::open(path).map_err(cannot)?;
    file.take(LARGEST + 1).read_to_string(&mut text).map_err(cannot)?;
    if text.len() as u64 > LARGEST {
        return Err(CommandError::new(
            Exit::Invalid,
            format!("{shown} is larger than any plan ({LARGEST} bytes)"),
        ));
    }
    Ok(text)
}

/// A path as people at this place write it: from the working directory, where it lies below.
pub(crate) fn shown(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    let below = here.and_then(|here| path.strip_prefix(here).ok().map(Path::to_path_buf));
    below.as_deref().unwrap_or(path).display().to_string()
}

/// A path that means the same wherever it is read.
pub(crate) fn absolute(path: &Path) -> Result<String, CommandError> {
    let path = std::path::absolute(path)
        .map_err(|error| CommandError::usage(format!("cannot find {}", path.display())).cause(&error))?;
    Ok(path.display().to_string())
}

/// Writes a file that only its owner can read: all of it, or what was there before.
pub(crate) fn write(path: &Path, content: &str) -> Result<(), CommandError> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let cannot = |error: std::io::Error| CommandError::usage(format!("cannot write {}: {error}", path.display()));
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(format!(".{}", std::process::id()));
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished);
    let mut file = file.map_err(cannot)?;
    let written = file
        .write_all(content.as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::rename(&unfinished, path));
    written.map_err(|error| {
        drop(std::fs::remove_file(&unfinished));
        cannot(error)
    })
}

/// Writes a file for others to read, and makes the directories that it is to lie in.
pub(crate) fn publish(path: &Path, content: &str) -> Result<(), CommandError> {
    let made = path.parent().map_or(Ok(()), make_directory);
    let written = made.and_then(|()| std::fs::write(path, content));
    written.map_err(|error| CommandError::usage(format!("cannot write {}: {error}", path.display())))
}

/// Makes a directory that somebody names, with those above it.
pub(crate) fn make_directory(path: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(path)
}

/// Begins a file that is written bit by bit.
pub(crate) fn create(path: &Path) -> std::io::Result<Box<dyn std::io::Write + Send>> {
    let file = std::fs::File::create(path)?;
    Ok(Box::new(file))
}

/// The targets file for a plan: the one that is named, else `targets.yaml` beside the plan, where it is there.
pub(crate) fn targets_for(plan: &Path, named: Option<&Path>) -> Option<PathBuf> {
    let beside = || Some(plan.with_file_name(TARGETS)).filter(|file| file.is_file());
    named.map(Path::to_path_buf).or_else(beside)
}

/// The targets file for a step that has no plan: the one that is named, else `targets.yaml` here or in `plans`.
pub(crate) fn targets_here(named: Option<&Path>) -> Option<PathBuf> {
    let here = || {
        [PathBuf::from(TARGETS), Path::new("plans").join(TARGETS)]
            .into_iter()
            .find(|file| file.is_file())
    };
    named.map(Path::to_path_buf).or_else(here)
}

/// The YAML files that paths name: a file itself, of a directory those below it, by name.
pub(crate) fn yaml_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, CommandError> {
    let (mut files, mut walked) = (Vec::new(), HashSet::new());
    for path in paths {
        if path.is_dir() {
            collect(path, &mut files, &mut walked)?;
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

/// `walked` are the directories where it has been: a link may lead back to one.
fn collect(directory: &Path, files: &mut Vec<PathBuf>, walked: &mut HashSet<PathBuf>) -> Result<(), CommandError> {
    let cannot = |error: std::io::Error| CommandError::usage(format!("cannot list {}: {error}", directory.display()));
    if !walked.insert(directory.canonicalize().map_err(cannot)?) {
        return Ok(());
    }
    let entries = std::fs::read_dir(directory).map_err(cannot)?;
    let mut entries: Vec<PathBuf> = entries
        .collect::<Result<Vec<_>, _>>()
        .map_err(cannot)?
        .into_iter()
        .map(|entry| entry.path())
        .collect();
    entries.sort();
    for entry in entries {
        let hidden = entry
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.starts_with('.'));
        let yaml = entry
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml");
        if entry.is_dir() && !hidden {
            collect(&entry, files, walked)?;
        } else if yaml && !hidden {
            files.push(entry);
        }
    }
    Ok(())
}

/// Whether the text is that of a targets file rather than a plan's: it says `kind: Targets` at its top level.
pub(crate) fn is_targets(text: &str) -> bool {
    text.lines().any(|line| {
        line.strip_prefix("kind:").is_some_and(|kind| {
            kind.split('#')
                .next()
                .is_some_and(|kind| kind.trim().trim_matches(['"', '\'']) == "Targets")
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_apart_by_their_top_level() {
        assert!(is_targets("apiVersion: jm/v1\nkind: Targets # for production\n"));
        assert!(!is_targets("apiVersion: jm/v1\nname: x\nsteps:\n  - kind: Targets\n"));
    }

    #[test]
    fn directories_are_walked_in_order_and_hidden_files_left_alone() {
        let root = tempfile::tempdir().expect("a directory");
        for file in ["b.yaml", "a.yml", "sub/c.yaml", ".hidden/d.yaml", "notes.md"] {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            std::fs::write(path, "").expect("written");
        }
        let found = yaml_files(&[root.path().to_path_buf()]).expect("listed");
        let names: Vec<_> = found
            .iter()
            .map(|file| file.strip_prefix(root.path()).expect("below").display().to_string())
            .collect();
        assert_eq!(names, ["a.yml", "b.yaml", "sub/c.yaml"]);
    }
}
