//! The clients that people have at hand work against the sandbox: `psql`, `aws` and `kubectl`.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use jm_sandbox::journeyman::{BUCKET, NAMESPACE, REPLICAS};
use serde_json::Value;

use crate::environment::{World, said};

/// A program of this machine in the world's environment. It has to succeed.
fn run(world: &World, program: &str, words: &[&str]) -> Result<String> {
    let mut command = Command::new(program);
    world.enter(&mut command);
    let output = command.args(words).output().with_context(|| program.to_owned())?;
    ensure!(output.status.success(), "{program} {words:?}: {}", said(&output));
    Ok(String::from_utf8(output.stdout)?)
}

#[test]
fn psql_aws_and_kubectl_work_against_the_sandbox() -> Result<()> {
    let world = World::sandbox()?;
    world.back_up()?;
    psql(&world)?;
    aws(&world)?;
    kubectl(&world)
}

fn psql(world: &World) -> Result<()> {
    let url = world.systems.variable("DATABASE_URL").to_owned();
    let tables = run(world, "psql", &["-X", &url, "-c", "\\dt"])?;
    for table in ["users", "games", "players", "game_data", "sessions", "audit_logs"] {
        ensure!(tables.contains(table), "no {table} in {tables}");
    }
    Ok(())
}

fn aws(world: &World) -> Result<()> {
    let program = std::env::var("JM_TEST_AWS").context("JM_TEST_AWS is not set: run the tests by `tests/run`")?;
    let aws = |words: &[&str]| run(world, &program, words);
    let listed = aws(&["s3", "ls", "--recursive", &format!("s3://{BUCKET}")])?;
    ensure!(listed.contains("journeyman_backup_"), "{listed}");

    let (here, back) = (world.folder().join("here"), world.folder().join("back"));
    let (here, back) = (here.display().to_string(), back.display().to_string());
    let object = format!("s3://{BUCKET}/notes/a b+ü.txt");
    for text in ["first", "second"] {
        std::fs::write(&here, text)?;
        aws(&["s3", "cp", "--quiet", &here, &object])?;
    }
    aws(&["s3", "rm", "--quiet", &object])?;
    let asked = aws(&[
        "s3api",
        "list-object-versions",
        "--output",
        "json",
        "--bucket",
        BUCKET,
        "--prefix",
        "notes/",
    ])?;
    let found: Value = serde_json::from_str(&asked)?;
    let versions = found["Versions"].as_array().context("versions")?;
    let markers = found["DeleteMarkers"].as_array().context("markers")?;
    ensure!(versions.len() == 2 && markers.len() == 1, "{found}");
    ensure!(markers[0]["IsLatest"] == true, "{found}");
    // The older of both, which is the second in the list.
    let version = versions[1]["VersionId"].as_str().context("an id")?;
    let key = versions[1]["Key"].as_str().context("a key")?;
    let words = [
        "s3api",
        "get-object",
        "--bucket",
        BUCKET,
        "--key",
        key,
        "--version-id",
        version,
        &back,
    ];
    aws(&words)?;
    ensure!(std::fs::read_to_string(&back)? == "first", "another version came back");
    Ok(())
}

fn kubectl(world: &World) -> Result<()> {
    let assets = std::env::var("KUBEBUILDER_ASSETS").context("KUBEBUILDER_ASSETS is not set: run by `tests/run`")?;
    let program = format!("{assets}/kubectl");
    let kubectl = |words: &[&str]| run(world, &program, &[words, &["--namespace", NAMESPACE]].concat());
    let name = "deployment/backend-deployment";
    let shown = kubectl(&["get", "deployments,pods", "--selector", "component=backend"])?;
    ensure!(
        shown.contains(&format!("{REPLICAS}/{REPLICAS}"))
            && shown.matches("Running").count() == usize::try_from(REPLICAS)?,
        "{shown}"
    );
    let described = kubectl(&["describe", name])?;
    ensure!(
        described.contains("Replicas:") && described.contains("Image:"),
        "{described}"
    );
    kubectl(&["scale", name, "--replicas=2"])?;
    let said = kubectl(&["rollout", "status", name, "--timeout=60s"])?;
    ensure!(said.contains("successfully rolled out"), "{said}");
    ensure!(world.ready_replicas()? == 2, "{} replicas", world.ready_replicas()?);
    Ok(())
}
