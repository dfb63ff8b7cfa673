//! `postgres.query`: asks one question, in a transaction that cannot write, of functions that only look.

mod calls;

use std::time::Duration;

use jm_client_postgres::{Postgres, ReadSession, TextValue, ToSql};
use jm_step::{
    Effect, InputIssue, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError, StepErrorKind,
    StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::common;

const DEFAULT_LIMIT: u32 = 100;
const HIGHEST_LIMIT: u32 = 10_000;

/// See the module.
pub(crate) struct Query;

/// The question.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// One `SELECT`, `WITH`, `VALUES` or `TABLE`. Values go into `$1`, `$2`, …, never into the text. Names are looked up
    /// in `pg_catalog` alone, so that no function or operator of the application comes in: tables need their schema, as
    /// in `public.users`. Functions that may do something are refused: those that PostgreSQL calls volatile, but for some that only look, such as `random` and `pg_database_size`.
    sql: String,
    /// The values of `$1`, `$2`, …: text, numbers, booleans or null.
    #[serde(default)]
    parameters: Vec<Value>,
    /// The database. Default: the one that the target names.
    #[serde(default)]
    database: Option<String>,
    /// The most rows that are taken. Default: 100.
    #[serde(default = "default_limit")]
    #[schemars(range(min = 1, max = 10000))]
    limit: u32,
}

/// The answer. It stands in the run's journal: ask for counts and times rather than for people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Output {
    /// The rows, each by its columns' names.
    pub(crate) rows: Vec<Map<String, Value>>,
    /// How many there are in `rows`.
    pub(crate) count: u64,
    /// Whether there were more than were taken.
    pub(crate) truncated: bool,
}

impl StepType for Query {
    const NAME: &'static str = "postgres.query";
    const SUMMARY: &'static str = "asks one question, in a transaction that cannot write";
    const EFFECT: Effect = Effect::ReadOnly;
    const REPEAT: Repeat = Repeat::Safe;
    const TIMEOUT: Duration = Duration::from_mins(5);
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        let mut issues = Vec::new();
        if !asks(&input.sql) {
            let issue = InputIssue::at("/sql", "this is not a question");
            issues.push(issue.help("begin with `SELECT`, `WITH`, `VALUES` or `TABLE`"));
        }
        if !(1..=HIGHEST_LIMIT).contains(&input.limit) {
            issues.push(InputIssue::at("/limit", format!("from 1 to {HIGHEST_LIMIT} rows")));
        }
        for (index, value) in input.parameters.iter().enumerate() {
            if value.is_array() || value.is_object() {
                issues.push(InputIssue::at(
                    format!("/parameters/{index}"),
                    "a list or a map is no value for SQL",
                ));
            }
        }
        common::none_or(issues)
    }

    fn roles(&self) -> Vec<Role> {
        common::roles()
    }

    fn needs(&self, _: &Known) -> Vec<Need> {
        vec![Need::of("database", &["CONNECT", "SQL"])]
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        match ask(cx, input).await {
            Ok(output) => {
                let rows = common::plural(output.rows.len(), "row");
                Ok(Preview::verified(format!("the query gives {rows} now")).predict(output))
            }
            // An earlier step may bring what it asks for.
            Err(error) if error.kind() == StepErrorKind::NotFound => {
                Ok(Preview::declared(format!("will ask; now it could not: {error}")))
            }
            Err(error) => Err(error),
        }
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let output = ask(cx, &input).await?;
        cx.log(format!("the query gave {}", common::plural(output.rows.len(), "row")))
            .await;
        Ok(output)
    }

    async fn probe(&self, _: &ReadContext, _: &Input) -> Result<Probe<Output>, StepError> {
        Ok(Probe::NotStarted)
    }
}

fn default_limit() -> u32 {
    DEFAULT_LIMIT
}

fn asks(sql: &str) -> bool {
    let first: String = sql.trim_start().chars().take_while(char::is_ascii_alphabetic).collect();
    ["select", "with", "values", "table"].contains(&first.to_ascii_lowercase().as_str())
}

async fn ask(cx: &ReadContext, input: &Input) -> Result<Output, StepError> {
    let reader = cx.read::<Postgres>().await?;
    let name = common::chosen(input.database.as_ref(), &reader);
    let session = reader.connect_to(name, Some(cx.step())).await?;
    session.begin_sealed().await?;
    calls::only_looks(&session, &input.sql).await?;
    let mut rows = rows(&session, input).await?;
    let truncated = rows.len() > input.limit as usize;
    rows.truncate(input.limit as usize);
    Ok(Output {
        count: rows.len() as u64,
        rows,
        truncated,
    })
}

/// One row more than is wanted, to know whether there are more.
async fn rows(session: &ReadSession, input: &Input) -> Result<Vec<Map<String, Value>>, StepError> {
    let sql = input.sql.trim().trim_end_matches(';');
    let limit = input.limit + 1;
    // The line break ends a comment at the end of the question.
    let wrapped = format!("SELECT row_to_json(asked)::text FROM (\n{sql}\n) asked LIMIT {limit}");
    let values: Vec<_> = input.parameters.iter().map(text_value).collect();
    let values: Vec<_> = values.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
    let found = session.json(&wrapped, &values).await;
    found.map_err(|error| match error.kind() {
        StepErrorKind::NotFound => error.hint("a table is named with its schema, as in `public.users`"),
        _ => error,
    })
}

fn text_value(value: &Value) -> TextValue {
    TextValue(match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use jm_client_postgres::test_server::PgServer;
    use serde_json::json;

    use super::*;
    use crate::bench::{Bed, bed};

    fn input(sql: &str, parameters: &[Value]) -> Input {
        Input {
            sql: sql.to_owned(),
            parameters: parameters.to_vec(),
            database: None,
            limit: 2,
        }
    }

    async fn people(server: &PgServer) -> Bed {
        let name = server.database("query").await;
        server
            .sql(
                &name,
                &[
                    "CREATE TABLE users (id int, name text)",
                    "INSERT INTO users VALUES (1, 'ann'), (2, 'bob'), (3, NULL)",
                ],
            )
            .await;
        bed(server, &name)
    }

    #[tokio::test]
    async fn a_table_without_its_schema_is_said_to_need_it() {
        let bed = people(PgServer::shared()).await;
        let error = bed.run(&Query, input("SELECT id FROM users", &[])).await.output;
        let error = error.expect_err("not in pg_catalog");
        assert_eq!(error.kind(), StepErrorKind::NotFound);
        assert!(error.hint_text().is_some_and(|hint| hint.contains("`public.users`")));
    }

    #[tokio::test]
    async fn rows_come_by_name_and_are_not_logged() {
        let bed = people(PgServer::shared()).await;
        let all = input("SELECT id, name FROM public.users ORDER BY id; ", &[]);
        let previewed = Query.preview(&bed.read(), &all).await.expect("preview");
        let done = bed.run(&Query, all).await;
        let output = done.output.expect("rows");
        assert_eq!(previewed.predicted.as_ref(), Some(&output));
        assert_eq!(
            json!(output.rows),
            json!([{ "id": 1, "name": "ann" }, { "id": 2, "name": "bob" }])
        );
        assert!(output.truncated && output.count == 2);
        assert_eq!(done.told.log, ["the query gave 2 rows"]);
    }

    #[tokio::test]
    async fn values_stay_values() {
        let bed = people(PgServer::shared()).await;
        let asked = input(
            "SELECT id FROM public.users WHERE name = $1 AND id < $2 AND $3::text IS NULL -- the end",
            &[json!("ann'; DROP TABLE users"), json!(9), json!(null)],
        );
        assert_eq!(bed.run(&Query, asked).await.output.expect("rows").count, 0);
        let found = input("SELECT id FROM public.users WHERE name = $1", &[json!("ann")]);
        assert_eq!(
            bed.run(&Query, found).await.output.expect("rows").rows[0]["id"],
            json!(1)
        );
    }

    #[tokio::test]
    async fn nothing_can_be_written() {
        let server = PgServer::shared();
        let bed = people(server).await;
        for sql in [
            "WITH gone AS (DELETE FROM public.users RETURNING id) SELECT id FROM gone",
            "SELECT 1) x; DELETE FROM public.users; SELECT (1",
            "SELECT nextval('public.s')",
        ] {
            bed.run(&Query, input(sql, &[])).await.output.expect_err(sql);
        }
        let left = bed
            .run(&Query, input("SELECT count(*) AS n FROM public.users", &[]))
            .await;
        assert_eq!(left.output.expect("rows").rows[0]["n"], json!(3));
    }

    #[tokio::test]
    async fn nobody_is_ended_by_a_question_nor_by_its_dry_run() {
        let server = PgServer::shared();
        let bed = people(server).await;
        let sessions = "SELECT pid FROM pg_catalog.pg_stat_activity WHERE backend_type = 'client backend'";
        let victim = bed.read();
        let victim = victim.read::<Postgres>().await.expect("a reader");
        let victim = victim.connect_to(victim.database(), None).await.expect("a session");
        for sql in [
            format!("SELECT count(pg_terminate_backend(pid)) FROM ({sessions} AND pid <> pg_backend_pid()) x"),
            "SELECT pg_catalog.\"pg_sleep\"(0)".to_owned(),
            "SELECT txid_current()".to_owned(),
        ] {
            let asked = input(&sql, &[]);
            let error = Query.preview(&bed.read(), &asked).await.expect_err(&sql);
            assert!(error.message().contains("may do more than look"), "{error}");
            bed.run(&Query, asked).await.output.expect_err(&sql);
        }
        let alive: Vec<i64> = victim.json("SELECT '1'", &[]).await.expect("the other session lives");
        assert_eq!(alive, [1]);
        let looks = input(
            "SELECT pg_database_size(current_database()) > 0 AS some, random() < 2 AS any",
            &[],
        );
        let done = bed.run(&Query, looks).await.output.expect("rows");
        assert_eq!(json!(done.rows), json!([{ "some": true, "any": true }]));
    }

    #[tokio::test]
    async fn what_is_not_there_yet_does_not_stop_a_dry_run() {
        let bed = people(PgServer::shared()).await;
        let later = input("SELECT 1 FROM public.later", &[]);
        let preview = Query.preview(&bed.read(), &later).await.expect("declared");
        assert_eq!(preview.grade, jm_step::Grade::Declared);
        let error = Query
            .preview(&bed.read(), &input("SELECT FROM WHERE", &[]))
            .await
            .expect_err("no SQL");
        assert_eq!(error.kind(), StepErrorKind::InvalidInput);
    }

    #[test]
    fn only_questions_are_asked() {
        assert!(Query.check(&input(" select 1", &[])).is_ok());
        let bad = Input {
            limit: 0,
            ..input("DELETE FROM x", &[json!([1])])
        };
        assert_eq!(Query.check(&bad).expect_err("three").len(), 3);
    }
}
