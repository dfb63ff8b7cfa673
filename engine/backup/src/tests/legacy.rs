//! What the old scripts wrote: `pg_dump | gpg --symmetric`, no manifest, and now and then something nasty.

use super::rig::*;
use crate::*;

const OLD: &str = "journeyman_backup_20240115_020000.sql.gpg";

fn latest() -> Wanted {
    Wanted::database(Which::Latest)
}

#[tokio::test(flavor = "multi_thread")]
async fn old_files_are_listed_chosen_and_restored() {
    let rig = Rig::new().await;
    let backups = rig.backups().await;
    for (file, how) in [
        (
            "journeyman_backup_20240115_020000.sql.gpg",
            "pg_dump \"$URL\" | GPG --symmetric",
        ),
        (
            "journeyman_backup_20240116_020000.sql.gpg",
            "pg_dump \"$URL\" | GPG --symmetric --compress-algo none",
        ),
        (
            "journeyman_backup_20240117_020000.sql.gz.gpg",
            "pg_dump \"$URL\" | gzip | GPG --symmetric",
        ),
        (
            "journeyman_backup_20240118_020000.dump.gpg",
            "pg_dump -Fc \"$URL\" | GPG --symmetric",
        ),
        (
            "journeyman_backup_20240119_020000.sql.asc",
            "pg_dump \"$URL\" | GPG --symmetric --armor",
        ),
        (
            "journeyman_backup_20240120_020000.sql.gpg",
            "pg_dump --inserts \"$URL\" | GPG --symmetric",
        ),
    ] {
        operator(&rig, &format!("{how} > \"$DIR/{file}\""));
        let entry = &backups.catalogue().await.expect("catalogue").entries[0];
        assert_eq!((entry.name.as_str(), entry.level()), (file, None), "{:?}", rig.files());
        let chosen = backups
            .select(&latest(), &tools(), &Silent)
            .await
            .unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(chosen.backup.name.as_str(), file);
        let restored = rig.aside(&backups, &chosen.backup.name).await;
        let restored = restored.unwrap_or_else(|error| panic!("{file}: {:?}", error.summary()));
        assert_eq!(
            rig.inventory(&restored.database).await,
            rig.inventory(&rig.database).await,
            "{file}"
        );
    }
    let request = rig.restore(&OLD.parse().expect("name"), Target::InPlace);
    let before = rig.inventory(&rig.database).await;
    rig.server.sql(&rig.database, &["DELETE FROM games"]).await;
    backups
        .restore(&rig.postgres, &request, &tools(), &Silent)
        .await
        .expect("in place");
    assert_eq!(rig.inventory(&rig.database).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_manifest_it_is_not_the_latest_where_others_have_one() {
    let rig = Rig::new().await;
    let backups = rig.backups().await;
    let known = rig.create(&backups).await.manifest.name;
    // A name from the future, as somebody would choose who wants to be taken.
    operator(
        &rig,
        "pg_dump \"$URL\" | GPG --symmetric > \"$DIR/journeyman_backup_29990101_000000.sql.gpg\"",
    );
    let chosen = backups.select(&latest(), &tools(), &Silent).await.expect("chosen");
    assert_eq!(chosen.backup.name, known);
    assert!(chosen.notes[0].contains("29990101"), "{:?}", chosen.notes);
    // Whoever asks for its day is not told that it is not there.
    let wanted = Wanted::database("29990101".parse().expect("a day"));
    let error = backups
        .select(&wanted, &tools(), &Silent)
        .await
        .expect_err("not by its day");
    let name = "journeyman_backup_29990101_000000.sql.gpg";
    let said = format!("{error}; {}", error.hint_text().expect("a hint"));
    for words in [
        &format!("`{name}` is unverified"),
        &format!("taken only by its name: ask for `{name}`"),
        "`prove: whole`",
    ] {
        assert!(said.contains(words), "no `{words}` in {said}");
    }
    let wanted = Wanted::database(name.parse().expect("a name"));
    let chosen = backups.select(&wanted, &tools(), &Silent).await.expect("by its name");
    assert_eq!(chosen.backup.name.as_str(), name);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_was_touched_or_moved_is_refused() {
    let rig = Rig::new().await;
    let backups = rig.backups().await;
    let first = rig.create(&backups).await.manifest.name;
    let text = std::fs::read_to_string(rig.directory().join(first.manifest())).expect("read");
    std::fs::write(
        rig.directory().join(first.manifest()),
        text.replace("\"rows\": 3000", "\"rows\": 3001"),
    )
    .expect("write");
    let error = rig.aside(&backups, &first).await.expect_err("touched");
    assert_eq!(error.kind(), jm_step::StepErrorKind::Refused);
    // An old backup under a new name.
    std::fs::copy(
        rig.directory().join(first.as_str()),
        rig.directory().join("x_29990101_000000.dump.gpg"),
    )
    .expect("copy");
    std::fs::write(rig.directory().join("x_29990101_000000.dump.gpg.manifest.json"), text).expect("write");
    let error = backups
        .select(&latest(), &tools(), &Silent)
        .await
        .expect_err("both refused");
    assert!(error.message().contains("is the manifest of"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_hostile_script_runs() {
    let rig = Rig::new().await;
    let backups = rig.backups().await;
    let trap = rig.folder.path().join("trap");
    let trap = trap.display();
    for (index, line) in [
        format!("\\! touch {trap}"),
        format!("\\copy (SELECT 1) TO PROGRAM 'touch {trap}'"),
        format!("SELECT 1 \\g |touch {trap}"),
        format!("\\set x `touch {trap}`"),
        format!("\\unrestrict `touch {trap}`"),
        format!("\\o |touch {trap}"),
    ]
    .iter()
    .enumerate()
    {
        let name = format!("journeyman_backup_2024011{index}_020000.sql.gpg");
        let script = rig.folder.path().join("script.sql");
        let text = format!("CREATE TABLE t (id int);\n{line}\n-- PostgreSQL database dump complete\n");
        std::fs::write(&script, text).expect("write");
        operator(
            &rig,
            &format!("GPG --symmetric --output \"$DIR/{name}\" '{}'", script.display()),
        );
        let error = rig.aside(&backups, &name.parse().expect("name")).await.expect_err(line);
        assert!(error.message().contains("meta-command"), "{error}");
    }
    assert!(!rig.folder.path().join("trap").exists());
    rig.assert_no_copy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_dump_that_stopped_half_way_is_not_restored() {
    let rig = Rig::new().await;
    let backups = rig.backups().await;
    operator(
        &rig,
        &format!(
            "pg_dump \"$URL\" > \"$DIR/whole\"; head -c 60000 \"$DIR/whole\" | GPG --symmetric > \"$DIR/{OLD}\"; rm \"$DIR/whole\""
        ),
    );
    let error = backups
        .select(&latest(), &tools(), &Silent)
        .await
        .expect_err("not whole");
    assert!(
        error.message().contains("PostgreSQL database dump complete") || error.message().contains("ends inside"),
        "{error}"
    );
    assert!(rig.aside(&backups, &OLD.parse().expect("name")).await.is_err());
    rig.assert_no_copy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_lead_nowhere_but_to_backups() {
    let rig = Rig::new().await;
    let backups = rig.backups().await;
    operator(&rig, &format!("pg_dump \"$URL\" | GPG --symmetric > \"$DIR/{OLD}\""));
    let inside = rig.directory().join(OLD);
    assert_eq!(
        backups.name(&inside.display().to_string()).expect("inside").as_str(),
        OLD
    );
    for bad in [
        "/etc/passwd",
        &format!("/tmp/{OLD}"),
        &format!("../{OLD}"),
        "-x_20240115_020000.sql.gpg",
    ] {
        assert!(backups.name(bad).is_err(), "{bad}");
    }
    // A link among the backups is not followed.
    std::fs::rename(&inside, rig.folder.path().join("elsewhere")).expect("rename");
    std::os::unix::fs::symlink(rig.folder.path().join("elsewhere"), &inside).expect("link");
    assert!(rig.aside(&backups, &OLD.parse().expect("name")).await.is_err());
}
