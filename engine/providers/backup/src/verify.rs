//! `backup.verify`: reads every copy of a backup back, and says how far it is proven.

use std::time::Duration;

use jm_backup::{Backups, Entry, Level, LocationName};
use jm_step::{
    Connection, Effect, InputIssue, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError,
    StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::argument::Backup;
use crate::observer::{Told, toolbox, until_cancelled};

pub(crate) struct Verify;

/// How far a copy is to be proven.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Proof {
    /// Every byte is there and has its checksum (L1).
    Checksum,
    /// It decrypts and unpacks to its end (L2).
    Decrypt,
    /// Its content is a whole dump, of which every block is read (L3).
    #[default]
    Archive,
}

impl Proof {
    fn level(self) -> Level {
        match self {
            Self::Checksum => Level::Checksum,
            Self::Decrypt => Level::Decrypt,
            Self::Archive => Level::Archive,
        }
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// The backup.
    backup: Backup,
    /// How far it is to be proven.
    #[serde(default)]
    level: Proof,
}

/// One copy.
#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct VerifiedCopy {
    /// Where it lies.
    location: LocationName,
    /// Whether it is good.
    good: bool,
    /// What is wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Output {
    /// The backup's name.
    backup: String,
    /// How far its good copies are proven.
    level: Level,
    /// Its copies.
    copies: Vec<VerifiedCopy>,
}

impl StepType for Verify {
    const NAME: &'static str = "backup.verify";
    const SUMMARY: &'static str = "read every copy of a backup back and prove it";
    const EFFECT: Effect = Effect::ReadOnly;
    const REPEAT: Repeat = Repeat::Safe;
    const TIMEOUT: Duration = Duration::from_hours(4);
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        let issues = input.backup.check();
        if issues.is_empty() { Ok(()) } else { Err(issues) }
    }

    fn roles(&self) -> Vec<Role> {
        vec![Role::of::<Backups>("backups")]
    }

    fn needs(&self, _: &Known) -> Vec<Need> {
        vec![Need::of("backups", jm_backup::READING)]
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let backups = cx.read::<Backups>().await?;
        let entry = input.backup.find(&backups).await?;
        let places: Vec<String> = entry.copies.iter().map(|copy| copy.location.to_string()).collect();
        Ok(Preview::declared(format!(
            "read `{}` back from {} up to {}",
            entry.name,
            places.join(" and "),
            input.level.level().short()
        )))
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let backups = cx.connect::<Backups>().await?;
        let entry = input.backup.find(backups.reader()).await?;
        let copies = until_cancelled(cx, Box::pin(prove(cx, &backups, &entry, input.level.level()))).await?;
        let good = copies.iter().any(|copy| copy.good);
        for copy in &copies {
            let Some(error) = &copy.error else { continue };
            if !good {
                return Err(
                    StepError::failed(format!("no copy of `{}` is good: {error}", entry.name))
                        .hint("take another backup now, and find out what damaged this one"),
                );
            }
            cx.degraded(error.clone()).await?;
        }
        Ok(Output {
            backup: entry.name.to_string(),
            level: input.level.level(),
            copies,
        })
    }

    async fn probe(&self, _: &ReadContext, _: &Input) -> Result<Probe<Output>, StepError> {
        // Looking leaves nothing behind.
        Ok(Probe::NotStarted)
    }
}

async fn prove(
    cx: &StepContext,
    backups: &Backups,
    entry: &Entry,
    level: Level,
) -> Result<Vec<VerifiedCopy>, StepError> {
    if entry.copies.is_empty() {
        return Err(StepError::not_found(format!("no copy of `{}` is left", entry.name)));
    }
    let mut copies = Vec::new();
    for copy in &entry.copies {
        let proven = backups
            .prove(entry, copy.location, level, &toolbox(cx), &Told(cx))
            .await;
        copies.push(VerifiedCopy {
            location: copy.location,
            good: proven.is_ok(),
            error: proven.err().map(|error| error.to_string()),
        });
    }
    Ok(copies)
}
