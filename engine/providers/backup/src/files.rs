//! `backup.files`: keeps files and environment variables among the backups, encrypted, where something changed since the last
//! time.

use std::collections::BTreeMap;
use std::time::Duration;

use jm_backup::{
    BackupRef, Backups, BackupsReader, ContentKind, FilesDifference, FilesLook, FilesRequest, Keeping, LeftOut, Level,
    Made, Manifest, Told, check_label,
};
use jm_step::{
    Change, Effect, InputIssue, Known, Need, Preview, Probe, ReadContext, Repeat, Role, Secret, StepContext, StepError,
    StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::observer::{toolbox, until_cancelled};
use crate::release::Running;

pub(crate) struct Files;

/// So many names of each sort stand in a line; the output has all.
const SHOWN: usize = 8;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// Files and folders of this machine; of a folder all that is in it. Symbolic links in a folder are kept as links.
    #[serde(default)]
    paths: Vec<String>,
    /// Names of environment variables of jm whose values are kept. None but these are.
    #[serde(default)]
    environment: Vec<String>,
    /// What all of it is called together: backups of one set are versions of each other.
    #[serde(default = "configuration")]
    set: String,
    /// Whether a backup is made only where something changed since the last one of the set, or a location lacks that one.
    #[serde(default = "yes")]
    only_changed: bool,
    /// The release of the application that runs, so that it is known which code fits.
    #[serde(default)]
    release: Running,
    /// A name for the backup, such as `pre_upgrade`. Empty: none.
    #[serde(default)]
    label: String,
    /// How long retention leaves it alone, whatever its age, such as `30d`.
    #[serde(default)]
    pin: Option<String>,
    /// How far it is proven before it counts.
    #[serde(default = "archive")]
    verify: Level,
}

fn configuration() -> String {
    "configuration".to_owned()
}

fn yes() -> bool {
    true
}

fn archive() -> Level {
    Level::Archive
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Output {
    /// The backup, as other steps take it: the one that was made, or the last one where nothing changed since.
    backup: BackupRef,
    /// Its name.
    name: String,
    /// Whether it was made now.
    made: bool,
    /// How many files, folders and links it holds.
    files: u64,
    /// How many variables it holds.
    variables: u64,
    /// What differs from the backup before, by name.
    #[serde(flatten)]
    difference: FilesDifference,
    /// What is not in it, and why.
    left_out: Vec<LeftOut>,
    /// How far it was proven.
    level: Level,
}

impl StepType for Files {
    const NAME: &'static str = "backup.files";
    const SUMMARY: &'static str =
        "keep files and environment variables among the backups, encrypted, where they changed";
    const EFFECT: Effect = Effect::Reversible;
    // A deed that was done is found again by its key, and is not done twice.
    const REPEAT: Repeat = Repeat::Safe;
    const TIMEOUT: Duration = Duration::from_hours(1);
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        let mut issues = input.release.issues();
        if input.paths.is_empty() && input.environment.is_empty() {
            issues.push(
                InputIssue::at("/paths", "there is nothing to back up").help("name `paths`, `environment` or both"),
            );
        }
        for name in input.environment.iter().filter(|name| !is_variable(name)) {
            let what = format!("`{}` is not the name of a variable", name.escape_debug());
            issues.push(InputIssue::at("/environment", what).help("letters, digits and `_`, such as `DATABASE_URL`"));
        }
        if let Err(why) = check_label(&input.set) {
            issues.push(InputIssue::at("/set", why).help("such as `configuration`"));
        }
        let restored = "a backup is proven to be restorable by restoring it";
        issues.extend(Keeping::issues(
            &input.label,
            input.pin.as_deref(),
            input.verify,
            restored,
        ));
        if issues.is_empty() { Ok(()) } else { Err(issues) }
    }

    fn roles(&self) -> Vec<Role> {
        vec![Role::of::<Backups>("backups")]
    }

    fn needs(&self, _: &Known) -> Vec<Need> {
        vec![Need::of("backups", jm_backup::MAKING)]
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let backups = cx.read::<Backups>().await?;
        let look = backups.look_at_files(&request(cx, input)).await?;
        let left_out: Vec<String> = look.left_out.iter().map(not_kept).collect();
        if let Some(last) = unchanged(cx, input, &look) {
            let summary = format!("nothing changed since `{}`", last.name);
            let left_out = left_out.into_iter().chain(look.unknown.clone());
            let output = last_kept(&backups, last).await?;
            return Ok(Preview::computed(summary, Vec::new())
                .predict(output)
                .degraded(left_out));
        }
        let usable = backups.can_file(ContentKind::Files, label(input)).await?;
        let names: Vec<String> = usable.locations.iter().map(ToString::to_string).collect();
        let summary = format!("back {} up to {}", described(&look), names.join(" and "));
        let changes = vec![change(input, &look.difference, &names)];
        Ok(Preview::computed(summary, changes).degraded(left_out.into_iter().chain(usable.degraded)))
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let backups = cx.connect::<Backups>().await?;
        if let Some(made) = found(&backups, cx.idempotency_key()).await? {
            return made.adopt(cx).await;
        }
        let request = request(cx, &input);
        let look = until_cancelled(cx, backups.look_at_files(&request)).await?;
        for left in &look.left_out {
            cx.degraded(not_kept(left)).await?;
        }
        if let Some(last) = unchanged(cx, &input, &look) {
            for reason in &look.unknown {
                cx.degraded(reason.clone()).await?;
            }
            cx.log(format!("nothing changed since `{}`", last.name)).await;
            return last_kept(&backups, last).await;
        }
        for reason in &look.lacking {
            cx.log(reason.clone()).await;
        }
        cx.log(look.difference.describe(SHOWN)).await;
        let (tools, told) = (toolbox(cx), Told(cx));
        let difference = look.difference.clone();
        let created = until_cancelled(cx, Box::pin(backups.store_files(&request, look, &tools, &told))).await?;
        let locations: Vec<String> = created.backup.locations.iter().map(ToString::to_string).collect();
        cx.changed(change(&input, &difference, &locations)).await;
        Ok(output(&created.manifest, created.backup, true, difference))
    }

    async fn probe(&self, cx: &ReadContext, _: &Input) -> Result<Probe<Output>, StepError> {
        let backups = cx.read::<Backups>().await?;
        Ok(Made::probe(found(&backups, cx.idempotency_key()).await?))
    }
}

/// What this deed made, where it did. What differed from the backup before is not known any more.
async fn found(backups: &BackupsReader, key: &str) -> Result<Option<Made<Output>>, StepError> {
    let made = |manifest: &Manifest, backup| output(manifest, backup, true, FilesDifference::default());
    backups.made(key, made).await
}

/// The last backup, where nothing has to be done. One that is asked for by a name, or to be kept, is made in any case.
fn unchanged<'l>(cx: &ReadContext, input: &Input, look: &'l FilesLook) -> Option<&'l BackupRef> {
    let last = look.newest.as_ref()?;
    let is_asked_for = keeping(cx, input).is_asked_for();
    let will_do = look.difference.is_empty() && look.lacking.is_empty();
    (input.only_changed && !is_asked_for && will_do).then_some(last)
}

async fn last_kept(backups: &BackupsReader, last: &BackupRef) -> Result<Output, StepError> {
    let entry = backups.find(&last.name).await?;
    let manifest = entry.manifest().ok_or_else(|| gone(last))?;
    Ok(output(manifest, last.clone(), false, FilesDifference::default()))
}

fn gone(last: &BackupRef) -> StepError {
    StepError::conflict(format!("the manifest of `{}` went away meanwhile", last.name)).hint("try again")
}

fn request(cx: &ReadContext, input: &Input) -> FilesRequest {
    let environment = cx.environment();
    let value = |name: &String| (name.clone(), environment.get(name).map(Secret::new));
    FilesRequest {
        set: input.set.clone(),
        paths: input.paths.iter().map(Into::into).collect(),
        environment: input.environment.iter().map(value).collect::<BTreeMap<_, _>>(),
        keeping: keeping(cx, input),
    }
}

fn keeping(cx: &ReadContext, input: &Input) -> Keeping {
    Keeping {
        release: input.release.release(),
        ..Keeping::of(cx, &input.label, input.pin.as_deref(), input.verify)
    }
}

fn label(input: &Input) -> Option<&str> {
    Some(input.label.as_str()).filter(|label| !label.is_empty())
}

/// What a shell takes for the name of a variable.
fn is_variable(name: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty() && name.chars().all(is_word) && !name.starts_with(|c: char| c.is_ascii_digit())
}

fn not_kept(left: &LeftOut) -> String {
    format!("`{}` is not in the backup: {}", left.name, left.why)
}

fn described(look: &FilesLook) -> String {
    let changes = match look.lacking.as_slice() {
        reasons if look.difference.is_empty() => reasons.join("; "),
        _ => look.difference.describe(SHOWN),
    };
    let changes = if changes.is_empty() {
        "nothing changed"
    } else {
        &changes
    };
    format!(
        "{} files and folders and {} variables ({changes})",
        look.files(),
        look.variables()
    )
}

/// Of what is kept, the names alone.
fn change(input: &Input, difference: &FilesDifference, locations: &[String]) -> Change {
    let after = json!({ "label": label(input), "locations": locations, "differs": difference });
    Change::create(format!("backup of the files `{}`", input.set), after)
}

fn output(manifest: &Manifest, backup: BackupRef, made: bool, difference: FilesDifference) -> Output {
    let index = manifest.files().cloned().unwrap_or_default();
    Output {
        name: backup.name.to_string(),
        backup,
        made,
        files: index.files.len() as u64,
        variables: index.environment.len() as u64,
        difference,
        left_out: index.left_out,
        level: manifest.level,
    }
}
