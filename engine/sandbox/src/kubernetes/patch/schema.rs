//! What the built-in types say about their lists and maps: how entries are told apart, and what is one value.

/// How a list is merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum List {
    /// Replaced as a whole.
    Atomic,
    /// Single values, each there once.
    Set,
    /// Maps told apart by keys; a strategic merge patch looks at the first one alone.
    Keyed(&'static [&'static str]),
}

const CONTAINERS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];

/// The list at a path of field names (no indexes) in an object of a kind; of what a definition brings (no kind), the
/// metadata alone is known.
pub(super) fn list(kind: &str, path: &[&str]) -> List {
    let Some((field, parents)) = path.split_last() else {
        return List::Atomic;
    };
    if kind.is_empty() && path.first() != Some(&"metadata") {
        return List::Atomic;
    }
    let parent = parents.last().copied().unwrap_or_default();
    let in_container = CONTAINERS.contains(&parent);
    match *field {
        "containers" | "initContainers" | "ephemeralContainers" | "volumes" | "imagePullSecrets" | "resourceClaims"
            if parent == "spec" || kind == "ServiceAccount" =>
        {
            List::Keyed(&["name"])
        }
        "secrets" if kind == "ServiceAccount" => List::Keyed(&["name"]),
        "env" if in_container => List::Keyed(&["name"]),
        "volumeMounts" if in_container => List::Keyed(&["mountPath"]),
        "volumeDevices" if in_container => List::Keyed(&["devicePath"]),
        "ports" if in_container => List::Keyed(&["containerPort", "protocol"]),
        "ports" if kind == "Service" && parent == "spec" => List::Keyed(&["port", "protocol"]),
        "hostAliases" | "podIPs" | "hostIPs" => List::Keyed(&["ip"]),
        "topologySpreadConstraints" => List::Keyed(&["topologyKey", "whenUnsatisfiable"]),
        "webhooks" if kind.ends_with("WebhookConfiguration") => List::Keyed(&["name"]),
        "matchConditions" | "variables" => List::Keyed(&["name"]),
        "drivers" if kind == "CSINode" => List::Keyed(&["name"]),
        "conditions" if parent == "status" => List::Keyed(&["type"]),
        "addresses" if kind == "Node" => List::Keyed(&["type"]),
        "ownerReferences" if parent == "metadata" => List::Keyed(&["uid"]),
        "finalizers" if parent == "metadata" => List::Set,
        _ => List::Atomic,
    }
}

/// Is the map at this path one value, which has one owner?
pub(super) fn is_atomic_map(kind: &str, path: &[&str]) -> bool {
    if kind.is_empty() {
        return false;
    }
    match path.last().copied().unwrap_or_default() {
        "nodeSelector" => kind != "PersistentVolume",
        "selector" | "labelSelector" | "podSelector" | "namespaceSelector" | "objectSelector" | "scaleTargetRef"
        | "claimRef" | "involvedObject" | "roleRef" | "configMapKeyRef" | "secretKeyRef" | "fieldRef"
        | "resourceFieldRef" => true,
        _ => false,
    }
}

/// What a key is where the entry does not say.
pub(super) fn default_key(key: &str) -> Option<&'static str> {
    (key == "protocol").then_some("TCP")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_depend_on_where_they_stand() {
        let container = ["spec", "template", "spec", "containers", "ports"];
        assert_eq!(
            list("Deployment", &container),
            List::Keyed(&["containerPort", "protocol"])
        );
        assert_eq!(list("Service", &["spec", "ports"]), List::Keyed(&["port", "protocol"]));
        assert_eq!(list("NetworkPolicy", &["spec", "ingress", "ports"]), List::Atomic);
    }

    #[test]
    fn tolerations_are_replaced_as_a_whole() {
        assert_eq!(list("Pod", &["spec", "tolerations"]), List::Atomic);
    }
}
