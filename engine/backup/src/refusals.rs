//! Why a backup is not taken, in the words that people see.

use jm_step::{StepError, StepErrorKind};

use crate::catalogue::Entry;
use crate::location::LocationName;
use crate::name::{BackupName, ContentKind};
use crate::openpgp::OpenError;

/// What a failure to open means for this backup: where the manifest says that the key is ours, it is not the key.
pub(crate) fn cannot_open(entry: &Entry, error: OpenError) -> StepError {
    match error {
        OpenError::WrongKey if entry.manifest().is_none() => wrong_key(&entry.name, None),
        OpenError::WrongKey => damaged(&entry.name, "its beginning is not what was written"),
        other => damaged(&entry.name, &other.to_string()),
    }
}

/// Another key than the one that is needed, with its id where the manifest says it.
pub(crate) fn wrong_key(name: &BackupName, needed: Option<&str>) -> StepError {
    let needed = needed.map_or(String::new(), |id| format!(" (key `{id}` is needed)"));
    StepError::denied(format!(
        "the key does not open `{name}`: it was encrypted with another one{needed}"
    ))
    .hint(OTHER_KEY)
}

/// What to do about a backup of another key.
pub(crate) const OTHER_KEY: &str =
    "set `ENCRYPTION_KEY` to the key with which it was made; old keys are needed as long as their backups";

/// The classic mistake: the data of one system restored over that of another.
pub(crate) fn of_another(name: &BackupName, is: &str, meant: &str) -> StepError {
    StepError::refused(format!(
        "`{name}` is a backup of database `{is}`, and `{meant}` is meant: it would take the place of other data"
    ))
    .hint(format!(
        "name a backup of `{meant}`, or another target; where it is really to be that of `{is}`, say so with `of: {is}`, in the \
         plans that ship with `-i database_name={is}`"
    ))
}

/// A backup of the right name and of another kind.
pub(crate) fn of_another_kind(name: &BackupName, is: ContentKind, wanted: ContentKind) -> StepError {
    StepError::invalid_input(format!(
        "`{name}` is {}, and {} is wanted",
        is.describe(),
        wanted.describe()
    ))
    .hint("`jm backup list` shows what each is")
}

/// Whoever can write there could have written the manifest too.
pub(crate) fn refused(name: &BackupName, why: &str) -> StepError {
    StepError::refused(format!("the manifest of `{name}` is not believed: {why}"))
        .hint("use another backup, and find out who wrote there")
}

/// A manifest that could not be read. Of which kind that is, says whether another attempt can help.
pub(crate) fn unread(name: &BackupName, kind: StepErrorKind, why: &str) -> StepError {
    StepError::new(kind, format!("the manifest of `{name}` cannot be read: {why}"))
        .hint("see that it can be read where it lies, then try again; or choose another backup by its name")
}

/// A copy that is not what was written.
pub(crate) fn damaged(name: &BackupName, how: &str) -> StepError {
    StepError::failed(format!("`{name}` cannot be used: {how}"))
        .hint("use another copy or another backup: `jm backup list` shows them")
}

/// A location that the targets file does not give the backups. What is in it is not gone: it is not looked at.
pub(crate) fn no_location(name: LocationName) -> StepError {
    let (message, hint) = match name {
        LocationName::S3 => (
            "backups cannot be taken from `s3`: the target's `s3` is not enabled",
            "set `AWS_ENABLED=true` and `BACKUP_S3_BUCKET`, or let copies come from `any` location",
        ),
        LocationName::Local => (
            "backups cannot be taken from `local`: the target has no `directory`",
            "set `BACKUP_DIR`, or let copies come from `any` location",
        ),
    };
    StepError::invalid_input(message).hint(hint)
}
