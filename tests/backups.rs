//! `jm backup`: the catalogue at hand, against real backups.

use std::os::unix::fs::PermissionsExt;
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
