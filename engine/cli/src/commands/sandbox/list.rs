//! `jm sandbox list`: the sandboxes of this user on this machine. A drill that was killed has left its own behind.

use std::path::PathBuf;

use jiff::Timestamp;
use jm_sandbox::Description;
use schemars::JsonSchema;
use serde::Serialize;

use crate::args::{Format, SandboxListArgs};
use crate::commands::sandbox::places;
use crate::exit::Exit;
use crate::report::document::Document;
use crate::report::table;
use crate::ui::Ui;

/// A sandbox, wherever it is.
pub(in crate::commands) struct Found {
    /// Where it lives.
    pub(in crate::commands) directory: PathBuf,
    /// What it is, where it is up. Else only its data is left.
    pub(in crate::commands) up: Option<Description>,
}

/// The sandboxes of this user.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::commands) struct SandboxList {
    sandboxes: Vec<ShownSandbox>,
}

/// A sandbox.
#[derive(Debug, Serialize, JsonSchema)]
struct ShownSandbox {
    /// Where it lives.
    directory: PathBuf,
    /// Whether it is up. Else only its data is left.
    up: bool,
    /// The process that holds it.
    pid: Option<u32>,
    /// When it became ready.
    #[schemars(with = "Option<String>")]
    started_at: Option<Timestamp>,
}

impl ShownSandbox {
    fn of(found: &Found) -> Self {
        let up = found.up.as_ref();
        Self {
            directory: found.directory.clone(),
            up: up.is_some(),
            pid: up.map(|up| up.pid),
            started_at: up.map(|up| up.started_at),
        }
    }
}

/// All of this user, by the names of their directories.
pub(in crate::commands) fn all() -> Vec<Found> {
    let found = |directory: PathBuf| Found {
        up: super::find(&directory).ok().flatten(),
        directory,
    };
    places::all().into_iter().map(found).collect()
}

pub(in crate::commands) fn list(args: &SandboxListArgs, ui: &Ui) -> Exit {
    let found = all();
    match args.format {
        Format::Json => {
            let sandboxes = found.iter().map(ShownSandbox::of).collect();
            Document::of(SandboxList { sandboxes }).print(ui);
        }
        Format::Human if found.is_empty() => ui.say("there are no sandboxes; `jm sandbox up` starts one"),
        Format::Human => {
            let rows: Vec<Vec<String>> = found.iter().map(row).collect();
            ui.out_all(&table::render(&["DIRECTORY", "STATUS", "SINCE"], &rows, ui.page()));
            ui.say("`jm sandbox run --directory DIRECTORY -- CMD` runs a command in one, `jm sandbox down --directory DIRECTORY` ends it");
        }
    }
    Exit::Done
}

fn row(found: &Found) -> Vec<String> {
    let since = |up: &Description| up.started_at.strftime("%Y-%m-%d %H:%M:%SZ").to_string();
    vec![
        found.directory.display().to_string(),
        if found.up.is_some() { "up" } else { "data only" }.to_owned(),
        found.up.as_ref().map(since).unwrap_or_default(),
    ]
}
