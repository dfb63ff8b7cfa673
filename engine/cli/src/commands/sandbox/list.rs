//! `jm sandbox list`: the sandboxes of this user on this machine. A drill that was killed has left its own behind.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jm_sandbox::Description;
use serde_json::json;

use crate::args::{Format, SandboxListArgs};
use crate::commands::Outcome;
use crate::exit::Exit;
use crate::report::table;
use crate::ui::Ui;

/// What the directories of sandboxes begin with for which nobody named a place.
pub(super) const PREFIX: &str = "jm-sandbox-";

/// A sandbox in the folder for temporary files.
pub(in crate::commands) struct Found {
    /// Where it lives.
    pub(in crate::commands) directory: PathBuf,
    /// What it is, where it is up. Else only its data is left.
    pub(in crate::commands) up: Option<Description>,
}

/// All of this user, by the names of their directories.
pub(in crate::commands) fn all() -> Vec<Found> {
    let entries = std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
    let mut directories: Vec<PathBuf> = entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX))
        .map(|entry| entry.path())
        .filter(|path| is_ours(path) && path.join("options.json").exists())
        .collect();
    directories.sort();
    let found = |directory: PathBuf| Found {
        up: super::find(&directory).ok().flatten(),
        directory,
    };
    directories.into_iter().map(found).collect()
}

fn is_ours(path: &Path) -> bool {
    let found = std::fs::symlink_metadata(path);
    found.is_ok_and(|found| found.is_dir() && found.uid() == rustix::process::geteuid().as_raw())
}

pub(in crate::commands) fn list(args: &SandboxListArgs, ui: &Ui) -> Outcome {
    let found = all();
    match args.format {
        Format::Json => {
            let sandboxes: Vec<_> = found.iter().map(as_json).collect();
            ui.out(format!("{:#}", json!({ "version": 1, "sandboxes": sandboxes })));
        }
        Format::Human if found.is_empty() => ui.say("there are no sandboxes; `jm sandbox up` starts one"),
        Format::Human => {
            let rows: Vec<Vec<String>> = found.iter().map(row).collect();
            ui.out_all(&table::render(&["DIRECTORY", "STATUS", "SINCE"], &rows, ui.page()));
            ui.say("`jm sandbox run --directory DIRECTORY -- CMD` runs a command in one, `jm sandbox down --directory DIRECTORY` ends it");
        }
    }
    Ok(Exit::Done)
}

fn as_json(found: &Found) -> serde_json::Value {
    json!({
        "directory": found.directory,
        "up": found.up.is_some(),
        "pid": found.up.as_ref().map(|up| up.pid),
        "started_at": found.up.as_ref().map(|up| up.started_at),
    })
}

fn row(found: &Found) -> Vec<String> {
    let since = |up: &Description| up.started_at.strftime("%Y-%m-%d %H:%M:%SZ").to_string();
    vec![
        found.directory.display().to_string(),
        if found.up.is_some() { "up" } else { "data only" }.to_owned(),
        found.up.as_ref().map(since).unwrap_or_default(),
    ]
}
