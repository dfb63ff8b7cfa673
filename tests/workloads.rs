//! A deployment that goes back, and a service that has failed: the plans on the sandbox's API server and on a real control
//! plane, their dry runs against what they then do, and what people are shown.

use anyhow::{Context, Result, ensure};
use jm_sandbox::journeyman::REPLICAS;
use serde_json::Value;

use crate::environment::{World, journal, of_kind, said};

const BACKEND: &str = "deployment/backend-deployment";
const GOOD: &str = "ghcr.io/your-org/journeyman-backend:1.0.0";
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
    let (records, text) = world.dry_and_real("plans/rollback-deployment.yaml", &[], 0, &["undo"])?;
    ensure!(
        has_succeeded(&records, "undo") && has_succeeded(&records, "status"),
        "{text}"
    );
    ensure!(world.image()? == GOOD, "{text}");
    ensure!(world.ready_replicas()? == REPLICAS);
    ensure!(
        text.contains("from_revision: 2") && text.contains("REVISION  CURRENT"),
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
    let (records, text) = world.dry_and_real("plans/single-service-failure.yaml", &[], 0, &[])?;
    ensure!(
        has_succeeded(&records, "watch") && !has_succeeded(&records, "restart"),
        "{text}"
    );

    // A restart does not help against an image that crashes, the revision before does. The run tells that it was needed.
    world.deploy("ghcr.io/your-org/journeyman-backend:crash")?;
    let (records, text) = world.dry_and_real("plans/single-service-failure.yaml", &[], 9, &["restart"])?;
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
