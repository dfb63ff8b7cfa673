//! Deleting what is not among the objects any more: only what carries the label of jm's set, and only when asked.
//!
//! The set is an `ApplySet` as kubectl knows them (KEP-3659): a Secret of the namespace is its parent and says which
//! kinds it holds and in which other namespaces, and every member carries the set's id as a label.

use std::collections::BTreeSet;

use base64::Engine;
use jm_client_kubernetes::{ApplyError, Keeper, Maker, ObjectKey, ResourceKind};
use jm_step::{Change, StepError};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::outcome::{Applied, Outcome};
use super::{Deploy, Object, claims_would_go, named, takes_its_claims};

const PART_OF: &str = "applyset.kubernetes.io/part-of";
const ID: &str = "applyset.kubernetes.io/id";
const TOOLING: &str = "applyset.kubernetes.io/tooling";
const KINDS: &str = "applyset.kubernetes.io/contains-group-kinds";
const NAMESPACES: &str = "applyset.kubernetes.io/additional-namespaces";
/// Kinds that hold data, or all else. They go only if they are named.
const SPARED: [&str; 5] = [
    "Namespace",
    "PersistentVolumeClaim",
    "PersistentVolume",
    "CustomResourceDefinition",
    "Secret",
];

/// A set that objects are counted among.
#[derive(Debug, Clone)]
pub(crate) struct ApplySet {
    name: String,
    id: String,
    namespace: String,
    prune: bool,
    /// Spared kinds that are deleted all the same.
    also: BTreeSet<String>,
}

/// Where the members of a set are.
#[derive(Debug, Default)]
struct Held {
    /// `Deployment.apps`.
    kinds: BTreeSet<String>,
    /// Namespaces besides that of the parent.
    namespaces: BTreeSet<String>,
}

/// A name that a set can have.
pub(crate) fn check_applyset(name: &str) -> Result<(), String> {
    let fits = name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if fits {
        return Ok(());
    }
    Err("a set has up to 63 lower-case letters, digits and `-` in its name, and begins with a letter".to_owned())
}

impl ApplySet {
    pub(crate) fn new(name: &str, namespace: &str, prune: bool, also: &[String]) -> Self {
        // The id that every tool computes for this parent.
        let hash = Sha256::digest(format!("{name}.{namespace}.Secret."));
        let hash = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(hash);
        Self {
            name: name.to_owned(),
            id: format!("applyset-{hash}-v1"),
            namespace: namespace.to_owned(),
            prune,
            also: also.iter().cloned().collect(),
        }
    }

    /// Whether objects of a kind stay although they are not among the objects any more.
    fn spares(&self, kind: &str) -> bool {
        SPARED.contains(&kind) && !self.also.contains(kind)
    }

    pub(super) fn label(&self, object: &mut Value) {
        object["metadata"]["labels"][PART_OF] = self.id.clone().into();
    }

    fn parent(&self, held: &Held) -> Value {
        let mut annotations = json!({ TOOLING: "jm/v1", KINDS: listed(&held.kinds) });
        if !held.namespaces.is_empty() {
            annotations[NAMESPACES] = listed(&held.namespaces).into();
        }
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "applyset.kubernetes.io/parent",
            "metadata": {
                "name": self.name, "namespace": self.namespace, "labels": { ID: self.id }, "annotations": annotations,
            },
        })
    }

    /// The namespace of a member, where it is not that of the parent.
    fn elsewhere(&self, namespace: Option<&String>) -> Option<String> {
        namespace.filter(|namespace| **namespace != self.namespace).cloned()
    }
}

impl Deploy<'_> {
    /// Writes down, before the first of its objects is applied, which kinds the set is going to hold and where, besides those
    /// that it holds: whoever comes after a death in between finds every member.
    pub(super) async fn enrol(&mut self, members: &[&ObjectKey]) -> Result<(), StepError> {
        let Some(set) = self.policy.applyset.clone() else {
            return Ok(());
        };
        let mut held = self.held(&set).await?;
        for key in members {
            held.kinds.insert(group_kind(&key.kind, key.group()));
            held.namespaces.extend(set.elsewhere(key.namespace.as_ref()));
        }
        self.write_down(&set, &held).await
    }

    /// Deletes members of the set that were not among the objects, nor are to be there besides, and writes down which kinds
    /// it holds then, and where.
    pub(super) async fn prune(&mut self, besides: &[Object]) -> Result<(), StepError> {
        let Some(set) = self.policy.applyset.clone() else {
            return Ok(());
        };
        for object in besides {
            self.spare(object.clone());
        }
        let mut now = Held::default();
        for (group, kind, namespace, _) in &self.named {
            now.kinds.insert(group_kind(kind, group));
            now.namespaces.extend(set.elsewhere(namespace.as_ref()));
        }
        let mut holds = self.held(&set).await?;
        holds.kinds.extend(now.kinds.iter().cloned());
        holds.namespaces.extend(now.namespaces.iter().cloned());
        if set.prune {
            for kind in self.kinds_of(&holds.kinds) {
                if !set.spares(&kind.kind) {
                    self.prune_kind(&set, &kind, &holds.namespaces).await?;
                }
            }
            // What was spared is found when its kind is named.
            let is_spared = |held: &String| set.spares(held.split('.').next().unwrap_or_default());
            holds.kinds.retain(|held| now.kinds.contains(held) || is_spared(held));
            if !holds.kinds.iter().any(is_spared) {
                holds.namespaces = now.namespaces;
            }
        }
        self.write_down(&set, &holds).await
    }

    /// What the set holds, as its parent has it. What has its name and is no parent of it is an error.
    async fn held(&self, set: &ApplySet) -> Result<Held, StepError> {
        let parent = ObjectKey::of(&set.parent(&Held::default()))?;
        let before = self.reader.object(&self.kind_of(&parent)?, &parent).await?;
        let Some(before) = before else {
            return Ok(Held::default());
        };
        if before["metadata"]["labels"][ID] != set.id.as_str() {
            let kind = before["type"].as_str().unwrap_or_default();
            return Err(
                StepError::conflict(format!("{parent} is there and no parent of this set (type `{kind}`)"))
                    .hint("give the set another name"),
            );
        }
        let noted = |annotation: &str| {
            let text = before["metadata"]["annotations"][annotation].as_str();
            let names = text.unwrap_or_default().split(',').map(str::trim);
            names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
        };
        Ok(Held {
            kinds: noted(KINDS),
            namespaces: noted(NAMESPACES),
        })
    }

    async fn write_down(&self, set: &ApplySet, held: &Held) -> Result<(), StepError> {
        let Some(writer) = self.writer else { return Ok(()) };
        let object = set.parent(held);
        let parent = ObjectKey::of(&object)?;
        match writer.apply(&self.kind_of(&parent)?, &parent, &object, true).await {
            Ok(_) => Ok(()),
            Err(ApplyError::Failed(error)) => Err(error),
            Err(other) => Err(StepError::failed(format!("cannot write {parent}: {other:?}"))),
        }
    }

    /// Counts an object among the set that is not applied this time. Of a kind that is not there yet there is nothing to
    /// spare.
    fn spare(&mut self, mut object: Object) {
        let Ok(kind) = self.kind_of(&object.key) else { return };
        object.place(&kind, self.reader.namespace());
        self.named.insert(named(&object.key));
    }

    fn kinds_of(&self, wanted: &BTreeSet<String>) -> Vec<ResourceKind> {
        let kinds = self.discovery.preferred();
        let wanted = kinds.filter(|kind| wanted.contains(&group_kind(&kind.kind, &kind.group)));
        wanted.cloned().collect()
    }

    async fn prune_kind(
        &mut self,
        set: &ApplySet,
        kind: &ResourceKind,
        elsewhere: &BTreeSet<String>,
    ) -> Result<(), StepError> {
        if !kind.namespaced {
            return self.prune_in(set, kind, None).await;
        }
        self.prune_in(set, kind, Some(&set.namespace)).await?;
        for namespace in elsewhere {
            self.prune_in(set, kind, Some(namespace)).await?;
        }
        Ok(())
    }

    async fn prune_in(
        &mut self,
        set: &ApplySet,
        kind: &ResourceKind,
        namespace: Option<&str>,
    ) -> Result<(), StepError> {
        let reader = self.reader;
        let mut pages = reader.pages(kind, namespace).labelled(&format!("{PART_OF}={}", set.id));
        while let Some(objects) = pages.next().await? {
            for object in objects {
                let key = ObjectKey::of(&object)?;
                if self.named.contains(&named(&key)) || self.is_made(&object, &key).await? {
                    continue;
                }
                if takes_its_claims(&object) {
                    return Err(claims_would_go(&key));
                }
                if let Some(writer) = self.writer {
                    let uid = object["metadata"]["uid"].as_str();
                    let _writing = self.writing.begin(&key);
                    writer.delete(kind, &key, uid).await?;
                }
                let changes = vec![Change::delete(key.to_string())];
                let pruned = Applied {
                    keeper: Keeper::of(&object),
                    ..Applied::changed(key, Outcome::Pruned, changes)
                };
                self.take(pruned, &mut Vec::new());
            }
        }
        Ok(())
    }

    /// Whether somebody made it of a member and copied the member's labels along: the slices and endpoints of a Service.
    async fn is_made(&self, object: &Value, key: &ObjectKey) -> Result<bool, StepError> {
        if Maker::of(object).is_some() {
            return Ok(true);
        }
        // Endpoints name nobody who made them. They are a controller's where the Service of their name selects pods.
        if key.kind != "Endpoints" || !key.group().is_empty() {
            return Ok(false);
        }
        let service = ObjectKey {
            kind: "Service".to_owned(),
            ..key.clone()
        };
        let service = self.reader.object(&self.kind_of(&service)?, &service).await?;
        let selector = service
            .as_ref()
            .and_then(|service| service.pointer("/spec/selector")?.as_object());
        Ok(selector.is_some_and(|selector| !selector.is_empty()))
    }
}

/// Names as an annotation has them.
fn listed(names: &BTreeSet<String>) -> String {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.join(",")
}

/// `Deployment.apps`, as the annotation has it.
fn group_kind(kind: &str, group: &str) -> String {
    if group.is_empty() {
        kind.to_owned()
    } else {
        format!("{kind}.{group}")
    }
}
