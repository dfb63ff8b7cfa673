//! What belongs to a database's name and is in no dump: owner, grants, settings, connection limit, comment. It is kept in
//! the manifest, and given to a restored copy where the database itself is gone and cannot be asked any more.
//!
//! A manifest is readable by anybody who can read the backups. The server's own settings may stand in it; those with a
//! dot in their name belong to applications and extensions, some of which keep secrets there: they are encrypted, with
//! the key of the backup.

use std::io::{Cursor, Read};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jm_client_postgres::quote::ident;
use jm_client_postgres::{About, Belongings, Grant, Postgres, Reader, RoleSettings, Setting, left_out};
use jm_step::{Connection, StepError, StepErrorKind, StepId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::archive::Meter;
use crate::backups::BackupsReader;
use crate::catalogue::Entry;
use crate::fitness::Fitness;
use crate::key::Passphrase;
use crate::manifest::Manifest;
use crate::openpgp::{decrypt, encrypt};

/// More than a server lets settings have.
const LARGEST: u64 = 4 << 20;

/// What belongs to a database's name, as a manifest holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeptBelongings {
    /// All but the settings of applications and extensions.
    #[serde(flatten)]
    plain: Belongings,
    /// Those, as JSON, encrypted (OpenPGP, base64).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sealed_settings: Option<String>,
}

impl KeptBelongings {
    /// Takes apart what may be read by others and what may not.
    pub(crate) async fn seal(mut all: Belongings, passphrase: &Passphrase) -> Result<Self, StepError> {
        let mut sealed = all.settings.clone();
        keep(&mut all.settings, |name| !name.contains('.'));
        keep(&mut sealed, |name| name.contains('.'));
        let sealed_settings = if sealed.is_empty() {
            None
        } else {
            let text = serde_json::to_vec(&sealed)
                .map_err(|error| StepError::failed("settings cannot be written as JSON").source(error))?;
            let passphrase = passphrase.clone();
            Some(aside(move || close(text, &passphrase)).await?)
        };
        Ok(Self {
            plain: all,
            sealed_settings,
        })
    }

    /// Who owned the database.
    pub(crate) fn owner(&self) -> &str {
        &self.plain.owner
    }

    /// Puts them together again.
    pub(crate) async fn open(&self, passphrase: &Passphrase) -> Result<Belongings, StepError> {
        let mut all = self.plain.clone();
        if let Some(sealed) = &self.sealed_settings {
            let (sealed, passphrase) = (sealed.clone(), passphrase.clone());
            let sealed = aside(move || unclose(&sealed, &passphrase)).await?;
            for of in sealed {
                match all.settings.iter_mut().find(|known| known.role == of.role) {
                    Some(known) => known.settings.extend(of.settings),
                    None => all.settings.push(of),
                }
            }
        }
        Ok(all)
    }
}

/// Keeps the settings whose names are wanted.
fn keep(all: &mut Vec<RoleSettings>, wanted: impl Fn(&str) -> bool) {
    for of in all.iter_mut() {
        of.settings
            .retain(|setting| wanted(setting.split('=').next().unwrap_or_default()));
    }
    all.retain(|of| !of.settings.is_empty());
}

async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StepError> + Send + 'static,
) -> Result<T, StepError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| StepError::failed("work on the settings was given up").source(error))?
}

fn close(text: Vec<u8>, passphrase: &Passphrase) -> Result<String, StepError> {
    let cannot = |error| StepError::failed("the database's settings cannot be encrypted").source(error);
    let mut message = Vec::new();
    let mut encrypted = encrypt(Cursor::new(text), passphrase, 1, Meter::default()).map_err(cannot)?;
    encrypted.read_to_end(&mut message).map_err(cannot)?;
    Ok(BASE64_STANDARD.encode(message))
}

fn unclose(sealed: &str, passphrase: &Passphrase) -> Result<Vec<RoleSettings>, StepError> {
    let damaged = |why: String| StepError::failed(format!("the settings in the manifest cannot be opened: {why}"));
    let message = BASE64_STANDARD
        .decode(sealed)
        .map_err(|error| damaged(error.to_string()))?;
    let mut plain = decrypt(Cursor::new(message), passphrase, LARGEST).map_err(|error| damaged(error.to_string()))?;
    let mut text = Vec::new();
    plain
        .read_to_end(&mut text)
        .map_err(|error| damaged(error.to_string()))?;
    serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))
}

impl BackupsReader {
    /// What a copy of a backup would lack because the role that restores may not set it, in words. Where the database is still
    /// there, that is the matter of what puts the copy in its place.
    pub async fn would_leave_out(
        &self,
        reader: &Reader,
        entry: &Entry,
        database: &str,
        fitness: &Fitness,
    ) -> Result<Option<String>, StepError> {
        let content = entry.manifest().and_then(Manifest::database);
        let Some(kept) = content.and_then(|content| content.belongings.as_ref()) else {
            return Ok(None);
        };
        if reader.find_database(database).await?.is_some() {
            return Ok(None);
        }
        let mut settings = kept.open(self.keys().passphrase()).await?.settings;
        let is_there = |role: &String| !fitness.missing_roles.contains(role);
        settings.retain(|of| of.role.as_ref().is_none_or(is_there));
        let refused = reader.may_not_set(&settings).await?;
        Ok(left_out(reader.user(), database, &refused))
    }
}

/// What a server did not let us give to a copy.
#[derive(Debug, Default)]
pub(crate) struct Refused {
    /// Settings.
    pub(crate) settings: Vec<Setting>,
    /// All else, in words.
    pub(crate) other: Vec<String>,
}

/// Gives a copy what belonged to the database, as far as the server lets us, and tells what it refused. `without_owners`:
/// nothing that names a role.
pub(crate) async fn give(
    postgres: &Postgres,
    copy: &str,
    mut wanted: Belongings,
    without_owners: bool,
    step: &StepId,
) -> Result<Refused, StepError> {
    let Some(now) = postgres.reader().belongings(copy).await? else {
        return Err(StepError::failed(format!("the restored copy `{copy}` is gone")));
    };
    // The comment says that it is a copy, until it is none any more.
    wanted.comment.clone_from(&now.comment);
    if without_owners {
        wanted.owner.clone_from(&now.owner);
        wanted.grants.clone_from(&now.grants);
        wanted.settings.retain(|of| of.role.is_none());
    }
    let session = postgres.maintenance(Some(step)).await?;
    let mut refused = Refused::default();
    let missing = missing_roles(&session, &wanted).await?;
    if missing.contains(&wanted.owner) {
        refused
            .other
            .push(format!("owner `{}`, a role that the server lacks", wanted.owner));
        let of_owner = |grant: &&mut Grant| grant.grantee.as_ref() == Some(&wanted.owner);
        for grant in wanted.grants.iter_mut().filter(of_owner) {
            grant.grantee = Some(now.owner.clone());
        }
        wanted.owner.clone_from(&now.owner);
    }
    refused.other.extend(leave_out(&mut wanted, &missing));
    for statement in wanted.statements(copy, &now) {
        match session.batch(&statement.sql).await {
            Ok(()) => {}
            Err(error) if is_refusal(&error) => match statement.about {
                About::Setting(setting) => refused.settings.push(setting),
                about => refused.other.push(format!("{about} of the database")),
            },
            // The value of a setting may be a secret, and servers repeat it.
            Err(error) if matches!(statement.about, About::Reset | About::Setting(_)) => {
                return Err(StepError::new(
                    error.kind(),
                    "the connection went while the settings of the copy were set",
                ));
            }
            Err(error) => return Err(error.context(format_args!("the {} of the copy", statement.about))),
        }
    }
    refused.other.sort();
    refused.other.dedup();
    Ok(refused)
}

/// Whether the server said no, and would say so again.
fn is_refusal(error: &StepError) -> bool {
    !matches!(
        error.kind(),
        StepErrorKind::Unavailable | StepErrorKind::TimedOut | StepErrorKind::Ambiguous | StepErrorKind::Cancelled
    )
}

async fn missing_roles(session: &jm_client_postgres::Session, wanted: &Belongings) -> Result<Vec<String>, StepError> {
    let named = std::iter::once(&wanted.owner)
        .chain(wanted.grants.iter().filter_map(|grant| grant.grantee.as_ref()))
        .chain(wanted.settings.iter().filter_map(|of| of.role.as_ref()));
    let named: Vec<&String> = named.collect();
    let sql = "SELECT r::text FROM unnest($1::text[]) r WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = r)";
    let rows = session.query(sql, &[&named]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Leaves out what names roles that are not there.
fn leave_out(wanted: &mut Belongings, missing: &[String]) -> Vec<String> {
    let mut left = Vec::new();
    let lacks = |role: &Option<String>| role.as_ref().is_some_and(|role| missing.contains(role));
    wanted.grants.retain(|Grant { grantee, privilege, .. }| {
        let out = lacks(grantee);
        if let Some(role) = grantee.as_ref().filter(|_| out) {
            left.push(format!("{privilege} for role {}", ident(role)));
        }
        !out
    });
    wanted.settings.retain(|of| {
        let out = lacks(&of.role);
        if let Some(role) = of.role.as_ref().filter(|_| out) {
            left.push(format!("settings for role {}", ident(role)));
        }
        !out
    });
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use jm_step::Secret;

    fn belongings() -> Belongings {
        Belongings {
            owner: "app".to_owned(),
            grants: Vec::new(),
            settings: vec![
                RoleSettings {
                    role: None,
                    settings: vec!["work_mem=8MB".to_owned(), "app.token=hunter22".to_owned()],
                },
                RoleSettings {
                    role: Some("reader".to_owned()),
                    settings: vec!["app.other=hunter23".to_owned()],
                },
            ],
            connection_limit: 7,
            comment: None,
        }
    }

    #[tokio::test]
    async fn what_may_be_a_secret_is_sealed_and_comes_back() {
        let passphrase = Passphrase::new(&Secret::new("a passphrase of many words")).expect("key");
        let kept = KeptBelongings::seal(belongings(), &passphrase).await.expect("sealed");
        let text = serde_json::to_string(&kept).expect("JSON");
        assert!(text.contains("work_mem=8MB") && !text.contains("hunter"), "{text}");
        let read: KeptBelongings = serde_json::from_str(&text).expect("reads back");
        assert_eq!(read.open(&passphrase).await.expect("opened"), belongings());
        let other = Passphrase::new(&Secret::new("another passphrase entirely")).expect("key");
        assert!(read.open(&other).await.is_err());
    }
}
