//! What the plan starts from: versions suspended, never kept or unknown to the store, backups that nobody
//! has any more.

use std::net::SocketAddr;

use jm_testkit::line::{Refusal, refusing};

use super::*;

/// All keys of a bucket.
pub(super) fn keys(world: &World, bucket: &str) -> Result<Vec<String>> {
    let listed = world.aws(&["s3api", "list-objects-v2", "--bucket", bucket, "--output", "json"])?;
    let listed: Value = serde_json::from_str(&listed)?;
    let objects = listed["Contents"].as_array().cloned().unwrap_or_default();
    Ok(objects
        .iter()
        .filter_map(|object| object["Key"].as_str().map(str::to_owned))
        .collect())
}

/// Removes for good what a bucket keeps of these kinds.
pub(super) fn remove(world: &World, bucket: &str, prefix: &str, kinds: &[&str]) -> Result<()> {
    let words = [
        "s3api",
        "list-object-versions",
        "--bucket",
        bucket,
        "--prefix",
        prefix,
        "--output",
        "json",
    ];
    let kept: Value = serde_json::from_str(&world.aws(&words)?)?;
    for one in kinds.iter().filter_map(|kind| kept[kind].as_array()).flatten() {
        let (key, id) = (
            one["Key"].as_str().context("a key")?,
            one["VersionId"].as_str().context("an id")?,
        );
        world.aws(&[
            "s3api",
            "delete-object",
            "--bucket",
            bucket,
            "--key",
            key,
            "--version-id",
            id,
        ])?;
    }
    Ok(())
}

fn keeps_versions(world: &World) -> Result<bool> {
    let versioning = world.aws(&["s3api", "get-bucket-versioning", "--bucket", BUCKET])?;
    Ok(versioning.contains("Enabled"))
}

/// It ends degraded, and says so in these words.
fn degraded(world: &World, words: &[&str], expected: &str) -> Result<()> {
    let output = bring_back(world, words).output()?;
    ensure!(output.status.code() == Some(9), "{}", said(&output));
    ensure!(said(&output).contains(expected), "no `{expected}` in {}", said(&output));
    Ok(())
}

#[test]
fn a_bucket_that_keeps_no_new_versions_keeps_them_before_anything_is_overwritten() -> Result<()> {
    let world = with_backups(World::sandbox()?)?;
    let before = world.stored()?;
    let at = a_moment();
    let suspended = ["--versioning-configuration", "Status=Suspended"];
    world.aws(&[&["s3api", "put-bucket-versioning", "--bucket", BUCKET], &suspended[..]].concat())?;
    let rubbish = world.folder().join("rubbish");
    std::fs::write(&rubbish, "encrypted by somebody else")?;
    let rubbish = rubbish.to_str().context("text")?;
    for (number, key) in before.keys().enumerate() {
        let verb = if number < 2 { "delete-object" } else { "put-object" };
        let body: &[&str] = if number < 2 { &[] } else { &["--body", rubbish] };
        world.aws(&[&["s3api", verb, "--bucket", BUCKET, "--key", key], body].concat())?;
    }
    let words = ["-i", &format!("as_of={at}")];
    let dry = bring_back(&world, &words).arg("--dry-run").output()?;
    ensure!(dry.status.code() == Some(0), "{}", said(&dry));
    brought_back(&world, &words)?;
    ensure!(world.stored()? == before, "not as before: {:?}", world.stored()?);
    ensure!(keeps_versions(&world)?, "the next loss would be for good");
    Ok(())
}

#[test]
fn a_bucket_that_never_kept_versions_is_filled_and_keeps_them_from_now_on() -> Result<()> {
    let world = with_backups(World::sandbox()?)?;
    let before = world.stored()?;
    world.lose_bucket()?;
    world.aws(&["s3api", "create-bucket", "--bucket", BUCKET])?;
    brought_back(&world, &[])?;
    ensure!(world.stored()? == before, "not as before: {:?}", world.stored()?);
    ensure!(keeps_versions(&world)?, "it keeps none");
    ensure!(
        outputs(&world, "restore")?["status"] == "skipped",
        "there was nothing to bring back"
    );
    ensure!(
        outputs(&world, "protect")?["status"] == "skipped",
        "the bucket was there"
    );
    Ok(())
}

/// From here on the store refuses the requests that are meant, by their first line.
fn refuses(world: &mut World, status: &'static str, body: &'static str, is_meant: fn(&str) -> bool) -> Result<()> {
    let store = world.systems.variable("AWS_ENDPOINT_URL").trim_start_matches("http://");
    let store: SocketAddr = store.parse()?;
    let refusal = Refusal {
        is_meant: move |head: &str| is_meant(head.lines().next().unwrap_or_default()),
        status,
        body,
    };
    let line = world.block_on(refusing(store, refusal));
    let variables = &mut world.systems.environment;
    variables.insert("AWS_ENDPOINT_URL".to_owned(), format!("http://{line}"));
    Ok(())
}

#[test]
fn a_store_that_knows_no_versions_is_filled_and_the_run_says_what_that_means() -> Result<()> {
    let mut world = with_backups(World::sandbox()?)?;
    let before = world.stored()?;
    let key = before.keys().next().context("an object")?;
    world.aws(&["s3api", "delete-object", "--bucket", BUCKET, "--key", key])?;
    let knows_none = "<Error><Code>NotImplemented</Code><Message>Not Implemented</Message></Error>";
    refuses(&mut world, "501 Not Implemented", knows_none, |request| {
        request.contains("?versioning")
    })?;

    let dry = bring_back(&world, &[]).arg("--dry-run").output()?;
    ensure!(said(&dry).contains("the store knows no versions"), "{}", said(&dry));
    degraded(&world, &[], "the store knows no versions")?;
    ensure!(world.stored()? == before, "not as before: {:?}", world.stored()?);
    Ok(())
}

/// Rubbish of the right size, of which nobody says what it is, in the place of a backup that no other step reads.
#[test]
fn an_older_backup_that_somebody_has_overwritten_is_told() -> Result<()> {
    let world = with_backups(World::sandbox()?)?;
    let keys = keys(&world, BUCKET)?;
    // The file comes before its manifest.
    let older = keys.first().context("a backup")?;
    let file = older.rsplit('/').next().context("a name")?;
    let rubbish = world.folder().join("rubbish");
    std::fs::write(&rubbish, vec![0; std::fs::read(local(&world).join(file))?.len()])?;
    let body = rubbish.to_str().context("text")?;
    world.aws(&[
        "s3api",
        "put-object",
        "--bucket",
        BUCKET,
        "--key",
        older,
        "--body",
        body,
    ])?;
    std::fs::remove_file(local(&world).join(file))?;
    degraded(&world, &[], &format!("1 backups could not be had: {file}"))
}

/// The newest backup of all went with its manifest and every version: its marker alone is left to tell of it.
#[test]
fn a_newest_backup_of_which_nothing_is_left_is_told_by_its_marker() -> Result<()> {
    let world = with_backups(World::sandbox()?)?;
    let newest: Vec<String> = keys(&world, BUCKET)?.split_off(2);
    std::thread::sleep(Duration::from_millis(1100));
    for key in &newest {
        world.aws(&["s3api", "delete-object", "--bucket", BUCKET, "--key", key])?;
        remove(&world, BUCKET, key, &["Versions"])?;
        std::fs::remove_file(local(&world).join(key.rsplit('/').next().context("a name")?))?;
    }
    let output = bring_back(&world, &[]).output()?;
    let text = said(&output);
    ensure!(output.status.code() == Some(9), "{text}");
    ensure!(
        text.contains("since the newest backup was made every version has gone of"),
        "{text}"
    );
    ensure!(
        newest.iter().all(|key| text.contains(key.as_str())),
        "{newest:?}: {text}"
    );
    Ok(())
}

#[test]
fn local_backups_go_where_backups_are_kept_whatever_else_comes_back() -> Result<()> {
    let world = with_backups(World::sandbox()?)?;
    let before = keys(&world, BUCKET)?;
    world.lose_bucket()?;
    brought_back(&world, &["-i", "prefix="])?;
    ensure!(keys(&world, BUCKET)? == before, "{:?}", keys(&world, BUCKET)?);
    Ok(())
}

/// What the bucket's own versions do not give comes from elsewhere all the same.
#[test]
fn a_store_that_lets_nobody_undelete_is_filled_from_the_directory() -> Result<()> {
    let mut world = with_backups(World::sandbox()?)?;
    let before = world.stored()?;
    for key in before.keys() {
        world.aws(&["s3api", "delete-object", "--bucket", BUCKET, "--key", key])?;
    }
    let denied = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>";
    refuses(&mut world, "403 Forbidden", denied, |request| {
        // All of a page at once, or one after the other.
        request.starts_with("POST") && request.contains("?delete")
            || request.starts_with("DELETE") && request.contains("versionId=")
    })?;
    degraded(&world, &[], "restore")?;
    ensure!(outputs(&world, "restore")?["status"] == "failed", "it was not refused");
    ensure!(world.stored()? == before, "not as before: {:?}", world.stored()?);
    ensure!(
        outputs(&world, "verify")?["status"] == "succeeded",
        "nothing was proven"
    );
    Ok(())
}

/// The newest backup is whole, and of the older one there is nothing left but what its manifest says.
#[test]
fn a_backup_that_nobody_has_any_more_is_named() -> Result<()> {
    let world = with_backups(World::sandbox()?)?;
    let stored = world.stored()?;
    let older = stored.keys().next().context("an object")?.clone();
    let name = older.trim_start_matches("backups/").trim_end_matches(".manifest.json");
    std::fs::write(local(&world).join(name), "damaged")?;
    world.lose_bucket()?;
    degraded(&world, &[], &format!("1 backups could not be had: {name}"))
}

#[test]
fn a_directory_that_is_missing_keeps_no_version_from_coming_back() -> Result<()> {
    let world = with_backups(World::sandbox()?)?;
    let before = world.stored()?;
    for key in before.keys() {
        world.aws(&["s3api", "delete-object", "--bucket", BUCKET, "--key", key])?;
    }
    std::fs::rename(local(&world), world.folder().join("elsewhere"))?;
    degraded(&world, &[], "there is no directory")?;
    ensure!(world.stored()? == before, "not as before: {:?}", world.stored()?);
    ensure!(
        outputs(&world, "verify")?["status"] == "succeeded",
        "nothing was proven"
    );
    Ok(())
}
