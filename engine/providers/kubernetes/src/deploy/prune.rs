//! Deleting what is not among the objects any more: only what carries the label of jm's set, and only when asked.
//!
//! The set is an `ApplySet` as kubectl knows them (KEP-3659): a Secret of the namespace is its parent and says which
//! kinds it holds, and every member carries the set's id as a label.

use std::collections::BTreeSet;

use base64::Engine;
use jm_client_kubernetes::{ApplyError, Keeper, ObjectKey, ResourceKind};
use jm_step::{Change, StepError};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::outcome::{Applied, Outcome};
use super::{Deploy, Object, claims_would_go, named, takes_its_claims};

const PART_OF: &str = "applyset.kubernetes.io/part-of";
const ID: &str = "applyset.kubernetes.io/id";
const TOOLING: &str = "applyset.kubernetes.io/tooling";
const KINDS: &str = "applyset.kubernetes.io/contains-group-kinds";
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

    fn parent(&self, kinds: &BTreeSet<String>) -> Value {
        let kinds: Vec<&str> = kinds.iter().map(String::as_str).collect();
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "applyset.kubernetes.io/parent",
            "metadata": {
                "name": self.name, "namespace": self.namespace, "labels": { ID: self.id },
                "annotations": { TOOLING: "jm/v1", KINDS: kinds.join(",") },
            },
        })
    }
}

impl Deploy<'_> {
    /// Writes down, before the first of its objects is applied, which kinds the set is going to hold, besides those that it
    /// holds: whoever comes after a death in between finds every member.
    pub(super) async fn enrol(&mut self, members: &[&ObjectKey]) -> Result<(), StepError> {
        let Some(set) = self.policy.applyset.clone() else {
            return Ok(());
        };
        let mut kinds = self.held(&set).await?;
        kinds.extend(members.iter().map(|key| group_kind(&key.kind, key.group())));
        self.write_down(&set, &kinds).await
    }

    /// Deletes members of the set that were not among the objects, nor are to be there besides, and writes down which kinds
    /// it holds then.
    pub(super) async fn prune(&mut self, besides: &[Object]) -> Result<(), StepError> {
        let Some(set) = self.policy.applyset.clone() else {
            return Ok(());
        };
        for object in besides {
            self.spare(object.clone());
        }
        let now: BTreeSet<String> = self
            .named
            .iter()
            .map(|(group, kind, ..)| group_kind(kind, group))
            .collect();
        let mut holds = self.held(&set).await?;
        holds.extend(now.iter().cloned());
        if set.prune {
            for kind in self.kinds_of(&holds) {
                if !set.spares(&kind.kind) {
                    self.prune_kind(&set, &kind).await?;
                }
            }
            // What was spared is found when its kind is named.
            holds.retain(|held| now.contains(held) || set.spares(held.split('.').next().unwrap_or_default()));
        }
        self.write_down(&set, &holds).await
    }

    /// The kinds that the set holds, as its parent has it. What has its name and is no parent of it is an error.
    async fn held(&self, set: &ApplySet) -> Result<BTreeSet<String>, StepError> {
        let parent = ObjectKey::of(&set.parent(&BTreeSet::new()))?;
        let before = self.reader.object(&self.kind_of(&parent)?, &parent).await?;
        let Some(before) = before else {
            return Ok(BTreeSet::new());
        };
        if before["metadata"]["labels"][ID] != set.id.as_str() {
            let kind = before["type"].as_str().unwrap_or_default();
            return Err(
                StepError::conflict(format!("{parent} is there and no parent of this set (type `{kind}`)"))
                    .hint("give the set another name"),
            );
        }
        let known = before["metadata"]["annotations"][KINDS].as_str().unwrap_or_default();
        let kinds = known.split(',').filter(|kind| !kind.is_empty());
        Ok(kinds.map(str::to_owned).collect())
    }

    async fn write_down(&self, set: &ApplySet, kinds: &BTreeSet<String>) -> Result<(), StepError> {
        let Some(writer) = self.writer else { return Ok(()) };
        let object = set.parent(kinds);
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

    async fn prune_kind(&mut self, set: &ApplySet, kind: &ResourceKind) -> Result<(), StepError> {
        let namespace = kind.namespaced.then_some(set.namespace.as_str());
        let reader = self.reader;
        let mut pages = reader.pages(kind, namespace).labelled(&format!("{PART_OF}={}", set.id));
        while let Some(objects) = pages.next().await? {
            for object in objects {
                let key = ObjectKey::of(&object)?;
                if self.named.contains(&named(&key)) {
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
}

/// `Deployment.apps`, as the annotation has it.
fn group_kind(kind: &str, group: &str) -> String {
    if group.is_empty() {
        kind.to_owned()
    } else {
        format!("{kind}.{group}")
    }
}
