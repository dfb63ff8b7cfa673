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
use crate::extract::Extract;
use crate::files::Files;
use crate::find::Find;
use crate::restore::Restore;
use crate::select::Select;
use crate::verify::Verify;

mod files;
mod restores;

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

    /// How many users a database holds.
    async fn users(&self, database: &str) -> Option<String> {
        let sql = "SELECT count(*) FROM public.users";
        self.server.text(database, sql).await
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
            "backup.extract",
            "backup.files",
            "backup.find",
            "backup.inventory",
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
    bad(&Create, json!({ "release": { "commit": "main" } }));
    bad(&Create, json!({ "release": { "image": "shop/app:latest" } }));
    bad(&Files, json!({}));
    bad(&Files, json!({ "environment": ["A-B"] }));
    bad(&Files, json!({ "paths": ["x"], "set": "Not A Set" }));
    bad(&Extract, json!({ "backup": "x", "into": "y" }));
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
