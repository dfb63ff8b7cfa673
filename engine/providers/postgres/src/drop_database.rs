//! `postgres.drop_database`: removes a database, its sessions ended with it.

use jm_client_postgres::quote::ident;
use jm_client_postgres::{DatabaseFacts, Postgres, Reader, Whose};
use jm_step::{
    Change, Connection, Effect, InputIssue, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext,
    StepError, StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common;
use crate::sessions;

/// Databases that the server itself needs.
const SERVERS_OWN: &[&str] = &["postgres", "template0", "template1"];
/// The first version that ends a database's sessions itself.
const FORCE_SINCE: u32 = 13;

/// See the module.
pub(crate) struct DropDatabase;

/// What is removed.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// Its name. One that is not there is no error.
    database: String,
    /// The same name once more, where it is the very database that the target names.
    #[serde(default)]
    confirm: Option<String>,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Output {
    /// The database.
    #[schemars(extend("x-jm-taken-up" = true))]
    pub(crate) database: String,
    /// Whether it was there.
    pub(crate) dropped: bool,
}

impl StepType for DropDatabase {
    const NAME: &'static str = "postgres.drop_database";
    const SUMMARY: &'static str = "removes a database, its sessions ended with it";
    const EFFECT: Effect = Effect::Irreversible;
    // What is gone stays gone; but a database of the same name that somebody made meanwhile is not ours to remove.
    const REPEAT: Repeat = Repeat::Probe;
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        let mut issues = common::name_issues("/database", &input.database);
        if input.confirm.as_ref().is_some_and(|confirm| *confirm != input.database) {
            issues.push(InputIssue::at("/confirm", "it is not the name of the database"));
        }
        common::none_or(issues)
    }

    fn roles(&self) -> Vec<Role> {
        common::roles()
    }

    fn needs(&self, _: &Known) -> Vec<Need> {
        vec![Need::of("database", &["OWNER"])]
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let reader = cx.read::<Postgres>().await?;
        guard(&reader, input)?;
        let name = &input.database;
        match reader.find_database(name).await? {
            None => Ok(Preview::verified(format!("database `{name}` does not exist")).predict(done(input, false))),
            Some(facts) => {
                may_drop(&reader, &facts).await?;
                let sessions = sessions::to_end(&reader, std::slice::from_ref(name), Whose::All).await?;
                let sessions = common::plural(sessions.len(), "session");
                let summary = format!(
                    "will remove database `{name}`, {} bytes, {sessions}",
                    facts.size_bytes.unwrap_or(0)
                );
                let change = Change::delete(common::object(name, &reader));
                Ok(Preview::computed(summary, vec![change]).predict(done(input, true)))
            }
        }
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let postgres = cx.connect::<Postgres>().await?;
        guard(postgres.reader(), &input)?;
        let Some(facts) = postgres.reader().find_database(&input.database).await? else {
            return Ok(done(&input, false));
        };
        may_drop(postgres.reader(), &facts).await?;
        cx.save_checkpoint(facts.oid).await?;
        let force = postgres.reader().server().await?.major() >= FORCE_SINCE;
        let session = postgres.maintenance(Some(cx.step())).await?;
        let with = if force { " WITH (FORCE)" } else { "" };
        session
            .batch(&format!("DROP DATABASE IF EXISTS {}{with}", ident(&input.database)))
            .await?;
        cx.changed(Change::delete(common::object(&input.database, postgres.reader())))
            .await;
        Ok(done(&input, true))
    }

    async fn probe(&self, cx: &ReadContext, input: &Input) -> Result<Probe<Output>, StepError> {
        let Some(oid) = cx.checkpoint::<u32>()? else {
            return Ok(Probe::NotStarted);
        };
        let reader = cx.read::<Postgres>().await?;
        let under_way = reader.works_for(cx.step()).await?;
        Ok(match reader.database_name(oid).await? {
            None => Probe::Succeeded(done(input, true)),
            Some(_) if under_way => Probe::Running,
            Some(name) if name == input.database => Probe::NotStarted,
            Some(name) => Probe::unknown(format!("the database is called `{name}` now")),
        })
    }
}

fn done(input: &Input, dropped: bool) -> Output {
    Output {
        database: input.database.clone(),
        dropped,
    }
}

fn guard(reader: &Reader, input: &Input) -> Result<(), StepError> {
    let name = input.database.as_str();
    if SERVERS_OWN.contains(&name) {
        return Err(StepError::refused(format!(
            "database `{name}` belongs to the server and is not removed"
        )));
    }
    if name == reader.database() && input.confirm.as_deref() != Some(name) {
        return Err(
            StepError::refused(format!("database `{name}` is the one that the target names"))
                .hint(format!("if it is really to go, say so: `confirm: {name}`")),
        );
    }
    Ok(())
}

async fn may_drop(reader: &Reader, facts: &DatabaseFacts) -> Result<(), StepError> {
    if facts.is_template {
        return Err(
            StepError::refused(format!("database `{}` is a template", facts.name)).hint(format!(
                "if it is to go: `ALTER DATABASE {} IS_TEMPLATE false`",
                ident(&facts.name)
            )),
        );
    }
    if facts.may_alter || reader.server().await?.superuser {
        return Ok(());
    }
    Err(StepError::denied(format!(
        "role `{}` does not own database `{}`",
        reader.user(),
        facts.name
    ))
    .hint(format!("connect as `{}` or as a superuser", facts.owner)))
}

#[cfg(test)]
mod tests {
    use jm_client_postgres::test_server::PgServer;
    use jm_step::StepErrorKind;

    use super::*;
    use crate::bench::bed;

    fn input(database: &str, confirm: bool) -> Input {
        Input {
            database: database.to_owned(),
            confirm: confirm.then(|| database.to_owned()),
        }
    }

    #[tokio::test]
    async fn what_is_in_use_by_others_is_told_beforehand() {
        let server = PgServer::shared();
        let (name, owner) = (server.database("drop").await, server.role("owner").await);
        let sql = format!("ALTER DATABASE {name} OWNER TO {owner}");
        server.sql("postgres", &[&sql]).await;
        let _inside = server.open(&name).await.connect_to(&name, None).await.expect("inside");
        let input = Input {
            database: name.clone(),
            confirm: Some(name.clone()),
        };
        let bed = crate::bench::bed_at(&server.url_of(&owner, &name));
        let error = DropDatabase.preview(&bed.read(), &input).await.expect_err("told");
        assert_eq!(error.kind(), StepErrorKind::Denied, "{error}");
        assert!(error.message().contains("superuser `jm`"), "{error}");
    }

    #[tokio::test]
    async fn a_database_in_use_goes_and_is_not_missed() {
        let server = PgServer::shared();
        let name = server.database("drop").await;
        let _inside = server.open(&name).await.connect_to(&name, None).await.expect("inside");
        let here = || bed(server, "postgres");
        let preview = DropDatabase
            .preview(&here().read(), &input(&name, false))
            .await
            .expect("preview");
        let first = here().run(&DropDatabase, input(&name, false)).await;
        assert!(first.output.expect("dropped").dropped);
        assert_eq!(preview.changes, first.told.changes);
        let resumed = here().checkpoint(first.told.checkpoints[0].clone());
        let probed = DropDatabase
            .probe(&resumed.read(), &input(&name, false))
            .await
            .expect("probed");
        assert_eq!(probed, Probe::Succeeded(done(&input(&name, false), true)));
        assert!(
            !here()
                .run(&DropDatabase, input(&name, false))
                .await
                .output
                .expect("again")
                .dropped
        );
    }

    #[tokio::test]
    async fn the_targets_own_database_has_to_be_named_twice() {
        let server = PgServer::shared();
        let name = server.database("drop").await;
        let error = bed(server, &name)
            .run(&DropDatabase, input(&name, false))
            .await
            .output
            .expect_err("refused");
        assert_eq!(error.kind(), StepErrorKind::Refused);
        assert!(error.hint_text().is_some_and(|hint| hint.contains("confirm")));
        DropDatabase
            .preview(&bed(server, &name).read(), &input(&name, false))
            .await
            .expect_err("in a dry run too");
        assert!(
            bed(server, &name)
                .run(&DropDatabase, input(&name, true))
                .await
                .output
                .expect("dropped")
                .dropped
        );
    }

    #[tokio::test]
    async fn the_servers_own_and_those_of_others_stay() {
        let server = PgServer::shared();
        for name in SERVERS_OWN {
            let error = bed(server, "x")
                .run(&DropDatabase, input(name, true))
                .await
                .output
                .expect_err(name);
            assert_eq!(error.kind(), StepErrorKind::Refused);
        }
        let name = server.database("drop").await;
        let role = PgServer::unique("plain");
        server
            .sql("postgres", &[&format!("CREATE ROLE {role} LOGIN PASSWORD 'hunter22'")])
            .await;
        let url = format!("postgresql://{role}:hunter22@127.0.0.1:{}/postgres", server.port());
        let error = crate::bench::bed_at(&url)
            .run(&DropDatabase, input(&name, false))
            .await
            .output
            .expect_err("denied");
        assert_eq!(error.kind(), StepErrorKind::Denied);
        let wrong = Input {
            confirm: Some("other".to_owned()),
            ..input(&name, false)
        };
        assert!(DropDatabase.check(&wrong).is_err());
    }
}
