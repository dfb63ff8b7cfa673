//! `backup.inventory`: tells whether every backup is whole in one location.

use std::collections::BTreeMap;
use std::time::Duration;

use jm_backup::{Backups, Lacking, Later, LocationName, Places, Wholeness};
use jm_step::{Effect, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError, StepType};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::observer::until_cancelled;

pub(crate) struct Inventory;

/// So many backups are named.
const SHOWN: usize = 100;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// The location in which each is looked for: by the manifests of all locations, by sizes and by the checksums that are
    /// noted there; and whether it was written after its manifest, which is written last.
    #[serde(default = "s3")]
    at: LocationName,
    /// Whether those are read that were written after their manifests and of which no checksum is noted: what somebody else
    /// has put there says nothing of itself. A preview reads none.
    #[serde(default)]
    read_later: bool,
}

fn s3() -> LocationName {
    LocationName::S3
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Output {
    /// How many backups are whole there.
    whole: u64,
    /// How many of those have the right size, were written after their manifests with no checksum noted, and were not read.
    #[serde(default)]
    unproven_count: u64,
    /// How many are not.
    lacking_count: u64,
    /// How many were made with another key, so that only whoever has it can say.
    other_key_count: u64,
    /// The newest of those.
    lacking: Vec<Lacking>,
    /// The SHA-256 of every backup whose manifest the key proves, by its name.
    sums: BTreeMap<String, String>,
    #[serde(flatten)]
    places: Places,
}

impl StepType for Inventory {
    const NAME: &'static str = "backup.inventory";
    const SUMMARY: &'static str = "tell whether every backup that has a manifest is whole in one location";
    const EFFECT: Effect = Effect::ReadOnly;
    const REPEAT: Repeat = Repeat::Safe;
    const TIMEOUT: Duration = Duration::from_mins(30);
    type Input = Input;
    type Output = Output;

    fn roles(&self) -> Vec<Role> {
        vec![Role::of::<Backups>("backups")]
    }

    fn needs(&self, _: &Known) -> Vec<Need> {
        vec![Need::of("backups", jm_backup::READING)]
    }

    /// What is lacking now may be there once the steps before it have run.
    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let (output, down) = look(cx, input.at, Later::Told).await?;
        let preview = Preview::verified(output.summary(input.at)).degraded(down);
        Ok(if output.lacking_count == 0 {
            preview.predict(output)
        } else {
            let mut foreseen = json!(output.places);
            foreseen["sums"] = json!(output.sums);
            preview.foresee(foreseen)
        })
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let later = if input.read_later { Later::Read } else { Later::Told };
        let (output, down) = until_cancelled(cx, Box::pin(look(cx, input.at, later))).await?;
        cx.log(output.summary(input.at)).await;
        for Lacking { name, reason } in &output.lacking {
            cx.log(format!("`{name}`: {reason}")).await;
        }
        for reason in down {
            cx.degraded(reason).await?;
        }
        Ok(output)
    }

    async fn probe(&self, _: &ReadContext, _: &Input) -> Result<Probe<Output>, StepError> {
        // Looking leaves nothing behind.
        Ok(Probe::NotStarted)
    }
}

impl Output {
    fn summary(&self, at: LocationName) -> String {
        let all = self.whole + self.lacking_count + self.other_key_count;
        let summary = format!("{} of {all} backups are whole in {at}", self.whole);
        match self.unproven_count {
            0 => summary,
            unproven => format!("{summary}, {unproven} of them by their sizes alone"),
        }
    }
}

/// What is there, and what could not be found out.
async fn look(cx: &ReadContext, at: LocationName, later: Later) -> Result<(Output, Vec<String>), StepError> {
    let backups = cx.read::<Backups>().await?;
    let Wholeness {
        whole,
        unproven,
        mut lacking,
        sums,
        other_key,
        down,
    } = backups.wholeness(at, later).await?;
    let lacking_count = lacking.len() as u64;
    lacking.truncate(SHOWN);
    let down = down.into_iter().map(|(location, error)| {
        format!("{location} does not answer, and backups that only it knows of are not looked for: {error}")
    });
    let output = Output {
        whole,
        unproven_count: unproven,
        lacking_count,
        other_key_count: other_key,
        lacking,
        sums,
        places: backups.places().await?,
    };
    let untold = (other_key > 0).then(|| {
        format!("{other_key} backups were made with another key, and whether they are whole is for who has it to say")
    });
    Ok((output, down.chain(untold).collect()))
}
