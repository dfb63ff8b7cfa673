//! Closing a database to new sessions and ending those it has.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jm_client_postgres::quote::ident;
use jm_client_postgres::{Reader, Session, SessionFacts, Whose};
use jm_step::{StepContext, StepError};
use tokio::time::Instant;

use crate::common;

/// How long between two looks while sessions end.
const PAUSE: Duration = Duration::from_millis(50);
/// How long nobody may come before it is believed that nobody does.
const QUIET: Duration = Duration::from_millis(500);
/// How long somebody whose session we may not end may take to leave by himself: long enough for one who only looks in.
const GRACE: Duration = Duration::from_secs(2);
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
        let found = session.end_sessions(&databases, Whose::All).await?;
        let now = Instant::now();
        let pids = found.iter().map(|session| session.pid);
        match &mut known {
            None => {
                cleared.ended = found.iter().filter(|session| session.may_end).count() as u64;
                known = Some(pids.collect());
            }
            Some(known) => {
                for came in found.iter().filter(|session| !known.contains(&session.pid)) {
                    cleared.ended += u64::from(came.may_end);
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

/// Ends the sessions of databases, again and again, until there is none left. Gives how many there were. `user` is who asks:
/// those that he may not end are waited for a moment only.
pub(crate) async fn end(
    cx: &StepContext,
    session: &Session,
    user: &str,
    databases: &[String],
    whose: Whose,
    until: Instant,
) -> Result<u64, StepError> {
    let mut ended = 0;
    let patience = until.min(Instant::now() + GRACE);
    loop {
        let found = session.end_sessions(databases, whose).await?;
        if found.is_empty() {
            return Ok(ended);
        }
        let (ours, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|session| session.may_end);
        ended += ours.len() as u64;
        if !others.is_empty() && Instant::now() >= patience {
            return Err(may_not_end(user, databases, &others));
        }
        if Instant::now() >= until {
            return Err(still_there(databases, &ours));
        }
        pause(cx).await?;
    }
}

/// The sessions of databases that are to end, seen beforehand. An error where one of them stays that we may not end: it is
/// better known before anything is closed.
pub(crate) async fn to_end(
    reader: &Reader,
    databases: &[String],
    whose: Whose,
) -> Result<Vec<SessionFacts>, StepError> {
    let found = reader.sessions(databases, whose).await?;
    if found.iter().all(|session| session.may_end) {
        return Ok(found);
    }
    tokio::time::sleep(GRACE).await;
    let now = reader.sessions(databases, whose).await?;
    let was_there = |session: &SessionFacts| found.iter().any(|before| before.pid == session.pid);
    let stays: Vec<_> = now
        .iter()
        .filter(|session| !session.may_end && was_there(session))
        .cloned()
        .collect();
    if stays.is_empty() {
        return Ok(now);
    }
    Err(may_not_end(reader.user(), databases, &stays))
}

/// Waits a moment, or tells that the step is to stop.
pub(crate) async fn pause(cx: &StepContext) -> Result<(), StepError> {
    tokio::select! {
        () = tokio::time::sleep(PAUSE) => Ok(()),
        () = cx.cancelled() => Err(StepError::cancelled("stopped while sessions were ended")),
    }
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

fn may_not_end(user: &str, databases: &[String], found: &[SessionFacts]) -> StepError {
    let mut whose: BTreeMap<(bool, &str), Vec<&SessionFacts>> = BTreeMap::new();
    for session in found {
        let owner = (session.superuser, session.user.as_deref().unwrap_or("nobody"));
        whose.entry(owner).or_default().push(session);
    }
    let counted = whose.iter().map(|((superuser, owner), theirs)| {
        let kind = if *superuser { "superuser" } else { "role" };
        let count = common::plural(theirs.len(), "session");
        let pids: Vec<_> = theirs
            .iter()
            .take(SHOWN)
            .map(|session| session.pid.to_string())
            .collect();
        format!("{count} of {kind} `{owner}` (pid {})", pids.join(", "))
    });
    let remedy = if found.iter().any(|session| session.superuser) {
        "only a superuser may end a superuser's sessions: let who owns them end them".to_owned()
    } else {
        let grant = format!("GRANT pg_signal_backend TO {}", ident(user));
        format!("let a superuser run `{grant}`, or let who owns the sessions end them")
    };
    let shown: Vec<_> = found.iter().take(SHOWN).collect();
    StepError::denied(format!(
        "role `{user}` may not end sessions in database `{}`: {}",
        databases.join("`, `"),
        counted.collect::<Vec<_>>().join(", ")
    ))
    .hint(format!("{remedy}; then try again"))
    .evidence(serde_json::json!({ "sessions": shown }))
}

/// Why databases are in use though their sessions were ended: by whoever is in them now, or by what is no session.
pub(crate) async fn in_use(session: &Session, user: &str, databases: &[String], error: StepError) -> StepError {
    let Ok(found) = session.sessions(databases, Whose::All).await else {
        return error;
    };
    let (ours, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|session| session.may_end);
    if !others.is_empty() {
        return may_not_end(user, databases, &others);
    }
    if !ours.is_empty() {
        return still_there(databases, &ours);
    }
    error.hint(
        "no session is seen in it: `SELECT * FROM pg_prepared_xacts` tells of prepared transactions, which keep it in use \
         until somebody commits them or rolls them back; then resume",
    )
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
