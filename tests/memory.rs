//! How much memory the binary takes while it makes a backup of a database that cannot be compressed, and restores it beside
//! the database and in its place, from its directory and from its bucket: `cargo bench -p jm --bench memory`, or `tests/bench memory`. Everything runs in a sandbox
//! of its own; `JM_BENCH_DIR` names the disk. What is measured is the peak of the process itself (`VmHWM`), without that of
//! PostgreSQL's programs.
//!
//! A goal that is missed makes the benchmark end with 1.

#![expect(clippy::print_stdout, reason = "a benchmark's result is what it prints")]
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a benchmark starts the programs that it measures, reads its own settings, and keeps files of its own"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};

#[path = "measured.rs"]
#[expect(dead_code, reason = "what the binary says is of no interest here")]
mod measured;
use measured::{Measured, measured};

const JM: &str = env!("CARGO_BIN_EXE_jm");
/// The most that the binary may take, in bytes.
const MOST: u64 = 128 << 20;
/// The least that the file of the backup has to have, in bytes: more than twice the goal, so that whoever holds it misses.
const LEAST: u64 = 300 << 20;
/// Rows of a MiB of noise each.
const ROWS: u32 = 320;

/// What cannot be taken back needs something before it that says that it is meant.
const PLAN: &str = "
apiVersion: jm/v1
name: bring-back
title: Bring the noise back
inputs:
  backup: { type: string, default: BACKUP }
steps:
  - id: meant
    uses: check.assert
    with: { that: \"${{ inputs.backup != '' }}\", message: there is no backup }
  - id: restore
    uses: backup.restore
    needs: [meant]
    with: { backup: \"${{ inputs.backup }}\", into: INTO }
";

fn main() -> ExitCode {
    match measure() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<bool> {
    let sandbox = Sandbox::up()?;
    sandbox.fill()?;
    let create = "backup.create into a directory and a bucket";
    let mut kept = sandbox.peak(create, &["step", "run", "backup.create"])?;
    let (backup, bytes) = sandbox.backup()?;
    ensure!(bytes >= LEAST, "the backup has {bytes} bytes only");
    println!("the backup has {} MiB", bytes >> 20);
    let plan = sandbox.folder.path().join("plan.yaml").display().to_string();
    for from in ["the directory", "the bucket"] {
        for into in ["aside", "in_place"] {
            let text = PLAN.replace("BACKUP", &backup).replace("INTO", into);
            std::fs::write(&plan, text)?;
            kept &= sandbox.peak(&format!("backup.restore {into} from {from}"), &["plan", "run", &plan])?;
        }
        sandbox.lose_directory()?;
    }
    Ok(kept)
}

/// A sandbox that ends with the value.
struct Sandbox {
    folder: tempfile::TempDir,
    environment: BTreeMap<String, String>,
}

impl Sandbox {
    fn up() -> Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        let disk = std::env::var_os("JM_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
        let folder = tempfile::Builder::new().prefix("jm-memory-").tempdir_in(disk)?;
        // PostgreSQL's user has to pass through.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711))?;
        let output = Command::new(JM)
            .args(["sandbox", "up", "--directory"])
            .arg(folder.path().join("sandbox"))
            .output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(
            output.status.success(),
            "{said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let exported = said
            .lines()
            .filter_map(|line| line.strip_prefix("export ")?.split_once('='));
        let environment = exported
            .map(|(name, value)| (name.to_owned(), value.trim_matches('\'').to_owned()))
            .collect();
        Ok(Self { folder, environment })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .envs(&self.environment)
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        command
    }

    fn variable(&self, name: &str) -> Result<&str> {
        self.environment
            .get(name)
            .map(String::as_str)
            .with_context(|| name.to_owned())
    }

    /// A table of noise, whose rows PostgreSQL does not try to compress.
    fn fill(&self) -> Result<()> {
        let statements = format!(
            "CREATE TABLE noise (id int, data bytea);
             ALTER TABLE noise ALTER data SET STORAGE EXTERNAL;
             INSERT INTO noise SELECT n, (SELECT string_agg(gen_random_bytes(1024), '') FROM generate_series(1, 1024) WHERE n > 0)
             FROM generate_series(1, {ROWS}) n"
        );
        let mut psql = self.command("psql");
        psql.args(["-Xq", "-v", "ON_ERROR_STOP=1", self.variable("DATABASE_URL")?]);
        let output = psql.args(["-c", &statements]).output().context("psql")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Runs the binary, and says how much it took at most and whether that keeps the goal.
    fn peak(&self, what: &str, words: &[&str]) -> Result<bool> {
        let mut command = self.command(JM);
        command
            .args(words)
            .args(["--targets", "plans/targets.yaml", "--yes", "--confirm", "production"]);
        let Measured { took, peak, .. } = measured(&mut command, self.folder.path()).context(what.to_owned())?;
        let kept = peak < MOST;
        println!(
            "{what}: {} MiB at most in {:.1} s (goal: under {} MiB, {})",
            peak >> 20,
            took.as_secs_f64(),
            MOST >> 20,
            if kept { "kept" } else { "MISSED" }
        );
        Ok(kept)
    }

    /// What comes next has to come from the bucket.
    fn lose_directory(&self) -> Result<()> {
        for entry in std::fs::read_dir(self.variable("BACKUP_DIR")?)? {
            std::fs::remove_file(entry?.path())?;
        }
        Ok(())
    }

    /// The name and the size of the backup that was made.
    fn backup(&self) -> Result<(String, u64)> {
        for entry in std::fs::read_dir(self.variable("BACKUP_DIR")?)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if Path::new(&name).extension().is_some_and(|extension| extension == "gpg") {
                return Ok((name, entry.metadata()?.len()));
            }
        }
        anyhow::bail!("there is no backup")
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let mut down = Command::new(JM);
        down.args(["sandbox", "down", "--directory"]);
        // A sandbox that does not end here is left for whoever looks at its folder.
        drop(down.arg(self.folder.path().join("sandbox")).output());
    }
}
