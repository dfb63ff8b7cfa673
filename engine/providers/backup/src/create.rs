//! `backup.create`: dumps a database to every location, encrypted on the way, and reads the copy back.

use std::time::Duration;

use jiff::SignedDuration;
use jm_backup::{
    BackupRef, Backups, BackupsReader, CreateRequest, DumpFormat, Level, Made, Manifest, Sizes, check_label, parse_pin,
};
use jm_client_postgres::Postgres;
use jm_step::{
    Change, Connection, Effect, InputIssue, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext,
    StepError, StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::observer::{Told, toolbox, until_cancelled};
use crate::release::Running;

pub(crate) struct Create;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// The database. Default: the one that the target names.
    #[serde(default)]
    database: Option<String>,
    /// A name for the backup, such as `pre_migration`. Empty: none.
    #[serde(default)]
    label: String,
    /// How long retention leaves it alone, whatever its age, such as `30d`.
    #[serde(default)]
    pin: Option<String>,
    /// How it is written: `custom` for `pg_restore`, `plain` for `psql`.
    #[serde(default)]
    format: DumpFormat,
    /// How far it is proven before it counts. `restored` is what a drill does, and not this step.
    #[serde(default = "archive")]
    verify: Level,
    /// The release of the application that runs, so that it is known which code fits the data.
    #[serde(default)]
    release: Running,
    /// Whether a database without a table may be backed up.
    #[serde(default)]
    allow_empty: bool,
    /// How many seconds a table's lock is waited for.
    #[serde(default = "minute")]
    #[schemars(range(min = 1, max = 86400))]
    lock_wait_seconds: u32,
}

fn archive() -> Level {
    Level::Archive
}

fn minute() -> u32 {
    60
}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Output {
    /// The backup, as other steps take it.
    backup: BackupRef,
    /// Its name.
    name: String,
    /// Sizes in bytes.
    bytes: Sizes,
    /// How far it was proven.
    level: Level,
    /// How many seconds dumping and writing took.
    dump_seconds: u64,
    /// How many seconds reading it back took.
    verify_seconds: u64,
}

impl StepType for Create {
    const NAME: &'static str = "backup.create";
    const SUMMARY: &'static str = "back a database up to every location, encrypted, and read it back";
    const EFFECT: Effect = Effect::Reversible;
    // A deed that was done is found again by its key, and is not done twice.
    const REPEAT: Repeat = Repeat::Safe;
    const TIMEOUT: Duration = Duration::from_hours(4);
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        let mut issues = input.release.issues();
        if let Err(why) = label(input).map_or(Ok(()), check_label) {
            issues.push(InputIssue::at("/label", why).help("such as `pre_migration`"));
        }
        if let Err(why) = pin(input) {
            issues.push(InputIssue::at("/pin", why).help("such as `30d`"));
        }
        if input.verify == Level::Restored {
            issues.push(
                InputIssue::at("/verify", "a backup is proven to be restorable by restoring it").help("`archive`"),
            );
        }
        if issues.is_empty() { Ok(()) } else { Err(issues) }
    }

    fn roles(&self) -> Vec<Role> {
        vec![Role::of::<Postgres>("database"), Role::of::<Backups>("backups")]
    }

    fn needs(&self, _: &Known) -> Vec<Need> {
        vec![
            Need::of("database", &["CONNECT", "pg_read_all_data"]),
            Need::of("backups", jm_backup::MAKING),
        ]
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let postgres = cx.read::<Postgres>().await?;
        let backups = cx.read::<Backups>().await?;
        let request = request(cx, input, postgres.database());
        let usable = backups.can_create(&postgres, &request, &toolbox(cx)).await?;
        let names: Vec<String> = usable.locations.iter().map(ToString::to_string).collect();
        let summary = format!("back database `{}` up to {}", request.database, names.join(" and "));
        let changes = vec![change(&request, &backups, &names)];
        Ok(Preview::computed(summary, changes).degraded(usable.degraded))
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let postgres = cx.connect::<Postgres>().await?;
        let backups = cx.connect::<Backups>().await?;
        if let Some(made) = found(&backups, cx.idempotency_key()).await? {
            return made.adopt(cx).await;
        }
        let request = request(cx, &input, postgres.reader().database());
        let (tools, told) = (toolbox(cx), Told(cx));
        let work = backups.create(&postgres, &request, &tools, &told);
        let created = until_cancelled(cx, Box::pin(work)).await?;
        let names: Vec<String> = created.backup.locations.iter().map(ToString::to_string).collect();
        cx.changed(change(&request, &backups, &names)).await;
        Ok(output(&created.manifest, created.backup))
    }

    async fn probe(&self, cx: &ReadContext, _: &Input) -> Result<Probe<Output>, StepError> {
        let backups = cx.read::<Backups>().await?;
        Ok(Made::probe(found(&backups, cx.idempotency_key()).await?))
    }
}

async fn found(backups: &BackupsReader, key: &str) -> Result<Option<Made<Output>>, StepError> {
    backups.made(key, output).await
}

fn request(cx: &ReadContext, input: &Input, database: &str) -> CreateRequest {
    CreateRequest {
        database: input.database.clone().unwrap_or_else(|| database.to_owned()),
        label: label(input).map(str::to_owned),
        // `check` has seen that it reads.
        pin: pin(input).unwrap_or_default(),
        release: input.release.release(),
        format: input.format,
        level: input.verify,
        allow_empty: input.allow_empty,
        lock_wait: Duration::from_secs(input.lock_wait_seconds.into()),
        step: cx.step().clone(),
        run: cx.run().id.to_string(),
        idempotency_key: cx.idempotency_key().to_owned(),
    }
}

fn label(input: &Input) -> Option<&str> {
    Some(input.label.as_str()).filter(|label| !label.is_empty())
}

fn pin(input: &Input) -> Result<Option<SignedDuration>, String> {
    parse_pin(input.pin.as_deref().unwrap_or_default())
}

fn change(request: &CreateRequest, backups: &BackupsReader, locations: &[String]) -> Change {
    let called = request.label.as_deref().unwrap_or(backups.prefix());
    let after: Value = json!({ "called": called, "format": request.format, "locations": locations });
    Change::create(format!("backup of database `{}`", request.database), after)
}

fn output(manifest: &Manifest, backup: BackupRef) -> Output {
    Output {
        backup,
        name: manifest.name.to_string(),
        bytes: manifest.bytes,
        level: manifest.level,
        dump_seconds: manifest.seconds.dump,
        verify_seconds: manifest.seconds.verify,
    }
}
