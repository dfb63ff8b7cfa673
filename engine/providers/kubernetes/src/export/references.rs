//! What objects of namespaces depend on outside of them.

use std::collections::BTreeSet;

use jm_client_kubernetes::{ResourceKind, selects};
use serde_json::Value;

use super::images::pod_spec;

/// What was seen to be used, by kind and name.
#[derive(Default)]
pub(super) struct References {
    used: BTreeSet<(&'static str, String)>,
    namespaces: BTreeSet<String>,
    /// Group and plural of the kinds that roles name, or `*` for all of a group.
    allowed: BTreeSet<(String, String)>,
    /// What finds the roles whose rules a controller puts into others that are used.
    aggregated: Vec<Value>,
    /// The namespaces as objects, for selectors of their labels.
    homes: Vec<Value>,
}

impl References {
    pub(super) fn new(namespaces: &[String]) -> Self {
        Self {
            used: BTreeSet::new(),
            allowed: BTreeSet::new(),
            aggregated: Vec::new(),
            homes: Vec::new(),
            namespaces: namespaces.iter().cloned().collect(),
        }
    }

    /// Looks at an object that is kept, or comes by itself.
    pub(super) fn see(&mut self, kind: &ResourceKind, object: &Value) {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        match (kind.group.as_str(), kind.kind.as_str()) {
            ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding")
                if text("/roleRef/kind") == Some("ClusterRole") =>
            {
                self.uses("ClusterRole", text("/roleRef/name"));
            }
            ("rbac.authorization.k8s.io", "Role") => self.allows(object),
            ("rbac.authorization.k8s.io", "ClusterRole") => {
                self.allows(object);
                let selectors = object.pointer("/aggregationRule/clusterRoleSelectors");
                let selectors = selectors.and_then(Value::as_array).into_iter().flatten();
                self.aggregated.extend(selectors.cloned());
            }
            ("", "Namespace") => self.homes.push(object.clone()),
            ("", "PersistentVolumeClaim") => self.claim(object),
            ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding") => {
                self.uses("ValidatingAdmissionPolicy", text("/spec/policyName"));
            }
            ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding") => {
                self.uses("MutatingAdmissionPolicy", text("/spec/policyName"));
            }
            ("networking.k8s.io", "Ingress") => self.uses("IngressClass", text("/spec/ingressClassName")),
            ("storage.k8s.io", "StorageClass") => self.uses("CSIDriver", text("/provisioner")),
            ("resource.k8s.io", "ResourceClaim" | "ResourceClaimTemplate") => self.devices(&object["spec"]),
            ("apps", "StatefulSet") => {
                let claims = object.pointer("/spec/volumeClaimTemplates").and_then(Value::as_array);
                for claim in claims.into_iter().flatten() {
                    self.claim(claim);
                }
            }
            _ => {}
        }
        if let Some(spec) = pod_spec(object) {
            self.uses("PriorityClass", spec["priorityClassName"].as_str());
            self.uses("RuntimeClass", spec["runtimeClassName"].as_str());
            // The claims of these belong to pods, and come with them.
            for volume in spec["volumes"].as_array().into_iter().flatten() {
                self.claim(&volume["ephemeral"]["volumeClaimTemplate"]);
            }
        }
        if kind.namespaced {
            self.uses(
                "CustomResourceDefinition",
                Some(&format!("{}.{}", kind.plural, kind.group)),
            );
            self.uses("APIService", Some(&format!("{}.{}", kind.version, kind.group)));
        }
    }

    /// An operator needs the definitions of the kinds that its roles name, though there be no object of them.
    fn allows(&mut self, role: &Value) {
        let texts = |list: &Value| -> Vec<String> {
            let texts = list.as_array().into_iter().flatten().filter_map(Value::as_str);
            texts.map(str::to_owned).collect()
        };
        for rule in role["rules"].as_array().into_iter().flatten() {
            let resources = texts(&rule["resources"]);
            // A role that may do everything everywhere needs nothing in particular.
            for group in texts(&rule["apiGroups"]).into_iter().filter(|group| group != "*") {
                let plurals = resources.iter().filter_map(|resource| resource.split('/').next());
                self.allowed
                    .extend(plurals.map(|plural| (group.clone(), plural.to_owned())));
            }
        }
    }

    fn claim(&mut self, claim: &Value) {
        let spec = &claim["spec"];
        self.uses("StorageClass", spec["storageClassName"].as_str());
        self.uses("VolumeAttributesClass", spec["volumeAttributesClassName"].as_str());
        self.uses("PersistentVolume", spec["volumeName"].as_str());
    }

    /// The classes of devices that are asked for, wherever this version of the API has them.
    fn devices(&mut self, spec: &Value) {
        match spec {
            Value::Object(fields) => {
                self.uses("DeviceClass", spec["deviceClassName"].as_str());
                fields.values().for_each(|field| self.devices(field));
            }
            Value::Array(items) => items.iter().for_each(|item| self.devices(item)),
            _ => {}
        }
    }

    fn uses(&mut self, kind: &'static str, name: Option<&str>) {
        if let Some(name) = name.filter(|name| !name.is_empty()) {
            self.used.insert((kind, name.to_owned()));
        }
    }

    /// Whether an object without a namespace is used by what is kept.
    pub(super) fn needs(&self, kind: &ResourceKind, object: &Value) -> bool {
        let name = object
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        match (kind.group.as_str(), kind.kind.as_str()) {
            ("rbac.authorization.k8s.io", "ClusterRoleBinding") => self.binds(object),
            // A webhook that is served elsewhere would refuse all that it sees where nobody serves it.
            ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration") => {
                let webhooks = object["webhooks"].as_array();
                webhooks.is_some_and(|all| all.iter().any(|one| self.serves(&one["clientConfig"]["service"])))
            }
            ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding" | "MutatingAdmissionPolicyBinding") => {
                self.serves(&object["spec"]["paramRef"]) || self.guards(&object["spec"]["matchResources"])
            }
            ("apiregistration.k8s.io", known) => self.is_used(known, name) || self.serves(&object["spec"]["service"]),
            ("rbac.authorization.k8s.io", "ClusterRole") => {
                let is_aggregated = || self.aggregated.iter().any(|selector| selects(selector, object));
                self.is_used("ClusterRole", name) || is_aggregated()
            }
            ("apiextensions.k8s.io", "CustomResourceDefinition") => {
                self.is_used("CustomResourceDefinition", name) || self.is_allowed(name)
            }
            (_, known) => self.is_used(known, name),
        }
    }

    fn is_used(&self, kind: &str, name: &str) -> bool {
        self.used.iter().any(|(known, used)| *known == kind && used == name)
    }

    /// Whether a role names the kind that a definition called `PLURAL.GROUP` defines.
    fn is_allowed(&self, definition: &str) -> bool {
        let Some((plural, group)) = definition.split_once('.') else {
            return false;
        };
        let named = |plural: &str| self.allowed.contains(&(group.to_owned(), plural.to_owned()));
        named(plural) || named("*")
    }

    /// Whether a service account of the namespaces is bound.
    pub(super) fn binds(&self, binding: &Value) -> bool {
        let subjects = binding["subjects"].as_array();
        subjects.is_some_and(|all| {
            all.iter().any(|subject| {
                let text = |field: &str| subject[field].as_str().unwrap_or_default();
                let group = text("name").strip_prefix("system:serviceaccounts:");
                // How an account is called where it signs in: <https://kubernetes.io/docs/reference/access-authn-authz/rbac>.
                let user = text("name").strip_prefix("system:serviceaccount:");
                let user = user.and_then(|account| account.split_once(':'));
                match text("kind") {
                    "ServiceAccount" => self.namespaces.contains(text("namespace")),
                    "Group" => group.is_some_and(|namespace| self.namespaces.contains(namespace)),
                    "User" => user.is_some_and(|(namespace, _)| self.namespaces.contains(namespace)),
                    _ => false,
                }
            })
        })
    }

    /// Whether resources are matched by a label that one of the namespaces has. What only leaves namespaces out, or takes all
    /// of them, is the cluster's own.
    fn guards(&self, resources: &Value) -> bool {
        let selector = &resources["namespaceSelector"];
        let labels = selector["matchLabels"].as_object();
        let expressions = selector["matchExpressions"].as_array();
        let asks = labels.is_some_and(|labels| !labels.is_empty())
            || expressions.is_some_and(|all| {
                all.iter()
                    .any(|one| matches!(one["operator"].as_str(), Some("In" | "Exists")))
            });
        asks && self.homes.iter().any(|home| selects(selector, home))
    }

    /// Whether something names one of the namespaces as its own place.
    fn serves(&self, service: &Value) -> bool {
        service["namespace"]
            .as_str()
            .is_some_and(|namespace| self.namespaces.contains(namespace))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_account_is_bound_by_each_of_its_names() {
        let references = References::new(&["app".to_owned()]);
        let binds = |kind: &str, name: &str, namespace: &str| {
            let subject = json!({ "kind": kind, "name": name, "namespace": namespace });
            references.binds(&json!({ "subjects": [subject] }))
        };
        for (namespace, is_bound) in [("app", true), ("other", false)] {
            assert_eq!(binds("ServiceAccount", "web", namespace), is_bound);
            assert_eq!(
                binds("Group", &format!("system:serviceaccounts:{namespace}"), ""),
                is_bound
            );
            let user = format!("system:serviceaccount:{namespace}:web");
            assert_eq!(binds("User", &user, ""), is_bound);
        }
        assert!(!binds("User", "app", ""));
    }

    #[test]
    fn a_policy_is_of_the_namespaces_whose_labels_it_asks_for() {
        let resource = |group: &str, kind: &str| ResourceKind {
            group: group.to_owned(),
            version: "v1".to_owned(),
            kind: kind.to_owned(),
            plural: format!("{}s", kind.to_lowercase()),
            namespaced: false,
            verbs: Vec::new(),
            has_status: false,
        };
        let mut references = References::new(&["app".to_owned()]);
        let labels = json!({ "kubernetes.io/metadata.name": "app", "tier": "gold" });
        let home = json!({ "kind": "Namespace", "metadata": { "name": "app", "labels": labels } });
        references.see(&resource("", "Namespace"), &home);
        let bindings = resource("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding");
        let binding = |spec: Value| json!({ "metadata": { "name": "b" }, "spec": spec });
        let by = |selector: Value| {
            binding(json!({ "policyName": "p", "matchResources": { "namespaceSelector": selector } }))
        };
        let expression = |operator: &str, values: &[&str]| {
            by(
                json!({ "matchExpressions": [{ "key": "kubernetes.io/metadata.name", "operator": operator, "values": values }] }),
            )
        };
        let of_these = [
            by(json!({ "matchLabels": { "tier": "gold" } })),
            expression("In", &["app", "other"]),
            binding(json!({ "policyName": "p", "paramRef": { "name": "limits", "namespace": "app" } })),
        ];
        for binding in &of_these {
            assert!(references.needs(&bindings, binding), "{binding}");
        }
        let of_the_cluster = [
            binding(json!({ "policyName": "p" })),
            by(json!({})),
            by(json!({ "matchLabels": { "tier": "silver" } })),
            expression("NotIn", &["kube-system"]),
        ];
        for binding in &of_the_cluster {
            assert!(!references.needs(&bindings, binding), "{binding}");
        }
        let policies = resource("admissionregistration.k8s.io", "ValidatingAdmissionPolicy");
        let policy = json!({ "metadata": { "name": "p" } });
        assert!(!references.needs(&policies, &policy));
        references.see(&bindings, &of_these[0]);
        assert!(references.needs(&policies, &policy));
    }

    #[test]
    fn what_only_the_claims_and_devices_of_pods_name_is_used() {
        let kind = |group: &str, kind: &str| ResourceKind {
            group: group.to_owned(),
            version: "v1".to_owned(),
            kind: kind.to_owned(),
            plural: format!("{}s", kind.to_lowercase()),
            namespaced: true,
            verbs: Vec::new(),
            has_status: false,
        };
        let mut references = References::new(&["app".to_owned()]);
        let volume = json!({ "name": "scratch", "ephemeral": { "volumeClaimTemplate": { "spec": { "storageClassName": "fast" } } } });
        let deployment = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
            "spec": { "template": { "spec": { "containers": [], "volumes": [volume] } } } });
        references.see(&kind("apps", "Deployment"), &deployment);
        let request = json!({ "name": "gpu", "exactly": { "deviceClassName": "gpu.example.com" } });
        let template = json!({ "spec": { "spec": { "devices": { "requests": [request] } } } });
        references.see(&kind("resource.k8s.io", "ResourceClaimTemplate"), &template);
        let needs = |group: &str, what: &str, name: &str| {
            let object = json!({ "metadata": { "name": name } });
            references.needs(&kind(group, what), &object)
        };
        assert!(needs("storage.k8s.io", "StorageClass", "fast"));
        assert!(needs("resource.k8s.io", "DeviceClass", "gpu.example.com"));
        assert!(!needs("storage.k8s.io", "StorageClass", "slow"));
    }
}
