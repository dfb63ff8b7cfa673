//! What the servers themselves wrote down: every statement that PostgreSQL was sent, every call of Kubernetes' API.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::environment::World;
use crate::statements::{functions, only_reads};

/// How statements are marked in the log, where their text begins after a colon.
const MARKS: [&str; 2] = ["statement", "execute"];
/// Calls that only look.
const LOOKS: [&str; 3] = ["get", "list", "watch"];
/// Who calls Kubernetes besides jm: the control plane itself, and these tests.
const OTHERS: [&str; 5] = ["kube-", "kwok", "kubectl", "cluster-", "Go-http-client"];
/// Functions that PostgreSQL calls volatile, and that change nothing: what they give may differ from call to call.
const VOLATILE: [&str; 4] = [
    "pg_control_system",
    "pg_database_size",
    "pg_is_in_recovery",
    "pg_total_relation_size",
];

/// Where the logs stood.
pub(super) struct Logs {
    postgres: usize,
    kubernetes: usize,
}

/// What was written since.
pub(super) struct Heard {
    statements: Vec<Logged>,
    calls: Vec<Value>,
}

/// A statement with the name of its session.
#[derive(Debug, PartialEq, Eq)]
struct Logged {
    session: String,
    text: String,
}

fn postgres_log(world: &World) -> PathBuf {
    world.folder().join("postgres/postgres.log")
}

fn audit_log(world: &World) -> PathBuf {
    world.folder().join("control-plane/audit.log")
}

fn read_from(log: &Path, start: usize) -> Result<String> {
    let text = std::fs::read(log)?;
    let since = text.get(start..).context("the log became shorter")?;
    Ok(String::from_utf8_lossy(since).into_owned())
}

impl Logs {
    pub(super) fn from_here(world: &World) -> Result<Self> {
        Ok(Self {
            postgres: std::fs::read(postgres_log(world))?.len(),
            kubernetes: std::fs::read(audit_log(world))?.len(),
        })
    }

    pub(super) fn since(&self, world: &World) -> Result<Heard> {
        let calls = read_from(&audit_log(world), self.kubernetes)?;
        Ok(Heard {
            statements: logged(&read_from(&postgres_log(world), self.postgres)?),
            // The first line may have been begun before.
            calls: calls
                .lines()
                .filter_map(|line| serde_json::from_str(line).ok())
                .collect(),
        })
    }
}

impl Heard {
    /// All that was asked for is to be told something; and jm did ask both.
    pub(super) fn only_reading(&self, world: &World) -> Result<()> {
        let of_jm = self
            .statements
            .iter()
            .filter(|said| said.session.starts_with("jm/"))
            .count();
        ensure!(of_jm > 3, "only {of_jm} statements of jm: {:?}", self.statements);
        let changes = self.changes();
        ensure!(changes.is_empty(), "sent to PostgreSQL: {changes:?}");
        let called: BTreeSet<String> = self.statements.iter().flat_map(|said| functions(&said.text)).collect();
        let names: Vec<String> = called.iter().map(|name| format!("'{name}'")).collect();
        let query = format!(
            "SELECT DISTINCT proname FROM pg_proc WHERE provolatile = 'v' AND proname IN ({})",
            names.join(", ")
        );
        let volatile = world.query("postgres", &query)?;
        let unknown: Vec<_> = volatile
            .iter()
            .filter(|name| !VOLATILE.contains(&name.as_str()))
            .collect();
        ensure!(unknown.is_empty(), "functions that may do something: {unknown:?}");
        let calls = self.calls_of_jm();
        ensure!(!calls.is_empty(), "jm did not look at Kubernetes");
        let writes: Vec<_> = calls.iter().filter(|call| !is_look(call)).collect();
        ensure!(writes.is_empty(), "sent to Kubernetes: {writes:?}");
        Ok(())
    }

    /// The opposite: what changes something is seen here.
    pub(super) fn more_than_reading(&self) -> Result<()> {
        let changes = self.changes();
        for word in ["CREATE DATABASE", "pg_terminate_backend", "RENAME TO"] {
            ensure!(
                changes.iter().any(|said| said.text.contains(word)),
                "`{word}` is not seen among {changes:?}"
            );
        }
        ensure!(
            self.calls_of_jm().iter().any(|call| call["verb"] == "patch"),
            "no patch is seen"
        );
        Ok(())
    }

    fn changes(&self) -> Vec<&Logged> {
        self.statements.iter().filter(|said| !only_reads(&said.text)).collect()
    }

    fn calls_of_jm(&self) -> Vec<&Value> {
        let by_others = |call: &&Value| {
            let agent = call["userAgent"].as_str().unwrap_or_default();
            OTHERS.iter().any(|other| agent.starts_with(other))
        };
        self.calls.iter().filter(|call| !by_others(call)).collect()
    }
}

/// Asking what oneself may do is a `create` of something that is kept nowhere.
fn is_look(call: &Value) -> bool {
    let asks = call["objectRef"]["resource"]
        .as_str()
        .is_some_and(|kind| kind.starts_with("selfsubject"));
    asks || LOOKS.iter().any(|verb| call["verb"] == *verb)
}

/// The statements of a log. Whatever else a client can ask for is one that does not only read.
fn logged(log: &str) -> Vec<Logged> {
    let mut found: Vec<Logged> = Vec::new();
    let mut goes_on = false;
    for line in log.lines() {
        if let Some(rest) = line.strip_prefix('\t') {
            if let (true, Some(last)) = (goes_on, found.last_mut()) {
                last.text.push('\n');
                last.text.push_str(rest);
            }
            continue;
        }
        let said = line.split_once(" LOG:  ");
        let statement = said.and_then(|(prefix, message)| {
            let session = prefix.rsplit(' ').next().unwrap_or_default().to_owned();
            let (head, text) = message.split_once(": ")?;
            let is_statement = MARKS.iter().any(|mark| head.split(' ').next() == Some(mark));
            let other = ["fastpath function call", "received replication command"];
            let text = if is_statement {
                text.to_owned()
            } else {
                other.contains(&head).then(|| head.to_uppercase())?
            };
            Some(Logged { session, text })
        });
        goes_on = statement.is_some();
        found.extend(statement);
    }
    found
}

#[test]
fn what_changes_something_is_seen_in_a_log() {
    let log = "2026-11-22 10:00:00.1 UTC [7] jm@postgres jm/01/look LOG:  statement: SELECT 1,
\t2
2026-11-22 10:00:00.1 UTC [7] jm@postgres jm/01/look LOG:  execute s0: SELECT $1
2026-11-22 10:00:00.1 UTC [7] jm@postgres jm/01/look DETAIL:  Parameters: $1 = 'ALTER'
2026-11-22 10:00:00.2 UTC [8] jm@postgres jm/01/look LOG:  statement: SELECT
\tpg_terminate_backend(7)
2026-11-22 10:00:00.2 UTC [8] jm@postgres jm/01/look LOG:  execute <unnamed>: ALTER DATABASE a RENAME TO b
2026-11-22 10:00:00.2 UTC [8] jm@postgres psql LOG:  statement: BEGIN; CREATE TABLE a (); COMMIT
2026-11-22 10:00:00.2 UTC [8] jm@postgres psql LOG:  fastpath function call: \"lo_creat\" (OID 957)
2026-11-22 10:00:00.3 UTC [5]   LOG:  checkpoint starting: immediate force wait
";
    let heard = Heard {
        statements: logged(log),
        calls: Vec::new(),
    };
    assert_eq!(heard.statements.len(), 6, "{:?}", heard.statements);
    assert_eq!(heard.statements[0].text, "SELECT 1,\n2");
    assert_eq!(heard.statements[0].session, "jm/01/look");
    let changes: Vec<&str> = heard.changes().iter().map(|said| said.text.as_str()).collect();
    assert_eq!(
        changes,
        [
            "SELECT\npg_terminate_backend(7)",
            "ALTER DATABASE a RENAME TO b",
            "BEGIN; CREATE TABLE a (); COMMIT",
            "FASTPATH FUNCTION CALL",
        ]
    );
}
