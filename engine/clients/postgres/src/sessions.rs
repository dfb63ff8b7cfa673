//! The sessions of databases: who is there, and which of them we may end.
//!
//! Of other roles' sessions everybody sees the database, the number, the user and the application; what they do, and
//! whether they are clients at all, is told to members of `pg_read_all_stats` only (PostgreSQL's documentation,
//! "Viewing Statistics"). So what is hidden counts as a client: it keeps a database in use like any other. The server's own
//! workers have no user.

use jm_step::StepError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::session::{ReadSession, Session};

/// A session on the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionFacts {
    /// The server's number for it.
    pub pid: i32,
    /// The role it belongs to.
    pub user: Option<String>,
    /// What it calls itself.
    pub application: String,
    /// What it does, such as `idle`, where we may know that.
    pub state: Option<String>,
    /// Whether it belongs to a superuser.
    pub superuser: bool,
    /// Whether we may end it.
    pub may_end: bool,
}

/// Which sessions are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Everybody's.
    All,
    /// All but those of superusers.
    NotSuperusers,
    /// All but the one of this process on the server: it is ours, and looks.
    AllBut(i32),
}

/// Who may end a session, as `pg_terminate_backend` sees it ("Server Signaling Functions"): a superuser any; others never a
/// superuser's or one without a user, and else those of roles that they have the privileges of, or all as members of
/// `pg_signal_backend`.
const MAY_END: &str = "((SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
    OR (r.oid IS NOT NULL AND NOT r.rolsuper
        AND (pg_has_role(r.oid, 'USAGE') OR pg_has_role('pg_signal_backend', 'USAGE'))))";

/// The sessions of databases, and after `more` what is done to each.
fn statement(whose: Whose, more: &str) -> String {
    let spare = match whose {
        Whose::All => String::new(),
        Whose::NotSuperusers => " AND NOT coalesce(r.rolsuper, false)".to_owned(),
        Whose::AllBut(pid) => format!(" AND a.pid <> {pid}"),
    };
    format!(
        "SELECT jsonb_build_object('pid', a.pid, 'user', a.usename, 'application', coalesce(a.application_name, ''),
            'state', a.state, 'superuser', coalesce(r.rolsuper, false), 'may_end', {MAY_END}{more})::text
        FROM pg_stat_activity a LEFT JOIN pg_roles r ON r.oid = a.usesysid
        WHERE a.datname::text = ANY($1::text[]) AND a.pid <> pg_backend_pid()
            AND CASE WHEN a.backend_type IS NULL THEN a.usesysid IS NOT NULL
                ELSE a.backend_type NOT IN ('autovacuum worker', 'parallel worker') END{spare}
        ORDER BY a.pid"
    )
}

impl ReadSession {
    /// The sessions of databases, this one left out.
    pub async fn sessions(&self, databases: &[String], whose: Whose) -> Result<Vec<SessionFacts>, StepError> {
        self.json(&statement(whose, ""), &[&databases]).await
    }
}

impl Session {
    /// The sessions of databases, this one left out.
    pub async fn sessions(&self, databases: &[String], whose: Whose) -> Result<Vec<SessionFacts>, StepError> {
        self.json(&statement(whose, ""), &[&databases]).await
    }

    /// Ends those sessions of databases that we may end, and gives all that were there. The server ends its own workers
    /// itself when it has to.
    pub async fn end_sessions(&self, databases: &[String], whose: Whose) -> Result<Vec<SessionFacts>, StepError> {
        let end = format!(", 'ended', CASE WHEN {MAY_END} THEN pg_terminate_backend(a.pid) END");
        self.json(&statement(whose, &end), &[&databases]).await
    }
}
