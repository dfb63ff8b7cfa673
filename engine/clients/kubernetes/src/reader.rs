//! The side of a cluster that cannot write.

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{Event, Namespace, Node, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::ListParams;
use kube::core::DynamicObject;
use kube::{Api, Client};

use jm_step::StepError;

use crate::error::step_error;
use crate::pod::PodState;
use crate::workload::{Autoscaler, Workload, WorkloadRef};

/// The most lines that a failure takes from the events of a namespace.
const MOST_EVENTS: usize = 10;

/// What a cluster says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterInfo {
    /// Version of the API server, such as `v1.36.2`.
    pub version: String,
    /// Nodes.
    pub nodes: u32,
    /// Nodes that are ready.
    pub ready_nodes: u32,
    /// The default storage class, where there is one.
    pub default_storage_class: Option<String>,
}

/// Reads one namespace of a cluster. It has no method that writes, and does not give its client away.
#[derive(Clone)]
pub struct Reader {
    client: Client,
    namespace: String,
}

impl Reader {
    pub(crate) fn new(client: Client, namespace: String) -> Self {
        Self { client, namespace }
    }

    /// The namespace that the target names.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The UID of the namespace `kube-system`: the one thing that is made once for a cluster and never again.
    pub async fn cluster_uid(&self) -> Result<String, StepError> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let system = namespaces
            .get("kube-system")
            .await
            .map_err(|e| step_error("cannot read namespace `kube-system`", e))?;
        system
            .metadata
            .uid
            .ok_or_else(|| StepError::failed("namespace `kube-system` has no UID"))
    }

    /// What the cluster says of itself.
    pub async fn cluster(&self) -> Result<ClusterInfo, StepError> {
        let version = self
            .client
            .apiserver_version()
            .await
            .map_err(|e| step_error("cannot read the API server's version", e))?;
        let nodes: Api<Node> = Api::all(self.client.clone());
        let nodes = nodes
            .list(&ListParams::default())
            .await
            .map_err(|e| step_error("cannot list nodes", e))?
            .items;
        let ready = nodes.iter().filter(|node| is_ready(node)).count();
        let classes: Api<StorageClass> = Api::all(self.client.clone());
        let classes = classes
            .list(&ListParams::default())
            .await
            .map_err(|e| step_error("cannot list storage classes", e))?;
        Ok(ClusterInfo {
            version: version.git_version,
            nodes: u32::try_from(nodes.len()).unwrap_or(u32::MAX),
            ready_nodes: u32::try_from(ready).unwrap_or(u32::MAX),
            default_storage_class: classes
                .items
                .into_iter()
                .find(is_default)
                .and_then(|class| class.metadata.name),
        })
    }

    /// Whether the namespace is there and not being deleted.
    pub async fn namespace_is_active(&self) -> Result<bool, StepError> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let doing = format!("cannot read namespace `{}`", self.namespace);
        let found = namespaces
            .get_opt(&self.namespace)
            .await
            .map_err(|e| step_error(&doing, e))?;
        Ok(found.is_some_and(|namespace| namespace.metadata.deletion_timestamp.is_none()))
    }

    /// A workload as it is now.
    pub async fn workload(&self, workload: &WorkloadRef) -> Result<Workload, StepError> {
        let doing = format!("cannot read {workload} in namespace `{}`", self.namespace);
        let object = self
            .objects(workload)
            .get(&workload.name)
            .await
            .map_err(|e| step_error(&doing, e))?;
        Ok(Workload::read(workload, &object))
    }

    /// The autoscaler of a workload, where it has one.
    pub async fn autoscaler(&self, workload: &WorkloadRef) -> Result<Option<Autoscaler>, StepError> {
        let autoscalers: Api<HorizontalPodAutoscaler> = Api::namespaced(self.client.clone(), &self.namespace);
        let found = autoscalers
            .list(&ListParams::default())
            .await
            .map_err(|e| step_error("cannot list autoscalers", e))?;
        Ok(found.items.iter().find_map(|hpa| Autoscaler::of(workload, hpa)))
    }

    /// The pods of a workload.
    pub async fn pods(&self, workload: &Workload) -> Result<Vec<PodState>, StepError> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let doing = format!("cannot list the pods of {}", workload.workload);
        let found = pods
            .list(&ListParams::default().labels(&workload.selector))
            .await
            .map_err(|e| step_error(&doing, e))?;
        Ok(found.items.iter().map(PodState::read).collect())
    }

    /// The newest warnings of the namespace about this object and what is named after it (its ReplicaSets and pods).
    pub async fn warnings(&self, name: &str) -> Result<Vec<String>, StepError> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        let found = events
            .list(&ListParams::default())
            .await
            .map_err(|e| step_error("cannot list events", e))?;
        let about = |event: &Event| {
            event
                .involved_object
                .name
                .as_deref()
                .is_some_and(|of| of.starts_with(name))
        };
        let mut warnings: Vec<Event> = found
            .items
            .into_iter()
            .filter(|event| event.type_.as_deref() == Some("Warning") && about(event))
            .collect();
        warnings.sort_by_key(|event| std::cmp::Reverse(event.last_timestamp.as_ref().map(|time| time.0)));
        Ok(warnings
            .into_iter()
            .take(MOST_EVENTS)
            .map(|event| event_line(&event))
            .collect())
    }

    pub(crate) fn objects(&self, workload: &WorkloadRef) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &workload.kind.resource())
    }
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
}

fn is_default(class: &StorageClass) -> bool {
    let annotations = class.metadata.annotations.as_ref();
    annotations.is_some_and(|all| {
        all.get("storageclass.kubernetes.io/is-default-class")
            .is_some_and(|value| value == "true")
    })
}

fn event_line(event: &Event) -> String {
    let object = event.involved_object.name.as_deref().unwrap_or_default();
    let reason = event.reason.as_deref().unwrap_or_default();
    format!("{object}: {reason}: {}", event.message.as_deref().unwrap_or_default())
}
