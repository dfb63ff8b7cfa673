//! Sets of objects, and what goes of them when it is not written any more.

use jm_provider_kubernetes::Apply;
use serde_json::{Value, json};

use super::Scene;
use crate::server::Server;

pub(crate) async fn what_is_not_of_the_set_any_more_goes_only_when_asked(server: &Server) {
    let scene = Scene::new(server).await;
    let config = |name: &str| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name, "namespace": scene.namespace() } });
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(format!("{name}.yaml"));
    for name in ["a", "b"] {
        std::fs::write(file(name), config(name).to_string()).expect("written");
    }
    scene.put(&config("foreign")).await;
    let bench = scene.bench().await;
    let input = |prune: bool| json!({ "paths": [folder.path()], "applyset": "app", "prune": prune });
    bench.run(&Apply, input(true)).await.output();
    std::fs::remove_file(file("b")).expect("removed");
    bench.run(&Apply, input(false)).await.output();
    assert!(scene.get(&config("b")).await.is_some(), "nobody asked");
    let preview = bench.preview(&Apply, input(true)).await.expect("a preview");
    assert!(scene.get(&config("b")).await.is_some(), "a preview deletes nothing");
    let ran = bench.run(&Apply, input(true)).await;
    assert_eq!(preview.changes, ran.changes);
    assert_eq!(ran.output()["counts"]["pruned"], 1);
    assert!(scene.get(&config("b")).await.is_none());
    assert!(scene.get(&config("a")).await.is_some() && scene.get(&config("foreign")).await.is_some());

    // What still stands in the manifests stays, also where its wave was not asked for.
    let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "x" } });
    std::fs::write(file("account"), account.to_string()).expect("written");
    bench.run(&Apply, input(true)).await.output();
    let mut only = input(true);
    only["waves"] = json!(["accounts"]);
    let ran = bench.run(&Apply, only).await.output();
    assert_eq!(ran["counts"]["pruned"], 0, "{ran:#}");
    assert!(scene.get(&config("a")).await.is_some(), "it still is of the set");
    // The set remembers kinds of other waves, so that what of them is no longer written is found later.
    std::fs::remove_file(file("a")).expect("removed");
    assert_eq!(bench.run(&Apply, input(true)).await.output()["counts"]["pruned"], 1);
    assert!(scene.get(&config("a")).await.is_none());
}

/// What holds data goes only where its kind is named, and who will undo it is told.
pub(crate) async fn what_holds_data_is_spared_and_who_keeps_what_goes_is_told(server: &Server) {
    let scene = Scene::new(server).await;
    let folder = tempfile::tempdir().expect("a folder");
    let config = scene.object("v1", "ConfigMap", "stays");
    let secret = scene.object("v1", "Secret", "s");
    let mut helms = scene.object("v1", "ConfigMap", "helms");
    helms["metadata"]["labels"] = json!({ "app.kubernetes.io/managed-by": "Helm" });
    helms["metadata"]["annotations"] =
        json!({ "meta.helm.sh/release-name": "web", "meta.helm.sh/release-namespace": scene.namespace() });
    for object in [&config, &secret, &helms] {
        let name = object["metadata"]["name"].as_str().expect("a name");
        std::fs::write(folder.path().join(format!("{name}.json")), object.to_string()).expect("written");
    }
    let bench = scene.bench().await;
    let input = |also: Value| json!({ "paths": [folder.path()], "applyset": "app", "prune": true, "prune_also": also });
    bench.run(&Apply, input(json!([]))).await.output();
    for name in ["s", "helms"] {
        std::fs::remove_file(folder.path().join(format!("{name}.json"))).expect("removed");
    }
    let ran = bench.run(&Apply, input(json!([]))).await;
    assert!(
        ran.log.iter().any(|line| line.contains("Helm") && line.contains("web")),
        "{:?}",
        ran.log
    );
    assert_eq!(ran.output()["counts"]["pruned"], 1);
    assert!(scene.get(&helms).await.is_none() && scene.get(&secret).await.is_some());
    let named = bench.run(&Apply, input(json!(["Secret"]))).await;
    assert_eq!(
        named.output()["counts"]["pruned"],
        1,
        "a kind that was spared is still of the set"
    );
    assert!(scene.get(&secret).await.is_none() && scene.get(&config).await.is_some());
}

/// The parent of a set tells of its kinds before there is an object of them, and until none is left.
pub(crate) async fn a_set_that_was_cut_off_is_found_whole(server: &Server) {
    let scene = Scene::new(server).await;
    let folder = tempfile::tempdir().expect("a folder");
    let write = |object: &Value, name: &str| {
        std::fs::write(folder.path().join(name), object.to_string()).expect("written");
    };
    let config = scene.object("v1", "ConfigMap", "c");
    write(&config, "c.json");
    // The wave after that of the first one fails.
    let mut service = scene.object("v1", "Service", "s");
    service["spec"] = json!({ "ports": [{ "port": 0 }] });
    write(&service, "s.json");
    let bench = scene.bench().await;
    let input = json!({ "paths": [folder.path()], "applyset": "app", "prune": true });
    bench.run(&Apply, input.clone()).await.error();
    assert!(scene.get(&config).await.is_some());
    // Whoever mends it leaves the first one out.
    std::fs::remove_file(folder.path().join("c.json")).expect("removed");
    service["spec"] = json!({ "ports": [{ "port": 80 }] });
    write(&service, "s.json");
    assert_eq!(bench.run(&Apply, input).await.output()["counts"]["pruned"], 1);
    assert!(scene.get(&config).await.is_none());
}
