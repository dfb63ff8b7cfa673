//! Restores: aside and in place, found again, and refused.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_chosen_is_restored_and_found_again() {
    let world = World::new().await;
    world.create().await;
    let bench = world.bench.clone();
    let preview = bench.preview(&Select, json!({})).await.expect("preview");
    assert_eq!(preview.grade, Grade::Verified);
    let chosen = bench
        .run(&Select, json!({ "which": "latest", "from": "any" }))
        .await
        .output();
    assert_eq!(preview.predicted.expect("predicted")["backup"], chosen["backup"]);
    assert_eq!(chosen["recovery_point"], chosen["backup"]["created_at"]);
    assert_eq!(
        chosen["backup"]["inventory"]["tables"]["public.users"]["rows"],
        json!(500)
    );
    assert!(serde_json::to_vec(&chosen).expect("json").len() < 64 * 1024);

    let input = json!({ "backup": chosen["backup"], "into": "aside" });
    assert_eq!(
        bench.probe(&Restore, input.clone()).await.expect("probe"),
        Probe::NotStarted
    );
    let preview = bench.preview(&Restore, input.clone()).await.expect("preview");
    assert_eq!(
        world.databases().await.as_deref(),
        Some("1"),
        "a preview makes no database"
    );
    let ran = bench.run(&Restore, input.clone()).await;
    assert_eq!(ran.changes, preview.changes);
    assert_eq!(
        ran.outputs[0]["database"],
        ran.result.as_ref().expect("end").as_ref().expect("good")["database"]
    );
    let restored = ran.output();
    let foreseen = preview.foreseen.expect("foreseen");
    for field in ["database", "backup"] {
        assert_eq!(foreseen[field], restored[field], "{field}");
    }
    let rows = world.users(restored["database"].as_str().expect("name")).await;
    assert_eq!(rows.as_deref(), Some("500"));
    assert_eq!(
        bench.probe(&Restore, input.clone()).await.expect("probe"),
        Probe::Succeeded(restored.clone())
    );
    let again = bench.clone().attempt(2).run(&Restore, input).await.output();
    assert_eq!(again["database"], restored["database"]);
    assert_eq!(world.databases().await.as_deref(), Some("2"), "one copy, however often");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_backup_of_another_database_is_refused() {
    let world = World::new().await;
    let made = world.create().await;
    let of = &world.database;
    let other = world.server.database("jmp_other").await;
    let bench = StepBench::new()
        .environment([("PATH", "/usr/bin:/bin")])
        .with("database", world.server.open(&other).await)
        .with("backups", backups(&world.directory(), KEY).await);
    // By `latest`, by its name, and straight into a restore; in a dry run and in a run.
    for input in [
        json!({}),
        json!({ "which": made["name"] }),
        json!({ "of": other, "which": made["name"] }),
    ] {
        let errors = [
            bench.preview(&Select, input.clone()).await.expect_err("refused"),
            bench.run(&Select, input).await.error(),
        ];
        for error in errors {
            assert_eq!(error.kind(), StepErrorKind::Refused, "{error}");
            let said = format!("is a backup of database `{of}`, and `{other}` is meant");
            assert!(error.message().contains(&said), "{error}");
            assert!(
                error
                    .hint_text()
                    .is_some_and(|hint| hint.contains(&format!("`of: {of}`")))
            );
        }
    }
    for backup in [made["name"].clone(), made["backup"].clone()] {
        let input = json!({ "backup": backup, "into": "in_place" });
        let before = bench.preview(&Restore, input.clone()).await.expect_err("refused");
        for error in [before, bench.run(&Restore, input).await.error()] {
            assert_eq!(error.kind(), StepErrorKind::Refused, "{error}");
        }
    }
    // Whoever says so may: then the restore needs not be told again.
    let input = json!({ "of": of });
    let chosen = bench.run(&Select, input.clone()).await.output();
    let into = format!("backup of `{of}` into `{other}`");
    assert_eq!(chosen["of_into"], json!(into));
    for input in [
        json!({ "backup": chosen["backup"] }),
        json!({ "backup": made["name"], "of": of }),
    ] {
        let preview = bench.preview(&Restore, input).await.expect("as it was asked");
        assert!(preview.summary.contains(&into), "{}", preview.summary);
    }
    let restored = bench
        .run(&Restore, json!({ "backup": chosen["backup"] }))
        .await
        .output();
    assert_eq!(restored["of"], json!(of));
}

/// On a server whose disk cannot be seen, which is every one on another machine.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_found_out_is_said_and_not_called_verified() {
    let world = World::new().await;
    let made = world.create().await;
    let (name, owner) = (&world.database, world.server.role("owner").await);
    let own = format!("ALTER DATABASE {name} OWNER TO {owner}");
    // What is inside belongs to the role that the server was made by.
    let join = format!("GRANT jm TO {owner}");
    world.server.sql("postgres", &[&own, &join]).await;
    let bench = StepBench::new()
        .environment([("PATH", "/usr/bin:/bin")])
        .with("database", open_url(&world.server.url_of(&owner, name)).await)
        .with("backups", backups(&world.directory(), KEY).await);
    let of_room = "how much room the server's disk has cannot be told from here";
    let preview = bench.preview(&Select, json!({})).await.expect("preview");
    assert_eq!(preview.grade, Grade::Declared, "{}", preview.summary);
    assert!(preview.summary.contains(of_room), "{}", preview.summary);
    let into = format!("backup of `{name}` into `{name}`");
    assert!(preview.summary.contains(&into), "{}", preview.summary);
    let chosen = bench.run(&Select, json!({})).await.output();
    assert!(chosen["notes"].to_string().contains(of_room), "{}", chosen["notes"]);
    let input = json!({ "backup": chosen["backup"] });
    let restore = bench.preview(&Restore, input).await.expect("preview");
    assert!(restore.summary.contains(of_room), "{}", restore.summary);

    let manifest = format!("{}.manifest.json", made["name"].as_str().expect("name"));
    std::fs::remove_file(world.directory().join(manifest)).expect("removed");
    let preview = world.bench.preview(&Select, json!({})).await.expect("preview");
    assert_eq!(preview.grade, Grade::Declared, "{}", preview.summary);
    let nothing = "has no manifest: extensions, roles and room cannot be checked beforehand";
    assert!(preview.summary.contains(nothing), "{}", preview.summary);
    let preview = world.bench.preview(&Find, json!({})).await.expect("preview");
    assert!(
        preview.summary.contains("nothing tells of what it is"),
        "{}",
        preview.summary
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_off_in_the_middle_it_is_partial_and_then_whole() {
    let world = World::new().await;
    let created = world.create().await;
    let bench = world.bench.clone();
    let input = json!({ "backup": created["name"] });
    // Dropped right after the copy's name was saved; then as if killed while it was filled.
    let cut = bench.run_until(&Restore, input.clone(), 1).await;
    let copy = cut.outputs[0]["database"].as_str().expect("name").to_owned();
    assert!(cut.result.is_none());
    world
        .server
        .sql(
            "postgres",
            &[
                &format!("DROP DATABASE IF EXISTS {copy} WITH (FORCE)"),
                &format!("CREATE DATABASE {copy}"),
            ],
        )
        .await;
    assert!(matches!(
        bench.probe(&Restore, input.clone()).await.expect("probe"),
        Probe::Partial { .. }
    ));
    let restored = bench.clone().attempt(2).run(&Restore, input).await.output();
    assert_eq!(restored["database"], json!(copy));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_in_place_knows_its_transaction() {
    let world = World::new().await;
    let created = world.create().await;
    world.server.sql(&world.database, &["DELETE FROM users"]).await;
    let bench = world.bench.clone();
    let input = json!({ "backup": created["backup"], "into": "in_place" });
    assert_eq!(
        bench.probe(&Restore, input.clone()).await.expect("probe"),
        Probe::NotStarted
    );
    let ran = bench.run(&Restore, input.clone()).await;
    let checkpoint = ran.checkpoints[0].clone();
    let output = ran.output();
    assert_eq!(world.users(&world.database).await.as_deref(), Some("500"));
    let verdict = bench
        .clone()
        .checkpoint(checkpoint)
        .probe(&Restore, input.clone())
        .await
        .expect("probe");
    assert_eq!(verdict, Probe::Succeeded(output));
    // Cut off when it was about to commit: it did not.
    world.server.sql(&world.database, &["DELETE FROM users"]).await;
    let cut = bench.run_until(&Restore, input.clone(), 1).await;
    let bench = bench.checkpoint(cut.checkpoints[0].clone());
    for _ in 0..100 {
        match bench.probe(&Restore, input.clone()).await.expect("probe") {
            Probe::Running => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            verdict => {
                assert_eq!(verdict, Probe::NotStarted);
                break;
            }
        }
    }
    assert_eq!(world.users(&world.database).await.as_deref(), Some("0"));
}
