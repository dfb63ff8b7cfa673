//! `jm run list`: all runs of this machine, newest first.

use jm_run::{RunDir, RunState};
use serde_json::json;

use crate::args::{Format, RunListArgs};
use crate::commands::Outcome;
use crate::exit::Exit;
use crate::launch;
use crate::report::{table, time};
use crate::ui::Ui;

/// A run in one line.
struct Entry {
    id: String,
    plan: String,
    status: String,
    started: String,
    took: String,
}

pub(in crate::commands) fn list(args: &RunListArgs, ui: &Ui) -> Outcome {
    let runs = launch::state()?.runs().map_err(super::unusable)?;
    let entries: Vec<Entry> = runs.iter().map(entry).collect();
    match args.format {
        Format::Json => {
            let entries: Vec<_> = entries
                .iter()
                .map(|entry| json!({ "id": entry.id, "plan": entry.plan, "status": entry.status, "started_at": entry.started }))
                .collect();
            ui.out(format!("{:#}", json!({ "version": 1, "runs": entries })));
        }
        Format::Human if entries.is_empty() => ui.say("no runs yet; `jm plan run PLAN` begins one"),
        Format::Human => {
            let rows: Vec<Vec<String>> = entries
                .into_iter()
                .map(|entry| vec![entry.id, entry.status, entry.started, entry.took, entry.plan])
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

fn entry(run: &RunDir) -> Entry {
    let id = run.id().to_string();
    let Ok(reading) = run.read() else {
        return Entry {
            id,
            plan: "-".to_owned(),
            status: "unreadable".to_owned(),
            started: "-".to_owned(),
            took: "-".to_owned(),
        };
    };
    let state = RunState::replay(&reading.records).unwrap_or_default();
    let first = reading.records.first();
    let last = reading.records.last();
    let took = first
        .zip(last)
        .and_then(|(first, last)| std::time::Duration::try_from(last.at.duration_since(first.at)).ok());
    Entry {
        id,
        plan: state.opened().map(|opened| opened.run.plan.clone()).unwrap_or_default(),
        status: super::status(run, &state),
        started: first
            .map(|record| record.at.strftime("%Y-%m-%d %H:%M:%SZ").to_string())
            .unwrap_or_default(),
        took: took.map(time::duration).unwrap_or_default(),
    }
}
