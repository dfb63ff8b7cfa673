//! `backup.restore`: brings a backup back, beside the database that is meant or in its place.

use std::time::Duration;

use jm_backup::{
    AsideState, Backups, BackupsReader, Entry, LEFT_OUT, Manifest, Meant, Owners, RestoreRequest, Target,
    TransactionState, copy_name, fitness,
};
use jm_client_postgres::{Postgres, Reader};
use jm_step::{
    Change, Connection, Effect, InputIssue, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext,
    StepError, StepErrorKind, StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::argument::Backup;
use crate::observer::{Committing, Told, toolbox, until_cancelled};

/// How long a server may take to say what became of a copy that could not be finished.
const LAST_LOOK: Duration = Duration::from_secs(5);

pub(crate) struct Restore;

/// Where a backup goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Destination {
    /// A new database beside the one that is meant, which goes on serving.
    #[default]
    Aside,
    /// The database that is meant: its whole content is replaced, in one transaction.
    InPlace,
}

impl From<Destination> for Target {
    fn from(into: Destination) -> Self {
        match into {
            Destination::Aside => Self::Aside,
            Destination::InPlace => Self::InPlace,
        }
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// The backup.
    backup: Backup,
    /// Where it goes.
    #[serde(default)]
    into: Destination,
    /// What becomes of owners and grants. `auto`: kept, or left out where the server lacks a role, which makes the run
    /// degraded.
    #[serde(default)]
    owners: Owners,
    /// The database that is meant. Default: the one that the target names.
    #[serde(default)]
    database: Option<String>,
    /// The database that the backup is to be of, where that is another one on purpose. Default: what the step that chose the
    /// backup was asked for, or else the database that is meant; the backup of another one is refused.
    #[serde(default)]
    of: Option<String>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Output {
    /// The database that holds what was restored.
    database: String,
    /// The server's number for it.
    oid: u32,
    /// The size of the dump.
    bytes: u64,
    /// The backup's name.
    backup: String,
    /// The database that the backup is of, where that is known.
    #[serde(default)]
    of: Option<String>,
    /// The copy, where it was restored beside the database that is meant.
    #[serde(default)]
    #[schemars(extend("x-jm-left-behind" = {
        "what": "restored copy", "remove": ["postgres.drop_database", "database"], "unfinished": true,
    }))]
    copy: Option<String>,
}

impl StepType for Restore {
    const NAME: &'static str = "backup.restore";
    const SUMMARY: &'static str = "restore a backup beside a database or in its place, proven on the way";
    const EFFECT: Effect = Effect::Irreversible;
    const REPEAT: Repeat = Repeat::Probe;
    const TIMEOUT: Duration = Duration::from_hours(4);
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        let issues = input.backup.check();
        if issues.is_empty() { Ok(()) } else { Err(issues) }
    }

    fn roles(&self) -> Vec<Role> {
        vec![Role::of::<Postgres>("database"), Role::of::<Backups>("backups")]
    }

    fn needs(&self, _: &Known) -> Vec<Need> {
        vec![
            Need::of("database", &["CREATEDB", "OWNER"]),
            Need::of("backups", jm_backup::READING),
        ]
    }

    /// A copy beside the database can be dropped again.
    fn effect(&self, input: &Known) -> Effect {
        match input.text("into") {
            Some("in_place") => Effect::Irreversible,
            _ => Effect::Reversible,
        }
    }

    /// An unfinished copy is dropped and made anew.
    fn repeat(&self, input: &Known) -> Repeat {
        match input.text("into") {
            Some("in_place") => Repeat::Probe,
            _ => Repeat::Safe,
        }
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let (backups, postgres) = (cx.read::<Backups>().await?, cx.read::<Postgres>().await?);
        let database = database(input, &postgres);
        let entry = meant(input, &backups, &database).await?;
        let way = Meant {
            database: &database,
            target: input.into.into(),
            owners: input.owners,
        };
        let fitness = fitness(&postgres, &entry, way, &toolbox(cx)).await?;
        let will = match input.into {
            Destination::Aside => format!("restore `{}` into a copy of database `{database}`", entry.name),
            Destination::InPlace => format!("replace the content of database `{database}` by `{}`", entry.name),
        };
        let mut said = vec![will, entry.of_into(&database)];
        let asked = (input.owners == Owners::None).then(|| LEFT_OUT.to_owned());
        let roles = (asked.is_none() && !fitness.missing_roles.is_empty()).then(|| {
            let roles = fitness.missing_roles.join(", ");
            format!("owners and grants would be left out, for the server lacks the roles {roles}")
        });
        if input.into == Destination::Aside && input.owners != Owners::None {
            said.extend(backups.would_leave_out(&postgres, &entry, &database, &fitness).await?);
        }
        said.extend(fitness.notes);
        let summary = said.join("; ");
        // The server gives the number only when there is something to number.
        let restored = match input.into {
            Destination::Aside => copy_name(&database, &cx.run().id, cx.step()),
            Destination::InPlace => database.clone(),
        };
        let changes = vec![change(input, &database, &entry)];
        let preview = Preview::computed(summary, changes).degraded(asked.into_iter().chain(roles));
        Ok(preview.foresee(json!({
            "database": restored,
            "backup": entry.name,
            "of": of(&entry),
            "copy": (input.into == Destination::Aside).then_some(&restored),
        })))
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let (backups, postgres) = (cx.connect::<Backups>().await?, cx.connect::<Postgres>().await?);
        let request = request(cx, &input, &backups, postgres.reader())?;
        let entry = meant(&input, &backups, &request.database).await?;
        cx.log(format!("`{}`, {}", entry.name, entry.of_into(&request.database)))
            .await;
        if input.into == Destination::Aside {
            // `finally` and a resume know the copy even where it is not finished.
            let known =
                json!({ "database": request.copy, "backup": entry.name, "of": of(&entry), "copy": request.copy });
            cx.save_output(known).await?;
        }
        let tools = toolbox(cx);
        let told = Told(cx);
        let work = backups.restore(&postgres, &request, &tools, &told);
        let restored = match until_cancelled(cx, Box::pin(work)).await {
            Ok(restored) => restored,
            Err(error) => {
                if input.into == Destination::Aside && error.kind() != StepErrorKind::Cancelled {
                    tell_whether_dropped(cx, &postgres, &request, &entry).await?;
                }
                return Err(error);
            }
        };
        cx.changed(change(&input, &request.database, &entry)).await;
        Ok(Output {
            copy: (input.into == Destination::Aside).then(|| restored.database.clone()),
            database: restored.database,
            oid: restored.oid,
            bytes: restored.bytes,
            backup: entry.name.to_string(),
            of: of(&entry),
        })
    }

    async fn probe(&self, cx: &ReadContext, input: &Input) -> Result<Probe<Output>, StepError> {
        let (backups, postgres) = (cx.read::<Backups>().await?, cx.read::<Postgres>().await?);
        match input.into {
            Destination::Aside => probe_aside(cx, input, &backups, &postgres).await,
            Destination::InPlace => probe_in_place(cx, input, &backups, &postgres).await,
        }
    }
}

async fn probe_aside(
    cx: &ReadContext,
    input: &Input,
    backups: &BackupsReader,
    postgres: &Reader,
) -> Result<Probe<Output>, StepError> {
    let copy = copy_name(&database(input, postgres), &cx.run().id, cx.step());
    Ok(match AsideState::look(postgres, &copy, cx.idempotency_key()).await? {
        AsideState::Absent => Probe::NotStarted,
        AsideState::Incomplete => Probe::partial(format!("database `{copy}` is there and not finished")),
        AsideState::Complete(restored) => Probe::Succeeded(Output {
            copy: Some(restored.database.clone()),
            database: restored.database,
            oid: restored.oid,
            bytes: restored.bytes,
            backup: input.backup.name(backups)?.to_string(),
            of: input.backup.of(),
        }),
    })
}

/// An unfinished copy is dropped where the restore fails. Where the server is seen to have it no more, it is not left behind.
async fn tell_whether_dropped(
    cx: &StepContext,
    postgres: &Postgres,
    request: &RestoreRequest,
    entry: &Entry,
) -> Result<(), StepError> {
    let look = postgres.reader().find_database(&request.copy);
    match tokio::time::timeout(LAST_LOOK, look).await {
        Ok(Ok(None)) => {
            let known = json!({ "database": request.copy, "backup": entry.name, "of": of(entry), "copy": null });
            cx.save_output(known).await
        }
        _ => Ok(()),
    }
}

/// Before the checkpoint nothing was committed; after it the server knows.
async fn probe_in_place(
    cx: &ReadContext,
    input: &Input,
    backups: &BackupsReader,
    postgres: &Reader,
) -> Result<Probe<Output>, StepError> {
    let Some(Committing { transaction }) = cx.checkpoint()? else {
        return Ok(Probe::NotStarted);
    };
    match TransactionState::look(postgres, &transaction).await? {
        TransactionState::Aborted => return Ok(Probe::NotStarted),
        TransactionState::InProgress => return Ok(Probe::Running),
        TransactionState::Unknown => {
            return Ok(Probe::unknown(format!(
                "the server does not remember transaction {transaction}"
            )));
        }
        TransactionState::Committed => {}
    }
    let entry = input.backup.find(backups).await?;
    let name = database(input, postgres);
    let facts = postgres.find_database(&name).await?;
    Ok(match facts {
        Some(facts) => Probe::Succeeded(Output {
            database: name,
            oid: facts.oid,
            bytes: entry.manifest().map_or(0, |manifest| manifest.bytes.raw),
            backup: entry.name.to_string(),
            of: of(&entry),
            copy: None,
        }),
        None => Probe::unknown(format!("the restore took effect, and database `{name}` is gone")),
    })
}

fn database(input: &Input, postgres: &Reader) -> String {
    input.database.clone().unwrap_or_else(|| postgres.database().to_owned())
}

/// The backup, which has to be of the database that is meant.
async fn meant(input: &Input, backups: &BackupsReader, database: &str) -> Result<Entry, StepError> {
    let entry = input.backup.find(backups).await?;
    let given = input.of.as_deref().filter(|of| !of.is_empty());
    entry.must_be_of(given.or(input.backup.asked_of()), database)?;
    Ok(entry)
}

/// The database that a backup is of.
fn of(entry: &Entry) -> Option<String> {
    entry.manifest().map(Manifest::of)
}

fn request(
    cx: &ReadContext,
    input: &Input,
    backups: &BackupsReader,
    postgres: &Reader,
) -> Result<RestoreRequest, StepError> {
    let database = database(input, postgres);
    Ok(RestoreRequest {
        backup: input.backup.name(backups)?,
        sha256: input.backup.sha256(),
        from: input.backup.locations(),
        copy: copy_name(&database, &cx.run().id, cx.step()),
        database,
        target: input.into.into(),
        owners: input.owners,
        step: cx.step().clone(),
        idempotency_key: cx.idempotency_key().to_owned(),
    })
}

fn change(input: &Input, database: &str, entry: &Entry) -> Change {
    let from = json!({ "backup": entry.name, "of": of(entry), "created_at": entry.created_at().to_string() });
    match input.into {
        Destination::Aside => Change::create(format!("restored copy of database `{database}`"), from),
        Destination::InPlace => Change::update(format!("content of database `{database}`"), json!("as it is"), from),
    }
}
