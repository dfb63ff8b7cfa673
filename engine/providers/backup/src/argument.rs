//! A backup as plans name it: the whole of what a step before has chosen, or a name.

use jm_backup::{BackupName, BackupRef, BackupsReader, Entry, LocationName};
use jm_step::{InputIssue, StepError};
use schemars::JsonSchema;
use serde::Deserialize;

/// A backup: `${{ steps.find.outputs.backup }}`, or its name.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Backup {
    /// Its name.
    Name(String),
    /// As `backup.select` and `backup.create` give it.
    Chosen(Box<BackupRef>),
}

impl Backup {
    /// The backup as it is now. One that was chosen must still be what it was.
    pub(crate) async fn find(&self, backups: &BackupsReader) -> Result<Entry, StepError> {
        let entry = backups.find(&self.name(backups)?).await?;
        if let Some(chosen) = self.sha256() {
            entry.must_be(&chosen)?;
        }
        Ok(entry)
    }

    pub(crate) fn name(&self, backups: &BackupsReader) -> Result<BackupName, StepError> {
        match self {
            Self::Name(text) => backups.name(text),
            Self::Chosen(backup) => Ok(backup.name.clone()),
        }
    }

    /// The checksum of what was chosen.
    pub(crate) fn sha256(&self) -> Option<String> {
        match self {
            Self::Name(_) => None,
            Self::Chosen(backup) => backup.sha256.clone(),
        }
    }

    /// The database that it is of, as what was chosen tells.
    pub(crate) fn of(&self) -> Option<String> {
        match self {
            Self::Name(_) => None,
            Self::Chosen(backup) => backup.database.clone(),
        }
    }

    /// The database that was asked for by its name when it was chosen.
    pub(crate) fn asked_of(&self) -> Option<&str> {
        match self {
            Self::Name(_) => None,
            Self::Chosen(backup) => backup.asked_of.as_deref(),
        }
    }

    /// Where copies are to be taken from; anywhere for a name.
    pub(crate) fn locations(&self) -> Vec<LocationName> {
        match self {
            Self::Name(_) => Vec::new(),
            Self::Chosen(backup) => backup.locations.clone(),
        }
    }

    /// What is wrong with a name, as far as it can be told without looking.
    pub(crate) fn check(&self) -> Vec<InputIssue> {
        match self {
            Self::Name(text)
                if text
                    .rsplit('/')
                    .next()
                    .is_none_or(|file| file.parse::<BackupName>().is_err()) =>
            {
                let issue = InputIssue::at(
                    "/backup",
                    format!("`{}` is not the name of a backup", text.escape_debug()),
                );
                vec![
                    issue.help("such as `journeyman_backup_20240115_020000.sql.gpg`; `backup.select` finds the latest"),
                ]
            }
            _ => Vec::new(),
        }
    }
}
