//! `jm lock show|release`: who holds which targets, and taking a lock from somebody who is gone.

use jm_run::lock::{self, Lease};
use serde_json::json;

use crate::args::{Format, LockReleaseArgs, RunListArgs};
use crate::commands::Outcome;
use crate::exit::{CommandError, Exit};
use crate::report::table;
use crate::ui::Ui;
use crate::{environment, launch};

pub(super) fn show(args: &RunListArgs, ui: &Ui) -> Outcome {
    let locks = launch::state()?.locks();
    let host = environment::host();
    let leases: Vec<(Lease, bool)> = lock::leases(&locks)
        .into_iter()
        .filter(|lease| !lease.released)
        .map(|lease| {
            let held = lock::is_held(&locks, &lease, &host);
            (lease, held)
        })
        .collect();
    match args.format {
        Format::Json => {
            let leases: Vec<_> = leases
                .iter()
                .map(|(lease, held)| json!({ "lease": lease, "held": held }))
                .collect();
            ui.out(format!("{:#}", json!({ "version": 1, "locks": leases })));
        }
        Format::Human if leases.is_empty() => ui.say("no targets are locked"),
        Format::Human => {
            let rows: Vec<Vec<String>> = leases.iter().map(|(lease, held)| row(lease, *held)).collect();
            ui.out_all(&table::render(
                &["TARGETS", "HELD", "SINCE", "RUN", "BY"],
                &rows,
                ui.width(),
            ));
        }
    }
    Ok(Exit::Done)
}

fn row(lease: &Lease, held: bool) -> Vec<String> {
    vec![
        lease.targets.clone(),
        if held {
            "yes".to_owned()
        } else {
            "no, its owner is gone".to_owned()
        },
        lease.since.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
        lease.run.short().to_owned(),
        format!("{} on {}, process {}", lease.owner, lease.host, lease.pid),
    ]
}

pub(super) fn release(args: &LockReleaseArgs, ui: &Ui) -> Outcome {
    let locks = launch::state()?.locks();
    match lock::release(&locks, &args.name, &environment::host(), args.force) {
        Ok(lease) => {
            ui.say(format!(
                "targets `{}` are free; run {} had them",
                lease.targets, lease.run
            ));
            Ok(Exit::Done)
        }
        Err(error) => Err(refused(error)),
    }
}

/// The error for a lock that cannot be had.
pub(super) fn refused(error: lock::LockError) -> CommandError {
    let (exit, hint) = match &error {
        lock::LockError::Held(lease) => (
            Exit::Locked,
            Some(format!(
                "wait for it (`jm run watch {}`), or, if its owner is gone, `jm lock release {}`",
                lease.run.short(),
                lease.targets
            )),
        ),
        lock::LockError::Free(_) => (Exit::Usage, Some("`jm lock show` lists the locks".to_owned())),
        lock::LockError::Journal(_) => (Exit::State, None),
    };
    let wrapped = CommandError::new(exit, error.to_string());
    match hint {
        Some(hint) => wrapped.hint(hint),
        None => wrapped,
    }
}
