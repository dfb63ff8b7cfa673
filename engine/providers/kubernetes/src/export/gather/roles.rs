//! Roles into which a controller puts the rules of others, which it finds by their labels. Such a role is kept without its
//! rules, so the others are kept as well; those that come with any cluster only lead to them.

use jm_backup::ObjectWriter;
use jm_client_kubernetes::{ResourceKind, is_built_in};
use jm_step::StepError;

use super::Gather;

/// Whether it is the kind of such roles.
pub(super) fn is_one(kind: &ResourceKind) -> bool {
    kind.group == "rbac.authorization.k8s.io" && kind.kind == "ClusterRole"
}

impl Gather<'_> {
    /// Keeps the roles that are used, once all were read, and those that these lead to.
    pub(super) async fn aggregated(&mut self, writer: &mut ObjectWriter, kind: &ResourceKind) -> Result<(), StepError> {
        if !is_one(kind) {
            return Ok(());
        }
        let mut left = std::mem::take(&mut self.roles);
        loop {
            let (used, others): (Vec<_>, Vec<_>) = left.into_iter().partition(|role| self.references.needs(kind, role));
            if used.is_empty() {
                return Ok(());
            }
            for role in used {
                if is_built_in(&role) {
                    self.references.see(kind, &role);
                } else {
                    self.keep(writer, kind, role).await?;
                }
            }
            left = others;
        }
    }
}
