//! A backup passes through in bounded memory, there and back, whatever its size. In a program of its own, for the kernel
//! counts the memory of a whole process.

#![expect(clippy::disallowed_methods, reason = "the kernel tells of memory by a file")]

use jm_backup::{Backups, CreateRequest, DumpFormat, Level, Silent, Target, Toolbox, copy_name};
use jm_client_postgres::test_server::PgServer;
use jm_step::process::Supervisor;
use jm_step::{Connection, Environment, OpenContext, RunId, Secrets};

/// What no step may need more of.
const MOST: u64 = 128 << 20;

/// The most memory that this process ever had, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("status");
    let line = status.lines().find(|line| line.starts_with("VmHWM")).expect("VmHWM");
    line.split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse::<u64>().ok())
        .expect("number")
        << 10
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_backup_needs_no_large_memory() {
    let server = PgServer::start();
    let database = server.database("large").await;
    // About 400 MB of dump, of which compression makes little; one value alone has 60 MB.
    let fill = [
        "CREATE TABLE rows AS SELECT i, md5(i::text) || md5((i * 7)::text) || md5((i * 13)::text) AS text FROM generate_series(1, 3000000) i",
        "CREATE TABLE wide AS SELECT string_agg(md5(i::text), '') AS text FROM generate_series(1, 1900000) i",
    ];
    server.sql(&database, &fill).await;
    let folder = tempfile::tempdir().expect("folder");
    let cx = OpenContext {
        secrets: Secrets::new(),
        environment: Environment::default(),
        run: RunId::generate(),
    };
    let config = serde_json::json!({ "directory": folder.path().join("b"), "key": "a passphrase of many words" });
    let backups = Backups::open(serde_json::from_value(config).expect("config"), &cx)
        .await
        .expect("open");
    let postgres = server.open(&database).await;
    let tools = Toolbox {
        supervisor: Supervisor::none(),
        environment: Environment::new([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
    };
    let step: jm_step::StepId = "step".parse().expect("step");
    let request = CreateRequest {
        database: database.clone(),
        label: None,
        pin: None,
        release: None,
        format: DumpFormat::Custom,
        level: Level::Archive,
        allow_empty: false,
        lock_wait: std::time::Duration::from_secs(30),
        step: step.clone(),
        run: cx.run.to_string(),
        idempotency_key: "deed".to_owned(),
    };
    let created = backups
        .create(&postgres, &request, &tools, &Silent)
        .await
        .expect("created");
    assert!(created.manifest.bytes.raw > 350 << 20, "{:?}", created.manifest.bytes);
    let restore = jm_backup::RestoreRequest {
        backup: created.manifest.name.clone(),
        sha256: None,
        from: Vec::new(),
        copy: copy_name(&database, &cx.run, &step),
        database,
        target: Target::Aside,
        owners: jm_backup::Owners::Auto,
        step,
        idempotency_key: "deed".to_owned(),
    };
    let restored = backups
        .restore(&postgres, &restore, &tools, &Silent)
        .await
        .expect("restored");
    assert_eq!(restored.bytes, created.manifest.bytes.raw);
    let peak = peak();
    assert!(peak < MOST, "{} MiB", peak >> 20);
}
