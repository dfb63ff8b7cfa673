//! Restoring into a database beside the one that is meant.

use jm_client_postgres::quote::{ident, literal};
use jm_client_postgres::{COPY_MARK, DatabaseFacts, Postgres, left_out};
use jm_step::{Connection, RunId, StepError, StepId};

use super::{Restored, Restoring};
use crate::archive::{Meter, Unpacked};
use crate::belongings::{self, KeptBelongings};
use crate::catalogue::BackupCopy;
use crate::flow::Failure;
use crate::manifest::{Manifest, sha256};
use crate::observer::watched;

/// The most that PostgreSQL lets a name have, in bytes.
const LONGEST_NAME: usize = 63;
const MARK: &str = "_jmr_";

/// What a restore aside has left on the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AsideState {
    /// Nothing.
    Absent,
    /// A copy that was not finished.
    Incomplete,
    /// The whole copy.
    Complete(Restored),
}

/// The name of the copy that a step of a run makes: the same for every attempt, and of no other step.
pub fn copy_name(database: &str, run: &RunId, step: &StepId) -> String {
    let suffix = format!("{MARK}{}", &sha256(format!("{run} {step}").as_bytes())[..10]);
    let mut room = LONGEST_NAME - suffix.len();
    while !database.is_char_boundary(room.min(database.len())) {
        room -= 1;
    }
    format!("{}{suffix}", &database[..room.min(database.len())])
}

impl AsideState {
    /// Looks at what an attempt of this deed has left.
    pub async fn look(reader: &jm_client_postgres::Reader, copy: &str, deed: &str) -> Result<Self, StepError> {
        let Some(facts) = reader.find_database(copy).await? else {
            return Ok(Self::Absent);
        };
        let bytes = facts.comment.as_deref().and_then(|comment| completed(comment, deed));
        Ok(bytes.map_or(Self::Incomplete, |bytes| {
            Self::Complete(Restored {
                database: copy.to_owned(),
                oid: facts.oid,
                bytes,
            })
        }))
    }
}

/// What is written on a copy that is whole.
fn comment(backup: &str, deed: &str, bytes: u64, later: Option<&str>) -> String {
    let later = later.map(|later| format!("\n{later}")).unwrap_or_default();
    format!("{COPY_MARK} from {backup}: {bytes} bytes, deed {deed}{later}")
}

fn completed(comment: &str, deed: &str) -> Option<u64> {
    let rest = comment
        .lines()
        .next()?
        .strip_prefix(COPY_MARK)?
        .strip_suffix(&format!(", deed {deed}"))?;
    rest.strip_suffix(" bytes")?.rsplit_once(": ")?.1.parse().ok()
}

/// Takes a copy away, whoever is in it. Only what has the name of a copy is ever dropped.
pub(super) async fn drop_copy(postgres: &Postgres, copy: &str, step: &StepId) -> Result<(), StepError> {
    if !copy.contains(MARK) {
        return Err(StepError::refused(format!(
            "database `{copy}` is not a restored copy, and is not dropped"
        )));
    }
    let major = postgres.reader().server().await?.major();
    let force = if major >= 13 { " WITH (FORCE)" } else { "" };
    let session = postgres.maintenance(Some(step)).await?;
    session
        .batch(&format!("DROP DATABASE IF EXISTS {}{force}", ident(copy)))
        .await
}

impl Restoring<'_> {
    pub(super) async fn aside(&self, copy: BackupCopy) -> Result<Restored, Failure> {
        let name = &self.request.copy;
        drop_copy(self.postgres, name, &self.request.step).await?;
        self.create(name).await?;
        match self.fill(name, copy).await {
            Ok(bytes) => Ok(self.finish(name, bytes).await?),
            Err(failure) => {
                // The reason comes first, also where the server cannot be told to drop any more.
                if let Err(error) = drop_copy(self.postgres, name, &self.request.step).await {
                    self.observer
                        .log(format!("the unfinished copy `{name}` is still there: {error}"))
                        .await;
                }
                Err(failure)
            }
        }
    }

    async fn create(&self, name: &str) -> Result<(), StepError> {
        let old = self.postgres.reader().find_database(&self.request.database).await?;
        let owner = self.owner(old.as_ref()).await?;
        let session = self.postgres.maintenance(Some(&self.request.step)).await?;
        let options = self.options(old.as_ref(), owner.as_deref());
        let made = session
            .batch(&format!("CREATE DATABASE {}{options}", ident(name)))
            .await;
        made.map_err(|error| error.context(format_args!("making a database for the restored copy")))
    }

    /// Who is to own the copy from the beginning, where it is another than the role that restores: only who owns a database
    /// may own what is in its schema `public`.
    async fn owner(&self, old: Option<&DatabaseFacts>) -> Result<Option<String>, StepError> {
        if self.without_owners() {
            return Ok(None);
        }
        if let Some(old) = old {
            return Ok(Some(old.owner.clone()));
        }
        let kept = self.kept().map(|kept| kept.owner().to_owned());
        let wanted: Vec<String> = kept.into_iter().collect();
        // One that we cannot act as is told when the copy gets what the database had.
        let strangers = self.postgres.reader().strangers(&wanted).await?;
        Ok(wanted.into_iter().find(|owner| !strangers.roles.contains(owner)))
    }

    /// What belonged to the backed-up database, where the backup has kept it.
    fn kept(&self) -> Option<&KeptBelongings> {
        let content = self.entry.manifest().and_then(Manifest::database)?;
        content.belongings.as_ref()
    }

    /// As the backed-up database was, or else the one that is there, or else as the server likes.
    fn options(&self, old: Option<&DatabaseFacts>, owner: Option<&str>) -> String {
        let mut options = " TEMPLATE template0".to_owned();
        let made = self.entry.manifest().and_then(Manifest::database);
        let ours = made.map(|made| {
            (
                made.inventory.encoding.as_str(),
                made.inventory.collation.as_str(),
                made.ctype.as_deref(),
            )
        });
        let theirs = old.map(|old| (old.encoding.as_str(), old.collation.as_str(), Some(old.ctype.as_str())));
        if let Some((encoding, collation, ctype)) = ours.or(theirs) {
            let ctype = ctype.unwrap_or(collation);
            for (name, value) in [("ENCODING", encoding), ("LC_COLLATE", collation), ("LC_CTYPE", ctype)] {
                options.push_str(&[" ", name, " ", &literal(value)].concat());
            }
        }
        if let Some(owner) = owner {
            options.push_str(&[" OWNER ", &ident(owner)].concat());
        }
        options
    }

    async fn fill(&self, name: &str, copy: BackupCopy) -> Result<u64, Failure> {
        let meter = Meter::default();
        let Unpacked { dump, inside, .. } = self.backups.open_dump(&self.entry, copy.location, None, &meter).await?;
        let work = async {
            let mut script = self.as_script(dump, false).await?;
            let mut psql = self.psql(name).await?;
            // Nothing of it counts before the comment that `finish` writes, and that waits for the disk.
            psql.say("SET synchronous_commit = off;\n").await;
            psql.feed(&mut script).await?;
            Ok::<_, Failure>(psql.end().await?)
        };
        watched(self.observer, &meter, Some(copy.bytes), work).await?;
        Ok(inside.finish().0)
    }

    /// Gives the copy what the lost database had besides its data; tells the comment that it had. Where the database is
    /// still there, the copy gets that when it takes its place.
    async fn bring_back(&self, name: &str) -> Result<Option<String>, StepError> {
        let is_there = self
            .postgres
            .reader()
            .find_database(&self.request.database)
            .await?
            .is_some();
        let Some(kept) = self.kept().filter(|_| !is_there) else {
            return Ok(None);
        };
        let wanted = kept.open(self.backups.keys().passphrase()).await?;
        let comment = wanted.comment.clone();
        let step = &self.request.step;
        let refused = belongings::give(self.postgres, name, wanted, self.without_owners(), step).await?;
        if !refused.other.is_empty() {
            let reason = format!(
                "the restored copy did not get what the database had: {}",
                refused.other.join(", ")
            );
            self.observer.degraded(reason).await?;
        }
        let user = self.postgres.reader().user();
        // By the name that the copy is going to have: only then somebody can mend it.
        if let Some(reason) = left_out(user, &self.request.database, &refused.settings) {
            self.observer.degraded(reason).await?;
        }
        Ok(comment)
    }

    /// From here on the copy is whole, and says so.
    async fn finish(&self, name: &str, bytes: u64) -> Result<Restored, StepError> {
        let later = self.bring_back(name).await?;
        let session = self.postgres.maintenance(Some(&self.request.step)).await?;
        let text = comment(
            self.request.backup.as_str(),
            &self.request.idempotency_key,
            bytes,
            later.as_deref(),
        );
        session
            .batch(&format!("COMMENT ON DATABASE {} IS {}", ident(name), literal(&text)))
            .await?;
        let facts = self.postgres.reader().find_database(name).await?;
        let facts = facts.ok_or_else(|| StepError::failed(format!("the restored copy `{name}` is gone")))?;
        Ok(Restored {
            database: name.to_owned(),
            oid: facts.oid,
            bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_comment_tells_whose_copy_it_is() {
        let comment = |later| comment("journeyman_backup_20240115_020000.dump.gpg", "deed-1", 123, later);
        let text = comment(None);
        assert_eq!(completed(&text, "deed-1"), Some(123));
        let later = comment(Some("of\nthe database"));
        assert_eq!(completed(&later, "deed-1"), Some(123));
        assert_eq!(jm_client_postgres::comment_for_later(&later), Some("of\nthe database"));
        assert_eq!(completed(&text, "deed-2"), None);
        assert_eq!(completed("a database", "deed-1"), None);
    }

    proptest! {
        #[test]
        fn names_of_copies_fit_and_differ_by_step(database in "[a-zé\"]{1,80}") {
            let run = RunId::generate();
            let name = |step: &str| copy_name(&database, &run, &step.parse().expect("step"));
            prop_assert!(name("restore").len() <= LONGEST_NAME);
            prop_assert_eq!(name("restore"), name("restore"));
            prop_assert_ne!(name("restore"), name("again"));
        }
    }
}
