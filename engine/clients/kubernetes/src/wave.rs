//! The order in which a cluster is filled: what others need comes first, what can refuse others comes last.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::kind::group_of;

/// An annotation with which an object says its wave itself.
pub const WAVE: &str = "jm.dev/wave";

/// A part of the order. All objects of one are there, and ready, before the next one begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Wave {
    /// Namespaces.
    Namespaces,
    /// Quotas and limits.
    Limits,
    /// Classes: of priority, storage, ingress, runtime.
    Classes,
    /// Custom resource definitions.
    Definitions,
    /// Service accounts.
    Accounts,
    /// Roles and their bindings.
    Access,
    /// Secrets, config maps, and custom resources that pods need in order to start.
    Configuration,
    /// Volumes and claims.
    Volumes,
    /// Services, and the network policies that guard what runs behind them.
    Services,
    /// Whatever runs pods.
    Workloads,
    /// Services of the API, with which workloads add kinds of their own to it.
    ApiServices,
    /// Custom resources, and whatever else is not of Kubernetes' own kinds.
    Custom,
    /// Autoscalers and disruption budgets.
    Scaling,
    /// Ingress.
    Ingress,
    /// Whatever may refuse or change what is written: webhooks, admission policies.
    Webhooks,
}

impl Wave {
    /// All of them, in order.
    pub const ALL: [Self; 15] = [
        Self::Namespaces,
        Self::Limits,
        Self::Classes,
        Self::Definitions,
        Self::Accounts,
        Self::Access,
        Self::Configuration,
        Self::Volumes,
        Self::Services,
        Self::Workloads,
        Self::ApiServices,
        Self::Custom,
        Self::Scaling,
        Self::Ingress,
        Self::Webhooks,
    ];

    /// What an object says itself that its wave is; an error, for people, where there is no such wave.
    pub fn said(object: &Value) -> Result<Option<Self>, String> {
        let annotations = object.pointer("/metadata/annotations");
        let Some(said) = annotations.and_then(|annotations| annotations.get(WAVE)) else {
            return Ok(None);
        };
        Self::deserialize(said).map(Some).map_err(|_| {
            let names: Vec<&str> = Self::ALL.into_iter().map(Self::as_str).collect();
            format!("`{WAVE}: {said}` names no wave: there are {}", names.join(", "))
        })
    }

    /// The wave of an object: what it says itself, or that of its kind.
    pub fn of(object: &Value) -> Self {
        Self::said(object).ok().flatten().unwrap_or_else(|| {
            let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
            let group = group_of(text("apiVersion"));
            Self::of_kind(group, text("kind"))
        })
    }

    /// The wave of a kind.
    pub fn of_kind(group: &str, kind: &str) -> Self {
        match (group, kind) {
            ("", "Namespace") => Self::Namespaces,
            ("", "ResourceQuota" | "LimitRange") => Self::Limits,
            ("scheduling.k8s.io" | "node.k8s.io" | "resource.k8s.io", _)
            | ("storage.k8s.io", "StorageClass" | "CSIDriver" | "VolumeAttributesClass")
            | ("networking.k8s.io", "IngressClass" | "ServiceCIDR") => Self::Classes,
            ("apiextensions.k8s.io", _) => Self::Definitions,
            ("", "ServiceAccount") => Self::Accounts,
            ("rbac.authorization.k8s.io", _) => Self::Access,
            // Pods that name one of these do not start without it.
            ("", "ConfigMap" | "Secret") | ("secrets-store.csi.x-k8s.io" | "k8s.cni.cncf.io", _) => Self::Configuration,
            ("", "PersistentVolume" | "PersistentVolumeClaim") | ("storage.k8s.io", _) => Self::Volumes,
            ("", "Service" | "Endpoints") | ("discovery.k8s.io", _) | ("networking.k8s.io", "NetworkPolicy") => {
                Self::Services
            }
            ("" | "apps" | "batch", _) => Self::Workloads,
            ("autoscaling" | "policy", _) => Self::Scaling,
            ("networking.k8s.io", _) => Self::Ingress,
            ("apiregistration.k8s.io", _) => Self::ApiServices,
            ("admissionregistration.k8s.io", _) => Self::Webhooks,
            _ => Self::Custom,
        }
    }

    /// As people write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Namespaces => "namespaces",
            Self::Limits => "limits",
            Self::Classes => "classes",
            Self::Definitions => "definitions",
            Self::Accounts => "accounts",
            Self::Access => "access",
            Self::Configuration => "configuration",
            Self::Volumes => "volumes",
            Self::Services => "services",
            Self::Workloads => "workloads",
            Self::ApiServices => "api-services",
            Self::Custom => "custom",
            Self::Scaling => "scaling",
            Self::Ingress => "ingress",
            Self::Webhooks => "webhooks",
        }
    }
}

impl std::fmt::Display for Wave {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_others_need_comes_first_and_what_may_refuse_comes_last() {
        let order = [
            ("", "Namespace"),
            ("", "LimitRange"),
            ("storage.k8s.io", "StorageClass"),
            ("apiextensions.k8s.io", "CustomResourceDefinition"),
            ("", "ServiceAccount"),
            ("rbac.authorization.k8s.io", "RoleBinding"),
            ("", "Secret"),
            ("", "PersistentVolumeClaim"),
            ("", "Service"),
            ("apps", "Deployment"),
            ("apiregistration.k8s.io", "APIService"),
            ("example.com", "Widget"),
            ("policy", "PodDisruptionBudget"),
            ("networking.k8s.io", "Ingress"),
            ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
        ];
        let waves: Vec<Wave> = order.iter().map(|(group, kind)| Wave::of_kind(group, kind)).collect();
        assert_eq!(waves, Wave::ALL);
        assert_eq!(
            Wave::of_kind("networking.k8s.io", "NetworkPolicy"),
            Wave::Services,
            "before what it guards"
        );
        for group in ["secrets-store.csi.x-k8s.io", "k8s.cni.cncf.io"] {
            assert_eq!(
                Wave::of_kind(group, "X"),
                Wave::Configuration,
                "before pods that need it"
            );
        }
    }

    #[test]
    fn an_object_may_say_its_wave() {
        let object = json!({
            "apiVersion": "example.com/v1", "kind": "Certificate", "metadata": { "annotations": { (WAVE): "configuration" } },
        });
        assert_eq!(Wave::of(&object), Wave::Configuration);
        let mistyped = json!({ "kind": "ConfigMap", "metadata": { "annotations": { (WAVE): "workload" } } });
        let error = Wave::said(&mistyped).expect_err("no wave");
        assert!(
            error.contains("\"workload\"") && error.contains("services, workloads, api-services, custom"),
            "{error}"
        );
        for wave in Wave::ALL {
            assert_eq!(json!(wave), json!(wave.as_str()));
        }
    }
}
