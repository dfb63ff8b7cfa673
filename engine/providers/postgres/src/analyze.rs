//! `postgres.analyze`: gives the planner its statistics, table by table, and clears dead rows where asked.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::try_join_all;
use jm_client_postgres::{Postgres, RelationName, Session};
use jm_step::{
    Change, Connection, Effect, InputIssue, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext,
    StepError, StepType, Unit,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common;

/// See the module.
pub(crate) struct Analyze;

/// What is analysed, and how.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// The database. Default: the one that the target names.
    #[serde(default)]
    database: Option<String>,
    /// Clears dead rows and sets the visibility map too. Default: false.
    #[serde(default)]
    vacuum: bool,
    /// How many tables at a time. Default: 2.
    #[serde(default = "default_jobs")]
    #[schemars(range(min = 1, max = 16))]
    jobs: u16,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Output {
    /// The database.
    pub(crate) database: String,
    /// How many tables and materialised views were analysed.
    pub(crate) tables: u64,
}

impl StepType for Analyze {
    const NAME: &'static str = "postgres.analyze";
    const SUMMARY: &'static str = "gives the planner its statistics, and clears dead rows where asked";
    const EFFECT: Effect = Effect::Reversible;
    const REPEAT: Repeat = Repeat::Safe;
    const TIMEOUT: Duration = Duration::from_mins(30);
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        let jobs = (!(1..=16).contains(&input.jobs)).then(|| InputIssue::at("/jobs", "from 1 to 16 tables at a time"));
        common::none_or(jobs.into_iter().collect())
    }

    fn roles(&self) -> Vec<Role> {
        common::roles()
    }

    fn needs(&self, _: &Known) -> Vec<Need> {
        vec![Need::of("database", &["OWNER"])]
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let reader = cx.read::<Postgres>().await?;
        let name = common::chosen(input.database.as_ref(), &reader);
        let object = common::object(name, &reader);
        let change = change(&object, input.vacuum);
        Ok(Preview::computed(
            format!("will run {} in the {object}", verb(input.vacuum)),
            vec![change],
        ))
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let postgres = cx.connect::<Postgres>().await?;
        let name = common::chosen(input.database.as_ref(), postgres.reader()).to_owned();
        let first = postgres.connect_to(&name, Some(cx.step())).await?;
        let tables = tables(&first, "true").await?;
        let work = Work::new(tables, input.vacuum);
        let mut sessions = vec![first];
        for _ in 1..input.jobs.min(work.total.try_into().unwrap_or(u16::MAX)) {
            sessions.push(postgres.connect_to(&name, Some(cx.step())).await?);
        }
        try_join_all(sessions.iter().map(|session| work.on(cx, session))).await?;
        have_statistics(&sessions[0], &name).await?;
        cx.changed(change(&common::object(&name, postgres.reader()), input.vacuum))
            .await;
        Ok(Output {
            database: name,
            tables: work.total,
        })
    }

    async fn probe(&self, _: &ReadContext, _: &Input) -> Result<Probe<Output>, StepError> {
        Ok(Probe::NotStarted)
    }
}

fn default_jobs() -> u16 {
    2
}

fn verb(vacuum: bool) -> &'static str {
    if vacuum { "VACUUM (ANALYZE)" } else { "ANALYZE" }
}

fn change(object: &str, vacuum: bool) -> Change {
    Change::send(format!("statistics of {object}"), verb(vacuum))
}

/// What the server has to say of it afterwards: it warns of a table that it passes over, and calls that no failure. It
/// marks tables that have never been analysed since PostgreSQL 14.
async fn have_statistics(session: &Session, database: &str) -> Result<(), StepError> {
    let without = tables(session, "c.reltuples < 0").await?;
    let Some(first) = without.first() else { return Ok(()) };
    let others = match without.len() {
        1 => String::new(),
        more => format!(" and {}", common::plural(more - 1, "other table")),
    };
    Err(StepError::failed(format!(
        "the server left `{first}`{others} of database `{database}` without statistics"
    ))
    .hint("read its log for the reason; a plan can be run again from here with `jm plan resume`"))
}

/// The largest first, so that none is left for the end. A partitioned table takes its partitions along; what belongs to
/// others is theirs to keep.
async fn tables(session: &Session, which: &str) -> Result<Vec<RelationName>, StepError> {
    let sql = format!(
        "SELECT jsonb_build_array(n.nspname, c.relname)::text
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'm', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
            AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND pg_has_role(c.relowner, 'USAGE')
            AND {which}
        ORDER BY c.relpages DESC, 1"
    );
    let names: Vec<(String, String)> = session.json(&sql, &[]).await?;
    Ok(names
        .into_iter()
        .map(|(schema, name)| RelationName::new(schema, name))
        .collect())
}

/// Tables that several sessions take from one pile.
struct Work {
    pile: Mutex<std::vec::IntoIter<RelationName>>,
    total: u64,
    done: AtomicU64,
    verb: &'static str,
}

impl Work {
    fn new(tables: Vec<RelationName>, vacuum: bool) -> Self {
        Self {
            total: tables.len() as u64,
            pile: Mutex::new(tables.into_iter()),
            done: AtomicU64::new(0),
            verb: verb(vacuum),
        }
    }

    async fn on(&self, cx: &StepContext, session: &Session) -> Result<(), StepError> {
        while let Some(table) = self.next() {
            let sql = format!("{} {}", self.verb, table.sql());
            tokio::select! {
                worked = session.batch(&sql) => worked.map_err(|error| error.context(format_args!("{} of `{table}`", self.verb)))?,
                () = cx.cancelled() => return Err(StepError::cancelled("stopped between two tables")),
            }
            let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
            cx.progress(done, Some(self.total), Unit::Items).await;
        }
        Ok(())
    }

    fn next(&self) -> Option<RelationName> {
        self.pile.lock().unwrap_or_else(PoisonError::into_inner).next()
    }
}

#[cfg(test)]
mod tests {
    use jm_client_postgres::test_server::PgServer;
    use jm_step::StepErrorKind;

    use super::*;
    use crate::bench::bed;

    fn input(database: Option<String>, vacuum: bool) -> Input {
        Input {
            database,
            vacuum,
            jobs: 3,
        }
    }

    #[tokio::test]
    async fn every_table_gets_its_statistics() {
        let server = PgServer::shared();
        let name = server.database("analyze").await;
        server
            .sql(
                &name,
                &[
                    "CREATE TABLE users (id int)",
                    "INSERT INTO users SELECT generate_series(1, 500)",
                    "CREATE SCHEMA \"Odd s\"",
                    "CREATE TABLE \"Odd s\".\"T\" (id int)",
                    "CREATE TABLE parts (id int) PARTITION BY RANGE (id)",
                    "CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10)",
                    "INSERT INTO parts VALUES (1)",
                    "CREATE MATERIALIZED VIEW ranking AS SELECT * FROM users",
                ],
            )
            .await;
        let preview = Analyze
            .preview(&bed(server, &name).read(), &input(None, true))
            .await
            .expect("preview");
        let done = bed(server, &name).run(&Analyze, input(None, true)).await;
        assert_eq!(done.output.expect("analysed").tables, 4);
        assert_eq!(preview.changes, done.told.changes);
        let rows = "SELECT reltuples FROM pg_class WHERE oid = 'public.users'::regclass";
        assert_eq!(server.text(&name, rows).await.as_deref(), Some("500"));
        let parts = "SELECT reltuples FROM pg_class WHERE oid = 'public.parts_1'::regclass";
        assert_eq!(server.text(&name, parts).await.as_deref(), Some("1"));
        assert_eq!(
            server
                .text(&name, "SELECT count(*) FROM pg_stats WHERE tablename = 'ranking'")
                .await
                .as_deref(),
            Some("1")
        );
    }

    #[tokio::test]
    async fn a_table_that_was_passed_over_is_told() {
        let server = PgServer::shared();
        let name = server.database("analyze").await;
        let table = "CREATE TABLE users (id int)";
        server.sql(&name, &[table, "CREATE TABLE games (id int)"]).await;
        let session = server.open(&name).await.connect_to(&name, None).await.expect("open");
        session.batch("ANALYZE public.users").await.expect("analysed");
        let error = have_statistics(&session, &name).await.expect_err("one has none");
        assert!(
            error
                .message()
                .starts_with("the server left `public.games` of database"),
            "{error}"
        );
        session.batch("ANALYZE public.games").await.expect("analysed");
        have_statistics(&session, &name).await.expect("both have some");
    }

    #[tokio::test]
    async fn a_copy_is_called_after_what_it_is_of() {
        let server = PgServer::shared();
        let name = server.database("analyze").await;
        let copy = Some(format!("{name}_jmr_x1"));
        let preview = Analyze
            .preview(&bed(server, &name).read(), &input(copy.clone(), false))
            .await
            .expect("preview");
        assert_eq!(
            preview.changes[0].object,
            format!("statistics of restored copy of database `{name}`")
        );
        let error = bed(server, &name)
            .run(&Analyze, input(copy, false))
            .await
            .output
            .expect_err("not there");
        assert_eq!(error.kind(), StepErrorKind::NotFound);
    }
}
