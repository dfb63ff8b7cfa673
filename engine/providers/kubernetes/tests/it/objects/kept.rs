//! What an export keeps of objects that are not as they look: stopped for a while, made by others, put together by a
//! controller, or of images that nobody knows.

use jm_client_kubernetes::ObjectKey;
use jm_provider_kubernetes::{Export, Restore};
use jm_step::StepErrorKind;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::Scene;
use crate::definitions::definition;
use crate::proxy::{Fault, Proxy};
use crate::server::Server;

const RBAC: &str = "rbac.authorization.k8s.io/v1";

/// As the tree of an export calls an object.
pub(super) fn called(object: &Value) -> String {
    ObjectKey::of(object).expect("a key").to_string()
}

impl Scene<'_> {
    /// A role that is in no namespace, with a name that no other test has.
    fn role(&self, name: &str, labels: &Value, more: Value) -> Value {
        let name = format!("{}-{name}", self.namespace());
        let mut role =
            json!({ "apiVersion": RBAC, "kind": "ClusterRole", "metadata": { "name": name, "labels": labels } });
        role.as_object_mut()
            .expect("a map")
            .extend(more.as_object().cloned().expect("a map"));
        role
    }

    /// Lets an account of the namespace have such a role.
    async fn bind(&self, name: &str, role: &Value) {
        let mut binding = self.object(RBAC, "RoleBinding", name);
        binding["roleRef"] = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role });
        binding["subjects"] = json!([{ "kind": "ServiceAccount", "name": "default", "namespace": self.namespace() }]);
        self.put(&binding).await;
    }

    /// Writes an account that another object makes.
    async fn put_made_by(&self, owner: &Value) -> String {
        self.put_owned(self.object("v1", "ServiceAccount", "made"), owner).await
    }

    /// Writes an object that another one controls. What it is called in an export.
    async fn put_owned(&self, mut made: Value, owner: &Value) -> String {
        let owner = self.get(owner).await.expect("an owner");
        made["metadata"]["ownerReferences"] = json!([{ "apiVersion": owner["apiVersion"], "kind": owner["kind"],
            "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"], "controller": true }]);
        self.put(&made).await;
        called(&made)
    }

    pub(crate) async fn delete_cluster_wide(&self, objects: &[Value]) {
        for object in objects {
            let name = object["metadata"]["name"].as_str().expect("a name");
            drop(self.api(object).delete(name, &DeleteParams::default()).await);
        }
    }
}

pub(crate) async fn what_was_quiesced_comes_back_running(server: &Server) {
    let scene = Scene::new(server).await;
    scene.place.deploy("web", "registry.example/web:1", 2).await;
    scene.place.until_ready("web", 2).await;
    let mut job = scene.object("batch/v1", "CronJob", "nightly");
    let containers = json!([{ "name": "main", "image": "registry.example/x:1" }]);
    job["spec"] = json!({ "schedule": "0 0 1 1 *", "jobTemplate": { "spec": { "template": { "spec": {
        "restartPolicy": "Never", "containers": containers } } } } });
    scene.put(&job).await;
    let writers = json!({ "workloads": ["deployment/web", "cronjob/nightly"] });
    scene
        .bench()
        .await
        .run(&jm_provider_kubernetes::Quiesce, writers)
        .await
        .output();
    scene.export(json!({})).await;
    scene.delete(&scene.object("apps/v1", "Deployment", "web")).await;
    scene.delete(&job).await;
    let input = json!({ "images": "written" });
    scene.bench().await.run(&Restore, input).await.output();
    assert_eq!(
        scene.place.count("web").await,
        (2, None),
        "as it was before, and without a mark"
    );
    let back = scene.get(&job).await.expect("it is back");
    assert_eq!(back["spec"]["suspend"], json!(false), "{back:#}");
    assert!(
        !back["metadata"]["annotations"].to_string().contains("jm.dev/suspended"),
        "{back:#}"
    );
}

pub(crate) async fn roles_that_a_role_is_put_together_from_are_kept(server: &Server) {
    let scene = Scene::new(server).await;
    let part = format!("{}.example.com/part", scene.namespace());
    let rules = json!({ "rules": [{ "apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"] }] });
    let whole =
        json!({ "aggregationRule": { "clusterRoleSelectors": [{ "matchLabels": { (&*part): "yes" } }] }, "rules": [] });
    // The part comes first by its name. The others are parts of the role `admin`, which every cluster has.
    let roles = [
        scene.role("a-part", &json!({ (&*part): "yes" }), rules.clone()),
        scene.role("z-whole", &json!({}), whole),
        scene.role(
            "viewing",
            &json!({ "rbac.authorization.k8s.io/aggregate-to-view": "true" }),
            rules.clone(),
        ),
        scene.role("stranger", &json!({ (&*part): "no" }), rules),
    ];
    for role in &roles {
        scene.put(role).await;
    }
    scene.bind("whole", &roles[1]["metadata"]["name"]).await;
    scene.bind("admins", &json!("admin")).await;
    scene.export(json!({})).await;
    let tree = scene.tree().await;
    scene.delete_cluster_wide(&roles).await;
    let is_kept = |role: &Value| tree.contains_key(&called(role));
    assert_eq!(
        roles.each_ref().map(is_kept),
        [true, true, true, false],
        "{:?}",
        tree.keys()
    );
    let admin = json!({ "apiVersion": RBAC, "kind": "ClusterRole", "metadata": { "name": "admin" } });
    assert!(!is_kept(&admin), "it comes with the cluster");
}

pub(crate) async fn what_nobody_would_make_again_is_kept(server: &Server) {
    // Its maker is in no namespace, and nothing of the namespace refers to it.
    let scene = Scene::new(server).await;
    let mut issuers = definition(&scene, "issuers", "Issuer", &["v1"]);
    issuers["spec"]["scope"] = "Cluster".into();
    scene.put(&issuers).await;
    let version = format!("{}.example.com/v1", scene.namespace());
    let maker = json!({ "apiVersion": version, "kind": "Issuer", "metadata": { "name": "maker" } });
    scene.put(&maker).await;
    let made = scene.put_made_by(&maker).await;
    scene.export(json!({})).await;
    assert!(scene.tree().await.contains_key(&made));
    scene.export(json!({ "cluster_scope": "all" })).await;
    assert!(
        !scene.tree().await.contains_key(&made),
        "its maker is kept, and makes it again"
    );
    scene.delete_cluster_wide(&[maker, issuers]).await;

    // Its maker is of a kind that cannot be read.
    let scene = Scene::new(server).await;
    scene.place.deploy("web", "registry.example/web:1", 1).await;
    scene.place.until_ready("web", 1).await;
    let is_kept = async || {
        let tree = scene.tree().await;
        tree.values().any(|object| object["kind"] == "ReplicaSet")
    };
    scene.export(json!({ "cluster_scope": "none" })).await;
    assert!(!is_kept().await, "its deployment makes it again");
    let proxy = Proxy::to(server).await;
    proxy.fail(usize::MAX, Fault::Status(403), |_, asked| {
        asked.contains("/deployments?")
    });
    let bench = crate::place::bench(&proxy.kubeconfig, scene.namespace()).await;
    let bench = bench.with("backups", scene.backups().await);
    bench.run(&Export, json!({ "cluster_scope": "none" })).await.output();
    assert!(is_kept().await);
}

/// An operator makes the claim again, and of a class that nothing else names.
pub(crate) async fn classes_of_what_is_made_again_are_kept(server: &Server) {
    let scene = Scene::new(server).await;
    let databases = definition(&scene, "databases", "Database", &["v1"]);
    scene.put(&databases).await;
    let version = format!("{}.example.com/v1", scene.namespace());
    let maker = scene.object(&version, "Database", "main");
    scene.put(&maker).await;
    let name = format!("{}-fast", scene.namespace());
    let class = json!({ "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": { "name": name },
        "provisioner": "example.com/disks" });
    scene.put(&class).await;
    let mut claim = scene.object("v1", "PersistentVolumeClaim", "data");
    claim["spec"] = json!({ "storageClassName": name, "accessModes": ["ReadWriteOnce"],
        "resources": { "requests": { "storage": "1Gi" } } });
    let made = scene.put_owned(claim, &maker).await;
    scene.export(json!({})).await;
    let tree = scene.tree().await;
    assert!(!tree.contains_key(&made), "its maker is kept, and makes it again");
    assert!(tree.contains_key(&called(&class)), "{:?}", tree.keys());
    scene.delete_cluster_wide(&[class, databases]).await;
}

/// What accounts may do elsewhere is in no export of their namespace.
pub(crate) async fn bindings_in_other_namespaces_are_told(server: &Server) {
    let (scene, elsewhere) = (Scene::new(server).await, Scene::new(server).await);
    let bind = |account: &str, name: &str| {
        let mut binding = elsewhere.object(RBAC, "RoleBinding", name);
        binding["roleRef"] = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "leader" });
        binding["subjects"] = json!([{ "kind": "ServiceAccount", "name": "default", "namespace": account }]);
        binding
    };
    elsewhere.put(&bind(scene.namespace(), "theirs")).await;
    elsewhere.put(&bind(elsewhere.namespace(), "own")).await;
    scene.bind("here", &json!("view")).await;
    let told = |log: &[String]| log.iter().find(|line| line.contains("are bound in others")).cloned();
    let ran = scene.bench().await.run(&Export, json!({})).await;
    let line = told(&ran.log).unwrap_or_else(|| panic!("it is not told: {:?}", ran.log));
    assert!(
        line.ends_with(&format!(": {}/theirs", elsewhere.namespace())),
        "that one alone: {line}"
    );
    let within = scene.bench().await.key("within");
    let ran = within.run(&Export, json!({ "cluster_scope": "none" })).await;
    assert_eq!(told(&ran.log), None, "nothing outside of the namespace is looked at");
}

pub(crate) async fn images_that_nobody_knows_are_told(server: &Server) {
    let scene = Scene::new(server).await;
    // The pods of the tests' nodes tell no digest.
    scene.place.deploy("web", "registry.example/web:1", 1).await;
    scene.place.until_ready("web", 1).await;
    let fixed = format!("registry.example/web@sha256:{}", "a".repeat(64));
    scene.place.deploy("fixed", &fixed, 1).await;
    scene.place.until_ready("fixed", 1).await;
    scene.place.deploy("rests", "registry.example/rests:1", 0).await;
    scene.place.deploy("moves", "registry.example/moves", 0).await;
    let foretold = scene
        .bench()
        .await
        .preview(&Export, json!({}))
        .await
        .expect("a preview");
    let ran = scene.bench().await.run(&Export, json!({})).await;
    assert_eq!(foretold.degraded, ran.degraded, "the dry run tells what the run does");
    assert_eq!(ran.degraded.len(), 1, "{:?}", ran.degraded);
    let told = &ran.degraded[0];
    assert!(
        told.contains("Deployment/web") && told.contains("registry.example/web:1") && told.contains("Deployment/moves"),
        "{told}"
    );
    assert!(
        !told.contains("Deployment/fixed") && !told.contains("Deployment/rests"),
        "{told}"
    );
    // Of what never ran nothing is lost, but nobody has seen its image either.
    let untried = "nothing of these runs";
    assert!(foretold.summary.contains(untried), "{}", foretold.summary);
    let line = ran.log.iter().find(|line| line.contains(untried));
    assert!(
        line.is_some_and(|line| line.contains("Deployment/rests")),
        "{:?}",
        ran.log
    );
    assert_eq!(ran.output()["unknown_images"].as_array().map(Vec::len), Some(3));

    // What comes back by a tag alone has to be asked for.
    let only = |object: &str| json!({ "objects": [object] });
    for object in ["deployment/web", "deployment/moves", "deployment/rests"] {
        let mut written = only(object);
        written["images"] = "recorded-or-written".into();
        let same = scene.bench().await.run(&Restore, written).await;
        assert_eq!(same.output()["counts"]["unchanged"], 1, "{object}");
        let refused = scene.bench().await.run(&Restore, only(object)).await.error();
        assert_eq!(refused.kind(), StepErrorKind::Refused, "{refused}");
    }
}

pub(crate) async fn secrets_of_some_types_are_left_out_where_that_is_said(server: &Server) {
    let scene = Scene::new(server).await;
    let secret = |name: &str, its_type: &str| {
        let mut secret = scene.object("v1", "Secret", name);
        secret["type"] = its_type.into();
        secret
    };
    let (own, release) = (secret("own", "Opaque"), secret("release", "helm.sh/release.v1"));
    let login = secret("other", "example.com/login");
    for object in [&own, &release, &login] {
        scene.put(object).await;
    }
    for (input, left_out) in [
        (json!({}), vec![]),
        (json!({ "helm_releases": false }), vec![&release]),
        (json!({ "without_types": ["example.com/login"] }), vec![&login]),
    ] {
        scene.export(input.clone()).await;
        let tree = scene.tree().await;
        for object in [&own, &release, &login] {
            let is_kept = tree.contains_key(&called(object));
            assert_eq!(is_kept, !left_out.contains(&object), "{input}: {object}");
        }
    }
}

/// A pod that somebody started by hand, and that is over. No scheduler sees to it, so that its status stays.
async fn ended_pod(scene: &Scene<'_>) -> Value {
    let mut pod = scene.object("v1", "Pod", "over");
    pod["spec"] = json!({ "restartPolicy": "Never", "schedulerName": "nobody",
        "containers": [{ "name": "main", "image": "registry.example/once:1" }] });
    scene.put(&pod).await;
    let status = Patch::Merge(json!({ "status": { "phase": "Succeeded" } }));
    let (api, params) = (scene.api(&pod), PatchParams::default());
    api.patch_status("over", &params, &status)
        .await
        .expect("its status is written");
    pod
}

pub(crate) async fn what_comes_by_itself_or_is_left_out_is_not_kept(server: &Server) {
    let scene = Scene::new(server).await;
    let mut leads = scene.object("v1", "ConfigMap", "leads");
    leads["metadata"]["annotations"] = json!({ "control-plane.alpha.kubernetes.io/leader": "{}" });
    let plain = scene.object("v1", "ConfigMap", "plain");
    let mut token = scene.object("v1", "Secret", "token-for-ci");
    token["type"] = "kubernetes.io/service-account-token".into();
    token["metadata"]["annotations"] = json!({ "kubernetes.io/service-account.name": "ci" });
    // Without its account a token is deleted.
    let account = scene.object("v1", "ServiceAccount", "ci");
    for object in [&leads, &plain, &account, &token] {
        scene.put(object).await;
    }
    let filled = async || {
        for _ in 0..300 {
            let secret = scene.get(&token).await.expect("there");
            if let Some(token) = secret["data"]["token"].as_str() {
                return token.to_owned();
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("its controller does not fill it");
    };
    let first = filled().await;
    let over = ended_pod(&scene).await;
    let exported = scene.bench().await.run(&Export, json!({})).await;
    let line = exported.log.iter().find(|line| line.contains("have ended"));
    assert!(
        line.is_some_and(|line| line.ends_with(&called(&over))),
        "{:?}",
        exported.log
    );
    exported.output();
    let tree = scene.tree().await;
    assert!(tree.contains_key(&called(&plain)) && !tree.contains_key(&called(&leads)));
    assert!(!tree.contains_key(&called(&over)), "it would run again");
    assert_eq!(
        tree[&called(&token)].get("data"),
        None,
        "it is good for this cluster only"
    );
    scene.delete(&token).await;
    let input = json!({ "objects": ["secret/token-for-ci"] });
    scene.bench().await.run(&Restore, input).await.output();
    assert_ne!(filled().await, first, "another one was made for it");

    for without in ["configmap", "ConfigMap"] {
        scene.export(json!({ "without": [without] })).await;
        let tree = scene.tree().await;
        assert!(!tree.contains_key(&called(&plain)), "{without}");
        assert!(tree.contains_key(&called(&token)), "the others are kept");
    }
}

/// A claim in use is being deleted for as long as its pods run.
pub(crate) async fn what_is_being_deleted_is_told(server: &Server) {
    let scene = Scene::new(server).await;
    let mut held = scene.object("v1", "ConfigMap", "held");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    scene.put(&held).await;
    drop(scene.api(&held).delete("held", &DeleteParams::default()).await);
    let ran = scene
        .bench()
        .await
        .run(&Export, json!({ "cluster_scope": "none" }))
        .await;
    assert_eq!(ran.degraded.len(), 1, "{:?}", ran.degraded);
    assert!(ran.degraded[0].contains(&called(&held)), "{:?}", ran.degraded);
    assert!(!scene.tree().await.contains_key(&called(&held)));
    scene.wipe(&[held]).await;
}
