//! Kinds that a server beside the API server adds to the API.

use std::time::Duration;

use jm_client_kubernetes::ObjectKey;
use jm_provider_kubernetes::{Export, Restore};
use serde_json::{Value, json};

use crate::beside::Beside;
use crate::objects::Scene;
use crate::server::Server;

/// Waits until the API server serves such a version of a group, or does so no more.
async fn until_served(server: &Server, scene: &Scene<'_>, version: &str, is_served: bool) {
    let cluster = crate::place::open(&server.kubeconfig, scene.namespace()).await;
    for _ in 0..600 {
        if cluster.discover().await.expect("kinds").serves(version) == is_served {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("`{version}` is still not as it is to be: {is_served}");
}

pub(crate) async fn what_a_server_beside_the_api_server_has_comes_back_once_that_answers(server: &Server) {
    // Its server is not of the application, and nothing but the gadget leads to it.
    let (scene, other) = (Scene::new(server).await, Scene::new(server).await);
    let beside = Beside::start(server, &format!("{}.example.com", scene.namespace())).await;
    let [service, api_service] = beside.objects(other.namespace());
    let gadget = beside.gadget(scene.namespace(), 7);
    let version = gadget["apiVersion"].as_str().expect("a version");
    beside.answers(true);
    for object in [&service, &api_service, &gadget] {
        scene.put(object).await;
    }
    until_served(server, &scene, version, true).await;
    scene.bench().await.run(&Export, json!({})).await.output();
    let tree = scene.tree().await;
    for object in [&api_service, &gadget] {
        let key = ObjectKey::of(object).expect("a key").to_string();
        assert!(tree.contains_key(&key), "{key} is not kept: {:?}", tree.keys());
    }

    scene.delete(&api_service).await;
    beside.answers(false);
    until_served(server, &scene, version, false).await;
    let foretold = scene.bench().await.preview(&Restore, json!({})).await;
    let foretold = foretold.expect("a preview");
    let comes_up = async {
        while scene.get(&api_service).await.is_none() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        beside.answers(true);
    };
    let bench = scene.bench().await;
    let (ran, ()) = tokio::join!(bench.run(&Restore, json!({})), comes_up);
    assert_eq!(foretold.changes, ran.changes, "what was said is what was done");
    assert!(
        ran.log.iter().any(|line| line.contains("it is not Available")),
        "it was waited for: {:?}",
        ran.log
    );
    assert_eq!(ran.output()["counts"]["created"], 2);
    assert_eq!(scene.get(&gadget).await.expect("there")["spec"], json!({ "size": 7 }));
    let again = scene.bench().await.run(&Restore, json!({})).await;
    assert_eq!(again.changes, [], "a second restore changes nothing");
    scene.delete(&api_service).await;
    for scene in [&scene, &other] {
        scene.wipe(&[] as &[Value]).await;
    }
}
