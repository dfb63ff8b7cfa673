//! Damage, full disks, programs that lie, work that is given up: refused, told, and nothing left behind.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jm_client_postgres::test_server::PASSWORD;
use jm_step::StepErrorKind;

use super::rig::*;
use crate::*;

/// Numbers without a pattern that a mistake could fit.
fn scattered(seed: u64, below: usize) -> usize {
    let mixed = (seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    usize::try_from((mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 33).expect("small") % below
}

#[tokio::test(flavor = "multi_thread")]
async fn any_flip_and_any_cut_is_refused_and_leaves_the_target_alone() {
    let rig = Rig::new().await;
    let backups = rig.backups().await;
    let name = rig.create(&backups).await.manifest.name;
    let path = rig.directory().join(name.as_str());
    let good = std::fs::read(&path).expect("read");
    let before = rig.inventory(&rig.database).await;
    for seed in 0..16 {
        let at = match seed {
            0 => 0,
            1 => good.len() - 1,
            _ => scattered(seed, good.len()),
        };
        let bad = if seed % 2 == 0 {
            let mut bad = good.clone();
            bad[at] ^= 1 << (seed % 8);
            bad
        } else {
            good[..at].to_vec()
        };
        std::fs::write(&path, bad).expect("write");
        let error = rig.aside(&backups, &name).await.expect_err("damaged");
        let word = if seed % 2 == 0 { "checksum" } else { "cut short" };
        let told = error.message().contains(word) || error.message().contains("damaged");
        assert!(told, "byte {at}: {error}");
        assert!(!error.message().contains("another one"), "not a wrong key: {error}");
        rig.assert_no_copy().await;
    }
    assert_eq!(rig.inventory(&rig.database).await, before);
    std::fs::write(&path, good).expect("write");
    rig.aside(&backups, &name).await.expect("the good one");
}

/// Puts a program on a path of its own, before the real ones.
fn fake(folder: &Path, program: &str, script: &str) -> Toolbox {
    let path = folder.join("fake");
    std::fs::create_dir_all(&path).expect("folder");
    let file = path.join(program);
    std::fs::write(&file, format!("#!/bin/bash\n{script}")).expect("write");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).expect("mode");
    tools_on(&format!("{}:/usr/bin:/bin", path.display()))
}

const REAL: &str = "$(ls -d /usr/lib/postgresql/15/bin)/pg_dump";

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_that_failed_is_no_backup_whatever_it_said() {
    let rig = Rig::new().await;
    let backups = rig.backups().await;
    let version = format!("[[ $1 == --version ]] && exec {REAL} --version\n");
    for (script, plain, told) in [
        (format!("{REAL} \"$@\" | head -c 50000; exit 1"), false, "exit status 1"),
        (format!("{REAL} \"$@\" | head -c 50000; kill -9 $$"), false, "signal 9"),
        (
            format!("{REAL} \"$@\" | head -c 50000; exit 0"),
            false,
            "does not read back",
        ),
        (
            format!("{REAL} \"$@\" | head -c 50000; exit 0"),
            true,
            "does not read back",
        ),
        (
            format!("{REAL} \"$@\"; echo 'pg_dump: error: something was lost' >&2"),
            false,
            "something was lost",
        ),
        ("exit 0".to_owned(), false, "does not read back"),
    ] {
        let tools = fake(rig.folder.path(), "pg_dump", &format!("{version}{script}"));
        let format = if plain { DumpFormat::Plain } else { DumpFormat::Custom };
        let request = CreateRequest {
            format,
            ..rig.request()
        };
        let error = backups
            .create(&rig.postgres, &request, &tools, &Silent)
            .await
            .expect_err(&script);
        assert!(error.message().contains(told), "{script}: {error}");
        assert_eq!(rig.files(), [""; 0], "{script}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_is_given_up_leaves_no_file_and_no_child() {
    let rig = Rig::new().await;
    let backups = rig.backups().await;
    let marker = format!("sleep 3{}", std::process::id());
    let version = format!("[[ $1 == --version ]] && exec {REAL} --version\n");
    let tools = fake(
        rig.folder.path(),
        "pg_dump",
        &format!("{version}{REAL} \"$@\" | head -c 50000; {marker}"),
    );
    let request = rig.request();
    let work = backups.create(&rig.postgres, &request, &tools, &Silent);
    assert!(
        tokio::time::timeout(Duration::from_secs(3), work).await.is_err(),
        "still at it"
    );
    for _ in 0..100 {
        if rig.files().is_empty() && !running(&marker) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("left: {:?}, child: {}", rig.files(), running(&marker));
}

fn running(command: &str) -> bool {
    let processes = std::fs::read_dir("/proc").expect("proc").flatten();
    let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    lines
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .any(|line| line.trim() == command)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_run_left_is_swept_or_adopted() {
    let rig = Rig::new().await;
    let backups = rig.backups().await;
    let first = rig.create(&backups).await.manifest.name;
    let at = |file: &str| rig.directory().join(file);
    // Killed between the two names.
    std::fs::rename(at(&first.manifest()), at(&format!("{}.partial", first.manifest()))).expect("rename");
    assert_eq!(
        backups.catalogue().await.expect("catalogue").entries[0].level(),
        None,
        "does not count"
    );
    // Killed while writing.
    std::fs::write(at("journeyman_backup_20240115_020000.dump.gpg.partial"), "half").expect("write");
    // Somebody is still writing this one.
    let busy = std::fs::File::create(at("journeyman_backup_20240116_020000.dump.gpg.partial")).expect("create");
    busy.lock().expect("lock");
    std::fs::write(at("not ours.partial"), "x").expect("write");
    rig.create(&backups).await;
    let files = rig.files();
    assert!(files.contains(&first.manifest()), "adopted: {files:?}");
    assert!(
        !files.contains(&"journeyman_backup_20240115_020000.dump.gpg.partial".to_owned()),
        "swept: {files:?}"
    );
    assert!(
        files.contains(&"journeyman_backup_20240116_020000.dump.gpg.partial".to_owned()),
        "in use: {files:?}"
    );
    assert!(files.contains(&"not ours.partial".to_owned()), "foreign: {files:?}");
}

struct Tmpfs(std::path::PathBuf);

impl Tmpfs {
    fn new(at: &Path, size: &str) -> Self {
        std::fs::create_dir_all(at).expect("folder");
        shell(
            &format!("mount -t tmpfs -o size={size},mode=700 tmpfs '{}'", at.display()),
            &[],
        );
        Self(at.to_owned())
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        shell(&format!("umount -l '{}'", self.0.display()), &[]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_said_to_be_one_and_nothing_is_left_on_it() {
    let rig = Rig::new().await;
    rig.server.sql(&rig.database, &["CREATE TABLE blob AS SELECT md5(random()::text) || md5(random()::text) AS x FROM generate_series(1, 60000)"]).await;
    let full = Tmpfs::new(&rig.directory(), "2m");
    let backups = rig.backups().await;
    // The guess beforehand must not be what stops it.
    std::fs::write(rig.directory().join("filler"), vec![0; 1 << 20]).expect("write");
    let error = backups
        .create(&rig.postgres, &rig.request(), &tools(), &Silent)
        .await
        .expect_err("full");
    assert!(
        error.message().contains("free, and the backup needs") || error.message().contains("full"),
        "{error}"
    );
    assert_eq!(rig.files(), ["filler"]);
    drop(full);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_any_command_line_or_child() {
    let rig = Rig::new().await;
    let backups = rig.backups().await;
    let stop = Arc::new(AtomicBool::new(false));
    let (watch, seen) = (Arc::clone(&stop), Arc::new(AtomicBool::new(false)));
    let found = Arc::clone(&seen);
    let watcher = std::thread::spawn(move || {
        let mut leaks = Vec::new();
        while !watch.load(Ordering::Relaxed) {
            for process in std::fs::read_dir("/proc").expect("proc").flatten() {
                let read = |file: &str| std::fs::read(process.path().join(file)).unwrap_or_default();
                let line = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
                let child = ["pg_dump", "pg_restore", "psql"]
                    .iter()
                    .any(|name| line.contains(&format!("{name} --")));
                found.fetch_or(child, Ordering::Relaxed);
                let environment = if child {
                    String::from_utf8_lossy(&read("environ")).into_owned()
                } else {
                    String::new()
                };
                let other_test = line.contains("bash") || line.contains("postgresql://");
                if (line.contains(KEY) || line.contains(PASSWORD)) && !other_test
                    || environment.contains(KEY)
                    || environment.contains(PASSWORD)
                {
                    leaks.push(line);
                }
            }
        }
        leaks
    });
    let created = rig.create(&backups).await;
    rig.aside(&backups, &created.manifest.name).await.expect("restored");
    stop.store(true, Ordering::Relaxed);
    assert_eq!(watcher.join().expect("watcher"), [""; 0]);
    assert!(seen.load(Ordering::Relaxed), "the watcher saw the programs");
    let text = std::fs::read_to_string(rig.directory().join(created.manifest.name.manifest())).expect("manifest");
    assert!(!text.contains(KEY) && !text.contains(PASSWORD));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_away_is_told_from_a_bad_backup() {
    let rig = Rig::new().await;
    let backups = rig.backups().await;
    rig.server
        .sql(
            &rig.database,
            &["INSERT INTO users (name, note) SELECT 'x', repeat(md5(i::text), 50) FROM generate_series(1, 20000) i"],
        )
        .await;
    let name = rig.create(&backups).await.manifest.name;
    let copy = rig.restore(&name, Target::Aside).copy;
    let ending = async {
        loop {
            let session = rig.postgres.maintenance(None).await.expect("session");
            let sql =
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND query LIKE 'COPY%'";
            if !session.query(sql, &[&copy]).await.expect("query").is_empty() {
                return;
            }
        }
    };
    let (restored, ()) = tokio::join!(rig.aside(&backups, &name), ending);
    let error = restored.expect_err("ended");
    assert_eq!(error.kind(), StepErrorKind::Unavailable, "{:?}", error.summary());
    rig.assert_no_copy().await;
}
