//! How many objects are held at once.

use std::sync::{Arc, Mutex};

use jm_provider_kubernetes::Export;
use serde_json::json;

use super::Scene;
use crate::proxy::{Fault, Proxy};
use crate::server::Server;

/// A page that has more text than memory should hold is asked for again in smaller ones, and nothing is missing.
pub(crate) async fn large_objects_are_read_few_at_once(server: &Server) {
    const LARGE: usize = 40;
    let scene = Scene::new(server).await;
    for index in 0..LARGE {
        let mut config = scene.object("v1", "ConfigMap", &format!("c-{index:02}"));
        config["data"] = json!({ "text": "x".repeat(1 << 20) });
        scene.put(&config).await;
    }
    let proxy = Proxy::to(server).await;
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    proxy.fail(usize::MAX, Fault::Cut, move |_, request| {
        if request.contains("/configmaps?") {
            seen.lock().expect("the list").push(request.to_owned());
        }
        false
    });
    let bench = crate::place::bench(&proxy.kubeconfig, scene.namespace()).await;
    let bench = bench.with("backups", scene.backups().await);
    let output = bench.run(&Export, json!({ "cluster_scope": "none" })).await.output();
    // That of the cluster's CA is not kept.
    assert_eq!(output["kinds"]["v1 ConfigMap"], LARGE, "{output:#}");
    let asked = asked.lock().expect("the list").clone();
    assert!(asked[0].contains("limit=500"), "{asked:?}");
    let smaller = asked.iter().filter(|request| !request.contains("limit=500"));
    assert!(smaller.count() >= 3, "{asked:?}");
}
