//! A dump into a database: `pg_restore` where it is a custom one, the script's reader, psql.

use std::process::ExitStatus;

use jm_client_postgres::ChildEnvironment;
use jm_step::process::Process;
use jm_step::{StepError, StepErrorKind};
use rand::Rng;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::Restoring;
use super::list;
use crate::archive::{archive_major, read_script, sniff};
use crate::flow::{Failure, Flow};
use crate::name::{ContentKind, Format};
use crate::openpgp::OpenError;
use crate::refusals::of_another_kind;
use crate::script::Rules;
use crate::tools::{ending, feed, output, tail, write};

/// What psql answers when it is asked for its transaction.
pub(super) const TRANSACTION: &str = "jm-transaction ";

/// A psql that is being fed.
pub(super) struct Session {
    child: Process,
    stdin: ChildStdin,
    said: JoinHandle<String>,
    transaction: Option<oneshot::Receiver<String>>,
    /// The password's file lives until psql has ended.
    _reach: ChildEnvironment,
}

impl Restoring<'_> {
    /// The dump as SQL that psql may see.
    pub(super) async fn as_script(&self, mut dump: Flow, in_transaction: bool) -> Result<Flow, Failure> {
        let rules = Rules {
            in_transaction,
            drop_transaction_timeout: self.server_major < 17,
        };
        let sql = match sniff(&mut dump).await? {
            Format::Custom => self.convert(dump).await?,
            other @ (Format::Kubernetes | Format::Files | Format::Code) => {
                return Err(of_another_kind(&self.entry.name, other.kind(), ContentKind::Database).into());
            }
            Format::Plain => {
                self.fitness.whole_or_not(self.request.owners)?;
                dump
            }
        };
        Ok(read_script(sql, rules))
    }

    async fn convert(&self, mut dump: Flow) -> Result<Flow, Failure> {
        let at_least = archive_major(&mut dump).await?.max(self.entry.made_by_major());
        let tool = self.tools.tool("pg_restore", at_least, self.server_major).await?;
        let mut args = vec!["--file=-".to_owned()];
        if self.without_owners() {
            args.extend(["--no-owner".to_owned(), "--no-privileges".to_owned()]);
        }
        let parts = list::without(&mut dump, &self.fitness.left_out, &tool, self.tools).await?;
        args.extend(
            parts
                .iter()
                .map(|parts| format!("--use-list={}", parts.path().display())),
        );
        let mut child = self.tools.spawn(&tool, &args, None, true)?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (Some(mut stdin), Some(stdout)) = (stdin, stdout) else {
            return Err(StepError::failed("`pg_restore` has no pipes").into());
        };
        let said = tokio::spawn(tail(child.stderr.take()));
        let fed = tokio::spawn(async move {
            let fed = feed(&mut dump, &mut stdin).await?;
            drop(stdin);
            // What it does not want is read all the same: the end of the file must be proven.
            if !fed {
                dump.drain().await?;
            }
            Ok::<_, Failure>(())
        });
        Ok(output(stdout, async move {
            let status = child.wait().await?;
            drop(parts);
            fed.await
                .map_err(|_| StepError::failed("feeding `pg_restore` was given up"))??;
            if status.success() {
                return Ok(());
            }
            let said = said.await.unwrap_or_default();
            Err(OpenError::Damaged(format!("`pg_restore` cannot read it ({}): {said}", ending(status))).into())
        }))
    }

    /// Starts psql in a database, with meta-commands turned off where it can.
    pub(super) async fn psql(&self, database: &str) -> Result<Session, StepError> {
        let tool = self.tools.tool("psql", 0, self.server_major).await?;
        let supervisor = &self.tools.supervisor;
        let reach = self
            .postgres
            .child_environment(database, Some(&self.request.step), supervisor)?;
        let args = [
            "--no-psqlrc",
            "--quiet",
            "--no-password",
            "--tuples-only",
            "--no-align",
            "--set=ON_ERROR_STOP=1",
            // The rows that an error would show are people's data.
            "--set=VERBOSITY=terse",
            "--set=SHOW_CONTEXT=never",
            "--file=-",
        ];
        let mut child = self.tools.spawn(&tool, &args.map(str::to_owned), Some(&reach), true)?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (Some(stdin), Some(stdout)) = (stdin, stdout) else {
            return Err(StepError::failed("`psql` has no pipes"));
        };
        let said = tokio::spawn(tail(child.stderr.take()));
        let (sender, transaction) = oneshot::channel();
        tokio::spawn(listen(stdout, sender));
        let mut session = Session {
            child,
            stdin,
            said,
            transaction: Some(transaction),
            _reach: reach,
        };
        if tool.version.restricts() {
            let key: String = rand::rng()
                .sample_iter(rand::distr::Alphanumeric)
                .take(32)
                .map(char::from)
                .collect();
            session.say(&format!("\\restrict {key}\n")).await;
        } else {
            let line = format!(
                "`psql` {} knows no `\\restrict`: update it before a dump is restored that somebody else made (CVE-2025-8714)",
                tool.version.text
            );
            self.observer.log(line).await;
        }
        Ok(session)
    }
}

/// Reads all that psql prints, and hands on the one line that is wanted.
async fn listen(stdout: ChildStdout, sender: oneshot::Sender<String>) {
    let mut lines = BufReader::new(stdout).lines();
    let mut sender = Some(sender);
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some(id) = line.strip_prefix(TRANSACTION) {
            if let Some(sender) = sender.take() {
                // Nobody waits where the restore is aside.
                drop(sender.send(id.to_owned()));
            }
        }
    }
}

impl Session {
    /// Sends SQL. `false` where psql has stopped reading: [`Session::end`] tells why.
    pub(super) async fn say(&mut self, sql: &str) -> bool {
        write(&mut self.stdin, sql.as_bytes()).await
    }

    /// Sends a script to its end. `false` as above.
    pub(super) async fn feed(&mut self, script: &mut Flow) -> Result<bool, Failure> {
        feed(script, &mut self.stdin).await
    }

    /// The id of the transaction that psql was asked for.
    pub(super) async fn transaction(&mut self) -> Option<String> {
        self.transaction.take()?.await.ok()
    }

    /// Closes psql's input and waits for its end.
    pub(super) async fn end(self) -> Result<(), StepError> {
        let Self {
            mut child, stdin, said, ..
        } = self;
        drop(stdin);
        let status = child.wait().await?;
        let said = said.await.unwrap_or_default();
        if status.success() {
            Ok(())
        } else {
            Err(refused(status, &said))
        }
    }
}

/// What psql says when it stops, by the words that its user can act on.
fn refused(status: ExitStatus, said: &str) -> StepError {
    let errors: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = errors
        .iter()
        .rev()
        .take(4)
        .rev()
        .copied()
        .collect::<Vec<_>>()
        .join("; ");
    let message = format!(
        "the server does not take the backup (`psql`: {}): {last}",
        ending(status)
    );
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    let (kind, hint) = if has(&["No space left", "could not extend file", "disk full"]) {
        (
            StepErrorKind::Failed,
            "the server's disk is full: free space or add some, then resume",
        )
    } else if has(&[
        "terminating connection",
        "server closed the connection",
        "connection to server",
        "shutting down",
    ]) {
        (
            StepErrorKind::Unavailable,
            "the connection was lost: see that the server runs, and look into its log",
        )
    } else if has(&["permission denied to create extension"]) {
        (
            StepErrorKind::Denied,
            "let a superuser restore it, or who the service lets create extensions",
        )
    } else if has(&["permission denied", "must be owner", "must be superuser"]) {
        (
            StepErrorKind::Denied,
            "restore as a role that may do it, or with `owners: none`",
        )
    } else if has(&["lock timeout", "out of shared memory"]) {
        (
            StepErrorKind::Conflict,
            "other sessions hold what it needs (run `postgres.quiesce`), or `max_locks_per_transaction` is too low",
        )
    } else if has(&["role \"", "does not exist"]) {
        (
            StepErrorKind::Failed,
            "create what is missing, or restore with `owners: none`",
        )
    } else {
        (StepErrorKind::Failed, "see the step's log and the server's")
    };
    StepError::new(kind, message).hint(hint)
}
