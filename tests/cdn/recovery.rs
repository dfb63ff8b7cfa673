//! `plans/cdn-recovery.yaml`: a stale edge becomes fresh from a commit, whatever builds the site, and what was not built is
//! not published.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jm_sandbox::journeyman::{self, GOOD_PAGE};
use serde_json::Value;

use super::edge::Edge;
use super::view;
use crate::environment::{World, drilled, file, has_words, journal, of_kind, said};

#[test]
fn the_drill_of_a_stale_site_ends_well() -> Result<()> {
    let text = drilled("plans/cdn-recovery.yaml")?;
    for expected in [
        "the edge serves a broken page",
        "completed cdn-recovery (drill)",
        "as the good commit has it",
    ] {
        ensure!(text.contains(expected), "no `{expected}` in {text}");
    }
    Ok(())
}

/// `jm plan run plans/cdn-recovery.yaml` in this world, with all that it needs to be let through.
pub(super) fn recover(world: &World, inputs: &[&str]) -> Command {
    recover_by(world, world.systems.variable("CDN_URL"), inputs)
}

/// The same, proven by another edge.
fn recover_by(world: &World, url: &str, inputs: &[&str]) -> Command {
    let mut command = world.jm();
    command.args(["plan", "run", "--yes", "--confirm", "production"]);
    command.arg(file("plans/cdn-recovery.yaml"));
    command.args(["-i", &format!("url={url}")]);
    command.args(inputs.iter().flat_map(|input| ["-i", *input]));
    command
}

/// The inputs by which the good commit is built, by a shell alone.
const GOOD_BUILD: [&str; 3] = ["commit=v1.0.0", r#"install=["true"]"#, r#"build=["sh", "build.sh"]"#];

/// What the bucket has is right. The file that it came from.
fn put_right(world: &World) -> Result<String> {
    let page = world.folder().join("index.html");
    std::fs::write(&page, "<h1>right</h1>")?;
    let page = page.to_str().context("text")?;
    let bucket = format!("s3://{}/index.html", journeyman::ASSETS);
    world.aws(&["s3", "cp", page, &bucket])?;
    Ok(page.to_owned())
}

pub(super) fn viewed(world: &World, path: &str) -> Result<journeyman::View> {
    Ok(world.block_on(journeyman::viewed(&world.systems, path))?)
}

/// A world whose edge serves a broken page from its cache, and the repository of the site.
pub(super) fn broken() -> Result<(World, String)> {
    let world = World::sandbox()?;
    let repository = world.folder().join("site");
    let programs = jm_step::Environment::new([("PATH".to_owned(), std::env::var("PATH")?)]);
    world.block_on(journeyman::write_repository(&repository, &programs))?;
    world.block_on(journeyman::break_site(&world.systems))?;
    ensure!(viewed(&world, "")?.body.contains("broken"), "the edge is not stale");
    Ok((world, repository.display().to_string()))
}

#[test]
fn what_does_not_build_is_not_published_and_invalidating_alone_publishes_nothing() -> Result<()> {
    let (world, repository) = broken()?;
    let repository = format!("repository={repository}");
    let head = world.run("git", &["-C", &repository["repository=".len()..], "rev-parse", "HEAD"])?;
    let of = |commit: &str| format!("commit={}", commit.trim());
    let built = |commit: &str, build: &str| {
        let inputs = [&repository, &of(commit), "install=[\"true\"]", build];
        recover(&world, &inputs).output()
    };
    let before = stored(&world)?;
    for (commit, build, told) in [
        // The head's build fails; this one ends well and makes nothing.
        (head.as_str(), r#"build=["sh", "build.sh"]"#, "cannot find module"),
        (
            "v1.0.0",
            r#"build=["mkdir", "dist"]"#,
            "the build made no index.html in dist",
        ),
    ] {
        let output = built(commit, build)?;
        let text = said(&output);
        ensure!(output.status.code() == Some(4) && text.contains(told), "{text}");
        ensure!(stored(&world)? == before, "something was published");
        ensure!(
            of_kind(&journal(&world.state())?, "step-started")
                .iter()
                .all(|record| record["step"] != "invalidate"),
            "something was invalidated"
        );
    }

    // The document's first measure: what the bucket has is right, and the edge is not.
    put_right(&world)?;
    ensure!(viewed(&world, "")?.body.contains("broken"), "the edge is not stale");
    let output = recover(&world, &["only=invalidate"]).output()?;
    ensure!(output.status.code() == Some(0), "{}", said(&output));
    ensure!(
        viewed(&world, "")?.body == "<h1>right</h1>",
        "{:?}",
        viewed(&world, "")?
    );

    // Without the bucket any page would do, and that is no proof.
    let output = recover(&world, &["only=invalidate"])
        .env_remove("ASSETS_S3_BUCKET")
        .output()?;
    ensure!(output.status.code() == Some(9), "{}", said(&output));
    ensure!(
        has_words(&said(&output), "of a bucket to compare with"),
        "{}",
        said(&output)
    );

    // Nor has it to answer: what is cached is dropped. To publish, it has.
    let nowhere = |inputs: &[&str]| {
        let mut command = recover(&world, inputs);
        command.env("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9").output()
    };
    let output = nowhere(&["only=invalidate"])?;
    ensure!(output.status.code() == Some(9), "{}", said(&output));
    let records = journal(&world.state())?;
    let done = of_kind(&records, "step-succeeded");
    ensure!(done.iter().any(|record| record["step"] == "edge"), "{}", said(&output));
    let output = nowhere(&[&repository, "commit=v1.0.0"])?;
    let text = said(&output);
    ensure!(output.status.code() == Some(4), "{text}");
    ensure!(has_words(&text, "the bucket of assets cannot be used"), "{text}");

    let output = built("v1.0.0", r#"build=["sh", "build.sh"]"#)?;
    ensure!(output.status.code() == Some(0), "{}", said(&output));
    ensure!(viewed(&world, "")?.body == GOOD_PAGE, "{:?}", viewed(&world, "")?);
    Ok(())
}

/// What is named by mistake is not published to, and the edge has to give out the bucket's page where none is built.
#[test]
fn another_bucket_is_not_published_to_and_invalidating_is_proven_by_the_buckets_page() -> Result<()> {
    let (world, repository) = broken()?;
    let repository = format!("repository={repository}");
    let inputs = [&[repository.as_str()], &GOOD_BUILD[..]].concat();
    let other = "journeyman-other";
    world.aws(&["s3api", "create-bucket", "--bucket", other])?;
    let output = recover(&world, &inputs).env("ASSETS_S3_BUCKET", other).output()?;
    let text = said(&output);
    ensure!(output.status.code() == Some(4), "{text}");
    ensure!(
        has_words(&text, &format!("does not take its content from `{other}`")),
        "{text}"
    );
    let listed = world.aws(&["s3api", "list-objects-v2", "--bucket", other])?;
    ensure!(!listed.contains("Key"), "it was published to: {listed}");

    let page = put_right(&world)?;
    let sum = world.run("sha256sum", &[&page])?;
    let dry = recover(&world, &["only=invalidate"])
        .args(["--dry-run", "--format", "json"])
        .output()?;
    let dry: Value = serde_json::from_slice(&dry.stdout).with_context(|| said(&dry))?;
    let mut steps = dry["steps"].as_array().context("steps")?.iter();
    let edge = steps.find(|step| step["id"] == "edge").context("the step")?;
    ensure!(
        sum.starts_with(edge["input"]["body_sha256"].as_str().context("a sum")?),
        "{edge}"
    );
    Ok(())
}

/// The tree lies where a reboot empties, and on one machine alone: whoever goes on takes it out of git again.
#[test]
fn a_tree_that_is_gone_is_checked_out_and_built_again_by_the_resume() -> Result<()> {
    let (world, repository) = broken()?;
    let repository = format!("repository={repository}");
    let inputs = [&[repository.as_str()], &GOOD_BUILD[..]].concat();
    // Everything that names the tree itself is done; what is still to come names what was built in it.
    let output = recover(&world, &inputs).args(["--until", "assets"]).output()?;
    ensure!(output.status.code() == Some(5), "{}", said(&output));
    std::fs::remove_dir_all(checked_out(&world)?)?;

    let output = world.resume().output()?;
    ensure!(output.status.code() == Some(0), "{}", said(&output));
    ensure!(viewed(&world, "")?.body == GOOD_PAGE, "{:?}", viewed(&world, "")?);
    Ok(())
}

/// Another machine has neither the tree nor the first one's clone, but one of its own, with the same commit.
#[test]
fn whoever_takes_over_checks_out_from_a_clone_of_their_own() -> Result<()> {
    // Before the first step that works in the tree, and after the last.
    for stops_before in ["install", "assets"] {
        let (world, repository) = broken()?;
        let theirs = world.folder().join("theirs");
        world.run("git", &["clone", "-q", &repository, &theirs.display().to_string()])?;
        let mut first = recover(&world, &GOOD_BUILD);
        let output = first
            .current_dir(&repository)
            .args(["--until", stops_before])
            .output()?;
        ensure!(output.status.code() == Some(5), "{stops_before}: {}", said(&output));
        std::fs::remove_dir_all(checked_out(&world)?)?;
        std::fs::remove_dir_all(&repository)?;

        let output = world.resume().current_dir(&theirs).output()?;
        ensure!(output.status.code() == Some(0), "{stops_before}: {}", said(&output));
        ensure!(viewed(&world, "")?.body == GOOD_PAGE, "{:?}", viewed(&world, "")?);
    }
    Ok(())
}

/// A commit that tracks what an earlier build made: a build that writes elsewhere, or nothing, would publish that.
#[test]
fn what_a_commit_brings_along_is_not_what_its_build_makes() -> Result<()> {
    let (world, repository) = broken()?;
    let dist = std::path::Path::new(&repository).join("dist");
    std::fs::create_dir_all(&dist)?;
    std::fs::write(dist.join("index.html"), "of an earlier build")?;
    let git = |words: &[&str]| world.run("git", &[&["-C", repository.as_str()], words].concat());
    git(&["add", "--force", "dist"])?;
    let who = ["-c", "user.name=jm", "-c", "user.email=jm@example.com"];
    git(&[&who[..], &["commit", "-qm", "The site as it was built"]].concat())?;
    let commit = format!("commit={}", git(&["rev-parse", "HEAD"])?.trim());
    let repository = format!("repository={repository}");
    let build = |build: &str| recover(&world, &[&repository, &commit, r#"install=["true"]"#, build]).output();
    let before = stored(&world)?;
    let output = build(r#"build=["mkdir", "build"]"#)?;
    let text = said(&output);
    ensure!(output.status.code() == Some(4), "{text}");
    ensure!(has_words(&text, "the build wrote nothing into dist"), "{text}");
    ensure!(stored(&world)? == before, "something was published");
    // A build that writes the same as the commit has writes it all the same; and some make a link to what they built.
    for (script, page) in [
        ("printf 'of an earlier build' >dist/index.html", "of an earlier build"),
        (
            "rm -r dist; mkdir real; printf linked >real/index.html; ln -s real dist",
            "linked",
        ),
    ] {
        let output = build(&format!(r#"build=["sh", "-c", "{script}"]"#))?;
        ensure!(output.status.code() == Some(0), "{}", said(&output));
        ensure!(viewed(&world, "")?.body == page, "{:?}", viewed(&world, "")?);
    }
    Ok(())
}

/// The folder into which the newest run put the commit.
fn checked_out(world: &World) -> Result<String> {
    let records = journal(&world.state())?;
    let mut ended = of_kind(&records, "step-succeeded").into_iter();
    let checkout = ended.find(|record| record["step"] == "checkout").context("the step")?;
    let tree = checkout["output"]["inline"]["dir"].as_str();
    Ok(tree.context("a folder")?.to_owned())
}

/// Names and cache headers of what is in the bucket of assets.
pub(super) fn stored(world: &World) -> Result<Vec<(String, String)>> {
    let bucket = journeyman::ASSETS;
    let listed: Value = serde_json::from_str(&world.aws(&["s3api", "list-objects-v2", "--bucket", bucket])?)?;
    let keys = listed["Contents"].as_array().into_iter().flatten();
    let keys = keys.filter_map(|one| one["Key"].as_str().map(str::to_owned));
    keys.map(|key| {
        let head = world.aws(&["s3api", "head-object", "--bucket", bucket, "--key", &key])?;
        let head: Value = serde_json::from_str(&head)?;
        Ok((key, head["CacheControl"].as_str().unwrap_or_default().to_owned()))
    })
    .collect()
}

/// A real site, built by npm as the plan's defaults have it, from a commit of a repository, behind a cache that is nobody's
/// stand-in.
#[test]
fn a_site_that_npm_builds_comes_back_fresh_by_its_invalidation_behind_nginx() -> Result<()> {
    let (world, _) = broken()?;
    let edge = Edge::start(&world.folder().join("nginx"), world.systems.variable("CDN_URL"))?;
    let is_stale = || {
        let (cache, page) = view(&edge.url())?;
        Ok::<_, anyhow::Error>(cache == "HIT" && page.contains("broken"))
    };
    view(&edge.url())?;
    ensure!(is_stale()?, "the edge keeps no pages: {:?}", view(&edge.url())?);

    // All but the invalidation: what is right is in the bucket, and viewers do not get it.
    let at = npm_repository(&world)?;
    let mut command = recover_by(&world, &edge.url(), &[&format!("repository={at}"), "commit=v1"]);
    with_npm(command.args(["--until", "invalidate"]));
    let output = command.output()?;
    ensure!(output.status.code() == Some(5), "{}", said(&output));
    for (key, cache) in stored(&world)? {
        let expected = match key.split('/').next() {
            Some("static") => "public, max-age=31536000, immutable",
            Some(".jm") => "private, no-store",
            _ => "public, max-age=0, must-revalidate",
        };
        ensure!(cache == expected, "{key}: {cache}");
    }
    let wait = || {
        std::thread::sleep(Duration::from_secs(3));
        Ok(())
    };
    let ((), heard) = edge.following(&world, wait)?;
    ensure!(heard == 0, "{heard} invalidations");
    ensure!(is_stale()?, "it became fresh by itself: {:?}", view(&edge.url())?);

    let (output, heard) = edge.following(&world, || Ok(world.resume().output()?))?;
    ensure!(output.status.code() == Some(0), "{}", said(&output));
    ensure!(heard == 1, "{heard} invalidations");
    let (_, page) = view(&edge.url())?;
    ensure!(page.contains("<h1>good</h1>"), "{page}");
    let script = page.split("src=\"/").nth(1).and_then(|rest| rest.split('"').next());
    let script = script.context("the page names its script")?;
    ensure!(script.starts_with("static/app."), "{script}");
    // A page is asked for each time, and what it names is kept.
    let script = format!("{}{script}", edge.url());
    let (first, content) = view(&script)?;
    ensure!(
        (first.as_str(), view(&script)?) == ("MISS", ("HIT".to_owned(), content.clone())),
        "{first}"
    );
    ensure!(content.contains("document"), "the page's script is missing: {content}");
    Ok(())
}

/// The repository of a site that npm builds, with a tag `v1`.
fn npm_repository(world: &World) -> Result<String> {
    let repository = world.folder().join("npm");
    copy(&file("tests/samples/site"), &repository)?;
    let at = repository.display().to_string();
    let identity = ["-c", "user.name=Site", "-c", "user.email=site@example.com"];
    for words in [
        &["init", "-q"][..],
        &["add", "."],
        &["commit", "-qm", "the site"],
        &["tag", "v1"],
    ] {
        world.run("git", &[&["-C", &at], &identity[..], words].concat())?;
    }
    Ok(at)
}

/// Where this machine's packages come from is this machine's affair.
fn with_npm(command: &mut Command) {
    for (name, value) in std::env::vars().filter(|(name, _)| name.to_lowercase().starts_with("npm_config_")) {
        command.env(name, value);
    }
    if let Some(home) = std::env::var_os("HOME") {
        command.env("npm_config_userconfig", Path::new(&home).join(".npmrc"));
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() {
            copy(&path, &to.join(name))?;
        } else {
            std::fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}
