//! Restoring over what a database holds: in one transaction, for servers on which no database can be made beside it.

use jm_client_postgres::Reader;
use jm_step::{Connection, StepError};

use super::load::TRANSACTION;
use super::{Restored, Restoring};
use crate::archive::{Meter, Unpacked};
use crate::catalogue::BackupCopy;
use crate::flow::Failure;
use crate::manifest::Level;
use crate::observer::watched;

/// What became of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionState {
    /// It took effect.
    Committed,
    /// It did not, and will not.
    Aborted,
    /// It is under way.
    InProgress,
    /// The server does not remember it.
    Unknown,
}

impl TransactionState {
    /// Asks the server.
    pub async fn look(reader: &Reader, id: &str) -> Result<Self, StepError> {
        let id: i64 = id
            .parse()
            .map_err(|_| StepError::failed(format!("`{id}` is no transaction's id")))?;
        let session = reader.maintenance(None).await?;
        let row = session.query_one("SELECT txid_status($1)", &[&id]).await?;
        Ok(match row.get::<_, Option<&str>>(0) {
            Some("committed") => Self::Committed,
            Some("aborted") => Self::Aborted,
            Some("in progress") => Self::InProgress,
            _ => Self::Unknown,
        })
    }
}

/// Takes away all that is not the system's. What an extension owns goes with it.
const CLEAN: &str = "
DO $jm$
DECLARE x record;
BEGIN
  FOR x IN SELECT evtname AS name FROM pg_catalog.pg_event_trigger WHERE NOT EXISTS (
      SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_event_trigger'::regclass
      AND d.objid = pg_event_trigger.oid AND d.deptype = 'e')
    LOOP EXECUTE pg_catalog.format('DROP EVENT TRIGGER %I', x.name); END LOOP;
  FOR x IN SELECT pubname AS name FROM pg_catalog.pg_publication
    LOOP EXECUTE pg_catalog.format('DROP PUBLICATION %I', x.name); END LOOP;
  FOR x IN SELECT extname AS name FROM pg_catalog.pg_extension WHERE extname <> 'plpgsql'
    LOOP EXECUTE pg_catalog.format('DROP EXTENSION IF EXISTS %I CASCADE', x.name); END LOOP;
  FOR x IN SELECT nspname AS name FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
    LOOP EXECUTE pg_catalog.format('DROP SCHEMA IF EXISTS %I CASCADE', x.name); END LOOP;
  FOR x IN SELECT srvname AS name FROM pg_catalog.pg_foreign_server
    LOOP EXECUTE pg_catalog.format('DROP SERVER IF EXISTS %I CASCADE', x.name); END LOOP;
  FOR x IN SELECT fdwname AS name FROM pg_catalog.pg_foreign_data_wrapper
    LOOP EXECUTE pg_catalog.format('DROP FOREIGN DATA WRAPPER IF EXISTS %I CASCADE', x.name); END LOOP;
  PERFORM pg_catalog.lo_unlink(oid) FROM pg_catalog.pg_largeobject_metadata;
END
$jm$;
CREATE SCHEMA public;
COMMENT ON SCHEMA public IS 'standard public schema';
";
/// As `initdb` leaves the schema, from which a dump tells only what differs.
const PUBLIC_SINCE_15: &str =
    "ALTER SCHEMA public OWNER TO pg_database_owner;\nGRANT USAGE ON SCHEMA public TO PUBLIC;\n";
const PUBLIC_BEFORE_15: &str = "GRANT ALL ON SCHEMA public TO PUBLIC;\n";

impl Restoring<'_> {
    pub(super) async fn in_place(&self, copy: BackupCopy) -> Result<Restored, Failure> {
        let oid = self.existing().await?;
        self.observer
            .log(format!(
                "proving the copy in {} before anything is touched",
                copy.location
            ))
            .await;
        let seen = self.prove_first(copy).await?;
        let meter = Meter::default();
        let unpacked = self
            .backups
            .open_dump(&self.entry, copy.location, Some(seen), &meter)
            .await?;
        let work = self.replace(unpacked);
        let bytes = watched(self.observer, &meter, Some(copy.bytes), work).await?;
        Ok(Restored {
            database: self.request.database.clone(),
            oid,
            bytes,
        })
    }

    async fn existing(&self) -> Result<u32, StepError> {
        let database = &self.request.database;
        let facts = self.postgres.reader().find_database(database).await?;
        facts.map(|facts| facts.oid).ok_or_else(|| {
            StepError::not_found(format!("database `{database}` is not there to be restored in place"))
                .hint("create it with `postgres.create_database`, or restore `into: aside`")
        })
    }

    async fn prove_first(&self, copy: BackupCopy) -> Result<(u64, String), Failure> {
        self.backups
            .prove_copy(&self.entry, copy, Level::Archive, self.tools, self.observer)
            .await
    }

    async fn replace(&self, unpacked: Unpacked) -> Result<u64, Failure> {
        let Unpacked { dump, inside, .. } = unpacked;
        let mut script = self.as_script(dump, true).await?;
        let mut psql = self.psql(&self.request.database).await?;
        let public = if self.server_major >= 15 {
            PUBLIC_SINCE_15
        } else {
            PUBLIC_BEFORE_15
        };
        psql.say(&format!(
            "BEGIN;\nSET LOCAL lock_timeout = '60s';\nSELECT '{TRANSACTION}' || txid_current();\n{CLEAN}{public}SET LOCAL lock_timeout = 0;\n"
        ))
        .await;
        if !psql.feed(&mut script).await? {
            psql.end().await?;
            return Err(StepError::failed("`psql` ended before the end of the backup").into());
        }
        let Some(transaction) = psql.transaction().await else {
            psql.end().await?;
            return Err(StepError::failed("`psql` did not tell its transaction").into());
        };
        self.observer.committing(transaction.clone()).await?;
        psql.say("COMMIT;\n").await;
        match psql.end().await {
            Ok(()) => Ok(inside.finish().0),
            Err(error) => self
                .ask_the_server(&transaction, error)
                .await
                .map(|()| inside.finish().0),
        }
    }

    /// psql failed after COMMIT was sent: the server knows whether it took effect.
    async fn ask_the_server(&self, transaction: &str, error: StepError) -> Result<(), Failure> {
        match TransactionState::look(self.postgres.reader(), transaction).await {
            Ok(TransactionState::Committed) => Ok(()),
            Ok(TransactionState::Aborted) => Err(error.into()),
            _ => Err(StepError::ambiguous(format!(
                "the connection was lost while the restore was committed: {}",
                error.message()
            ))
            .hint("the server knows whether it took effect: resume the run, and jm will ask it")
            .into()),
        }
    }
}
