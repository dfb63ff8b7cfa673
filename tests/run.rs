//! Whole runs: on separately started servers, without what may be left out, and with what goes wrong.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use jm_sandbox::journeyman::REPLICAS;

use crate::environment::{World, journal, of_kind, said};

/// The database is lost and comes back; everything else is as it was.
fn recovers(world: &World) -> Result<()> {
    for statement in [
        "ALTER DATABASE journeyman_prod SET work_mem TO '9MB'",
        "ALTER DATABASE journeyman_prod SET app.mode TO 'of the canary'",
        "ALTER DATABASE journeyman_prod CONNECTION LIMIT 40",
        "GRANT CREATE ON DATABASE journeyman_prod TO pg_monitor",
        "COMMENT ON DATABASE journeyman_prod IS 'of Journeyman'",
    ] {
        world.query("postgres", statement)?;
    }
    let belongings = || {
        world.query(
            "postgres",
            "SELECT datconnlimit, pg_get_userbyid(datdba), shobj_description(oid, 'pg_database'),
                (SELECT string_agg(acl::text, ' ' ORDER BY acl::text) FROM unnest(datacl) acl),
                (SELECT setconfig FROM pg_db_role_setting WHERE setdatabase = oid)
            FROM pg_database WHERE datname = 'journeyman_prod'",
        )
    };
    let name_has = belongings()?;
    world.back_up()?;
    let before = world.fingerprint()?;
    world.lose_database()?;
    let output = world.recover().output()?;
    ensure!(output.status.code() == Some(0), "{}", said(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        text.contains("completed") && text.contains("RTO 30m") && text.contains("RPO 24h"),
        "{text}"
    );
    ensure!(world.fingerprint()? == before, "the data is not what it was");
    ensure!(belongings()? == name_has, "{:?} was {name_has:?}", belongings()?);
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
    Ok(())
}

#[test]
fn a_lost_database_comes_back_on_real_servers() -> Result<()> {
    let world = World::real()?;
    recovers(&world)
}

#[test]
fn a_lost_database_comes_back_without_s3_and_webhook() -> Result<()> {
    let mut world = World::sandbox()?;
    for name in ["WEBHOOK_URL", "AWS_ENABLED", "BACKUP_S3_BUCKET"] {
        world.systems.environment.remove(name);
    }
    recovers(&world)
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

#[test]
fn a_signal_stops_a_run_that_resumes() -> Result<()> {
    let world = World::sandbox()?;
    world.back_up()?;
    let before = world.fingerprint()?;
    world.lose_database()?;
    let output = world.recover().args(["--until", "switch"]).output()?;
    ensure!(output.status.code() == Some(5), "{}", said(&output));
    let mut resume = world.jm();
    let mut child = resume
        .args(["plan", "resume", "--yes", "--confirm", "production"])
        .spawn()?;
    std::thread::sleep(std::time::Duration::from_millis(150));
    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status()?;
    let status = child.wait()?;
    ensure!(
        killed.success() && status.signal().is_none(),
        "it ended by the signal itself"
    );
    if status.code() == Some(5) {
        let output = world
            .jm()
            .args(["plan", "resume", "--yes", "--confirm", "production"])
            .output()?;
        ensure!(output.status.code() == Some(0), "{}", said(&output));
    }
    ensure!(
        world.fingerprint()? == before && world.ready_replicas()? == REPLICAS,
        "not as before"
    );
    Ok(())
}
