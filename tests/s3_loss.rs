//! `plans/s3-loss.yaml` through the binary: objects that are deleted and overwritten come back from their versions, a
//! bucket that is gone is made anew and filled from the local backups, on the sandbox's store and on versitygw.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jm_sandbox::journeyman::BUCKET;
use serde_json::Value;

use crate::environment::{World, drilled, drilled_with, said};

mod site;
mod starts;

/// `jm plan run plans/s3-loss.yaml` in this world, with all that it needs to be let through.
fn bring_back(world: &World, words: &[&str]) -> Command {
    let mut command = world.jm();
    command
        .args([
            "plan",
            "run",
            "plans/s3-loss.yaml",
            "--yes",
            "--confirm",
            "production",
            "--format",
            "json",
        ])
        .args(words);
    command
}

/// Runs it to its good end, and gives its summary.
fn brought_back(world: &World, words: &[&str]) -> Result<Value> {
    let output = bring_back(world, words).output()?;
    ensure!(output.status.code() == Some(0), "{}", said(&output));
    serde_json::from_slice(&output.stdout).with_context(|| said(&output))
}

/// A world with two backups.
fn with_backups(world: World) -> Result<World> {
    world.back_up()?;
    // Names have their second.
    std::thread::sleep(Duration::from_secs(1));
    world.back_up()?;
    Ok(world)
}

/// Where this machine keeps its backups.
fn local(world: &World) -> PathBuf {
    world.systems.variable("BACKUP_DIR").into()
}

/// A moment with a whole second on both sides, for stores tell times by the second.
fn a_moment() -> String {
    std::thread::sleep(Duration::from_millis(1100));
    let at = jm_step::clock::now().to_string();
    std::thread::sleep(Duration::from_millis(1100));
    at
}

/// What `jm run show` says of the newest run's step.
fn outputs(world: &World, step: &str) -> Result<Value> {
    let output = world.jm().args(["run", "show", "--format", "json"]).output()?;
    let run: Value = serde_json::from_slice(&output.stdout).with_context(|| said(&output))?;
    let steps = run["steps"].as_array().context("steps")?;
    let found = steps.iter().find(|found| found["id"] == step).context("the step")?;
    Ok(found.clone())
}

#[test]
fn what_was_deleted_and_overwritten_comes_back_as_it_was() -> Result<()> {
    let world = with_backups(World::sandbox()?)?;
    let before = world.stored()?;
    ensure!(before.len() == 4, "{before:?}");
    let at = a_moment();
    let keys: Vec<&String> = before.keys().collect();
    let rubbish = world.folder().join("rubbish");
    std::fs::write(&rubbish, "encrypted by somebody else")?;
    for key in &keys[..2] {
        world.aws(&["s3api", "delete-object", "--bucket", BUCKET, "--key", key])?;
    }
    let rubbish = rubbish.display().to_string();
    for key in &keys[2..] {
        world.aws(&[
            "s3api",
            "put-object",
            "--bucket",
            BUCKET,
            "--key",
            key,
            "--body",
            &rubbish,
        ])?;
    }
    // Nothing comes from the directory: versions alone bring it back.
    std::fs::rename(local(&world), world.folder().join("elsewhere"))?;
    std::fs::create_dir(local(&world))?;
    brought_back(&world, &["-i", &format!("as_of={at}")])?;
    ensure!(world.stored()? == before, "not as before: {:?}", world.stored()?);
    Ok(())
}

fn a_bucket_that_is_gone(world: &World, words: &[&str]) -> Result<()> {
    let before = world.stored()?;
    ensure!(before.len() == 4, "{before:?}");
    // What no manifest speaks for, and what is not what it says, stays where it is.
    let local = local(world);
    std::fs::write(local.join("pre_restore_20260101_000000.sql"), "in clear text")?;
    std::fs::write(
        local.join("journeyman_backup_20260101_000000.sql.gpg"),
        "nobody vouches for it",
    )?;
    world.lose_bucket()?;
    ensure!(world.stored()?.is_empty(), "it is not lost");

    let dry = bring_back(world, words).arg("--dry-run").output()?;
    ensure!(dry.status.code() == Some(0), "{}", said(&dry));
    ensure!(world.stored()?.is_empty(), "a dry run made something");

    brought_back(world, words)?;
    ensure!(world.stored()? == before, "not as before: {:?}", world.stored()?);
    let versioning = world.aws(&["s3api", "get-bucket-versioning", "--bucket", BUCKET])?;
    ensure!(versioning.contains("Enabled"), "{versioning}");
    ensure!(
        outputs(world, "restore")?["status"] == "skipped",
        "a new bucket has no versions"
    );

    // A second time there is nothing to do.
    brought_back(world, words)?;
    ensure!(world.stored()? == before, "the second run changed something");
    Ok(())
}

#[test]
fn a_bucket_that_is_gone_is_made_anew_and_filled() -> Result<()> {
    let world = with_backups(World::sandbox()?)?;
    a_bucket_that_is_gone(&world, &[])?;
    let block = world.aws(&["s3api", "get-public-access-block", "--bucket", BUCKET])?;
    ensure!(block.matches("true").count() == 4, "{block}");
    let lifecycle = world.aws(&["s3api", "get-bucket-lifecycle-configuration", "--bucket", BUCKET])?;
    ensure!(lifecycle.contains("unfinished-uploads"), "{lifecycle}");
    Ok(())
}

#[test]
fn a_bucket_that_is_gone_is_made_anew_and_filled_on_a_separately_started_server() -> Result<()> {
    let world = with_backups(World::real()?)?;
    // It knows versions, and no other settings of buckets.
    a_bucket_that_is_gone(&world, &["-i", "protect=false"])
}

/// A bucket that is gone comes back from the one that the store copies it to, also where this machine has nothing; what is
/// there with other content is left for a person.
#[test]
fn a_bucket_that_is_gone_is_filled_from_its_replica() -> Result<()> {
    const REPLICA: &str = "journeyman-replica";
    let world = with_backups(World::sandbox()?)?;
    let before = world.stored()?;
    world.aws(&["s3api", "create-bucket", "--bucket", REPLICA])?;
    world.aws(&["s3", "sync", &format!("s3://{BUCKET}"), &format!("s3://{REPLICA}")])?;
    world.lose_bucket()?;
    std::fs::rename(local(&world), world.folder().join("elsewhere"))?;
    std::fs::create_dir(local(&world))?;

    // Without a replica there is nowhere to take it from.
    let output = bring_back(&world, &[]).output()?;
    ensure!(output.status.code() == Some(4), "{}", said(&output));
    ensure!(outputs(&world, "from-replica")?["status"] == "skipped", "it had none");
    ensure!(world.stored()?.is_empty(), "{:?}", world.stored()?);

    let with_replica = |words: &[&str]| {
        let mut command = bring_back(&world, words);
        command.env("BACKUP_REPLICA_S3_BUCKET", REPLICA).output()
    };
    let output = with_replica(&[])?;
    ensure!(output.status.code() == Some(0), "{}", said(&output));
    ensure!(
        outputs(&world, "from-replica")?["status"] == "succeeded",
        "it was not used"
    );
    ensure!(world.stored()? == before, "not as before: {:?}", world.stored()?);

    let key = before.keys().next().context("an object")?;
    let other = world.folder().join("other");
    std::fs::write(&other, "written since")?;
    let other = other.to_str().context("text")?;
    world.aws(&["s3api", "put-object", "--bucket", BUCKET, "--key", key, "--body", other])?;
    let found = world.stored()?;
    let output = with_replica(&["-i", "catalogue=false", "-i", &format!("bucket={BUCKET}")])?;
    ensure!(output.status.code() == Some(9), "{}", said(&output));
    ensure!(world.stored()? == found, "what was written since was overwritten");
    Ok(())
}

/// Of a moment nothing comes from a replica of today; but what is in it and has no version any more is told by name.
#[test]
fn what_is_gone_with_all_its_versions_is_told_where_a_replica_has_it() -> Result<()> {
    const REPLICA: &str = "journeyman-replica";
    let world = with_backups(World::sandbox()?)?;
    world.aws(&["s3api", "create-bucket", "--bucket", REPLICA])?;
    world.aws(&["s3", "sync", &format!("s3://{BUCKET}"), &format!("s3://{REPLICA}")])?;
    let at = a_moment();
    let at_that = format!("as_of={at}");
    let with_replica = || {
        let bucket = format!("bucket={BUCKET}");
        let mut command = bring_back(&world, &["-i", "catalogue=false", "-i", &bucket, "-i", &at_that]);
        command.env("BACKUP_REPLICA_S3_BUCKET", REPLICA).output()
    };
    let output = with_replica()?;
    ensure!(output.status.code() == Some(0), "{}", said(&output));
    let before = world.stored()?;
    let key = before.keys().next().context("an object")?;
    let of_key = [
        "--bucket",
        BUCKET,
        "--prefix",
        key,
        "--query",
        "Versions[].VersionId",
        "--output",
        "text",
    ];
    let versions = world.aws(&[&["s3api", "list-object-versions"], &of_key[..]].concat())?;
    for version in versions.split_whitespace() {
        world.aws(&[
            "s3api",
            "delete-object",
            "--bucket",
            BUCKET,
            "--key",
            key,
            "--version-id",
            version,
        ])?;
    }
    let output = with_replica()?;
    ensure!(output.status.code() == Some(9), "{}", said(&output));
    ensure!(
        !world.stored()?.contains_key(key),
        "a copy of today was taken for one of then"
    );
    let name = key.rsplit('/').next().context("a name")?;
    let told = format!("whatever they were then: {name}");
    ensure!(said(&output).contains(&told), "no `{told}` in {}", said(&output));
    Ok(())
}

#[test]
fn the_drill_of_damaged_objects_brings_versions_back() -> Result<()> {
    let text = drilled("plans/s3-loss.yaml")?;
    for expected in [
        "some are deleted, the others overwritten",
        "completed s3-loss (drill)",
        "bucket                           2 objects  as before",
    ] {
        ensure!(text.contains(expected), "no `{expected}` in {text}");
    }
    Ok(())
}

#[test]
fn the_drill_of_a_lost_bucket_ends_well() -> Result<()> {
    let text = drilled_with("plans/s3-loss.yaml", &["-i", "as_of="])?;
    for expected in [
        "is gone with every version of everything in it",
        "completed s3-loss (drill)",
        "bucket                           2 objects  as before",
    ] {
        ensure!(text.contains(expected), "no `{expected}` in {text}");
    }
    Ok(())
}
