//! `postgres.inspect`: does the server answer, does the database exist, does it still serve?

use jm_client_postgres::{DatabaseFacts, Postgres, Reader, Whose, is_said_by_server};
use jm_step::{
    Effect, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError, StepErrorKind, StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common;

/// Its data is there, whoever closed it.
const CLOSED: &str = "it lets no sessions in: somebody closed it, or a switch that was cut off (`jm plan resume` goes on with \
                      that run); its data is there, and `jm step run postgres.unquiesce` lets it serve again as it is";

/// See the module.
pub(crate) struct Inspect;

/// What to look at.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// The database. Default: the one that the target names.
    #[serde(default)]
    database: Option<String>,
}

/// What was found. Where nothing answers, all of it is no.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Output {
    /// The database that was looked for.
    pub(crate) database: String,
    /// Whether the server answers.
    pub(crate) reachable: bool,
    /// Whether the database exists.
    pub(crate) exists: bool,
    /// Whether it lets sessions in and has tables.
    #[schemars(extend("x-jm-still-served" = true))]
    pub(crate) serving: bool,
    /// Why it does not serve, in words.
    pub(crate) problem: Option<String>,
    /// Which server answered: its system identifier; `null` where it gives none.
    #[serde(default)]
    pub(crate) server: Option<String>,
    /// The server's version, such as `15.14`.
    pub(crate) server_version: Option<String>,
    /// Whether the server is a standby.
    pub(crate) standby: bool,
    /// The server's number for the database.
    pub(crate) oid: Option<u32>,
    /// Who owns it.
    pub(crate) owner: Option<String>,
    /// Its size on the server's disk.
    pub(crate) size_bytes: Option<u64>,
    /// Whether it lets sessions in.
    pub(crate) allows_connections: bool,
    /// How many sessions it lets in, -1 for no limit.
    pub(crate) connection_limit: Option<i32>,
    /// How many sessions it has, ours left out.
    pub(crate) sessions: u64,
    /// How many tables it has that are neither the server's own nor an extension's.
    pub(crate) tables: u64,
}

impl StepType for Inspect {
    const NAME: &'static str = "postgres.inspect";
    const SUMMARY: &'static str = "tells whether the server answers, the database exists, and whether it still serves";
    const EFFECT: Effect = Effect::ReadOnly;
    const REPEAT: Repeat = Repeat::Safe;
    type Input = Input;
    type Output = Output;

    fn roles(&self) -> Vec<Role> {
        common::roles()
    }

    fn needs(&self, _: &Known) -> Vec<Need> {
        vec![Need::of("database", &["CONNECT"])]
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let output = look(cx, input).await?;
        Ok(Preview::verified(sentence(&output)).predict(output))
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let output = look(cx, &input).await?;
        cx.log(sentence(&output)).await;
        Ok(output)
    }

    async fn probe(&self, _: &ReadContext, _: &Input) -> Result<Probe<Output>, StepError> {
        Ok(Probe::NotStarted)
    }
}

fn sentence(output: &Output) -> String {
    match &output.problem {
        Some(problem) if !output.reachable => format!("the server does not answer: {problem}"),
        None => format!(
            "database `{}` serves: {} tables, {} sessions",
            output.database, output.tables, output.sessions
        ),
        Some(problem) => format!("database `{}` does not serve: {problem}", output.database),
    }
}

/// A server that is down is an answer. One that answers and will not have us, for now or at all, is an error: a database
/// that is thought lost is replaced, and nothing of it is saved before.
async fn look(cx: &ReadContext, input: &Input) -> Result<Output, StepError> {
    let named = input.database.clone().unwrap_or_default();
    let reader = match cx.read::<Postgres>().await {
        Ok(reader) => reader,
        Err(error) => {
            return unless_down(
                error,
                Output {
                    database: named,
                    ..Output::default()
                },
            );
        }
    };
    let database = common::chosen(input.database.as_ref(), &reader).to_owned();
    let mut output = Output {
        database,
        ..Output::default()
    };
    match fill(&reader, &mut output).await {
        Ok(()) => Ok(output),
        Err(error) if output.reachable => Err(error),
        Err(error) => unless_down(error, output),
    }
}

fn unless_down(error: StepError, output: Output) -> Result<Output, StepError> {
    match error.kind() {
        StepErrorKind::Unavailable | StepErrorKind::TimedOut if !is_said_by_server(&error) => Ok(Output {
            serving: false,
            problem: Some(error.message().to_owned()),
            ..output
        }),
        _ => Err(error),
    }
}

async fn fill(reader: &Reader, output: &mut Output) -> Result<(), StepError> {
    let server = reader.server().await?;
    output.reachable = true;
    output.server = server.system_identifier;
    output.server_version = Some(server.version);
    output.standby = server.in_recovery;
    let Some(facts) = reader.find_database(&output.database).await? else {
        output.problem = Some("it does not exist".to_owned());
        return Ok(());
    };
    put_facts(output, &facts);
    let sessions = reader.sessions(std::slice::from_ref(&output.database), Whose::All);
    output.sessions = sessions.await?.len() as u64;
    output.problem = problem(reader, &facts, &mut output.tables).await?;
    output.serving = output.problem.is_none();
    Ok(())
}

fn put_facts(output: &mut Output, facts: &DatabaseFacts) {
    output.exists = true;
    output.oid = Some(facts.oid);
    output.owner = Some(facts.owner.clone());
    output.size_bytes = facts.size_bytes;
    output.allows_connections = facts.allows_connections;
    output.connection_limit = Some(facts.connection_limit);
}

/// What keeps the database from serving. A database whose files are damaged is found out by going in; that there is no
/// place left in it, or no answer for now, tells nothing of the kind.
async fn problem(reader: &Reader, facts: &DatabaseFacts, tables: &mut u64) -> Result<Option<String>, StepError> {
    if !facts.allows_connections {
        return Ok(Some(CLOSED.to_owned()));
    }
    match reader.table_count(&facts.name).await {
        Ok(0) => Ok(Some("it has no tables".to_owned())),
        Ok(count) => {
            *tables = count;
            Ok(None)
        }
        Err(error) if matches!(error.kind(), StepErrorKind::Denied | StepErrorKind::Conflict) => Err(error),
        Err(error) if error.kind().is_transient() => Err(error),
        Err(error) => Ok(Some(error.message().to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use jm_client_postgres::test_server::PgServer;

    use super::*;
    use crate::bench::{Bed, bed, bed_at};

    async fn inspect(bed: &Bed) -> Output {
        let previewed = Inspect.preview(&bed.read(), &Input::default()).await.expect("preview");
        let done = bed.run(&Inspect, Input::default()).await;
        let output = done.output.expect("it never fails for a lost database");
        // The server writes small files of its own into a database that was gone into.
        let size_bytes = output.size_bytes;
        assert_eq!(
            previewed
                .predicted
                .map(|before| Output { size_bytes, ..before })
                .as_ref(),
            Some(&output)
        );
        output
    }

    #[tokio::test]
    async fn a_database_with_tables_serves() {
        let server = PgServer::shared();
        let name = server.database("inspect").await;
        let empty = inspect(&bed(server, &name)).await;
        assert!(empty.exists && !empty.serving && empty.problem.as_deref() == Some("it has no tables"));
        // What an image of the server brings along is no data.
        let extension = [
            "CREATE EXTENSION earthdistance CASCADE",
            "CREATE TABLE of_extension (id int)",
            "ALTER EXTENSION cube ADD TABLE of_extension",
        ];
        server.sql(&name, &extension).await;
        let bare = inspect(&bed(server, &name)).await;
        assert!(!bare.serving && bare.tables == 0, "{bare:?}");
        server.sql(&name, &["CREATE TABLE users (id int)"]).await;
        let output = inspect(&bed(server, &name)).await;
        assert!(output.reachable && output.exists && output.serving, "{output:?}");
        assert_eq!(
            (output.tables, output.connection_limit, output.problem),
            (1, Some(-1), None)
        );
        server
            .sql("postgres", &[&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")])
            .await;
        let closed = inspect(&bed(server, &name)).await;
        assert!(closed.exists && !closed.serving && !closed.allows_connections);
        let problem = closed.problem.expect("told");
        for words in ["`jm plan resume`", "`jm step run postgres.unquiesce`"] {
            assert!(problem.contains(words), "{problem}");
        }
    }

    #[tokio::test]
    async fn a_lost_database_and_a_lost_server_are_answers() {
        let server = PgServer::shared();
        let lost = inspect(&bed(server, "never_there")).await;
        assert!(lost.reachable && !lost.exists && !lost.serving);
        let down = inspect(&bed_at("postgresql://u@127.0.0.1:1/d")).await;
        assert!(!down.reachable && !down.serving && down.problem.is_some());
    }

    #[tokio::test]
    async fn what_has_no_place_left_is_not_called_lost() {
        let server = PgServer::shared();
        let name = server.database("crowded").await;
        let role = format!("r_{name}");
        server.sql(&name, &["CREATE TABLE users (id int)"]).await;
        let create = format!("CREATE ROLE {role} LOGIN PASSWORD 'x'");
        server.sql("postgres", &[&create]).await;
        let bed = || bed_at(&format!("postgresql://{role}:x@127.0.0.1:{}/{name}", server.port()));
        assert!(inspect(&bed()).await.serving, "there is a place");

        let application = bed().read().read::<Postgres>().await.expect("a reader");
        let _session = application.connect_to(&name, None).await.expect("a session");
        // Superusers are let in whatever the limit is, and so they never saw this.
        for limited in ["DATABASE", "ROLE"] {
            let what = if limited == "ROLE" { &role } else { &name };
            let limit = |limit: i32| format!("ALTER {limited} {what} CONNECTION LIMIT {limit}");
            server.sql("postgres", &[&limit(1)]).await;
            let previewed = Inspect.preview(&bed().read(), &Input::default()).await;
            let ran = bed().run(&Inspect, Input::default()).await.output;
            for error in [previewed.expect_err("nobody knows"), ran.expect_err("nobody knows")] {
                assert_eq!(error.kind(), StepErrorKind::Unavailable, "{limited}: {error}");
                assert!(error.message().contains("53300"), "{limited}: {error}");
            }
            server.sql("postgres", &[&limit(-1)]).await;
        }
    }

    #[tokio::test]
    async fn a_wrong_password_is_no_answer() {
        let url = format!("postgresql://jm:wrong@127.0.0.1:{}/postgres", PgServer::shared().port());
        let error = look(&bed_at(&url).read(), &Input::default()).await.expect_err("denied");
        assert_eq!(error.kind(), StepErrorKind::Denied);
    }
}
