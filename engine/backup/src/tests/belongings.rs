//! What belongs to a database's name, where the database is gone.

use jm_client_postgres::Belongings;
use jm_client_postgres::test_server::{PgServer, open_url};
use jm_step::Connection;

use super::rig::*;
use crate::*;

/// A database with an owner, grants, settings, a limit and a comment of its own; the roles that it names.
async fn furnished(rig: &Rig) -> (Belongings, [String; 2]) {
    let database = &rig.database;
    let roles = [PgServer::unique("owner"), PgServer::unique("reader")];
    let [owner, reader] = &roles;
    rig.server
        .sql(
            "postgres",
            &[
                &format!("CREATE ROLE {owner}"),
                &format!("CREATE ROLE \"{reader} x\""),
                &format!("ALTER DATABASE {database} OWNER TO {owner}"),
                &format!("REVOKE ALL ON DATABASE {database} FROM PUBLIC"),
                &format!("GRANT CONNECT ON DATABASE {database} TO \"{reader} x\" WITH GRANT OPTION"),
                &format!("ALTER DATABASE {database} CONNECTION LIMIT 42"),
                &format!("ALTER DATABASE {database} SET search_path TO \"$user\", \"Odd s\", public"),
                &format!("ALTER DATABASE {database} SET \"app.secret\" TO 'it''s \\ hunter22'"),
                &format!("ALTER ROLE \"{reader} x\" IN DATABASE {database} SET statement_timeout TO '5s'"),
                &format!("COMMENT ON DATABASE {database} IS 'it''s ours'"),
            ],
        )
        .await;
    (belongings(rig, database).await, roles)
}

async fn belongings(rig: &Rig, database: &str) -> Belongings {
    let found = rig.postgres.reader().belongings(database).await.expect("asked");
    let mut found = found.expect("there");
    // In which order a server lists them says nothing.
    for of in &mut found.settings {
        of.settings.sort();
    }
    found
}

async fn lose(rig: &Rig) {
    rig.server
        .sql("postgres", &[&format!("DROP DATABASE {} WITH (FORCE)", rig.database)])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_lost_database_has_what_was_in_no_dump() {
    let rig = Rig::new().await;
    let (before, _) = furnished(&rig).await;
    let backups = rig.backups().await;
    let name = rig.create(&backups).await.manifest.name;
    for file in rig.files() {
        let bytes = std::fs::read(rig.directory().join(&file)).expect("read");
        assert!(
            !bytes.windows(8).any(|part| part == b"hunter22"),
            "{file} tells a setting"
        );
    }
    lose(&rig).await;
    let heard = Heard::default();
    let restored = backups
        .restore(&rig.postgres, &rig.restore(&name, Target::Aside), &tools(), &heard)
        .await
        .expect("restored");
    assert!(heard.degraded().is_empty(), "{:?}", heard.degraded());
    let mut after = belongings(&rig, &restored.database).await;
    let comment = after.comment.take().expect("marked as a copy");
    assert_eq!(
        jm_client_postgres::comment_for_later(&comment),
        before.comment.as_deref()
    );
    after.comment.clone_from(&before.comment);
    assert_eq!(after, before);
    let state = AsideState::look(rig.postgres.reader(), &restored.database, "deed").await;
    assert_eq!(state.expect("look"), AsideState::Complete(restored));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_cannot_give_back_is_told() {
    let rig = Rig::new().await;
    let (_, [owner, reader]) = furnished(&rig).await;
    let backups = rig.backups().await;
    let name = rig.create(&backups).await.manifest.name;
    lose(&rig).await;
    rig.server
        .sql(
            "postgres",
            &[&format!("DROP ROLE {owner}"), &format!("DROP ROLE \"{reader} x\"")],
        )
        .await;
    let heard = Heard::default();
    let restored = backups
        .restore(&rig.postgres, &rig.restore(&name, Target::Aside), &tools(), &heard)
        .await
        .expect("restored");
    let told = heard.degraded().join("; ");
    assert!(told.contains(&owner) && told.contains(&reader), "{told}");
    let after = belongings(&rig, &restored.database).await;
    assert_eq!(after.connection_limit, 42);
    let settings = &after.settings[0].settings;
    assert!(settings.iter().any(|one| one.contains("hunter22")), "{settings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_there_is_asked_itself() {
    let rig = Rig::new().await;
    let (_, _) = furnished(&rig).await;
    let backups = rig.backups().await;
    let name = rig.create(&backups).await.manifest.name;
    let restored = rig.aside(&backups, &name).await.expect("restored");
    let copy = belongings(&rig, &restored.database).await;
    assert!(copy.settings.is_empty() && copy.connection_limit == -1, "{copy:?}");
}

/// The role that restores is no superuser: it names each setting that it may not set, before and after.
#[tokio::test(flavor = "multi_thread")]
async fn settings_that_an_owner_may_not_set_are_told_by_name() {
    let rig = Rig::new().await;
    let (database, owner) = (&rig.database, rig.server.role("owner").await);
    let reader = rig.server.role("reader").await;
    let owned = [
        "TABLE users",
        "TABLE games",
        "MATERIALIZED VIEW best",
        "FUNCTION restore_me()",
    ];
    for what in owned {
        let sql = format!("ALTER {what} OWNER TO {owner}");
        rig.server.sql(database, &[&sql]).await;
    }
    rig.server
        .sql(
            "postgres",
            &[
                &format!("ALTER DATABASE {database} OWNER TO {owner}"),
                &format!("ALTER DATABASE {database} SET work_mem TO '8MB'"),
                &format!("ALTER DATABASE {database} SET log_min_duration_statement TO '250ms'"),
                &format!("ALTER ROLE {reader} IN DATABASE {database} SET search_path TO app, public"),
            ],
        )
        .await;
    let backups = rig.backups().await;
    let name = rig.create(&backups).await.manifest.name;
    lose(&rig).await;
    let postgres = open_url(&rig.server.url_of(&owner, database)).await;
    let entry = backups.find(&name).await.expect("found");
    let fits = fitness(postgres.reader(), &entry, Target::Aside, &tools())
        .await
        .expect("fits");
    let before = backups
        .would_leave_out(postgres.reader(), &entry, database, &fits)
        .await
        .expect("asked")
        .expect("told");
    let heard = Heard::default();
    let restored = backups
        .restore(&postgres, &rig.restore(&name, Target::Aside), &tools(), &heard)
        .await
        .expect("restored");
    assert!(heard.degraded().contains(&before), "{before}: {:?}", heard.degraded());
    for words in [
        format!("`log_min_duration_statement`, `search_path` of role `{reader}`"),
        format!("`ALTER DATABASE \"{database}\" SET \"log_min_duration_statement\" TO '250ms'`"),
    ] {
        assert!(before.contains(&words), "{before}");
    }
    let settings = belongings(&rig, &restored.database).await.settings;
    assert_eq!(settings.len(), 1, "{settings:?}");
    assert_eq!(settings[0].settings, ["work_mem=8MB"]);
}
