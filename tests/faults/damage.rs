//! A database that serves, and is too damaged to be saved.

use anyhow::{Context, Result, ensure};
use jm_sandbox::journeyman::{DATABASE, REPLICAS};

use super::{ACCEPT, ends, recover, without_bucket};
use crate::environment::{World, said};

/// A table whose file is not there: the server serves the others.
fn lose_a_file(world: &World) -> Result<()> {
    world.query(DATABASE, "CREATE TABLE broken AS SELECT 1 AS n")?;
    world.query(DATABASE, "CHECKPOINT")?;
    world.query(
        DATABASE,
        "UPDATE pg_class SET relfilenode = 2000000000 WHERE relname = 'broken'",
    )?;
    Ok(())
}

#[test]
fn a_database_too_damaged_to_be_saved_is_restored_once_a_person_says_so() -> Result<()> {
    let world = without_bucket()?;
    world.back_up()?;
    let data = world.fingerprint()?;
    lose_a_file(&world)?;
    let way = [
        "could not open file",
        "jm run skip safety --reason",
        "jm plan resume",
        "`safety`",
    ];
    let failed = ends(&mut recover(&world), 4, &way)?;
    ensure!(
        world.databases()? == [DATABASE] && world.ready_replicas()? == REPLICAS,
        "the old database does not serve on: {}",
        said(&failed)
    );
    // By itself a resume does not come further.
    ends(world.resume().args(ACCEPT), 4, &way)?;

    // The way that is named works.
    let reason = "a file of it is gone";
    ends(world.jm().args(["run", "skip", "safety", "--reason", reason]), 0, &[])?;
    let output = ends(world.resume().args(ACCEPT), 9, &["degraded complete-db-loss", reason])?;
    let text = said(&output);
    ensure!(
        world.fingerprint()? == data,
        "the data is not that of the backup: {text}"
    );
    ensure!(
        world.ready_replicas()? == REPLICAS,
        "the application does not run: {text}"
    );
    let databases = world.databases()?;
    let kept = databases.iter().find(|name| name.contains("_old_"));
    let kept = kept.with_context(|| format!("the damaged one is not kept: {databases:?}"))?;
    ensure!(
        world.query(kept, "SELECT count(*) FROM users")?.len() == 1,
        "it cannot be read any more"
    );
    Ok(())
}
