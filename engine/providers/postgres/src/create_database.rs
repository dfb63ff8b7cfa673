//! `postgres.create_database`: makes an empty database from `template0`.

use jm_client_postgres::Postgres;
use jm_client_postgres::quote::{ident, literal};
use jm_step::{
    Change, Connection, Effect, InputIssue, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext,
    StepError, StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::common;

/// See the module.
pub(crate) struct CreateDatabase;

/// What is made.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// Its name.
    database: String,
    /// Who owns it. Default: the user of the target.
    #[serde(default)]
    owner: Option<String>,
    /// Its encoding. Default: `UTF8`.
    #[serde(default)]
    encoding: Option<String>,
    /// Its locale, such as `C.UTF-8`. Default: that of `template0`.
    #[serde(default)]
    locale: Option<String>,
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Output {
    /// Its name.
    pub(crate) database: String,
    /// The server's number for it.
    pub(crate) oid: u32,
}

/// Saved when it was seen that there is no such database, and before it is made.
#[derive(Debug, Serialize, Deserialize)]
struct Checkpoint {
    making: String,
}

impl StepType for CreateDatabase {
    const NAME: &'static str = "postgres.create_database";
    const SUMMARY: &'static str = "makes an empty database";
    const EFFECT: Effect = Effect::Reversible;
    const REPEAT: Repeat = Repeat::Probe;
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        common::none_or(common::name_issues("/database", &input.database))
    }

    fn roles(&self) -> Vec<Role> {
        common::roles()
    }

    fn needs(&self, _: &Known) -> Vec<Need> {
        vec![Need::of("database", &["CREATEDB"])]
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let reader = cx.read::<Postgres>().await?;
        let name = &input.database;
        if !reader.server().await?.may_create_databases {
            return Err(
                StepError::denied(format!("role `{}` may not create databases", reader.user()))
                    .hint(format!("as a superuser: `ALTER ROLE {} CREATEDB`", reader.user())),
            );
        }
        let change = change(&common::object(name, &reader), input);
        if reader.find_database(name).await?.is_some() {
            let summary = format!("will make database `{name}`, which exists now: an earlier step has to drop it");
            return Ok(Preview::declared(summary).with_changes(vec![change]));
        }
        Ok(Preview::computed(format!("will make database `{name}`"), vec![change]))
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let postgres = cx.connect::<Postgres>().await?;
        if postgres.reader().find_database(&input.database).await?.is_some() {
            return Err(
                StepError::conflict(format!("database `{}` exists already", input.database))
                    .hint("choose another name, or drop it first with `postgres.drop_database`"),
            );
        }
        cx.save_checkpoint(Checkpoint {
            making: input.database.clone(),
        })
        .await?;
        postgres
            .maintenance(Some(cx.step()))
            .await?
            .batch(&statement(&input))
            .await?;
        cx.changed(change(&common::object(&input.database, postgres.reader()), &input))
            .await;
        let made = postgres.reader().find_database(&input.database).await?;
        let made = made.ok_or_else(|| common::no_database(&input.database))?;
        Ok(Output {
            database: made.name,
            oid: made.oid,
        })
    }

    async fn probe(&self, cx: &ReadContext, input: &Input) -> Result<Probe<Output>, StepError> {
        let Some(Checkpoint { making }) = cx.checkpoint()? else {
            return Ok(Probe::NotStarted);
        };
        if making != input.database {
            return Ok(Probe::unknown(format!("the attempt was making database `{making}`")));
        }
        let reader = cx.read::<Postgres>().await?;
        Ok(match reader.find_database(&making).await? {
            Some(made) => Probe::Succeeded(Output {
                database: made.name,
                oid: made.oid,
            }),
            None if reader.works_for(cx.step()).await? => Probe::Running,
            None => Probe::NotStarted,
        })
    }
}

fn statement(input: &Input) -> String {
    let mut sql = format!("CREATE DATABASE {} TEMPLATE template0", ident(&input.database));
    let encoding = input.encoding.as_deref().unwrap_or("UTF8");
    sql = format!("{sql} ENCODING {}", literal(encoding));
    if let Some(locale) = &input.locale {
        sql = format!("{sql} LOCALE {}", literal(locale));
    }
    if let Some(owner) = &input.owner {
        sql = format!("{sql} OWNER {}", ident(owner));
    }
    sql
}

fn change(object: &str, input: &Input) -> Change {
    let encoding = input.encoding.as_deref().unwrap_or("UTF8");
    Change::create(
        object,
        json!({ "owner": input.owner, "encoding": encoding, "locale": input.locale }),
    )
}

#[cfg(test)]
mod tests {
    use jm_client_postgres::test_server::PgServer;
    use jm_step::StepErrorKind;

    use super::*;
    use crate::bench::{bed, facts};

    fn input(database: String) -> Input {
        let (encoding, locale) = (Some("LATIN1".to_owned()), Some("C".to_owned()));
        Input {
            database,
            owner: Some("pg_monitor".to_owned()),
            encoding,
            locale,
        }
    }

    #[tokio::test]
    async fn it_is_made_as_asked_and_not_twice() {
        let server = PgServer::shared();
        let name = format!("Odd \"{}\"", PgServer::unique("n"));
        let preview = CreateDatabase
            .preview(&bed(server, "postgres").read(), &input(name.clone()))
            .await
            .expect("preview");
        let done = bed(server, "postgres").run(&CreateDatabase, input(name.clone())).await;
        let output = done.output.expect("made");
        assert_eq!(preview.changes, done.told.changes);
        let facts = facts(server, &name).await.expect("there");
        assert_eq!((facts.encoding.as_str(), facts.collation.as_str()), ("LATIN1", "C"));
        assert_eq!((facts.owner.as_str(), facts.oid), ("pg_monitor", output.oid));
        let again = bed(server, "postgres").run(&CreateDatabase, input(name.clone())).await;
        assert_eq!(again.output.expect_err("exists").kind(), StepErrorKind::Conflict);
        let resumed = bed(server, "postgres").checkpoint(done.told.checkpoints[0].clone());
        let probed = CreateDatabase
            .probe(&resumed.read(), &input(name))
            .await
            .expect("probed");
        assert_eq!(probed, Probe::Succeeded(output));
    }

    #[tokio::test]
    async fn the_probe_tells_what_was_not_made() {
        let server = PgServer::shared();
        let fresh = bed(server, "postgres");
        let name = PgServer::unique("never");
        assert_eq!(
            CreateDatabase
                .probe(&fresh.read(), &input(name.clone()))
                .await
                .expect("probed"),
            Probe::NotStarted
        );
        let begun = bed(server, "postgres").checkpoint(json!({ "making": name }));
        assert_eq!(
            CreateDatabase.probe(&begun.read(), &input(name)).await.expect("probed"),
            Probe::NotStarted
        );
    }
}
