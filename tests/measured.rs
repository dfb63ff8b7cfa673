//! What a program takes: time, and memory at its peak.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

/// Between two looks at the memory of a process.
const PAUSE: Duration = Duration::from_millis(5);

/// What a program came to.
pub(crate) struct Measured {
    pub(crate) took: Duration,
    /// The most memory that the process had, in bytes; that of its children is not in it.
    pub(crate) peak: u64,
    /// What it said on standard output.
    pub(crate) said: String,
}

/// Runs a program, which has to end well. What it says goes by way of files in this folder.
pub(crate) fn measured(command: &mut Command, folder: &Path) -> Result<Measured> {
    let (out, err) = (folder.join("out"), folder.join("err"));
    command
        .stdin(Stdio::null())
        .stdout(File::create(&out)?)
        .stderr(File::create(&err)?);
    let began = Instant::now();
    let mut child = command.spawn()?;
    let status = Path::new("/proc").join(child.id().to_string()).join("status");
    let mut peak = 0;
    let ended = loop {
        // The peak only grows: the last look before the end is the one that counts.
        peak = peak.max(high_water(&status).unwrap_or(0));
        if let Some(ended) = child.try_wait()? {
            break ended;
        }
        std::thread::sleep(PAUSE);
    };
    let took = began.elapsed();
    let said = std::fs::read_to_string(out)?;
    ensure!(ended.success(), "{command:?}: {said}{}", std::fs::read_to_string(err)?);
    ensure!(peak > 0, "nothing was measured");
    Ok(Measured { took, peak, said })
}

/// The most memory that a process has had, in bytes.
fn high_water(status: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(status).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes << 10)
}
