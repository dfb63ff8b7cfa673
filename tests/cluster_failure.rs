//! The plan that rebuilds a cluster that is gone, with the database that lived in it: dry, whole, and killed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fmt::Debug;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use jm_sandbox::journeyman::{Fingerprint, REPLICAS};
use serde_json::{Value, json};

use crate::backup_kubernetes::BACK_UP;
use crate::cluster_loss::identity;
use crate::crash::journal_cuts::{Call, cut, journal_file};
use crate::environment::{RESUME, World, folder, has_words, jm, journal, of_kind, said};
use crate::workloads::answering_where;

mod brought_up;
mod cuts;
mod database;
mod imports;
mod manifests;
mod newer;

/// The words of the rebuild.
const REBUILD: [&str; 6] = [
    "plan",
    "run",
    "plans/cluster-failure.yaml",
    "--yes",
    "--confirm",
    "production",
];

/// Where a cluster is lost and rebuilt.
struct Ground {
    /// The words that bring it up. The database lives in the cluster, and is lost with it.
    up: &'static [&'static str],
    /// How the export of its objects ends.
    exported: i32,
    /// How it is lost.
    lose: fn(&World) -> Result<()>,
    /// More words for the rebuild.
    inputs: fn(&World) -> Result<Vec<String>>,
    /// How a rebuild is cut at a place in its journal, and gone on with. Whether there was such a place.
    cut: fn(&cuts::Scene, usize, &mut cuts::Swept) -> Result<bool>,
}

impl Ground {
    /// The words of the rebuild.
    fn rebuild(&self, world: &World) -> Result<Vec<String>> {
        let words = REBUILD.iter().map(|word| (*word).to_owned());
        Ok(words.chain((self.inputs)(world)?).collect())
    }
}

const STAND_IN: Ground = Ground {
    up: &["--database", "in-cluster"],
    exported: 0,
    lose: World::lose_cluster,
    inputs: |_| Ok(Vec::new()),
    cut: cuts::at_sync,
};
/// Every step of the plan has something to do: the address of the cluster is gone as well, until a program brings it up.
const EVERYTHING: Ground = Ground {
    lose: lose_address,
    inputs: everything,
    ..STAND_IN
};
/// Kubernetes' own programs. No pod of its node says which image it runs, since only its kubelet is played.
const CONTROL_PLANE: Ground = Ground {
    up: &["--database", "in-cluster", "--kubernetes", "real"],
    exported: 9,
    lose: World::lose_cluster,
    inputs: |_| Ok(vec!["-i".to_owned(), "images=recorded-or-written".to_owned()]),
    cut: cuts::at_write,
};

/// The steps that only do something where they are told to.
const EXTRAS: [&str; 6] = ["manifests-known", "provision", "manifests", "image", "health", "cdn"];

/// More places than a run's journal has.
const MOST: usize = 200;

/// What was there, and has to come back.
struct Before {
    data: Fingerprint,
    objects: BTreeMap<String, String>,
    images: BTreeSet<String>,
}

/// A world in the sandbox whose database lives in its cluster, backed up.
fn world() -> Result<(World, Before)> {
    world_on(&STAND_IN)
}

/// The same on any ground.
fn world_on(ground: &Ground) -> Result<(World, Before)> {
    let world = World::sandbox_with(ground.up, |_| Ok(()))?;
    world.back_up()?;
    let exported = world.jm().args(BACK_UP).output()?;
    ensure!(exported.status.code() == Some(ground.exported), "{}", said(&exported));
    let before = Before::look(&world)?;
    Ok((world, before))
}

fn run<W: AsRef<OsStr> + Debug>(world: &World, words: &[W]) -> Result<()> {
    let output = world.jm().args(words).output()?;
    ensure!(output.status.code() == Some(0), "{words:?}: {}", said(&output));
    Ok(())
}

/// Where the address of a cluster that is lost is kept, for a program that brings it up.
fn kept(world: &World) -> PathBuf {
    world.folder().join("kubeconfig-of-the-new-one")
}

fn address(world: &World) -> PathBuf {
    PathBuf::from(world.systems.variable("KUBECONFIG"))
}

/// The cluster is gone, and nothing on this machine tells where the next one will be.
fn lose_address(world: &World) -> Result<()> {
    if kept(world).exists() && !address(world).exists() {
        std::fs::rename(kept(world), address(world))?;
    }
    world.lose_cluster()?;
    Ok(std::fs::rename(address(world), kept(world))?)
}

/// A program that makes the cluster known, newer manifests, another image, and somebody who asks whether it answers.
fn everything(world: &World) -> Result<Vec<String>> {
    let (kept, address) = (kept(world), address(world));
    let made = format!(
        "cp '{}' '{}.new' && mv '{1}.new' '{1}'",
        kept.display(),
        address.display()
    );
    let mut inputs = vec![
        format!("provision={}", json!(["sh", "-c", made])),
        format!("provisioned={}", json!(["test", "-e", address])),
    ];
    inputs.extend(newer(world)?);
    Ok(inputs.into_iter().flat_map(|input| ["-i".to_owned(), input]).collect())
}

/// Newer manifests and another image, and the addresses at which the application answers where that image runs.
fn newer(world: &World) -> Result<Vec<String>> {
    let manifests = world.folder().join("manifests");
    std::fs::create_dir(&manifests)?;
    let newer = r#"{ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "newer" } }"#;
    std::fs::write(manifests.join("newer.json"), newer)?;
    let asked = answering_where(world, "journeyman-backend@sha256:bbbb")?;
    Ok(vec![
        format!("manifests={}", manifests.display()),
        format!("image=ghcr.io/your-org/journeyman-backend@{}", newer_digest()),
        asked.replace("health_url=", "cdn_url="),
        asked,
    ])
}

fn newer_digest() -> String {
    format!("sha256:{}", "b".repeat(64))
}

impl Before {
    fn look(world: &World) -> Result<Self> {
        Ok(Self {
            data: world.fingerprint()?,
            objects: world.objects()?,
            images: world.images()?,
        })
    }

    /// Compares what there is now, and the journal of the newest run.
    fn check(&self, world: &World) -> Result<()> {
        ensure!(world.fingerprint()? == self.data, "other data");
        let objects = world.objects()?;
        let other: Vec<_> = self
            .objects
            .iter()
            .filter(|(name, digest)| objects.get(*name) != Some(digest))
            .collect();
        ensure!(
            other.is_empty() && objects.len() == self.objects.len(),
            "other objects: {other:?}, {:?}",
            objects.keys()
        );
        ensure!(world.images()? == self.images, "other images: {:?}", world.images()?);
        ensure!(world.ready_replicas()? == REPLICAS, "other replicas");
        let records = journal(&world.state())?;
        let ended = records.last().is_some_and(|record| record["status"] == "completed");
        ensure!(ended, "the run did not end well: {:?}", records.last());
        let switched = of_kind(&records, "step-succeeded")
            .into_iter()
            .filter(|record| record["step"] == "switch");
        ensure!(switched.count() == 1, "switched more or less than once");
        Ok(())
    }
}

/// A dry run against a lost cluster says what it cannot know, and the run brings all back.
fn is_rebuilt(ground: &Ground) -> Result<()> {
    let (world, before) = world_on(ground)?;
    let rebuild = ground.rebuild(&world)?;
    (ground.lose)(&world)?;
    let output = world
        .jm()
        .args(&rebuild)
        .args(["--dry-run", "--format", "json"])
        .output()?;
    ensure!(output.status.code() == Some(0), "{}", said(&output));
    ensure!(world.objects()?.is_empty(), "the dry run made something");
    let dry: Value = serde_json::from_slice(&output.stdout)?;
    let steps = dry["steps"].as_array().context("steps")?;
    let step = |id: &str| steps.iter().find(|step| step["id"] == id).context(id.to_owned());
    for (id, grade) in [
        ("objects", "verified"),
        ("data", "verified"),
        ("guard", "verified"),
        ("foundation", "declared"),
        ("configuration", "declared"),
        ("application", "declared"),
        ("database-ready", "unknown"),
        ("restore", "unknown"),
        ("switch", "unknown"),
        ("rollout", "unknown"),
    ] {
        ensure!(step(id)?["grade"] == grade, "{id}: {:#}", step(id)?);
    }
    let told = step("application")?["changes"].to_string();
    ensure!(
        told.contains("league") && told.contains("deployment"),
        "the dry run does not tell what the application is: {told}"
    );
    let waits = step("restore")?["because"].as_str().unwrap_or_default();
    ensure!(waits.contains("known after"), "{waits}");

    run(&world, &rebuild)?;
    before.check(&world)?;
    let records = journal(&world.state())?;
    let done = of_kind(&records, "step-succeeded");
    let foundation = done
        .iter()
        .find(|record| record["step"] == "foundation")
        .context("foundation")?;
    ensure!(
        foundation["changes"]["inline"] == step("foundation")?["changes"],
        "the dry run told other changes"
    );
    // Once it is there, all of it is there: restoring again changes nothing.
    let output = world
        .step("kubernetes.restore", &["-w", "images=recorded-or-written"])
        .output()?;
    ensure!(output.status.code() == Some(0), "{}", said(&output));
    let records = journal(&world.state())?;
    let changes = &of_kind(&records, "step-succeeded").first().context("a restore")?["changes"];
    let none = changes["inline"].as_array().is_none_or(Vec::is_empty);
    ensure!(
        none && changes.get("artefact").is_none(),
        "a second restore changes {changes}"
    );
    Ok(())
}

#[test]
fn a_lost_cluster_is_rebuilt_in_the_sandbox() -> Result<()> {
    is_rebuilt(&STAND_IN)
}

#[test]
fn a_lost_cluster_is_rebuilt_on_a_control_plane() -> Result<()> {
    is_rebuilt(&CONTROL_PLANE)
}

#[test]
fn the_drill_destroys_a_cluster_and_rebuilds_it() -> Result<()> {
    let folder = folder()?;
    let output = jm(&folder.path().join("state"))
        .env("TMPDIR", folder.path())
        .args(["drill", "plans/cluster-failure.yaml", "--sandbox"])
        .output()?;
    let text = said(&output);
    ensure!(output.status.code() == Some(0), "{text}");
    for words in ["the cluster is gone", "StatefulSet", "as before"] {
        ensure!(text.contains(words), "no `{words}`: {text}");
    }
    ensure!(!text.contains("DIFFERENT"), "{text}");
    Ok(())
}

/// The identities under which the run has used its cluster, in order.
fn clusters(world: &World) -> Result<Vec<String>> {
    let records = journal(&world.state())?;
    let opened = of_kind(&records, "target-opened").into_iter();
    let of_cluster = opened.filter(|record| record["target"] == "cluster");
    Ok(of_cluster.map(|record| record["identity"].to_string()).collect())
}

#[test]
fn a_new_cluster_is_taken_whether_or_not_it_was_recorded_before_the_kill() -> Result<()> {
    let (world, before) = world()?;
    let (mut unrecorded, mut recorded) = (0, 0);
    let mut nth = 1;
    for _ in 1..MOST {
        // A run that knows one cluster, stopped before it does anything there; then that one is lost, too.
        world.lose_cluster()?;
        let output = world.jm().args(REBUILD).args(["--until", "foundation"]).output()?;
        ensure!(output.status.code() == Some(5), "{}", said(&output));
        let known = clusters(&world)?.len();
        ensure!(known == 1, "{:?}", clusters(&world)?);
        world.lose_cluster()?;
        let file = journal_file(&world, &journal(&world.state())?)?;
        let call = Call {
            name: "write",
            on: Some(&file),
            nth,
        };
        ensure!(
            cut(&world, &call, &RESUME, 0)?,
            "the resume was over before the cluster was recorded"
        );
        let guard_began = of_kind(&journal(&world.state())?, "step-started")
            .iter()
            .filter(|record| record["step"] == "guard")
            .count()
            > 1;
        let is_recorded = clusters(&world)?.len() > known;
        unrecorded += usize::from(guard_began && !is_recorded);
        recorded += usize::from(is_recorded);
        // A whole rebuild takes its time: only where the kill was in or right after the guard.
        if guard_began {
            run(&world, &RESUME).with_context(|| format!("after the cut at write {nth}"))?;
            before
                .check(&world)
                .with_context(|| format!("after the cut at write {nth}"))?;
        }
        if unrecorded > 0 && recorded > 0 {
            break;
        }
        // How records share writes differs from run to run: a step too far is taken back.
        nth = if is_recorded { nth - 1 } else { nth + 1 };
    }
    ensure!(
        unrecorded > 0 && recorded > 0,
        "{unrecorded} cuts before the record, {recorded} after it"
    );
    Ok(())
}

#[test]
fn a_cluster_whose_address_is_gone_too_is_brought_up_and_gets_newer_manifests_and_another_image() -> Result<()> {
    let (world, before) = world_on(&EVERYTHING)?;
    let words = EVERYTHING.rebuild(&world)?;
    (EVERYTHING.lose)(&world)?;
    let dry = world.jm().args(&words).arg("--dry-run").output()?;
    ensure!(dry.status.code() == Some(0), "{}", said(&dry));
    ensure!(!address(&world).exists(), "the dry run made it");
    run(&world, &words)?;
    let records = journal(&world.state())?;
    let done = of_kind(&records, "step-succeeded");
    for step in EXTRAS {
        ensure!(done.iter().any(|record| record["step"] == step), "{step} was not done");
    }
    let ran = world.images()?;
    ensure!(ran.iter().any(|image| image.ends_with(&newer_digest())), "{ran:?}");
    ensure!(world.objects()?.len() == before.objects.len() + 1, "the newer manifest");
    ensure!(world.fingerprint()? == before.data, "other data");
    Ok(())
}

#[test]
fn a_cluster_that_is_up_and_full_is_rebuilt_only_by_its_name() -> Result<()> {
    let (world, before) = world()?;
    let output = world.jm().args(REBUILD).output()?;
    let text = said(&output);
    ensure!(output.status.code() == Some(10), "{text}");
    let named = format!("cluster={}", identity(&world)?);
    for words in ["workloads of its own", &format!("--accept-identity {named}")] {
        ensure!(has_words(&text, words), "no `{words}`: {text}");
    }
    let begun = journal(&world.state())?;
    let begun = of_kind(&begun, "step-started");
    ensure!(
        begun.iter().all(|record| record["step"] != "foundation"),
        "it was rebuilt: {text}"
    );
    ensure!(world.objects()? == before.objects, "other objects");
    let meant = ["--accept-identity", &named, "--until", "foundation"];
    let output = world.jm().args(REBUILD).args(meant).output()?;
    ensure!(output.status.code() == Some(5), "{}", said(&output));
    let records = journal(&world.state())?;
    let passed = of_kind(&records, "step-succeeded");
    ensure!(
        passed.iter().any(|record| record["step"] == "guard"),
        "{}",
        said(&output)
    );
    Ok(())
}
