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

/// Kubernetes copies the labels of a Service to what it makes of it, that of the set too.
pub(crate) async fn what_is_made_of_a_member_is_no_member(server: &Server) {
    let scene = Scene::new(server).await;
    let folder = tempfile::tempdir().expect("a folder");
    let write = |object: &Value, name: &str| {
        std::fs::write(folder.path().join(name), object.to_string()).expect("written");
    };
    let mut service = scene.object("v1", "Service", "web");
    service["spec"] = json!({ "selector": { "app": "web" }, "ports": [{ "port": 80 }] });
    write(&service, "web.json");
    // Those of a database outside, so that the set has these kinds.
    let mut outside = scene.object("discovery.k8s.io/v1", "EndpointSlice", "db");
    outside["addressType"] = "IPv4".into();
    outside["endpoints"] = json!([{ "addresses": ["192.0.2.1"] }]);
    outside["ports"] = json!([{ "port": 5432 }]);
    write(&outside, "slice.json");
    let mut address = scene.object("v1", "Endpoints", "outside");
    address["subsets"] = json!([{ "addresses": [{ "ip": "192.0.2.1" }], "ports": [{ "port": 5432 }] }]);
    write(&address, "endpoints.json");
    let bench = scene.bench().await;
    let input = json!({ "paths": [folder.path()], "applyset": "app", "prune": true });
    bench.run(&Apply, input.clone()).await.output();
    let made = scene.object("v1", "Endpoints", "web");
    while scene.get(&made).await.is_none() || scene.slices_of("web").await.is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let labels = scene.get(&made).await.expect("they are there")["metadata"]["labels"].clone();
    assert!(labels.get("applyset.kubernetes.io/part-of").is_some(), "{labels}");
    assert_eq!(bench.run(&Apply, input.clone()).await.output()["counts"]["pruned"], 0);
    assert!(scene.get(&made).await.is_some() && !scene.slices_of("web").await.is_empty());
    // What somebody wrote goes, as before.
    for name in ["slice.json", "endpoints.json"] {
        std::fs::remove_file(folder.path().join(name)).expect("removed");
    }
    assert_eq!(bench.run(&Apply, input).await.output()["counts"]["pruned"], 2);
    assert!(scene.get(&made).await.is_some() && scene.get(&outside).await.is_none());
}

/// A set has members in other namespaces than its parent, and finds them when they are no longer written.
pub(crate) async fn members_in_other_namespaces_are_found(server: &Server) {
    let (scene, other) = (Scene::new(server).await, Scene::new(server).await);
    let folder = tempfile::tempdir().expect("a folder");
    let (here, there) = (
        scene.object("v1", "ConfigMap", "c"),
        other.object("v1", "ConfigMap", "c"),
    );
    let file = |name: &str| folder.path().join(name);
    std::fs::write(file("here.json"), here.to_string()).expect("written");
    std::fs::write(file("there.json"), there.to_string()).expect("written");
    let bench = scene.bench().await;
    let input = |prune: bool| json!({ "paths": [folder.path()], "applyset": "app", "prune": prune });
    bench.run(&Apply, input(true)).await.output();
    let parent = scene
        .get(&scene.object("v1", "Secret", "app"))
        .await
        .expect("the parent");
    assert_eq!(
        parent["metadata"]["annotations"]["applyset.kubernetes.io/additional-namespaces"],
        other.namespace()
    );
    std::fs::remove_file(file("there.json")).expect("removed");
    // Who does not ask keeps it, and the set goes on knowing where it is.
    bench.run(&Apply, input(false)).await.output();
    assert!(other.get(&there).await.is_some());
    assert_eq!(bench.run(&Apply, input(true)).await.output()["counts"]["pruned"], 1);
    assert!(other.get(&there).await.is_none() && scene.get(&here).await.is_some());
    let parent = scene
        .get(&scene.object("v1", "Secret", "app"))
        .await
        .expect("the parent");
    let annotations = &parent["metadata"]["annotations"];
    assert!(
        annotations
            .get("applyset.kubernetes.io/additional-namespaces")
            .is_none(),
        "{annotations}"
    );
}
