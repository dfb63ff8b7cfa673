//! Which cluster it is, and what tells the credentials for it.

use anyhow::{Result, ensure};
use serde_json::Value;

use super::TARGETS;
use crate::cluster_loss::{identity, kubectl};
use crate::environment::{World, has_words, said};

const PODS: [&str; 4] = ["step", "run", "kubernetes.pods", "--yes"];
const DOCTOR: [&str; 6] = [
    "doctor",
    "plans/backup-kubernetes.yaml",
    "--permissions",
    "--target",
    "cluster",
    "--format=json",
];

/// A kubeconfig that somebody gave may start anything: whoever opens a target is told before it does.
#[test]
fn a_program_that_a_kubeconfig_starts_is_announced_before_it_is_started() -> Result<()> {
    let world = World::sandbox()?;
    let token = kubectl(
        &world,
        &["config", "view", "--raw", "-o", "jsonpath={.users[0].user.token}"],
    )?;
    let own = world.folder().join("own.kubeconfig").display().to_string();
    std::fs::copy(world.systems.variable("KUBECONFIG"), &own)?;
    let told = world.folder().join("told.json").display().to_string();
    let credential = serde_json::json!({ "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
        "status": { "token": token.trim() } });
    std::fs::write(&told, credential.to_string())?;
    let user = kubectl(&world, &["config", "view", "-o", "jsonpath={.users[0].name}"])?;
    let words = [
        "--kubeconfig",
        &own,
        "config",
        "set-credentials",
        user.trim(),
        "--token=",
    ];
    kubectl(&world, &words)?;
    let program = [
        "--kubeconfig",
        &own,
        "config",
        "set-credentials",
        user.trim(),
        "--exec-command=cat",
        &format!("--exec-arg={told}"),
        "--exec-api-version=client.authentication.k8s.io/v1",
        "--exec-interactive-mode=Never",
    ];
    kubectl(&world, &program)?;
    let announced = format!("`cat {told}` is started on this machine for its credentials");
    let asked = |words: &[&str]| {
        let mut command = world.jm();
        command.args(words).env("KUBECONFIG", &own);
        Ok::<_, anyhow::Error>(command.output()?)
    };
    for words in [
        &PODS[..],
        &[&PODS[..], &["--dry-run"]].concat(),
        &[
            "plan",
            "run",
            "plans/single-service-failure.yaml",
            "--yes",
            "--until",
            "pods",
        ],
        &DOCTOR,
    ] {
        let words = if words[0] == "doctor" {
            words.to_vec()
        } else {
            [words, &TARGETS].concat()
        };
        let text = said(&asked(&words)?);
        ensure!(
            text.matches(&announced).count() == 1 || has_words(&text, &announced),
            "{words:?}: {text}"
        );
    }
    // Before: a program that cannot tell any is named as well.
    std::fs::remove_file(&told)?;
    let output = asked(&[&PODS[..], &TARGETS].concat())?;
    let text = said(&output);
    ensure!(
        output.status.code() != Some(0) && has_words(&text, &announced),
        "{text}"
    );
    Ok(())
}

/// The targets that ship pin the cluster where the environment says which it is, and the doctor misses it where it does not.
#[test]
fn the_shipped_targets_pin_the_cluster_that_the_environment_names() -> Result<()> {
    let world = World::sandbox()?;
    let uid = identity(&world)?;
    let pods = [&PODS[..], &TARGETS].concat();
    for (pinned, code) in [("", 0), (uid.as_str(), 0), ("5f0c9d3e-0000-0000-0000-000000000000", 10)] {
        let output = world.jm().args(&pods).env("KUBE_CLUSTER_UID", pinned).output()?;
        ensure!(output.status.code() == Some(code), "{pinned}: {}", said(&output));
    }
    let notes = |variable: &str, value: &str| {
        let output = world.jm().args(DOCTOR).env(variable, value).output()?;
        let told: Value = serde_json::from_slice(&output.stdout)?;
        Ok::<_, anyhow::Error>(told["targets"][0]["notes"].to_string())
    };
    let missed = notes("KUBE_CLUSTER_UID", "")?;
    ensure!(
        missed.contains("the current context") && missed.contains(uid.as_str()),
        "{missed}"
    );
    let context = kubectl(&world, &["config", "current-context"])?;
    for (variable, value) in [("KUBE_CLUSTER_UID", uid.as_str()), ("KUBE_CONTEXT", context.trim())] {
        let none = notes(variable, value)?;
        ensure!(none == "[]", "{variable}: {none}");
    }
    Ok(())
}
