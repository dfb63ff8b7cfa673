//! Full disks: of the state, of the server, and of the backups. Small file systems in memory, which only root may mount.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::{ACCEPT, Served, ends, recover, without_bucket};
use crate::environment::{World, folder, has_words, journal, of_kind, said};

/// Less than any backup takes.
const MARGIN: u64 = 16 * 1024;

/// A small disk. Declared before the world that uses it, so that it goes after it.
struct Disk {
    at: PathBuf,
    _folder: TempDir,
}

impl Disk {
    fn of(kilobytes: u64) -> Result<Self> {
        let folder = folder()?;
        let at = folder.path().join("disk");
        std::fs::create_dir(&at)?;
        let mut mount = root("mount");
        let options = format!("size={kilobytes}k,mode=0711");
        let output = mount
            .args(["-t", "tmpfs", "-o", &options, "jm-test"])
            .arg(&at)
            .output()?;
        ensure!(
            output.status.success(),
            "cannot mount a small disk (run the tests as root, or let `sudo -n mount` work): {}",
            said(&output)
        );
        Ok(Self { at, _folder: folder })
    }

    fn free(&self) -> Result<u64> {
        let output = Command::new("stat")
            .args(["-f", "-c", "%a %S"])
            .arg(&self.at)
            .output()?;
        let text = String::from_utf8(output.stdout)?;
        let (blocks, size) = text.trim().split_once(' ').context("two numbers")?;
        Ok(blocks.parse::<u64>()? * size.parse::<u64>()?)
    }

    /// Leaves so many bytes free.
    fn fill(&self, leave: u64) -> Result<()> {
        let bytes = self.free()?.checked_sub(leave).context("the disk is too small")?;
        let length = usize::try_from(bytes)?;
        Ok(std::fs::write(self.at.join("ballast"), vec![0; length])?)
    }

    fn free_again(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.at.join("ballast"))?)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(root("umount").arg("--lazy").arg(&self.at).output());
    }
}

/// A program as root.
fn root(program: &str) -> Command {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0);
    if is_root {
        return Command::new(program);
    }
    let mut sudo = Command::new("sudo");
    sudo.args(["-n", program]);
    sudo
}

/// Hands a file to the user that the sandbox's server runs as.
fn give_to_server(world: &World, path: &Path) -> Result<()> {
    let data = world.folder().join("sandbox/postgres/data");
    let output = root("chown")
        .arg(format!("--reference={}", data.display()))
        .arg(path)
        .output()?;
    ensure!(output.status.success(), "{}", said(&output));
    Ok(())
}

/// Rows of a kilobyte that no compressor makes smaller.
fn noise(rows: u32) -> String {
    format!("CREATE TABLE noise AS SELECT n, gen_random_bytes(1000) AS b FROM generate_series(1, {rows}) n")
}

#[test]
fn a_full_disk_under_the_state_stops_a_run_that_resumes() -> Result<()> {
    let disk = Disk::of(1024)?;
    let mut world = World::sandbox()?;
    world.back_up()?;
    let data = world.fingerprint()?;
    let state = disk.at.join("state").display().to_string();
    world.systems.environment.insert("JM_STATE".to_owned(), state);
    let (mut resumed, mut told) = (0, 0);
    for leave in [40, 24, 16, 8].map(|kilobytes| kilobytes * 1024) {
        disk.fill(leave)?;
        let runs = world.runs()?;
        let output = recover(&world).output()?;
        let text = said(&output);
        disk.free_again()?;
        ensure!(output.status.code() == Some(7), "with {leave} bytes: {text}");
        for words in ["No space left on device", "free space where runs are kept"] {
            ensure!(text.contains(words), "with {leave} bytes `{words}` is not said: {text}");
        }
        // Whatever was stopped goes on once there is room.
        if world.runs()? > runs && !journal(&world.state())?.is_empty() {
            resumed += 1;
            let records = journal(&world.state())?;
            let is_stopped = of_kind(&records, "step-succeeded")
                .iter()
                .any(|record| record["step"] == "quiesce");
            if is_stopped {
                told += 1;
                ensure!(
                    has_words(&text, "stands as `quiesce` left it"),
                    "with {leave} bytes: {text}"
                );
            }
            let output = world.resume().args(ACCEPT).output()?;
            ensure!(output.status.code() == Some(0), "with {leave} bytes: {}", said(&output));
        }
        ensure!(world.fingerprint()? == data, "with {leave} bytes: other data");
        for old in world.databases()?.iter().filter(|name| name.contains("_old_")) {
            world.query("postgres", &format!("DROP DATABASE \"{old}\""))?;
        }
        Served::by(&world)?.still(&world)?;
    }
    ensure!(resumed > 0, "no run had begun");
    ensure!(told > 0, "no run had stopped the application");
    Ok(())
}

#[test]
fn a_full_disk_under_the_restored_copy_leaves_the_old_database_serving() -> Result<()> {
    let disk = Disk::of(32 * 1024)?;
    let world = without_bucket()?;
    world.query("journeyman_prod", &noise(4000))?;
    world.back_up()?;
    // New databases go to the small disk; the server's own files stay where there is room.
    let space = disk.at.join("space");
    std::fs::create_dir(&space)?;
    give_to_server(&world, &space)?;
    world.query(
        "postgres",
        &format!("CREATE TABLESPACE small LOCATION '{}'", space.display()),
    )?;
    world.query("postgres", "ALTER DATABASE template0 SET TABLESPACE small")?;
    // Room for an empty database, and for a part of the rows.
    let empty = world.query("postgres", "SELECT pg_database_size('template0')")?;
    disk.fill(empty[0].parse::<u64>()? + 2_000_000)?;
    let served = Served::by(&world)?;
    ends(
        &mut recover(&world),
        4,
        &[
            "No space left on device",
            "the server's disk is full: free space or add some, then resume",
        ],
    )?;
    served.still(&world)?;
    // As it says: room, then resume.
    disk.free_again()?;
    let output = world.resume().args(ACCEPT).output()?;
    ensure!(output.status.code() == Some(0), "{}", said(&output));
    ensure!(world.fingerprint()? == served.0, "other data");
    Ok(())
}

#[test]
fn no_room_on_the_server_would_fail() -> Result<()> {
    let disk = Disk::of(200 * 1024)?;
    let mut world = World::sandbox_with(&[], |sandbox| {
        std::fs::create_dir_all(sandbox)?;
        Ok(std::os::unix::fs::symlink(&disk.at, sandbox.join("postgres"))?)
    })?;
    world.systems.environment.remove("AWS_ENABLED");
    world.back_up()?;
    let served = Served::by(&world)?;
    disk.fill(4 * 1024 * 1024)?;
    let words = [
        "there is no room for a restored copy",
        "free space on the server's disk",
    ];
    ends(recover(&world).arg("--dry-run"), 4, &["WOULD FAIL", words[0], words[1]])?;
    ends(&mut recover(&world), 4, &words)?;
    served.still(&world)
}

/// The role is no superuser, and so may not know where the server's disk is: as on a server of another machine.
#[test]
fn room_that_cannot_be_told_is_said_in_the_dry_run_and_in_the_run() -> Result<()> {
    let mut world = without_bucket()?;
    world.back_up()?;
    super::as_owner(&mut world)?;
    let words = "how much room the server's disk has cannot be told from here; about";
    let dry = ends(recover(&world).args(["--dry-run", "--format", "json"]), 0, &[words])?;
    let dry: serde_json::Value = serde_json::from_slice(&dry.stdout)?;
    let find = dry["steps"]
        .as_array()
        .and_then(|steps| steps.iter().find(|step| step["id"] == "find"))
        .context("the step that finds")?;
    ensure!(find["grade"] == "declared", "{find}");
    ends(recover(&world).arg("--dry-run"), 0, &[words])?;
    ends(&mut world.step("backup.select", &[]), 0, &[words])?;
    ends(
        world.step("backup.select", &["--format", "json"]).arg("--quiet"),
        0,
        &[words],
    )?;
    Ok(())
}

#[test]
fn no_room_for_the_safety_backup_stops_before_the_restore() -> Result<()> {
    let disk = Disk::of(4096)?;
    let mut world = without_bucket()?;
    let folder = disk.at.join("backups");
    world
        .systems
        .environment
        .insert("BACKUP_DIR".to_owned(), folder.display().to_string());
    world.back_up()?;
    let backup = || -> Result<Vec<std::ffi::OsString>> {
        let names: Result<Vec<_>, _> = std::fs::read_dir(&folder)?
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect();
        let mut names = names?;
        names.sort();
        Ok(names)
    };
    let files = backup()?;

    // Known beforehand: as much as the last one took is not free.
    disk.fill(MARGIN)?;
    let served = Served::by(&world)?;
    ends(
        &mut recover(&world),
        4,
        &["bytes free, and the backup needs about", "free space there"],
    )?;
    served.still(&world)?;
    ensure!(backup()? == files, "left behind: {:?}", backup()?);

    // Not known beforehand: the database has grown since.
    disk.free_again()?;
    world.query("journeyman_prod", &noise(8000))?;
    let served = Served::by(&world)?;
    ends(
        &mut recover(&world),
        4,
        &["No space left", "free space where the backups are kept"],
    )?;
    served.still(&world)?;
    ensure!(backup()? == files, "left behind: {:?}", backup()?);
    Ok(())
}
