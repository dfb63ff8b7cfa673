//! `backup.find`: chooses the newest good backup of databases or of objects, and proves that it opens. It needs nothing
//! but the backups, so that a plan knows what it has before anything that it brings back is there.

use std::time::Duration;

use jm_backup::{
    BackupRef, Backups, ChosenImage, ContentKind, Manifest, Prove, RecordedImage, Release, Selection, Silent, Skipped,
    Unreadable, Wanted,
};
use jm_step::{
    Effect, InputIssue, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError, StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::observer::{toolbox, until_cancelled};
use crate::select::{From, check_which, in_one, latest, which};

pub(crate) struct Find;

/// What is inside of a backup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Inside {
    /// A database.
    #[default]
    Database,
    /// Objects of a cluster.
    Kubernetes,
    /// Files and environment variables.
    Files,
    /// A git repository.
    Code,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// What is to be inside.
    #[serde(default)]
    kind: Inside,
    /// `latest`, `latest<=2024-01-15T14:30:00Z`, a day (YYYYMMDD, UTC) or a backup's name.
    #[serde(default = "latest")]
    which: String,
    /// Where copies may come from.
    #[serde(default)]
    from: From,
    /// The database, namespace, set of files or repository that it is to be of. Default: the only one.
    #[serde(default)]
    of: Option<String>,
    /// Objects that are not to be brought back, as `kind/name`, such as `deployment/broken`: whether their images are known
    /// does not matter.
    #[serde(default)]
    except: Vec<String>,
    /// Images that containers are going to get instead: which ones they ran does not have to be known.
    #[serde(default)]
    set_images: Vec<ChosenImage>,
    /// Objects that are going to be brought back by name, such as `statefulset/postgres`: which of them are not in it is told.
    #[serde(default)]
    objects: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Output {
    /// The backup, as other steps take it.
    backup: BackupRef,
    /// Its name.
    name: String,
    /// Of what it is, in words, such as "backup of `journeyman_prod`".
    of: String,
    /// The moment to which it brings back.
    #[schemars(extend("x-jm-recovery-point" = true))]
    recovery_point: String,
    /// How old that is, in seconds.
    age_seconds: i64,
    /// Newer backups that are not good, and why.
    skipped: Vec<Skipped>,
    /// The images that ran when it was made, for what holds objects.
    images: Vec<RecordedImage>,
    /// The containers of which nobody knows which image they ran, in words.
    #[serde(default)]
    unknown_images: Vec<String>,
    /// Those of `objects` that are not in it.
    #[serde(default)]
    lacking: Vec<String>,
    /// Kinds of objects that could not be read when it was made, and are not in it.
    #[serde(default)]
    unreadable: Vec<Unreadable>,
    /// The release of the application that ran when it was made, where that was told.
    #[serde(default)]
    release: Option<Release>,
    /// What else explains the choice.
    notes: Vec<String>,
}

impl StepType for Find {
    const NAME: &'static str = "backup.find";
    const SUMMARY: &'static str = "choose the newest good backup, and prove that it opens, before its system is there";
    const EFFECT: Effect = Effect::ReadOnly;
    const REPEAT: Repeat = Repeat::Safe;
    const TIMEOUT: Duration = Duration::from_mins(30);
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        check_which(&input.which)
    }

    fn roles(&self) -> Vec<Role> {
        vec![Role::of::<Backups>("backups")]
    }

    fn needs(&self, _: &Known) -> Vec<Need> {
        vec![Need::of("backups", jm_backup::READING)]
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let (output, degraded) = look(cx, input).await?;
        let chosen = format!("`{}`, {}, as of {}", output.name, output.of, output.recovery_point);
        let summary = in_one(chosen, output.notes.iter());
        Ok(Preview::verified(summary).predict(output).degraded(degraded))
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let (output, degraded) = until_cancelled(cx, Box::pin(look(cx, &input))).await?;
        cx.log(format!("`{}`, {}", output.name, output.of)).await;
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

/// The choice, and what makes it a degraded one.
async fn look(cx: &ReadContext, input: &Input) -> Result<(Output, Vec<String>), StepError> {
    let backups = cx.read::<Backups>().await?;
    let wanted = Wanted {
        which: which(&input.which, &backups)?,
        from: input.from.location(),
        kind: match input.kind {
            Inside::Database => ContentKind::Database,
            Inside::Kubernetes => ContentKind::Kubernetes,
            Inside::Files => ContentKind::Files,
            Inside::Code => ContentKind::Code,
        },
        of: input.of.clone().filter(|of| !of.is_empty()),
        prefer: None,
        // What restores it opens it, and proves it while it is read.
        prove: Prove::Opens,
    };
    let mut selection = backups.select(&wanted, &toolbox(cx), &Silent).await?;
    let entry = backups.find(&selection.backup.name).await?;
    let index = entry.manifest().and_then(Manifest::kubernetes);
    // Without an index nobody knows what it lacks.
    let lacking = index.map(|index| index.lacking(&input.objects)).unwrap_or_default();
    let index = index.cloned().unwrap_or_default();
    let mut degraded = selection.take_reasons();
    degraded.extend(index.unreadable.iter().map(|kind| {
        format!(
            "{} could not be read when `{}` was made, and is not in it: {}",
            kind.kind, entry.name, kind.why
        )
    }));
    let left_out = entry.manifest().and_then(Manifest::files).map(|files| &files.left_out);
    degraded.extend(left_out.into_iter().flatten().map(|left| {
        format!(
            "`{}` could not be kept when `{}` was made, and is not in it: {}",
            left.name, entry.name, left.why
        )
    }));
    let Selection {
        backup, skipped, notes, ..
    } = selection;
    let of = match entry.manifest() {
        Some(manifest) => format!("backup of `{}`", manifest.of()),
        None => "backup without a manifest, so that nothing tells of what it is".to_owned(),
    };
    let output = Output {
        of,
        name: backup.name.to_string(),
        recovery_point: backup.created_at.to_string(),
        age_seconds: cx.now().duration_since(backup.created_at).as_secs(),
        backup,
        skipped,
        unknown_images: index.unknown_images(&input.except, &input.set_images),
        lacking,
        unreadable: index.unreadable,
        release: entry.manifest().and_then(|manifest| manifest.release.clone()),
        images: index.images,
        notes,
    };
    Ok((output, degraded))
}
