//! `postgres.quiesce`: lets nobody into a database any more and ends the sessions it has, until none is left. Or leaves it
//! open, ends the sessions, and remembers how much was written by then.

use std::collections::BTreeSet;
use std::time::Duration;

use jm_client_postgres::{DatabaseFacts, Postgres, Reader, Session, Whose};
use jm_step::{
    Change, Connection, Effect, InputIssue, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext,
    StepError, StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::common;
use crate::sessions::{self, Cleared};
use crate::written::{Watch, Written};

/// See the module.
pub(crate) struct Quiesce;

/// What to close, and for whom.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// The database. Default: the one that the target names.
    #[serde(default)]
    pub(crate) database: Option<String>,
    /// Lets superusers still in, such as a backup that comes next. Default: false.
    #[serde(default)]
    pub(crate) superusers: bool,
    /// Leaves the database open, for a backup that comes next: its sessions are ended, and who comes back is told.
    /// Default: false.
    #[serde(default)]
    pub(crate) leave_open: bool,
    /// How many seconds sessions may go on coming back before this gives up; where the database is left open, before it goes
    /// on without waiting for the last of them. Default: 60.
    #[serde(default = "default_wait")]
    #[schemars(range(min = 1, max = 3600))]
    pub(crate) wait_seconds: u32,
}

/// How the database was before: what `postgres.unquiesce` puts back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-jm-stops-writing" = true))]
pub(crate) struct Output {
    /// The database.
    pub(crate) database: String,
    /// The server's number for it, `null` where it does not exist.
    pub(crate) oid: Option<u32>,
    /// Whether it let sessions in before.
    pub(crate) allowed_connections: bool,
    /// How many sessions it let in before, -1 for no limit.
    pub(crate) connection_limit: i32,
    /// How many sessions were ended, those that came back counted again.
    pub(crate) ended: u64,
    /// Who came back where the database was left open, as `application` of `user`.
    #[serde(default)]
    pub(crate) came_back: BTreeSet<String>,
    /// Rows that were ever written into each table, by the server's counters, where the database was left open: a
    /// `postgres.switch` compares with it. `null` where the server does not count.
    #[serde(default)]
    pub(crate) written: Option<Written>,
}

impl StepType for Quiesce {
    const NAME: &'static str = "postgres.quiesce";
    const SUMMARY: &'static str = "lets nobody into a database any more and ends the sessions it has";
    const EFFECT: Effect = Effect::Reversible;
    const REPEAT: Repeat = Repeat::Safe;
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        let names = input.database.iter();
        let mut issues: Vec<_> = names.flat_map(|name| common::name_issues("/database", name)).collect();
        if input.leave_open && input.superusers {
            let issue = InputIssue::at("/superusers", "a database that is left open lets everybody in");
            issues.push(issue.help("leave out one of `leave_open` and `superusers`"));
        }
        common::none_or(issues)
    }

    fn roles(&self) -> Vec<Role> {
        common::roles()
    }

    fn needs(&self, _: &Known) -> Vec<Need> {
        vec![Need::of("database", &["OWNER", "pg_signal_backend"])]
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let reader = cx.read::<Postgres>().await?;
        let name = common::chosen(input.database.as_ref(), &reader);
        let Some(facts) = reader.find_database(name).await? else {
            return Ok(Preview::verified(format!(
                "database `{name}` does not exist: there is nothing to close"
            )));
        };
        let sessions = sessions::to_end(&reader, &[name.to_owned()], whose(input)).await?.len();
        if input.leave_open {
            let summary = format!(
                "will end {} of database `{name}`, which stays open, and tell who comes back",
                common::plural(sessions, "session")
            );
            // How much is written until the sessions are ended, nobody knows yet.
            let known = Output {
                ended: sessions as u64,
                came_back: BTreeSet::new(),
                written: None,
                ..recorded(cx, &facts)?
            };
            return Ok(Preview::declared(summary).predict(known));
        }
        let summary = format!(
            "will close database `{name}` and end its {}",
            common::plural(sessions, "session")
        );
        Ok(Preview::computed(
            summary,
            changes(&common::object(name, &reader), &facts, input.superusers),
        ))
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let postgres = cx.connect::<Postgres>().await?;
        let name = common::chosen(input.database.as_ref(), postgres.reader()).to_owned();
        let Some(facts) = postgres.reader().find_database(&name).await? else {
            cx.log(format!("database `{name}` does not exist: there is nothing to close"))
                .await;
            return Ok(nothing(name));
        };
        let mut output = recorded(cx, &facts)?;
        cx.save_output(&output).await?;
        let session = postgres.maintenance(Some(cx.step())).await?;
        sessions::refuse_own_database(session.database(), &name, postgres.reader())?;
        if input.leave_open {
            sessions::to_end(postgres.reader(), std::slice::from_ref(&name), Whose::All).await?;
            let until = Instant::now() + Duration::from_secs(input.wait_seconds.into());
            let Cleared { ended, came_back } = sessions::clear(cx, &session, &name, until).await?;
            tell(cx, &name, ended, &came_back).await;
            output.ended = ended;
            output.came_back = came_back;
            output.written = Watch::open(postgres.reader(), &name, Some(cx.step()))
                .await?
                .look()
                .await?;
            return Ok(output);
        }
        match close(cx, &session, postgres.reader(), &name, &input).await {
            Ok(ended) => output.ended = ended,
            Err(error) => return Err(reopened(&session, &output, error).await),
        }
        let before = DatabaseFacts {
            allows_connections: output.allowed_connections,
            connection_limit: output.connection_limit,
            ..facts
        };
        for change in changes(&common::object(&name, postgres.reader()), &before, input.superusers) {
            cx.changed(change).await;
        }
        Ok(output)
    }

    async fn probe(&self, cx: &ReadContext, _: &Input) -> Result<Probe<Output>, StepError> {
        // Sessions that came back meanwhile are ended by doing it again, which keeps what was recorded.
        Ok(match cx.saved_output::<Output>()? {
            None => Probe::NotStarted,
            Some(_) => Probe::partial("the database may be closed, and sessions may be left"),
        })
    }
}

fn default_wait() -> u32 {
    60
}

fn nothing(database: String) -> Output {
    Output {
        database,
        oid: None,
        allowed_connections: false,
        connection_limit: -1,
        ended: 0,
        came_back: BTreeSet::new(),
        written: None,
    }
}

async fn tell(cx: &StepContext, name: &str, ended: u64, came_back: &BTreeSet<String>) {
    let ended = common::plural(usize::try_from(ended).unwrap_or(usize::MAX), "session");
    cx.log(format!("{ended} of database `{name}` ended")).await;
    if !came_back.is_empty() {
        let who: Vec<&str> = came_back.iter().map(String::as_str).collect();
        cx.log(format!(
            "back again in database `{name}`: {}; stop them if they write",
            who.join(", ")
        ))
        .await;
    }
}

/// How the database was before the first attempt: what stands there now may be our own doing.
fn recorded(cx: &ReadContext, facts: &DatabaseFacts) -> Result<Output, StepError> {
    let saved: Option<Output> = cx.saved_output()?;
    Ok(saved
        .filter(|saved| saved.oid == Some(facts.oid))
        .unwrap_or_else(|| Output {
            oid: Some(facts.oid),
            allowed_connections: facts.allows_connections,
            connection_limit: facts.connection_limit,
            ..nothing(facts.name.clone())
        }))
}

fn changes(object: &str, before: &DatabaseFacts, superusers: bool) -> Vec<Change> {
    if superusers {
        let limit = format!("connection limit of {object}");
        return vec![Change::update(limit, before.connection_limit, 0)];
    }
    vec![Change::update(
        format!("connections to {object}"),
        before.allows_connections,
        false,
    )]
}

/// Whose sessions are to end.
fn whose(input: &Input) -> Whose {
    if input.superusers {
        Whose::NotSuperusers
    } else {
        Whose::All
    }
}

async fn close(
    cx: &StepContext,
    session: &Session,
    reader: &Reader,
    name: &str,
    input: &Input,
) -> Result<u64, StepError> {
    let names = [name.to_owned()];
    sessions::to_end(reader, &names, whose(input)).await?;
    if input.superusers {
        sessions::limit_connections(session, name, 0).await?;
    } else {
        sessions::allow_connections(session, name, false).await?;
    }
    let until = Instant::now() + Duration::from_secs(input.wait_seconds.into());
    sessions::end(cx, session, reader.user(), &names, whose(input), until).await
}

/// What was not closed for good is not left closed.
async fn reopened(session: &Session, before: &Output, error: StepError) -> StepError {
    let name = &before.database;
    let allowed = sessions::allow_connections(session, name, before.allowed_connections).await;
    let limited = sessions::limit_connections(session, name, before.connection_limit).await;
    match allowed.and(limited) {
        Ok(()) => error,
        Err(_) => error.hint("the database is still closed: run `postgres.unquiesce`"),
    }
}

#[cfg(test)]
mod tests;
