//! Locks that a server keeps itself: they keep apart machines that share no state.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};

use super::{Running, says};
use crate::environment::{World, journal, of_kind};

const PLAN: &str = r#"
apiVersion: jm/v1
name: held
inputs:
  flag: { type: string }
steps:
  - id: wait
    uses: command.run
    with: { shell: 'until test -e "$FLAG"; do sleep 0.05; done', env: { FLAG: "${{ inputs.flag }}" }, effect: read-only }
  - id: analyze
    uses: postgres.analyze
    needs: [wait]
    with: { database: journeyman_prod }
"#;
const TARGETS: &str = "apiVersion: jm/v1
kind: Targets
name: production
targets:
  database: { provider: postgres, url: \"${{ env.DATABASE_URL }}\" }
";
/// Who holds a database: process and name.
const HOLDERS: &str =
    "SELECT a.pid || ' ' || a.application_name FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'advisory' AND l.granted ORDER BY 1";

struct Laptops {
    world: World,
    plan: PathBuf,
    targets: PathBuf,
}

impl Laptops {
    fn new() -> Result<Self> {
        let world = World::sandbox()?;
        let laptops = Self {
            plan: world.folder().join("held.yaml"),
            targets: world.folder().join("production.yaml"),
            world,
        };
        std::fs::write(&laptops.plan, PLAN)?;
        std::fs::write(&laptops.targets, TARGETS)?;
        Ok(laptops)
    }

    fn state(&self, laptop: &str) -> PathBuf {
        self.world.folder().join(laptop)
    }

    fn flag(&self) -> PathBuf {
        self.world.folder().join("flag")
    }

    fn command(&self, laptop: &str) -> Command {
        let mut command = self.world.jm();
        command
            .env("JM_STATE", self.state(laptop))
            .env("USER", laptop)
            .stdin(Stdio::null());
        command
    }

    fn run(&self, laptop: &str) -> Command {
        let mut command = self.command(laptop);
        command
            .args(["plan", "run"])
            .arg(&self.plan)
            .arg("--targets")
            .arg(&self.targets);
        command.args(["--yes", "-i", &format!("flag={}", self.flag().display())]);
        command
    }

    fn resume(&self, laptop: &str) -> Command {
        let mut command = self.command(laptop);
        command
            .args(["plan", "resume", "--yes", "--targets"])
            .arg(&self.targets);
        command
    }

    /// A run that holds the database, and waits.
    fn hold(&self, laptop: &str) -> Result<Running> {
        let before = journal(&self.state(laptop))?;
        let mut running = Running::start(self.run(laptop))?;
        running.until_begun(&self.state(laptop), "wait", &before)?;
        Ok(running)
    }

    fn holders(&self) -> Result<Vec<String>> {
        self.world.query("postgres", HOLDERS)
    }

    fn go_on(&self) -> Result<()> {
        Ok(std::fs::write(self.flag(), "")?)
    }

    fn stay(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.flag())?)
    }

    /// Ends the session that holds the database, as a firewall would.
    fn cut(&self) -> Result<()> {
        let ended = self.world.query(
            "postgres",
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted",
        )?;
        ensure!(ended == ["t"], "{ended:?}");
        Ok(())
    }
}

#[test]
fn two_machines_without_a_common_state_exclude_each_other() -> Result<()> {
    let laptops = Laptops::new()?;
    let ada = laptops.hold("ada")?;
    let holders = laptops.holders()?;
    let name = holders[0].split(' ').nth(1).unwrap_or_default();
    ensure!(holders.len() == 1 && name.starts_with("jm/"), "{holders:?}");
    let refused = laptops.run("grace").output()?;
    ensure!(refused.status.code() == Some(8), "{}", super::said(&refused));
    says(
        &refused,
        &[
            "waiting a moment",
            "target `database` is held by another run",
            name,
            "since 20",
            "pg_terminate_backend",
        ],
    )?;
    let records = journal(&laptops.state("grace"))?;
    ensure!(of_kind(&records, "step-started").is_empty(), "it began all the same");
    // A dry run takes none.
    let dry = laptops.run("grace").arg("--dry-run").output()?;
    ensure!(dry.status.code() != Some(8), "{}", super::said(&dry));

    // The holder is killed, and the server lets go at once: whoever comes next has it.
    ada.kill()?;
    let grace = laptops.hold("grace")?;
    let refused = laptops.resume("ada").output()?;
    ensure!(refused.status.code() == Some(8), "{}", super::said(&refused));
    laptops.go_on()?;
    grace.ends(0)?;
    ensure!(laptops.holders()?.is_empty(), "{:?}", laptops.holders()?);
    let resumed = laptops.resume("ada").output()?;
    ensure!(resumed.status.code() == Some(0), "{}", super::said(&resumed));

    // Killed and resumed at once, by the same run: what is left of it on the server is its own.
    laptops.stay()?;
    laptops.hold("ada")?.kill()?;
    laptops.go_on()?;
    let resumed = laptops.resume("ada").output()?;
    ensure!(resumed.status.code() == Some(0), "{}", super::said(&resumed));
    Ok(())
}

#[test]
fn a_lock_that_went_with_its_connection_is_taken_again_or_the_run_stops() -> Result<()> {
    let laptops = Laptops::new()?;
    let mut ada = laptops.hold("ada")?;
    let before = laptops.holders()?;
    laptops.cut()?;
    ada.until("the lock again", || {
        let now = laptops.holders()?;
        Ok(now.len() == 1 && now != before)
    })?;
    laptops.go_on()?;
    says(&ada.ends(0)?, &["went with its connection", "completed"])?;

    // Somebody who waits for the lock gets it in the moment in which its holder loses it.
    laptops.stay()?;
    let mut ada = laptops.hold("ada")?;
    let mut psql = Command::new("psql");
    laptops.world.enter(&mut psql);
    let url = laptops
        .world
        .systems
        .variable("DATABASE_URL")
        .replace("/journeyman_prod", "/postgres");
    let take = "SET application_name = 'somebody'; \
                SELECT pg_advisory_lock(hashtextextended('jm holds database journeyman_prod', 0)); SELECT pg_sleep(600)";
    let other = Running::start({
        psql.args(["-XAtd", &url, "-c", take]).stdin(Stdio::null());
        psql
    })?;
    ada.until("somebody who waits", || {
        let waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
        Ok(laptops.world.query("postgres", waits)? == ["1"])
    })?;
    laptops.cut()?;
    let stopped = ada.ends(8)?;
    says(&stopped, &["held by another run", "somebody"])?;
    let records = journal(&laptops.state("ada"))?;
    let analyzed = of_kind(&records, "step-started")
        .iter()
        .any(|record| record["step"] == "analyze");
    ensure!(!analyzed, "it went on");
    other.kill()?;
    // Its session sleeps on: the server does not notice.
    laptops.cut()?;
    laptops.go_on()?;
    let resumed = laptops.resume("ada").output()?;
    ensure!(resumed.status.code() == Some(0), "{}", super::said(&resumed));
    Ok(())
}
