//! Sessions on a server: one that may write, and one that cannot.

use std::error::Error;
use std::future::Future;
use std::time::Duration;

use bytes::BytesMut;
use jm_step::{Secrets, StepError, StepErrorKind, StepId};
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;
use tokio_postgres::types::{Format, IsNull, ToSql, Type};
use tokio_postgres::{CancelToken, Client, Config, Row};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error::{from_driver, is_lost_connection};
use crate::settings::{Host, Settings, SslMode};

/// How long a reader waits for a lock before it says who is in the way.
const READER_LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a session that is no longer wanted may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(5);

/// A session that may write. Ended when it is dropped; a statement that is under way is cancelled.
pub struct Session {
    client: Client,
    connection: Option<JoinHandle<()>>,
    tls: MakeRustlsConnect,
    secrets: Secrets,
    database: String,
    pid: i32,
}

/// A session in which every transaction is read-only.
pub struct ReadSession(Session);

/// What a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Read,
    Write,
}

impl Session {
    /// Connects to a database: the first host that lets us in, or the last one's error.
    pub(crate) async fn open(
        settings: &Settings,
        database: &str,
        step: Option<&StepId>,
        purpose: Purpose,
    ) -> Result<Self, StepError> {
        let mut last = None;
        for host in &settings.hosts {
            match open_on(settings, host, database, step).await {
                Ok(session) => {
                    session.prepare(settings, purpose).await?;
                    return Ok(session);
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| StepError::invalid_input("the connection string names no host")))
    }

    /// A server that is told to look notices within a minute and a half that the machine at the other end is gone, and gives
    /// up what it does for it.
    async fn prepare(&self, settings: &Settings, purpose: Purpose) -> Result<(), StepError> {
        let common = "SET search_path = pg_catalog; SET client_min_messages = warning; SET DateStyle = ISO; \
                      SET IntervalStyle = postgres; SET idle_in_transaction_session_timeout = 0; \
                      SET standard_conforming_strings = on; SET tcp_keepalives_idle = 30; \
                      SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 6";
        let own = match purpose {
            Purpose::Read => format!(
                "SET default_transaction_read_only = on; SET row_security = off; SET statement_timeout = {}; \
                 SET lock_timeout = {}",
                settings.query_timeout.as_millis(),
                READER_LOCK_TIMEOUT.as_millis()
            ),
            Purpose::Write => {
                "SET default_transaction_read_only = off; SET statement_timeout = 0; SET lock_timeout = 0".to_owned()
            }
        };
        self.batch(&format!("{common}; {own}")).await
    }

    /// The database that it is in.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The server's number for it.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Whether the server is still at the other end, as far as is known without asking.
    pub fn is_open(&self) -> bool {
        !self.client.is_closed()
    }

    /// Runs a statement and gives its rows.
    pub async fn query(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, StepError> {
        self.told(self.client.query(sql, values)).await
    }

    /// Runs a statement that gives exactly one row.
    pub async fn query_one(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Row, StepError> {
        self.told(self.client.query_one(sql, values)).await
    }

    /// Runs a statement whose rows have one column with JSON as text, and decodes each.
    pub async fn json<T: DeserializeOwned>(
        &self,
        sql: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<T>, StepError> {
        let rows = self.query(sql, values).await?;
        rows.iter().map(|row| self.decode(row)).collect()
    }

    /// Runs a statement and tells how many rows it touched.
    pub async fn execute(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<u64, StepError> {
        self.told(self.client.execute(sql, values)).await
    }

    /// Runs statements without values. Several run as one transaction, unless they say otherwise.
    pub async fn batch(&self, sql: &str) -> Result<(), StepError> {
        self.told(self.client.batch_execute(sql)).await
    }

    /// Runs a statement in a transaction that goes on where the server says no to it: `false` then.
    pub async fn attempt(&self, sql: &str) -> Result<bool, StepError> {
        use StepErrorKind as Kind;
        self.batch("SAVEPOINT attempt").await?;
        match self.batch(sql).await {
            Ok(()) => self.batch("RELEASE SAVEPOINT attempt").await.map(|()| true),
            Err(error) if matches!(error.kind(), Kind::Denied | Kind::InvalidInput | Kind::NotFound) => {
                self.batch("ROLLBACK TO SAVEPOINT attempt").await?;
                self.batch("RELEASE SAVEPOINT attempt").await.map(|()| false)
            }
            Err(error) => Err(error),
        }
    }

    /// Ends a transaction. If the connection goes meanwhile, nobody knows whether it took effect: `ambiguous`.
    pub async fn commit(&self) -> Result<(), StepError> {
        let committed = self.cancelled_when_dropped(self.client.batch_execute("COMMIT")).await;
        committed.map_err(|error| {
            let failed = self.failed(&error);
            if is_lost_connection(&error) {
                ambiguous(&failed)
            } else {
                failed
            }
        })
    }

    async fn told<T>(&self, work: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, StepError> {
        self.cancelled_when_dropped(work)
            .await
            .map_err(|error| self.failed(&error))
    }

    /// A statement whose caller goes away (a step that was cancelled) does not go on at the server.
    async fn cancelled_when_dropped<T>(&self, work: impl Future<Output = T>) -> T {
        let mut guard = CancelOnDrop(Some((self.client.cancel_token(), self.tls.clone())));
        let result = work.await;
        guard.0 = None;
        result
    }

    fn decode<T: DeserializeOwned>(&self, row: &Row) -> Result<T, StepError> {
        let text: &str = row.try_get(0).map_err(|error| self.failed(&error))?;
        serde_json::from_str(text).map_err(|error| {
            StepError::failed(format!("an answer of database `{}` cannot be read", self.database)).source(error)
        })
    }

    fn failed(&self, error: &tokio_postgres::Error) -> StepError {
        from_driver(error, &format!("database `{}`", self.database), &self.secrets)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        // With the client gone the connection says goodbye, so that the server need not log that somebody left without
        // a word. One that has nobody at the other end any more is not waited for.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(async move {
                if tokio::time::timeout(GOODBYE, &mut connection).await.is_err() {
                    connection.abort();
                }
            })),
            Err(_) => connection.abort(),
        }
    }
}

fn ambiguous(lost: &StepError) -> StepError {
    StepError::ambiguous(format!("the connection was lost at COMMIT: {}", lost.message()))
        .hint("the server knows whether it took effect: resume the run, and jm will ask it")
}

struct CancelOnDrop(Option<(CancelToken, MakeRustlsConnect)>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        let Some((token, tls)) = self.0.take() else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            // A server that cannot be told any more notices the closed connection later.
            drop(runtime.spawn(async move { token.cancel_query(tls).await }));
        }
    }
}

impl ReadSession {
    pub(crate) fn new(session: Session) -> Self {
        Self(session)
    }

    /// See [`Session::database`].
    pub fn database(&self) -> &str {
        self.0.database()
    }

    /// See [`Session::pid`].
    pub fn pid(&self) -> i32 {
        self.0.pid()
    }

    /// See [`Session::is_open`].
    pub fn is_open(&self) -> bool {
        self.0.is_open()
    }

    /// See [`Session::query`]. A single statement, in a read-only transaction of its own.
    pub async fn query(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, StepError> {
        self.0.query(sql, values).await
    }

    /// See [`Session::query_one`].
    pub async fn query_one(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Row, StepError> {
        self.0.query_one(sql, values).await
    }

    /// See [`Session::json`].
    pub async fn json<T: DeserializeOwned>(
        &self,
        sql: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<T>, StepError> {
        self.0.json(sql, values).await
    }

    /// Holds one picture of the database from here on: the moment of `snapshot`, or now.
    pub async fn begin_snapshot(&self, snapshot: Option<&str>) -> Result<(), StepError> {
        let at = snapshot.map_or_else(String::new, |id| {
            format!("; SET TRANSACTION SNAPSHOT {}", crate::quote::literal(id))
        });
        self.0
            .batch(&format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY{at}"))
            .await
    }

    /// Begins a transaction in which not even `SET TRANSACTION` can allow writing: the first query closes that door.
    pub async fn begin_sealed(&self) -> Result<(), StepError> {
        self.0.batch("BEGIN READ ONLY; SELECT 1").await
    }

    /// Lets queries of this session take so long. Counting every row of a large database takes its time.
    pub async fn allow(&self, longest: Option<Duration>) -> Result<(), StepError> {
        let limit = longest.map_or(0, |longest| longest.as_millis());
        self.0.batch(&format!("SET statement_timeout = {limit}")).await
    }
}

/// A value for a parameter of whatever type the statement gives it, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextValue(pub Option<String>);

impl ToSql for TextValue {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        Ok(self.0.as_ref().map_or(IsNull::Yes, |text| {
            out.extend_from_slice(text.as_bytes());
            IsNull::No
        }))
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    tokio_postgres::types::to_sql_checked!();
}

async fn open_on(
    settings: &Settings,
    host: &Host,
    database: &str,
    step: Option<&StepId>,
) -> Result<Session, StepError> {
    let doing = format!(
        "cannot connect to database `{database}` at {host} as `{}`",
        settings.user
    );
    let mut last = None;
    for mode in modes(settings.sslmode, host) {
        let config = config(settings, host, database, step, *mode);
        let connecting = tokio::time::timeout(settings.connect_timeout, connect(settings, &config, database));
        match connecting.await {
            Ok(Ok(session)) => return Ok(session),
            Ok(Err(error)) => last = Some(from_driver(&error, &doing, &settings.secrets)),
            Err(_) => return Err(no_answer(&doing, settings.connect_timeout)),
        }
    }
    Err(last.unwrap_or_else(|| StepError::failed(doing)))
}

fn no_answer(doing: &str, limit: Duration) -> StepError {
    StepError::new(
        StepErrorKind::Unavailable,
        format!("{doing}: no answer within {} s", limit.as_secs()),
    )
    .hint("see that the server runs and that nothing on the way swallows the packets; `connect_timeout` of the URL")
}

/// The driver's modes to try, in order. A Unix socket is never encrypted.
fn modes(mode: SslMode, host: &Host) -> &'static [tokio_postgres::config::SslMode] {
    use tokio_postgres::config::SslMode as Driver;
    match mode {
        _ if host.is_socket() => &[Driver::Disable],
        SslMode::Disable => &[Driver::Disable],
        SslMode::Allow => &[Driver::Disable, Driver::Require],
        SslMode::Prefer => &[Driver::Prefer, Driver::Disable],
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => &[Driver::Require],
    }
}

fn config(
    settings: &Settings,
    host: &Host,
    database: &str,
    step: Option<&StepId>,
    mode: tokio_postgres::config::SslMode,
) -> Config {
    let mut config = Config::new();
    config
        .host(&host.name)
        .port(host.port)
        .user(&settings.user)
        .dbname(database)
        .application_name(settings.application_name(step))
        .ssl_mode(mode)
        .ssl_negotiation(settings.negotiation)
        .channel_binding(settings.channel_binding)
        .target_session_attrs(settings.target_session_attrs)
        .connect_timeout(settings.connect_timeout)
        .keepalives_idle(Duration::from_secs(30))
        .keepalives_interval(Duration::from_secs(10))
        .keepalives_retries(3);
    if let Some(address) = host.address {
        config.hostaddr(address);
    }
    if let Some(options) = &settings.options {
        config.options(options);
    }
    if let Some(password) = settings.password(host, database) {
        config.password(password.expose());
    }
    config
}

async fn connect(settings: &Settings, config: &Config, database: &str) -> Result<Session, tokio_postgres::Error> {
    let (client, connection) = config.connect(settings.tls.clone()).await?;
    let connection = tokio::spawn(async move {
        // Whoever waits for an answer gets this error too.
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a session of PostgreSQL has ended");
        }
    });
    let mut session = Session {
        client,
        connection: Some(connection),
        tls: settings.tls.clone(),
        secrets: settings.secrets.clone(),
        database: database.to_owned(),
        pid: 0,
    };
    session.pid = session
        .client
        .query_one("SELECT pg_backend_pid()", &[])
        .await?
        .try_get(0)?;
    Ok(session)
}
