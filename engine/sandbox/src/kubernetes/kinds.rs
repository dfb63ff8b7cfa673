//! The kinds that are served: a table of those that are built in, and those that definitions bring.

use super::definitions;
use super::store::Store;

/// One kind of object at one version of its group.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kind {
    /// API group, empty for the core one.
    pub(super) group: &'static str,
    pub(super) version: &'static str,
    pub(super) plural: &'static str,
    pub(super) kind: &'static str,
    pub(super) short: &'static [&'static str],
    pub(super) namespaced: bool,
    /// `status` and `scale`, where there are any, and what is special (`log`).
    pub(super) subresources: &'static [&'static str],
    /// Does `metadata.generation` count changes of what is wanted?
    pub(super) counts_generations: bool,
    /// Is it one of `kubectl get all`?
    pub(super) in_all: bool,
    /// The name under which it is stored: two versions of one resource share it.
    pub(super) stored_as: &'static str,
    /// Does a CustomResourceDefinition bring it?
    pub(super) custom: bool,
}

impl Kind {
    const fn of(group: &'static str, version: &'static str, plural: &'static str, kind: &'static str) -> Self {
        Self {
            group,
            version,
            plural,
            kind,
            short: &[],
            namespaced: true,
            subresources: &[],
            counts_generations: false,
            in_all: false,
            stored_as: plural,
            custom: false,
        }
    }

    const fn short(mut self, names: &'static [&'static str]) -> Self {
        self.short = names;
        self
    }

    const fn cluster_wide(mut self) -> Self {
        self.namespaced = false;
        self
    }

    const fn with(mut self, subresources: &'static [&'static str]) -> Self {
        self.subresources = subresources;
        self
    }

    const fn generations(mut self) -> Self {
        self.counts_generations = true;
        self
    }

    const fn in_all(mut self) -> Self {
        self.in_all = true;
        self
    }

    /// `apps/v1`, or `v1` for the core group.
    pub(super) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// `deployments.apps`, or `pods` for the core group: how errors name a resource.
    pub(super) fn resource(&self) -> String {
        qualified(self.plural, self.group)
    }

    /// `Deployment.apps`: how a refused object is named.
    pub(super) fn qualified_kind(&self) -> String {
        qualified(self.kind, self.group)
    }

    /// The kind in lower case, as `kubectl` takes it.
    pub(super) fn singular(&self) -> String {
        self.kind.to_lowercase()
    }

    /// Does it hold pods, whose types leave out every empty list?
    pub(super) fn is_of_pods(&self) -> bool {
        let workload = matches!(self.group, "apps" | "batch") && self.plural != "controllerrevisions";
        let plain = matches!(self.plural, "pods" | "podtemplates" | "replicationcontrollers");
        workload || (plain && self.group.is_empty())
    }

    /// The name under which the merging of lists and maps is known; empty for what a definition brings.
    pub(super) fn schema(&self) -> &'static str {
        if self.custom { "" } else { self.kind }
    }

    /// The kind in whose form objects of this one are stored. What a definition brings is stored as it came.
    pub(super) fn stored(&'static self) -> &'static Self {
        if self.custom { self } else { stored(self.stored_as) }
    }

    pub(super) fn has(&self, subresource: &str) -> bool {
        self.subresources.contains(&subresource)
    }
}

fn qualified(name: &str, group: &str) -> String {
    if group.is_empty() {
        name.to_owned()
    } else {
        format!("{name}.{group}")
    }
}

pub(super) const STATUS: &[&str] = &["status"];
const SCALE: &[&str] = &["scale", "status"];
const RBAC: &str = "rbac.authorization.k8s.io";
const NETWORKING: &str = "networking.k8s.io";
const STORAGE: &str = "storage.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io";

/// The kind of the `scale` subresource, which is no resource of its own.
pub(super) static SCALE_KIND: Kind = Kind::of("autoscaling", "v1", "scales", "Scale");

/// Every kind. The preferred version of a group comes first.
pub(super) static KINDS: &[Kind] = &[
    Kind::of("", "v1", "configmaps", "ConfigMap").short(&["cm"]),
    Kind::of("", "v1", "endpoints", "Endpoints").short(&["ep"]),
    Kind::of("", "v1", "events", "Event").short(&["ev"]),
    Kind::of("", "v1", "limitranges", "LimitRange").short(&["limits"]),
    Kind::of("", "v1", "namespaces", "Namespace")
        .short(&["ns"])
        .cluster_wide()
        .with(STATUS),
    Kind::of("", "v1", "nodes", "Node")
        .short(&["no"])
        .cluster_wide()
        .with(STATUS),
    Kind::of("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
        .short(&["pvc"])
        .with(STATUS),
    Kind::of("", "v1", "persistentvolumes", "PersistentVolume")
        .short(&["pv"])
        .cluster_wide()
        .with(STATUS),
    Kind::of("", "v1", "pods", "Pod")
        .short(&["po"])
        .with(&["log", "status"])
        .in_all(),
    Kind::of("", "v1", "podtemplates", "PodTemplate").generations(),
    Kind::of("", "v1", "replicationcontrollers", "ReplicationController")
        .short(&["rc"])
        .with(SCALE)
        .generations()
        .in_all(),
    Kind::of("", "v1", "resourcequotas", "ResourceQuota")
        .short(&["quota"])
        .with(STATUS),
    Kind::of("", "v1", "secrets", "Secret"),
    Kind::of("", "v1", "serviceaccounts", "ServiceAccount").short(&["sa"]),
    Kind::of("", "v1", "services", "Service")
        .short(&["svc"])
        .with(STATUS)
        .in_all(),
    Kind::of(
        ADMISSION,
        "v1",
        "mutatingwebhookconfigurations",
        "MutatingWebhookConfiguration",
    )
    .cluster_wide()
    .generations(),
    Kind::of(
        ADMISSION,
        "v1",
        "validatingadmissionpolicies",
        "ValidatingAdmissionPolicy",
    )
    .cluster_wide()
    .with(STATUS)
    .generations(),
    Kind::of(
        ADMISSION,
        "v1",
        "validatingadmissionpolicybindings",
        "ValidatingAdmissionPolicyBinding",
    )
    .cluster_wide()
    .generations(),
    Kind::of(
        ADMISSION,
        "v1",
        "validatingwebhookconfigurations",
        "ValidatingWebhookConfiguration",
    )
    .cluster_wide()
    .generations(),
    Kind::of(
        "apiextensions.k8s.io",
        "v1",
        definitions::RESOURCE,
        "CustomResourceDefinition",
    )
    .short(&["crd", "crds"])
    .cluster_wide()
    .with(STATUS)
    .generations(),
    Kind::of("apps", "v1", "controllerrevisions", "ControllerRevision"),
    Kind::of("apps", "v1", "daemonsets", "DaemonSet")
        .short(&["ds"])
        .with(STATUS)
        .generations()
        .in_all(),
    Kind::of("apps", "v1", "deployments", "Deployment")
        .short(&["deploy"])
        .with(SCALE)
        .generations()
        .in_all(),
    Kind::of("apps", "v1", "replicasets", "ReplicaSet")
        .short(&["rs"])
        .with(SCALE)
        .generations()
        .in_all(),
    Kind::of("apps", "v1", "statefulsets", "StatefulSet")
        .short(&["sts"])
        .with(SCALE)
        .generations()
        .in_all(),
    Kind::of(
        "autoscaling",
        "v2",
        "horizontalpodautoscalers",
        "HorizontalPodAutoscaler",
    )
    .short(&["hpa"])
    .with(STATUS)
    .in_all(),
    Kind::of(
        "autoscaling",
        "v1",
        "horizontalpodautoscalers",
        "HorizontalPodAutoscaler",
    )
    .short(&["hpa"])
    .with(STATUS)
    .in_all(),
    Kind::of("batch", "v1", "cronjobs", "CronJob")
        .short(&["cj"])
        .with(STATUS)
        .generations()
        .in_all(),
    Kind::of("batch", "v1", "jobs", "Job")
        .with(STATUS)
        .generations()
        .in_all(),
    Kind::of("coordination.k8s.io", "v1", "leases", "Lease"),
    Kind::of("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice").generations(),
    Kind::of("events.k8s.io", "v1", "events", "Event").short(&["ev"]),
    Kind::of(NETWORKING, "v1", "ingressclasses", "IngressClass")
        .cluster_wide()
        .generations(),
    Kind::of(NETWORKING, "v1", "ingresses", "Ingress")
        .short(&["ing"])
        .with(STATUS)
        .generations(),
    Kind::of(NETWORKING, "v1", "ipaddresses", "IPAddress")
        .short(&["ip"])
        .cluster_wide(),
    Kind::of(NETWORKING, "v1", "networkpolicies", "NetworkPolicy")
        .short(&["netpol"])
        .generations(),
    Kind::of(NETWORKING, "v1", "servicecidrs", "ServiceCIDR")
        .cluster_wide()
        .with(STATUS),
    Kind::of("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
        .short(&["pdb"])
        .with(STATUS)
        .generations(),
    Kind::of(RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding").cluster_wide(),
    Kind::of(RBAC, "v1", "clusterroles", "ClusterRole").cluster_wide(),
    Kind::of(RBAC, "v1", "rolebindings", "RoleBinding"),
    Kind::of(RBAC, "v1", "roles", "Role"),
    Kind::of("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass")
        .short(&["pc"])
        .cluster_wide()
        .generations(),
    Kind::of(STORAGE, "v1", "csidrivers", "CSIDriver").cluster_wide(),
    Kind::of(STORAGE, "v1", "csinodes", "CSINode").cluster_wide(),
    Kind::of(STORAGE, "v1", "csistoragecapacities", "CSIStorageCapacity"),
    Kind::of(STORAGE, "v1", "storageclasses", "StorageClass")
        .short(&["sc"])
        .cluster_wide(),
    Kind::of(STORAGE, "v1", "volumeattachments", "VolumeAttachment")
        .cluster_wide()
        .with(STATUS),
];

/// The built-in kind behind a path's group, version and resource.
pub(super) fn find(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
    KINDS
        .iter()
        .find(|kind| kind.group == group && kind.version == version && kind.plural == plural)
}

/// The preferred built-in kind that is stored under a name, which is the form in which it is stored.
pub(super) fn built_in(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.stored_as == name)
}

/// The preferred built-in kind of a resource that is called by its group, too, such as `deployments.apps`.
pub(super) fn of_resource(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.resource() == name)
}

/// The built-in kind that is stored under a name.
///
/// # Panics
/// Where no kind has that name: names come from the table alone.
pub(super) fn stored(name: &str) -> &'static Kind {
    built_in(name).expect("every stored name is one of the table's")
}

/// Every kind that is served now.
pub(super) struct Served(Vec<&'static Kind>);

impl Served {
    /// What is built in, and what the store's definitions bring.
    pub(super) fn of(store: &Store) -> Self {
        Self(KINDS.iter().chain(definitions::kinds(store)).collect())
    }

    /// All of them.
    pub(super) fn kinds(&self) -> impl Iterator<Item = &'static Kind> + '_ {
        self.0.iter().copied()
    }

    /// The groups with their versions, preferred first, in the table's order; the core group is left out.
    pub(super) fn groups(&self) -> Vec<(&'static str, Vec<&'static str>)> {
        let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
        for kind in self.kinds().filter(|kind| !kind.group.is_empty()) {
            match groups.iter_mut().find(|(group, _)| *group == kind.group) {
                Some((_, versions)) if versions.contains(&kind.version) => {}
                Some((_, versions)) => versions.push(kind.version),
                None => groups.push((kind.group, vec![kind.version])),
            }
        }
        groups
    }

    /// The kinds of one group and version.
    pub(super) fn of_version<'a>(
        &'a self,
        group: &'a str,
        version: &'a str,
    ) -> impl Iterator<Item = &'static Kind> + 'a {
        self.kinds()
            .filter(move |kind| kind.group == group && kind.version == version)
    }

    #[cfg(test)]
    pub(super) fn built_in() -> Self {
        Self(KINDS.iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_a_resource_as_kubernetes_does() {
        let deployments = find("apps", "v1", "deployments").unwrap();
        assert_eq!(deployments.api_version(), "apps/v1");
        assert_eq!(deployments.resource(), "deployments.apps");
        assert_eq!(find("", "v1", "pods").unwrap().resource(), "pods");
    }

    #[test]
    fn stored_form_of_autoscalers_is_the_newer_version() {
        assert_eq!(stored("horizontalpodautoscalers").version, "v2");
        assert_eq!(stored("events").group, "");
        assert!(Served::built_in().groups().contains(&("autoscaling", vec!["v2", "v1"])));
    }
}
