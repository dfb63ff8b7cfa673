//! `plans/data-center-failover.yaml` and `plans/data-center-fail-back.yaml` between two regions that run: two sandboxes,
//! each with a database server, a cluster and an application of its own.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use jm_sandbox::journeyman::{self, DATABASE, NAMESPACE, View};
use serde_json::Value;

use crate::cluster_loss::kubectl;
use crate::environment::{RESUME, World, has_words, journal_of, of_kind, said};
use crate::wire::{Port, Wire};

mod unseen;

const FAILOVER: &str = "data-center-failover";
const FAIL_BACK: &str = "data-center-fail-back";
/// Where the edges take the content from after the failover: this bucket, by its address.
const BUCKET: &str = "assets-standby";
const ASSETS: &str = "assets-standby.s3.eu-west-1.amazonaws.com";
/// How many pods the second region is told to run: not as many as it is found with.
const REPLICAS: i32 = 3;

/// The first region, which has the backups and the CDN, and a second one with an application and no database.
struct Regions {
    first: World,
    second: World,
}

impl Regions {
    fn up() -> Result<Self> {
        Self::beside(World::sandbox()?)
    }

    fn beside(first: World) -> Result<Self> {
        first.back_up()?;
        let second = World::sandbox()?;
        second.lose_database()?;
        Ok(Self { first, second })
    }

    /// A command that knows both regions.
    fn jm(&self, words: &[&str]) -> Result<Command> {
        let context = kubectl(&self.second, &["config", "current-context"])?;
        let mut command = self.first.jm();
        command
            .args(words)
            .env("STANDBY_ASSETS_S3_BUCKET", BUCKET)
            .env("STANDBY_DATABASE_URL", self.second.systems.variable("DATABASE_URL"))
            .env("STANDBY_KUBECONFIG", self.second.systems.variable("KUBECONFIG"))
            .env("STANDBY_KUBE_CONTEXT", context.trim());
        Ok(command)
    }

    /// Runs a plan of both regions, and says how it ended.
    fn start(&self, plan: &str, inputs: &[&str], code: i32) -> Result<String> {
        let path = format!("plans/{plan}.yaml");
        let mut command = self.jm(&["plan", "run", &path, "--yes", "--confirm", "production"])?;
        command.args(inputs.iter().flat_map(|input| ["-i", *input]));
        ended(&mut command, code)
    }

    /// Answers the question that the newest run stands at, and lets it go on.
    fn approve(&self, code: i32) -> Result<String> {
        self.answer()?;
        ended(&mut self.jm(&RESUME)?, code)
    }

    fn answer(&self) -> Result<()> {
        let words = ["run", "approve", "approve", "--reason", "the first region is lost"];
        ended(&mut self.jm(&words)?, 0).map(drop)
    }

    /// The steps of a plan's newest run that were begun.
    fn begun(&self, plan: &str) -> Result<Vec<String>> {
        let records = journal_of(&self.first.state(), plan)?;
        let started = of_kind(&records, "step-started");
        let steps = started.iter().filter_map(|record| record["step"].as_str());
        Ok(steps.map(str::to_owned).collect())
    }

    /// Publishes a page in a bucket of assets.
    fn publish(&self, bucket: &str, page: &str) -> Result<()> {
        let file = self.first.folder().join("index.html");
        std::fs::write(&file, page)?;
        let to = format!("s3://{bucket}/index.html");
        self.first.aws(&["s3", "cp", file.to_str().context("text")?, &to])?;
        Ok(())
    }

    /// What a viewer gets.
    fn viewed(&self) -> Result<View> {
        Ok(self.first.block_on(journeyman::viewed(&self.first.systems, ""))?)
    }

    /// The input by which the edge is proven: no name leads to the sandbox's.
    fn edge(&self) -> String {
        format!("edge_url={}", self.first.systems.variable("CDN_URL"))
    }

    /// The first region's cluster is found by a copy of its settings, in which this is its address; by the right one, where
    /// none is given.
    fn address_cluster(&mut self, settings: &str, address: Option<&str>) -> Result<()> {
        let server = settings
            .lines()
            .find_map(|line| line.trim_start().strip_prefix("server:"));
        let server = server.context("a server")?.trim();
        let config = self.first.folder().join("copied.kubeconfig");
        std::fs::write(&config, settings.replace(server, address.unwrap_or(server)))?;
        let environment = &mut self.first.systems.environment;
        environment.insert("KUBECONFIG".to_owned(), config.display().to_string());
        Ok(())
    }

    /// What leads to the first region's cluster.
    fn cluster_settings(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.first.systems.variable("KUBECONFIG"))?)
    }

    /// Where the edges take their content from.
    fn origin(&self) -> Result<String> {
        let id = self.first.systems.variable("CLOUDFRONT_DISTRIBUTION_ID");
        let config = self.first.aws(&["cloudfront", "get-distribution-config", "--id", id])?;
        let config: Value = serde_json::from_str(&config)?;
        let origin = &config["DistributionConfig"]["Origins"]["Items"][0]["DomainName"];
        Ok(origin.as_str().context("an origin")?.to_owned())
    }
}

fn ended(command: &mut Command, code: i32) -> Result<String> {
    let output = command.output()?;
    ensure!(output.status.code() == Some(code), "{command:?}: {}", said(&output));
    Ok(said(&output))
}

/// How many pods the application is declared with.
fn declared(world: &World) -> Result<i64> {
    let words = [
        "get",
        "deployment",
        "backend-deployment",
        "-n",
        NAMESPACE,
        "-o",
        "jsonpath={.spec.replicas}",
    ];
    let count = kubectl(world, &words)?;
    Ok(count.trim().parse()?)
}

/// Neither the application nor anybody else writes into this region.
fn fenced(region: &World) -> Result<()> {
    ensure!(declared(region)? == 0, "the first region's application still runs");
    ensure!(!lets_in(region)?, "the first region's database still lets sessions in");
    Ok(())
}

fn lets_in(world: &World) -> Result<bool> {
    let query = format!("SELECT datallowconn FROM pg_database WHERE datname = '{DATABASE}'");
    Ok(world.query("postgres", &query)? == ["t"])
}

#[test]
fn the_second_region_takes_over_and_gives_back_what_was_written_there() -> Result<()> {
    let regions = Regions::up()?;
    let (data, count, origin) = (
        regions.first.fingerprint()?,
        declared(&regions.first)?,
        regions.origin()?,
    );
    let replicas = format!("replicas={REPLICAS}");
    let (domain, edge) = (format!("assets_domain={ASSETS}"), regions.edge());
    regions.publish(journeyman::ASSETS, "first")?;
    ensure!(regions.viewed()?.body == "first", "{:?}", regions.viewed()?);

    // Nobody is asked to send viewers to where there is nothing.
    for (domain, told) in [
        (domain.as_str(), "the bucket does not exist"),
        (
            "assets_domain=assets-stanby.s3.eu-west-1.amazonaws.com",
            "`assets-stanby.s3.eu-west-1.amazonaws.com` is another one's address",
        ),
    ] {
        let text = regions.start(FAILOVER, &[domain, &edge], 4)?;
        ensure!(has_words(&text, told), "{text}");
        ensure!(!regions.begun(FAILOVER)?.iter().any(|step| step == "approve"), "{text}");
        if domain.contains(BUCKET) {
            regions.first.aws(&["s3api", "create-bucket", "--bucket", BUCKET])?;
            regions.publish(BUCKET, "second")?;
        }
    }

    // Another name for the bucket says nothing of which one it is of.
    let named = ["-i", "assets_domain=assets.example.com", "-i", &edge];
    let mut dry = regions.jm(&["plan", "run", "plans/data-center-failover.yaml", "--dry-run"])?;
    ended(dry.args(named), 0)?;

    let text = regions.start(FAILOVER, &[&replicas, &domain, &edge], 6)?;
    ensure!(has_words(&text, "the cluster answers, the database serves"), "{text}");
    // Nobody has agreed yet: the first region serves as before.
    ensure!(
        declared(&regions.first)? == count && lets_in(&regions.first)?,
        "fenced too early"
    );
    regions.approve(0)?;
    fenced(&regions.first)?;
    ensure!(regions.second.fingerprint()? == data, "other data in the second region");
    ensure!(regions.second.ready_replicas()? == REPLICAS, "other replicas");
    ensure!(
        regions.origin()? == ASSETS,
        "the edges go elsewhere: {}",
        regions.origin()?
    );
    ensure!(regions.viewed()?.body == "second", "{:?}", regions.viewed()?);

    // What is written there from now on is nowhere else.
    regions
        .second
        .query(DATABASE, "UPDATE users SET email = 'moved-' || id || '@example.com'")?;
    let data = regions.second.fingerprint()?;
    let assets_domain = format!("assets_domain={origin}");
    let words = [
        "plan",
        "run",
        "plans/data-center-fail-back.yaml",
        "--yes",
        "--confirm",
        "production",
    ];
    let mut unnamed = regions.jm(&words)?;
    unnamed
        .args(["-i", &assets_domain])
        .env_remove("CLOUDFRONT_DISTRIBUTION_ID");
    let text = ended(&mut unnamed, 4)?;
    ensure!(has_words(&text, "no distribution is named"), "{text}");
    regions.start(FAIL_BACK, &[&assets_domain, &edge, "edge_within=5s"], 6)?;
    // The edges do not get the page that was looked at: viewers keep the one that they had.
    regions.publish(journeyman::ASSETS, "another")?;
    let text = regions.approve(4)?;
    ensure!(
        has_words(&text, "Viewers do not get the page") && regions.origin()? == ASSETS,
        "{}: {text}",
        regions.origin()?
    );
    ensure!(regions.viewed()?.body == "second", "{:?}", regions.viewed()?);
    regions.publish(journeyman::ASSETS, "first")?;
    ended(&mut regions.jm(&RESUME)?, 0)?;
    ensure!(
        regions.first.fingerprint()? == data,
        "what the second region wrote did not come back"
    );
    ensure!(lets_in(&regions.first)?, "the first region's database is closed");
    ensure!(declared(&regions.first)? == count, "{} pods", declared(&regions.first)?);
    ensure!(declared(&regions.second)? == 0, "both regions run");
    ensure!(
        regions.origin()? == origin,
        "the edges go elsewhere: {}",
        regions.origin()?
    );
    ensure!(regions.viewed()?.body == "first", "{:?}", regions.viewed()?);
    Ok(())
}

#[test]
fn a_failover_that_fails_lets_the_first_region_serve_on() -> Result<()> {
    let regions = Regions::up()?;
    let (data, count) = (regions.first.fingerprint()?, declared(&regions.first)?);
    let second = declared(&regions.second)?;
    // The restored copy lacks a table that is looked for.
    let tables = r#"critical_tables=["users", "never_there"]"#;
    let unwell = format!("primary_url={}never-there", regions.first.systems.variable("CDN_URL"));
    let text = regions.start(FAILOVER, &[tables, &unwell], 6)?;
    ensure!(
        has_words(
            &text,
            "the cluster answers, the database serves, the address answers, with 403"
        ),
        "{text}"
    );
    let text = regions.approve(4)?;
    ensure!(text.contains("never_there"), "{text}");
    ensure!(
        regions.begun(FAILOVER)?.iter().any(|step| step == "fence-database"),
        "nothing was fenced"
    );
    ensure!(lets_in(&regions.first)?, "the first region's database stayed closed");
    ensure!(regions.first.fingerprint()? == data, "other data in the first region");
    ensure!(declared(&regions.first)? == count, "{} pods", declared(&regions.first)?);
    ensure!(
        declared(&regions.second)? == second,
        "the second region's application stays stopped"
    );
    Ok(())
}

/// Somebody whom no plan names writes into the second region while it is dumped: it is found out, and nothing is switched.
#[test]
fn what_is_written_while_the_second_region_is_dumped_is_not_left_behind() -> Result<()> {
    let regions = Regions::up()?;
    regions.start(FAILOVER, &[], 6)?;
    regions.approve(0)?;
    regions.start(FAIL_BACK, &[], 6)?;
    let url = regions.second.systems.variable("DATABASE_URL").to_owned();
    let over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writer = std::thread::spawn({
        let over = std::sync::Arc::clone(&over);
        move || {
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                let update = "UPDATE users SET email = 'late-' || id || '@example.com' WHERE id = 1";
                drop(Command::new("psql").args(["-XAtqd", &url, "-c", update]).output());
            }
        }
    });
    let refused = regions.approve(4);
    over.store(true, std::sync::atomic::Ordering::Relaxed);
    drop(writer.join());
    let text = refused?;
    ensure!(
        has_words(&text, "while it was dumped, and the dump lacks that"),
        "{text}"
    );
    ensure!(lets_in(&regions.second)?, "the second region's database stayed closed");
    ensure!(
        declared(&regions.second)? > 0,
        "the second region's application stays stopped"
    );
    // Nobody writes any more: it is dumped anew, and all of it comes along.
    let data = regions.second.fingerprint()?;
    ended(&mut regions.jm(&RESUME)?, 0)?;
    ensure!(
        regions.first.fingerprint()? == data,
        "what was written late did not come along"
    );
    Ok(())
}

#[test]
fn one_region_under_two_names_is_left_alone() -> Result<()> {
    let regions = Regions::up()?;
    for copied in ["STANDBY_DATABASE_URL", "STANDBY_KUBECONFIG"] {
        let from = copied.trim_start_matches("STANDBY_");
        let mut command = regions.jm(&[
            "plan",
            "run",
            "plans/data-center-failover.yaml",
            "--yes",
            "--confirm",
            "production",
        ])?;
        command.env(copied, regions.first.systems.variable(from));
        let text = ended(&mut command, 4)?;
        ensure!(text.contains("is the first one's") && text.contains(copied), "{text}");
        ensure!(!regions.begun(FAILOVER)?.iter().any(|step| step == "approve"), "{text}");
    }
    ensure!(lets_in(&regions.first)?);
    Ok(())
}
