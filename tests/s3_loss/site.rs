//! A bucket of a site, which holds no backups: by time and without a catalogue.

use jm_sandbox::journeyman::ASSETS;
use serde_json::json;

use super::starts::{keys, remove};
use super::*;
use crate::environment::has_words;

/// That the bucket of the site is meant, which the targets are told by its variable.
const SITE: &str = "bucket=journeyman-assets";
/// A copy of that bucket.
const REPLICA: &str = "journeyman-replica";

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
    let world = World::sandbox()?;
    let page = world.folder().join("page");
    std::fs::write(&page, "good")?;
    let page = page.to_str().context("text")?;
    world.aws(&["s3", "cp", page, &format!("s3://{ASSETS}/index.html")])?;
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
    // What the replica has is of today, and a folder that it does not have brings nothing back.
    let then = format!("as_of={}", a_moment());
    for (words, told) in [
        (
            ["-i", then.as_str()],
            "are as they are there today, whatever they were then",
        ),
        (
            ["-i", "replica_prefix=never/"],
            "the replica has nothing under `never/`, so that nothing was brought back",
        ),
    ] {
        remove(&world, ASSETS, "", &["Versions", "DeleteMarkers"])?;
        world.aws(&["s3api", "delete-bucket", "--bucket", ASSETS])?;
        let always = ["-i", "catalogue=false", "-i", SITE, "-i", "prefix=", "-i", &given];
        let mut command = bring_back(&world, &[&always[..], &words].concat());
        command
            .env("LOST_S3_BUCKET", ASSETS)
            .env("LOST_REPLICA_S3_BUCKET", REPLICA);
        let output = command.output()?;
        ensure!(output.status.code() == Some(9), "{}", said(&output));
        ensure!(has_words(&said(&output), told), "{}", said(&output));
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
fn put_in_uneven_parts(world: &World, bucket: &str, key: &str) -> Result<()> {
    let place = ["--bucket", bucket, "--key", key];
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
    put_in_uneven_parts(&world, ASSETS, "film.mp4")?;
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
    let expected = "of 1 copies that were made of earlier versions, and of 0 that came from the replica, no sum tells";
    ensure!(has_words(&said(&output), expected), "{}", said(&output));

    world.aws(&["s3api", "create-bucket", "--bucket", REPLICA])?;
    put_in_uneven_parts(&world, REPLICA, "trailer.mp4")?;
    let words = ["-i", "catalogue=false", "-i", SITE, "-i", "prefix="];
    let mut command = bring_back(&world, &words);
    command
        .env("LOST_S3_BUCKET", ASSETS)
        .env("LOST_REPLICA_S3_BUCKET", REPLICA);
    let output = command.output()?;
    ensure!(output.status.code() == Some(9), "{}", said(&output));
    let expected = "of 0 copies that were made of earlier versions, and of 1 that came from the replica, no sum tells";
    ensure!(has_words(&said(&output), expected), "{}", said(&output));
    ensure!(
        keys(&world, ASSETS)?.contains(&"trailer.mp4".to_owned()),
        "it was not filled"
    );
    Ok(())
}

/// The replica is as it is today: it neither brings back what was hidden, nor is it needed for what versions have; and it
/// fills what no version is left of, which is named where it does not.
#[test]
fn a_replica_fills_what_is_gone_for_good_and_undoes_no_moment() -> Result<()> {
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
