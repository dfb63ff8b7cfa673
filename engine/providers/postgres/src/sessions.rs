//! Closing a database to new sessions and ending those it has.

use std::collections::BTreeSet;
use std::time::Duration;

use jm_client_postgres::quote::{ident, literal};
use jm_client_postgres::{Reader, Session, SessionFacts};
use jm_step::{StepContext, StepError};
use tokio::time::Instant;

/// How long between two looks while sessions end.
const PAUSE: Duration = Duration::from_millis(50);
/// How long nobody may come before it is believed that nobody does.
const QUIET: Duration = Duration::from_millis(500);
/// How many sessions an error names.
const SHOWN: usize = 10;

/// Whether a database lets sessions in.
pub(crate) async fn allow_connections(session: &Session, database: &str, allow: bool) -> Result<(), StepError> {
    session
        .batch(&format!("ALTER DATABASE {} ALLOW_CONNECTIONS {allow}", ident(database)))
        .await
}

/// How many sessions it lets in, -1 for no limit. A superuser is let in always.
pub(crate) async fn limit_connections(session: &Session, database: &str, limit: i32) -> Result<(), StepError> {
    session
        .batch(&format!("ALTER DATABASE {} CONNECTION LIMIT {limit}", ident(database)))
        .await
}

/// Which sessions are to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// Everybody's.
    All,
    /// Those of superusers may stay.
    NotSuperusers,
    /// All but the one of this process on the server: it is ours, and looks.
    AllBut(i32),
}

/// Who was in a database that stays open, and who came back into it.
#[derive(Debug, Default)]
pub(crate) struct Cleared {
    /// How many sessions were ended.
    pub(crate) ended: u64,
    /// Who came back meanwhile, as `application` of `user`.
    pub(crate) came_back: BTreeSet<String>,
}

/// Ends the sessions of a database that stays open, and goes on until nobody came for a while, or the time is up.
pub(crate) async fn clear(
    cx: &StepContext,
    session: &Session,
    database: &str,
    until: Instant,
) -> Result<Cleared, StepError> {
    let databases = [database.to_owned()];
    let mut cleared = Cleared::default();
    let mut known: Option<BTreeSet<i32>> = None;
    let mut quiet_since = Instant::now();
    loop {
        let found = end_once(session, &databases, Whose::All).await?;
        let now = Instant::now();
        let pids = found.iter().map(|session| session.pid);
        match &mut known {
            None => {
                cleared.ended = found.len() as u64;
                known = Some(pids.collect());
            }
            Some(known) => {
                for came in found.iter().filter(|session| !known.contains(&session.pid)) {
                    cleared.ended += 1;
                    cleared.came_back.insert(who(came));
                }
                known.extend(pids);
            }
        }
        if !found.is_empty() {
            quiet_since = now;
        }
        if now.duration_since(quiet_since) >= QUIET || now >= until {
            return Ok(cleared);
        }
        pause(cx).await?;
    }
}

fn who(session: &SessionFacts) -> String {
    let user = session.user.as_deref().unwrap_or("nobody");
    match session.application.as_str() {
        "" => format!("a client of `{user}`"),
        application => format!("`{application}` of `{user}`"),
    }
}

/// Ends the sessions of databases, again and again, until there is none left. Gives how many there were.
pub(crate) async fn end(
    cx: &StepContext,
    session: &Session,
    databases: &[String],
    whose: Whose,
    until: Instant,
) -> Result<u64, StepError> {
    let mut ended = 0;
    loop {
        let found = end_once(session, databases, whose).await?;
        if found.is_empty() {
            return Ok(ended);
        }
        ended += found.len() as u64;
        if Instant::now() >= until {
            return Err(still_there(databases, &found));
        }
        pause(cx).await?;
    }
}

/// Waits a moment, or tells that the step is to stop.
pub(crate) async fn pause(cx: &StepContext) -> Result<(), StepError> {
    tokio::select! {
        () = tokio::time::sleep(PAUSE) => Ok(()),
        () = cx.cancelled() => Err(StepError::cancelled("stopped while sessions were ended")),
    }
}

/// The server ends its own workers itself when it has to.
async fn end_once(session: &Session, databases: &[String], whose: Whose) -> Result<Vec<SessionFacts>, StepError> {
    let names: Vec<_> = databases.iter().map(|name| literal(name)).collect();
    let spare = match whose {
        Whose::All => String::new(),
        Whose::NotSuperusers => {
            " AND NOT coalesce((SELECT rolsuper FROM pg_roles r WHERE r.oid = usesysid), false)".to_owned()
        }
        Whose::AllBut(pid) => format!(" AND pid <> {pid}"),
    };
    let sql = format!(
        "SELECT jsonb_build_object('pid', pid, 'user', usename, 'application', coalesce(application_name, ''),
            'state', state, 'ended', pg_terminate_backend(pid))::text
        FROM pg_stat_activity
        WHERE datname IN ({}) AND pid <> pg_backend_pid()
            AND backend_type NOT IN ('autovacuum worker', 'parallel worker'){spare}",
        names.join(", ")
    );
    session.json(&sql, &[]).await
}

fn still_there(databases: &[String], found: &[SessionFacts]) -> StepError {
    let shown: Vec<_> = found.iter().take(SHOWN).collect();
    StepError::conflict(format!(
        "sessions in database `{}` do not end, or come back faster than they are ended: {} left",
        databases.join("`, `"),
        found.len()
    ))
    .hint("stop what uses the database (`application` and `user` in the evidence tell what it is), then resume")
    .evidence(serde_json::json!({ "sessions": shown }))
}

/// `ALTER DATABASE` cannot close or rename the database that the session asking for it is in.
pub(crate) fn refuse_own_database(session_in: &str, database: &str, reader: &Reader) -> Result<(), StepError> {
    if session_in != database {
        return Ok(());
    }
    Err(StepError::refused(format!(
        "database `{database}` at {} is the only one that lets jm in, so it can be neither closed nor renamed",
        reader.address()
    ))
    .hint("make a database `postgres` on the server, or name another one as the target's `maintenance_database`"))
}
