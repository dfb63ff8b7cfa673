//! Who brings the new cluster up: a program that is named, those of the examples, a person.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{EVERYTHING, REBUILD, address, kept, lose_address, run, world};
use crate::cluster_loss::identity;
use crate::environment::{RESUME, World, file, has_words, journal_of, of_kind, said};

/// A file that is there once the new cluster is.
fn up(world: &World) -> PathBuf {
    world.folder().join("up")
}

/// The new cluster comes up in the place of the old one, which is full of workloads until then.
fn bring_up(world: &World) -> Result<()> {
    world.lose_cluster()?;
    Ok(std::fs::write(up(world), "")?)
}

/// What tells the plan whether it is there.
fn provisioned(world: &World) -> String {
    format!(
        "provisioned={}",
        Value::from(vec!["test", "-e", &up(world).display().to_string()])
    )
}

#[test]
fn the_program_that_is_named_brings_the_cluster_up_first() -> Result<()> {
    let (world, before) = world()?;
    let asked = world.folder().join("asked");
    let script = format!(
        "touch {}; until [ -e {} ]; do sleep 0.1; done",
        asked.display(),
        up(&world).display()
    );
    let provision = format!("provision={}", Value::from(vec!["sh", "-c", &script]));
    let mut rebuild = world.jm();
    rebuild
        .args(REBUILD)
        .args(["-i", &provision, "-i", &provisioned(&world)]);
    let running = std::thread::spawn(move || rebuild.output());
    while !asked.exists() {
        ensure!(
            !running.is_finished(),
            "the program was not asked: {}",
            said(&join(running)?)
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    bring_up(&world)?;
    let output = join(running)?;
    ensure!(output.status.code() == Some(0), "{}", said(&output));
    before.check(&world)?;

    // Where it is up already the program is not run again, and what runs there by now is not gone over.
    std::fs::remove_file(&asked)?;
    let mut again = world.jm();
    again.args(REBUILD).args(["-i", &provision, "-i", &provisioned(&world)]);
    let output = again.args(["--until", "foundation"]).output()?;
    ensure!(output.status.code() == Some(10), "{}", said(&output));
    ensure!(!asked.exists(), "it was run again");
    Ok(())
}

fn join(running: std::thread::JoinHandle<std::io::Result<Output>>) -> Result<Output> {
    let ended = running.join().map_err(|_| anyhow::anyhow!("the run panicked"))?;
    Ok(ended?)
}

/// Nobody is named who brings it up, and the kubeconfig is not there before it is: the plan waits for both.
#[test]
fn a_cluster_that_somebody_brings_up_meanwhile_is_waited_for() -> Result<()> {
    let (world, before) = world()?;
    lose_address(&world)?;
    let mut rebuild = world.jm();
    rebuild.args(REBUILD);
    let running = std::thread::spawn(move || rebuild.output());
    let waits = || -> Result<bool> {
        let records = journal_of(&world.state(), "cluster-failure").unwrap_or_default();
        let failed = of_kind(&records, "step-failed");
        Ok(failed
            .iter()
            .any(|record| record["step"] == "guard" && record["will_retry"].is_string()))
    };
    while !waits()? {
        ensure!(!running.is_finished(), "it did not wait: {}", said(&join(running)?));
        std::thread::sleep(Duration::from_millis(50));
    }
    std::fs::rename(kept(&world), address(&world))?;
    let output = join(running)?;
    ensure!(output.status.code() == Some(0), "{}", said(&output));
    before.check(&world)
}

/// `kind` and `terraform`, played: what they make is the address of the sandbox's new cluster.
const KIND: &str = r#"case "$1 $2" in
  "get clusters") cat "$MADE" 2>/dev/null || true ;;
  "create cluster") cp "$KEPT" "$6" && echo "$4" >"$MADE" ;;
esac"#;
const TERRAFORM: &str = r#"case "$1" in
  plan) [ -e "$MADE" ] || exit 2 ;;
  apply) cp "$KEPT" "$KUBECONFIG" && touch "$MADE" ;;
esac"#;

/// The programs of the two examples, as the plan takes them: what brings a cluster up, and what asks for it.
#[test]
fn both_examples_bring_up_the_cluster_that_the_plan_rebuilds_in() -> Result<()> {
    let (world, before) = world()?;
    let address = address(&world);
    let kind = json!([
        "kind",
        "create",
        "cluster",
        "--name",
        "journeyman",
        "--kubeconfig",
        address
    ]);
    let is_up = json!([file("examples/provision-kind/is-up"), "journeyman", address]);
    let terraform = json!(["terraform", "apply", "-auto-approve"]);
    let is_applied = json!([file("examples/provision-terraform/is-applied")]);
    for (name, script, provision, provisioned) in [
        ("kind", KIND, kind, is_up),
        ("terraform", TERRAFORM, terraform, is_applied),
    ] {
        let programs = world.folder().join(name);
        std::fs::create_dir(&programs)?;
        let program = programs.join(name);
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n"))?;
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
        let kubectl = std::env::var("KUBEBUILDER_ASSETS").unwrap_or_default();
        let path = format!("{}:{kubectl}:{}", programs.display(), std::env::var("PATH")?);
        lose_address(&world)?;
        let output = world
            .jm()
            .env("PATH", path)
            .env("KEPT", kept(&world))
            .env("MADE", programs.join("made"))
            .args(REBUILD)
            .args([
                "-i",
                &format!("provision={provision}"),
                "-i",
                &format!("provisioned={provisioned}"),
            ])
            .args(["-i", r#"provision_env=["KUBECONFIG", "KEPT", "MADE"]"#])
            .output()?;
        ensure!(output.status.code() == Some(0), "{name}: {}", said(&output));
        before.check(&world)?;
    }
    Ok(())
}

#[test]
fn somebody_who_brings_the_cluster_up_by_hand_is_waited_for() -> Result<()> {
    let (world, before) = world()?;
    let resume = |code| -> Result<String> {
        let output = world.jm().args(RESUME).output()?;
        ensure!(output.status.code() == Some(code), "{}", said(&output));
        Ok(said(&output))
    };
    let output = world
        .jm()
        .args(REBUILD)
        .args(["-i", "by_hand=true", "-i", &provisioned(&world)])
        .output()?;
    let text = said(&output);
    ensure!(output.status.code() == Some(6), "{text}");
    for words in ["Bring up a new, empty cluster", "kubectl get nodes", "jm run approve"] {
        ensure!(text.contains(words), "no `{words}`: {text}");
    }
    resume(6)?;
    bring_up(&world)?;
    run(&world, &["run", "approve", "provision-by-hand", "--reason", "it is up"])?;
    resume(0)?;
    before.check(&world)
}

/// A pin names the cluster that is lost: what the plan itself brings up in its place is taken all the same, and nothing else.
#[test]
fn a_pin_on_the_cluster_that_is_lost_keeps_nobody_from_its_successor() -> Result<()> {
    let (world, _) = world()?;
    let lost = identity(&world)?;
    let pinned = |words: &[&str], until: &[&str]| {
        let mut command = world.jm();
        command.args(words).args(until).env("KUBE_CLUSTER_UID", &lost);
        Ok::<_, anyhow::Error>(command.output()?)
    };
    // One that was up before anything was done may be anybody's.
    world.lose_cluster()?;
    let output = pinned(&REBUILD, &[])?;
    let text = said(&output);
    ensure!(output.status.code() == Some(10), "{text}");
    ensure!(has_words(&text, &format!("the targets file pins `{lost}`")), "{text}");
    ensure!(world.objects()?.is_empty(), "something was restored");

    lose_address(&world)?;
    let rebuild = EVERYTHING.rebuild(&world)?;
    let rebuild: Vec<&str> = rebuild.iter().map(String::as_str).collect();
    let output = pinned(&rebuild, &["--until", "configuration"])?;
    let text = said(&output);
    ensure!(output.status.code() == Some(5), "{text}");
    let found = identity(&world)?;
    ensure!(found != lost, "it is the same cluster");
    ensure!(
        has_words(&text, &format!("target `cluster` is `{found}` from now on")),
        "{text}"
    );
    // The resume holds to it, and other plans to the pin.
    let output = pinned(&RESUME, &["--until", "volumes"])?;
    ensure!(output.status.code() == Some(5), "{}", said(&output));
    let output = pinned(
        &["step", "run", "kubernetes.pods", "--targets", "plans/targets.yaml"],
        &[],
    )?;
    ensure!(output.status.code() == Some(10), "{}", said(&output));
    Ok(())
}
