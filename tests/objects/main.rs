//! What applying, exporting and restoring objects costs, beside a bare client and kubectl, on one API server in one run:
//! `tests/bench objects`. The servers are those of `tests/services/control-plane`; jm is the binary as people call it, with
//! its journal and all that it looks at first.
//!
//! A goal that is missed makes the benchmark end with 1.

#![expect(clippy::print_stdout, reason = "a benchmark's result is what it prints")]
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a benchmark starts the programs that it measures, finds its servers through the environment, and keeps what they say"
)]

mod bare;
#[path = "../beside.rs"]
mod beside;
mod delay;
#[path = "../measured.rs"]
mod measured;
mod plane;
mod program;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use bare::Bare;
use beside::{at_least, at_most, in_memory, median, rate, ratio};
use plane::Plane;
use program::{Jm, kubectl};

const CONFIG_MAPS: usize = 1_000;
const SECRETS: usize = 10_000;
/// How often the applies without a delay are taken, in turns; the medians count.
const ROUNDS: usize = 5;
/// What a request and its answer take longer, where there is a delay.
const DELAY: Duration = Duration::from_millis(20);

/// How many times as long as a bare client an apply may take.
const BESIDE_BARE: f64 = 1.3;
/// How many times as long kubectl has to take with the delay.
const BESIDE_KUBECTL: f64 = 10.0;
/// How many times as long as the first a second apply may take: that it changes nothing must not cost more. The rest is for
/// the machine, which is never quite the same twice.
const AGAIN: f64 = 1.0;
/// The most memory that the binary may take, in bytes.
const MEMORY: u64 = 256 << 20;
/// The least that the values of all Secrets have to have, in bytes of text: more than that, so that whoever holds them misses.
const LEAST: usize = 300 << 20;
/// Words of eight letters in the value of a Secret: 32 KiB.
const WORDS: usize = 4096;
/// Secrets of a MiB, near the most that one can hold: as many as are in half a page.
const LARGE: usize = 300;
const LARGE_WORDS: usize = 131_072;

#[tokio::main]
async fn main() -> ExitCode {
    match measure().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure() -> Result<bool> {
    let plane = Plane::start()?;
    let far = delay::kubeconfig(&plane, DELAY).await?;
    // Each of them once, so that none finds the API server cold, and kubectl knows the kinds.
    applies(&plane, plane.kubeconfig(), "warm", 1).await?;
    let near = applies(&plane, plane.kubeconfig(), "near", ROUNDS).await?;
    println!("{CONFIG_MAPS} ConfigMaps, medians of {ROUNDS}: {near}");
    let far = applies(&plane, &far, "far", 1).await?;
    println!(
        "{CONFIG_MAPS} ConfigMaps, each answer {} ms later: {far}",
        DELAY.as_millis()
    );
    let goals = [
        at_most("jm beside a bare client", ratio(near.first, near.bare), BESIDE_BARE),
        at_most(
            "jm's second apply beside its first",
            ratio(near.again, near.first),
            AGAIN,
        ),
        at_least(
            "kubectl beside jm, with the delay",
            ratio(far.kubectl, far.first),
            BESIDE_KUBECTL,
        ),
        secrets(&plane, "secrets", SECRETS, WORDS).await?,
        secrets(&plane, "large", LARGE, LARGE_WORDS).await?,
    ];
    Ok(!goals.contains(&false))
}

/// How long each took.
struct Took {
    bare: Duration,
    first: Duration,
    again: Duration,
    kubectl: Duration,
}

impl std::fmt::Display for Took {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "bare client {:.2?}, jm {:.2?}, jm again {:.2?}, kubectl {:.2?}",
            self.bare, self.first, self.again, self.kubectl
        )
    }
}

/// Everybody applies the same objects, each into a namespace of its own, in turns.
async fn applies(plane: &Plane, kubeconfig: &Path, how: &str, rounds: usize) -> Result<Took> {
    let mut all: [Vec<Duration>; 4] = Default::default();
    for round in 0..rounds {
        let name = |who: &str| format!("{how}-{who}-{round}");
        let direct = Bare::new(plane.kubeconfig()).await?;
        for who in ["bare", "jm", "kubectl"] {
            direct.make_namespace(&name(who)).await?;
        }
        let objects: Vec<Value> = (0..CONFIG_MAPS).map(|index| config_map(&name("bare"), index)).collect();
        all[0].push(Bare::new(kubeconfig).await?.apply(&objects).await?);
        let jm = Jm::new(plane, kubeconfig, &name("jm"))?;
        let file = write_manifests(plane, &name("jm"))?;
        for (index, became) in [(1, "created"), (2, "unchanged")] {
            let ran = jm.run("kubernetes.apply", &json!({ "paths": [file] }))?;
            ensure!(ran.output["counts"][became] == CONFIG_MAPS, "{:#}", ran.output);
            all[index].push(ran.took);
        }
        let file = write_manifests(plane, &name("kubectl"))?;
        all[3].push(kubectl(plane, kubeconfig, &file)?);
    }
    let [bare, first, again, kubectl] = all.map(median);
    Ok(Took {
        bare,
        first,
        again,
        kubectl,
    })
}

fn config_map(namespace: &str, index: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": format!("c-{index}"), "namespace": namespace },
        "data": { "text": "x".repeat(200), "index": index.to_string() },
    })
}

fn write_manifests(plane: &Plane, namespace: &str) -> Result<PathBuf> {
    let path = plane.folder().join(format!("{namespace}.yaml"));
    let documents: Vec<String> = (0..CONFIG_MAPS)
        .map(|index| config_map(namespace, index).to_string())
        .collect();
    std::fs::write(&path, documents.join("\n---\n"))?;
    Ok(path)
}

/// Exports and restores many Secrets; the limit is what the server takes from a client that does nothing else.
async fn secrets(plane: &Plane, namespace: &str, count: usize, words: usize) -> Result<bool> {
    let bare = Bare::new(plane.kubeconfig()).await?;
    bare.make_namespace(namespace).await?;
    let objects: Vec<Value> = (0..count).map(|index| secret(namespace, index, words)).collect();
    let amount: usize = objects
        .iter()
        .filter_map(|secret| secret["data"]["value"].as_str())
        .map(str::len)
        .sum();
    ensure!(amount >= LEAST, "the Secrets hold {amount} bytes only");
    let writing = bare.apply(&objects).await?;
    drop(objects);
    let (before, reading) = bare.secrets(namespace).await?;
    ensure!(before.len() >= count, "{} of {count} are there", before.len());
    let jm = Jm::new(plane, plane.kubeconfig(), namespace)?;
    let exported = jm.run("kubernetes.export", &json!({ "cluster_scope": "none" }))?;
    ensure!(
        exported.output["kinds"]["v1 Secret"] == before.len(),
        "{:#}",
        exported.output
    );
    bare.wipe_secrets(namespace).await?;
    let restored = jm.run("kubernetes.restore", &json!({ "kinds": ["Secret"] }))?;
    ensure!(
        restored.output["counts"]["created"] == before.len(),
        "{:#}",
        restored.output
    );
    let (after, _) = bare.secrets(namespace).await?;
    ensure!(after == before, "other Secrets came back than were there");
    println!(
        "{count} Secrets of {} MiB in all: exported {:.0}/s (a bare client lists {:.0}/s), restored {:.0}/s (a bare client applies {:.0}/s)",
        amount >> 20,
        rate(count, exported.took),
        rate(count, reading),
        rate(count, restored.took),
        rate(count, writing)
    );
    let mut met = true;
    for (what, ran) in [("export", exported), ("restore", restored)] {
        met &= in_memory(&format!("jm's memory in the {what} of {namespace}"), ran.peak, MEMORY);
    }
    Ok(met)
}

fn secret(namespace: &str, index: usize, words: usize) -> Value {
    // Letters of base64 that differ from Secret to Secret.
    let word = |word: usize| format!("{:08x}", (index * words + word).wrapping_mul(0x9E37_79B1) & 0xFFFF_FFFF);
    let value: String = (0..words).map(word).collect();
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": format!("s-{index}"), "namespace": namespace },
        "data": { "value": value },
    })
}
