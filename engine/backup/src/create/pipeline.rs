//! `pg_dump`, and what its output passes through on its way to the locations. Back-pressure all along: memory holds a few
//! chunks for each stage, whatever the size of the database.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::future::join_all;
use jm_client_postgres::ChildEnvironment;
use jm_step::process::Process;
use jm_step::{Connection, StepError};

use super::{CreateRequest, Making};
use crate::archive::{Expected, Meter, Tally};
use crate::flow::{Failure, Flow, FlowSender, flow, tap, through};
use crate::key::Passphrase;
use crate::location::{Location, Stored};
use crate::manifest::Sizes;
use crate::name::{BackupName, DumpFormat};
use crate::openpgp::encrypt;
use crate::source;
use crate::tools::{ending, output, tail};

/// Compressing is the slowest part; more threads than this only wait for `pg_dump`.
const MOST_THREADS: usize = 4;

/// A location, and what became of its copy.
pub(crate) type Outcome = (Location, Result<Stored, StepError>);

/// What went through.
#[derive(Debug, Clone)]
pub(crate) struct Totals {
    pub(crate) sha256: String,
    pub(crate) raw_sha256: String,
    pub(crate) bytes: Sizes,
}

impl Totals {
    pub(crate) fn expected(&self) -> Expected {
        Expected::new(
            (self.bytes.encrypted, self.sha256.clone()),
            (self.bytes.raw, self.raw_sha256.clone()),
        )
    }
}

/// The options that decide about the content.
pub(super) fn content_parameters(request: &CreateRequest) -> Vec<String> {
    let format = match request.format {
        // Compressed by us, on several threads.
        DumpFormat::Custom => &["--format=custom", "--compress=0"][..],
        DumpFormat::Plain => &["--format=plain"],
    };
    format.iter().map(|option| (*option).to_owned()).collect()
}

/// Dumps to all locations at once. A location that fails does not stop the others.
pub(super) async fn run(
    making: &Making<'_>,
    name: &BackupName,
    locations: &[Location],
    snapshot: &str,
    meter: &Meter,
) -> Result<(Vec<Outcome>, Totals), StepError> {
    let said = Said::default();
    let dump = start(making, snapshot, &said)?;
    let sent = send(dump, making.filing.backups.keys().passphrase(), name, locations, meter).await;
    if let Some(warnings) = said.take() {
        making.filing.observer.log(warnings).await;
    }
    match sent {
        Ok(done) => Ok(done),
        Err(failure) => Err(explain(making, failure).await),
    }
}

/// Counts, compresses, encrypts and writes to all locations at once what comes.
pub(crate) async fn send(
    content: Flow,
    passphrase: &Passphrase,
    name: &BackupName,
    locations: &[Location],
    meter: &Meter,
) -> Result<(Vec<Outcome>, Totals), Failure> {
    let raw = Tally::default();
    let (seen, watched) = (raw.clone(), meter.clone());
    let content = tap(
        content,
        move |bytes| {
            seen.add(bytes);
            watched.add(bytes.len());
        },
        || Ok(()),
    );
    let (passphrase, compressed) = (passphrase.clone(), Meter::default());
    let counter = compressed.clone();
    let file = through(content, move |reader| encrypt(reader, &passphrase, threads(), counter));
    let encrypted = Tally::default();
    let (outcomes, sent) = spread(file, name, locations, &encrypted).await;
    sent?;
    let ((raw, raw_sha256), (encrypted, sha256)) = (raw.finish(), encrypted.finish());
    let bytes = Sizes {
        raw,
        compressed: compressed.get(),
        encrypted,
    };
    Ok((
        outcomes,
        Totals {
            sha256,
            raw_sha256,
            bytes,
        },
    ))
}

fn threads() -> usize {
    std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(MOST_THREADS)
}

fn start(making: &Making<'_>, snapshot: &str, said: &Said) -> Result<Flow, StepError> {
    let request = making.request;
    let reach =
        making
            .postgres
            .child_environment(&request.database, Some(&request.step), &making.filing.tools.supervisor)?;
    let mut args = content_parameters(request);
    args.extend([
        format!("--snapshot={snapshot}"),
        format!("--lock-wait-timeout={}", request.lock_wait.as_millis()),
        "--no-password".to_owned(),
    ]);
    let mut child = making.filing.tools.spawn(&making.tool, &args, Some(&reach), false)?;
    let stdout = child
        .stdout
        .take()
        .ok_or_else(|| StepError::failed("`pg_dump` has no standard output"))?;
    let errors = tokio::spawn(tail(child.stderr.take()));
    Ok(output(stdout, ended(child, errors, reach, said.clone())))
}

/// The exit status decides, and an error on standard error whatever the status is. The password's file lives until then.
async fn ended(
    mut child: Process,
    errors: tokio::task::JoinHandle<String>,
    reach: ChildEnvironment,
    said: Said,
) -> Result<(), Failure> {
    let status = child.wait().await?;
    drop(reach);
    let errors = errors.await.unwrap_or_default();
    let complains = errors
        .lines()
        .any(|line| line.contains("error:") || line.contains("ERROR:"));
    if status.success() && !complains {
        said.put(errors);
        return Ok(());
    }
    let message = format!("`pg_dump` failed ({}): {}", ending(status), first_lines(&errors));
    let lost = [
        "server closed the connection",
        "connection to server",
        "terminating connection",
    ];
    let error = if lost.iter().any(|words| errors.contains(words)) {
        StepError::unavailable(message).hint("see that the server runs, and look into its log")
    } else {
        StepError::failed(message).hint("the backup was not made; what was written of it is removed")
    };
    Err(error.into())
}

fn first_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).take(6).collect();
    if lines.is_empty() {
        "it said nothing".to_owned()
    } else {
        lines.join("; ")
    }
}

async fn explain(making: &Making<'_>, failure: Failure) -> StepError {
    let error = failure.into_error();
    // `--lock-wait-timeout` is a statement timeout to the server.
    let waited = error.message().contains("timeout") && error.message().contains("LOCK TABLE");
    if !waited {
        return error;
    }
    match source::lock_holders(making.postgres.reader(), &making.request.database).await {
        Ok(holders) if !holders.is_empty() => {
            StepError::conflict(format!("a table stayed locked: {}", holders.join("; ")))
                .hint("let that session end, or end it with `pg_terminate_backend`, and try again")
                .source(error)
        }
        _ => error,
    }
}

/// Writes to every location, each at the pace of the slowest.
async fn spread(
    mut file: Flow,
    name: &BackupName,
    locations: &[Location],
    tally: &Tally,
) -> (Vec<Outcome>, Result<(), Failure>) {
    let (mut senders, stores): (Vec<_>, Vec<_>) = locations
        .iter()
        .map(|location| {
            let (sender, copy) = flow();
            let store = async move {
                (
                    location.clone(),
                    location.store(name.as_str(), copy).await.map_err(Failure::into_error),
                )
            };
            (Some(sender), store)
        })
        .unzip();
    let send = async {
        loop {
            match file.next().await {
                Ok(Some(bytes)) => {
                    tally.add(&bytes);
                    if !send_to_all(&mut senders, &bytes).await {
                        // Every location has failed, and its outcome says why.
                        return Ok(());
                    }
                }
                Ok(None) => {
                    for sender in senders.iter_mut().filter_map(Option::take) {
                        drop(sender.end().await);
                    }
                    return Ok(());
                }
                Err(failure) => {
                    for sender in senders.iter_mut().filter_map(Option::take) {
                        sender.fail(StepError::cancelled("the dump failed")).await;
                    }
                    return Err(failure);
                }
            }
        }
    };
    let (sent, outcomes) = tokio::join!(send, join_all(stores));
    (outcomes, sent)
}

async fn send_to_all(senders: &mut [Option<FlowSender>], bytes: &Bytes) -> bool {
    let mut any = false;
    for slot in senders {
        let gone = match slot {
            Some(sender) => sender.send(bytes.clone()).await.is_err(),
            None => continue,
        };
        if gone {
            *slot = None;
        }
        any |= !gone;
    }
    any
}

/// Warnings of a `pg_dump` that succeeded.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<String>>);

impl Said {
    fn put(&self, text: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }

    fn take(&self) -> Option<String> {
        let text = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        Some(text).filter(|text| !text.is_empty())
    }
}
