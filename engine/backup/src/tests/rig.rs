//! What every test needs: a database with something in it, a directory, a key, an observer that remembers.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use futures::future::{BoxFuture, FutureExt, ready};
use jm_client_postgres::test_server::PgServer;
use jm_client_postgres::{CountMode, Inventory, Postgres};
use jm_step::process::Supervisor;
use jm_step::{Connection, Environment, OpenContext, RunId, Secrets, StepError};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::*;

pub(super) const KEY: &str = "a passphrase of many words, and more";
pub(super) const SCHEMA: &[&str] = &[
    "CREATE TABLE users (id serial PRIMARY KEY, name text NOT NULL, note text)",
    "CREATE TABLE games (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, owner int REFERENCES users, data jsonb)",
    "CREATE INDEX games_data ON games USING gin (data)",
    "INSERT INTO users (name, note) SELECT 'player ' || i, E'line\\nwith \\\\. and \\t tab ' || md5(i::text) FROM generate_series(1, 3000) i",
    "INSERT INTO games (owner, data) SELECT i, jsonb_build_object('score', i, 'text', repeat('x', i % 50)) FROM generate_series(1, 3000) i",
    "CREATE MATERIALIZED VIEW best AS SELECT max((data->>'score')::int) AS score FROM games",
    "CREATE FUNCTION restore_me() RETURNS text LANGUAGE sql AS $f$ SELECT '\\! not a command' $f$",
];

pub(super) struct Rig {
    pub(super) server: &'static PgServer,
    pub(super) database: String,
    pub(super) postgres: Postgres,
    pub(super) folder: TempDir,
    pub(super) run: RunId,
}

impl Rig {
    pub(super) async fn new() -> Self {
        let server = PgServer::shared();
        let database = server.database("jmb").await;
        server.sql(&database, SCHEMA).await;
        Self::of(server, database).await
    }

    pub(super) async fn of(server: &'static PgServer, database: String) -> Self {
        Self {
            postgres: server.open(&database).await,
            server,
            database,
            folder: tempfile::tempdir().expect("tempdir"),
            run: RunId::generate(),
        }
    }

    pub(super) fn directory(&self) -> PathBuf {
        self.folder.path().join("backups")
    }

    pub(super) async fn backups(&self) -> Backups {
        self.backups_with(json!({})).await
    }

    pub(super) async fn backups_with(&self, more: Value) -> Backups {
        let mut config = json!({ "directory": self.directory(), "key": format!("{KEY}\n") });
        for (name, value) in more.as_object().expect("object") {
            config[name] = value.clone();
        }
        open(config).await
    }

    pub(super) fn request(&self) -> CreateRequest {
        CreateRequest {
            database: self.database.clone(),
            label: None,
            pin: None,
            release: None,
            format: DumpFormat::Custom,
            level: Level::Archive,
            allow_empty: false,
            lock_wait: std::time::Duration::from_secs(30),
            step: "create".parse().expect("step"),
            run: self.run.to_string(),
            idempotency_key: RunId::generate().to_string(),
        }
    }

    pub(super) fn restore(&self, backup: &BackupName, target: Target) -> RestoreRequest {
        let step = "restore".parse().expect("step");
        RestoreRequest {
            backup: backup.clone(),
            sha256: None,
            from: Vec::new(),
            database: self.database.clone(),
            target,
            copy: copy_name(&self.database, &self.run, &step),
            owners: Owners::Auto,
            step,
            idempotency_key: "deed".to_owned(),
        }
    }

    /// A restore beside its database.
    pub(super) fn meant(&self, owners: Owners) -> Meant<'_> {
        Meant {
            database: &self.database,
            target: Target::Aside,
            owners,
        }
    }

    pub(super) async fn create(&self, backups: &Backups) -> Created {
        let created = backups.create(&self.postgres, &self.request(), &tools(), &Silent).await;
        created.unwrap_or_else(|error| panic!("{:?}", error.summary()))
    }

    pub(super) async fn aside(&self, backups: &Backups, backup: &BackupName) -> Result<Restored, StepError> {
        backups
            .restore(&self.postgres, &self.restore(backup, Target::Aside), &tools(), &Silent)
            .await
    }

    pub(super) async fn inventory(&self, database: &str) -> Inventory {
        let mut inventory = self
            .postgres
            .reader()
            .inventory(database, CountMode::Exact, None)
            .await
            .expect("inventory");
        // What two equal databases differ in.
        inventory.taken_at.clear();
        inventory.database.clear();
        inventory.size_bytes = 0;
        inventory
    }

    /// No copy of a database is left on the server.
    pub(super) async fn assert_no_copy(&self) {
        let copy = self
            .restore(&"a_20240115_020000.sql.gpg".parse().expect("name"), Target::Aside)
            .copy;
        assert_eq!(
            self.postgres.reader().find_database(&copy).await.expect("look"),
            None,
            "{copy}"
        );
    }

    pub(super) fn files(&self) -> Vec<String> {
        files(&self.directory())
    }
}

pub(super) fn files(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut files: Vec<String> = entries
        .map(|entry| entry.file_name().into_string().expect("text"))
        .collect();
    files.retain(|file| file != ".jm-location");
    files.sort();
    files
}

pub(super) async fn open(config: Value) -> Backups {
    let cx = OpenContext {
        secrets: Secrets::new(),
        environment: Environment::default(),
        run: RunId::generate(),
    };
    Backups::open(serde_json::from_value(config).expect("config"), &cx)
        .await
        .expect("open")
}

pub(super) fn tools() -> Toolbox {
    tools_on("/usr/bin:/bin")
}

pub(super) fn tools_on(path: &str) -> Toolbox {
    Toolbox {
        supervisor: Supervisor::none(),
        environment: Environment::new([
            ("PATH".to_owned(), path.to_owned()),
            ("HOME".to_owned(), "/nonexistent".to_owned()),
        ]),
    }
}

/// Remembers what it is told.
#[derive(Default, Clone)]
pub(super) struct Heard {
    pub(super) degraded: Arc<Mutex<Vec<String>>>,
    pub(super) logged: Arc<Mutex<Vec<String>>>,
}

impl Heard {
    pub(super) fn degraded(&self) -> Vec<String> {
        self.degraded.lock().expect("lock").clone()
    }
}

impl Observer for Heard {
    fn log(&self, line: String) -> BoxFuture<'_, ()> {
        self.logged.lock().expect("lock").push(line);
        ready(()).boxed()
    }
    fn degraded(&self, reason: String) -> BoxFuture<'_, Result<(), StepError>> {
        self.degraded.lock().expect("lock").push(reason);
        ready(Ok(())).boxed()
    }
}

/// Runs a shell script as an operator would.
#[expect(clippy::disallowed_methods, reason = "tests run what an operator would type")]
pub(super) fn shell(script: &str, variables: &[(&str, &str)]) -> Output {
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", script])
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("bash");
    assert!(
        output.status.success(),
        "{script}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

pub(super) const GPG: &str = "gpg --batch --quiet --no-options --pinentry-mode loopback --homedir \"$HOME_OF_GPG\" --passphrase-file <(printf %s \"$KEY\")";

/// The same with gpg's own folder, and the variables that it and PostgreSQL's programs need.
pub(super) fn operator(rig: &Rig, script: &str) -> Output {
    let home = rig.folder.path().join("gnupg");
    std::fs::create_dir_all(&home).expect("folder");
    let home = home.display().to_string();
    let directory = rig.directory();
    std::fs::create_dir_all(&directory).expect("folder");
    let url = rig.server.url(&rig.database);
    let script = script.replace("GPG", GPG);
    let directory = directory.display().to_string();
    shell(
        &script,
        &[("HOME_OF_GPG", &home), ("KEY", KEY), ("URL", &url), ("DIR", &directory)],
    )
}
