//! CloudFront through the binary: an edge that serves what is stale until it is told to drop it, and a jm that is killed
//! while it tells.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use jm_sandbox::cloudfront::{CloudFrontServer, Pace, Store};
use serde_json::Value;
use tempfile::TempDir;

use crate::environment::{World, jm, journal, of_kind, said};

mod edge;
mod folder;
mod from_git;
mod line;
mod recovery;
mod releases;
use line::{Cut, Line};

/// No run takes so long.
const PATIENCE: Duration = Duration::from_mins(1);
const PLAN: &str = "
apiVersion: jm/v1
name: drop
title: Drop what is cached
steps:
  - id: drop
    uses: cloudfront.invalidate
    with: { paths: [/index.html, /static/*] }
";
const PUBLISH: &str = "
apiVersion: jm/v1
name: publish
title: Publish a page
inputs:
  file: { type: string }
steps:
  - id: meant
    uses: check.assert
    with: { that: \"${{ inputs.file != '' }}\", message: there is no page }
  - id: put
    uses: s3.put
    needs: [meant]
    with: { file: \"${{ inputs.file }}\", key: index.html, force: true }
";
const ASSETS: &str = "
apiVersion: jm/v1
kind: Targets
name: assets
targets:
  assets: { provider: s3, bucket: '${{ env.ASSETS_S3_BUCKET }}' }
";

/// A CloudFront of the test's own, with a line to it, and a plan that drops paths.
struct Scene {
    folder: TempDir,
    server: CloudFrontServer,
    distribution: String,
    line: Line,
    _runtime: tokio::runtime::Runtime,
}

impl Scene {
    fn set() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("drop.yaml"), PLAN)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let store = Store {
            // No viewer comes to this edge.
            endpoint: "http://127.0.0.1:9".to_owned(),
            access_key: "jm".to_owned(),
            secret_key: "jm-test-secret".to_owned(),
        };
        let root = folder.path().join("cloudfront");
        let start = CloudFrontServer::start(&root, "127.0.0.1:0".parse()?, &store, Pace::default());
        let server = runtime.block_on(start)?;
        Ok(Self {
            distribution: server.distribute("assets", "www.example.com")?,
            line: runtime.block_on(Line::to(&server.endpoint()))?,
            server,
            folder,
            _runtime: runtime,
        })
    }

    fn state(&self) -> std::path::PathBuf {
        self.folder.path().join("state")
    }

    /// The binary with nothing but CloudFront in its environment: the other targets are not there.
    fn jm(&self) -> Command {
        let mut command = jm(&self.state());
        for (name, value) in [
            ("AWS_ENDPOINT_URL_CLOUDFRONT", self.line.endpoint()),
            ("AWS_ACCESS_KEY_ID", "jm".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "jm-test-secret".to_owned()),
            ("CLOUDFRONT_DISTRIBUTION_ID", self.distribution.clone()),
        ] {
            command.env(name, value);
        }
        command
    }

    fn run(&self) -> Command {
        let mut command = self.jm();
        command
            .args(["plan", "run", "--yes", "--targets", "plans/targets.yaml"])
            .arg(self.folder.path().join("drop.yaml"));
        command
    }

    /// A run that is killed at the cut.
    fn kill_at(&self, cut: Cut) -> Result<()> {
        self.line.arm(cut);
        let mut child = self.run().stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let began = Instant::now();
        while !self.line.hit() {
            let ended = child.try_wait()?;
            ensure!(ended.is_none(), "it ended before the cut: {ended:?}");
            ensure!(began.elapsed() < PATIENCE, "the cut was not made");
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill()?;
        ensure!(child.wait()?.signal() == Some(9), "it was not killed");
        Ok(())
    }
}

#[test]
fn a_jm_that_is_killed_between_the_request_and_the_journal_asks_for_one_invalidation() -> Result<()> {
    // (where, invalidations that there are by then, attempts that it takes)
    for (cut, asked_for, attempts) in [
        (Cut::Before("POST "), 0, 2),
        (Cut::After("POST "), 1, 2),
        // It is accepted, and that is on disk: the resume only waits.
        (Cut::After("GET /2020-05-31/distribution/ID/invalidation/I"), 1, 1),
    ] {
        let scene = Scene::set()?;
        scene.kill_at(cut).with_context(|| format!("{cut:?}"))?;
        let count = || scene.server.invalidations(&scene.distribution);
        ensure!(count() == asked_for, "{cut:?}: {} by then", count());
        let output = scene.jm().args(["plan", "resume", "--yes"]).output()?;
        ensure!(output.status.code() == Some(0), "{cut:?}: {}", said(&output));
        ensure!(count() == 1, "{cut:?}: {} invalidations", count());
        let records = journal(&scene.state())?;
        let started = of_kind(&records, "step-started").len();
        ensure!(started == attempts, "{cut:?}: {started} attempts");
        ensure!(of_kind(&records, "step-succeeded").len() == 1, "{cut:?}: {records:?}");
    }
    Ok(())
}

#[test]
fn a_dry_run_of_an_invalidation_asks_for_none() -> Result<()> {
    let scene = Scene::set()?;
    let output = scene.run().arg("--dry-run").output()?;
    let text = said(&output);
    ensure!(output.status.code() == Some(0) && text.contains("0.010 USD"), "{text}");
    ensure!(scene.server.invalidations(&scene.distribution) == 0, "{text}");
    let output = scene
        .run()
        .env("CLOUDFRONT_DISTRIBUTION_ID", "")
        .arg("--dry-run")
        .output()?;
    let text = said(&output);
    ensure!(
        output.status.code() == Some(4)
            && text.contains("WOULD FAIL")
            && text.contains("set CLOUDFRONT_DISTRIBUTION_ID"),
        "{text}"
    );
    Ok(())
}

/// What a viewer gets: `x-cache` and the body.
fn view(url: &str) -> Result<(String, String)> {
    let url = url.trim_start_matches("http://");
    let (host, path) = url.split_once('/').unwrap_or((url, ""));
    let mut stream = TcpStream::connect(host)?;
    write!(
        stream,
        "GET /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"
    )?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    let (head, body) = reply.split_once("\r\n\r\n").context("a head")?;
    let cache = head.lines().find_map(|line| line.strip_prefix("x-cache: "));
    Ok((cache.unwrap_or_default().to_owned(), body.to_owned()))
}

/// Publishes a page in the sandbox's bucket of assets.
fn publish(world: &World, body: &str) -> Result<()> {
    let page = world.folder().join("index.html");
    std::fs::write(&page, body)?;
    let output = world
        .jm()
        .args(["plan", "run", "--yes", "--targets"])
        .arg(world.folder().join("assets.yaml"))
        .arg(world.folder().join("publish.yaml"))
        .args(["--input", &format!("file={}", page.display())])
        .output()?;
    ensure!(output.status.code() == Some(0), "{}", said(&output));
    Ok(())
}

#[test]
fn a_stale_edge_of_the_sandbox_becomes_fresh() -> Result<()> {
    let world = World::sandbox()?;
    for (name, text) in [("assets.yaml", ASSETS), ("publish.yaml", PUBLISH)] {
        std::fs::write(world.folder().join(name), text)?;
    }
    let edge = world.systems.variable("CDN_URL").to_owned();
    publish(&world, "old")?;
    ensure!(view(&edge)?.1 == "old", "{:?}", view(&edge)?);
    publish(&world, "new")?;
    let stale = view(&edge)?;
    ensure!(
        stale == ("Hit from cloudfront".to_owned(), "old".to_owned()),
        "{stale:?}"
    );

    // Who does not know the distribution finds it.
    let mut list = world.step("cloudfront.list", &["--format", "json"]);
    let output = list.env_remove("CLOUDFRONT_DISTRIBUTION_ID").output()?;
    ensure!(output.status.code() == Some(0), "{}", said(&output));
    let listed: Value = serde_json::from_slice(&output.stdout)?;
    let listed = listed.to_string();
    let id = world.systems.variable("CLOUDFRONT_DISTRIBUTION_ID");
    ensure!(listed.contains(&format!("\"id\":\"{id}\"")), "{listed}");

    let output = world.step("cloudfront.invalidate", &[]).output()?;
    ensure!(output.status.code() == Some(0), "{}", said(&output));
    let fresh = view(&edge)?;
    ensure!(
        fresh == ("Miss from cloudfront".to_owned(), "new".to_owned()),
        "{fresh:?}"
    );
    Ok(())
}
