//! Whole runs: on separately started servers, with all that the targets name and without what may be left out; and with
//! backups that others read and wrote.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use jm_sandbox::journeyman::{BUCKET, REPLICAS};
use serde_json::Value;

use crate::environment::{World, journal, of_kind, said};

/// The database is lost and comes back; everything else is as it was. Gives the records of the run.
fn recovers(world: &World) -> Result<Vec<Value>> {
    for statement in [
        "ALTER DATABASE journeyman_prod SET work_mem TO '9MB'",
        "ALTER DATABASE journeyman_prod SET app.mode TO 'of the canary'",
        "ALTER DATABASE journeyman_prod CONNECTION LIMIT 40",
        "GRANT CREATE ON DATABASE journeyman_prod TO pg_monitor",
        "COMMENT ON DATABASE journeyman_prod IS 'of Journeyman'",
    ] {
        world.query("postgres", statement)?;
    }
    let name_has = world.belongings()?;
    world.back_up()?;
    let before = (world.fingerprint()?, world.workloads()?);
    world.lose_database()?;
    let output = world.recover().output()?;
    ensure!(output.status.code() == Some(0), "{}", said(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        text.contains("completed") && text.contains("RTO 30m") && text.contains("RPO 24h"),
        "{text}"
    );
    ensure!(
        (world.fingerprint()?, world.workloads()?) == before,
        "data or application are not what they were"
    );
    let has_now = world.belongings()?;
    ensure!(has_now == name_has, "{has_now:?} was {name_has:?}");
    ensure!(
        world.ready_replicas()? == REPLICAS,
        "the application has other replicas than before"
    );
    ensure!(world.databases()? == ["journeyman_prod"], "{:?}", world.databases()?);
    let records = journal(&world.state())?;
    let switched = of_kind(&records, "step-succeeded")
        .into_iter()
        .filter(|record| record["step"] == "switch")
        .count();
    ensure!(switched == 1, "switched {switched} times");
    Ok(records)
}

/// Every file below a folder with its content, by its name alone.
fn files_below(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut found = BTreeMap::new();
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Ok(found);
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(files_below(&entry.path())?);
        } else {
            let name = entry.file_name().to_string_lossy().into_owned();
            found.insert(name, std::fs::read(entry.path())?);
        }
    }
    Ok(found)
}

/// What the S3 server keeps in the bucket, as it lies on its disk.
fn in_bucket(world: &World) -> Result<BTreeMap<String, Vec<u8>>> {
    files_below(&world.folder().join("s3/data").join(BUCKET))
}

#[test]
fn a_lost_database_comes_back_on_real_servers() -> Result<()> {
    let world = World::real()?;
    let records = recovers(&world)?;
    // People were told when it began and when it was done, of this run and nothing else.
    let told: Vec<_> = world.told()?.into_iter().map(|delivery| delivery.body).collect();
    let said: Vec<_> = told
        .iter()
        .map(|body| (body["step"].as_str(), body["status"].as_str()))
        .collect();
    ensure!(
        said == [(Some("announce"), Some("started")), (Some("tell"), Some("completed"))]
            && told.iter().all(|body| body["run"] == records[0]["run"]["id"]),
        "{told:?}"
    );
    // Both locations hold the same backup, with what is known of it.
    let local = files_below(Path::new(world.systems.variable("BACKUP_DIR")))?;
    let there = in_bucket(&world)?;
    let ends = |end: &str| there.keys().filter(|name| name.ends_with(end)).count();
    ensure!(ends(".gpg") == 1 && ends(".manifest.json") == 1, "{:?}", there.keys());
    for (name, content) in &there {
        ensure!(local.get(name) == Some(content), "{name} differs from the local copy");
    }
    Ok(())
}

#[test]
fn a_lost_database_comes_back_without_s3_and_webhook() -> Result<()> {
    let mut world = World::real()?;
    for name in ["WEBHOOK_URL", "AWS_ENABLED", "BACKUP_S3_BUCKET"] {
        world.systems.environment.remove(name);
    }
    let records = recovers(&world)?;
    let skipped: Vec<_> = of_kind(&records, "step-skipped")
        .iter()
        .map(|record| record["step"].as_str())
        .collect();
    for step in ["announce", "tell"] {
        ensure!(skipped.contains(&Some(step)), "{step} was not skipped: {skipped:?}");
    }
    let (told, there) = (world.told()?, in_bucket(&world)?);
    ensure!(told.is_empty() && there.is_empty(), "{told:?} {:?}", there.keys());
    Ok(())
}

#[test]
fn gpg_opens_what_jm_wrote_and_jm_restores_what_gpg_wrote() -> Result<()> {
    let world = World::sandbox()?;
    let backups = std::path::PathBuf::from(world.systems.variable("BACKUP_DIR"));
    let key = world.folder().join("key");
    std::fs::write(&key, world.systems.variable("ENCRYPTION_KEY"))?;
    let gpg = |arguments: &str| -> Result<std::process::Output> {
        let home = world.folder().join("gnupg");
        std::fs::create_dir_all(&home)?;
        let script = format!(
            "gpg --homedir '{}' --batch --pinentry-mode loopback --passphrase-file '{}' {arguments}",
            home.display(),
            key.display()
        );
        let mut shell = Command::new("sh");
        world.enter(&mut shell);
        Ok(shell.args(["-c", &script]).output()?)
    };
    world.back_up()?;
    let written = std::fs::read_dir(&backups)?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|end| end == "gpg"));
    let written = written.context("a backup")?;
    let opened = gpg(&format!("--decrypt '{}'", written.display()))?;
    ensure!(
        opened.status.success() && opened.stdout.starts_with(b"PGDMP"),
        "gpg: {}",
        String::from_utf8_lossy(&opened.stderr)
    );

    // A plain dump, as the procedures page makes and names it, a day older than everything else.
    let before = world.fingerprint()?;
    let plain = world.folder().join("plain.sql");
    let mut dump = Command::new("pg_dump");
    world.enter(&mut dump);
    let dumped = dump
        .args(["-d", world.systems.variable("DATABASE_URL"), "-f"])
        .arg(&plain)
        .output()?;
    ensure!(dumped.status.success(), "{}", said(&dumped));
    let named = "journeyman_backup_20260101_020000.sql.gpg";
    let encrypted = gpg(&format!(
        "--symmetric --cipher-algo AES256 -o '{}' '{}'",
        backups.join(named).display(),
        plain.display()
    ))?;
    ensure!(encrypted.status.success(), "{}", said(&encrypted));
    world.lose_database()?;
    let output = world
        .recover()
        .args(["-i", &format!("backup={named}"), "--accept-data-loss", "3650d"])
        .output()?;
    // Done, and the RPO was missed: the file says that it is from January.
    ensure!(output.status.code() == Some(9), "{}", said(&output));
    ensure!(world.fingerprint()? == before, "the data is not what it was");
    Ok(())
}
