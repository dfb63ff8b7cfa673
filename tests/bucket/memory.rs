//! What memory a restore takes, whatever the number of versions.

use std::sync::atomic::Ordering;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::Amounts;
use crate::beside::in_memory;
use crate::endless::{BETWEEN, OF_KEY, serve};
use crate::server::Server;

/// The most that the binary may take, in bytes.
const MOST: u64 = 256 << 20;
/// What it may take more for ten times as many versions, in bytes: what an allocator keeps, and no list of keys.
const FLAT: u64 = 24 << 20;

pub(crate) fn measure(server: &Server, amounts: Amounts) -> Result<bool> {
    let few = restored(server, amounts.versions / 10)?;
    let many = restored(server, amounts.versions)?;
    let mut met = in_memory("jm's memory for all versions", many, MOST);
    met &= in_memory("jm's memory beside that for a tenth of them", many, few + FLAT);
    Ok(met)
}

/// The memory at its peak, in bytes, while the keys that have so many versions are brought back.
fn restored(server: &Server, versions: usize) -> Result<u64> {
    let keys = versions / OF_KEY;
    let (endpoint, asked) = serve(keys)?;
    let (ran, output) = server.jm_at(
        Some(&endpoint),
        "s3.restore_versions",
        &format!("endless-{versions}"),
        &json!({ "as_of": BETWEEN }),
    )?;
    ensure!(output["versions"] == versions, "{output:#}");
    let (undeleted, copied) = (keys.div_ceil(2), keys / 2);
    ensure!(
        output["undeleted"] == undeleted && output["copied_back"] == copied,
        "{output:#}"
    );
    ensure!(
        asked.copies.load(Ordering::Relaxed) == copied,
        "not every key was copied"
    );
    println!(
        "{versions} versions: {:.2?}, {} MiB; {} pages and {} removals were asked for",
        ran.took,
        ran.peak >> 20,
        asked.pages.load(Ordering::Relaxed),
        asked.removals.load(Ordering::Relaxed),
    );
    Ok(ran.peak)
}
