//! What is left out and may be missed: objects without a namespace that nothing here was seen to need, and what has ended.

use jm_client_kubernetes::{ObjectKey, ResourceKind, Wave};
use jm_step::StepContext;
use serde_json::Value;

use super::MOST_NAMED;
use crate::few::few;

/// Groups of the accounts of every namespace: <https://kubernetes.io/docs/reference/access-authn-authz/rbac>.
const EVERYBODY: [&str; 2] = ["system:serviceaccounts", "system:authenticated"];

/// Those that are not kept, by why they may be needed.
#[derive(Default)]
pub(super) struct Left {
    /// Custom resources: which of them others refer to, their kinds do not tell.
    strangers: Vec<String>,
    /// Definitions, by name.
    definitions: Vec<String>,
    /// Webhooks and admission policies.
    gates: Vec<String>,
    /// Bindings of the accounts of every namespace.
    shared: Vec<String>,
    /// Pods and jobs that are over, and that nothing makes again.
    ended: Vec<String>,
}

impl Left {
    /// Notes one that is not kept.
    pub(super) fn note(&mut self, kind: &ResourceKind, object: &Value, key: ObjectKey) {
        match Wave::of_kind(&kind.group, &kind.kind) {
            Wave::Custom => self.strangers.push(key.to_string()),
            Wave::Definitions => self.definitions.push(key.name),
            Wave::Webhooks => self.gates.push(key.to_string()),
            Wave::Access if binds_everybody(object) => self.shared.push(key.to_string()),
            _ => {}
        }
    }

    /// Notes a pod or a job that is over, which somebody started by hand.
    pub(super) fn note_ended(&mut self, key: ObjectKey) {
        self.ended.push(key.to_string());
    }

    /// Tells of them.
    pub(super) async fn tell(&self, cx: &StepContext) {
        let left = [
            ("custom resources without a namespace", &self.strangers),
            (
                "definitions of kinds that nothing here uses and no role here names",
                &self.definitions,
            ),
            (
                "webhooks that are served elsewhere and admission policies that ask for no label of these namespaces",
                &self.gates,
            ),
            ("bindings of the accounts of every namespace", &self.shared),
        ];
        for (what, names) in left.into_iter().filter(|(_, names)| !names.is_empty()) {
            let names = few(names, MOST_NAMED);
            cx.log(format!("{what} are left out; `cluster_scope: all` keeps them: {names}"))
                .await;
        }
        if !self.ended.is_empty() {
            let names = few(&self.ended, MOST_NAMED);
            cx.log(format!(
                "pods and jobs that have ended are left out, for they would run again: {names}"
            ))
            .await;
        }
    }
}

fn binds_everybody(binding: &Value) -> bool {
    let subjects = binding["subjects"].as_array();
    subjects.is_some_and(|all| {
        let mut groups = all.iter().filter(|subject| subject["kind"] == "Group");
        groups.any(|group| EVERYBODY.iter().any(|everybody| group["name"] == **everybody))
    })
}
