//! `backup.extract`: writes the files and variables of a backup into a new folder, proven to the end.

use std::path::Path;
use std::time::Duration;

use jm_backup::{Backups, Entry, FilesIndex, Told};
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
    /// A new folder. In it, `files` has each file under its whole path, and `environment.sh` sets the variables.
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
}

/// Saved before the folder is made: nothing of that name was there.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Ours {
    folder: String,
}

impl StepType for Extract {
    const NAME: &'static str = "backup.extract";
    const SUMMARY: &'static str = "write the files and variables of a backup into a new folder, proven to the end";
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
        let index = index(&entry)?;
        refuse_there(&input.into)?;
        let output = output(input, &entry, &index);
        let summary = format!(
            "write {} files and folders of `{}` into `{}`",
            output.files, entry.name, input.into
        );
        Ok(Preview::computed(summary, vec![change(input, &entry)]).predict(output))
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let backups = cx.connect::<Backups>().await?;
        let entry = input.backup.find(&backups).await?;
        let index = index(&entry)?;
        let ours = Ours {
            folder: input.into.clone(),
        };
        match refuse_there(&input.into) {
            // It has its name only when all is in it.
            Err(_) if cx.checkpoint()?.as_ref() == Some(&ours) => return Ok(output(&input, &entry, &index)),
            outcome => outcome?,
        }
        cx.save_checkpoint(&ours).await?;
        let told = Told(cx);
        let extracted = backups.extract_files(&entry, Path::new(&input.into), &told);
        until_cancelled(cx, Box::pin(extracted)).await?;
        cx.changed(change(&input, &entry)).await;
        Ok(output(&input, &entry, &index))
    }

    /// Where the folder is there, another run finds out whose it is.
    async fn probe(&self, _: &ReadContext, input: &Input) -> Result<Probe<Output>, StepError> {
        Ok(match refuse_there(&input.into) {
            Ok(()) => Probe::NotStarted,
            Err(_) => Probe::unknown(format!("`{}` is there, and may be ours", input.into)),
        })
    }
}

fn index(entry: &Entry) -> Result<FilesIndex, StepError> {
    let index = entry.manifest().and_then(|manifest| manifest.files());
    index.cloned().ok_or_else(|| {
        StepError::invalid_input(format!("`{}` is no backup of files", entry.name))
            .hint("`jm backup list` shows what each is; `backup.find` with `kind: files` finds the newest")
    })
}

fn refuse_there(folder: &str) -> Result<(), StepError> {
    if Path::new(folder).exists() {
        return Err(StepError::conflict(format!("`{folder}` is there already"))
            .hint("name a new folder: nothing is written over"));
    }
    Ok(())
}

fn change(input: &Input, entry: &Entry) -> Change {
    Change::create(format!("folder `{}`", input.into), json!({ "from": entry.name }))
}

fn output(input: &Input, entry: &Entry, index: &FilesIndex) -> Output {
    let environment = format!("{}/environment.sh", input.into);
    Output {
        name: entry.name.to_string(),
        folder: input.into.clone(),
        files: index.files.len() as u64,
        environment: Some(environment)
            .filter(|_| !index.environment.is_empty())
            .unwrap_or_default(),
    }
}
