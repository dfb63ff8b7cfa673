//! `postgres.unquiesce`: lets sessions into a database again, as many as before.

use jm_client_postgres::{DatabaseFacts, Postgres};
use jm_step::{
    Change, Connection, Effect, InputIssue, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext,
    StepError, StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{common, quiesce, sessions};

/// See the module.
pub(crate) struct Unquiesce;

/// What to open, and how it was.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// The database. Default: the one that was closed, or the one that the target names.
    #[serde(default)]
    database: Option<String>,
    /// The outputs of the `postgres.quiesce` that closed it. Where they are empty, for it never ran, nothing is done.
    /// Left out, the database is just let open.
    #[serde(default)]
    quiesced: Option<Map<String, Value>>,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Output {
    /// The database, `null` where there was nothing to open.
    pub(crate) database: Option<String>,
    /// Whether something had to be put back.
    pub(crate) opened: bool,
}

impl StepType for Unquiesce {
    const NAME: &'static str = "postgres.unquiesce";
    const SUMMARY: &'static str = "lets sessions into a database again, as many as before";
    const EFFECT: Effect = Effect::Reversible;
    const REPEAT: Repeat = Repeat::Safe;
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        common::none_or(
            input
                .database
                .iter()
                .flat_map(|name| common::name_issues("/database", name))
                .collect(),
        )
    }

    fn roles(&self) -> Vec<Role> {
        common::roles()
    }

    fn needs(&self, _: &Known) -> Vec<Need> {
        vec![Need::of("database", &["OWNER"])]
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let reader = cx.read::<Postgres>().await?;
        let Some((facts, wanted)) = found(&reader, input).await? else {
            return Ok(Preview::verified("there is nothing to open").predict(NOTHING));
        };
        let changes = changes(&common::object(&facts.name, &reader), &facts, wanted);
        let summary = if changes.is_empty() {
            "is open"
        } else {
            "will be opened"
        };
        Ok(Preview::computed(
            format!("database `{}` {summary}", facts.name),
            changes,
        ))
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let postgres = cx.connect::<Postgres>().await?;
        let Some((facts, wanted)) = found(postgres.reader(), &input).await? else {
            return Ok(NOTHING);
        };
        let changes = changes(&common::object(&facts.name, postgres.reader()), &facts, wanted);
        let output = Output {
            database: Some(facts.name.clone()),
            opened: !changes.is_empty(),
        };
        if !output.opened {
            return Ok(output);
        }
        let session = postgres.maintenance(Some(cx.step())).await?;
        sessions::allow_connections(&session, &facts.name, wanted.allow).await?;
        sessions::limit_connections(&session, &facts.name, wanted.limit).await?;
        // What is written down is what the server has now, and not what was meant.
        let now = postgres.reader().find_database(&facts.name).await?;
        let now = now.ok_or_else(|| common::no_database(&facts.name))?;
        for change in done(&common::object(&facts.name, postgres.reader()), &facts, &now) {
            cx.changed(change).await;
        }
        Ok(output)
    }

    async fn probe(&self, _: &ReadContext, _: &Input) -> Result<Probe<Output>, StepError> {
        Ok(Probe::NotStarted)
    }
}

const NOTHING: Output = Output {
    database: None,
    opened: false,
};

/// How a database is to be.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    allow: bool,
    limit: i32,
}

/// The database as it is, and how it is to be; `None` where there is nothing to do.
async fn found(
    reader: &jm_client_postgres::Reader,
    input: &Input,
) -> Result<Option<(DatabaseFacts, Wanted)>, StepError> {
    let before = match &input.quiesced {
        Some(quiesced) if quiesced.is_empty() => return Ok(None),
        Some(quiesced) => Some(decode(quiesced)?),
        None => None,
    };
    if before.as_ref().is_some_and(|before| before.oid.is_none()) {
        return Ok(None);
    }
    let name = input
        .database
        .as_deref()
        .or(before.as_ref().map(|before| before.database.as_str()));
    let Some(facts) = reader.find_database(name.unwrap_or(reader.database())).await? else {
        return Ok(None);
    };
    let wanted = before.map_or(
        Wanted {
            allow: true,
            limit: facts.connection_limit,
        },
        |before| Wanted {
            allow: before.allowed_connections,
            limit: before.connection_limit,
        },
    );
    Ok(Some((facts, wanted)))
}

fn decode(quiesced: &Map<String, Value>) -> Result<quiesce::Output, StepError> {
    serde_json::from_value(Value::Object(quiesced.clone())).map_err(|error| {
        StepError::invalid_input("`quiesced` does not hold the outputs of a `postgres.quiesce`")
            .hint("write `quiesced: ${{ steps.ID.outputs }}`")
            .source(error)
    })
}

/// What became other by it.
fn done(object: &str, before: &DatabaseFacts, now: &DatabaseFacts) -> Vec<Change> {
    let now = Wanted {
        allow: now.allows_connections,
        limit: now.connection_limit,
    };
    changes(object, before, now)
}

fn changes(object: &str, facts: &DatabaseFacts, wanted: Wanted) -> Vec<Change> {
    let mut changes = Vec::new();
    if facts.allows_connections != wanted.allow {
        changes.push(Change::update(
            format!("connections to {object}"),
            facts.allows_connections,
            wanted.allow,
        ));
    }
    if facts.connection_limit != wanted.limit {
        changes.push(Change::update(
            format!("connection limit of {object}"),
            facts.connection_limit,
            wanted.limit,
        ));
    }
    changes
}

#[cfg(test)]
mod tests {
    use jm_client_postgres::test_server::PgServer;

    use super::*;
    use crate::bench::{bed, facts};
    use crate::quiesce::Quiesce;

    async fn closed(server: &PgServer, limit: i32) -> (String, Map<String, Value>) {
        let name = server.database("unquiesce").await;
        server
            .sql(
                "postgres",
                &[&format!("ALTER DATABASE {name} CONNECTION LIMIT {limit}")],
            )
            .await;
        let input = quiesce::Input {
            wait_seconds: 20,
            ..quiesce::Input::default()
        };
        let done = bed(server, &name).run(&Quiesce, input).await;
        let output = serde_json::to_value(done.output.expect("closed")).expect("json");
        (name, output.as_object().expect("object").clone())
    }

    #[tokio::test]
    async fn what_was_closed_is_put_back_as_it_was() {
        let server = PgServer::shared();
        let (name, quiesced) = closed(server, 9).await;
        server
            .sql("postgres", &[&format!("ALTER DATABASE {name} CONNECTION LIMIT 0")])
            .await;
        let input = || Input {
            database: None,
            quiesced: Some(quiesced.clone()),
        };
        let preview = Unquiesce
            .preview(&bed(server, &name).read(), &input())
            .await
            .expect("preview");
        let done = bed(server, &name).run(&Unquiesce, input()).await;
        assert!(done.output.expect("opened").opened);
        assert_eq!((preview.changes.len(), &preview.changes), (2, &done.told.changes));
        let facts = facts(server, &name).await.expect("there");
        assert_eq!((facts.allows_connections, facts.connection_limit), (true, 9));
        assert!(
            !bed(server, &name)
                .run(&Unquiesce, input())
                .await
                .output
                .expect("again")
                .opened
        );
    }

    #[tokio::test]
    async fn what_is_written_down_is_how_it_is_now() {
        let server = PgServer::shared();
        let (name, _) = closed(server, 9).await;
        let look = || async {
            let postgres = server.open(&name).await;
            let found = postgres.reader().find_database(&name).await.expect("asked");
            found.expect("there")
        };
        let before = look().await;
        assert!(done("database", &before, &look().await).is_empty(), "nothing was done");
        server
            .sql("postgres", &[&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true")])
            .await;
        let told = done("database", &before, &look().await);
        assert_eq!(told, [Change::update("connections to database", false, true)]);
    }

    #[tokio::test]
    async fn without_a_record_it_just_opens() {
        let server = PgServer::shared();
        let (name, _) = closed(server, -1).await;
        assert!(
            bed(server, &name)
                .run(&Unquiesce, Input::default())
                .await
                .output
                .expect("opened")
                .opened
        );
        server.open(&name).await.connect_to(&name, None).await.expect("open");
    }

    #[tokio::test]
    async fn nothing_closed_is_nothing_opened() {
        let server = PgServer::shared();
        let (name, _) = closed(server, -1).await;
        let empty = Input {
            database: None,
            quiesced: Some(Map::new()),
        };
        assert_eq!(
            bed(server, &name).run(&Unquiesce, empty).await.output.expect("nothing"),
            NOTHING
        );
        assert_eq!(
            bed(server, "never_there")
                .run(&Unquiesce, Input::default())
                .await
                .output
                .expect("nothing"),
            NOTHING
        );
    }
}
