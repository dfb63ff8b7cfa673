//! A backup and a restore of a database of about a gigabyte, beside what people run today, on the same server and the same
//! store in the same minutes: `cargo bench -p jm-backup` (`JM_BENCH_ROWS` rows, 3,000,000 unless said otherwise). The
//! store is the S3 server that `tests/services/s3` starts. It ends with 1 where a peer is missing, or where jm took more
//! memory than it may.

#![expect(clippy::disallowed_methods, reason = "a benchmark has a folder of its own")]

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use jm_backup::{
    Backups, CreateRequest, DumpFormat, Level, LocationName, Owners, RestoreRequest, Silent, Target, Toolbox, copy_name,
};
use jm_client_postgres::test_server::PgServer;
use jm_step::process::Supervisor;
use jm_step::{Connection, Environment, OpenContext, RunId, Secrets};

mod report;
mod store;
use report::{Row, Table};
use store::Store;

const KEY: &str = "a passphrase of many words";
const BUCKET: &str = jm_sandbox::journeyman::BUCKET;
/// No step may need more memory.
const MOST_MEMORY: u64 = 128 << 20;

/// What people run today to make a backup. `$DIR` is on the same disk as jm's.
const BACKUPS: [(&str, &str); 7] = [
    ("pg_dump to nowhere", "pg_dump \"$URL\" > /dev/null"),
    (
        "pg_dump -Fc -Z0 | zstd -T0 -3",
        "pg_dump -Fc -Z0 \"$URL\" | zstd -q -T0 -3 > \"$DIR/z\"",
    ),
    ("pg_dump -Fd -j2 -Z0", "pg_dump -Fd -j2 -Z0 -f \"$DIR/d\" \"$URL\""),
    ("pg_dump -Fc", "pg_dump -Fc \"$URL\" > \"$DIR/c\""),
    ("pg_dump to a plain file", "pg_dump \"$URL\" > \"$DIR/plain\""),
    (
        "pg_dump | gpg | aws s3 cp",
        "pg_dump \"$URL\" | gpg $GPG --symmetric | aws s3 cp --quiet - s3://$BUCKET/piped.gpg",
    ),
    (
        "pg_dump | gpg to a file, then aws s3 cp",
        "pg_dump \"$URL\" | gpg $GPG --symmetric > \"$DIR/g\"; aws s3 cp --quiet \"$DIR/g\" s3://$BUCKET/file.gpg",
    ),
];

/// What people run today to restore one.
const RESTORES: [(&str, &str); 6] = [
    (
        "aws s3 cp | gpg --decrypt | psql",
        "aws s3 cp --quiet s3://$BUCKET/piped.gpg - | gpg $GPG --decrypt | psql -X -q -o /dev/null \"$TO\"",
    ),
    (
        "psql -f of a plain file",
        "psql -X -q -o /dev/null -f \"$DIR/plain\" \"$TO\"",
    ),
    ("pg_restore of -Fc", "pg_restore -d \"$TO\" \"$DIR/c\""),
    ("pg_restore -j2 of -Fc", "pg_restore -j2 -d \"$TO\" \"$DIR/c\""),
    ("pg_restore -j2 of -Fd -Z0", "pg_restore -j2 -d \"$TO\" \"$DIR/d\""),
    ("pg_restore -j4 of -Fd -Z0", "pg_restore -j4 -d \"$TO\" \"$DIR/d\""),
];

#[tokio::main]
async fn main() -> ExitCode {
    let folder = tempfile::tempdir().expect("folder");
    let at = folder.path();
    let server = PgServer::start();
    let database = server.database("bench").await;
    Box::pin(fill(&server, &database)).await;
    let store = Store::start(&at.join("s3"));
    store.make_bucket().await;
    let url = server.url(&database);
    let mut table = Table::default();
    for (what, script) in BACKUPS {
        table.backups.push(shell(what, script, &url, "", at, &store));
    }
    let backups = open(at, &store).await;
    let (rows, name) = Box::pin(create(&server, &database, &backups)).await;
    table.backups.extend(rows);
    for (what, script) in RESTORES {
        let to = server.database("to").await;
        table
            .restores
            .push(shell(what, script, &url, &server.url(&to), at, &store));
        server.sql("postgres", &[&format!("DROP DATABASE {to}")]).await;
    }
    for (what, from) in [
        ("jm: restore from the directory", LocationName::Local),
        ("jm: restore from S3", LocationName::S3),
    ] {
        let took = Box::pin(restore(&server, &database, &backups, name.clone(), from)).await;
        table.restores.push(Row::jm(what, took));
    }
    ExitCode::from(u8::from(!table.print(at)))
}

async fn fill(server: &PgServer, database: &str) {
    let rows = environment("JM_BENCH_ROWS")
        .and_then(|rows| rows.parse().ok())
        .unwrap_or(3_000_000_u32);
    let sql = [
        "CREATE TABLE events (id bigint PRIMARY KEY, at timestamptz, kind text, data jsonb)".to_owned(),
        format!(
            "INSERT INTO events SELECT i, timestamptz '2024-01-01' + i * interval '1 s', 'kind ' || i % 20, \
             jsonb_build_object('score', i % 1000, 'name', 'player ' || i % 5000, 'note', md5(i::text), \
             'text', repeat('lorem ipsum ', i % 12)) FROM generate_series(1, {rows}) i"
        ),
        "CREATE INDEX events_data ON events USING gin (data jsonb_path_ops)".to_owned(),
    ];
    server
        .sql(database, &sql.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
}

#[expect(clippy::disallowed_methods, reason = "a bench is told its size by the environment")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Runs what people run; a program that is not installed is said, and leaves a gap in the table.
#[expect(clippy::disallowed_methods, reason = "a bench runs what people run today")]
fn shell(what: &'static str, script: &str, url: &str, to: &str, folder: &Path, store: &Store) -> Row {
    if script.contains("aws ") && !store::is_installed("aws") {
        return Row::missing(what, "aws is not installed");
    }
    let pass = folder.join("pass");
    std::fs::write(&pass, KEY).expect("write");
    let gpg = format!(
        "--batch --quiet --no-options --pinentry-mode loopback --homedir {} --passphrase-file {}",
        folder.display(),
        pass.display()
    );
    let start = Instant::now();
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", script])
        .envs(store.variables())
        .env("URL", url)
        .env("TO", to)
        .env("DIR", folder)
        .env("GPG", gpg)
        .env("BUCKET", BUCKET)
        .output()
        .expect("bash");
    assert!(
        output.status.success(),
        "{script}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Row::peer(what, start.elapsed())
}

async fn open(folder: &Path, store: &Store) -> Backups {
    let cx = OpenContext {
        secrets: Secrets::new(),
        environment: Environment::new(store.variables()),
        run: RunId::generate(),
    };
    let config = serde_json::json!({
        "directory": folder.join("backups"), "key": KEY, "s3": { "enabled": true, "bucket": BUCKET },
    });
    let config = serde_json::from_value(config).expect("config");
    Backups::open(config, &cx).await.expect("open")
}

/// Into the directory and the bucket at once, as a run does.
async fn create(server: &PgServer, database: &str, backups: &Backups) -> (Vec<Row>, jm_backup::BackupName) {
    let postgres = server.open(database).await;
    let mut rows = Vec::new();
    let mut name = None;
    for (format, level, what) in [
        (
            DumpFormat::Plain,
            Level::Checksum,
            "jm: create, plain, to directory and S3, L1",
        ),
        (
            DumpFormat::Custom,
            Level::Checksum,
            "jm: create, custom, to directory and S3, L1",
        ),
        (
            DumpFormat::Custom,
            Level::Archive,
            "jm: create, custom, to directory and S3, read back (L3)",
        ),
    ] {
        let request = CreateRequest {
            database: database.to_owned(),
            label: None,
            pin: None,
            release: None,
            format,
            level,
            allow_empty: false,
            lock_wait: Duration::from_mins(1),
            step: "create".parse().expect("step"),
            run: RunId::generate().to_string(),
            idempotency_key: what.to_owned(),
        };
        let start = Instant::now();
        let created = Box::pin(backups.create(&postgres, &request, &tools(), &Silent))
            .await
            .expect("created");
        rows.push(Row::jm(what, start.elapsed()).sized(created.manifest.bytes.encrypted, created.manifest.bytes.raw));
        name = Some(created.manifest.name);
    }
    (rows, name.expect("a backup"))
}

async fn restore(
    server: &PgServer,
    database: &str,
    backups: &Backups,
    backup: jm_backup::BackupName,
    from: LocationName,
) -> Duration {
    let (run, step) = (RunId::generate(), "restore".parse().expect("step"));
    let request = RestoreRequest {
        backup,
        sha256: None,
        from: vec![from],
        database: database.to_owned(),
        target: Target::Aside,
        copy: copy_name(database, &run, &step),
        owners: Owners::Auto,
        step,
        idempotency_key: "deed".to_owned(),
    };
    let start = Instant::now();
    let postgres = server.open(database).await;
    let restored = Box::pin(backups.restore(&postgres, &request, &tools(), &Silent))
        .await
        .expect("restored");
    let took = start.elapsed();
    server
        .sql("postgres", &[&format!("DROP DATABASE {}", restored.database)])
        .await;
    took
}

fn tools() -> Toolbox {
    Toolbox {
        supervisor: Supervisor::none(),
        environment: Environment::new([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
    }
}
