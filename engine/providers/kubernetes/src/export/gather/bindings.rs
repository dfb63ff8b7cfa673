//! Bindings in other namespaces, by which accounts of the exported ones may do something there: see who leads, or read a
//! configuration that is shared. They belong to those namespaces, so they are told of and not kept.

use jm_client_kubernetes::ResourceKind;
use jm_step::StepContext;

use super::{Gather, MOST_NAMED};
use crate::few::few;

impl Gather<'_> {
    /// Tells of them, as far as they can be read: who may read these namespaces alone is asked for no more.
    pub(super) async fn tell_bound_elsewhere(&self, cx: &StepContext) {
        let names = self.bound_elsewhere().await;
        if !names.is_empty() {
            let names = few(&names, MOST_NAMED);
            cx.log(format!(
                "accounts of these namespaces are bound in others, which are not in the export; make these bindings again \
                 in a new cluster: {names}"
            ))
            .await;
        }
    }

    async fn bound_elsewhere(&self) -> Vec<String> {
        let mut names = Vec::new();
        let kinds = self.kinds(true);
        let is_binding = |kind: &&ResourceKind| kind.group == "rbac.authorization.k8s.io" && kind.kind == "RoleBinding";
        let Some(kind) = kinds.iter().find(is_binding) else {
            return names;
        };
        let mut pages = self.reader.pages(kind, None);
        while let Ok(Some(bindings)) = pages.next().await {
            for binding in bindings {
                let text = |field: &str| binding["metadata"][field].as_str().unwrap_or_default();
                let namespace = text("namespace");
                let is_here = self.namespaces.iter().any(|here| here == namespace);
                if !is_here && self.references.binds(&binding) {
                    names.push(format!("{namespace}/{}", text("name")));
                }
            }
        }
        names
    }
}
