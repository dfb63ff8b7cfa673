//! What was answered stays, whenever the process is killed.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ListParams, PostParams};

use super::*;

/// Where a child of this test finds its folder; without it the child's part does nothing.
const FOLDER: &str = "JM_TEST_KUBERNETES_FOLDER";

/// The child: serves until it is killed.
#[tokio::test(flavor = "multi_thread")]
async fn serves_for_a_test_that_kills_it() {
    #[expect(clippy::disallowed_methods, reason = "the test tells its child where to serve")]
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let server = KubernetesServer::start(Path::new(&folder), "127.0.0.1:0".parse().unwrap())
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_mins(2)).await;
    server.stop().await;
}

#[expect(
    clippy::disallowed_methods,
    reason = "the test has to kill a process of its own without a chance to end"
)]
fn child(folder: &Path) -> tokio::process::Child {
    tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["serves_for_a_test_that_kills_it", "--test-threads=1"])
        .env(FOLDER, folder)
        .stdout(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

async fn connected(folder: &Path) -> Api<ConfigMap> {
    let kubeconfig = folder.join("kubeconfig");
    for _ in 0..200 {
        if kubeconfig.exists() {
            let api = Api::namespaced(conformance::client(&kubeconfig).await, "default");
            if api.list(&ListParams::default()).await.is_ok() {
                return api;
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the child does not serve");
}

async fn kube_system(folder: &Path) -> String {
    use k8s_openapi::api::core::v1::Namespace;
    let api: Api<Namespace> = Api::all(conformance::client(&folder.join("kubeconfig")).await);
    api.get("kube-system").await.unwrap().metadata.uid.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_outlives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let (mut answered, mut revision, mut identity) = (0, 0, String::new());
    for round in 0..3 {
        let mut child = child(folder.path());
        let api = connected(folder.path()).await;
        let listed = api.list(&ListParams::default().labels("of=test")).await.unwrap();
        let now: u64 = listed.metadata.resource_version.unwrap().parse().unwrap();
        // One more may be there than was answered: the kill came between.
        let there = listed.items.len();
        assert!(
            there == answered || there == answered + 1,
            "{there} of {answered} in round {round}"
        );
        assert!(now >= revision, "revisions only grow");
        let uid = kube_system(folder.path()).await;
        assert!(identity.is_empty() || identity == uid);
        (answered, identity) = (there, uid);
        let writing = tokio::spawn(write_until_cut(api, there));
        tokio::time::sleep(Duration::from_millis(300)).await;
        child.kill().await.unwrap();
        let (written, last) = writing.await.unwrap();
        assert!(written > 0, "the kill came before anything was written");
        (answered, revision) = (answered + written, last);
    }
}

/// Makes one object after the other until the server is gone; says how many were answered, and the last revision.
async fn write_until_cut(api: Api<ConfigMap>, first: usize) -> (usize, u64) {
    let mut last = 0;
    for written in 0.. {
        let name = format!("m{}", first + written);
        let object = serde_json::json!({"metadata": {"name": name, "labels": {"of": "test"}}});
        let object: ConfigMap = serde_json::from_value(object).unwrap();
        match api.create(&PostParams::default(), &object).await {
            Ok(made) => last = made.metadata.resource_version.unwrap().parse().unwrap(),
            Err(_) => return (written, last),
        }
    }
    unreachable!("the server is killed");
}
