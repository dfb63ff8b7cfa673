//! An API server that turns requests away because it has enough to do.

use jm_provider_kubernetes::Apply;
use serde_json::{Value, json};

use crate::objects::Scene;
use crate::place::bench;
use crate::server::Server;

/// Many times as many as the server takes at once.
const OBJECTS: usize = 400;

pub(crate) async fn what_a_busy_api_server_turns_away_is_asked_again(server: &Server) {
    let scene = Scene::new(server).await;
    let documents: Vec<Value> = (0..OBJECTS)
        .map(|index| {
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": format!("c-{index}") },
                "data": { "text": "x".repeat(2000) } })
        })
        .collect();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("all.json");
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": documents });
    std::fs::write(&path, list.to_string()).expect("written");
    // Nobody is turned away who may do everything, so it is somebody else who asks.
    let bench = bench(&server.editor().await, scene.namespace()).await;
    let before = server.turned_away(scene.namespace());
    let input = json!({ "paths": [path], "create_namespace": false });
    let output = bench.run(&Apply, input).await.output();
    assert_eq!(output["counts"]["created"], OBJECTS);
    let turned_away = server.turned_away(scene.namespace()) - before;
    assert!(turned_away > 0, "the server was not busy, so nothing is proven");
}
