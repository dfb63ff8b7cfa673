//! The loss that a drill of a cluster begins with: the sandbox's cluster is gone, and the database that lives in it.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::environment::{World, said};

/// kubectl, in a world.
pub(crate) fn to_kubectl(world: &World, words: &[&str]) -> Command {
    let assets = std::env::var("KUBEBUILDER_ASSETS").map(|folder| format!("{folder}/kubectl"));
    let mut command = Command::new(assets.unwrap_or_else(|_| "kubectl".to_owned()));
    world.enter(&mut command);
    command.args(words);
    command
}

/// What kubectl says, in a world.
pub(crate) fn kubectl(world: &World, words: &[&str]) -> Result<String> {
    let output = to_kubectl(world, words).output().context("kubectl")?;
    ensure!(output.status.success(), "kubectl {words:?}: {}", said(&output));
    Ok(String::from_utf8(output.stdout)?)
}

/// Who a cluster is, by the UID that jm knows it by.
pub(crate) fn identity(world: &World) -> Result<String> {
    kubectl(
        world,
        &["get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}"],
    )
}

/// Who a database server is.
fn system(world: &World) -> Result<Vec<String>> {
    world.query("postgres", "SELECT system_identifier::text FROM pg_control_system()")
}

fn fill_again(world: &World, words: &[&str]) -> Result<()> {
    let place = world.folder().join("sandbox");
    let mut up = world.jm();
    let output = up
        .args(["sandbox", "up", "--directory"])
        .arg(&place)
        .args(words)
        .output()?;
    ensure!(output.status.success(), "{}", said(&output));
    Ok(())
}

#[test]
fn a_lost_cluster_takes_its_database_along_and_leaves_its_address() -> Result<()> {
    let in_cluster = ["--database", "in-cluster"];
    let world = World::sandbox_with(&in_cluster, |_| Ok(()))?;
    let (objects, tables) = (world.objects()?, world.fingerprint()?);
    let kinds: std::collections::BTreeSet<_> = objects.keys().filter_map(|object| object.split(' ').next()).collect();
    ensure!(kinds.len() >= 15, "only {kinds:?}");
    let (cluster, server) = (identity(&world)?, system(&world)?);

    world.lose_cluster()?;
    ensure!(identity(&world)? != cluster, "it is the same cluster");
    let namespaces = kubectl(&world, &["get", "namespaces", "-o", "name"])?;
    ensure!(!namespaces.contains("roster-recall"), "{namespaces}");
    ensure!(
        world.fingerprint().is_err() && system(&world).is_err(),
        "the database still serves"
    );

    fill_again(&world, &in_cluster)?;
    ensure!(world.objects()? == objects, "other objects than before");
    ensure!(system(&world)? != server, "the volume was not lost");
    ensure!(
        world.fingerprint()?.keys().eq(tables.keys()),
        "other tables than before"
    );
    Ok(())
}

#[test]
fn a_database_beside_the_cluster_outlives_it() -> Result<()> {
    let world = World::sandbox()?;
    let tables = world.fingerprint()?;
    world.lose_cluster()?;
    ensure!(world.fingerprint()? == tables, "the database was touched");
    Ok(())
}
