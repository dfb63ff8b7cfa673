//! What belongs to a database's name, where the database is gone.

use jm_client_postgres::Belongings;
use jm_client_postgres::test_server::{PgServer, open_url};
use jm_step::{Connection, StepErrorKind};

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

/// Gives the database and all that is in it to a role.
async fn own_all(rig: &Rig, owner: &str) {
    let owned = [
        "TABLE users",
        "TABLE games",
        "MATERIALIZED VIEW best",
        "FUNCTION restore_me()",
    ];
    for what in owned {
        let sql = format!("ALTER {what} OWNER TO {owner}");
        rig.server.sql(&rig.database, &[&sql]).await;
    }
    let sql = format!("ALTER DATABASE {} OWNER TO {owner}", rig.database);
    rig.server.sql("postgres", &[&sql]).await;
}

/// The role that restores is no superuser: it names each setting that it may not set, before and after.
#[tokio::test(flavor = "multi_thread")]
async fn settings_that_an_owner_may_not_set_are_told_by_name() {
    let rig = Rig::new().await;
    let (database, owner) = (&rig.database, rig.server.role("owner").await);
    let reader = rig.server.role("reader").await;
    own_all(&rig, &owner).await;
    rig.server
        .sql(
            "postgres",
            &[
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
    let fits = fitness(postgres.reader(), &entry, rig.meant(Owners::Auto), &tools())
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

/// The role that restores is no superuser, and what it restores is another's.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_another_roles_comes_back_as_its_own_through_a_member() {
    let rig = Rig::new().await;
    let owner = rig.server.role("owner").await;
    let member = rig.server.role("member").await;
    own_all(&rig, &owner).await;
    let backups = rig.backups().await;
    let created = rig.create(&backups).await;
    let name = created.manifest.name.clone();
    let content = created.manifest.database().expect("a database");
    assert_eq!(content.owners, [owner.as_str()]);
    let postgres = open_url(&rig.server.url_of(&member, "postgres")).await;
    let request = rig.restore(&name, Target::Aside);
    let entry = backups.find(&name).await.expect("found");
    let fits = async |owners| fitness(postgres.reader(), &entry, rig.meant(owners), &tools()).await;

    for lost in [false, true] {
        if lost {
            lose(&rig).await;
        }
        let beforehand = fits(Owners::Auto).await.expect_err("a stranger");
        let restored = backups.restore(&postgres, &request, &tools(), &Silent).await;
        for error in [beforehand, restored.expect_err("a stranger")] {
            assert_eq!(error.kind(), StepErrorKind::Denied);
            let hint = error.summary().hint.expect("a way out");
            assert!(hint.contains(&format!("GRANT \"{owner}\" TO \"{member}\"")), "{hint}");
        }
        fits(Owners::None).await.expect("all is its own");
    }
    rig.assert_no_copy().await;
    let heard = Heard::default();
    let without = RestoreRequest {
        owners: Owners::None,
        ..request.clone()
    };
    let restored = backups.restore(&postgres, &without, &tools(), &heard).await;
    let restored = restored.expect("without owners");
    assert_eq!(heard.degraded(), [LEFT_OUT]);
    assert_eq!(belongings(&rig, &restored.database).await.owner, member);

    let grant = format!("GRANT {owner} TO {member}");
    rig.server.sql("postgres", &[&grant]).await;
    assert_eq!(fits(Owners::Auto).await.expect("fits").notes.len(), 1, "the room alone");
    // An extension that only a superuser creates, unless a service lets others; the one that is left out is no matter.
    let mut manifest = created.manifest.clone();
    if let Content::Database(database) = &mut manifest.content {
        let extension = jm_client_postgres::Extension {
            version: "1".to_owned(),
            schema: "public".to_owned(),
        };
        database.inventory.extensions.insert("file_fdw".to_owned(), extension);
    }
    let with_extension = Entry {
        status: Status::Known(Box::new(manifest)),
        ..entry.clone()
    };
    let found = fitness(postgres.reader(), &with_extension, rig.meant(Owners::Auto), &tools()).await;
    let notes = found.expect("fits").notes;
    assert!(
        notes.iter().any(|note| note.contains("extensions file_fdw")),
        "{notes:?}"
    );
    let heard = Heard::default();
    let restored = backups
        .restore(&postgres, &request, &tools(), &heard)
        .await
        .expect("restored");
    assert_eq!(heard.degraded(), [""; 0]);
    let owners = "SELECT string_agg(DISTINCT pg_get_userbyid(relowner), ' ') FROM pg_class WHERE oid >= 16384";
    assert_eq!(
        rig.server.text(&restored.database, owners).await.as_deref(),
        Some(owner.as_str())
    );
    assert_eq!(belongings(&rig, &restored.database).await.owner, owner);
}
