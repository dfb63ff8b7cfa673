//! A control plane that is started, used, stopped and started again.

use std::collections::BTreeMap;

use super::*;
use crate::{Description, journeyman};

#[expect(
    clippy::disallowed_methods,
    reason = "tests find their servers through the environment"
)]
fn environment() -> Environment {
    Environment::new(std::env::vars())
}

fn description(plane: &RealKubernetes) -> Description {
    let kubeconfig = plane.kubeconfig().display().to_string();
    Description {
        pid: std::process::id(),
        started_at: jiff::Timestamp::UNIX_EPOCH,
        environment: BTreeMap::from([("KUBECONFIG".to_owned(), kubeconfig)]),
        database: crate::DatabasePlace::Beside,
        control: None,
    }
}

/// Processes whose arguments name this folder.
fn processes_of(folder: &Path) -> Vec<String> {
    let wanted = folder.display().to_string();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|process| std::fs::read(process.path().join("cmdline")).ok())
        .map(|arguments| String::from_utf8_lossy(&arguments).replace('\0', " "))
        .filter(|arguments| arguments.contains(&wanted))
        .collect()
}

/// What is left of them when a kill, which takes effect a moment later, had its time.
async fn left_of(folder: &Path) -> Vec<String> {
    for _ in 0..100 {
        if processes_of(folder).is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    processes_of(folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_is_started_used_and_started_again() {
    let root = tempfile::tempdir().unwrap();
    let (supervisor, environment) = (Supervisor::none(), environment());
    let mut plane = RealKubernetes::start(root.path(), &supervisor, &environment)
        .await
        .unwrap();
    assert_eq!(processes_of(root.path()).len(), 5);
    journeyman::deploy(&description(&plane)).await.unwrap();
    let nobody = tokio::time::timeout(Duration::from_millis(100), plane.ended()).await;
    assert!(nobody.is_err(), "all of it runs: {nobody:?}");
    plane.stop().await;
    assert_eq!(processes_of(root.path()), Vec::<String>::new());

    let mut plane = RealKubernetes::start(root.path(), &supervisor, &environment)
        .await
        .unwrap();
    let ready = journeyman::ready_replicas(&description(&plane)).await.unwrap();
    assert_eq!(ready, journeyman::REPLICAS, "its objects are those of before");
    let (_, kwok) = plane.servers.last().expect("a kubelet");
    kwok.terminate();
    let lost = plane.ended().await.to_string();
    assert!(lost.contains("lost kwok") && lost.contains("kwok.log"), "{lost}");
    drop(plane);
    assert_eq!(
        left_of(root.path()).await,
        Vec::<String>::new(),
        "what is dropped ends, too"
    );
}

#[tokio::test]
async fn programs_that_are_missing_are_named_with_what_installs_them() {
    let root = tempfile::tempdir().unwrap();
    let home = root.path().display().to_string();
    let environment = Environment::new([("HOME".to_owned(), home)]);
    let error = RealKubernetes::start(&root.path().join("data"), &Supervisor::none(), &environment).await;
    let said = error.unwrap_err().to_string();
    for part in [
        "etcd",
        "kube-apiserver",
        "kwok",
        "`tests/services/install kubernetes kwok`",
    ] {
        assert!(said.contains(part), "{said}");
    }
    assert!(!root.path().join("data").exists(), "nothing was begun");
}
