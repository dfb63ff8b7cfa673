//! `jm backup`: the catalogue at hand, against real backups.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::environment::{World, said};

fn backup(world: &World, words: &[&str], code: i32) -> Result<Output> {
    let output = world.jm().arg("backup").args(words).output()?;
    ensure!(output.status.code() == Some(code), "{words:?}: {}", said(&output));
    Ok(output)
}

fn json(output: &Output) -> Result<Value> {
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[test]
fn backups_are_listed_proven_and_opened() -> Result<()> {
    let mut world = World::sandbox()?;
    world.back_up()?;
    world.back_up()?;
    let listed = json(&backup(&world, &["list", "--format", "json"], 0)?)?;
    let rows = listed["backups"].as_array().context("backups")?;
    ensure!(
        rows.len() == 2 && rows[0]["created_at"].as_str() >= rows[1]["created_at"].as_str(),
        "{listed}"
    );
    ensure!(
        rows[0]["level"] == "L3" && rows[0]["locations"] == serde_json::json!(["local", "s3"]),
        "{listed}"
    );
    let name = rows[0]["name"].as_str().context("a name")?.to_owned();
    let human = String::from_utf8(backup(&world, &["list"], 0)?.stdout)?;
    ensure!(
        human.lines().next().is_some_and(|head| head.starts_with("BACKUP")) && human.contains(&name),
        "{human}"
    );

    let shown = json(&backup(&world, &["show", &name, "--format", "json"], 0)?)?;
    ensure!(shown["manifest"]["belongings"]["owner"].is_string(), "{shown}");
    let human = String::from_utf8(backup(&world, &["show", "latest"], 0)?.stdout)?;
    ensure!(human.contains(&name) && human.contains("public.users"), "{human}");

    let proven = json(&backup(&world, &["verify", &name, "--format", "json"], 0)?)?;
    ensure!(
        proven["copies"]
            .as_array()
            .is_some_and(|copies| copies.iter().all(|copy| copy["good"] == true)),
        "{proven}"
    );

    let clear = world.folder().join("clear.dump");
    let to = clear.display().to_string();
    backup(&world, &["decrypt", &name, "--to", &to], 0)?;
    ensure!(std::fs::read(&clear)?.starts_with(b"PGDMP"));
    ensure!(
        std::fs::metadata(&clear)?.permissions().mode() & 0o777 == 0o600,
        "others can read it"
    );
    backup(&world, &["decrypt", &name, "--to", &to], 2)?;
    let piped = backup(&world, &["decrypt", &name], 0)?;
    ensure!(piped.stdout == std::fs::read(&clear)?, "the pipe got something else");

    // One copy is damaged: the other one still proves, and is what is opened.
    let local = std::path::Path::new(world.systems.variable("BACKUP_DIR")).join(&name);
    let mut bytes = std::fs::read(&local)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&local, bytes)?;
    let told = said(&backup(&world, &["verify", &name], 9)?);
    ensure!(told.contains("BAD  local") && told.contains("good s3"), "{told}");

    // Without the other one nothing is left that could be trusted.
    world
        .systems
        .environment
        .insert("AWS_ENABLED".to_owned(), "false".to_owned());
    backup(&world, &["verify", &name], 4)?;
    let partial = world.folder().join("partial.dump");
    backup(&world, &["decrypt", &name, "--to", &partial.display().to_string()], 4)?;
    ensure!(!partial.exists(), "what is not proven was left behind");

    world.systems.environment.insert(
        "ENCRYPTION_KEY".to_owned(),
        "another-key-of-thirty-two-chars!".to_owned(),
    );
    let told = said(&backup(
        &world,
        &["decrypt", &name, "--to", &partial.display().to_string()],
        4,
    )?);
    ensure!(told.contains("the key does not open") && !partial.exists(), "{told}");
    Ok(())
}

#[test]
fn plain_files_of_objects_are_imported_encrypted_and_restored() -> Result<()> {
    let world = World::sandbox()?;
    let namespace = jm_sandbox::journeyman::NAMESPACE;
    // As the procedures page has them written.
    for (kinds, name) in [
        ("all", "k8s-backup-20240115.yaml"),
        ("secrets", "secrets-backup-20240115.yaml"),
        ("configmaps", "configmaps-backup-20240115.yaml"),
    ] {
        let written = crate::cluster_loss::kubectl(&world, &["get", kinds, "-n", namespace, "-o", "yaml"])?;
        std::fs::write(world.folder().join(name), written)?;
    }
    let before = world.objects()?;
    let files = ["k8s-backup", "secrets-backup", "configmaps-backup"].map(|stem| {
        world
            .folder()
            .join(format!("{stem}-20240115.yaml"))
            .display()
            .to_string()
    });
    let import = |words: &[&str], code| {
        let mut all = vec!["import"];
        all.extend(files.iter().map(String::as_str));
        all.extend(words);
        backup(&world, &all, code)
    };
    let listed = || -> Result<usize> {
        let listed = json(&backup(&world, &["list", "--format", "json"], 0)?)?;
        Ok(listed["backups"].as_array().context("backups")?.len())
    };
    import(&["--dry-run"], 0)?;
    ensure!(listed()? == 0, "the dry run imported it");
    import(&["--yes"], 0)?;
    ensure!(listed()? == 1, "the files of one day are one export");

    // Clear text is nowhere, and what is in it comes back.
    let clear = Path::new(world.systems.variable("BACKUP_DIR"));
    for entry in std::fs::read_dir(clear)? {
        let bytes = std::fs::read(entry?.path())?;
        ensure!(!bytes.windows(8).any(|bytes| bytes == b"\"data\":{"), "clear text");
    }
    crate::cluster_loss::kubectl(
        &world,
        &["delete", "secrets,configmaps,services", "--all", "-n", namespace],
    )?;
    ensure!(world.objects()? != before, "nothing was lost");
    let restored = world
        .step(
            "kubernetes.restore",
            &[
                "-w",
                "export=\"20240115\"",
                "-w",
                "images=written",
                "-w",
                "on_conflict=force",
            ],
        )
        .output()?;
    ensure!(restored.status.code() == Some(0), "{}", said(&restored));
    ensure!(world.objects()? == before, "other objects than before");

    // A file that is none of them is told before anything is written.
    let other = world.folder().join("other-20240116.yaml");
    std::fs::write(&other, "a: 1\n")?;
    let refused = world.jm().args(["backup", "import", "--yes"]).arg(&other).output()?;
    ensure!(refused.status.code() != Some(0) && listed()? == 1, "{}", said(&refused));
    Ok(())
}
