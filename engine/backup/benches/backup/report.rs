//! The table: what each took, and jm beside the quickest and beside the usual.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use super::MOST_MEMORY;

/// What people run, that jm has to stand beside.
const USUAL_BACKUP: &str = "pg_dump | gpg | aws s3 cp";
const USUAL_RESTORE: &str = "aws s3 cp | gpg --decrypt | psql";

/// One way to do it.
pub(super) struct Row {
    what: &'static str,
    took: Result<Duration, &'static str>,
    is_jm: bool,
    sizes: Option<(u64, u64)>,
}

impl Row {
    pub(super) fn peer(what: &'static str, took: Duration) -> Self {
        Self::new(what, Ok(took), false)
    }

    pub(super) fn jm(what: &'static str, took: Duration) -> Self {
        Self::new(what, Ok(took), true)
    }

    pub(super) fn missing(what: &'static str, why: &'static str) -> Self {
        Self::new(what, Err(why), false)
    }

    fn new(what: &'static str, took: Result<Duration, &'static str>, is_jm: bool) -> Self {
        Self {
            what,
            took,
            is_jm,
            sizes: None,
        }
    }

    /// With the size of the file, and of what is in it.
    pub(super) fn sized(mut self, file: u64, content: u64) -> Self {
        self.sizes = Some((file, content));
        self
    }

    fn seconds(&self) -> Option<f64> {
        Some(self.took.as_ref().ok()?.as_secs_f64())
    }
}

/// All that was measured.
#[derive(Default)]
pub(super) struct Table {
    pub(super) backups: Vec<Row>,
    pub(super) restores: Vec<Row>,
}

impl Table {
    /// Prints it. Gives whether jm kept within its memory, beside every peer.
    pub(super) fn print(&self, folder: &Path) -> bool {
        let mut out = std::io::stdout().lock();
        section(&mut out, "backup", &self.backups, USUAL_BACKUP);
        section(&mut out, "restore", &self.restores, USUAL_RESTORE);
        for (file, what) in [
            ("z", "pg_dump -Fc -Z0 | zstd -3"),
            ("c", "pg_dump -Fc"),
            ("g", "gpg"),
            ("plain", "plain"),
        ] {
            if let Ok(meta) = folder.join(file).metadata() {
                writeln!(out, "{:>8} MB  {what}", meta.len() >> 20).expect("stdout");
            }
        }
        let peak = peak();
        let verdict = if peak < MOST_MEMORY { "met" } else { "MISSED" };
        writeln!(
            out,
            "jm's memory at most {} MiB (goal: under {} MiB, {verdict})",
            peak >> 20,
            MOST_MEMORY >> 20
        )
        .expect("stdout");
        let all = || self.backups.iter().chain(&self.restores);
        peak < MOST_MEMORY && all().all(|row| row.took.is_ok())
    }
}

fn section(out: &mut impl Write, title: &str, rows: &[Row], usual: &str) {
    let of = |row: &&Row| row.what == usual;
    let usual_took = rows.iter().find(of).and_then(Row::seconds);
    writeln!(out, "{title}").expect("stdout");
    for row in rows {
        match &row.took {
            Ok(took) => write!(out, "{:>8.2} s  {}", took.as_secs_f64(), row.what).expect("stdout"),
            Err(why) => write!(out, "  MISSING   {}: {why}", row.what).expect("stdout"),
        }
        if let Some((file, content)) = row.sizes {
            write!(out, ", {} MB of {} MB", file >> 20, content >> 20).expect("stdout");
        }
        if let (true, Some(took), Some(usual_took)) = (row.is_jm, row.seconds(), usual_took) {
            write!(out, "  = {:.2} times `{usual}`", took / usual_took).expect("stdout");
        }
        writeln!(out).expect("stdout");
    }
}

/// The most memory that this process ever had, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap_or_default();
    let number = line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok());
    number.unwrap_or(u64::MAX >> 10) << 10
}
