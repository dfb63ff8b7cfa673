//! `postgres.switch`: puts a restored copy in the place of a database, which is kept aside under another name.
//!
//! Both renames, and all that goes along with the name, are one transaction. Before it, both databases are closed and
//! their sessions ended; the numbers (OIDs) of both are saved, and they alone tell whether the switch took place.

use std::time::Duration;

use jm_client_postgres::{Belongings, DatabaseFacts, Postgres, Reader, Session, Setting, Whose, left_out};
use jm_step::{
    Connection, Effect, InputIssue, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError,
    StepErrorKind, StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::common;
use crate::sessions;

mod carry;
mod late;
mod meant;
mod rename;
mod told;

/// See the module.
pub(crate) struct Switch;

/// Which copy takes which database's place.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// The restored copy.
    pub(crate) from: String,
    /// The database whose place it takes. Default: the one that the target names.
    #[serde(default)]
    pub(crate) to: Option<String>,
    /// The name under which the old database is kept. Default: its own with `_old_` and the end of the run's id.
    #[serde(default)]
    pub(crate) keep_old: Option<String>,
    /// The outputs of a `postgres.quiesce` with `leave_open`, before which nothing was saved: rows that were written into the
    /// old database since make the run degraded, for the backup may lack them. Where they are empty, for it never ran,
    /// nothing is compared. Another database that bears the name by now than the one that it met is not switched away.
    #[serde(default)]
    pub(crate) since: Option<Map<String, Value>>,
    /// The outputs of a `postgres.inspect`: another database that bears the name by now than the one that it saw, or one
    /// where it saw none, is not switched away. `since` counts where both have met one.
    #[serde(default)]
    pub(crate) seen: Option<Map<String, Value>>,
    /// How many seconds sessions may go on coming back before this gives up. Default: 60.
    #[serde(default = "default_wait")]
    #[schemars(range(min = 1, max = 3600))]
    pub(crate) wait_seconds: u32,
}

/// Which database is now which. Saved before the first effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Output {
    /// The name that is served now.
    pub(crate) database: String,
    /// The server's number for what is served under it.
    pub(crate) oid: u32,
    /// The name that the copy had.
    #[schemars(extend("x-jm-taken-up" = true))]
    pub(crate) from: String,
    /// The name under which the old database is kept, `null` where there was none.
    #[schemars(extend("x-jm-left-behind" = {
        "what": "old database", "bytes": "old_bytes", "remove": ["postgres.drop_database", "database"],
    }))]
    pub(crate) old_database: Option<String>,
    /// The server's number for the old database.
    pub(crate) old_oid: Option<u32>,
    /// The size of the old database before the switch.
    #[serde(default)]
    pub(crate) old_bytes: Option<u64>,
    /// Whether the old database let sessions in before: what it goes back to if the switch fails.
    pub(crate) old_allowed_connections: bool,
    /// When the old database was closed, where rows were written into it until then that no backup has (RFC 3339).
    #[serde(default)]
    #[schemars(extend("x-jm-written-until" = true))]
    pub(crate) written_until: Option<String>,
}

impl StepType for Switch {
    const NAME: &'static str = "postgres.switch";
    const SUMMARY: &'static str = "puts a restored copy in the place of a database, which is kept aside";
    const EFFECT: Effect = Effect::Irreversible;
    // The numbers tell what has been done, so that it is never done twice.
    const REPEAT: Repeat = Repeat::Safe;
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        let mut issues = common::name_issues("/from", &input.from);
        for (pointer, name) in [("/to", &input.to), ("/keep_old", &input.keep_old)] {
            issues.extend(name.iter().flat_map(|name| common::name_issues(pointer, name)));
        }
        if input.to.as_ref() == Some(&input.from) {
            issues.push(InputIssue::at("/to", "a database cannot take its own place"));
        }
        if input.keep_old.is_some() && [input.to.as_ref(), Some(&input.from)].contains(&input.keep_old.as_ref()) {
            issues.push(InputIssue::at("/keep_old", "the old database needs a name of its own"));
        }
        common::none_or(issues)
    }

    fn roles(&self) -> Vec<Role> {
        common::roles()
    }

    fn needs(&self, _: &Known) -> Vec<Need> {
        vec![Need::of("database", &["CREATEDB", "OWNER", "pg_signal_backend"])]
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let reader = cx.read::<Postgres>().await?;
        let to = common::chosen(input.to.as_ref(), &reader);
        if let Some(done) = switched(&reader, cx.saved_output()?).await? {
            return Ok(Preview::verified("an earlier attempt has switched already").predict(done));
        }
        let old = reader.find_database(to).await?;
        meant::refuse_another(input, to, old.as_ref())?;
        may_switch(&reader, old.as_ref()).await?;
        sessions::refuse_own_database(reader.maintenance(None).await?.database(), to, &reader)?;
        if old.is_some()
            && let Some(aside) = &input.keep_old
        {
            refuse_taken(&reader, aside).await?;
        }
        let mut summary = format!("will put the restored copy in the place of database `{to}`");
        let sessions = sessions::to_end(&reader, &[input.from.clone(), to.to_owned()], Whose::All).await?;
        if old.is_some() {
            let sessions = common::plural(sessions.len(), "session");
            summary = format!("{summary}, end {sessions} and keep the old database aside");
        }
        let mut degraded: Vec<String> = match (&old, meant::since(input)?) {
            (Some(old), Some(before)) => late::so_far(&reader, old, &before).await?,
            _ => None,
        }
        .into_iter()
        .collect();
        let mut belongings = reader.belongings(to).await?;
        if let Some(belongings) = &mut belongings {
            let refused = reader.may_not_set(&belongings.settings).await?;
            belongings.leave_out(&refused);
            degraded.extend(left_out(reader.user(), to, &refused));
        }
        Ok(Preview::computed(summary, told::foretold(to, belongings.as_ref())).degraded(degraded))
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let postgres = cx.connect::<Postgres>().await?;
        // What an earlier attempt still has under way ends before anything is concluded from names.
        postgres.end_sessions_of(cx.step()).await?;
        if let Some(done) = switched(postgres.reader(), cx.saved_output()?).await? {
            cx.log("an earlier attempt has switched already").await;
            return Ok(done);
        }
        let mut plan = Plan::make(cx, postgres.reader(), &input).await?;
        cx.save_output(&plan.output).await?;
        let old = plan.old_belongings(postgres.reader()).await?;
        let before = meant::since(&input)?;
        let session = postgres.maintenance(Some(cx.step())).await?;
        for name in plan.names() {
            sessions::refuse_own_database(session.database(), &name, postgres.reader())?;
        }
        let until = Instant::now() + Duration::from_secs(input.wait_seconds.into());
        let carried_out = async {
            sessions::to_end(postgres.reader(), &plan.names(), Whose::All).await?;
            if let Some(before) = &before {
                plan.output.written_until = late::tell(cx, &postgres, &session, &plan, before, until).await?;
            }
            if plan.output.written_until.is_some() {
                cx.save_output(&plan.output).await?;
            }
            plan.carry_out(cx, &session, postgres.reader().user(), until).await
        };
        let refused = match carried_out.await {
            Ok(refused) => refused,
            Err(error) => return Err(plan.put_back(&postgres, error).await),
        };
        tell(cx, postgres.reader(), &plan.output, old, &refused).await?;
        Ok(plan.output)
    }

    async fn probe(&self, cx: &ReadContext, _: &Input) -> Result<Probe<Output>, StepError> {
        let Some(saved) = cx.saved_output::<Output>()? else {
            return Ok(Probe::NotStarted);
        };
        let reader = cx.read::<Postgres>().await?;
        // A transaction under way must be asked after first: it may end between two questions, but never begin.
        let under_way = reader.works_for(cx.step()).await?;
        match switched(&reader, Some(saved)).await? {
            Some(done) => Ok(Probe::Succeeded(done)),
            None if under_way => Ok(Probe::Running),
            None => Ok(Probe::partial(
                "both databases still have their names; they may be closed",
            )),
        }
    }
}

/// Writes down what the server says that was done, and what `old` had and it `refused`. Where the connection goes
/// meanwhile, the next attempt finds by the numbers that it is done.
async fn tell(
    cx: &StepContext,
    reader: &Reader,
    output: &Output,
    mut old: Option<Belongings>,
    refused: &[Setting],
) -> Result<(), StepError> {
    if let Some(old) = &mut old {
        old.leave_out(refused);
    }
    let foretold = told::foretold(&output.database, old.as_ref());
    let done = told::read_back(reader, output).await?;
    let missing = told::missing(&foretold, &done);
    for change in done {
        cx.changed(change).await;
    }
    if let Some(reason) = left_out(reader.user(), &output.database, refused) {
        cx.degraded(reason).await?;
    }
    if missing.is_empty() {
        return Ok(());
    }
    let reason = format!(
        "database `{}` does not have what the old one had: {}",
        output.database,
        missing.join(", ")
    );
    cx.degraded(reason).await
}

fn default_wait() -> u32 {
    60
}

async fn may_switch(reader: &Reader, old: Option<&DatabaseFacts>) -> Result<(), StepError> {
    let server = reader.server().await?;
    let owns = old.is_none_or(|old| old.may_alter);
    if server.superuser || server.may_create_databases && owns {
        return Ok(());
    }
    let user = reader.user();
    Err(
        StepError::denied(format!("role `{user}` may not rename databases")).hint(format!(
            "it has to own the database and be allowed to create some: `ALTER ROLE {user} CREATEDB`"
        )),
    )
}

async fn refuse_taken(reader: &Reader, aside: &str) -> Result<(), StepError> {
    match reader.find_database(aside).await? {
        None => Ok(()),
        Some(_) => Err(StepError::conflict(format!("a database `{aside}` exists already"))
            .hint("say under which name the old database is to be kept: `keep_old`")),
    }
}

/// Whether what an earlier attempt set out to do is done: the copy's number bears the name that it was to get.
async fn switched(reader: &Reader, saved: Option<Output>) -> Result<Option<Output>, StepError> {
    let Some(saved) = saved else { return Ok(None) };
    let name = reader.database_name(saved.oid).await?;
    Ok((name.as_ref() == Some(&saved.database)).then_some(saved))
}

/// What is to be done, as it was found.
struct Plan {
    output: Output,
    copy: DatabaseFacts,
    old: Option<DatabaseFacts>,
}

impl Plan {
    async fn make(cx: &ReadContext, reader: &Reader, input: &Input) -> Result<Self, StepError> {
        let to = common::chosen(input.to.as_ref(), reader);
        let copy = reader
            .find_database(&input.from)
            .await?
            .ok_or_else(|| no_copy(&input.from))?;
        let old = reader.find_database(to).await?;
        if copy.is_template || to == input.from {
            return Err(StepError::refused(format!(
                "database `{}` cannot take the place of `{to}`",
                input.from
            )));
        }
        meant::refuse_another(input, to, old.as_ref())?;
        may_switch(reader, old.as_ref()).await?;
        let aside = input
            .keep_old
            .clone()
            .unwrap_or_else(|| old_name(to, cx.run().id.short()));
        if old.is_some() {
            refuse_taken(reader, &aside).await?;
        }
        let output = Output {
            database: to.to_owned(),
            oid: copy.oid,
            from: input.from.clone(),
            old_database: old.is_some().then_some(aside),
            old_oid: old.as_ref().map(|old| old.oid),
            old_bytes: old.as_ref().and_then(|old| old.size_bytes),
            old_allowed_connections: was_open(cx, old.as_ref())?,
            written_until: None,
        };
        Ok(Self { output, copy, old })
    }

    /// What the old database has besides its data, before anything changes.
    async fn old_belongings(&self, reader: &Reader) -> Result<Option<Belongings>, StepError> {
        match &self.old {
            Some(old) => reader.belongings(&old.name).await,
            None => Ok(None),
        }
    }

    fn names(&self) -> Vec<String> {
        let old = self.old.iter().map(|old| old.name.clone());
        [self.copy.name.clone()].into_iter().chain(old).collect()
    }

    /// Gives the settings of the old database that `user` may not set.
    async fn carry_out(
        &self,
        cx: &StepContext,
        session: &Session,
        user: &str,
        until: Instant,
    ) -> Result<Vec<Setting>, StepError> {
        let names = self.names();
        for name in &names {
            sessions::allow_connections(session, name, false).await?;
        }
        loop {
            let ended = sessions::end(cx, session, user, &names, Whose::All, until).await?;
            cx.log(format!(
                "{} ended",
                common::plural(usize::try_from(ended).unwrap_or(usize::MAX), "session")
            ))
            .await;
            match rename::in_one_transaction(session, self).await {
                // A session that was let in before the door closed turned up after it was counted.
                Err(error) if is_in_use(&error) && Instant::now() < until => sessions::pause(cx).await?,
                Err(error) if is_in_use(&error) => return Err(sessions::in_use(session, user, &names, error).await),
                other => return other,
            }
        }
    }

    /// A switch that did not take place does not leave the old database closed. Where the connection went, another one
    /// is tried; where it is not known what happened, only the numbers tell what a name now means.
    async fn put_back(&self, postgres: &Postgres, error: StepError) -> StepError {
        match self.reopen(postgres).await {
            Ok(()) => error,
            Err(_) if error.kind() == StepErrorKind::Ambiguous => error,
            Err(_) => error.hint("the databases may still be closed: run `postgres.unquiesce` when the server is back"),
        }
    }

    async fn reopen(&self, postgres: &Postgres) -> Result<(), StepError> {
        let session = postgres.maintenance(None).await?;
        let old = self
            .output
            .old_oid
            .map(|oid| (oid, self.output.old_allowed_connections));
        for (oid, allow) in [Some((self.output.oid, true)), old].into_iter().flatten() {
            if let Some(name) = postgres.reader().database_name(oid).await? {
                sessions::allow_connections(&session, &name, allow).await?;
            }
        }
        Ok(())
    }
}

fn no_copy(from: &str) -> StepError {
    StepError::not_found(format!("the restored copy, database `{from}`, does not exist"))
        .hint("restore it again: `jm run retry` of the step that restores")
}

/// Cut so that the server need not cut it.
fn old_name(to: &str, run: &str) -> String {
    let ending = format!("_old_{run}");
    let mut end = to.len().min(63 - ending.len());
    while !to.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{ending}", &to[..end])
}

/// Whether the old database let sessions in before the first attempt closed it.
fn was_open(cx: &ReadContext, old: Option<&DatabaseFacts>) -> Result<bool, StepError> {
    let Some(old) = old else { return Ok(false) };
    let saved: Option<Output> = cx.saved_output()?;
    Ok(match saved {
        Some(saved) if saved.old_oid == Some(old.oid) => saved.old_allowed_connections,
        _ => old.allows_connections,
    })
}

fn is_in_use(error: &StepError) -> bool {
    error.kind() == StepErrorKind::Conflict && error.message().contains("55006")
}

#[cfg(test)]
mod tests;
