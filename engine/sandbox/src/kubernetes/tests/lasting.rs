//! What outlives the process.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_objects_identity_and_revisions() {
    let fixture = Fixture::start().await;
    fixture
        .kubectl(&["apply", "-f", "-"], &deployment("web", "web:1", 2))
        .await;
    fixture
        .kubectl(&["rollout", "status", "deployment/web", "--timeout=20s"], "")
        .await;
    let what = ["get", "deployments,replicasets,pods,namespaces", "-A", "-o", "json"];
    let settled = fixture.kubectl(&what, "").await;
    let address = fixture.server.url().trim_start_matches("https://").parse().unwrap();
    let Fixture { root, server } = fixture;
    server.stop().await;
    let server = KubernetesServer::start(root.path(), address).await.unwrap();
    let fixture = Fixture { root, server };
    assert_eq!(fixture.kubectl(&what, "").await, settled);
    fixture.kubectl(&["scale", "deployment/web", "--replicas=0"], "").await;
    fixture
        .kubectl(&["wait", "--for=delete", "pod", "-l", "app=web", "--timeout=20s"], "")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trail_tells_every_request_once() {
    let fixture = Fixture::start().await;
    let before = fixture.audit().len();
    fixture
        .kubectl(&["get", "--raw", "/api/v1/namespaces/default/pods?limit=3"], "")
        .await;
    fixture.kubectl(&["create", "configmap", "one"], "").await;
    let records = fixture.audit();
    let lists: Vec<_> = records[before..]
        .iter()
        .filter(|record| record.verb == "list")
        .collect();
    assert_eq!(lists.len(), 1);
    assert_eq!(
        (lists[0].resource.as_str(), lists[0].namespace.as_str(), lists[0].code),
        ("pods", "default", 200)
    );
    assert!(lists[0].user_agent.starts_with("kubectl"));
    let writes: Vec<_> = records.iter().filter(|record| record.is_effective_write()).collect();
    assert_eq!(writes.len(), 1);
    assert_eq!(
        (writes[0].verb.as_str(), writes[0].user.as_str(), writes[0].code),
        ("create", "admin", 201)
    );
}

#[tokio::test]
async fn two_servers_never_share_a_folder() {
    let fixture = Fixture::start().await;
    let second = KubernetesServer::start(fixture.root.path(), "127.0.0.1:0".parse().unwrap()).await;
    assert!(
        second
            .unwrap_err()
            .to_string()
            .contains("another server keeps its state there")
    );
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let fixture = Fixture::start().await;
    let address: SocketAddr = fixture.server.url().trim_start_matches("https://").parse().unwrap();
    let other = tempfile::tempdir().unwrap();
    let error = KubernetesServer::start(other.path(), address)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains(&address.to_string()), "{error}");
}
