//! Kinds of objects as the API server names them, and objects as people do.

use std::fmt;

use jm_step::StepError;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::keep::is_never_kept;

/// What is written otherwise in a part of a path: all but what never means anything there.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b':')
    .remove(b'@');

/// A kind that the API server has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ResourceKind {
    /// Its API group; empty for the core one.
    pub group: String,
    /// Its version.
    pub version: String,
    /// Its name, such as `Deployment`.
    pub kind: String,
    /// Its name in paths, such as `deployments`.
    pub plural: String,
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
    /// What may be done to it, such as `list`.
    pub verbs: Vec<String>,
    /// Whether its status is a thing apart, which the server leaves alone when the object is written.
    pub has_status: bool,
}

impl ResourceKind {
    /// Group and version as objects name them, such as `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// The kind with its group, such as `deployment.apps`.
    pub fn label(&self) -> String {
        Self::label_of(&self.group, &self.kind)
    }

    /// The same of a kind of which only the names are known.
    pub fn label_of(group: &str, kind: &str) -> String {
        let kind = kind.to_ascii_lowercase();
        if group.is_empty() {
            kind
        } else {
            format!("{kind}.{group}")
        }
    }

    /// Whether this may be done to it.
    pub fn can(&self, verb: &str) -> bool {
        self.verbs.iter().any(|has| has == verb)
    }

    /// Whether an export keeps objects of this kind.
    pub fn is_to_be_kept(&self) -> bool {
        let is_made = self.can("patch") || self.can("create");
        self.can("list") && is_made && !is_never_kept(&self.group, &self.kind) && self.label() != "namespace"
    }

    /// The path of its objects in a namespace, or of all where none is given.
    pub(crate) fn path(&self, namespace: Option<&str>) -> String {
        let root = if self.group.is_empty() { "/api" } else { "/apis" };
        let place = match namespace.filter(|_| self.namespaced) {
            Some(namespace) => format!("namespaces/{namespace}/"),
            None => String::new(),
        };
        format!("{root}/{}/{place}{}", self.api_version(), self.plural)
    }

    /// The path of one of its objects.
    pub(crate) fn path_of(&self, key: &ObjectKey) -> String {
        let name = utf8_percent_encode(&key.name, SEGMENT);
        format!("{}/{name}", self.path(key.namespace.as_deref()))
    }
}

/// Which object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// Its API group and version, such as `apps/v1`.
    pub api_version: String,
    /// Its kind, such as `Deployment`.
    pub kind: String,
    /// Its namespace, where its kind has one.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl ObjectKey {
    /// What a manifest says of itself. Names and namespaces go into paths, so what cannot be one is refused: what Kubernetes
    /// refuses of any name. Those of roles and bindings, for one, have few other limits: `jane#EXT#@example.com` is one.
    /// <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#path-segment-names>
    pub fn of(object: &Value) -> Result<Self, StepError> {
        let text = |pointer: &str| {
            object
                .pointer(pointer)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
        };
        let (Some(api_version), Some(kind)) = (text("/apiVersion"), text("/kind")) else {
            return Err(StepError::invalid_input(
                "a document is no Kubernetes object: it lacks `apiVersion` or `kind`",
            ));
        };
        let Some(name) = text("/metadata/name") else {
            return Err(
                StepError::invalid_input(format!("an object of kind {kind} has no `metadata.name`"))
                    .hint("give it a name; `generateName` makes another object each time"),
            );
        };
        let namespace = text("/metadata/namespace");
        let refused =
            |part: &str| StepError::invalid_input(format!("`{}` cannot be the name of an object", part.escape_debug()));
        if name.contains(['/', '%']) || name == "." || name == ".." {
            return Err(refused(name));
        }
        // A namespace is a label of DNS.
        let is_odd = |part: &&str| part.bytes().any(|byte| !byte.is_ascii_alphanumeric() && byte != b'-');
        if let Some(odd) = namespace.filter(is_odd) {
            return Err(refused(odd));
        }
        Ok(Self {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        })
    }

    /// Whether it is a Secret, of whose values nothing is told.
    pub fn is_secret(&self) -> bool {
        self.group().is_empty() && self.kind == "Secret"
    }

    /// The API group; empty for the core one.
    pub fn group(&self) -> &str {
        group_of(&self.api_version)
    }
}

/// The group of an API version such as `apps/v1`; empty for the core one.
pub(crate) fn group_of(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// As kubectl names it: `deployment.apps/web`, with its namespace before it.
impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = ResourceKind::label_of(self.group(), &self.kind);
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace} {label}/{}", self.name),
            None => write!(f, "{label}/{}", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_are_named_and_paths_cannot_be_escaped() {
        let key = ObjectKey::of(&json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web", "namespace": "app" },
        }));
        assert_eq!(key.expect("a key").to_string(), "app deployment.apps/web");
        for name in ["../secrets", "a/b", "a%2Fb", "..", ""] {
            let object = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name } });
            assert!(ObjectKey::of(&object).is_err(), "{name}");
        }
        for namespace in ["prod?x", "a/b", "a#b", "a%2Fb", ".."] {
            let object =
                json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "c", "namespace": namespace } });
            assert!(ObjectKey::of(&object).is_err(), "{namespace}");
        }
    }

    #[test]
    fn names_of_roles_are_theirs_in_paths_too() {
        let kind = ResourceKind {
            group: "rbac.authorization.k8s.io".to_owned(),
            version: "v1".to_owned(),
            kind: "ClusterRoleBinding".to_owned(),
            plural: "clusterrolebindings".to_owned(),
            namespaced: false,
            verbs: Vec::new(),
            has_status: false,
        };
        for (name, part) in [
            ("system:node", "system:node"),
            ("jane#EXT#@example.com", "jane%23EXT%23@example.com"),
            ("a b?dryRun=All", "a%20b%3FdryRun%3DAll"),
            ("ä", "%C3%A4"),
        ] {
            let object = json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
                "metadata": { "name": name } });
            let path = kind.path_of(&ObjectKey::of(&object).expect("a key"));
            assert_eq!(
                path,
                format!("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/{part}")
            );
        }
    }
}
