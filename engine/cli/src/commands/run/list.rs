//! `jm run list`: all runs of this machine, newest first.

use std::time::Duration;

use jiff::Timestamp;
use jm_run::{RunDir, RunState};
use schemars::JsonSchema;
use serde::Serialize;

use crate::args::{Format, RunListArgs};
use crate::commands::Outcome;
use crate::exit::Exit;
use crate::launch;
use crate::report::document::Document;
use crate::report::{table, time};
use crate::ui::Ui;

/// The runs of a machine.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::commands) struct RunList {
    /// Newest first.
    runs: Vec<ListedRun>,
}

/// A run in short.
#[derive(Debug, Serialize, JsonSchema)]
struct ListedRun {
    id: String,
    /// Its plan's name; none where its journal cannot be read.
    plan: Option<String>,
    /// Where it stands, such as `completed`, `running`, `interrupted`, `unreadable` or `never began`.
    status: String,
    /// When it was begun (RFC 3339).
    #[schemars(with = "Option<String>")]
    started_at: Option<Timestamp>,
}

/// A run in one line.
struct Entry {
    id: String,
    status: String,
    /// Of a run whose journal can be read.
    told: Option<Told>,
}

struct Told {
    plan: String,
    started: Timestamp,
    took: Duration,
}

pub(in crate::commands) fn list(args: &RunListArgs, ui: &Ui) -> Outcome {
    let runs = launch::state()?.runs().map_err(super::unusable)?;
    let entries: Vec<Entry> = runs.iter().map(entry).collect();
    match args.format {
        Format::Json => {
            let runs = entries.into_iter().map(ListedRun::of).collect();
            Document::of(RunList { runs }).print(ui);
        }
        Format::Human if entries.is_empty() => ui.say("no runs yet; `jm plan run PLAN` begins one"),
        Format::Human => {
            let rows: Vec<Vec<String>> = entries
                .into_iter()
                .map(|entry| {
                    let (started, took, plan) = entry.told.map_or_else(
                        || ("-".to_owned(), "-".to_owned(), "-".to_owned()),
                        |told| (shown(told.started), time::duration(told.took), told.plan),
                    );
                    vec![entry.id, entry.status, started, took, plan]
                })
                .collect();
            ui.out_all(&table::render(
                &["RUN", "STATUS", "STARTED", "TOOK", "PLAN"],
                &rows,
                ui.page(),
            ));
        }
    }
    Ok(Exit::Done)
}

impl ListedRun {
    fn of(entry: Entry) -> Self {
        let (plan, started_at) = entry.told.map(|told| (told.plan, told.started)).unzip();
        Self {
            id: entry.id,
            plan,
            status: entry.status,
            started_at,
        }
    }
}

fn entry(run: &RunDir) -> Entry {
    let id = run.id().to_string();
    let known = run.read().ok().and_then(|reading| {
        let (standing, _) = jm_run::standing(&reading.records);
        let state = RunState::replay(standing).ok()?;
        let last = standing.last()?.at;
        Some((state, last))
    });
    let Some((state, last)) = known else {
        let status = if run.has_begun() { "unreadable" } else { "never began" };
        return Entry {
            id,
            status: status.to_owned(),
            told: None,
        };
    };
    let until = if run.is_alive() { jm_step::clock::now() } else { last };
    Entry {
        id,
        status: super::status(run, &state),
        told: state.opened().map(|opened| Told {
            plan: opened.run.plan.clone(),
            started: opened.run.started_at,
            took: jm_run::taken(&opened.run, until),
        }),
    }
}

fn shown(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}
