//! The side of a server that cannot write: read-only sessions, and what the catalogue tells.

use std::sync::Arc;

use jm_step::{StepError, StepErrorKind, StepId};

use crate::session::{Purpose, ReadSession, Session};
use crate::settings::Settings;
use crate::snapshot::ExportedSnapshot;
use crate::{
    Belongings, CountMode, DatabaseFacts, Inventory, RoleSettings, ServerFacts, SessionFacts, Setting, Strangers,
    Whose, catalogue, inventory, membership, setting, snapshot,
};

/// Databases that every server has.
const MAINTENANCE: &[&str] = &["postgres", "template1"];

/// Looks at a server. Has no method that writes; its sessions are read-only.
pub struct Reader {
    settings: Arc<Settings>,
}

impl Reader {
    pub(crate) fn new(settings: Arc<Settings>) -> Self {
        Self { settings }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The database that the target names.
    pub fn database(&self) -> &str {
        &self.settings.database
    }

    /// Where the server is, for people: `db.example:5432`.
    pub fn address(&self) -> String {
        self.settings.address()
    }

    /// Whether the server's address is this machine.
    pub fn is_local(&self) -> bool {
        self.settings.is_local()
    }

    /// The user that sessions belong to.
    pub fn user(&self) -> &str {
        &self.settings.user
    }

    /// A read-only session in a database.
    pub async fn connect_to(&self, database: &str, step: Option<&StepId>) -> Result<ReadSession, StepError> {
        let session = Session::open(&self.settings, database, step, Purpose::Read).await?;
        Ok(ReadSession::new(session))
    }

    /// A read-only session in the maintenance database.
    pub async fn maintenance(&self, step: Option<&StepId>) -> Result<ReadSession, StepError> {
        let session = self.maintenance_session(step, Purpose::Read).await?;
        Ok(ReadSession::new(session))
    }

    /// What the server says of itself and of us.
    pub async fn server(&self) -> Result<ServerFacts, StepError> {
        catalogue::server(&self.maintenance(None).await?).await
    }

    /// What the catalogue says of a database, `None` where it does not exist.
    pub async fn find_database(&self, name: &str) -> Result<Option<DatabaseFacts>, StepError> {
        catalogue::database(&self.maintenance(None).await?, name).await
    }

    /// What belongs to the name of a database, `None` where it does not exist.
    pub async fn belongings(&self, name: &str) -> Result<Option<Belongings>, StepError> {
        let session = self.maintenance(None).await?;
        let Some(facts) = catalogue::database(&session, name).await? else {
            return Ok(None);
        };
        let grants = session.grants(facts.oid).await?;
        Ok(Some(Belongings::new(&facts, grants)))
    }

    /// The sessions in databases, ours left out.
    pub async fn sessions(&self, databases: &[String], whose: Whose) -> Result<Vec<SessionFacts>, StepError> {
        self.maintenance(None).await?.sessions(databases, whose).await
    }

    /// Those of a database's settings that we, as its owner, may not set.
    pub async fn may_not_set(&self, settings: &[RoleSettings]) -> Result<Vec<Setting>, StepError> {
        let session = self.maintenance(None).await?;
        let server = catalogue::server(&session).await?;
        setting::may_not_set(&session, &server, settings).await
    }

    /// The name of the database with this number, `None` where there is none.
    pub async fn database_name(&self, oid: u32) -> Result<Option<String>, StepError> {
        catalogue::database_name(&self.maintenance(None).await?, oid).await
    }

    /// How many tables a database has that are not the server's own.
    pub async fn table_count(&self, database: &str) -> Result<u64, StepError> {
        catalogue::table_count(&self.connect_to(database, None).await?).await
    }

    /// Whether the server is still at work for an attempt of this step. A session that only waits for its next statement
    /// gets none, where its client is gone without a word: the server finds that out much later.
    pub async fn works_for(&self, step: &StepId) -> Result<bool, StepError> {
        let name = self.settings.application_name(Some(step));
        let session = self.maintenance(None).await?;
        let row = session
            .query_one(
                "SELECT EXISTS (SELECT FROM pg_stat_activity
                    WHERE application_name = $1 AND coalesce(state, '') NOT LIKE 'idle%')",
                &[&name],
            )
            .await?;
        Ok(row.get(0))
    }

    /// What a database holds, in one picture: that of `snapshot` where one is given. Counting takes as long as it takes.
    pub async fn inventory(
        &self,
        database: &str,
        mode: CountMode,
        snapshot: Option<&str>,
    ) -> Result<Inventory, StepError> {
        let session = self.connect_to(database, None).await?;
        session.allow(None).await?;
        session.begin_snapshot(snapshot).await?;
        inventory::collect(&session, mode).await
    }

    /// Holds one picture of a database that `pg_dump --snapshot` and [`Reader::inventory`] can both look at.
    pub async fn export_snapshot(&self, database: &str, step: Option<&StepId>) -> Result<ExportedSnapshot, StepError> {
        snapshot::export(self.connect_to(database, step).await?).await
    }

    /// Those of the roles whose rights we lack, so that we can neither give them something nor change what is theirs.
    pub async fn strangers(&self, roles: &[String]) -> Result<Strangers, StepError> {
        let session = self.maintenance(None).await?;
        let server = catalogue::server(&session).await?;
        membership::strangers(&session, &server, self.user(), roles).await
    }

    /// The bytes that are free where the server keeps its data, where that can be told: the server has to be on this
    /// machine and its folder readable.
    pub async fn free_bytes(&self) -> Result<Option<u64>, StepError> {
        let server = self.server().await?;
        Ok(catalogue::free_bytes(self.is_local(), &server))
    }

    /// The first of the maintenance databases that exists and lets us in.
    pub(crate) async fn maintenance_session(
        &self,
        step: Option<&StepId>,
        purpose: Purpose,
    ) -> Result<Session, StepError> {
        let own = self.settings.maintenance.as_deref();
        let candidates = own
            .into_iter()
            .chain(MAINTENANCE.iter().copied().filter(|_| own.is_none()))
            .chain([self.database()]);
        let mut first = None;
        for candidate in candidates {
            match Session::open(&self.settings, candidate, step, purpose).await {
                Err(error) if is_about_the_database(&error) => first = first.or(Some(error)),
                other => return other,
            }
        }
        Err(first.unwrap_or_else(|| StepError::not_found("the server has no database to go through")))
    }
}

/// Another database of the same server may still let us in.
pub(crate) fn is_about_the_database(error: &StepError) -> bool {
    match error.kind() {
        StepErrorKind::NotFound | StepErrorKind::Conflict => true,
        StepErrorKind::Denied => !error.message().contains("28P01"),
        _ => false,
    }
}
