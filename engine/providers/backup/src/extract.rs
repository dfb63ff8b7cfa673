//! `backup.extract`: writes what is in a backup of files, or of code, into a new folder, proven to the end.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jm_backup::{Backups, ContentKind, Entry, FilesIndex, Manifest, Told, bundle_in};
use jm_step::{
    Change, Effect, InputIssue, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError,
    StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::argument::Backup;
use crate::observer::until_cancelled;

pub(crate) struct Extract;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// The backup, as `backup.find` or `backup.files` gives it, or its name.
    backup: Backup,
    /// A new folder. Of files, `files` in it has each under its whole path, and `environment.sh` sets the variables. Of
    /// code, `code.bundle` in it is what git clones from; that file must not be there yet.
    into: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Output {
    /// The backup's name.
    name: String,
    /// The folder.
    #[schemars(extend("x-jm-on-this-machine" = true))]
    folder: String,
    /// How many files, folders and links came back.
    files: u64,
    /// The file that sets the variables; empty where there are none.
    environment: String,
    /// The bundle of a backup of code; empty for others.
    bundle: String,
}

/// Saved before the folder is made: nothing of that name was there.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Ours {
    folder: String,
}

impl StepType for Extract {
    const NAME: &'static str = "backup.extract";
    const SUMMARY: &'static str =
        "write the files and variables, or the code, of a backup into a new folder, proven to the end";
    const EFFECT: Effect = Effect::Reversible;
    // The folder has its name when all is in it, and is written by nobody else.
    const REPEAT: Repeat = Repeat::Safe;
    const TIMEOUT: Duration = Duration::from_hours(1);
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        let mut issues = input.backup.check();
        if input.into.is_empty() {
            issues.push(InputIssue::at("/into", "there is no folder").help("name a new one"));
        }
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
        let inside = Inside::of(&entry)?;
        inside.refuse_there(&input.into)?;
        let output = inside.output(input, &entry);
        let summary = format!("write {inside} of `{}` into `{}`", entry.name, input.into);
        Ok(Preview::computed(summary, vec![change(input, &entry)]).predict(output))
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let backups = cx.connect::<Backups>().await?;
        let entry = input.backup.find(&backups).await?;
        let inside = Inside::of(&entry)?;
        let ours = Ours {
            folder: input.into.clone(),
        };
        match inside.refuse_there(&input.into) {
            Err(_) if cx.checkpoint()?.as_ref() == Some(&ours) => return Ok(inside.output(&input, &entry)),
            outcome => outcome?,
        }
        cx.save_checkpoint(&ours).await?;
        until_cancelled(cx, Box::pin(inside.write(&backups, &entry, &input.into, &Told(cx)))).await?;
        cx.changed(change(&input, &entry)).await;
        Ok(inside.output(&input, &entry))
    }

    /// Where the folder is there, another run finds out whose it is.
    async fn probe(&self, cx: &ReadContext, input: &Input) -> Result<Probe<Output>, StepError> {
        let backups = cx.read::<Backups>().await?;
        let inside = Inside::of(&input.backup.find(&backups).await?)?;
        Ok(match inside.refuse_there(&input.into) {
            Ok(()) => Probe::NotStarted,
            Err(_) => Probe::unknown(format!("`{}` is there, and may be ours", input.into)),
        })
    }
}

/// What is in a backup, of the kinds that a folder can have.
enum Inside {
    Files(FilesIndex),
    Code,
}

impl std::fmt::Display for Inside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Files(index) => write!(f, "{} files and folders", index.files.len()),
            Self::Code => write!(f, "the bundle"),
        }
    }
}

impl Inside {
    fn of(entry: &Entry) -> Result<Self, StepError> {
        let files = entry.manifest().and_then(Manifest::files);
        match (files, entry.kind()) {
            (Some(index), _) => Ok(Self::Files(index.clone())),
            (None, ContentKind::Code) => Ok(Self::Code),
            (None, _) => Err(StepError::invalid_input(format!(
                "`{}` is no backup of files, and none of code",
                entry.name
            ))
            .hint("`jm backup list` shows what each is; `backup.find` with `kind: files` finds the newest")),
        }
    }

    /// What has its name only when all is in it: the folder of files, and the bundle in a folder that may be there.
    fn place(&self, folder: &str) -> PathBuf {
        match self {
            Self::Files(_) => PathBuf::from(folder),
            Self::Code => bundle_in(Path::new(folder)),
        }
    }

    fn refuse_there(&self, folder: &str) -> Result<(), StepError> {
        let place = self.place(folder);
        if place.exists() {
            return Err(StepError::conflict(format!("`{}` is there already", place.display()))
                .hint("name a new folder: nothing is written over"));
        }
        Ok(())
    }

    async fn write(&self, backups: &Backups, entry: &Entry, folder: &str, told: &Told<'_>) -> Result<(), StepError> {
        match self {
            Self::Files(_) => backups.extract_files(entry, Path::new(folder), told).await.map(drop),
            Self::Code => backups.extract_bundle(entry, Path::new(folder), told).await.map(drop),
        }
    }

    fn output(&self, input: &Input, entry: &Entry) -> Output {
        let (files, has_variables) = match self {
            Self::Files(index) => (index.files.len() as u64, !index.environment.is_empty()),
            Self::Code => (1, false),
        };
        let environment = format!("{}/environment.sh", input.into);
        Output {
            name: entry.name.to_string(),
            folder: input.into.clone(),
            files,
            environment: if has_variables { environment } else { String::new() },
            bundle: match self {
                Self::Files(_) => String::new(),
                Self::Code => self.place(&input.into).display().to_string(),
            },
        }
    }
}

fn change(input: &Input, entry: &Entry) -> Change {
    Change::create(format!("folder `{}`", input.into), json!({ "from": entry.name }))
}
