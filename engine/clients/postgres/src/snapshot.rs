//! One picture of a database that several sessions look at.

use jm_step::StepError;

use crate::session::ReadSession;

/// A snapshot that other sessions, such as `pg_dump --snapshot`, can take up for as long as this value lives.
pub struct ExportedSnapshot {
    id: String,
    session: ReadSession,
}

impl ExportedSnapshot {
    /// What the other sessions have to name, such as `00000003-0000001B-1`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The database it is of.
    pub fn database(&self) -> &str {
        self.session.database()
    }

    /// Whether the session that holds it is still there.
    pub fn is_held(&self) -> bool {
        self.session.is_open()
    }
}

pub(crate) async fn export(session: ReadSession) -> Result<ExportedSnapshot, StepError> {
    session.begin_snapshot(None).await?;
    let row = session.query_one("SELECT pg_export_snapshot()", &[]).await?;
    Ok(ExportedSnapshot {
        id: row.get(0),
        session,
    })
}
