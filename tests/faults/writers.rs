//! Somebody that no plan names writes into the old database while it is being replaced.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{ends, recover};
use crate::environment::World;

/// Comes in, writes a row, goes, and comes again, until it is told to stop. Gives how many rows the server took.
fn write_until(stop: &AtomicBool, world: &World, url: &str) -> Result<usize> {
    let mut taken = 0;
    let sql = "INSERT INTO audit_logs (action, created_at) VALUES ('foreign', now())";
    while !stop.load(Ordering::SeqCst) {
        let mut psql = Command::new("psql");
        world.enter(&mut psql);
        psql.env("PGAPPNAME", "foreign").args(["-XAtqd", url, "-c", sql]);
        taken += usize::from(psql.output()?.status.success());
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(taken)
}

#[test]
fn rows_that_somebody_writes_after_the_safety_backup_are_not_lost_without_a_word() -> Result<()> {
    let world = World::sandbox()?;
    world.back_up()?;
    let url = world.systems.variable("DATABASE_URL").to_owned();
    let stop = AtomicBool::new(false);
    let (ended, taken) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| write_until(&stop, &world, &url));
        let words = ["written into the old database", "in `public.audit_logs`", "_old_"];
        let ended = ends(&mut recover(&world), 9, &words);
        stop.store(true, Ordering::SeqCst);
        (ended, writer.join())
    });
    let taken = taken.map_err(|_| anyhow::anyhow!("the writer panicked"))??;
    ended?;
    let databases = world.databases()?;
    let old = databases
        .iter()
        .find(|name| name.contains("_old_"))
        .context("the old database")?;
    let rows = |database: &str| -> Result<usize> {
        let sql = "SELECT count(*) FROM audit_logs WHERE action = 'foreign'";
        Ok(world.query(database, sql)?.first().context("a count")?.parse()?)
    };
    let (kept, new) = (rows(old)?, rows("journeyman_prod")?);
    // A client whose session is ended right after its row was taken does not hear that it was.
    ensure!(kept > 0 && kept + new >= taken, "{kept} kept and {new} new of {taken}");
    Ok(())
}
