//! A deployment that goes back, and a service that has failed: the plans on the sandbox's API server and on a real control
//! plane, their dry runs against what they then do, and what people are shown.

mod away;
mod known;
mod left;

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use jm_sandbox::journeyman::{NAMESPACE, REPLICAS};
use serde_json::Value;

use crate::cluster_loss::to_kubectl;
use crate::environment::{World, has_words, journal, of_kind, said};

const BACKEND: &str = "deployment/backend-deployment";
const GOOD: &str = "ghcr.io/your-org/journeyman-backend:1.0.0";
const MEND: &str = "plans/single-service-failure.yaml";
const TARGETS: [&str; 2] = ["--targets", "plans/targets.yaml"];

impl World {
    /// One step, as JSON: its exit code and what it gave out.
    fn outcome_of(&self, step: &str, with: &[&str]) -> Result<(Option<i32>, Value)> {
        let mut command = self.jm();
        command
            .args(["step", "run", step, "--yes", "--format", "json"])
            .args(TARGETS);
        for field in with {
            command.args(["-w", field]);
        }
        let output = command.output()?;
        let document: Value = serde_json::from_slice(&output.stdout).with_context(|| said(&output))?;
        Ok((output.status.code(), document["outputs"]["output"].clone()))
    }

    fn image(&self) -> Result<String> {
        let (_, history) = self.outcome_of("kubernetes.rollout_history", &[&format!("workload={BACKEND}")])?;
        let all = history["revisions"].as_array().context("revisions")?;
        let current = all.iter().find(|one| one["current"] == true).context("a current one")?;
        Ok(current["images"][0].as_str().context("an image")?.to_owned())
    }

    /// Deploys an image; it need not come up.
    fn deploy(&self, image: &str) -> Result<()> {
        let with = [
            &format!("workload={BACKEND}"),
            "container=backend",
            &format!("image={image}"),
            "allow_tag=true",
            "wait=false",
        ];
        let (code, output) = self.outcome_of("kubernetes.set_image", &with)?;
        ensure!(code == Some(0), "{output}");
        Ok(())
    }

    fn scale(&self, replicas: i32) -> Result<()> {
        let with = [&*format!("workload={BACKEND}"), &format!("replicas={replicas}")];
        let (code, output) = self.outcome_of("kubernetes.scale", &with)?;
        ensure!(code == Some(0), "{output}");
        Ok(())
    }

    /// Runs a plan dry and then for real, with `expected` as its exit code, and compares what was computed with what was
    /// done. That must be so of `computed` at least. Gives the journal of the run, and what was printed.
    fn dry_and_real(
        &self,
        plan: &str,
        inputs: &[&str],
        expected: i32,
        computed: &[&str],
    ) -> Result<(Vec<Value>, String)> {
        let words = |command: &mut std::process::Command| {
            command.args(["plan", "run", plan, "--yes"]);
            for input in inputs {
                command.args(["-i", input]);
            }
        };
        let mut dry = self.jm();
        words(&mut dry);
        let output = dry.args(["--dry-run", "--format", "json"]).output()?;
        let dry: Value = serde_json::from_slice(&output.stdout).with_context(|| said(&output))?;
        let mut real = self.jm();
        words(&mut real);
        let output = real.output()?;
        ensure!(output.status.code() == Some(expected), "{}", said(&output));
        let records = journal(&self.state())?;
        // What a step did counts also where it was of no help.
        let ended = ["step-succeeded", "step-failed"];
        let done: Vec<_> = ended.iter().flat_map(|kind| of_kind(&records, kind)).collect();
        let mut compared = Vec::new();
        for step in dry["steps"].as_array().context("steps")? {
            let ran = done.iter().find(|record| record["step"] == step["id"]);
            if let (Some(ran), true) = (ran, step["grade"] == "computed") {
                let changes = ran["changes"]["inline"].as_array().cloned().unwrap_or_default();
                ensure!(
                    step["changes"].as_array() == Some(&changes),
                    "told {step}, did {changes:?}"
                );
                compared.extend(step["id"].as_str());
            }
        }
        let missing: Vec<_> = computed.iter().filter(|step| !compared.contains(step)).collect();
        ensure!(
            missing.is_empty(),
            "{missing:?} were not compared, but {compared:?}: {:#}",
            dry["steps"]
        );
        Ok((records, said(&output)))
    }
}

fn has_succeeded(records: &[Value], step: &str) -> bool {
    of_kind(records, "step-succeeded")
        .iter()
        .any(|record| record["step"] == step)
}

fn goes_back(world: &World) -> Result<()> {
    world.deploy("ghcr.io/your-org/journeyman-backend:bad")?;
    let (records, text) = world.dry_and_real("plans/rollback-deployment.yaml", &[NO_MIGRATIONS], 0, &["undo"])?;
    ensure!(
        has_succeeded(&records, "undo") && has_succeeded(&records, "status"),
        "{text}"
    );
    ensure!(world.image()? == GOOD, "{text}");
    ensure!(world.ready_replicas()? == REPLICAS);
    ensure!(
        text.contains("from_revision: 2")
            && text.contains("REVISION  CURRENT")
            && text.contains("migrations: not asked"),
        "{text}"
    );
    // To a revision by its number; one that is not there is refused with those that are.
    let (_, text) = world.dry_and_real("plans/rollback-deployment.yaml", &["revision=7"], 4, &[])?;
    ensure!(
        text.contains("no revision 7") && text.contains("it has: 2, 3"),
        "{text}"
    );
    Ok(())
}

fn is_mended(world: &World) -> Result<()> {
    // Well: nothing is done.
    let (records, text) = world.dry_and_real(MEND, &[], 0, &[])?;
    ensure!(
        has_succeeded(&records, "watch") && !has_succeeded(&records, "restart"),
        "{text}"
    );

    // Nobody wants a pod of it: what is there is as it should be, and serves nobody.
    world.scale(0)?;
    let (records, text) = world.dry_and_real(MEND, &[], 4, &[])?;
    ensure!(
        !has_succeeded(&records, "restart")
            && has_words(&text, "wants 0 replicas")
            && has_succeeded(&records, "escalate"),
        "{text}"
    );
    world.scale(REPLICAS)?;

    // A restart does not help against an image that crashes, the revision before does. The run tells that it was needed.
    world.deploy("ghcr.io/your-org/journeyman-backend:crash")?;
    let (records, text) = world.dry_and_real(MEND, &[], 9, &["restart"])?;
    for step in ["pods", "describe", "history", "rollback"] {
        ensure!(has_succeeded(&records, step), "{step}\n{text}");
    }
    ensure!(text.contains("CrashLoopBackOff"), "{text}");
    ensure!(world.image()? == GOOD, "{text}");
    ensure!(world.ready_replicas()? == REPLICAS);
    Ok(())
}

#[test]
fn a_deployment_goes_back_in_the_sandbox() -> Result<()> {
    goes_back(&World::sandbox()?)
}

#[test]
fn a_deployment_goes_back_on_a_control_plane() -> Result<()> {
    goes_back(&World::real()?)
}

#[test]
fn a_service_that_fails_is_mended_in_the_sandbox() -> Result<()> {
    is_mended(&World::sandbox()?)
}

#[test]
fn a_service_that_fails_is_mended_on_a_control_plane() -> Result<()> {
    is_mended(&World::real()?)
}

/// The address of a service that answers well while the back end's template holds a text, and with 503 while it does not.
pub(crate) fn answering_where(world: &World, template: &'static str) -> Result<String> {
    let words = ["get", BACKEND, "-n", NAMESPACE, "-o", "jsonpath={.spec.template}"];
    let mut ask = to_kubectl(world, &words);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = format!("health_url=http://{}/health", listener.local_addr()?);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let is_well = ask
                .output()
                .is_ok_and(|said| String::from_utf8_lossy(&said.stdout).contains(template));
            // Who does not wait for the answer needs none.
            drop(answer(stream, is_well));
        }
    });
    Ok(address)
}

fn answer(mut stream: TcpStream, is_well: bool) -> Result<()> {
    let request = BufReader::new(stream.try_clone()?).lines();
    request
        .take_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty()))
        .count();
    let status = if is_well { "200 OK" } else { "503 Service Unavailable" };
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    )?;
    Ok(())
}

/// Steps of a run that kept what is needed to find out why, and went on with what is to help.
const KEPT: [&str; 4] = ["pods", "describe", "logs", "history"];

#[test]
fn pods_that_are_ready_and_do_not_answer_are_mended_too() -> Result<()> {
    let world = World::sandbox()?;
    let soon = "answers_within=3s";
    let mend = |template, code, computed: &[&str]| {
        let address = answering_where(&world, template)?;
        world.dry_and_real(MEND, &[&address, soon], code, computed)
    };
    // It answers: nothing is done.
    let (records, text) = mend(GOOD, 0, &[])?;
    ensure!(
        has_succeeded(&records, "answers") && of_kind(&records, "step-started").len() == 5,
        "{text}"
    );

    // After the restart it does: it is not rolled back.
    let (records, text) = mend("jm.dev/restarted-by", 9, &["restart"])?;
    for step in [&KEPT[..], &["restart", "answers-restarted"]].concat() {
        ensure!(has_succeeded(&records, step), "{step}\n{text}");
    }
    ensure!(
        !has_succeeded(&records, "rollback") && world.ready_replicas()? == REPLICAS,
        "{text}"
    );

    // Only what ran before does.
    world.deploy("ghcr.io/your-org/journeyman-backend:2.0.0")?;
    let (records, text) = mend(GOOD, 9, &["restart"])?;
    for step in [&KEPT[..], &["restart", "rollback", "answers-rolled-back"]].concat() {
        ensure!(has_succeeded(&records, step), "{step}\n{text}");
    }
    ensure!(world.image()? == GOOD && world.ready_replicas()? == REPLICAS, "{text}");

    // Nothing helps: people are called.
    let (records, text) = mend("never there", 4, &["restart"])?;
    ensure!(
        has_succeeded(&records, "rollback") && has_succeeded(&records, "escalate"),
        "{text}"
    );
    ensure!(
        has_words(&text, "The service does not answer, neither after a restart"),
        "{text}"
    );
    Ok(())
}

/// A restart makes a revision, too: the plan's own, where there is no other one, or that of the day before.
#[test]
fn a_restart_is_no_way_back() -> Result<()> {
    let world = World::sandbox()?;
    let soon = "answers_within=3s";
    let address = answering_where(&world, "never there")?;
    let (records, text) = world.dry_and_real(MEND, &[&address, soon], 4, &["restart"])?;
    ensure!(
        has_words(&text, "every revision that is kept runs what has failed")
            && !has_succeeded(&records, "rollback")
            && has_succeeded(&records, "escalate"),
        "{text}"
    );

    world.deploy("ghcr.io/your-org/journeyman-backend:2.0.0")?;
    let (code, output) = world.outcome_of("kubernetes.restart", &[&format!("workload={BACKEND}")])?;
    ensure!(code == Some(0), "{output}");
    let address = answering_where(&world, GOOD)?;
    let (records, text) = world.dry_and_real(MEND, &[&address, soon], 9, &["restart"])?;
    ensure!(has_succeeded(&records, "answers-rolled-back"), "{text}");
    ensure!(world.image()? == GOOD && world.ready_replicas()? == REPLICAS, "{text}");
    Ok(())
}

/// The question for the table of a well-known tool for migrations.
const MIGRATIONS: &str = "migrations=SELECT migration_time AS applied_at FROM public.knex_migrations";
const NO_MIGRATIONS: &str = "migrations=none";
const ROLLBACK: &str = "plans/rollback-deployment.yaml";
const WARNING: &str = "migrations were applied to the database (1, the newest at";

impl World {
    /// Rolls back from a bad image, with other variables than the world's. Its exit code, and what it printed.
    fn roll_back_with(&self, change: impl FnOnce(&mut std::process::Command)) -> Result<(Option<i32>, String)> {
        self.deploy("ghcr.io/your-org/journeyman-backend:bad")?;
        let mut command = self.jm();
        command.args(["plan", "run", ROLLBACK, "--yes", "-i", MIGRATIONS]);
        change(&mut command);
        let output = command.output()?;
        ensure!(self.image()? == GOOD, "it did not go back: {}", said(&output));
        Ok((output.status.code(), said(&output)))
    }
}

fn warns_of_migrations(world: &World) -> Result<()> {
    let database = jm_sandbox::journeyman::DATABASE;
    let query = |sql: &str| world.query(database, sql);
    query("CREATE TABLE public.knex_migrations (name text, migration_time timestamptz)")?;
    query("INSERT INTO public.knex_migrations VALUES ('first', now() - interval '1 day')")?;
    // None since then.
    world.deploy("ghcr.io/your-org/journeyman-backend:bad")?;
    let (records, text) = world.dry_and_real(ROLLBACK, &[MIGRATIONS], 0, &["undo"])?;
    ensure!(
        has_succeeded(&records, "schema-fits") && world.image()? == GOOD,
        "{text}"
    );

    // One since then: told before, in the dry run too, and the deployment goes back all the same.
    query("INSERT INTO public.knex_migrations VALUES ('second', now())")?;
    world.deploy("ghcr.io/your-org/journeyman-backend:bad")?;
    let dry = world
        .jm()
        .args(["plan", "run", ROLLBACK, "--dry-run", "-i", MIGRATIONS])
        .output()?;
    ensure!(has_words(&said(&dry), WARNING), "{}", said(&dry));
    let (records, text) = world.dry_and_real(ROLLBACK, &[MIGRATIONS], 9, &["undo"])?;
    ensure!(has_words(&text, WARNING), "{text}");
    ensure!(has_succeeded(&records, "status") && world.image()? == GOOD, "{text}");
    // Who does not ask is told that nobody does, and who says that there are none is not.
    for (inputs, code) in [(&[][..], 9), (&[NO_MIGRATIONS], 0)] {
        world.deploy("ghcr.io/your-org/journeyman-backend:bad")?;
        let (_, text) = world.dry_and_real(ROLLBACK, inputs, code, &["undo"])?;
        ensure!(!has_words(&text, WARNING), "{text}");
        ensure!(has_words(&text, "nobody asks (`migrations`)") == (code == 9), "{text}");
        ensure!(text.contains("migrations: not asked"), "{text}");
    }

    // That it cannot be asked holds nothing up, and is told.
    let away = format!("postgresql://nobody@127.0.0.1:1/{database}");
    let (code, text) = world.roll_back_with(|command| _ = command.env("DATABASE_URL", &away))?;
    ensure!(
        code == Some(9) && has_words(&text, "It is not known whether migrations were applied"),
        "{text}"
    );
    let (code, text) = world.roll_back_with(|command| _ = command.env_remove("DATABASE_URL"))?;
    ensure!(
        code == Some(9) && has_words(&text, "no database is configured to ask"),
        "{text}"
    );
    Ok(())
}

#[test]
fn a_rollback_past_a_migration_warns_in_the_sandbox() -> Result<()> {
    warns_of_migrations(&World::sandbox()?)
}

#[test]
fn a_rollback_past_a_migration_warns_on_a_control_plane() -> Result<()> {
    warns_of_migrations(&World::real()?)
}

/// The command that follows a log in a world, and the first line that it tells while it still runs.
fn following(world: &World, seconds: u32) -> Result<(std::process::Child, String)> {
    let mut command = world.step(
        "kubernetes.logs",
        &["-w", &format!("workload={BACKEND}"), "-w", "follow=true"],
    );
    command.args(["-w", &format!("follow_seconds={seconds}")]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let told = child.stderr.take().context("what it tells")?;
    let mut lines = BufReader::new(told).lines();
    let line = lines.find_map(|line| line.ok().filter(|line| line.contains("runs for")));
    ensure!(child.try_wait()?.is_none(), "it told nothing before its end");
    // The rest is read, so that it does not wait for a reader.
    std::thread::spawn(move || lines.count());
    Ok((child, line.context("no line of the log")?))
}

#[test]
fn logs_are_followed_while_they_come() -> Result<()> {
    let world = World::sandbox()?;
    let (child, line) = following(&world, 5)?;
    ensure!(line.contains("backend-deployment-"), "{line}");
    let output = child.wait_with_output()?;
    ensure!(output.status.code() == Some(0), "{}", said(&output));
    ensure!(
        String::from_utf8_lossy(&output.stdout).contains("runs for"),
        "{}",
        said(&output)
    );

    // Told to stop, it stops.
    let (child, _) = following(&world, 600)?;
    world.run("kill", &["-INT", &child.id().to_string()])?;
    ensure!(child.wait_with_output()?.status.code() == Some(5));
    Ok(())
}

#[test]
fn steps_show_people_what_kubectl_would() -> Result<()> {
    let world = World::sandbox()?;
    let workload = format!("workload={BACKEND}");
    for (step, parts) in [
        ("kubernetes.pods", ["NAME", "backend-deployment-", "Running"]),
        ("kubernetes.describe", ["Name:", "Replicas:", "Conditions:"]),
        (
            "kubernetes.logs",
            ["--- pod: backend-deployment-", "container: backend", "started at"],
        ),
    ] {
        let mut command = world.jm();
        let output = command
            .args(["step", "run", step, "-w", &workload])
            .args(TARGETS)
            .output()?;
        ensure!(output.status.code() == Some(0), "{}", said(&output));
        let text = String::from_utf8(output.stdout)?;
        for part in parts {
            ensure!(text.contains(part), "{step}: no {part} in\n{text}");
        }
    }
    let (_, pods) = world.outcome_of("kubernetes.pods", &[])?;
    let pods = pods["pods"].as_array().context("pods")?;
    let of_backend = pods.iter().filter(|pod| {
        pod["name"]
            .as_str()
            .is_some_and(|name| name.starts_with("backend-deployment-"))
    });
    ensure!(i32::try_from(of_backend.count())? == REPLICAS, "{pods:?}");
    Ok(())
}

#[test]
fn another_cluster_than_the_pinned_one_is_refused() -> Result<()> {
    let world = World::sandbox()?;
    let targets = world.folder().join("targets.yaml");
    let pinned = |identity: &str| {
        format!(
            "apiVersion: jm/v1\nkind: Targets\nname: pinned\ntargets:\n  cluster: {{ provider: kubernetes, namespace: roster-recall, identity: {identity} }}\n"
        )
    };
    std::fs::write(&targets, pinned("5f0c9d3e-0000-0000-0000-000000000000"))?;
    for dry in [&["--dry-run"][..], &[]] {
        let mut command = world.jm();
        command
            .args(["step", "run", "kubernetes.ready", "--yes", "--targets"])
            .arg(&targets)
            .args(dry);
        let output = command.output()?;
        ensure!(output.status.code() == Some(10), "{dry:?}: {}", said(&output));
    }
    Ok(())
}
