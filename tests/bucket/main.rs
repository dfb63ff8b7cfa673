//! What syncing, copying and bringing back objects costs, beside s5cmd, rclone, `aws` and a bare client, on one server in one
//! run: `tests/bench bucket`. The server is versitygw; jm is the binary as people call it, with its journal and all that it
//! looks at first.
//!
//! A goal that is missed, or not proven for want of a peer, makes the benchmark end with 1.

#![expect(clippy::print_stdout, reason = "a benchmark's result is what it prints")]
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a benchmark starts the programs that it measures, finds its servers through the environment, and keeps what they say"
)]

mod bare;
#[path = "../beside.rs"]
mod beside;
mod endless;
mod files;
#[path = "../measured.rs"]
mod measured;
mod memory;
mod restore;
mod server;

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};

use server::Server;

/// How much is done.
#[derive(Clone, Copy)]
struct Amounts {
    /// Small files that are synced.
    files: usize,
    /// The size of the large one, in bytes.
    large: u64,
    /// Keys that are brought back: half of them deleted, half of them overwritten.
    keys: usize,
    /// Versions of which none is kept anywhere, brought back for the memory that it takes.
    versions: usize,
    /// How often the programs take turns; the medians count.
    rounds: usize,
}

impl Amounts {
    fn of_environment() -> Result<Self> {
        let percent: u32 = match std::env::var("JM_BENCH_PERCENT") {
            Ok(text) => text.parse().context("JM_BENCH_PERCENT is no number")?,
            Err(_) => 100,
        };
        ensure!((1..=1000).contains(&percent), "JM_BENCH_PERCENT is from 1 to 1000");
        let of = |whole: usize| whole * usize::try_from(percent).unwrap_or(100) / 100;
        Ok(Self {
            files: of(10_000),
            large: (1 << 30) / 100 * u64::from(percent),
            keys: of(100_000),
            versions: of(1_000_000),
            rounds: if percent < 100 { 1 } else { 3 },
        })
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match measure().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure() -> Result<bool> {
    let amounts = Amounts::of_environment()?;
    let server = Server::start()?;
    let mut met = files::small(&server, amounts).await?;
    met &= files::large(&server, amounts).await?;
    met &= restore::measure(&server, amounts).await?;
    met &= memory::measure(&server, amounts)?;
    Ok(met)
}
