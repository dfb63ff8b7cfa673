//! What is published is written down, and `plans/remove-old-assets.yaml` removes by that and by nothing else.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use jm_sandbox::journeyman;
use serde_json::Value;
use tempfile::TempDir;

use super::recovery::{broken, recover, stored};
use crate::environment::{folder, jm, said, variables};

const REMOVE: [&str; 4] = ["plan", "run", "plans/remove-old-assets.yaml", "--format=json"];
const LET_THROUGH: [&str; 3] = ["--yes", "--confirm", "production"];

#[test]
fn what_is_published_is_written_down_and_stays_while_it_is_young() -> Result<()> {
    let (world, repository) = broken()?;
    let commit = world.run("git", &["-C", &repository, "rev-parse", "v1.0.0"])?;
    let inputs = [
        &format!("repository={repository}"),
        "commit=v1.0.0",
        "install=[\"true\"]",
        r#"build=["sh", "build.sh"]"#,
    ];
    let before = stored(&world)?;
    let output = recover(&world, &inputs).args(["--until", "assets"]).output()?;
    ensure!(output.status.code() == Some(5), "{}", said(&output));
    let keys = |stored: Vec<(String, String)>| stored.into_iter().map(|(key, _)| key);
    let is_manifest = |key: &String| key.starts_with(".jm/releases/");
    let first: Vec<String> = keys(stored(&world)?).collect();
    ensure!(
        first.iter().filter(|key| is_manifest(key)).count() == 1 && first.len() == before.len() + 1,
        "not only the manifest came: {first:?}"
    );
    let output = world
        .jm()
        .args(["plan", "resume", "--yes", "--confirm", "production"])
        .output()?;
    ensure!(output.status.code() == Some(0), "{}", said(&output));
    let (written, site): (Vec<_>, Vec<_>) = keys(stored(&world)?).partition(is_manifest);
    let [written] = &written[..] else {
        anyhow::bail!("not one manifest: {written:?}");
    };
    let place = format!("s3://{}/{written}", journeyman::ASSETS);
    let manifest: Value = serde_json::from_str(&world.aws(&["s3", "cp", &place, "-"])?)?;
    ensure!(manifest["commit"] == commit.trim(), "{manifest}");
    let named = manifest["objects"].as_array().context("objects")?.iter();
    let named: Vec<&str> = named.filter_map(|object| object["key"].as_str()).collect();
    ensure!(named == site, "{named:?} are named, and {site:?} are there");

    let remove = |words: &[&str]| {
        let mut command = world.jm();
        command.args(REMOVE).args(LET_THROUGH).args(words).output()
    };
    // Nobody has said how many days.
    let output = remove(&[])?;
    ensure!(
        output.status.code() == Some(3) && said(&output).contains("days"),
        "{}",
        said(&output)
    );
    for words in [&["-i", "days=1"][..], &["-i", "days=1", "-i", "unrecorded=remove"]] {
        let output = remove(words)?;
        ensure!(output.status.code() == Some(0), "{}", said(&output));
        let result: Value = serde_json::from_slice(&output.stdout)?;
        ensure!(result["outputs"]["removed"] == 0, "{result}");
    }

    // What is live is not what was written down: somebody has to look first.
    let script = site.iter().find(|key| key.starts_with("static/")).context("a script")?;
    let other = world.folder().join("other");
    std::fs::write(&other, "hack()\n")?;
    let place = format!("s3://{}/{script}", journeyman::ASSETS);
    world.aws(&["s3", "cp", other.to_str().context("text")?, &place])?;
    let output = remove(&["-i", "days=1"])?;
    let text = said(&output);
    ensure!(
        output.status.code() == Some(4) && text.contains("is not whole"),
        "{text}"
    );
    Ok(())
}

/// An S3 server of the test's own that keeps objects as files, so that they can be made old.
struct Gateway {
    folder: TempDir,
    script: PathBuf,
    environment: BTreeMap<String, String>,
}

const BUCKET: &str = "assets";
const DAY: Duration = Duration::from_hours(24);

impl Gateway {
    fn start() -> Result<Self> {
        let services =
            std::env::var("JM_TEST_SERVICES").context("JM_TEST_SERVICES is not set: run the tests by `tests/run`")?;
        let (folder, script) = (folder()?, Path::new(&services).join("s3"));
        let place = folder.path().join("s3");
        let output = Command::new(&script)
            .arg("start")
            .arg(&place)
            .arg("versitygw")
            .output()?;
        ensure!(output.status.success(), "{}", said(&output));
        let gateway = Self {
            environment: variables(&std::fs::read_to_string(place.join("env"))?),
            folder,
            script,
        };
        gateway.aws(&["s3api", "create-bucket", "--bucket", BUCKET])?;
        Ok(gateway)
    }

    fn jm(&self) -> Command {
        let mut command = jm(&self.folder.path().join("state"));
        command.envs(&self.environment).env("ASSETS_S3_BUCKET", BUCKET);
        command
    }

    fn aws(&self, words: &[&str]) -> Result<String> {
        let program = std::env::var("JM_TEST_AWS").context("JM_TEST_AWS is not set: run the tests by `tests/run`")?;
        let output = Command::new(program).args(words).envs(&self.environment).output()?;
        ensure!(output.status.success(), "{words:?}: {}", said(&output));
        Ok(String::from_utf8(output.stdout)?)
    }

    fn keep_versions(&self) -> Result<()> {
        let on = "Status=Enabled";
        self.aws(&[
            "s3api",
            "put-bucket-versioning",
            "--bucket",
            BUCKET,
            "--versioning-configuration",
            on,
        ])?;
        Ok(())
    }

    /// Publishes these scripts as a release, by the steps of `plans/cdn-recovery.yaml`, so many days ago.
    fn publish(&self, days: u32, scripts: &[&str]) -> Result<()> {
        let site = self.folder.path().join(format!("site-{days}"));
        std::fs::create_dir_all(site.join("static"))?;
        for script in scripts {
            std::fs::write(site.join("static").join(script), format!("run('{script}')"))?;
        }
        std::fs::write(site.join("index.html"), format!("{scripts:?}"))?;
        let directory = format!("directory={}", site.display());
        for (step, more) in [("s3.sync", &[][..]), ("s3.record_release", &["--with", "commit=abc"])] {
            let mut command = self.jm();
            command.args([
                "step",
                "run",
                step,
                "--target",
                "assets",
                "--targets",
                "plans/targets.yaml",
                "--with",
            ]);
            let output = command.arg(&directory).args(more).args(LET_THROUGH).output()?;
            ensure!(output.status.code() == Some(0), "{}", said(&output));
        }
        self.make_older(days)
    }

    /// All that was written just now was written so many days ago: the objects, and what the newest manifest says.
    fn make_older(&self, days: u32) -> Result<()> {
        let ago = jm_step::clock::now() - jiff::SignedDuration::from_hours(24 * i64::from(days));
        let newest = self.listed(".jm/releases/")?.pop().context("a manifest")?;
        let place = format!("s3://{BUCKET}/{newest}");
        let mut manifest: Value = serde_json::from_str(&self.aws(&["s3", "cp", &place, "-"])?)?;
        manifest["recorded_at"] = ago.to_string().into();
        let file = self.folder.path().join("manifest.json");
        std::fs::write(&file, manifest.to_string())?;
        let dated = format!("s3://{BUCKET}/.jm/releases/{}.json", ago.strftime("%Y%m%dT%H%M%SZ"));
        self.aws(&["s3", "cp", file.to_str().context("text")?, &dated])?;
        self.aws(&["s3", "rm", &place])?;
        let young = SystemTime::now() - DAY / 2;
        for key in self.listed("")? {
            let file = self.folder.path().join("s3/data").join(BUCKET).join(key);
            let file = std::fs::File::options().write(true).open(file)?;
            if file.metadata()?.modified()? > young {
                file.set_modified(SystemTime::now() - DAY * days)?;
            }
        }
        Ok(())
    }

    /// While `look` looks, the first page is another than the newest release says, of the same size.
    fn an_older_page_is_live(&self, look: impl FnOnce() -> Result<()>) -> Result<()> {
        let place = format!("s3://{BUCKET}/index.html");
        let newest = self.aws(&["s3", "cp", &place, "-"])?;
        let file = self.folder.path().join("page");
        let put = |page: &str| {
            std::fs::write(&file, page)?;
            self.aws(&["s3", "cp", file.to_str().context("text")?, &place])
        };
        put(&newest.replace('d', "a"))?;
        look()?;
        put(&newest)?;
        Ok(())
    }

    /// The keys that start so, in their order.
    fn listed(&self, prefix: &str) -> Result<Vec<String>> {
        let listed = self.aws(&["s3api", "list-objects-v2", "--bucket", BUCKET, "--prefix", prefix])?;
        let listed: Value = serde_json::from_str(&listed)?;
        let keys = listed["Contents"].as_array().into_iter().flatten();
        Ok(keys.filter_map(|one| one["Key"].as_str().map(str::to_owned)).collect())
    }

    fn remove(&self, words: &[&str]) -> Command {
        let mut command = self.jm();
        command.args(REMOVE).args(words);
        command
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // What does not end here ends with this process, which it was told to watch.
        drop(
            Command::new(&self.script)
                .arg("stop")
                .arg(self.folder.path().join("s3"))
                .output(),
        );
    }
}

#[test]
fn what_no_release_of_the_last_days_names_gets_a_marker_and_nothing_else_is_touched() -> Result<()> {
    let gateway = Gateway::start()?;
    let days = ["-i", "days=30", "-i", "at_least=1"];
    let with_days = |words: &[&str]| gateway.remove(&[&days[..], words].concat()).output();
    let scripts = || gateway.listed("static/");

    // Without versions and without a release there is nothing to go by.
    gateway.aws(&["s3api", "put-object", "--bucket", BUCKET, "--key", "static/first.js"])?;
    let output = with_days(&LET_THROUGH)?;
    let text = said(&output);
    ensure!(
        output.status.code() == Some(4) && text.contains("keeps no versions"),
        "{text}"
    );
    gateway.keep_versions()?;
    let output = with_days(&LET_THROUGH)?;
    let text = said(&output);
    ensure!(
        output.status.code() == Some(4) && text.contains("no release is written down"),
        "{text}"
    );
    gateway.aws(&["s3", "rm", &format!("s3://{BUCKET}/static/first.js")])?;

    gateway.publish(90, &["a.js", "b.js"])?;
    gateway.publish(45, &["b.js", "c.js"])?;
    gateway.publish(5, &["c.js", "d.js"])?;
    let before = scripts()?;
    ensure!(
        before == ["static/a.js", "static/b.js", "static/c.js", "static/d.js"],
        "{before:?}"
    );

    // Whoever has not agreed, or only wants to know, deletes nothing.
    let output = with_days(&[])?;
    ensure!(output.status.code() == Some(10), "{}", said(&output));
    let dry = with_days(&["--dry-run", "--confirm", "production"])?;
    let text = said(&dry);
    ensure!(dry.status.code() == Some(0), "{text}");
    for expected in [
        "static/a.js",
        "1 assets, 11 bytes, are deleted",
        "the bucket keeps their versions",
    ] {
        ensure!(text.contains(expected), "no `{expected}` in {text}");
    }
    ensure!(scripts()? == before, "something was deleted");

    gateway.an_older_page_is_live(|| {
        let output = with_days(&[&LET_THROUGH[..], &["-i", "sample=1"]].concat())?;
        let text = said(&output);
        // Whether the sample has the page is chance: then the release is not whole, and else the step itself refuses.
        let (code, words) = match output.status.code() {
            Some(4) => (4, "is not whole"),
            _ => (10, "is not the one that is live"),
        };
        ensure!(output.status.code() == Some(code) && text.contains(words), "{text}");
        ensure!(scripts()? == before, "something was deleted");
        Ok(())
    })?;

    let output = with_days(&LET_THROUGH)?;
    ensure!(output.status.code() == Some(0), "{}", said(&output));
    let result: Value = serde_json::from_slice(&output.stdout)?;
    let removed = (&result["outputs"]["removed"], &result["outputs"]["bytes"]);
    ensure!(removed == (&1.into(), &11.into()), "{result}");
    ensure!(scripts()? == before[1..], "{:?}", scripts()?);
    let versions = gateway.aws(&[
        "s3api",
        "list-object-versions",
        "--bucket",
        BUCKET,
        "--prefix",
        "static/a.js",
    ])?;
    let versions: Value = serde_json::from_str(&versions)?;
    ensure!(
        versions["DeleteMarkers"][0]["IsLatest"] == true && versions["Versions"][0]["Size"] == 11,
        "{versions}"
    );

    // What is live is as it was, and a second time there is nothing to do.
    let output = with_days(&LET_THROUGH)?;
    ensure!(output.status.code() == Some(0), "{}", said(&output));
    ensure!(scripts()? == before[1..], "{:?}", scripts()?);
    Ok(())
}
