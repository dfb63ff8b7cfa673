//! `backup.select`: chooses the newest good backup, and proves that it opens, or that it is whole, and that it can be
//! restored here.

use std::time::Duration;

use jm_backup::{
    BackupRef, Backups, BackupsReader, ContentKind, Fitness, LocationName, Meant, Observer, Owners, Prove, Selection,
    Silent, Skipped, Wanted, Which, fitness,
};
use jm_client_postgres::{Postgres, Reader};
use jm_step::{
    Effect, InputIssue, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError, StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::observer::{Told, toolbox, until_cancelled};
use crate::restore::Destination;

pub(crate) struct Select;

/// Where copies may come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum From {
    /// Any location that has a good copy.
    #[default]
    Any,
    /// The directory.
    Local,
    /// The bucket.
    S3,
}

impl From {
    /// The one location, where there is one.
    pub(crate) fn location(self) -> Option<LocationName> {
        match self {
            Self::Any => None,
            Self::Local => Some(LocationName::Local),
            Self::S3 => Some(LocationName::S3),
        }
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// `latest`, `latest<=2024-01-15T14:30:00Z`, a day (YYYYMMDD, UTC) or a backup's name.
    #[serde(default = "latest")]
    which: String,
    /// Where copies may come from.
    #[serde(default)]
    from: From,
    /// The database that it is to be of. Default: the one that the target names; the backup of another one is refused.
    #[serde(default)]
    of: Option<String>,
    /// Where it is going to be restored.
    #[serde(default)]
    into: Destination,
    /// What is going to become of owners and grants.
    #[serde(default)]
    owners: Owners,
    /// How far it is proven. `opens`: each copy has its size, and the key opens its beginning; damage further on is found
    /// only while it is restored. `whole`: one copy is also read to its end, which takes as long as reading the backup does;
    /// a damaged copy gives way to the one in the other location, and a backup without a whole copy to the one before it.
    #[serde(default)]
    prove: Prove,
}

pub(crate) fn latest() -> String {
    "latest".to_owned()
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Output {
    /// The backup, as other steps take it.
    backup: BackupRef,
    /// Of which database it is and which one it is meant for, such as "backup of `a` into `a`".
    of_into: String,
    /// The moment to which the data is brought back.
    #[schemars(extend("x-jm-recovery-point" = true))]
    recovery_point: String,
    /// How old that is, in seconds.
    age_seconds: i64,
    /// Newer backups that are not good, and why.
    skipped: Vec<Skipped>,
    /// Roles of the backup that the server does not have.
    missing_roles: Vec<String>,
    /// What could not be found out, and what else explains the choice.
    notes: Vec<String>,
}

/// A choice.
struct Chosen {
    output: Output,
    /// What makes it a degraded one.
    degraded: Vec<String>,
    /// Whether something about it could not be found out.
    open_questions: bool,
}

impl StepType for Select {
    const NAME: &'static str = "backup.select";
    const SUMMARY: &'static str = "choose the newest good backup, and prove that it opens and fits the server";
    const EFFECT: Effect = Effect::ReadOnly;
    const REPEAT: Repeat = Repeat::Safe;
    const TIMEOUT: Duration = Duration::from_mins(30);
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        check_which(&input.which)
    }

    fn roles(&self) -> Vec<Role> {
        vec![Role::of::<Postgres>("database"), Role::of::<Backups>("backups")]
    }

    fn needs(&self, _: &Known) -> Vec<Need> {
        vec![
            Need::of("database", &["CONNECT"]),
            Need::of("backups", jm_backup::READING),
        ]
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        // A dry run reads no whole backup: that may take as long as the recovery, and cost as much.
        let Chosen {
            output,
            degraded,
            open_questions,
        } = look(cx, input, Prove::Opens, &Silent).await?;
        let chosen = format!(
            "`{}`, {}, data as of {}",
            output.backup.name, output.of_into, output.recovery_point
        );
        let summary = in_one(chosen, output.notes.iter());
        let preview = match input.prove {
            Prove::Opens if open_questions => Preview::declared(summary),
            Prove::Opens => Preview::verified(summary),
            Prove::Whole => Preview::declared(format!("{summary}; {}", cost(&output.backup))),
        };
        Ok(preview.predict(output).degraded(degraded))
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let told = Told(cx);
        let Chosen { output, degraded, .. } =
            until_cancelled(cx, Box::pin(look(cx, &input, input.prove, &told))).await?;
        cx.log(format!("`{}`, {}", output.backup.name, output.of_into)).await;
        for skipped in &output.skipped {
            cx.log(format!("`{}` is passed over: {}", skipped.name, skipped.why))
                .await;
        }
        for note in &output.notes {
            cx.log(note.clone()).await;
        }
        for reason in degraded {
            cx.degraded(reason).await?;
        }
        Ok(output)
    }

    async fn probe(&self, _: &ReadContext, _: &Input) -> Result<Probe<Output>, StepError> {
        // Looking leaves nothing behind.
        Ok(Probe::NotStarted)
    }
}

/// Whether a text says which backup is meant.
pub(crate) fn check_which(which: &str) -> Result<(), Vec<InputIssue>> {
    let name = which.rsplit('/').next().unwrap_or_default();
    match name.parse::<Which>() {
        Ok(_) => Ok(()),
        Err(error) => Err(vec![InputIssue::at("/which", error.message()).help(Which::FORMS)]),
    }
}

/// Which backup a text that was checked means: a path is that of a file in the directory.
pub(crate) fn which(text: &str, backups: &BackupsReader) -> Result<Which, StepError> {
    Ok(if text.contains('/') {
        Which::Name(backups.name(text)?)
    } else {
        text.parse()?
    })
}

/// A choice and what there is to say of it, in one line.
pub(crate) fn in_one<'a>(chosen: String, said: impl Iterator<Item = &'a String>) -> String {
    let said = said.cloned();
    std::iter::once(chosen).chain(said).collect::<Vec<_>>().join("; ")
}

/// What it takes to prove a backup whole.
fn cost(backup: &BackupRef) -> String {
    let place = backup.locations.first().map(|place| format!(" in {place}"));
    format!(
        "the run reads its {} bytes{} to the end before it goes on, and a damaged copy gives way to another",
        backup.bytes,
        place.unwrap_or_default()
    )
}

async fn look(cx: &ReadContext, input: &Input, prove: Prove, observer: &dyn Observer) -> Result<Chosen, StepError> {
    let backups = cx.read::<Backups>().await?;
    let postgres = cx.read::<Postgres>().await?;
    let wanted = wanted(input, prove, &backups, &postgres)?;
    let mut selection = backups.select(&wanted, &toolbox(cx), observer).await?;
    let entry = backups.find(&selection.backup.name).await?;
    let meant = Meant {
        database: postgres.database(),
        target: input.into.into(),
        owners: input.owners,
    };
    let fitness = fitness(&postgres, &entry, meant, &toolbox(cx)).await?;
    Ok(Chosen {
        degraded: selection.take_reasons(),
        open_questions: !fitness.notes.is_empty(),
        output: output(cx, selection, fitness, entry.of_into(postgres.database())),
    })
}

fn wanted(input: &Input, prove: Prove, backups: &BackupsReader, postgres: &Reader) -> Result<Wanted, StepError> {
    Ok(Wanted {
        which: which(&input.which, backups)?,
        from: input.from.location(),
        kind: ContentKind::Database,
        of: input.of.clone().filter(|of| !of.is_empty()),
        prefer: Some(postgres.database().to_owned()),
        prove,
    })
}

fn output(cx: &ReadContext, selection: Selection, fitness: Fitness, of_into: String) -> Output {
    let created_at = selection.backup.created_at;
    let left_out = fitness
        .left_out
        .iter()
        .map(|extension| format!("extension `{extension}` will be left out"));
    let mut notes = selection.notes;
    notes.extend(left_out.chain(fitness.notes));
    Output {
        of_into,
        recovery_point: created_at.to_string(),
        age_seconds: cx.now().duration_since(created_at).as_secs(),
        backup: selection.backup,
        skipped: selection.skipped,
        missing_roles: fitness.missing_roles,
        notes,
    }
}
