//! Restoring aside, and choosing.

use jm_step::{Connection, StepErrorKind};

use super::rig::*;
use crate::*;

fn database(manifest: &mut Manifest) -> &mut DatabaseContent {
    match &mut manifest.content {
        Content::Database(content) => content,
        _ => panic!("of a database"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_holds_what_the_database_held() {
    let rig = Rig::new().await;
    let backups = rig.backups().await;
    for format in [DumpFormat::Custom, DumpFormat::Plain] {
        let request = CreateRequest {
            format,
            ..rig.request()
        };
        let created = backups
            .create(&rig.postgres, &request, &tools(), &Silent)
            .await
            .expect("created");
        let before = rig.inventory(&rig.database).await;
        let restored = rig.aside(&backups, &created.manifest.name).await.expect("restored");
        assert_eq!(restored.bytes, created.manifest.bytes.raw);
        assert!(restored.database.starts_with(&format!("{}_jmr_", rig.database)));
        assert_eq!(rig.inventory(&restored.database).await, before);
        assert_eq!(rig.inventory(&rig.database).await, before, "untouched");
        let text = rig
            .server
            .text(&restored.database, "SELECT note FROM public.users WHERE id = 7")
            .await;
        assert_eq!(
            text,
            rig.server
                .text(&rig.database, "SELECT note FROM public.users WHERE id = 7")
                .await
        );
        let state = AsideState::look(rig.postgres.reader(), &restored.database, "deed")
            .await
            .expect("look");
        assert_eq!(state, AsideState::Complete(restored.clone()));
        let state = AsideState::look(rig.postgres.reader(), &restored.database, "another")
            .await
            .expect("look");
        assert_eq!(state, AsideState::Incomplete);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_good_one_is_chosen_and_the_others_are_told() {
    let rig = Rig::new().await;
    let backups = rig.backups().await;
    let first = rig.create(&backups).await.manifest.name;
    let second = rig.create(&backups).await.manifest.name;
    let safety = CreateRequest {
        label: Some("pre_restore".to_owned()),
        ..rig.request()
    };
    let safety = backups
        .create(&rig.postgres, &safety, &tools(), &Silent)
        .await
        .expect("created")
        .manifest
        .name;
    let wanted = |which: &str| Wanted::database(which.parse().expect("which"));
    let chosen = backups
        .select(&wanted("latest"), &tools(), &Silent)
        .await
        .expect("chosen");
    assert_eq!((chosen.backup.name, chosen.skipped.len()), (second.clone(), 0));
    let named = backups
        .select(&wanted(safety.as_str()), &tools(), &Silent)
        .await
        .expect("by name");
    assert_eq!(named.backup.label.as_deref(), Some("pre_restore"));
    let day = second.taken_at().strftime("%Y%m%d").to_string();
    assert_eq!(
        backups
            .select(&wanted(&day), &tools(), &Silent)
            .await
            .expect("by day")
            .backup
            .name,
        second
    );

    // The newest one loses its last byte.
    let path = rig.directory().join(second.as_str());
    let bytes = std::fs::read(&path).expect("read");
    std::fs::write(&path, &bytes[..bytes.len() - 1]).expect("write");
    let chosen = backups
        .select(&wanted("latest"), &tools(), &Silent)
        .await
        .expect("chosen");
    assert_eq!(chosen.backup.name, first);
    assert_eq!(chosen.skipped[0].name, second);

    let error = backups
        .select(&wanted("20010101"), &tools(), &Silent)
        .await
        .expect_err("none");
    assert_eq!(error.kind(), StepErrorKind::NotFound);
    assert!(error.hint_text().expect("hint").contains(first.as_str()), "{error:?}");
    let error = backups
        .select(&wanted("latest<=2001-01-01T00:00:00Z"), &tools(), &Silent)
        .await
        .expect_err("none");
    assert_eq!(error.kind(), StepErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_opens_nothing_and_says_which_is_needed() {
    let rig = Rig::new().await;
    let backups = rig.backups().await;
    let created = rig.create(&backups).await;
    let others = rig
        .backups_with(serde_json::json!({ "key": "quite another passphrase altogether" }))
        .await;
    let wanted = Wanted::database(Which::Latest);
    let error = others.select(&wanted, &tools(), &Silent).await.expect_err("wrong key");
    assert!(error.message().contains(&created.manifest.key.id), "{error}");
    let error = rig.aside(&others, &created.manifest.name).await.expect_err("wrong key");
    assert_eq!(error.kind(), StepErrorKind::Denied);
    rig.assert_no_copy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_chosen_is_what_is_restored() {
    let rig = Rig::new().await;
    let backups = rig.backups().await;
    let created = rig.create(&backups).await;
    let mut request = rig.restore(&created.manifest.name, Target::Aside);
    request.sha256 = Some("0".repeat(64));
    let error = backups
        .restore(&rig.postgres, &request, &tools(), &Silent)
        .await
        .expect_err("another");
    assert_eq!(error.kind(), StepErrorKind::Refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_attempt_replaces_what_the_first_left() {
    let rig = Rig::new().await;
    let backups = rig.backups().await;
    let created = rig.create(&backups).await;
    let copy = rig.restore(&created.manifest.name, Target::Aside).copy;
    rig.server.sql("postgres", &[&format!("CREATE DATABASE {copy}")]).await;
    rig.server.sql(&copy, &["CREATE TABLE half (id int)"]).await;
    let lingering = rig.postgres.connect_to(&copy, None).await.expect("session");
    let restored = rig.aside(&backups, &created.manifest.name).await.expect("restored");
    assert!(
        !rig.inventory(&restored.database)
            .await
            .tables
            .contains_key("public.half")
    );
    drop(lingering);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_is_gone_is_told_and_not_in_the_way() {
    let rig = Rig::new().await;
    let backups = rig.backups().await;
    let role = jm_client_postgres::test_server::PgServer::unique("owner");
    rig.server
        .sql(
            &rig.database,
            &[
                &format!("CREATE ROLE {role}"),
                &format!("ALTER TABLE users OWNER TO {role}"),
            ],
        )
        .await;
    let custom = rig.create(&backups).await.manifest.name;
    let plain = CreateRequest {
        format: DumpFormat::Plain,
        ..rig.request()
    };
    let plain = backups
        .create(&rig.postgres, &plain, &tools(), &Silent)
        .await
        .expect("created")
        .manifest
        .name;
    rig.server
        .sql(
            &rig.database,
            &["ALTER TABLE users OWNER TO jm", &format!("DROP ROLE {role}")],
        )
        .await;
    let heard = Heard::default();
    let request = rig.restore(&custom, Target::Aside);
    let restored = backups
        .restore(&rig.postgres, &request, &tools(), &heard)
        .await
        .expect("without owners");
    assert!(heard.degraded()[0].contains(&role), "{:?}", heard.degraded());
    rig.server
        .sql("postgres", &[&format!("DROP DATABASE {}", restored.database)])
        .await;
    let keep = RestoreRequest {
        owners: Owners::Keep,
        ..request
    };
    let error = backups
        .restore(&rig.postgres, &keep, &tools(), &Silent)
        .await
        .expect_err("kept");
    assert!(error.message().contains(&role), "{error}");
    let error = rig.aside(&backups, &plain).await.expect_err("plain");
    assert!(error.message().contains(&role), "{error}");
    // It is known before anything is stopped, and of a dump without a manifest, too.
    let beforehand = async |owners| {
        let entry = backups.find(&plain).await.expect("found");
        fitness(rig.postgres.reader(), &entry, rig.meant(owners), &tools())
            .await
            .expect_err("plain")
    };
    assert_eq!(beforehand(Owners::Auto).await.message(), error.message());
    std::fs::remove_file(rig.directory().join(plain.manifest())).expect("removed");
    let error = beforehand(Owners::None).await;
    assert!(error.message().contains("cannot be left out"), "{error}");
    rig.assert_no_copy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_the_server_is_refused_beforehand() {
    let rig = Rig::new().await;
    let backups = rig.backups().await;
    let created = rig.create(&backups).await;
    let entry = |change: &dyn Fn(&mut Manifest)| {
        let mut manifest = created.manifest.clone();
        change(&mut manifest);
        Entry {
            name: manifest.name.clone(),
            copies: Vec::new(),
            status: Status::Known(Box::new(manifest)),
        }
    };
    let look = async |entry: Entry| fitness(rig.postgres.reader(), &entry, rig.meant(Owners::Auto), &tools()).await;
    assert_eq!(look(entry(&|_| ())).await.expect("fits").missing_roles, [""; 0]);
    let newer = look(entry(&|m| database(m).inventory.server_version_num = 990_000))
        .await
        .expect_err("newer");
    assert_eq!(newer.kind(), StepErrorKind::Refused);
    let program = look(entry(&|m| database(m).client_version = "99.1".to_owned()))
        .await
        .expect_err("an older `pg_restore`");
    assert!(
        program.message().contains("`pg_restore`") && program.message().contains("version 99 or newer"),
        "{program}"
    );
    let room = look(entry(&|m| database(m).inventory.size_bytes = u64::MAX / 20))
        .await
        .expect_err("room");
    assert!(room.message().contains("no room"), "{room}");
    let extension = jm_client_postgres::Extension {
        version: "1".to_owned(),
        schema: "public".to_owned(),
    };
    let lacking = look(entry(&|m| {
        let known = database(m)
            .inventory
            .extensions
            .insert("not_to_be_had".to_owned(), extension.clone());
        assert_eq!(known, None);
    }));
    assert!(
        lacking
            .await
            .expect_err("extension")
            .message()
            .contains("not_to_be_had")
    );
    let cron = look(entry(&|m| database(m).roles.push("nobody_here".to_owned())))
        .await
        .expect("fits");
    assert_eq!(cron.missing_roles, ["nobody_here"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_can_be_looked_into() {
    let rig = Rig::new().await;
    let backups = rig.backups().await;
    let plain = CreateRequest {
        format: DumpFormat::Plain,
        ..rig.request()
    };
    let created = backups
        .create(&rig.postgres, &plain, &tools(), &Silent)
        .await
        .expect("created");
    let entry = backups.find(&created.manifest.name).await.expect("found");
    let mut out = Vec::new();
    let bytes = backups.decrypt_to(&entry, &mut out, &Silent).await.expect("decrypted");
    assert_eq!(bytes, out.len() as u64);
    assert!(String::from_utf8_lossy(&out).contains("CREATE TABLE public.users"));
    let file = rig.folder.path().join("dump.sql");
    backups
        .decrypt_to_file(&entry, &file, &Silent)
        .await
        .expect("decrypted");
    assert_eq!(std::fs::read(&file).expect("read"), out);
    let again = backups
        .decrypt_to_file(&entry, &file, &Silent)
        .await
        .expect_err("there already");
    assert_eq!(again.kind(), StepErrorKind::Conflict);
    assert_eq!(
        files(rig.folder.path())
            .iter()
            .filter(|file| file.ends_with(".partial"))
            .count(),
        0
    );
}
