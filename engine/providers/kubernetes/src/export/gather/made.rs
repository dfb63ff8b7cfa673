//! Objects that others make. They are left out where their maker is kept, for it makes them again; where nobody would,
//! they are kept as they are.

use jm_backup::ObjectWriter;
use jm_client_kubernetes::{Maker, ResourceKind, Wave, is_never_kept, left_out};
use jm_step::StepError;
use serde_json::Value;

use super::{Gather, is_of_a_pod};
use crate::export::ClusterScope;

/// Workloads need what is made for them by custom resources, such as a SealedSecret, which come after them; and what makes it
/// anew may need what is in no export: a key, a vault.
fn is_configuration(object: &Value) -> bool {
    object["apiVersion"] == "v1" && ["ConfigMap", "Secret"].iter().any(|kind| object["kind"] == *kind)
}

impl Gather<'_> {
    /// Whether an object need not be kept, since what makes it will be there again. What is in namespaces is taken to be
    /// readable; [`Self::orphans`] comes back to what is not.
    pub(super) async fn is_made_again(&mut self, object: &Value) -> bool {
        // Made again, the claim would find any volume.
        if self.volumes.come_back_with(object) && !is_of_a_pod(object) {
            return false;
        }
        let Some(maker) = Maker::of(object) else { return false };
        let (group, kind) = (maker.key.group(), maker.key.kind.as_str());
        if is_configuration(object) && Wave::of_kind(group, kind) == Wave::Custom {
            return false;
        }
        if is_never_kept(group, kind) || self.is_without(group, kind) {
            return true;
        }
        let Some(kind) = self.discovery.preferred_of(group, kind).cloned() else {
            return false;
        };
        if kind.namespaced {
            return self.is_wanted(&kind);
        }
        if let Some(known) = self.makers.get(&maker.uid) {
            return *known;
        }
        let comes_back = self.comes_back(&kind, &maker).await;
        self.makers.insert(maker.uid, comes_back);
        comes_back
    }

    /// Whether a maker that is in no namespace is kept, or needs not be.
    async fn comes_back(&self, kind: &ResourceKind, maker: &Maker) -> bool {
        if self.input.cluster_scope == ClusterScope::None {
            return false;
        }
        let mut key = maker.key.clone();
        key.namespace = None;
        key.api_version = kind.api_version();
        match self.reader.object(kind, &key).await {
            Ok(Some(found)) if found["metadata"]["uid"] == maker.uid.as_str() => {
                let is_kept = match self.input.cluster_scope {
                    ClusterScope::All => self.is_wanted(kind),
                    _ => self.references.needs(kind, &found),
                };
                is_kept || left_out(&found).is_some()
            }
            // It is gone, and what it made goes after it.
            Ok(_) => true,
            Err(_) => false,
        }
    }

    /// Keeps what is made by objects of kinds that could not be read in its namespace.
    pub(super) async fn orphans(&mut self, writer: &mut ObjectWriter) -> Result<(), StepError> {
        for (namespace, unread) in std::mem::take(&mut self.unread) {
            for kind in self.kinds(true).into_iter().filter(|kind| !unread.contains(kind)) {
                if let Some(error) = self.orphans_of(writer, &kind, &namespace, &unread).await? {
                    self.give_up(&kind, Some(&namespace), error).await?;
                }
            }
        }
        Ok(())
    }

    /// Those of one kind. What keeps them from being read is handed back, as when they were read first.
    async fn orphans_of(
        &mut self,
        writer: &mut ObjectWriter,
        kind: &ResourceKind,
        namespace: &str,
        unread: &[ResourceKind],
    ) -> Result<Option<StepError>, StepError> {
        let is_maker = |maker: &Maker| {
            let mut kinds = unread.iter();
            kinds.any(|kind| kind.group == maker.key.group() && kind.kind == maker.key.kind)
        };
        let reader = self.reader;
        let mut pages = reader.pages(kind, Some(namespace));
        loop {
            let objects = match pages.next().await {
                Ok(Some(objects)) => objects,
                Ok(None) => return Ok(None),
                Err(error) => return Ok(Some(error)),
            };
            for object in objects {
                let is_orphan = Maker::of(&object).is_some_and(|maker| is_maker(&maker));
                if is_orphan && !self.is_passed_over(kind, &object) {
                    self.keep(writer, kind, object).await?;
                }
            }
        }
    }
}
