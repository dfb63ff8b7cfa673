//! `jm lock show|release`: who holds which targets, and taking a lock from somebody who is gone.

use std::collections::BTreeSet;

use jm_run::lock::{self, Lease, LockError};
use schemars::JsonSchema;
use serde::Serialize;

use crate::args::{Format, LockReleaseArgs, RunListArgs};
use crate::commands::{Outcome, run};
use crate::exit::{CommandError, Exit};
use crate::report::document::Document;
use crate::report::table;
use crate::ui::Ui;
use crate::{environment, launch};

/// Who holds which systems.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct LockShow {
    locks: Vec<ShownLock>,
}

/// Who holds a system.
#[derive(Debug, Serialize, JsonSchema)]
struct ShownLock {
    lease: Lease,
    /// Whether its owner is still there.
    held: bool,
}

pub(super) fn show(args: &RunListArgs, ui: &Ui) -> Outcome {
    let locks = launch::state()?.locks();
    let host = environment::host();
    let mut leases = lock::leases(&locks);
    leases.retain(|lease| !lease.released);
    let held = |lease: &Lease| lock::is_held(&locks, lease, &host);
    match args.format {
        Format::Json => {
            let locks = leases.into_iter().map(|lease| ShownLock {
                held: held(&lease),
                lease,
            });
            Document::of(LockShow { locks: locks.collect() }).print(ui);
        }
        Format::Human if leases.is_empty() => ui.say("no targets are locked"),
        Format::Human => {
            let of_one_run = |a: &Lease, b: &Lease| (&a.targets, &a.run) == (&b.targets, &b.run);
            let rows: Vec<Vec<String>> = leases.chunk_by(of_one_run).map(|of_run| row(of_run, held)).collect();
            ui.out_all(&table::render(
                &["NAME", "TARGETS", "HELD", "SINCE", "RUN", "BY"],
                &rows,
                ui.page(),
            ));
        }
    }
    Ok(Exit::Done)
}

/// A run in one line, with the targets whose systems it holds, by address, identity or both.
fn row(leases: &[Lease], held: impl Fn(&Lease) -> bool) -> Vec<String> {
    let lease = &leases[0];
    let targets: BTreeSet<&str> = leases.iter().map(|lease| lease.target.as_str()).collect();
    vec![
        lease.targets.clone(),
        targets.into_iter().collect::<Vec<_>>().join(", "),
        if leases.iter().any(held) {
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
    let leases = lock::release(&locks, &args.name, &environment::host(), args.force).map_err(refused)?;
    let runs: BTreeSet<&str> = leases.iter().map(|lease| lease.run.as_str()).collect();
    ui.say(format!(
        "targets `{}` are free; {} {} had them",
        args.name,
        if runs.len() == 1 { "run" } else { "runs" },
        runs.into_iter().collect::<Vec<_>>().join(", ")
    ));
    Ok(Exit::Done)
}

/// The error for a lock that cannot be had.
pub(super) fn refused(error: LockError) -> CommandError {
    let (exit, hint) = match &error {
        LockError::Held(lease) => (
            Exit::Locked,
            Some(format!(
                "wait for it (`jm run watch {}`), or, if its owner is gone, `jm lock release {}`",
                lease.run.short(),
                lease.targets
            )),
        ),
        LockError::Taken { hint, .. } => (Exit::Locked, Some(format!("wait until that run is over; {hint}"))),
        LockError::Free(_) => (Exit::Usage, Some("`jm lock show` lists the locks".to_owned())),
        LockError::Journal(error) => {
            let told = CommandError::state("the locks of this run cannot be kept");
            return run::with_hint(told, error);
        }
    };
    let wrapped = CommandError::new(exit, error.to_string());
    match hint {
        Some(hint) => wrapped.hint(hint),
        None => wrapped,
    }
}
