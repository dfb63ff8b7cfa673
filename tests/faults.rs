//! What goes wrong, through the command line: each ends with an error that names what to do and with the exit code of the
//! table, and the old database goes on serving where it lived still.

use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use jm_sandbox::journeyman::{DATABASE, Fingerprint, REPLICAS};

use crate::environment::{World, has_words, said};

mod backups;
mod damage;
mod disk;
mod others;
mod replaced;
mod server;
mod webhook;
mod writers;

/// The database as it serves, and its application.
struct Served(Fingerprint);

impl Served {
    fn by(world: &World) -> Result<Self> {
        Ok(Self(world.fingerprint()?))
    }

    /// The same database serves the same data to as many pods, and nothing else was left behind.
    fn still(&self, world: &World) -> Result<()> {
        ensure!(world.fingerprint()? == self.0, "the old database serves other data");
        ensure!(
            world.ready_replicas()? == REPLICAS,
            "the application has other replicas"
        );
        let databases = world.databases()?;
        ensure!(databases == [DATABASE], "left behind: {databases:?}");
        Ok(())
    }
}

/// While data is served, a recovery has to be told how much of it may be lost.
const ACCEPT: [&str; 2] = ["--accept-data-loss", "1d"];

/// A recovery of a database that serves still.
fn recover(world: &World) -> Command {
    let mut command = world.recover();
    command.args(ACCEPT);
    command
}

/// Ends with this code, and says all of these words.
fn ends(command: &mut Command, code: i32, words: &[&str]) -> Result<Output> {
    let output = command.output()?;
    let text = said(&output);
    ensure!(output.status.code() == Some(code), "not {code}: {text}");
    for word in words {
        ensure!(has_words(&text, word), "`{word}` is not said: {text}");
    }
    Ok(output)
}

/// From here on the database belongs to a role that is no superuser and may create databases, and jm comes as that role: the
/// least that a recovery asks for. Gives its name.
fn as_owner(world: &mut World) -> Result<&'static str> {
    let (role, password) = ("app", "a-password-of-its-own");
    world.query(
        "postgres",
        &format!("CREATE ROLE {role} LOGIN NOSUPERUSER CREATEDB PASSWORD '{password}'"),
    )?;
    world.query("postgres", &format!("ALTER DATABASE {DATABASE} OWNER TO {role}"))?;
    world.query("postgres", &format!("GRANT pg_read_all_data TO {role}"))?;
    // What is inside belongs to the application's role.
    world.query("postgres", &format!("GRANT journeyman TO {role}"))?;
    let url = world.systems.variable("DATABASE_URL");
    let (_, place) = url.rsplit_once('@').context("a place")?;
    let url = format!("postgresql://{role}:{password}@{place}");
    world.systems.environment.insert("DATABASE_URL".to_owned(), url);
    Ok(role)
}

/// A sandbox with its backups on the disk alone.
fn without_bucket() -> Result<World> {
    let mut world = World::sandbox()?;
    world.systems.environment.remove("AWS_ENABLED");
    Ok(world)
}
