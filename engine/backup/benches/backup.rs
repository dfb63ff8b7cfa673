//! A backup and a restore of a database of about a gigabyte, beside what people run today, on the same server in the same
//! minutes: `cargo bench -p jm-backup` (`JM_BENCH_ROWS` rows, 3,000,000 unless said otherwise).

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use jm_backup::{
    Backups, CreateRequest, DumpFormat, Level, Owners, RestoreRequest, Silent, Target, Toolbox, copy_name,
};
use jm_client_postgres::test_server::PgServer;
use jm_step::process::Supervisor;
use jm_step::{Connection, Environment, OpenContext, RunId, Secrets};

const KEY: &str = "a passphrase of many words";

#[tokio::main]
async fn main() {
    let server = PgServer::start();
    let database = server.database("bench").await;
    Box::pin(fill(&server, &database)).await;
    let folder = tempfile::tempdir().expect("folder");
    let at = folder.path();
    let url = server.url(&database);
    let mut table = Vec::new();
    for (what, script) in [
        ("pg_dump to nowhere", "pg_dump \"$URL\" > /dev/null"),
        (
            "pg_dump -Fc -Z0 | zstd -T0 -3",
            "pg_dump -Fc -Z0 \"$URL\" | zstd -q -T0 -3 > \"$DIR/z\"",
        ),
        ("pg_dump -Fc", "pg_dump -Fc \"$URL\" > \"$DIR/c\""),
        (
            "pg_dump | gpg --symmetric",
            "pg_dump \"$URL\" | gpg $GPG --symmetric > \"$DIR/g\"",
        ),
    ] {
        table.push((what.to_owned(), shell(script, &url, at)));
    }
    let (mine, name, backups) = Box::pin(create(&server, &database, at)).await;
    table.extend(mine);
    table.push((
        "jm: restore".to_owned(),
        restore(&server, &database, &backups, name).await,
    ));
    for (what, script) in [
        ("pg_restore of -Fc", "pg_restore -d \"$TO\" \"$DIR/c\""),
        (
            "gpg --decrypt | psql",
            "gpg $GPG --decrypt \"$DIR/g\" | psql -X -q -o /dev/null \"$TO\"",
        ),
    ] {
        let to = server.database("to").await;
        let script = script.replace("$TO", &server.url(&to));
        table.push((what.to_owned(), shell(&script, &url, at)));
        server.sql("postgres", &[&format!("DROP DATABASE {to}")]).await;
    }
    report(&table, at);
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

#[expect(clippy::disallowed_methods, reason = "a bench runs what people run today")]
fn shell(script: &str, url: &str, folder: &Path) -> Duration {
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
        .env("URL", url)
        .env("DIR", folder)
        .env("GPG", gpg)
        .output()
        .expect("bash");
    assert!(
        output.status.success(),
        "{script}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    start.elapsed()
}

type Rows = Vec<(String, Duration)>;

async fn create(server: &PgServer, database: &str, folder: &Path) -> (Rows, jm_backup::BackupName, Backups) {
    let cx = OpenContext {
        secrets: Secrets::new(),
        environment: Environment::default(),
        run: RunId::generate(),
    };
    let config = serde_json::json!({ "directory": folder.join("backups"), "key": KEY });
    let backups = Backups::open(serde_json::from_value(config).expect("config"), &cx)
        .await
        .expect("open");
    let postgres = server.open(database).await;
    let mut rows = Vec::new();
    let mut name = None;
    for (format, level, what) in [
        (DumpFormat::Plain, Level::Checksum, "jm: create, plain, L1"),
        (DumpFormat::Custom, Level::Checksum, "jm: create, custom, L1"),
        (DumpFormat::Custom, Level::Archive, "jm: create, custom, read back (L3)"),
    ] {
        let request = CreateRequest {
            database: database.to_owned(),
            label: None,
            pin: None,
            format,
            level,
            allow_empty: false,
            lock_wait: Duration::from_mins(1),
            step: "create".parse().expect("step"),
            run: cx.run.to_string(),
            idempotency_key: what.to_owned(),
        };
        let start = Instant::now();
        let created = Box::pin(backups.create(&postgres, &request, &tools(), &Silent))
            .await
            .expect("created");
        rows.push((
            format!(
                "{what}, {} MB of {} MB",
                created.manifest.bytes.encrypted >> 20,
                created.manifest.bytes.raw >> 20
            ),
            start.elapsed(),
        ));
        name = Some(created.manifest.name);
    }
    (rows, name.expect("a backup"), backups)
}

async fn restore(server: &PgServer, database: &str, backups: &Backups, backup: jm_backup::BackupName) -> Duration {
    let (run, step) = (RunId::generate(), "restore".parse().expect("step"));
    let request = RestoreRequest {
        backup,
        sha256: None,
        from: Vec::new(),
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

fn report(table: &[(String, Duration)], folder: &Path) {
    let mut out = std::io::stderr().lock();
    for (what, took) in table {
        writeln!(out, "{:>8.2} s  {what}", took.as_secs_f64()).expect("stderr");
    }
    for (file, what) in [("z", "zstd -3"), ("c", "pg_dump -Fc"), ("g", "gpg")] {
        let bytes = folder.join(file).metadata().map_or(0, |meta| meta.len());
        writeln!(out, "{:>8} MB  {what}", bytes >> 20).expect("stderr");
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap_or_default();
    writeln!(out, "jm's {peak}").expect("stderr");
}
