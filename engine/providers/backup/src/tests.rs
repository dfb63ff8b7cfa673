//! The step types against a real PostgreSQL: what they change, say beforehand, find again, and refuse.

#![expect(clippy::disallowed_methods, reason = "tests make and read files of their own")]

use std::path::PathBuf;

use jm_backup::Backups;
use jm_client_postgres::test_server::{PgServer, open_url};
use jm_step::{
    AnyStepType, Connection, Effect, Environment, Grade, Known, OpenContext, Probe, Repeat, RunId, Secrets,
    StepErrorKind,
};
use jm_testkit::StepBench;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::create::Create;
use crate::find::Find;
use crate::restore::Restore;
use crate::select::Select;
use crate::verify::Verify;

const KEY: &str = "a passphrase of many words, and more";

struct World {
    server: &'static PgServer,
    database: String,
    folder: TempDir,
    bench: StepBench,
}

impl World {
    async fn new() -> Self {
        let server = PgServer::shared();
        let database = server.database("jmp").await;
        let tables = [
            "CREATE TABLE users (id serial PRIMARY KEY, name text)",
            "INSERT INTO users (name) SELECT 'player ' || i FROM generate_series(1, 500) i",
        ];
        server.sql(&database, &tables).await;
        let folder = tempfile::tempdir().expect("folder");
        let bench = StepBench::new()
            .environment([("PATH", "/usr/bin:/bin")])
            .with("database", server.open(&database).await)
            .with("backups", backups(&folder.path().join("backups"), KEY).await);
        Self {
            server,
            database,
            folder,
            bench,
        }
    }

    fn directory(&self) -> PathBuf {
        self.folder.path().join("backups")
    }

    fn files(&self) -> usize {
        std::fs::read_dir(self.directory()).map_or(0, Iterator::count)
    }

    async fn create(&self) -> Value {
        self.bench.clone().key("made").run(&Create, json!({})).await.output()
    }

    /// The same systems for somebody who has another key.
    async fn with_another_key(&self) -> StepBench {
        StepBench::new()
            .environment([("PATH", "/usr/bin:/bin")])
            .with("database", self.server.open(&self.database).await)
            .with(
                "backups",
                backups(&self.directory(), "another passphrase, just as long").await,
            )
    }

    async fn databases(&self) -> Option<String> {
        let sql = format!(
            "SELECT count(*) FROM pg_database WHERE datname LIKE '{}%'",
            self.database
        );
        self.server.text("postgres", &sql).await
    }
}

async fn backups(directory: &std::path::Path, key: &str) -> Backups {
    let cx = OpenContext {
        secrets: Secrets::new(),
        environment: Environment::default(),
        run: RunId::generate(),
    };
    let config = serde_json::from_value(json!({ "directory": directory, "key": key })).expect("config");
    Backups::open(config, &cx).await.expect("open")
}

#[test]
fn the_provider_registers_and_its_schemas_are_whole() {
    let registry = jm_step::Registry::new().with(crate::provider());
    let names: Vec<&str> = registry.step_types().map(|step| step.name()).collect();
    assert_eq!(
        names,
        [
            "backup.create",
            "backup.find",
            "backup.restore",
            "backup.select",
            "backup.verify"
        ]
    );
    let output = Select.output_schema();
    assert_eq!(
        output["properties"]["recovery_point"]["x-jm-recovery-point"],
        json!(true)
    );
    let config = registry.connection("backup").expect("connection").config_schema();
    assert_eq!(config["properties"]["key"]["x-jm-secret"], json!(true));
}

#[test]
fn what_a_schema_cannot_say_is_checked() {
    let bad = |step: &dyn AnyStepType, input: Value| assert!(step.check(&input).is_err(), "{input}");
    bad(&Create, json!({ "label": "Not A Label" }));
    bad(&Create, json!({ "pin": "soon" }));
    bad(&Create, json!({ "pin": "-3d" }));
    bad(&Create, json!({ "verify": "restored" }));
    bad(&Create, json!({ "unknown": 1 }));
    bad(&Select, json!({ "which": "20240230" }));
    bad(&Select, json!({ "which": "../x" }));
    let issues = Select
        .check(&json!({ "which": "latest<=2026-11-25" }))
        .expect_err("a day is no moment");
    let said = format!("{issues:?}");
    assert!(said.contains("such as `2026-11-25T12:00:00Z`"), "{said}");
    assert!(said.contains("`latest<=2026-11-25T12:00:00Z`"), "{said}");
    bad(&Restore, json!({ "backup": "../../etc/passwd" }));
    bad(&Verify, json!({ "backup": "x" }));
    assert!(Create.check(&json!({ "label": "", "pin": "30d" })).is_ok());
    assert!(
        Select
            .check(&json!({ "which": "latest<=2024-01-15T14:30:00Z" }))
            .is_ok()
    );
}

#[test]
fn only_a_restore_in_place_cannot_be_taken_back() {
    let known = |into: &str| Known::new(json!({ "into": into }));
    assert_eq!(AnyStepType::effect(&Restore, &known("aside")), Effect::Reversible);
    assert_eq!(AnyStepType::effect(&Restore, &known("in_place")), Effect::Irreversible);
    assert_eq!(AnyStepType::repeat(&Restore, &known("aside")), Repeat::Safe);
    assert_eq!(AnyStepType::repeat(&Restore, &known("in_place")), Repeat::Probe);
    assert_eq!(
        Restore.effect(&Known::new(json!({}))),
        Effect::Reversible,
        "aside is the default"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_found_before_its_server_is_there() {
    let world = World::new().await;
    let made = world.create().await;
    let directory = world.directory();
    let alone = async |key: &'static str| {
        StepBench::new()
            .environment([("PATH", "/usr/bin:/bin")])
            .with("backups", backups(&directory, key).await)
    };
    let found = alone(KEY).await.run(&Find, json!({})).await.output();
    assert_eq!(found["backup"]["name"], made["backup"]["name"]);
    let preview = alone(KEY).await.preview(&Find, json!({})).await.expect("preview");
    assert_eq!(preview.predicted.expect("known before")["name"], found["name"]);
    let error = alone("another passphrase, just as long")
        .await
        .run(&Find, json!({}))
        .await
        .error();
    assert!(error.message().contains("another one"), "{error}");
    let error = alone(KEY)
        .await
        .run(&Find, json!({ "kind": "kubernetes" }))
        .await
        .error();
    assert_eq!(error.kind(), StepErrorKind::NotFound, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_made_once_for_each_deed() {
    let world = World::new().await;
    let bench = world.bench.clone().key("deed");
    let preview = bench.preview(&Create, json!({ "pin": "30d" })).await.expect("preview");
    assert_eq!(preview.grade, Grade::Computed);
    assert_eq!(world.files(), 0, "a preview writes nothing");
    assert_eq!(bench.probe(&Create, json!({})).await.expect("probe"), Probe::NotStarted);
    let ran = bench.run(&Create, json!({ "pin": "30d" })).await;
    assert_eq!(ran.changes, preview.changes, "what was said is what was done");
    let output = ran.output();
    assert_eq!(output["level"], json!("archive"));
    let files = world.files();
    let again = bench.clone().attempt(2).run(&Create, json!({})).await.output();
    assert_eq!((again, world.files()), (output.clone(), files));
    assert_eq!(
        bench.probe(&Create, json!({})).await.expect("probe"),
        Probe::Succeeded(output)
    );
}

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
    let rows = world
        .server
        .text(
            restored["database"].as_str().expect("name"),
            "SELECT count(*) FROM public.users",
        )
        .await;
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

/// The backup that a recovery takes before it replaces anything is one of the database by its own name.
#[tokio::test(flavor = "multi_thread")]
async fn a_safety_backup_is_of_the_database_itself() {
    let world = World::new().await;
    let safety = world
        .bench
        .run(&Create, json!({ "label": "pre_restore" }))
        .await
        .output();
    let by_name = world
        .bench
        .run(&Select, json!({ "which": safety["name"] }))
        .await
        .output();
    assert_eq!(by_name["backup"]["database"], json!(world.database));
}

/// On a server whose disk cannot be seen, which is every one on another machine.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_found_out_is_said_and_not_called_verified() {
    let world = World::new().await;
    let made = world.create().await;
    let (name, owner) = (&world.database, world.server.role("owner").await);
    let sql = format!("ALTER DATABASE {name} OWNER TO {owner}");
    world.server.sql("postgres", &[&sql]).await;
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
    assert_eq!(
        world
            .server
            .text(&world.database, "SELECT count(*) FROM public.users")
            .await
            .as_deref(),
        Some("500")
    );
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
    assert_eq!(
        world
            .server
            .text(&world.database, "SELECT count(*) FROM public.users")
            .await
            .as_deref(),
        Some("0")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_would_fail_and_says_so() {
    let world = World::new().await;
    world.create().await;
    let bench = world.with_another_key().await;
    let error = bench.preview(&Select, json!({})).await.expect_err("wrong key");
    assert!(error.message().contains("another one"), "{error}");
    let none = bench
        .preview(&Select, json!({ "which": "20010101" }))
        .await
        .expect_err("none");
    assert_eq!(none.kind(), StepErrorKind::NotFound);
}

/// As at a resume for which the key was mistyped.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_was_chosen_is_not_blamed_for_another_key() {
    let world = World::new().await;
    let made = world.create().await;
    let bench = world.with_another_key().await;
    let input = json!({ "backup": made["backup"] });
    for error in [
        bench.run(&Restore, input.clone()).await.error(),
        bench.run(&Verify, input).await.error(),
    ] {
        assert_eq!(error.kind(), StepErrorKind::Denied, "{error}");
        assert!(error.message().contains("the key does not open"), "{error}");
        assert!(error.hint_text().is_some_and(|hint| hint.contains("ENCRYPTION_KEY")));
    }
    // A file that somebody else put there under the name is another matter.
    let mut other = made["backup"].clone();
    other["sha256"] = json!("0".repeat(64));
    let error = world.bench.run(&Restore, json!({ "backup": other })).await.error();
    assert_eq!(error.kind(), StepErrorKind::Refused, "{error}");
    let manifest = made["name"].as_str().expect("name").to_owned() + ".manifest.json";
    std::fs::remove_file(world.directory().join(manifest)).expect("removed");
    let error = world
        .bench
        .run(&Restore, json!({ "backup": made["backup"] }))
        .await
        .error();
    assert!(error.message().contains("its manifest is gone"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn verifying_reads_every_copy() {
    let world = World::new().await;
    let created = world.create().await;
    for level in ["checksum", "decrypt", "archive"] {
        let input = json!({ "backup": created["backup"], "level": level });
        let output = world.bench.run(&Verify, input).await.output();
        assert_eq!(output["copies"], json!([{ "location": "local", "good": true }]));
    }
    let path = world.directory().join(created["name"].as_str().expect("name"));
    let bytes = std::fs::read(&path).expect("read");
    std::fs::write(&path, &bytes[..bytes.len() / 2]).expect("write");
    let error = world
        .bench
        .run(&Verify, json!({ "backup": created["backup"] }))
        .await
        .error();
    assert!(error.message().contains("cut short"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_is_told_to_stop_stops() {
    let world = World::new().await;
    world.bench.cancellation().cancel();
    let error = world.bench.run(&Create, json!({})).await.error();
    assert_eq!(error.kind(), StepErrorKind::Cancelled);
}
