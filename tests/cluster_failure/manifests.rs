//! Newer manifests that could not be applied: that is known before anything is brought up.

use std::path::Path;

use anyhow::{Result, ensure};
use serde_json::json;

use super::{EVERYTHING, REBUILD, world_on};
use crate::environment::{World, has_words, journal, of_kind, said};

/// A rebuild with these manifests on a machine that does not know the cluster, refused before its program is run.
fn is_refused(world: &World, manifests: &Path, words: &str) -> Result<()> {
    let brought_up = world.folder().join("brought-up");
    let provision = format!("provision={}", json!(["touch", brought_up]));
    let provisioned = format!("provisioned={}", json!(["test", "-e", brought_up]));
    let manifests = format!("manifests={}", manifests.display());
    let inputs = ["-i", &provision, "-i", &provisioned, "-i", &manifests];
    for dry in [&["--dry-run"][..], &[]] {
        let output = world.jm().args(REBUILD).args(inputs).args(dry).output()?;
        let text = said(&output);
        ensure!(output.status.code() == Some(10), "{dry:?}: {text}");
        ensure!(has_words(&text, words), "{dry:?}: no `{words}`: {text}");
        ensure!(!brought_up.exists(), "{dry:?}: it was brought up: {text}");
    }
    let records = journal(&world.state())?;
    let begun = of_kind(&records, "step-started");
    let begun: Vec<_> = begun.iter().map(|record| &record["step"]).collect();
    ensure!(begun.iter().any(|step| *step == "manifests-known"), "{begun:?}");
    for step in ["provision", "guard", "foundation"] {
        ensure!(begun.iter().all(|one| *one != step), "{step} was begun: {begun:?}");
    }
    Ok(())
}

#[test]
fn manifests_that_could_not_be_applied_are_told_before_anything_is_brought_up() -> Result<()> {
    let (world, _) = world_on(&EVERYTHING)?;
    (EVERYTHING.lose)(&world)?;
    let folder = world.folder().join("newer");
    is_refused(&world, &folder, "newer` cannot be read")?;
    std::fs::create_dir(&folder)?;
    is_refused(&world, &folder, "there is no manifest to apply")?;
    let spec = json!({ "selector": { "matchLabels": { "app": "new" } }, "template": { "metadata": { "labels": { "app": "new" } },
        "spec": { "containers": [{ "name": "main", "image": "registry.example/new:latest" }] } } });
    let new = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "new" }, "spec": spec });
    std::fs::write(folder.join("new.json"), new.to_string())?;
    is_refused(&world, &folder, "which image ran is not recorded for container `main`")
}
