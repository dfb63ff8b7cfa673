//! Revisions: the templates that a workload has had, as its controller keeps them.

use jiff::Timestamp;
use kube::core::DynamicObject;
use serde_json::Value;

use crate::reader::RESTARTED;
use crate::workload::REVISION;
use crate::workload_ref::Kind;

/// The annotation in which people say why they changed something.
pub(crate) const CAUSE: &str = "kubernetes.io/change-cause";
/// The label that a Deployment's controller adds to the templates of its ReplicaSets.
const HASH: &str = "pod-template-hash";

/// The annotations by which a restart makes a template another one: jm's, and kubectl's.
const RESTARTS: [&str; 2] = [RESTARTED, "kubectl.kubernetes.io/restartedAt"];

/// A template that a workload has had.
#[derive(Debug, Clone, PartialEq)]
pub struct Revision {
    /// Its number. A template that is taken up again gets a new one.
    pub number: u64,
    /// The ReplicaSet or ControllerRevision that keeps it. That stays the same for the same template.
    pub keeper: String,
    /// Why it was made, where somebody said so.
    pub cause: Option<String>,
    /// The images of its containers.
    pub images: Vec<String>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// Whether it is the workload's template now.
    pub current: bool,
    /// The template itself. It may hold secrets.
    pub(crate) template: Value,
}

impl Revision {
    /// Whether it runs the same as another one: at most a restart lies between them.
    pub fn runs_the_same(&self, other: &Self) -> bool {
        without_restarts(&self.template) == without_restarts(&other.template)
    }

    /// What a ReplicaSet or ControllerRevision keeps; `None` where it keeps no revision.
    fn read(kind: Kind, keeper: &DynamicObject) -> Option<Self> {
        let annotations = keeper.metadata.annotations.as_ref();
        let (number, template) = match kind {
            Kind::Deployment => (
                annotations?.get(REVISION)?.parse().ok()?,
                keeper.data.pointer("/spec/template")?,
            ),
            _ => (
                keeper.data.get("revision")?.as_u64()?,
                keeper.data.pointer("/data/spec/template")?,
            ),
        };
        let template = plain(template);
        Some(Self {
            number,
            keeper: keeper.metadata.name.clone()?,
            cause: annotations.and_then(|all| all.get(CAUSE)).cloned(),
            images: images(&template),
            created: keeper.metadata.creation_timestamp.as_ref().map(|time| time.0),
            current: false,
            template,
        })
    }
}

/// The revisions of a workload, oldest first. `keepers` may hold those of others.
pub(crate) fn history(kind: Kind, object: &DynamicObject, keepers: &[DynamicObject]) -> Vec<Revision> {
    let uid = object.metadata.uid.as_deref().unwrap_or_default();
    let ours = |keeper: &&DynamicObject| {
        let owners = keeper.metadata.owner_references.iter().flatten();
        owners
            .into_iter()
            .any(|owner| owner.controller == Some(true) && owner.uid == uid)
    };
    let mut all: Vec<Revision> = keepers
        .iter()
        .filter(ours)
        .filter_map(|keeper| Revision::read(kind, keeper))
        .collect();
    all.sort_by_key(|revision| revision.number);
    let now = plain(object.data.pointer("/spec/template").unwrap_or(&Value::Null));
    // The same template may have been kept twice by an older controller: the newest is meant.
    let same = all.iter().rposition(|revision| revision.template == now);
    if let Some(current) = same.or(all.len().checked_sub(1)) {
        all[current].current = true;
    }
    all
}

/// A template without what controllers add to it.
fn plain(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(fields) = template.as_object_mut() {
        fields.remove("$patch");
    }
    if let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("creationTimestamp");
        if let Some(labels) = metadata.get_mut("labels").and_then(Value::as_object_mut) {
            labels.remove(HASH);
        }
    }
    template
}

fn without_restarts(template: &Value) -> Value {
    let mut template = template.clone();
    let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) else {
        return template;
    };
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.retain(|name, _| !RESTARTS.contains(&name.as_str()));
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
    template
}

fn images(template: &Value) -> Vec<String> {
    let of = |field: &str| {
        let list = template.pointer(field).and_then(Value::as_array).cloned();
        list.unwrap_or_default()
    };
    let all = of("/spec/initContainers").into_iter().chain(of("/spec/containers"));
    all.filter_map(|one| one.get("image")?.as_str().map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> DynamicObject {
        serde_json::from_value(value).expect("an object")
    }

    fn template(image: &str) -> Value {
        json!({ "metadata": { "labels": { "app": "web" } }, "spec": { "containers": [{ "name": "main", "image": image }] } })
    }

    fn set(name: &str, owner: &str, number: &str, image: &str) -> DynamicObject {
        let mut template = template(image);
        template["metadata"]["labels"][HASH] = json!(name);
        template["metadata"]["creationTimestamp"] = Value::Null;
        object(json!({ "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": { "name": name, "annotations": { (REVISION): number, (CAUSE): "why" },
                "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": owner, "controller": true }] },
            "spec": { "template": template } }))
    }

    #[test]
    fn the_current_one_is_known_by_its_template() {
        let web = object(
            json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web", "uid": "u" },
            "spec": { "template": template("i:1") } }),
        );
        let sets = [
            set("b", "u", "10", "i:2"),
            set("a", "u", "9", "i:1"),
            set("c", "other", "11", "i:3"),
        ];
        let found = history(Kind::Deployment, &web, &sets);
        let seen: Vec<_> = found
            .iter()
            .map(|one| (one.number, one.current, one.keeper.as_str()))
            .collect();
        assert_eq!(seen, [(9, true, "a"), (10, false, "b")]);
        assert_eq!(
            (found[0].images[0].as_str(), found[0].cause.as_deref()),
            ("i:1", Some("why"))
        );
        assert_eq!(found[0].template, template("i:1"));
    }

    #[test]
    fn a_restart_makes_another_template_that_runs_the_same() {
        let web =
            object(json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web", "uid": "u" } }));
        let with = |name: &str, number: &str, image: &str, annotations: Value| {
            let mut set = set(name, "u", number, image);
            set.data["spec"]["template"]["metadata"]["annotations"] = annotations;
            set
        };
        let sets = [
            set("a", "u", "1", "i:1"),
            with("b", "2", "i:1", json!({ "kubectl.kubernetes.io/restartedAt": "now" })),
            with("c", "3", "i:1", json!({ (RESTARTED): "a deed" })),
            with("d", "4", "i:1", json!({ (RESTARTED): "a deed", "checksum": "1" })),
            set("e", "u", "5", "i:2"),
        ];
        let found = history(Kind::Deployment, &web, &sets);
        let same: Vec<bool> = found.iter().map(|one| one.runs_the_same(&found[0])).collect();
        assert_eq!(same, [true, true, true, false, false]);
        assert_ne!(found[0].template, found[1].template);
    }

    #[test]
    fn what_a_stateful_set_had_is_kept_by_controller_revisions() {
        let db = object(
            json!({ "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": { "name": "db", "uid": "u" },
            "spec": { "template": template("i:2") } }),
        );
        let mut kept = template("i:1");
        kept["$patch"] = json!("replace");
        let owners =
            json!([{ "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": "u", "controller": true }]);
        let keeper = object(json!({ "apiVersion": "apps/v1", "kind": "ControllerRevision",
            "metadata": { "name": "db-1", "ownerReferences": owners }, "revision": 1, "data": { "spec": { "template": kept } } }));
        let found = history(Kind::StatefulSet, &db, &[keeper]);
        assert_eq!(found[0].template, template("i:1"));
        assert_eq!(found[0].number, 1);
    }
}
