//! A cluster rebuilt from the files of the procedures page, which were imported.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use jm_sandbox::journeyman::{NAMESPACE, REPLICAS};

use super::{REBUILD, run};
use crate::cluster_loss::kubectl;
use crate::environment::{World, has_words, said};

/// Imports what `kubectl get` writes of these kinds, and of secrets and configuration, as the procedures page has it.
fn import(world: &World, kinds: &str) -> Result<()> {
    let day = jm_step::clock::now().strftime("%Y%m%d").to_string();
    let mut import = world.jm();
    import.args(["backup", "import", "--yes"]);
    for (kinds, stem) in [
        (kinds, "k8s-backup"),
        ("secrets", "secrets-backup"),
        ("configmaps", "configmaps-backup"),
    ] {
        let written = kubectl(world, &["get", kinds, "-n", NAMESPACE, "-o", "yaml"])?;
        let path = world.folder().join(format!("{stem}-{day}.yaml"));
        std::fs::write(&path, written)?;
        import.arg(path);
    }
    let imported = import.output()?;
    ensure!(imported.status.code() == Some(0), "{}", said(&imported));
    Ok(())
}

#[test]
fn files_that_do_not_tell_which_images_ran_need_a_word() -> Result<()> {
    let world = World::sandbox_with(&["--database", "in-cluster"], |_| Ok(()))?;
    world.back_up()?;
    // Without the pods nobody knows what ran.
    import(&world, "deployments,statefulsets,services,persistentvolumeclaims")?;
    let data = world.fingerprint()?;
    world.lose_cluster()?;
    // Told before anybody waits for a cluster, in the dry run too.
    for dry in [&["--dry-run"][..], &[]] {
        let refused = world.jm().args(REBUILD).args(dry).output()?;
        let told = said(&refused);
        ensure!(refused.status.code() == Some(4), "{told}");
        for words in [
            "does not tell which image ran for container",
            "`-i images=recorded-or-written`",
        ] {
            ensure!(has_words(&told, words), "no `{words}`: {told}");
        }
        ensure!(world.objects()?.is_empty(), "something was made");
    }
    let output = world
        .jm()
        .args(REBUILD)
        .args(["-i", "images=recorded-or-written"])
        .output()?;
    ensure!(output.status.code() == Some(0), "{}", said(&output));
    ensure!(world.fingerprint()? == data, "other data");
    ensure!(world.ready_replicas()? == REPLICAS, "other replicas");
    Ok(())
}

#[test]
fn the_files_of_the_procedures_page_rebuild_an_empty_cluster() -> Result<()> {
    let world = World::sandbox_with(&["--database", "in-cluster"], |_| Ok(()))?;
    world.back_up()?;
    let (data, objects, images) = (world.fingerprint()?, world.objects()?, world.images()?);
    import(&world, "all")?;
    world.lose_cluster()?;
    run(&world, &REBUILD)?;
    ensure!(world.fingerprint()? == data, "other data");
    ensure!(world.images()? == images, "other images: {:?}", world.images()?);
    ensure!(world.ready_replicas()? == REPLICAS, "other replicas");
    // `get all` is not all: what the files hold is there as it was.
    let back = world.objects()?;
    let kinds: BTreeSet<_> = back.keys().filter_map(|object| object.split(' ').next()).collect();
    for kind in ["ConfigMap", "Secret", "Service", "Deployment", "StatefulSet"] {
        ensure!(kinds.contains(kind), "no {kind}: {kinds:?}");
        let of_kind = |all: &BTreeMap<String, String>| {
            let own = all.iter().filter(|(object, _)| object.split(' ').next() == Some(kind));
            own.map(|(object, digest)| (object.clone(), digest.clone()))
                .collect::<BTreeMap<_, _>>()
        };
        ensure!(of_kind(&back) == of_kind(&objects), "other objects of kind {kind}");
    }
    Ok(())
}
