//! Going through a cluster for an export: kind by kind, page by page.

mod bindings;
mod left;
mod made;
mod roles;

use std::collections::{BTreeMap, BTreeSet};

use jm_backup::{KubernetesIndex, ObjectWriter, RecordedImage, Unreadable};
use jm_client_kubernetes::{
    Discovery, Maker, ObjectKey, Reader, ResourceKind, Wave, awake, has_ended, is_built_in, left_out, strip,
};
use jm_step::{StepContext, StepError, StepErrorKind, Unit};
use serde_json::Value;

use self::left::Left;
use super::images::{Images, Place};
use super::references::References;
use super::volumes::Volumes;
use super::{ClusterScope, IndexBuilder, Input};

/// Kinds without namespaces that name others without namespaces, which come after them.
const FIRST: [&str; 6] = [
    "ClusterRoleBinding",
    "ClusterRole",
    "PersistentVolume",
    "StorageClass",
    "ValidatingAdmissionPolicyBinding",
    "MutatingAdmissionPolicyBinding",
];
/// The most objects that are named in one line.
pub(super) const MOST_NAMED: usize = 20;

/// An export in the making.
pub(super) struct Gather<'r> {
    reader: &'r Reader,
    input: &'r Input,
    discovery: Discovery,
    namespaces: Vec<String>,
    references: References,
    images: Images,
    index: IndexBuilder,
    volumes: Volumes,
    /// Objects that are kept.
    kept: BTreeSet<Place>,
    /// Services that select pods, whose endpoints a controller makes.
    selecting: BTreeSet<(String, String)>,
    unreadable: Vec<Unreadable>,
    /// The same of kinds in namespaces, by namespace.
    unread: BTreeMap<String, Vec<ResourceKind>>,
    /// Makers that are in no namespace, by UID, each with whether it need not be looked at further.
    makers: BTreeMap<String, bool>,
    /// Roles that nothing was seen to use yet.
    roles: Vec<Value>,
    /// Objects that are not kept since they are being deleted.
    leaving: Vec<String>,
    /// Objects without a namespace that are not kept.
    left: Left,
}

/// The namespaces that are asked for.
pub(super) fn namespaces(reader: &Reader, input: &Input) -> Vec<String> {
    let mut namespaces = input.namespaces.clone();
    namespaces.sort();
    namespaces.dedup();
    if namespaces.is_empty() {
        namespaces.push(reader.namespace().to_owned());
    }
    namespaces
}

impl<'r> Gather<'r> {
    /// Asks which kinds there are.
    pub(super) async fn new(reader: &'r Reader, input: &'r Input) -> Result<Self, StepError> {
        let namespaces = namespaces(reader, input);
        if let Some(own) = namespaces.iter().find(|namespace| namespace.starts_with("kube-")) {
            return Err(
                StepError::refused(format!("namespace `{own}` belongs to Kubernetes itself"))
                    .hint("export the application's namespaces"),
            );
        }
        let discovery = reader.discover().await?;
        let unreadable = discovery
            .unreadable
            .iter()
            .map(|(version, error)| unreadable(version, error));
        let unreadable = unreadable.collect();
        let mut gather = Self {
            reader,
            input,
            unreadable,
            references: References::new(&namespaces),
            namespaces,
            discovery,
            images: Images::default(),
            index: IndexBuilder::default(),
            volumes: Volumes::default(),
            kept: BTreeSet::new(),
            selecting: BTreeSet::new(),
            unread: BTreeMap::new(),
            makers: BTreeMap::new(),
            roles: Vec::new(),
            leaving: Vec::new(),
            left: Left::default(),
        };
        let volumes = gather.kinds(false).into_iter().find(is_of_volumes);
        if let Some(kind) = volumes.filter(|_| input.cluster_scope != ClusterScope::None) {
            gather.volumes = Volumes::read(reader, &kind).await;
        }
        Ok(gather)
    }

    pub(super) fn namespaces(&self) -> &[String] {
        &self.namespaces
    }

    /// The kinds of this scope that are to be read, in the order of their waves.
    fn kinds(&self, namespaced: bool) -> Vec<ResourceKind> {
        let wanted = |kind: &&ResourceKind| kind.namespaced == namespaced && self.is_wanted(kind);
        let mut kinds: Vec<ResourceKind> = self.discovery.preferred().filter(wanted).cloned().collect();
        let later = |kind: &ResourceKind| {
            FIRST
                .iter()
                .position(|first| *first == kind.kind)
                .unwrap_or(FIRST.len())
        };
        kinds.sort_by_key(|kind| {
            let rank = if namespaced { 0 } else { later(kind) };
            // Services before the endpoints that are made for them.
            let wave = Wave::of_kind(&kind.group, &kind.kind);
            (
                rank,
                wave,
                kind.kind != "Service",
                kind.group.clone(),
                kind.kind.clone(),
            )
        });
        kinds
    }

    /// Whether objects of a kind are read.
    fn is_wanted(&self, kind: &ResourceKind) -> bool {
        kind.is_to_be_kept() && !self.is_without(&kind.group, &kind.kind)
    }

    /// Whether the input leaves a kind out.
    fn is_without(&self, group: &str, kind: &str) -> bool {
        let label = ResourceKind::label_of(group, kind);
        let matches = |name: &String| name.eq_ignore_ascii_case(kind) || name.eq_ignore_ascii_case(&label);
        self.input.without.iter().any(matches)
    }

    /// Reads one object of each kind, and all of those that run something or claim volumes; tells what is to be said of the
    /// export.
    pub(super) async fn try_all(mut self) -> Result<KubernetesIndex, StepError> {
        self.namespace_objects().await?;
        for kind in self.kinds(true) {
            for namespace in self.namespaces.clone() {
                if let Err(error) = self.try_kind(&kind, &namespace).await {
                    self.give_up(&kind, Some(&namespace), error).await?;
                }
            }
        }
        if self.input.cluster_scope != ClusterScope::None {
            for kind in self.kinds(false) {
                if let Err(error) = self.reader.pages(&kind, None).of(1).next().await {
                    self.give_up(&kind, None, error).await?;
                }
            }
        }
        Ok(KubernetesIndex {
            images: finished(self.images, &self.kept),
            unkept_contents: self.volumes.finish(),
            unreadable: self.unreadable,
            ..KubernetesIndex::default()
        })
    }

    async fn try_kind(&mut self, kind: &ResourceKind, namespace: &str) -> Result<(), StepError> {
        let reader = self.reader;
        let pages = reader.pages(kind, Some(namespace));
        let told = [Wave::Volumes, Wave::Workloads, Wave::Custom];
        if !told.contains(&Wave::of_kind(&kind.group, &kind.kind)) {
            return pages.of(1).next().await.map(drop);
        }
        let mut pages = pages;
        while let Some(objects) = pages.next().await? {
            for object in objects {
                self.images.see(&object);
                self.see_claim(&object)?;
                if !self.is_passed_over(kind, &object) && !self.is_made_again(&object).await {
                    self.kept.insert(place(&ObjectKey::of(&object)?));
                }
            }
        }
        self.read_whole(kind, namespace);
        Ok(())
    }

    /// Looks at an object that may be a claim, but for one that comes and goes with its pod.
    fn see_claim(&mut self, object: &Value) -> Result<(), StepError> {
        if is_of_a_pod(object) {
            return Ok(());
        }
        self.volumes.see_claim(object)
    }

    /// Every object of a kind was seen in a namespace.
    fn read_whole(&mut self, kind: &ResourceKind, namespace: &str) {
        if kind.group.is_empty() && kind.kind == "Pod" {
            self.images.pods_are_known(namespace);
        }
    }

    /// Gives all objects to the writer.
    pub(super) async fn all(
        mut self,
        cx: &StepContext,
        mut writer: ObjectWriter,
    ) -> Result<(ObjectWriter, KubernetesIndex), StepError> {
        let cluster = self.reader.cluster_uid().await?;
        let server_version = self.reader.server_version().await?;
        let mut homes = BTreeSet::new();
        for (kind, object) in self.namespace_objects().await? {
            homes.insert(uid(&object));
            self.keep(&mut writer, &kind, object).await?;
        }
        for kind in self.kinds(true) {
            for namespace in self.namespaces.clone() {
                if let Some(error) = self.read(cx, &mut writer, &kind, Some(&namespace)).await? {
                    self.give_up(&kind, Some(&namespace), error).await?;
                    self.unread.entry(namespace).or_default().push(kind.clone());
                    continue;
                }
                self.read_whole(&kind, &namespace);
            }
        }
        self.orphans(&mut writer).await?;
        self.still_there(&homes).await?;
        if self.input.cluster_scope != ClusterScope::None {
            for kind in self.kinds(false) {
                if let Some(error) = self.read(cx, &mut writer, &kind, None).await? {
                    self.give_up(&kind, None, error).await?;
                }
                self.aggregated(&mut writer, &kind).await?;
            }
        }
        self.left.tell(cx).await;
        if self.input.cluster_scope != ClusterScope::None {
            self.tell_bound_elsewhere(cx).await;
        }
        if !self.leaving.is_empty() {
            let names = self.leaving.join(", ");
            cx.degraded(format!("being deleted, and so not in the export: {names}"))
                .await?;
        }
        let index = KubernetesIndex {
            cluster,
            server_version,
            namespaces: self.namespaces,
            kinds: self.index.finish(),
            images: finished(self.images, &self.kept),
            unkept_contents: self.volumes.finish(),
            unreadable: self.unreadable,
        };
        Ok((writer, index))
    }

    /// The namespaces themselves, which have to be there.
    async fn namespace_objects(&self) -> Result<Vec<(ResourceKind, Value)>, StepError> {
        let kind = self.discovery.find("v1", "Namespace");
        let kind = kind.ok_or_else(|| StepError::failed("the API server has no namespaces"))?;
        let mut found = Vec::new();
        for namespace in &self.namespaces {
            let key = ObjectKey {
                api_version: "v1".to_owned(),
                kind: "Namespace".to_owned(),
                namespace: None,
                name: namespace.clone(),
            };
            let object = self.reader.object(kind, &key).await?;
            let object = object.ok_or_else(|| {
                StepError::not_found(format!("namespace `{namespace}` is not there"))
                    .hint("check the target's `namespace`, or `namespaces` of the step")
            })?;
            if object.pointer("/metadata/deletionTimestamp").is_some() {
                return Err(StepError::conflict(format!(
                    "namespace `{namespace}` is being deleted: what is left of it is no backup"
                ))
                .hint("take an export that was made before; `jm backup list` shows them"));
            }
            found.push((kind.clone(), object));
        }
        Ok(found)
    }

    /// Of a namespace that goes while it is read, the lists are empty one after the other, and nothing else tells.
    async fn still_there(&self, homes: &BTreeSet<String>) -> Result<(), StepError> {
        for (_, object) in self.namespace_objects().await? {
            if !homes.contains(&uid(&object)) {
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                return Err(StepError::conflict(format!(
                    "namespace `{name}` was deleted and made anew while it was read: what was read is no backup"
                ))
                .hint("take the export again once the namespace is as it should be"));
            }
        }
        Ok(())
    }

    /// A kind that cannot be read makes the export incomplete, not impossible: not even in the other namespaces. A cluster
    /// that is away does that.
    async fn give_up(
        &mut self,
        kind: &ResourceKind,
        namespace: Option<&str>,
        error: StepError,
    ) -> Result<(), StepError> {
        match error.kind() {
            StepErrorKind::Unavailable => drop(self.reader.cluster_uid().await?),
            // The kind itself is gone since it was asked for: its definition was deleted.
            StepErrorKind::NotFound => return Ok(()),
            _ => {}
        }
        let error = match namespace {
            Some(namespace) => error.context(format_args!("in namespace `{namespace}`")),
            None => error,
        };
        self.unreadable.push(unreadable(&kind.label(), &error));
        Ok(())
    }

    /// Adds the objects of a kind. What keeps the kind from being read is handed back; what keeps the export from being
    /// written is an error.
    async fn read(
        &mut self,
        cx: &StepContext,
        writer: &mut ObjectWriter,
        kind: &ResourceKind,
        namespace: Option<&str>,
    ) -> Result<Option<StepError>, StepError> {
        let reader = self.reader;
        let mut pages = reader.pages(kind, namespace);
        loop {
            let objects = match pages.next().await {
                Ok(Some(objects)) => objects,
                Ok(None) => return Ok(None),
                Err(error) => return Ok(Some(error)),
            };
            for object in objects {
                self.look(writer, kind, object).await?;
            }
            cx.progress(writer.count(), None, Unit::Items).await;
        }
    }

    async fn look(&mut self, writer: &mut ObjectWriter, kind: &ResourceKind, object: Value) -> Result<(), StepError> {
        self.images.see(&object);
        if object.pointer("/metadata/deletionTimestamp").is_some() {
            return self.leave(kind, object).await;
        }
        self.see_claim(&object)?;
        if self.is_passed_over(kind, &object) {
            if has_ended(&object) && Maker::of(&object).is_none() {
                self.left.note_ended(ObjectKey::of(&object)?);
            }
            return Ok(());
        }
        if self.is_made_again(&object).await {
            // Whoever makes it again makes it of the same classes, which nothing else may name.
            if kind.namespaced {
                self.references.see(kind, &object);
            }
            return Ok(());
        }
        if roles::is_one(kind) && self.input.cluster_scope == ClusterScope::Used {
            self.roles.push(object);
            return Ok(());
        }
        if !kind.namespaced {
            if is_built_in(&object) {
                return Ok(());
            }
            if self.input.cluster_scope == ClusterScope::Used && !self.references.needs(kind, &object) {
                let key = ObjectKey::of(&object)?;
                self.left.note(kind, &object, key);
                return Ok(());
            }
        }
        self.keep(writer, kind, object).await
    }

    /// Notes an object that is being deleted, where it would be kept otherwise. It may be in use still: what holds it may be
    /// just that.
    async fn leave(&mut self, kind: &ResourceKind, mut object: Value) -> Result<(), StepError> {
        let key = ObjectKey::of(&object)?;
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("deletionTimestamp");
        }
        let is_of_these = kind.namespaced || self.references.needs(kind, &object);
        if is_of_these && !self.is_passed_over(kind, &object) && !self.is_made_again(&object).await {
            self.leaving.push(key.to_string());
        }
        Ok(())
    }

    /// Whether an object is left out, whoever makes it.
    fn is_passed_over(&mut self, kind: &ResourceKind, object: &Value) -> bool {
        left_out(object).is_some() || self.is_of_a_service(kind, object) || self.is_of_a_type_left_out(kind, object)
    }

    fn is_of_a_type_left_out(&self, kind: &ResourceKind, object: &Value) -> bool {
        let is_secret = kind.group.is_empty() && kind.kind == "Secret";
        let its_type = object["type"].as_str().filter(|_| is_secret);
        its_type.is_some_and(|its_type| {
            let is_of_helm = its_type == "helm.sh/release.v1";
            (is_of_helm && !self.input.helm_releases) || self.input.without_types.iter().any(|one| one == its_type)
        })
    }

    /// Endpoints of a service that selects pods come by themselves.
    fn is_of_a_service(&mut self, kind: &ResourceKind, object: &Value) -> bool {
        if !kind.group.is_empty() {
            return false;
        }
        let text = |pointer: &str| {
            object
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let place = (text("/metadata/namespace"), text("/metadata/name"));
        match kind.kind.as_str() {
            "Service" => {
                let selects = object.pointer("/spec/selector").and_then(Value::as_object);
                if selects.is_some_and(|selector| !selector.is_empty()) {
                    self.selecting.insert(place);
                }
                false
            }
            "Endpoints" => self.selecting.contains(&place),
            _ => false,
        }
    }

    async fn keep(
        &mut self,
        writer: &mut ObjectWriter,
        kind: &ResourceKind,
        mut object: Value,
    ) -> Result<(), StepError> {
        self.references.see(kind, &object);
        strip(&mut object, kind.has_status, self.volumes.kept());
        awake(&mut object);
        let key = ObjectKey::of(&object)?;
        self.kept.insert(place(&key));
        self.index.write(writer, &key, &object).await
    }
}

fn is_of_volumes(kind: &ResourceKind) -> bool {
    kind.group.is_empty() && kind.kind == "PersistentVolume"
}

fn is_of_a_pod(object: &Value) -> bool {
    Maker::of(object).is_some_and(|maker| maker.key.kind == "Pod")
}

fn uid(object: &Value) -> String {
    object["metadata"]["uid"].as_str().unwrap_or_default().to_owned()
}

fn place(key: &ObjectKey) -> Place {
    (
        key.namespace.clone().unwrap_or_default(),
        format!("{}/{}", key.kind, key.name),
    )
}

fn finished(images: Images, kept: &BTreeSet<Place>) -> Vec<RecordedImage> {
    images.finish(|workload| kept.contains(workload))
}

fn unreadable(kind: &str, error: &StepError) -> Unreadable {
    Unreadable {
        kind: kind.to_owned(),
        why: error.message().to_owned(),
    }
}
