//! A sandbox in this process: what it holds, and what befalls it.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::*;

/// Runs a scenario in a sandbox whose database lives there.
#[expect(
    clippy::disallowed_methods,
    reason = "tests find their servers through the environment"
)]
async fn in_sandbox(database: DatabasePlace, scenario: impl AsyncFnOnce(Description)) {
    let folder = tempfile::Builder::new().prefix("jm-serve-").tempdir().unwrap();
    // PostgreSQL's user has to pass through.
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    let options = Options {
        kubernetes: KubernetesKind::Embedded,
        database,
    };
    options.save(folder.path()).unwrap();
    let (supervisor, environment) = (Supervisor::none(), Environment::new(std::env::vars()));
    let held = serve(folder.path(), &supervisor, &environment, std::future::pending());
    let played = async { scenario(up(folder.path()).await).await };
    tokio::select! {
        ended = held => panic!("the sandbox ended: {ended:?}"),
        () = played => {}
    }
}

/// The sandbox as its process describes it, once it is up.
async fn up(folder: &Path) -> Description {
    for _ in 0..1200 {
        if let Ok(text) = std::fs::read(folder.join("sandbox.json")) {
            return serde_json::from_slice(&text).unwrap();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the sandbox did not come up");
}

async fn fill(sandbox: &Description) {
    journeyman::deploy_database(sandbox).await.unwrap();
    journeyman::create_database(sandbox, 1).await.unwrap();
    journeyman::deploy(sandbox).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_cluster_takes_its_database_along_and_leaves_its_address() {
    in_sandbox(DatabasePlace::InCluster, async |sandbox| {
        fill(&sandbox).await;
        let objects = journeyman::objects(&sandbox).await.unwrap();
        let kinds: std::collections::BTreeSet<_> =
            objects.keys().filter_map(|object| object.split(' ').next()).collect();
        assert!(kinds.len() >= 15, "only {kinds:?}");
        let images = journeyman::images(&sandbox).await.unwrap();
        assert!(images.iter().all(|image| image.contains("@sha256:")), "{images:?}");
        let tables = journeyman::fingerprint(&sandbox).await.unwrap();

        journeyman::lose_cluster(&sandbox).await.unwrap();
        assert!(journeyman::objects(&sandbox).await.unwrap().is_empty());
        assert!(
            journeyman::fingerprint(&sandbox).await.is_err(),
            "the database still serves"
        );

        // The volume is a new one: the server is there, and the database is not.
        journeyman::deploy_database(&sandbox).await.unwrap();
        assert!(journeyman::fingerprint(&sandbox).await.is_err());
        fill(&sandbox).await;
        assert_eq!(journeyman::objects(&sandbox).await.unwrap(), objects);
        assert_eq!(journeyman::images(&sandbox).await.unwrap(), images);
        let now = journeyman::fingerprint(&sandbox).await.unwrap();
        assert!(now.keys().eq(tables.keys()));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_beside_the_cluster_outlives_it() {
    in_sandbox(DatabasePlace::Beside, async |sandbox| {
        fill(&sandbox).await;
        let tables = journeyman::fingerprint(&sandbox).await.unwrap();
        journeyman::lose_cluster(&sandbox).await.unwrap();
        assert_eq!(journeyman::fingerprint(&sandbox).await.unwrap(), tables);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[expect(
    clippy::disallowed_methods,
    reason = "tests find their servers through the environment"
)]
async fn a_server_whose_port_somebody_else_took_is_started_on_another() {
    let folder = tempfile::Builder::new().prefix("jm-serve-").tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    let (supervisor, environment) = (Supervisor::none(), Environment::new(std::env::vars()));
    let taken = listen(0).unwrap();
    let taken = (taken.local_addr().unwrap().port(), taken);
    let mut chosen = vec![free_port().unwrap(), taken.0];
    let start = |port| PostgresServer::start(folder.path(), port, &supervisor, &environment);
    let alone = start(taken.0).await;
    assert!(alone.is_err(), "it cannot start where somebody listens");
    let server = on_a_free_port(|| Ok(chosen.pop().expect("two are enough")), start)
        .await
        .unwrap();
    assert!(!server.url("postgres").contains(&format!(":{}/", taken.0)));
    server.stop().await;
}
