//! The clients that people have at hand work against the sandbox: `psql`, `aws` and `kubectl`.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use jm_sandbox::journeyman::{BUCKET, NAMESPACE, REPLICAS};
use serde_json::Value;

use crate::environment::{World, said};

#[test]
fn psql_aws_and_kubectl_work_against_the_sandbox() -> Result<()> {
    let world = World::sandbox()?;
    world.back_up()?;
    psql(&world)?;
    aws(&world)?;
    cloudfront(&world)?;
    kubectl(&world)
}

fn psql(world: &World) -> Result<()> {
    let url = world.systems.variable("DATABASE_URL").to_owned();
    let tables = world.run("psql", &["-X", &url, "-c", "\\dt"])?;
    for table in ["users", "games", "players", "game_data", "sessions", "audit_logs"] {
        ensure!(tables.contains(table), "no {table} in {tables}");
    }
    Ok(())
}

fn aws(world: &World) -> Result<()> {
    let aws = |words: &[&str]| world.aws(words);
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

/// With nothing in the environment but what the sandbox puts there: no region, no endpoint on the command line.
fn cloudfront(world: &World) -> Result<()> {
    let id = world.systems.variable("CLOUDFRONT_DISTRIBUTION_ID");
    let aws = |words: &[&str]| -> Result<Value> {
        let said = world.aws(&[&["cloudfront", "--output", "json"], words].concat())?;
        Ok(serde_json::from_str(&said)?)
    };
    let listed = aws(&["list-distributions"])?;
    ensure!(listed["DistributionList"]["Items"][0]["Id"] == id, "{listed}");
    let paths = ["/index.html", "/static/*"];
    let words = [
        "create-invalidation",
        "--distribution-id",
        id,
        "--paths",
        paths[0],
        paths[1],
    ];
    let made = aws(&words)?;
    let items = &made["Invalidation"]["InvalidationBatch"]["Paths"]["Items"];
    ensure!(*items == serde_json::json!(paths), "{made}");
    let of = ["list-invalidations", "--distribution-id", id];
    let invalidations = aws(&of)?;
    ensure!(
        invalidations["InvalidationList"]["Items"][0]["Id"] == made["Invalidation"]["Id"],
        "{invalidations}"
    );

    // The id of the key alone is not enough.
    let program = std::env::var("JM_TEST_AWS").context("JM_TEST_AWS is not set: run the tests by `tests/run`")?;
    let mut forged = Command::new(program);
    world.enter(&mut forged);
    let secret = ("AWS_SECRET_ACCESS_KEY", "another-secret");
    let output = forged
        .env(secret.0, secret.1)
        .args(["cloudfront", "list-distributions"])
        .output()?;
    let text = said(&output);
    ensure!(
        !output.status.success() && text.contains("SignatureDoesNotMatch"),
        "{text}"
    );
    Ok(())
}

fn kubectl(world: &World) -> Result<()> {
    let assets = std::env::var("KUBEBUILDER_ASSETS").context("KUBEBUILDER_ASSETS is not set: run by `tests/run`")?;
    let program = format!("{assets}/kubectl");
    let kubectl = |words: &[&str]| world.run(&program, &[words, &["--namespace", NAMESPACE]].concat());
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
