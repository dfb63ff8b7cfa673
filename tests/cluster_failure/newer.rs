//! What is newer than the export: an image in the place of one that broke everything, and manifests of a commit.

use std::fs;

use anyhow::{Context, Result, ensure};
use jm_sandbox::journeyman::NAMESPACE;
use serde_json::{Value, json};

use super::{STAND_IN, newer_digest, world_on};
use crate::backup_kubernetes::BACK_UP;
use crate::cluster_loss::kubectl;
use crate::environment::{RESUME, World, has_words, journal, of_kind, said};

const BACKEND: &str = "deployment/backend-deployment";

/// A repository whose commit has one value of a ConfigMap, and whose working tree another one. And that commit.
fn repository(world: &World) -> Result<(String, String)> {
    let place = world.folder().join("repository");
    let manifests = place.join("kubernetes");
    fs::create_dir_all(&manifests)?;
    let manifest = |value: &str| {
        let newer = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "newer" }, "data": { "from": value } });
        fs::write(manifests.join("newer.json"), newer.to_string())
    };
    let at = place.display().to_string();
    let git = |words: &[&str]| {
        let who = ["-C", &at, "-c", "user.name=x", "-c", "user.email=x@example.com"];
        world.run("git", &[&who[..], words].concat())
    };
    git(&["init", "--quiet"])?;
    manifest("the commit")?;
    git(&["add", "."])?;
    git(&["commit", "--quiet", "-m", "newer"])?;
    manifest("the working tree")?;
    let commit = git(&["rev-parse", "HEAD"])?.trim().to_owned();
    Ok((at, commit))
}

#[test]
fn an_image_that_broke_everything_is_not_waited_for_and_manifests_are_those_of_the_commit() -> Result<()> {
    let (world, _) = world_on(&STAND_IN)?;
    let bad = format!("ghcr.io/your-org/journeyman-backend-bad@sha256:{}", "c".repeat(64));
    kubectl(
        &world,
        &["set", "image", BACKEND, "-n", NAMESPACE, &format!("backend={bad}")],
    )?;
    let exported = world.jm().args(BACK_UP).output()?;
    ensure!(exported.status.code() == Some(0), "{}", said(&exported));
    world.lose_cluster()?;

    // The one that ran is tried, and is the end of it.
    let words = STAND_IN.rebuild(&world)?;
    let output = world.jm().args(&words).output()?;
    let text = said(&output);
    ensure!(output.status.code() == Some(4), "{text}");
    let records = journal(&world.state())?;
    let failed = of_kind(&records, "step-failed");
    ensure!(failed.iter().any(|record| record["step"] == "application"), "{text}");
    world.lose_cluster()?;

    let (repository, commit) = repository(&world)?;
    let image = format!("ghcr.io/your-org/journeyman-backend@{}", newer_digest());
    let inputs = [
        format!("image={image}"),
        format!("repository={repository}"),
        format!("commit={commit}"),
        "manifests=kubernetes".to_owned(),
    ];
    let inputs: Vec<&str> = inputs.iter().flat_map(|input| ["-i", input]).collect();
    let dry = world.jm().args(&words).args(&inputs).arg("--dry-run").output()?;
    ensure!(dry.status.code() == Some(0), "{}", said(&dry));
    let mut outside = world.jm();
    outside
        .args(&words)
        .args(&inputs)
        .args(["-i", "manifests=../x", "--dry-run"]);
    let outside = outside.output()?;
    ensure!(
        has_words(&said(&outside), "the commit does not hold"),
        "{}",
        said(&outside)
    );

    // Whoever goes on on another machine has no tree of the commit there, and does not begin anew for it.
    let until = ["--until", "application"];
    let output = world.jm().args(&words).args(&inputs).args(until).output()?;
    ensure!(output.status.code() == Some(5), "{}", said(&output));
    let records = journal(&world.state())?;
    let tree = of_kind(&records, "step-succeeded");
    let tree = tree
        .iter()
        .find(|record| record["step"] == "checkout")
        .context("checkout")?;
    let tree = tree["output"]["inline"]["dir"].as_str().context("a folder")?.to_owned();
    fs::remove_dir_all(&tree)?;
    let output = world.jm().args(RESUME).output()?;
    ensure!(output.status.code() == Some(0), "{}", said(&output));
    let records = journal(&world.state())?;
    let restored = of_kind(&records, "step-succeeded");
    let restored = restored.iter().filter(|record| record["step"] == "foundation");
    ensure!(restored.count() == 1, "it began anew");
    let ran = world.images()?;
    ensure!(ran.contains(&image), "{ran:?}");
    let newer = kubectl(&world, &["get", "configmap", "newer", "-n", NAMESPACE, "-o", "json"])?;
    let newer: Value = serde_json::from_str(&newer)?;
    ensure!(newer["data"]["from"] == "the commit", "{newer}");
    // No pod of it was ever asked to run the other one.
    let sets = kubectl(&world, &["get", "replicasets", "-n", NAMESPACE, "-o", "json"])?;
    ensure!(!sets.contains(&bad), "{sets}");
    Ok(())
}
