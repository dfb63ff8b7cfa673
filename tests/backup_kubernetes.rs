//! The plan that exports a cluster's objects, as a whole: what it leaves in the catalogue, who can read what of it, and that
//! it brings back what was lost. That the plan which rebuilds a cluster reads it is seen where that plan is tested.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use jm_sandbox::journeyman::NAMESPACE;
use serde_json::Value;

use crate::cluster_loss::kubectl;
use crate::environment::{World, has_words, said};

/// The export as the plan makes it.
pub(crate) const BACK_UP: [&str; 4] = ["plan", "run", "plans/backup-kubernetes.yaml", "--yes"];
/// A value of a Secret of the application, as it was written and as the cluster has it.
const VALUES: [&str; 2] = ["not-a-real-key", "bm90LWEtcmVhbC1rZXk="];

fn listed(world: &World) -> Result<Vec<Value>> {
    let output = world.jm().args(["backup", "list", "--format", "json"]).output()?;
    let document: Value = serde_json::from_slice(&output.stdout).with_context(|| said(&output))?;
    Ok(document["backups"].as_array().context("backups")?.clone())
}

fn is_clear(bytes: &[u8]) -> bool {
    let holds = |value: &&str| bytes.windows(value.len()).any(|part| part == value.as_bytes());
    VALUES.iter().any(holds)
}

/// The export is there once, in both locations, and nothing of a secret can be read in any file.
fn check_files(world: &World) -> Result<String> {
    let rows = listed(world)?;
    ensure!(rows.len() == 1, "{rows:?}");
    ensure!(rows[0]["locations"] == serde_json::json!(["local", "s3"]), "{rows:?}");
    let folder = Path::new(world.systems.variable("BACKUP_DIR"));
    let mut files = 0;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_file() {
            ensure!(!is_clear(&std::fs::read(&path)?), "clear text in {}", path.display());
            files += 1;
        }
    }
    ensure!(files >= 1, "nothing in {}", folder.display());
    Ok(rows[0]["name"].as_str().context("a name")?.to_owned())
}

/// Names and keys can be read without the export being opened, values cannot.
fn check_index(world: &World, name: &str) -> Result<()> {
    let shown = world.jm().args(["backup", "show", name, "--format", "json"]).output()?;
    ensure!(
        shown.status.code() == Some(0) && !is_clear(&shown.stdout),
        "{}",
        said(&shown)
    );
    let document: Value = serde_json::from_slice(&shown.stdout)?;
    let text = document.to_string();
    ensure!(text.contains("session-key"), "no keys: {text}");
    for object in kubectl(
        world,
        &["get", "deployments,services,secrets", "-n", NAMESPACE, "-o", "name"],
    )?
    .lines()
    {
        let (_, name) = object.split_once('/').context("a kind and a name")?;
        ensure!(text.contains(&format!("\"{name}\"")), "{object} is not in the index");
    }
    let partial = world.folder().join("export.yaml");
    let mut decrypt = world.jm();
    let opened = decrypt
        .args(["backup", "decrypt", name, "--to"])
        .arg(&partial)
        .output()?;
    ensure!(opened.status.code() == Some(0), "{}", said(&opened));
    ensure!(is_clear(&std::fs::read(&partial)?), "who has the key can read it");
    Ok(())
}

/// Backs a cluster up, and brings it back; with the code that the backup ends with.
fn is_backed_up(world: &World, expected: i32) -> Result<()> {
    let dry = world.jm().args(BACK_UP).arg("--dry-run").output()?;
    ensure!(dry.status.code() == Some(0), "{}", said(&dry));
    ensure!(
        has_words(&said(&dry), "WOULD END DEGRADED by `export`") == (expected != 0),
        "{}",
        said(&dry)
    );
    ensure!(listed(world)?.is_empty(), "the dry run exported something");
    let before = world.objects()?;
    let output = world.jm().args(BACK_UP).output()?;
    ensure!(output.status.code() == Some(expected), "{}", said(&output));
    ensure!(
        has_words(&said(&output), "which image ran is not known for") == (expected != 0),
        "{}",
        said(&output)
    );
    ensure!(
        !is_clear(&output.stdout) && !is_clear(&output.stderr),
        "{}",
        said(&output)
    );
    let name = check_files(world)?;
    check_index(world, &name)?;
    kubectl(
        world,
        &["delete", "secrets,configmaps,services", "--all", "-n", NAMESPACE],
    )?;
    ensure!(world.objects()? != before, "nothing was lost");
    // Others keep the objects that are still there.
    let words = ["-w", "export=latest", "-w", "images=written", "-w", "on_conflict=force"];
    let restored = world.step("kubernetes.restore", &words).output()?;
    ensure!(restored.status.code() == Some(0), "{}", said(&restored));
    ensure!(world.objects()? == before, "other objects than before");
    Ok(())
}

#[test]
fn a_cluster_is_backed_up_in_the_sandbox() -> Result<()> {
    is_backed_up(&World::sandbox()?, 0)
}

#[test]
fn a_control_plane_is_backed_up() -> Result<()> {
    // No pod of the tests' nodes says which image it runs.
    is_backed_up(&World::real()?, 9)
}

#[test]
fn a_damaged_copy_is_told_before_the_run_that_passes_it_over() -> Result<()> {
    let world = World::sandbox()?;
    let output = world.jm().args(BACK_UP).output()?;
    ensure!(output.status.code() == Some(0), "{}", said(&output));
    let name = check_files(&world)?;
    let copy = Path::new(world.systems.variable("BACKUP_DIR")).join(&name);
    let whole = std::fs::read(&copy)?;
    std::fs::write(&copy, &whole[..whole.len() / 2])?;
    let dry = world
        .step("backup.find", &["-w", "kind=kubernetes", "--dry-run"])
        .output()?;
    ensure!(has_words(&said(&dry), "WOULD END DEGRADED"), "{}", said(&dry));
    let run = world.step("backup.find", &["-w", "kind=kubernetes"]).output()?;
    ensure!(run.status.code() == Some(9), "{}", said(&run));
    Ok(())
}
