//! Holding a database against other runs: an advisory lock of its server, in a session that does nothing else. It reaches
//! every machine that reaches the server, and the server itself lets go when that session ends, however it ends.

use std::time::Duration;

use jm_step::{Hold, Holding, StepError};
use tokio_postgres::Row;

use crate::Reader;
use crate::reader::is_about_the_database;
use crate::session::{Purpose, Session};

/// Such locks are a database's own, so all runs have to take them in the same one.
const PLACE: &str = "postgres";
/// How often a session that an earlier process of this very run left behind is told to end.
const ROUNDS: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);

/// The session is never ended for being idle, by servers that end others for it (since PostgreSQL 14).
const PREPARE: &str = "SELECT set_config(s.name, '0', false) FROM pg_settings s WHERE s.name = 'idle_session_timeout'";
const HOLDER: &str = "SELECT a.pid, a.application_name, a.usename::text, host(a.client_addr), a.backend_start::text
    FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'advisory' AND l.granted AND l.classid = $1 AND l.objid = $2 AND l.objsubid = 1
        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())";

struct ServerLock(Session);

impl Hold for ServerLock {
    fn is_held(&self) -> bool {
        self.0.is_open()
    }
}

/// Takes the lock on the database that a target names, or says who has it.
pub(crate) async fn hold(reader: &Reader) -> Result<Holding, StepError> {
    // A session in the database itself would be in the way of everything that a recovery does with it.
    if reader.database() == PLACE {
        return Ok(Holding::Unable);
    }
    let session = match Session::open(reader.settings(), PLACE, None, Purpose::Read).await {
        Ok(session) => session,
        Err(error) if is_about_the_database(&error) => return Ok(Holding::Unable),
        Err(error) => return Err(error),
    };
    session.query(PREPARE, &[]).await?;
    let key = key(&session, reader.database()).await?;
    for _ in 0..ROUNDS {
        if take(&session, key).await? {
            return Ok(Holding::Held(Box::new(ServerLock(session))));
        }
        let Some(holder) = session.query(HOLDER, &[&high(key), &low(key)]).await?.pop() else {
            continue;
        };
        let (pid, application): (i32, Option<String>) = (holder.get(0), holder.get(1));
        if application.as_deref() != Some(reader.settings().application_name(None).as_str()) {
            return Ok(taken(pid, &holder));
        }
        // One process at a time carries a run out: what an earlier one left is nobody's any more.
        session.query("SELECT pg_terminate_backend($1)", &[&pid]).await?;
        tokio::time::sleep(PAUSE).await;
    }
    Err(
        StepError::unavailable("a session of an earlier process of this run holds the database, and does not end")
            .hint("look for it in `pg_stat_activity` by its application name, and end it"),
    )
}

async fn take(session: &Session, key: i64) -> Result<bool, StepError> {
    let row = session.query_one("SELECT pg_try_advisory_lock($1)", &[&key]).await?;
    Ok(row.get(0))
}

fn taken(pid: i32, holder: &Row) -> Holding {
    let text = |column: usize| holder.get::<_, Option<String>>(column);
    let name = text(1).filter(|name| !name.is_empty());
    let from = text(3).map(|address| format!(" from {address}")).unwrap_or_default();
    let since = text(4).map(|since| format!(" since {since}")).unwrap_or_default();
    Holding::Taken {
        by: format!(
            "`{}` of role `{}`{from}{since}",
            name.as_deref().unwrap_or("a session without a name"),
            text(2).as_deref().unwrap_or("unknown"),
        ),
        hint: format!(
            "if its jm is gone for good, `SELECT pg_terminate_backend({pid})` on the server frees it at once"
        ),
    }
}

/// Made of the name, which is what plans mean by a database: what is behind it changes when one is switched for another.
async fn key(session: &Session, database: &str) -> Result<i64, StepError> {
    let name = format!("jm holds database {database}");
    let row = session.query_one("SELECT hashtextextended($1, 0)", &[&name]).await?;
    Ok(row.get(0))
}

/// A key's halves, as the server lists them.
fn high(key: i64) -> u32 {
    u32::from_be_bytes(std::array::from_fn(|at| key.to_be_bytes()[at]))
}

/// See [`high`].
fn low(key: i64) -> u32 {
    u32::from_be_bytes(std::array::from_fn(|at| key.to_be_bytes()[at + 4]))
}
