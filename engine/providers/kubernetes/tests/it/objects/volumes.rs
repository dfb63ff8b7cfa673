//! Volumes and the claims on them: those of hands come back together, those of drivers are told.

use jm_provider_kubernetes::{Export, Restore};
use jm_step::Change;
use serde_json::{Value, json};

use super::Scene;
use super::back::until_there;
use crate::server::Server;

impl Scene<'_> {
    /// A name that no other test has.
    fn named(&self, name: &str) -> String {
        format!("{}-{name}", self.namespace())
    }

    fn volume(&self, name: &str) -> Value {
        let mut volume =
            json!({ "apiVersion": "v1", "kind": "PersistentVolume", "metadata": { "name": self.named(name) } });
        volume["spec"] = json!({ "accessModes": ["ReadWriteOnce"], "capacity": { "storage": "1Gi" },
            "storageClassName": self.named("class"), "persistentVolumeReclaimPolicy": "Retain",
            "nfs": { "server": "nfs.example.com", "path": format!("/srv/{name}") } });
        volume
    }

    fn claim(&self, name: &str) -> Value {
        let mut claim = self.object("v1", "PersistentVolumeClaim", name);
        claim["spec"] = json!({ "accessModes": ["ReadWriteOnce"], "storageClassName": self.named("class"),
            "resources": { "requests": { "storage": "1Gi" } } });
        claim
    }

    async fn volume_of(&self, claim: &str) -> Value {
        until_there(self, claim, true).await;
        let claim = self.object("v1", "PersistentVolumeClaim", claim);
        self.get(&claim).await.expect("there")["spec"]["volumeName"].clone()
    }
}

/// Each claim has found a volume that looks like all the others, and what it holds is its own.
pub(crate) async fn claims_come_back_with_their_own_of_equal_volumes(server: &Server) {
    const PAIRS: [(&str, &str); 4] = [("a", "four"), ("b", "three"), ("c", "two"), ("d", "one")];
    let scene = Scene::new(server).await;
    let mut objects = Vec::new();
    for (claim, volume) in PAIRS {
        let pair = [scene.volume(volume), scene.claim(claim)];
        for object in &pair {
            scene.put(object).await;
        }
        objects.extend(pair);
        assert_eq!(
            scene.volume_of(claim).await,
            scene.named(volume),
            "it is the only free one"
        );
    }
    scene.export(json!({})).await;
    let before = scene.tree().await;
    scene.wipe(&objects).await;
    let ran = scene.bench().await.run(&Restore, json!({})).await;
    assert!(
        !format!("{:?}", ran.log).contains("not in this backup"),
        "{:?}",
        ran.log
    );
    for (claim, volume) in PAIRS {
        assert_eq!(scene.volume_of(claim).await, scene.named(volume), "claim `{claim}`");
    }
    let again = scene.bench().await.run(&Restore, json!({})).await;
    assert_eq!(again.changes, [], "a second restore changes nothing");
    scene.export(json!({})).await;
    let after = scene.tree().await;
    for (key, object) in &before {
        assert_eq!(after.get(key), Some(object), "{key}");
    }
    scene.wipe(&objects).await;
}

/// A volume that outlived the namespace of its claim is of the one that comes back, which no other may have.
pub(crate) async fn a_volume_that_stayed_is_of_its_claim_again(server: &Server) {
    let scene = Scene::new(server).await;
    let (volume, claim) = (scene.volume("left"), scene.claim("a"));
    for object in [&volume, &claim] {
        scene.put(object).await;
    }
    scene.volume_of("a").await;
    scene.export(json!({})).await;
    let live = async || scene.get(&volume).await.expect("there");
    scene.wipe(std::slice::from_ref(&claim)).await;
    while live().await["status"]["phase"] != "Released" {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let old = live().await["spec"]["claimRef"]["uid"].clone();
    let of_it = |changes: &[Change]| -> Vec<Change> {
        let is_of_it = |change: &&Change| change.object.starts_with("persistentvolume/");
        changes.iter().filter(is_of_it).cloned().collect()
    };
    let input = json!({ "except": ["persistentvolumeclaim/a"] });
    let ran = scene.bench().await.run(&Restore, input).await;
    assert_eq!(of_it(&ran.changes), [], "its claim does not come back");
    let is_held = live().await["spec"]["claimRef"]["uid"] == old;
    assert!(is_held, "whoever made a claim of its name would have what it holds");
    let foretold = scene
        .bench()
        .await
        .preview(&Restore, json!({}))
        .await
        .expect("a preview");
    assert_eq!(live().await["spec"]["claimRef"]["uid"], old, "a preview writes nothing");
    let ran = scene.bench().await.run(&Restore, json!({})).await;
    let (changes, said) = (of_it(&ran.changes), format!("{:?}", ran.log));
    assert_eq!(ran.output()["counts"]["updated"], 1);
    until_there(&scene, "a", true).await;
    assert_eq!(
        live().await["spec"]["claimRef"]["uid"],
        scene.get(&claim).await.expect("there")["metadata"]["uid"]
    );
    assert_eq!(changes, of_it(&foretold.changes), "what was said is what was done");
    assert_eq!(changes[0].before, Some(json!({ "spec.claimRef.uid": old })));
    for said in [said, foretold.summary] {
        assert!(said.contains("held for a claim that is gone"), "{said}");
    }
    let again = scene.bench().await.run(&Restore, json!({})).await;
    assert_eq!(again.changes, [], "a second restore changes nothing");
    scene.wipe(&[claim, volume]).await;
}

/// What a driver has made for a claim is made anew for it, and empty.
pub(crate) async fn contents_that_no_export_holds_are_told(server: &Server) {
    let scene = Scene::new(server).await;
    let mut volume = scene.volume("pvc-1");
    volume["metadata"]["annotations"] = json!({ "pv.kubernetes.io/provisioned-by": "csi.example.com" });
    volume["spec"]["csi"] = json!({ "driver": "csi.example.com", "volumeHandle": "vol-0a1b2c" });
    volume["spec"].as_object_mut().expect("a map").remove("nfs");
    let unbound = scene.claim("unbound");
    let objects = [volume, scene.claim("data")];
    for object in &objects {
        scene.put(object).await;
    }
    scene.volume_of("data").await;
    scene.put(&unbound).await;

    let told = "the contents of 1 claim are not in this backup";
    let place = format!("{}/data (csi.example.com `vol-0a1b2c`)", scene.namespace());
    let foretold = scene
        .bench()
        .await
        .preview(&Export, json!({}))
        .await
        .expect("a preview");
    assert!(
        foretold.summary.contains(told) && foretold.summary.contains(&place),
        "{}",
        foretold.summary
    );
    let ran = scene.bench().await.run(&Export, json!({})).await;
    assert_eq!(ran.degraded, [] as [&str; 0], "it is as complete as it can be");
    let said = format!("{:?}", ran.log);
    assert!(said.contains(told) && said.contains(&place), "{said}");
    assert_eq!(ran.output()["unkept_contents"], 1);
    assert!(
        scene.catalogue.text().contains("\"handle\": \"vol-0a1b2c\""),
        "the index tells where it is"
    );

    let foretold = scene
        .bench()
        .await
        .preview(&Restore, json!({}))
        .await
        .expect("a preview");
    assert!(foretold.summary.contains(told), "{}", foretold.summary);
    let others = json!({ "waves": ["configuration"], "allow_empty": true });
    let foretold = scene.bench().await.preview(&Restore, others).await.expect("a preview");
    assert!(!foretold.summary.contains(told), "{}", foretold.summary);
    let input =
        json!({ "kinds": ["PersistentVolumeClaim"], "except": ["persistentvolumeclaim/unbound"], "ready_seconds": 5 });
    let ran = scene.bench().await.run(&Restore, input).await;
    let said = format!("{:?}", ran.log);
    assert!(said.contains(told), "{said}");
    scene.wipe(&objects).await;
}
