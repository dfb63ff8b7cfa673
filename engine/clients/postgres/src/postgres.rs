//! The connection to a PostgreSQL server, of which one database is meant.

use std::sync::Arc;
use std::time::Duration;

use jm_step::process::Supervisor;
use jm_step::{
    Connection, Environment, Holding, Identity, InputIssue, NamedFile, OpenContext, Policy, Right, Rights, StepError,
    StepId,
};

use crate::session::{Purpose, Session};
use crate::settings::{self, Settings};
use crate::{ChildEnvironment, PostgresConfig, Reader, child, hold, rights};

const END_SESSIONS: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                            WHERE application_name = $1 AND pid <> pg_backend_pid()";
const ENDING_ROUNDS: u32 = 100;
const ENDING_PAUSE: Duration = Duration::from_millis(100);

/// A PostgreSQL server and the database that a target names on it. That database may be lost: what is asked of the server
/// goes through a maintenance database. Sessions are opened when they are needed and end when they are dropped.
pub struct Postgres {
    reader: Reader,
}

impl Connection for Postgres {
    const PROVIDER: &'static str = "postgres";
    type Config = PostgresConfig;
    type Reader = Reader;

    async fn open(config: PostgresConfig, cx: &OpenContext) -> Result<Self, StepError> {
        let settings = Arc::new(Settings::resolve(&config, cx)?);
        Ok(Self {
            reader: Reader::new(settings),
        })
    }

    async fn ping(&self) -> Result<(), StepError> {
        self.reader
            .maintenance(None)
            .await?
            .query("SELECT 1", &[])
            .await
            .map(drop)
    }

    /// The server's system identifier, and the database that is meant: a targets file may pin either.
    async fn identity(&self) -> Result<Identity, StepError> {
        let server = self.reader.server().await?;
        // Some hosted servers keep it to themselves.
        let system = server.system_identifier.unwrap_or_else(|| self.reader.address());
        let database = self.reader.database().to_owned();
        Ok(Identity(
            [("system".to_owned(), system), ("database".to_owned(), database)].into(),
        ))
    }

    fn check(config: &PostgresConfig, environment: &Environment) -> Vec<InputIssue> {
        let wrong = Settings::check(config, environment).err();
        wrong.iter().map(|error| InputIssue::of("/url", error)).collect()
    }

    /// A text that cannot be read names none; [`Connection::check`] says so.
    fn files(config: &PostgresConfig, environment: &Environment) -> Vec<NamedFile> {
        settings::files(config, environment).unwrap_or_default()
    }

    fn address(config: &PostgresConfig, cx: &OpenContext) -> Option<String> {
        Settings::place(config, cx).ok()
    }

    async fn hold(&self) -> Result<Holding, StepError> {
        hold::hold(&self.reader).await
    }

    fn reader(&self) -> &Reader {
        &self.reader
    }

    fn knows_right(right: &str) -> bool {
        rights::is_known(right)
    }

    async fn rights(reader: &Reader, needed: &Rights) -> Result<Vec<Right>, StepError> {
        reader.rights(needed).await
    }

    async fn policy(reader: &Reader, needed: &Rights, _: &str) -> Result<Option<Policy>, StepError> {
        Ok(Some(reader.policy_for(needed)))
    }
}

impl Postgres {
    /// A session in a database of this server that may write. The step's name is shown in the server's list of sessions.
    pub async fn connect_to(&self, database: &str, step: Option<&StepId>) -> Result<Session, StepError> {
        Session::open(self.settings(), database, step, Purpose::Write).await
    }

    /// A session in the maintenance database that may write: for what is done to databases rather than in them.
    pub async fn maintenance(&self, step: Option<&StepId>) -> Result<Session, StepError> {
        self.reader.maintenance_session(step, Purpose::Write).await
    }

    /// What `pg_dump`, `pg_restore` and `psql` need to reach a database of this server. The password is in a file that
    /// lives as long as the value does.
    pub fn child_environment(
        &self,
        database: &str,
        step: Option<&StepId>,
        supervisor: &Supervisor,
    ) -> Result<ChildEnvironment, StepError> {
        child::environment(self.settings(), database, step, supervisor)
    }

    /// Ends the sessions that earlier attempts of a step of this run left on the server: also those of child programs. Gives
    /// how many there were.
    pub async fn end_sessions_of(&self, step: &StepId) -> Result<u64, StepError> {
        let name = self.settings().application_name(Some(step));
        let session = self.maintenance(None).await?;
        let mut ended = 0;
        for _ in 0..ENDING_ROUNDS {
            let left = session.query(END_SESSIONS, &[&name]).await?.len() as u64;
            if left == 0 {
                return Ok(ended);
            }
            ended = ended.max(left);
            tokio::time::sleep(ENDING_PAUSE).await;
        }
        Err(
            StepError::unavailable("sessions of an earlier attempt of this step do not end")
                .hint("look for them in `pg_stat_activity` by their application name, and end them"),
        )
    }

    fn settings(&self) -> &Settings {
        self.reader.settings()
    }
}
