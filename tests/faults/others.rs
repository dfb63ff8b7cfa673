//! What belongs to others: backups of another database, and sessions of roles that ours may not touch.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use jm_sandbox::journeyman::DATABASE;

use super::{ACCEPT, Served, as_owner, ends, recover, without_bucket};
use crate::environment::{World, said};

/// A recovery of staging whose backups are those of production.
#[test]
fn the_backup_of_another_database_is_not_restored_over_this_one() -> Result<()> {
    let mut world = without_bucket()?;
    world.back_up()?;
    let served = Served::by(&world)?;
    world.query("postgres", "CREATE DATABASE staging")?;
    world.query("staging", "CREATE TABLE users AS SELECT 'staging' AS name")?;
    let url = world.systems.variable("DATABASE_URL").replace(DATABASE, "staging");
    world.systems.environment.insert("DATABASE_URL".to_owned(), url);
    let meant = format!("is a backup of database `{DATABASE}`, and `staging` is meant");
    let way_out = format!("-i database_name={DATABASE}");
    ends(recover(&world).arg("--dry-run"), 10, &["WOULD FAIL", &meant, &way_out])?;
    ends(&mut recover(&world), 10, &[&meant, &way_out])?;
    // Whoever means it says so, and reads what comes of it.
    let asked = ["-i", &format!("database_name={DATABASE}")];
    let into = format!("backup of `{DATABASE}` into `staging`");
    ends(recover(&world).args(asked).arg("--dry-run"), 0, &[&into])?;
    ends(recover(&world).args(asked), 0, &[])?;
    let rows = |database: &str| -> Result<Vec<String>> {
        let url = world.systems.variable("DATABASE_URL").replace("staging", database);
        let output = Command::new("psql")
            .args(["-XAtd", &url, "-c", "SELECT count(*) FROM users"])
            .output()?;
        ensure!(output.status.success(), "{}", said(&output));
        Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
    };
    ensure!(rows("staging")? == rows(DATABASE)?, "other rows");
    let url = world.systems.variable("DATABASE_URL").replace("staging", DATABASE);
    world.systems.environment.insert("DATABASE_URL".to_owned(), url);
    ensure!(world.fingerprint()? == served.0, "production is another");
    Ok(())
}

/// A session of a role in the database, which stays until the value is dropped.
struct Stays(std::process::Child);

impl Stays {
    fn of(world: &World, role: &str) -> Result<Self> {
        let password = "another-password";
        world.query("postgres", &format!("CREATE ROLE {role} LOGIN PASSWORD '{password}'"))?;
        let url = world.systems.variable("DATABASE_URL");
        let (_, place) = url.rsplit_once('@').context("a place")?;
        let url = format!("postgresql://{role}:{password}@{place}");
        let mut psql = Command::new("psql");
        world.enter(&mut psql);
        let child = psql
            .args(["-XAtqd", &url, "-c", "SELECT pg_sleep(600)"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let stays = Self(child);
        let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{role}' AND datname = '{DATABASE}'");
        for _ in 0..200 {
            if world.query("postgres", &sql)? == ["1"] {
                return Ok(stays);
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        anyhow::bail!("the session of {role} does not come in")
    }
}

impl Drop for Stays {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_session_that_our_role_may_not_end_is_told_and_the_application_runs_again() -> Result<()> {
    let mut world = without_bucket()?;
    world.back_up()?;
    let _stays = Stays::of(&world, "reader")?;
    let served = Served::by(&world)?;
    let admin = world.systems.variable("DATABASE_URL").to_owned();
    let role = as_owner(&mut world)?;
    let words = [
        format!("role `{role}` may not end sessions in database `{DATABASE}`: 1 session of role `reader`"),
        format!("GRANT pg_signal_backend TO \"{role}\""),
    ];
    ends(
        recover(&world).arg("--dry-run"),
        4,
        &["WOULD FAIL", &words[0], &words[1]],
    )?;
    ends(&mut recover(&world), 4, &[&words[0], &words[1]])?;
    world.systems.environment.insert("DATABASE_URL".to_owned(), admin);
    served.still(&world)
}

/// Says something to the server as who may say everything.
fn by_admin(world: &mut World, admin: &str, sql: &str) -> Result<()> {
    let url = "DATABASE_URL".to_owned();
    let ours = world.systems.environment.insert(url.clone(), admin.to_owned());
    let said = world.query("postgres", sql).map(drop);
    world.systems.environment.insert(url, ours.context("a URL")?);
    said
}

/// An application that has taken all places is no lost database: nobody but a superuser could look into it.
#[test]
fn a_database_with_no_place_left_is_not_taken_for_a_lost_one_and_its_owner_recovers_it() -> Result<()> {
    let mut world = without_bucket()?;
    world.back_up()?;
    let stays = Stays::of(&world, "reader")?;
    let served = Served::by(&world)?;
    let admin = world.systems.variable("DATABASE_URL").to_owned();
    let role = as_owner(&mut world)?;
    let limit = |limit: i32| format!("ALTER DATABASE {DATABASE} CONNECTION LIMIT {limit}");
    world.query("postgres", &limit(1))?;
    ends(recover(&world).arg("--dry-run"), 4, &["WOULD FAIL", "SQLSTATE 53300"])?;
    ends(&mut recover(&world), 4, &["SQLSTATE 53300", "raise `max_connections`"])?;
    world.query("postgres", &limit(-1))?;
    served.still(&world)?;

    // A session that sleeps does not see that its client is gone.
    drop(stays);
    let end = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'reader'";
    by_admin(&mut world, &admin, end)?;
    // What the backup holds belongs to the application's role, and comes back as that role's: asked beforehand.
    let (join, leave) = (
        format!("GRANT journeyman TO {role}"),
        format!("REVOKE journeyman FROM {role}"),
    );
    by_admin(&mut world, &admin, &leave)?;
    let missing = "has not the rights of journeyman";
    ends(
        recover(&world).arg("--dry-run"),
        4,
        &["WOULD FAIL", missing, "-i owners=none"],
    )?;
    ends(&mut recover(&world), 4, &["failed `find`", missing, "-i owners=none"])?;
    served.still(&world)?;
    by_admin(&mut world, &admin, &join)?;
    ends(&mut recover(&world), 0, &["completed"])?;
    let databases = world.databases()?;
    ensure!(
        databases.len() == 2 && databases.iter().any(|name| name.contains("_old_")),
        "the old database was not kept: {databases:?}"
    );
    let owned_by = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()";
    ensure!(world.query(DATABASE, owned_by)? == [role], "another owns it now");

    // The way out that was named is one.
    by_admin(&mut world, &admin, &leave)?;
    let left_out = "owners and grants were left out, as was asked for";
    let without = ["-i", "owners=none"];
    ends(
        recover(&world).args(without).arg("--dry-run"),
        0,
        &["WOULD END DEGRADED", left_out],
    )?;
    ends(recover(&world).args(without), 9, &[left_out])?;
    let owners = "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE oid >= 16384";
    ensure!(world.query(DATABASE, owners)? == [role], "they were not left out");
    Ok(())
}

/// Whether sessions are let into the old database.
fn is_open(world: &World) -> Result<bool> {
    let sql = format!("SELECT datallowconn FROM pg_database WHERE datname = '{DATABASE}'");
    Ok(world.query("postgres", &sql)? == ["t"])
}

#[test]
fn a_database_that_somebody_closed_stays_closed_where_the_switch_fails() -> Result<()> {
    let world = World::sandbox()?;
    world.back_up()?;
    world.query(
        "postgres",
        &format!("ALTER DATABASE {DATABASE} ALLOW_CONNECTIONS false"),
    )?;
    ends(recover(&world).args(["--until", "analyze"]), 5, &[])?;
    // The copy goes away under the run.
    let databases = world.databases()?;
    let copy = databases.iter().find(|name| name.contains("_jmr_")).context("a copy")?;
    world.query("postgres", &format!("ALTER DATABASE {copy} RENAME TO hidden"))?;
    ends(world.resume().args(ACCEPT), 4, &["switch"])?;
    ensure!(!is_open(&world)?, "jm opened what somebody had closed");
    world.query("postgres", &format!("ALTER DATABASE hidden RENAME TO {copy}"))?;
    ends(world.resume().args(ACCEPT), 0, &[])?;
    ensure!(is_open(&world)?, "the restored database is closed");
    Ok(())
}
