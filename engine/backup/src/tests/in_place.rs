//! Restoring in place: all or nothing.

use std::sync::Mutex;

use futures::future::{BoxFuture, FutureExt, ready};
use jm_step::{Connection, StepError, StepErrorKind};

use super::rig::*;
use crate::*;

#[tokio::test(flavor = "multi_thread")]
async fn the_content_becomes_that_of_the_backup_and_nothing_else() {
    let rig = Rig::new().await;
    let backups = rig.backups().await;
    for format in [DumpFormat::Custom, DumpFormat::Plain] {
        let before = rig.inventory(&rig.database).await;
        let request = CreateRequest {
            format,
            ..rig.request()
        };
        let created = backups
            .create(&rig.postgres, &request, &tools(), &Silent)
            .await
            .expect("created");
        let damage = [
            "DROP TABLE games CASCADE",
            "CREATE TABLE later (id int)",
            "CREATE SCHEMA other",
            "DELETE FROM users",
        ];
        rig.server.sql(&rig.database, &damage).await;
        let request = rig.restore(&created.manifest.name, Target::InPlace);
        let restored = backups
            .restore(&rig.postgres, &request, &tools(), &Silent)
            .await
            .expect("restored");
        assert_eq!(restored.database, rig.database);
        assert_eq!(rig.inventory(&rig.database).await, before);
        rig.server
            .sql(
                &rig.database,
                &[
                    "INSERT INTO users (name) VALUES ('next')",
                    "DELETE FROM users WHERE name = 'next'",
                ],
            )
            .await;
        rig.server
            .sql(&rig.database, &["SELECT setval('users_id_seq', 3000)"])
            .await;
    }
}

/// Does something at the moment before COMMIT.
struct AtCommit<'a> {
    rig: &'a Rig,
    seen: Mutex<Option<String>>,
}

impl Observer for AtCommit<'_> {
    fn progress(&self, _: u64, _: Option<u64>) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }
    fn log(&self, _: String) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }
    fn degraded(&self, _: String) -> BoxFuture<'_, Result<(), StepError>> {
        ready(Ok(())).boxed()
    }
    fn committing(&self, transaction: String) -> BoxFuture<'_, Result<(), StepError>> {
        async move {
            *self.seen.lock().expect("lock") = Some(transaction);
            let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1";
            let session = self.rig.postgres.maintenance(None).await?;
            session.query(sql, &[&self.rig.database]).await.map(drop)
        }
        .boxed()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_goes_at_commit_is_asked_about() {
    let rig = Rig::new().await;
    let backups = rig.backups().await;
    let created = rig.create(&backups).await;
    rig.server.sql(&rig.database, &["DELETE FROM games"]).await;
    let before = rig.inventory(&rig.database).await;
    let watch = AtCommit {
        rig: &rig,
        seen: Mutex::default(),
    };
    let request = rig.restore(&created.manifest.name, Target::InPlace);
    let error = backups
        .restore(&rig.postgres, &request, &tools(), &watch)
        .await
        .expect_err("lost");
    assert_eq!(error.kind(), StepErrorKind::Unavailable, "{:?}", error.summary());
    assert_eq!(rig.inventory(&rig.database).await, before, "rolled back");
    let transaction = watch.seen.lock().expect("lock").clone().expect("told");
    let state = TransactionState::look(rig.postgres.reader(), &transaction)
        .await
        .expect("look");
    assert_eq!(state, TransactionState::Aborted);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_in_the_middle_leaves_the_old_content() {
    let rig = Rig::new().await;
    let backups = rig.backups().await;
    let before = rig.inventory(&rig.database).await;
    operator(
        &rig,
        "{ echo 'CREATE TABLE fresh (id int);'; echo 'SELECT 1/0;'; echo '-- PostgreSQL database dump complete'; } \
         | GPG --symmetric --output \"$DIR/bad_20240115_020000.sql.gpg\"",
    );
    let request = rig.restore(&"bad_20240115_020000.sql.gpg".parse().expect("name"), Target::InPlace);
    let error = backups
        .restore(&rig.postgres, &request, &tools(), &Silent)
        .await
        .expect_err("error");
    assert!(error.message().contains("division by zero"), "{error}");
    assert_eq!(rig.inventory(&rig.database).await, before);

    operator(
        &rig,
        "{ echo 'CREATE TABLE fresh (id int);'; echo 'COMMIT;'; echo '-- PostgreSQL database dump complete'; } \
         | GPG --symmetric --output \"$DIR/worse_20240115_020000.sql.gpg\"",
    );
    let request = rig.restore(&"worse_20240115_020000.sql.gpg".parse().expect("name"), Target::InPlace);
    let error = backups
        .restore(&rig.postgres, &request, &tools(), &Silent)
        .await
        .expect_err("error");
    assert!(error.message().contains("COMMIT"), "{error}");
    assert_eq!(rig.inventory(&rig.database).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_touches_nothing() {
    let rig = Rig::new().await;
    let backups = rig.backups().await;
    let created = rig.create(&backups).await;
    let path = rig.directory().join(created.manifest.name.as_str());
    let mut bytes = std::fs::read(&path).expect("read");
    let last = bytes.len() - 10;
    bytes[last] ^= 1;
    std::fs::write(&path, bytes).expect("write");
    let oid = rig
        .server
        .text(&rig.database, "SELECT 'public.users'::regclass::oid")
        .await;
    let request = rig.restore(&created.manifest.name, Target::InPlace);
    let heard = Heard::default();
    let error = backups
        .restore(&rig.postgres, &request, &tools(), &heard)
        .await
        .expect_err("damaged");
    assert!(error.message().contains("cannot be used"), "{error}");
    assert_eq!(
        rig.server
            .text(&rig.database, "SELECT 'public.users'::regclass::oid")
            .await,
        oid
    );
}
