//! Making backups.

use jm_step::StepErrorKind;

use super::rig::*;
use crate::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_whole_proven_private_and_described() {
    use std::os::unix::fs::PermissionsExt;
    let rig = Rig::new().await;
    let backups = rig.backups().await;
    let created = rig.create(&backups).await;
    let name = created.manifest.name.to_string();
    assert_eq!(rig.files(), [name.clone(), format!("{name}.manifest.json")]);
    assert!(
        name.starts_with("journeyman_backup_") && name.ends_with(".dump.gpg"),
        "{name}"
    );
    for file in rig.files() {
        let mode = rig
            .directory()
            .join(file)
            .metadata()
            .expect("meta")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    assert_eq!(
        rig.directory().metadata().expect("meta").permissions().mode() & 0o777,
        0o700
    );
    let manifest = &created.manifest;
    assert_eq!(manifest.level, Level::Archive);
    assert_eq!(
        manifest.inventory().expect("of a database").tables["public.users"].rows,
        3000
    );
    assert_eq!(manifest.database().expect("of a database").roles, ["jm"]);
    assert!(manifest.bytes.compressed < manifest.bytes.raw && manifest.bytes.encrypted > manifest.bytes.compressed);
    let catalogue = backups.catalogue().await.expect("catalogue");
    assert_eq!(catalogue.entries.len(), 1);
    assert_eq!(catalogue.entries[0].manifest(), Some(manifest));
    assert_eq!(
        backups
            .made_by(&manifest.idempotency_key)
            .await
            .expect("look")
            .map(|e| e.name),
        Some(manifest.name.clone())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn gpg_and_postgresqls_own_programs_are_enough_to_restore() {
    let rig = Rig::new().await;
    let backups = rig.backups().await;
    let custom = rig.create(&backups).await;
    let plain = CreateRequest {
        format: DumpFormat::Plain,
        ..rig.request()
    };
    let plain = backups
        .create(&rig.postgres, &plain, &tools(), &Silent)
        .await
        .expect("created");
    for (created, into, how) in [
        (&custom, "by_pg_restore", "pg_restore --exit-on-error --dbname"),
        (&plain, "by_psql", "psql -X -q -v ON_ERROR_STOP=1 -o /dev/null --dbname"),
    ] {
        let into = format!("{into}_{}", rig.database);
        rig.server
            .sql("postgres", &[&format!("CREATE DATABASE {into} TEMPLATE template0")])
            .await;
        let url = rig.server.url(&into);
        operator(
            &rig,
            &format!("GPG --decrypt \"$DIR/{}\" | {how} '{url}'", created.manifest.name),
        );
        assert_eq!(rig.inventory(&into).await, rig.inventory(&rig.database).await, "{how}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_names_it_and_the_next_one_of_a_second_differs() {
    let rig = Rig::new().await;
    let backups = rig.backups().await;
    let request = CreateRequest {
        label: Some("pre_migration".to_owned()),
        ..rig.request()
    };
    let mut names = Vec::new();
    for _ in 0..3 {
        let created = backups
            .create(&rig.postgres, &request, &tools(), &Silent)
            .await
            .expect("created");
        assert!(created.manifest.name.as_str().starts_with("pre_migration_2"));
        names.push(created.manifest.name);
    }
    names.dedup();
    assert_eq!(names.len(), 3);
    let newest = backups.catalogue().await.expect("catalogue").entries.remove(0);
    assert_eq!(
        newest.manifest().and_then(|m| m.previous.clone()).map(|p| p.name),
        Some(names[1].clone())
    );
    for bad in ["../x", "A", "", "journeyman_backup", &"a".repeat(41)] {
        let request = CreateRequest {
            label: Some(bad.to_owned()),
            ..rig.request()
        };
        let error = backups
            .create(&rig.postgres, &request, &tools(), &Silent)
            .await
            .expect_err(bad);
        assert_eq!(error.kind(), StepErrorKind::InvalidInput);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_dumped_whole_is_refused_before_the_dump() {
    let rig = Rig::new().await;
    let backups = rig.backups().await;
    let empty = rig.server.database("empty").await;
    let request = CreateRequest {
        database: empty,
        ..rig.request()
    };
    let error = backups
        .create(&rig.postgres, &request, &tools(), &Silent)
        .await
        .expect_err("empty");
    assert!(error.message().contains("no table"), "{error}");
    assert_eq!(rig.files(), [""; 0]);
    let allowed = CreateRequest {
        allow_empty: true,
        ..request
    };
    backups
        .create(&rig.postgres, &allowed, &tools(), &Silent)
        .await
        .expect("allowed");

    let role = jm_client_postgres::test_server::PgServer::unique("reader");
    let sql = [
        format!("CREATE ROLE {role} LOGIN PASSWORD 'correct-horse-battery'"),
        format!("GRANT SELECT ON users, best TO {role}"),
        format!("GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO {role}"),
    ];
    rig.server
        .sql(&rig.database, &sql.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    let url = rig.server.url(&rig.database).replace("//jm:", &format!("//{role}:"));
    let reader = jm_client_postgres::test_server::open_url(&url).await;
    let error = backups
        .create(&reader, &rig.request(), &tools(), &Silent)
        .await
        .expect_err("unreadable");
    assert_eq!(error.kind(), StepErrorKind::Denied);
    assert!(
        error.message().contains("public.games") && !error.message().contains("public.users,"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_table_fails_with_whoever_holds_it() {
    let rig = Rig::new().await;
    let backups = rig.backups().await;
    let holder = rig.postgres.connect_to(&rig.database, None).await.expect("session");
    holder
        .batch("BEGIN; LOCK TABLE public.users IN ACCESS EXCLUSIVE MODE")
        .await
        .expect("lock");
    let request = CreateRequest {
        lock_wait: std::time::Duration::from_millis(300),
        ..rig.request()
    };
    let error = backups
        .create(&rig.postgres, &request, &tools(), &Silent)
        .await
        .expect_err("locked");
    let pid = holder.pid().to_string();
    assert!(error.message().contains(&pid), "{:?}", error.summary());
    assert_eq!(error.kind(), StepErrorKind::Conflict);
    assert_eq!(rig.files(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_key_writes_nothing() {
    let rig = Rig::new().await;
    let backups = rig.backups_with(serde_json::json!({ "key": "short" })).await;
    let error = backups
        .create(&rig.postgres, &rig.request(), &tools(), &Silent)
        .await
        .expect_err("short");
    assert_eq!(error.kind(), StepErrorKind::InvalidInput);
    assert!(!rig.directory().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_beforehand_says_what_would_happen() {
    use jm_step::Connection;
    let rig = Rig::new().await;
    let backups = rig.backups().await;
    let reader = rig.postgres.reader();
    let usable = backups.can_create(reader, &rig.request(), &tools()).await.expect("can");
    assert_eq!(usable.locations, [LocationName::Local]);
    assert_eq!(usable.degraded, [""; 0]);
    assert!(!rig.directory().exists(), "a look writes nothing");
    let gone = CreateRequest {
        database: "not_there".to_owned(),
        ..rig.request()
    };
    assert!(backups.can_create(reader, &gone, &tools()).await.is_err());
    assert!(
        backups
            .can_create(reader, &rig.request(), &tools_on("/nonexistent"))
            .await
            .is_ok(),
        "found beside PATH"
    );
}

/// Somebody who may write to the catalogue takes a backup out of it: what is chosen instead is not chosen without a word.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_was_taken_out_shows_by_the_one_after_it() {
    let rig = Rig::new().await;
    let backups = rig.backups().await;
    let mut made = Vec::new();
    for _ in 0..3 {
        made.push(rig.create(&backups).await.manifest);
        // Names have whole seconds, and of two of the same second nobody can say which was the newer one.
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    }
    let select = async |which: Which| {
        let chosen = backups.select(&Wanted::database(which), &tools(), &Silent).await;
        let chosen = chosen.expect("chosen");
        (chosen.backup.name, chosen.degraded)
    };
    let until = |at: usize| Which::LatestUntil(made[at].created_at);
    let name = |at: usize| made[at].name.clone();
    assert_eq!(select(until(1)).await, (name(1), Vec::new()));

    let manifest = rig.directory().join(name(1).manifest());
    let text = std::fs::read(&manifest).expect("manifest");
    std::fs::remove_file(&manifest).expect("removed");
    let (chosen, degraded) = select(until(1)).await;
    assert_eq!((chosen, degraded.len()), (name(0), 1), "{degraded:?}");
    assert!(
        degraded[0].contains(&format!("the manifest of `{}` is gone", name(1))),
        "{degraded:?}"
    );
    std::fs::remove_file(rig.directory().join(name(1).as_str())).expect("removed");
    let (chosen, degraded) = select(until(1)).await;
    assert_eq!((chosen, degraded.len()), (name(0), 1), "{degraded:?}");
    assert!(
        degraded[0].contains(&format!("`{}` is in no location, which was the newest", name(1))),
        "{degraded:?}"
    );
    let lacking = backups
        .wholeness(LocationName::Local, Later::Told)
        .await
        .expect("looked")
        .lacking;
    assert_eq!(
        lacking.iter().map(|one| &one.name).collect::<Vec<_>>(),
        [name(1).as_str()]
    );
    // What is newer than it, and what was meant by its name, is as good as before.
    assert_eq!(select(Which::Latest).await, (name(2), Vec::new()));
    assert_eq!(select(Which::Name(name(0))).await, (name(0), Vec::new()));

    // With its manifest back the catalogue is as it was; that the file is gone is told of it by itself.
    std::fs::write(&manifest, text).expect("written");
    assert_eq!(select(Which::Latest).await, (name(2), Vec::new()));
    assert_eq!(backups.catalogue().await.expect("catalogue").broken, []);
}
