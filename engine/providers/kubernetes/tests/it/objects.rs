//! Exports, restores and applies on a control plane.

use std::collections::BTreeMap;
use std::time::Duration;

use jm_backup::Backups;
use jm_client_kubernetes::ObjectKey;
use jm_provider_kubernetes::{Apply, Export, Restore};
use jm_step::{AnyStepType, Connection, Known, Probe, Right, Rights, Standing, StepErrorKind};
use jm_testkit::StepBench;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::discovery::ApiResource;
use serde_json::{Value, json};

use crate::catalogue::Catalogue;
use crate::place::Place;
use crate::server::Server;

mod back;
mod conflicts;
mod faults;
mod gates;
mod kept;
mod kubectl;
mod namespaces;
mod pages;
mod promises;
mod remade;
mod running;
mod sets;
mod volumes;
mod waves;
pub(crate) use back::whatever_was_there_comes_back;
pub(crate) use conflicts::{
    a_conflict_names_field_and_manager, a_restore_overwrites_nothing_that_somebody_keeps,
    text_of_a_secret_conflicts_as_its_data_does, what_a_step_of_jm_has_set_is_not_in_the_way_of_an_apply,
    what_jm_itself_has_changed_since_is_told, what_newer_manifests_leave_out_is_shown_as_it_goes,
    who_will_undo_what_an_apply_or_a_restore_changes_is_told,
};
pub(crate) use faults::whatever_fails_once_leaves_nothing_deleted_or_undone;
pub(crate) use gates::{
    a_range_of_addresses_comes_back_with_all, policies_for_these_namespaces_are_kept_and_others_told,
};
pub(crate) use kept::{
    bindings_in_other_namespaces_are_told, classes_of_what_is_made_again_are_kept, images_that_nobody_knows_are_told,
    roles_that_a_role_is_put_together_from_are_kept, secrets_of_some_types_are_left_out_where_that_is_said,
    what_comes_by_itself_or_is_left_out_is_not_kept, what_is_being_deleted_is_told,
    what_nobody_would_make_again_is_kept, what_was_quiesced_comes_back_running,
};
pub(crate) use namespaces::{
    a_namespace_among_the_objects_is_made_once, a_namespace_that_does_not_go_away_is_told_with_what_holds_it,
    a_namespace_that_goes_while_it_is_read_is_no_export, a_namespace_that_has_ended_is_the_failure_of_its_objects,
};
pub(crate) use pages::large_objects_are_read_few_at_once;
pub(crate) use promises::{
    a_restore_keeps_what_a_step_type_promises, an_apply_keeps_what_a_step_type_promises,
    an_export_keeps_what_a_step_type_promises, an_import_keeps_what_a_step_type_promises,
};
pub(crate) use remade::{
    a_count_outlives_the_attempt_that_deletes_what_has_it, a_stop_leaves_nothing_deleted,
    nothing_is_deleted_for_what_would_not_be_taken, what_cannot_be_changed_is_known_of_each_kind,
    what_cannot_be_changed_is_made_anew_only_where_that_is_allowed,
    what_takes_its_claims_along_is_neither_made_anew_nor_pruned,
};
pub(crate) use running::{
    a_count_that_nobody_names_stays, a_deadline_of_its_own_ends_no_wave, a_stop_tells_of_all_that_was_written,
    results_are_kept_however_it_ends, what_a_new_quota_counts_is_let_in, what_an_autoscaler_has_scaled_is_left_to_it,
    what_is_late_is_told_with_its_pods, what_will_not_come_up_fails_fast_with_its_pods,
    who_is_in_trouble_is_named_and_not_who_waits,
};
pub(crate) use sets::{
    a_set_that_was_cut_off_is_found_whole, members_in_other_namespaces_are_found,
    what_holds_data_is_spared_and_who_keeps_what_goes_is_told, what_is_made_of_a_member_is_no_member,
    what_is_not_of_the_set_any_more_goes_only_when_asked,
};
pub(crate) use volumes::{
    a_volume_that_stayed_is_of_its_claim_again, claims_come_back_with_their_own_of_equal_volumes,
    contents_that_no_export_holds_are_told,
};
pub(crate) use waves::{
    a_kustomization_is_built_and_applied, folders_in_folders_are_read_where_that_is_said,
    waves_come_back_one_after_the_other, what_manifests_leave_open_is_told,
};

/// A namespace that is filled by hand, and a catalogue beside it.
pub(crate) struct Scene<'s> {
    place: Place<'s>,
    catalogue: Catalogue,
    client: kube::Client,
}

impl<'s> Scene<'s> {
    pub(crate) async fn new(server: &'s Server) -> Self {
        Self {
            place: Place::new(server).await,
            catalogue: Catalogue::new(),
            client: server.client().await,
        }
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.place.namespace
    }

    pub(crate) async fn bench(&self) -> StepBench {
        self.catalogue.bench(self.place.server, self.namespace()).await
    }

    pub(crate) async fn backups(&self) -> Backups {
        self.catalogue.open().await
    }

    pub(crate) fn api(&self, object: &Value) -> Api<DynamicObject> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (group, version) = text("/apiVersion")
            .rsplit_once('/')
            .unwrap_or(("", text("/apiVersion")));
        let kind = text("/kind");
        let plural = match kind {
            "Endpoints" => "endpoints".to_owned(),
            kind if kind.ends_with("Class") => format!("{}es", kind.to_lowercase()),
            kind if kind.ends_with("Policy") || kind.ends_with("Capacity") => {
                format!("{}ies", kind.to_lowercase().trim_end_matches('y'))
            }
            "Ingress" => "ingresses".to_owned(),
            kind => format!("{}s", kind.to_lowercase()),
        };
        let resource = ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version: text("/apiVersion").to_owned(),
            kind: kind.to_owned(),
            plural,
        };
        match object.pointer("/metadata/namespace").and_then(Value::as_str) {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }

    /// The least of an object in the namespace.
    pub(crate) fn object(&self, version: &str, kind: &str, name: &str) -> Value {
        json!({ "apiVersion": version, "kind": kind, "metadata": { "name": name, "namespace": self.namespace() } })
    }

    /// Writes an object as somebody else would.
    pub(crate) async fn put(&self, object: &Value) {
        let name = object["metadata"]["name"].as_str().expect("a name");
        let api = self.api(object);
        let wanted: DynamicObject = serde_json::from_value(object.clone()).expect("an object");
        let own = PostParams {
            field_manager: Some("somebody".to_owned()),
            ..PostParams::default()
        };
        let mut last = None;
        for _ in 0..100 {
            match api.create(&own, &wanted).await {
                Ok(_) => return,
                // Made by another test.
                Err(kube::Error::Api(status)) if status.code == 409 => return,
                Err(error) => last = Some(error),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{}/{name} is not written: {last:?}", object["kind"]);
    }

    /// The slices of a service.
    pub(crate) async fn slices_of(&self, service: &str) -> Vec<DynamicObject> {
        let api = self.api(&self.object("discovery.k8s.io/v1", "EndpointSlice", "any"));
        let of = format!("kubernetes.io/service-name={service}");
        api.list(&kube::api::ListParams::default().labels(&of))
            .await
            .expect("it answers")
            .items
    }

    pub(crate) async fn get(&self, object: &Value) -> Option<Value> {
        let found = self.api(object).get_opt(&in_a_path(object)).await;
        found
            .expect("it answers")
            .map(|object| serde_json::to_value(object).expect("json"))
    }

    /// Deletes an object, and waits until it is gone.
    pub(crate) async fn delete(&self, object: &Value) {
        let name = in_a_path(object);
        drop(
            self.api(object)
                .delete(&name, &kube::api::DeleteParams::default())
                .await,
        );
        while self.get(object).await.is_some() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Deletes objects, whatever holds them, and waits until they are gone.
    pub(crate) async fn wipe(&self, objects: &[Value]) {
        for object in objects {
            self.remove(object).await;
        }
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": self.namespace() } });
        drop(
            self.api(&namespace)
                .delete(self.namespace(), &kube::api::DeleteParams::default())
                .await,
        );
        for _ in 0..600 {
            if self.get(&namespace).await.is_none() {
                return;
            }
            // Whatever a controller made and holds meanwhile.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!(
            "the namespace does not go away: {:#}",
            self.get(&namespace).await.unwrap_or_default()
        );
    }

    /// Deletes an object, whatever holds it.
    pub(crate) async fn remove(&self, object: &Value) {
        let (api, name) = (self.api(object), in_a_path(object));
        let release = json!({ "metadata": { "finalizers": null } });
        drop(api.delete(&name, &kube::api::DeleteParams::default()).await);
        drop(api.patch(&name, &PatchParams::default(), &Patch::Merge(&release)).await);
    }

    /// The objects of the newest export, each under its name.
    pub(crate) async fn tree(&self) -> BTreeMap<String, Value> {
        let backups = self.backups().await;
        let catalogue = backups.reader().catalogue().await.expect("a catalogue");
        let entry = catalogue.entries.first().expect("an export");
        let at = entry.copies[0].location;
        let mut reader = backups.reader().read_objects(entry, at).await.expect("it opens");
        let mut tree = BTreeMap::new();
        while let Some(object) = reader.next().await.expect("it reads") {
            tree.insert(ObjectKey::of(&object).expect("a key").to_string(), object);
        }
        tree
    }

    /// The versions of objects, once no controller writes to them any more.
    async fn versions(&self, objects: &[Value]) -> BTreeMap<String, Value> {
        let mut last = BTreeMap::new();
        for _ in 0..60 {
            let mut seen = BTreeMap::new();
            for object in objects {
                let found = self.get(object).await.expect("there");
                let key = ObjectKey::of(object).expect("a key").to_string();
                seen.insert(key, found["metadata"]["resourceVersion"].clone());
            }
            if seen == last {
                return seen;
            }
            last = seen;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        panic!("somebody goes on writing: {last:?}");
    }

    /// How many exports there are.
    pub(crate) fn exports(&self) -> usize {
        self.catalogue.exports()
    }

    pub(crate) async fn export(&self, input: Value) -> Value {
        self.bench()
            .await
            .key(&format!("deed-{}", fresh()))
            .run(&Export, input)
            .await
            .output()
    }
}

fn fresh() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

pub(crate) async fn no_value_of_a_secret_is_seen_anywhere(server: &Server) {
    let scene = Scene::new(server).await;
    let namespace = scene.namespace();
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s", "namespace": namespace },
        "data": { "password": "dmVyeS1zZWNyZXQtdmFsdWU=" } });
    scene.put(&secret).await;
    let output = scene.export(json!({})).await;
    let said = [scene.catalogue.text(), output.to_string()].concat();
    for value in ["very-secret-value", "dmVyeS1zZWNyZXQtdmFsdWU"] {
        assert!(!said.contains(value), "{value}");
    }
    assert!(
        scene.catalogue.text().contains("\"password\": \""),
        "the index names its keys"
    );
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("s.yaml");
    let mut other = secret.clone();
    other["data"]["password"] = "b3RoZXItc2VjcmV0LXZhbHVl".into();
    std::fs::write(&path, other.to_string()).expect("written");
    let input = json!({ "paths": [path], "on_conflict": "force" });
    let preview = scene
        .bench()
        .await
        .preview(&Apply, input.clone())
        .await
        .expect("a preview");
    let ran = scene.bench().await.run(&Apply, input).await;
    assert_eq!(preview.changes, ran.changes, "what was said is what was done");
    let said = format!("{:?} {:?} {:?}", preview.summary, ran.changes, ran.log);
    assert!(said.contains("data.password"), "{said}");
    for value in [
        "very-secret-value",
        "dmVyeS1zZWNyZXQ",
        "other-secret",
        "b3RoZXItc2VjcmV0",
    ] {
        assert!(!said.contains(value), "{value}");
    }
}

pub(crate) async fn the_image_that_ran_comes_back(server: &Server) {
    let scene = Scene::new(server).await;
    let place = &scene.place;
    place.deploy("web", "registry.example/web:1", 1).await;
    place.until_ready("web", 1).await;
    let id = format!("registry.example/web@sha256:{}", "a".repeat(64));
    for pod in place.pods("web").await {
        let status = json!({ "status": { "containerStatuses": [{ "name": "main", "image": "registry.example/web:1", "imageID": id,
            "ready": true, "restartCount": 0, "started": true, "state": { "running": {} } }] } });
        let api = place.api::<k8s_openapi::api::core::v1::Pod>();
        api.patch_status(&pod, &PatchParams::default(), &Patch::Strategic(status))
            .await
            .expect("patched");
    }
    let output = scene.export(json!({})).await;
    assert_eq!(
        output["images"][0]["digest"],
        format!("sha256:{}", "a".repeat(64)),
        "{output:#}"
    );
    let api = place.api::<k8s_openapi::api::apps::v1::Deployment>();
    scene.delete(&scene.object("apps/v1", "Deployment", "web")).await;
    scene.bench().await.run(&Restore, json!({})).await.output();
    let back = api.get("web").await.expect("there").spec.template.spec.expect("a spec");
    assert_eq!(back.containers[0].image.as_deref(), Some(id.as_str()));

    // Manifests name a tag; the digest that ran goes with them, and where it is not known nothing is applied.
    let spec = api.get("web").await.expect("there").spec;
    let mut manifest =
        json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" }, "spec": spec });
    manifest["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.example/web:1".into();
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("web.json"), manifest.to_string()).expect("written");
    let apply = |ran: &Value| json!({ "paths": [folder.path()], "images": "recorded", "ran": ran, "wait": false });
    let error = scene.bench().await.run(&Apply, apply(&json!([]))).await.error();
    assert_eq!(error.kind(), StepErrorKind::Refused, "{error}");
    scene.bench().await.run(&Apply, apply(&output["images"])).await.output();
    let now = api.get("web").await.expect("there").spec.template.spec.expect("a spec");
    assert_eq!(now.containers[0].image.as_deref(), Some(id.as_str()));

    // One object by name; what is not there is an error.
    let only = |object: &str| json!({ "objects": [object] });
    let restored = scene.bench().await.run(&Restore, only("deployment/web")).await.output();
    assert_eq!(restored["counts"]["unchanged"], 1, "{restored:#}");
    let error = scene.bench().await.run(&Restore, only("deployment/none")).await.error();
    assert_eq!(error.kind(), StepErrorKind::NotFound, "{error}");
}

pub(crate) async fn who_may_not_list_applies_many_objects_all_the_same(server: &Server) {
    let scene = Scene::new(server).await;
    let name = format!("{}-writer", scene.namespace());
    let rules =
        json!([{ "apiGroups": [""], "resources": ["configmaps", "namespaces"], "verbs": ["get", "create", "patch"] }]);
    let role = json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": { "name": name }, "rules": rules });
    scene.put(&role).await;
    let folder = tempfile::tempdir().expect("a folder");
    for number in 0..20 {
        let config = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": format!("c-{number}") } });
        std::fs::write(folder.path().join(format!("{number}.json")), config.to_string()).expect("written");
    }
    let bench = crate::place::bench(&server.account(&name, &name).await, scene.namespace()).await;
    let input = json!({ "paths": [folder.path()] });
    assert_eq!(bench.run(&Apply, input.clone()).await.output()["counts"]["created"], 20);
    assert_eq!(bench.run(&Apply, input).await.output()["counts"]["unchanged"], 20);
}

/// The name of an object as a path has it, which kube's client puts there as it is given.
fn in_a_path(object: &Value) -> String {
    let name = object["metadata"]["name"].as_str().expect("a name");
    name.replace('#', "%23").replace(' ', "%20").replace('?', "%3F")
}

pub(crate) async fn a_kind_that_cannot_be_read_makes_the_run_degraded(server: &Server) {
    let scene = Scene::new(server).await;
    let secret =
        json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s", "namespace": scene.namespace() } });
    scene.put(&secret).await;
    // A viewer may read everything but secrets.
    let bench = crate::place::bench(&server.viewer, scene.namespace()).await;
    let bench = bench.with("backups", scene.backups().await).key("once");
    let input = json!({ "cluster_scope": "none" });
    let ran = bench.run(&Export, input.clone()).await;
    assert!(
        ran.degraded.iter().any(|reason| reason.contains("secret")),
        "{:?}",
        ran.degraded
    );
    // Whoever finds that it was made, for nobody heard of its end, tells the same.
    let found = bench.probe(&Export, input.clone()).await.expect("a probe");
    assert!(
        matches!(&found, Probe::Partial { reason } if reason.contains("secret")),
        "{found:?}"
    );
    let again = bench.clone().attempt(2).run(&Export, input).await;
    assert_eq!(again.degraded, ran.degraded);
    let output = ran.output();
    assert_eq!(again.output(), output, "it is the same export");
    assert!(output["unreadable"].to_string().contains("secret"));
    assert!(
        output["kinds"]["v1 ServiceAccount"]
            .as_u64()
            .is_some_and(|count| count >= 1),
        "the others are kept"
    );
}

/// Nor does it keep the same kind of another namespace from being read.
pub(crate) async fn a_kind_that_cannot_be_read_in_one_namespace_is_read_in_the_others(server: &Server) {
    let (closed, open) = (Scene::new(server).await, Scene::new(server).await);
    for scene in [&closed, &open] {
        scene.put(&scene.object("v1", "Secret", "s")).await;
    }
    let name = format!("{}-reader", open.namespace());
    let kubeconfig = server.account(&name, "view").await;
    let mut binding = open.object("rbac.authorization.k8s.io/v1", "RoleBinding", "reader");
    binding["roleRef"] = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin" });
    binding["subjects"] = json!([{ "kind": "ServiceAccount", "name": name, "namespace": "default" }]);
    open.put(&binding).await;
    let bench = crate::place::bench(&kubeconfig, open.namespace()).await;
    let bench = bench.with("backups", open.backups().await);
    let input = json!({ "namespaces": [closed.namespace(), open.namespace()], "cluster_scope": "none" });
    let foretold = bench.preview(&Export, input.clone()).await.expect("a preview");
    let ran = bench.run(&Export, input).await;
    assert_eq!(foretold.degraded.len(), ran.degraded.len(), "{:?}", foretold.degraded);
    let unreadable = ran.output()["unreadable"].clone();
    let secrets: Vec<&Value> = unreadable
        .as_array()
        .expect("a list")
        .iter()
        .filter(|one| one["kind"] == "secret")
        .collect();
    assert_eq!(secrets.len(), 1, "{unreadable:#}");
    let why = secrets[0]["why"].as_str().unwrap_or_default();
    assert!(why.contains(&format!("`{}`", closed.namespace())), "{why}");
    let tree = open.tree().await;
    let has = |scene: &Scene<'_>| tree.contains_key(&format!("{} secret/s", scene.namespace()));
    assert!(has(&open) && !has(&closed), "{:?}", tree.keys());
}

/// Of rights in namespaces beside that of the target there is a role in each.
pub(crate) async fn what_an_export_of_two_namespaces_needs_is_given_in_both(server: &Server) {
    let (own, other) = (Scene::new(server).await, Scene::new(server).await);
    other.put(&other.object("v1", "Secret", "s")).await;
    let input = json!({ "namespaces": [own.namespace(), other.namespace()], "cluster_scope": "none" });
    let mut needed = Rights::default();
    for need in AnyStepType::needs(&Export, &Known::new(input.clone())) {
        if need.role == "cluster" {
            needed.add(&need);
        }
    }
    let cluster = crate::place::open(&server.kubeconfig, own.namespace()).await;
    let policy = cluster.policy_for(&needed, "exporter").await.expect("a policy").text;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("roles.yaml");
    std::fs::write(&path, &policy).expect("written");
    server.kubectl(&["apply", "-f", &path.display().to_string()]).await;

    let kubeconfig = server.kubeconfig_of(own.namespace(), "exporter").await;
    let exporter = crate::place::open(&kubeconfig, own.namespace()).await;
    let stands = exporter.rights(&needed).await.expect("told");
    let not_held = stands.iter().filter(|right| right.standing != Standing::Held);
    assert_eq!(not_held.count(), 0, "{stands:?}");
    let in_other = |right: &Right| right.right.starts_with(&format!("in `{}`: ", other.namespace()));
    assert!(stands.iter().any(in_other), "{stands:?}");
    let bench = crate::place::bench(&kubeconfig, own.namespace()).await;
    let ran = bench.with("backups", own.backups().await).run(&Export, input).await;
    assert_eq!(ran.output()["unreadable"], json!([]));
    assert!(
        own.tree()
            .await
            .contains_key(&format!("{} secret/s", other.namespace()))
    );
}

/// As at a resume for which the key was mistyped.
pub(crate) async fn a_damaged_export_gives_way_to_the_one_before(server: &Server) {
    let scene = Scene::new(server).await;
    let good = scene.export(json!({})).await;
    let damaged = scene.export(json!({})).await;
    scene.catalogue.damage(damaged["name"].as_str().expect("a name"));
    let foretold = scene.bench().await.preview(&Restore, json!({})).await;
    let ran = scene.bench().await.run(&Restore, json!({})).await;
    assert_eq!(
        foretold.expect("a preview").degraded,
        ran.degraded,
        "the dry run tells what the run does"
    );
    let is_told = |told: &String| told.contains("is newer and cannot be used");
    assert!(ran.degraded.iter().any(is_told), "{:?}", ran.degraded);
    assert_eq!(ran.output()["export"], good["name"]);
}

pub(crate) async fn an_export_that_was_chosen_is_not_blamed_for_another_key(server: &Server) {
    let scene = Scene::new(server).await;
    let exported = scene.export(json!({})).await;
    let another = scene.catalogue.open_with("another passphrase, just as long").await;
    let bench = scene.bench().await.with("backups", another);
    let bench = bench.checkpoint(json!({ "backup": exported["export"] }));
    let error = bench.run(&Restore, json!({})).await.error();
    assert_eq!(error.kind(), StepErrorKind::Denied, "{error}");
    assert!(error.message().contains("the key does not open"), "{error}");
    assert!(error.hint_text().is_some_and(|hint| hint.contains("ENCRYPTION_KEY")));
}
