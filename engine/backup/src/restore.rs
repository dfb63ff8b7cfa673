//! Restoring. Aside: one stream is decrypted and proven while it goes into a new database, which is dropped where the end
//! does not prove. In place: the whole file is proven first, then read once more into one transaction, whose COMMIT is
//! sent only after the end of the stream proved the same again.
//!
//! Both ways the dump becomes SQL (`pg_restore --file=-` for a custom one), goes through [`crate::script`], and into psql.
//! One way for all: a custom dump could go straight from `pg_restore` into the server, and would be no faster, for the
//! server is what takes the time.

mod aside;
mod in_place;
mod list;
mod load;

use jm_client_postgres::Postgres;
use jm_step::{Connection, StepError, StepId};

pub use aside::{AsideState, copy_name};
pub use in_place::TransactionState;

use crate::backups::{BackupsReader, explain};
use crate::catalogue::{BackupCopy, BackupRef, Entry};
use crate::fitness::{Fitness, Meant, Owners, Target, fitness};
use crate::flow::Failure;
use crate::location::LocationName;
use crate::name::BackupName;
use crate::observer::Observer;
use crate::openpgp::OpenError;
use crate::tools::Toolbox;

/// What is told where owners are left out because somebody asked for it.
pub const LEFT_OUT: &str = "owners and grants were left out, as was asked for: all belongs to the role that restored it, and \
                            who else is to use it has to be given its rights";

/// What is to be restored, and how.
#[derive(Debug, Clone)]
pub struct RestoreRequest {
    /// The backup.
    pub backup: BackupName,
    /// SHA-256 of the file that was chosen, where one was chosen: another one of the same name is refused.
    pub sha256: Option<String>,
    /// Only copies of these locations, in this order; all where it is empty.
    pub from: Vec<LocationName>,
    /// The database that is meant.
    pub database: String,
    /// Where it goes.
    pub target: Target,
    /// The name of the copy, where it goes aside.
    pub copy: String,
    /// What becomes of owners and grants.
    pub owners: Owners,
    /// The step that asks, by which its sessions are known on the server.
    pub step: StepId,
    /// The deed.
    pub idempotency_key: String,
}

impl RestoreRequest {
    fn meant(&self) -> Meant<'_> {
        Meant {
            database: &self.database,
            target: self.target,
            owners: self.owners,
        }
    }
}

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The database that holds it.
    pub database: String,
    /// The server's number for that.
    pub oid: u32,
    /// The size of the dump.
    pub bytes: u64,
}

struct Restoring<'a> {
    backups: &'a BackupsReader,
    postgres: &'a Postgres,
    request: &'a RestoreRequest,
    tools: &'a Toolbox,
    observer: &'a dyn Observer,
    entry: Entry,
    fitness: Fitness,
    server_major: u32,
}

impl BackupsReader {
    /// Restores a backup. A copy that turns out damaged is given up for the next one, which makes the run degraded.
    pub async fn restore(
        &self,
        postgres: &Postgres,
        request: &RestoreRequest,
        tools: &Toolbox,
        observer: &dyn Observer,
    ) -> Result<Restored, StepError> {
        let entry = self.find(&request.backup).await?;
        if let Some(chosen) = &request.sha256 {
            entry.must_be(chosen)?;
        }
        let fitness = fitness(postgres.reader(), &entry, request.meant(), tools).await?;
        for note in &fitness.notes {
            observer.log(note.clone()).await;
        }
        let ended = postgres.end_sessions_of(&request.step).await?;
        if ended > 0 {
            observer
                .log(format!("ended {ended} sessions of an earlier attempt"))
                .await;
        }
        let server_major = postgres.reader().server().await?.major();
        let restoring = Restoring {
            backups: self,
            postgres,
            request,
            tools,
            observer,
            entry,
            fitness,
            server_major,
        };
        Box::pin(restoring.any_copy()).await
    }
}

impl Restoring<'_> {
    async fn any_copy(&self) -> Result<Restored, StepError> {
        let mut last = StepError::not_found(format!("no copy of `{}` is left", self.entry.name));
        let mut unread = None;
        for copy in self.copies() {
            match self.one_copy(copy).await {
                Ok(restored) => {
                    self.tell_what_is_missing().await?;
                    return Ok(restored);
                }
                Err(Failure::Step(error)) => return Err(error),
                // A wrong key opens no other copy either.
                Err(failure @ Failure::Content(OpenError::WrongKey)) => {
                    return Err(explain(&self.entry, failure));
                }
                Err(failure) => {
                    unread = unread.or(matches!(failure, Failure::Source(_)).then_some(copy.location));
                    last = explain(&self.entry, failure).context(format_args!("the copy in {}", copy.location));
                    self.observer.degraded(last.message().to_owned()).await?;
                }
            }
        }
        Err(self.say_what_next(last, unread).await)
    }

    /// Says how to go on now that no copy of this backup can be used. What cannot be read now can be later: an older backup
    /// comes after that.
    async fn say_what_next(&self, error: StepError, unread: Option<LocationName>) -> StepError {
        let older = self.backups.next_older(&self.entry, self.tools).await.ok().map(|next| {
            let BackupRef { name, created_at, .. } = next.backup;
            format!(
                "the next older one that opens is `{name}`, with data as of {created_at}: begin the plan anew with \
                 `-i backup={name}`; with `-i prove=whole` it is read to its end before anything is stopped"
            )
        });
        let again = match unread {
            Some(at) => Some(format!(
                "once the copy in {at} can be read again, `jm plan resume` restores it"
            )),
            None if older.is_some() => Some("a resume takes the same backup again".to_owned()),
            None => None,
        };
        let own = unread.and(error.hint_text().map(str::to_owned));
        let said: Vec<String> = own.into_iter().chain(again).chain(older).collect();
        if said.is_empty() {
            error
        } else {
            error.hint(said.join("; "))
        }
    }

    /// Those that are asked for, in that order.
    fn copies(&self) -> Vec<BackupCopy> {
        let all = &self.entry.copies;
        if self.request.from.is_empty() {
            return all.clone();
        }
        let from = self.request.from.iter();
        from.filter_map(|at| all.iter().find(|copy| copy.location == *at).copied())
            .collect()
    }

    async fn one_copy(&self, copy: BackupCopy) -> Result<Restored, Failure> {
        match self.request.target {
            Target::Aside => self.aside(copy).await,
            Target::InPlace => self.in_place(copy).await,
        }
    }

    fn without_owners(&self) -> bool {
        self.fitness.without_owners(self.request.owners)
    }

    async fn tell_what_is_missing(&self) -> Result<(), StepError> {
        let Fitness {
            missing_roles,
            left_out,
            ..
        } = &self.fitness;
        if self.request.owners == Owners::None {
            self.observer.degraded(LEFT_OUT.to_owned()).await?;
        } else if !missing_roles.is_empty() {
            let roles = missing_roles.join(", ");
            let reason = format!("owners and grants were left out, for the server lacks the roles {roles}");
            self.observer.degraded(reason).await?;
        }
        for extension in left_out {
            let reason = format!(
                "extension `{extension}` was left out with its content, for it can live in one database only: create it \
                 there once this database has its name"
            );
            self.observer.degraded(reason).await?;
        }
        Ok(())
    }
}
