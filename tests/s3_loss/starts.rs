//! What the plan starts from: versions suspended, never kept or unknown to the store, a bucket of a site, backups that
//! nobody has any more.

use std::net::SocketAddr;

use crate::environment::has_words;
use jm_sandbox::journeyman::ASSETS;
use jm_testkit::line::{Refusal, refusing};
use serde_json::json;

use super::*;

/// That the bucket of the site is meant, which the targets are told by its variable.
const SITE: &str = "bucket=journeyman-assets";

/// All keys of a bucket.
fn keys(world: &World, bucket: &str) -> Result<Vec<String>> {
    let listed = world.aws(&["s3api", "list-objects-v2", "--bucket", bucket, "--output", "json"])?;
    let listed: Value = serde_json::from_str(&listed)?;
    let objects = listed["Contents"].as_array().cloned().unwrap_or_default();
    Ok(objects
        .iter()
        .filter_map(|object| object["Key"].as_str().map(str::to_owned))
        .collect())
}

/// Removes for good what a bucket keeps of these kinds.
fn remove(world: &World, bucket: &str, prefix: &str, kinds: &[&str]) -> Result<()> {
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

/// By time and without a catalogue: no backup comes into it, and what is public by intent stays so.
#[test]
fn a_bucket_of_a_site_is_as_it_was_at_a_moment_and_nothing_else() -> Result<()> {
    let world = with_backups(World::sandbox()?)?;
    let page = world.folder().join("page");
    let put = |key: &str, content: &str| {
        std::fs::write(&page, content)?;
        let page = page.to_str().context("text")?;
        world.aws(&["s3api", "put-object", "--bucket", ASSETS, "--key", key, "--body", page])
    };
    put("index.html", "good")?;
    let public = "BlockPublicAcls=false,IgnorePublicAcls=false,BlockPublicPolicy=false,RestrictPublicBuckets=false";
    let block = ["--public-access-block-configuration", public];
    world.aws(&[&["s3api", "put-public-access-block", "--bucket", ASSETS], &block[..]].concat())?;
    let before = keys(&world, ASSETS)?;
    let at = a_moment();
    put("index.html", "defaced")?;

    let as_of = format!("as_of={at}");
    let words = ["-i", "catalogue=false", "-i", SITE, "-i", "prefix=", "-i", &as_of];
    let output = bring_back(&world, &words).env("LOST_S3_BUCKET", ASSETS).output()?;
    ensure!(output.status.code() == Some(0), "{}", said(&output));
    ensure!(keys(&world, ASSETS)? == before, "{:?}", keys(&world, ASSETS)?);
    let got = page.to_str().context("text")?;
    world.aws(&["s3api", "get-object", "--bucket", ASSETS, "--key", "index.html", got])?;
    ensure!(std::fs::read_to_string(&page)? == "good", "the page is not as it was");
    let block = world.aws(&["s3api", "get-public-access-block", "--bucket", ASSETS])?;
    ensure!(!block.contains("true"), "{block}");
    Ok(())
}

/// An end with nothing brought back is no good one: a bucket that is gone with its versions, without a replica; and one that
/// was looked through under a prefix that it does not have.
#[test]
fn a_bucket_of_a_site_that_nothing_came_back_into_is_told() -> Result<()> {
    let world = with_backups(World::sandbox()?)?;
    let ends = |words: &[&str], expected: &str| -> Result<()> {
        let words = [&["-i", "catalogue=false", "-i", SITE], words].concat();
        let output = bring_back(&world, &words).env("LOST_S3_BUCKET", ASSETS).output()?;
        ensure!(output.status.code() == Some(9), "{}", said(&output));
        ensure!(has_words(&said(&output), expected), "{}", said(&output));
        Ok(())
    };
    ends(&[], "the bucket has nothing under `backups/`, and never had")?;
    // Whoever does not name it to both would bring back the backups of then.
    let before = world.stored()?;
    for (words, code, expected) in [
        (
            &["-i", "catalogue=false"][..],
            4,
            "which bucket is meant that holds no backups",
        ),
        (
            &["-i", "catalogue=false", "-i", SITE],
            10,
            "the bucket `journeyman-assets` is meant, and the target names `journeyman-backups`",
        ),
    ] {
        let output = bring_back(&world, words).output()?;
        ensure!(output.status.code() == Some(code), "{}", said(&output));
        ensure!(has_words(&said(&output), expected), "{}", said(&output));
    }
    ensure!(world.stored()? == before, "the bucket of the backups was touched");
    remove(&world, ASSETS, "", &["Versions", "DeleteMarkers"])?;
    world.aws(&["s3api", "delete-bucket", "--bucket", ASSETS])?;
    ends(
        &["-i", "prefix="],
        "the bucket kept no versions, and no replica is configured",
    )
}

/// A bucket that is made anew has the content again and not the policy by which it was read.
#[test]
fn a_bucket_of_a_site_that_is_made_anew_gets_the_policy_that_is_given_or_lacks_it_aloud() -> Result<()> {
    const REPLICA: &str = "journeyman-replica";
    let world = World::sandbox()?;
    let before = keys(&world, ASSETS)?;
    world.aws(&["s3api", "create-bucket", "--bucket", REPLICA])?;
    world.aws(&["s3", "sync", &format!("s3://{ASSETS}"), &format!("s3://{REPLICA}")])?;
    let policy = json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Action": "s3:GetObject",
        "Principal": { "Service": "cloudfront.amazonaws.com" }, "Resource": format!("arn:aws:s3:::{ASSETS}/*") }] });
    let given = format!("policy={policy}");
    for (words, code) in [(&[][..], 9), (&["-i", given.as_str()][..], 0)] {
        remove(&world, ASSETS, "", &["Versions", "DeleteMarkers"])?;
        world.aws(&["s3api", "delete-bucket", "--bucket", ASSETS])?;
        let words = [&["-i", "catalogue=false", "-i", SITE, "-i", "prefix="], words].concat();
        let mut command = bring_back(&world, &words);
        command
            .env("LOST_S3_BUCKET", ASSETS)
            .env("LOST_REPLICA_S3_BUCKET", REPLICA);
        let output = command.output()?;
        ensure!(output.status.code() == Some(code), "{}", said(&output));
        let is_told = has_words(
            &said(&output),
            "the bucket is new and has no policy, for none was given",
        );
        ensure!(is_told == (code == 9), "{}", said(&output));
        ensure!(keys(&world, ASSETS)? == before, "{:?}", keys(&world, ASSETS)?);
    }
    let found: Value = serde_json::from_str(&world.aws(&["s3api", "get-bucket-policy", "--bucket", ASSETS])?)?;
    let found: Value = serde_json::from_str(found["Policy"].as_str().context("a policy")?)?;
    ensure!(found == policy, "{found}");
    Ok(())
}

/// A page that stays defaced, for what it was lies in an archive, is said.
#[test]
fn what_is_left_in_an_archive_is_told() -> Result<()> {
    let world = with_backups(World::sandbox()?)?;
    let page = world.folder().join("page");
    let put = |content: &str, class: &str| {
        std::fs::write(&page, content)?;
        let page = page.to_str().context("text")?;
        let object = ["--key", "index.html", "--body", page, "--storage-class", class];
        world.aws(&[&["s3api", "put-object", "--bucket", ASSETS], &object[..]].concat())
    };
    put("good", "GLACIER")?;
    let at = a_moment();
    put("defaced", "STANDARD")?;
    let as_of = format!("as_of={at}");
    let words = [
        "-i",
        "catalogue=false",
        "-i",
        SITE,
        "-i",
        "prefix=",
        "-i",
        "archived=leave",
        "-i",
        &as_of,
    ];
    let output = bring_back(&world, &words).env("LOST_S3_BUCKET", ASSETS).output()?;
    ensure!(output.status.code() == Some(9), "{}", said(&output));
    ensure!(
        said(&output).contains("1 versions that are wanted lie in an archive"),
        "{}",
        said(&output)
    );
    Ok(())
}

/// An object of parts of several sizes, which no copy has: its ETag and the checksum of its parts tell nothing of a copy.
fn put_in_uneven_parts(world: &World, key: &str) -> Result<()> {
    let place = ["--bucket", ASSETS, "--key", key];
    let sums = ["--checksum-algorithm", "CRC32"];
    let told = |words: &[&[&str]]| -> Result<Value> {
        let words = [&["s3api"], &words.concat()[..], &["--output", "json"]].concat();
        Ok(serde_json::from_str(&world.aws(&words)?)?)
    };
    let begun = told(&[&["create-multipart-upload"], &place, &sums])?;
    let upload = ["--upload-id", begun["UploadId"].as_str().context("an upload")?];
    let part = world.folder().join("part");
    let mut parts = Vec::new();
    for (number, mebibytes) in [("1", 5), ("2", 6)] {
        std::fs::write(&part, vec![b'x'; mebibytes * 1024 * 1024])?;
        let of = ["--part-number", number, "--body", part.to_str().context("text")?];
        let sent = told(&[&["upload-part"], &place, &upload, &of, &sums])?;
        let number: u32 = number.parse()?;
        parts.push(json!({ "PartNumber": number, "ETag": sent["ETag"], "ChecksumCRC32": sent["ChecksumCRC32"] }));
    }
    let parts = json!({ "Parts": parts }).to_string();
    told(&[
        &["complete-multipart-upload"],
        &place,
        &upload,
        &["--multipart-upload", &parts],
    ])?;
    Ok(())
}

#[test]
fn copies_that_no_sum_proves_are_told() -> Result<()> {
    let world = World::sandbox()?;
    let page = world.folder().join("page");
    std::fs::write(&page, "good")?;
    let page = page.to_str().context("text")?;
    let put = |key: &str| world.aws(&["s3api", "put-object", "--bucket", ASSETS, "--key", key, "--body", page]);
    put("index.html")?;
    put_in_uneven_parts(&world, "film.mp4")?;
    let at = a_moment();
    std::fs::write(page, "defaced")?;
    put("index.html")?;
    let as_of = format!("as_of={at}");
    let words = ["-i", "catalogue=false", "-i", SITE, "-i", "prefix=", "-i", &as_of];
    let output = bring_back(&world, &words).env("LOST_S3_BUCKET", ASSETS).output()?;
    ensure!(output.status.code() == Some(0), "{}", said(&output));

    put("film.mp4")?;
    let output = bring_back(&world, &words).env("LOST_S3_BUCKET", ASSETS).output()?;
    ensure!(output.status.code() == Some(9), "{}", said(&output));
    let expected = "of 1 copies that were made of earlier versions the store keeps no sum";
    ensure!(has_words(&said(&output), expected), "{}", said(&output));
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
        request.starts_with("POST") && request.contains("?delete")
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

/// The replica is as it is today: it neither brings back what was hidden, nor is it needed for what versions have; and it
/// fills what no version is left of, which is named where it does not.
#[test]
fn a_replica_fills_what_is_gone_for_good_and_undoes_no_moment() -> Result<()> {
    const REPLICA: &str = "journeyman-replica";
    let world = World::sandbox()?;
    let page = world.folder().join("page");
    std::fs::write(&page, "a page")?;
    let page = page.to_str().context("text")?;
    let put =
        |bucket: &str, key: &str| world.aws(&["s3api", "put-object", "--bucket", bucket, "--key", key, "--body", page]);
    world.aws(&["s3api", "create-bucket", "--bucket", REPLICA])?;
    put(ASSETS, "index.html")?;
    let there = keys(&world, ASSETS)?;
    let at = a_moment();
    for bucket in [ASSETS, REPLICA] {
        put(bucket, "planted.html")?;
    }
    let assets = |words: &[&str], replica: bool| {
        let words = [&["-i", "catalogue=false", "-i", SITE, "-i", "prefix="], words].concat();
        let mut command = bring_back(&world, &words);
        command.env("LOST_S3_BUCKET", ASSETS);
        if replica {
            command.env("LOST_REPLICA_S3_BUCKET", REPLICA);
        }
        command.output()
    };
    let as_of = format!("as_of={at}");
    let output = assets(&["-i", &as_of, "-i", "created_since=hide"], true)?;
    ensure!(output.status.code() == Some(0), "{}", said(&output));
    ensure!(keys(&world, ASSETS)? == there, "{:?}", keys(&world, ASSETS)?);

    // Every version of it goes, and a marker stays.
    remove(&world, ASSETS, "planted.html", &["Versions"])?;
    for words in [&[][..], &["-i", &as_of]] {
        let output = assets(words, false)?;
        ensure!(output.status.code() == Some(9), "{}", said(&output));
        ensure!(
            said(&output).contains("of 1 keys every version is gone"),
            "{}",
            said(&output)
        );
    }
    let output = assets(&[], true)?;
    ensure!(output.status.code() == Some(0), "{}", said(&output));
    ensure!(
        keys(&world, ASSETS)?.contains(&"planted.html".to_owned()),
        "it was not filled"
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
