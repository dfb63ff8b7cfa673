//! The side of a cluster that cannot write.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::{CronJob as CronJobObject, Job};
use k8s_openapi::api::core::v1::{Event, Namespace, Node, Pod, ReplicationController};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::ListParams;
use kube::core::DynamicObject;
use kube::{Api, Client};

use jm_step::{StepError, StepErrorKind};

use crate::autoscaler::Autoscaler;
use crate::cron_job::CronJob;
use crate::error::step_error;
use crate::kind::group_of;
use crate::owners::{Owners, controller};
use crate::pod::PodState;
use crate::workload::Workload;
use crate::workload_ref::{Kind, WorkloadRef};

mod follow;
pub use follow::{Following, Heard};
mod people;
pub use people::{Containers, LogRequest};
mod pull;
mod rollout;
pub(crate) use rollout::RESTARTED;
pub use rollout::{ContainerImage, PodInTheWay, Reported, Template};

/// The most lines that a failure takes from the events of a namespace.
const MOST_EVENTS: usize = 10;

/// What a cluster says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterInfo {
    /// Version of the API server, such as `v1.36.2`.
    pub version: String,
    /// Nodes.
    pub nodes: u32,
    /// Nodes that are ready and take pods: not those that are cordoned.
    pub ready_nodes: u32,
    /// The default storage class, where there is one.
    pub default_storage_class: Option<String>,
}

/// Reads one namespace of a cluster. It has no method that writes, and does not give its client away.
#[derive(Clone)]
pub struct Reader {
    client: Client,
    namespace: String,
    program: Option<String>,
}

impl Reader {
    pub(crate) fn new(client: Client, namespace: String, program: Option<String>) -> Self {
        Self {
            client,
            namespace,
            program,
        }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The namespace that the target names.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The same of another namespace of the cluster.
    pub fn in_namespace(&self, namespace: &str) -> Self {
        Self::new(self.client.clone(), namespace.to_owned(), self.program.clone())
    }

    /// The program that the kubeconfig has for credentials, with its arguments: it is run on this machine, with all rights
    /// that jm has.
    pub fn program(&self) -> Option<&str> {
        self.program.as_deref()
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

    /// Version of the API server, such as `v1.36.2`.
    pub async fn server_version(&self) -> Result<String, StepError> {
        let version = self.client.apiserver_version().await;
        version
            .map(|version| version.git_version)
            .map_err(|e| step_error("cannot read the API server's version", e))
    }

    /// What the cluster says of itself.
    pub async fn cluster(&self) -> Result<ClusterInfo, StepError> {
        let version = self.server_version().await?;
        let nodes: Api<Node> = Api::all(self.client.clone());
        let nodes = nodes
            .list(&ListParams::default())
            .await
            .map_err(|e| step_error("cannot list nodes", e))?
            .items;
        let ready = nodes.iter().filter(|node| is_ready(node) && !is_cordoned(node)).count();
        let classes: Api<StorageClass> = Api::all(self.client.clone());
        let classes = classes
            .list(&ListParams::default())
            .await
            .map_err(|e| step_error("cannot list storage classes", e))?;
        Ok(ClusterInfo {
            version,
            nodes: u32::try_from(nodes.len()).unwrap_or(u32::MAX),
            ready_nodes: u32::try_from(ready).unwrap_or(u32::MAX),
            default_storage_class: classes
                .items
                .into_iter()
                .find(is_default)
                .and_then(|class| class.metadata.name),
        })
    }

    /// What keeps the namespace from being used: that it is not there, or is being deleted. `None` where nothing does.
    pub async fn namespace_trouble(&self) -> Result<Option<String>, StepError> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let doing = format!("cannot read namespace `{}`", self.namespace);
        let found = namespaces
            .get_opt(&self.namespace)
            .await
            .map_err(|e| step_error(&doing, e))?;
        Ok(match found {
            None => Some(format!("namespace `{}` is not there", self.namespace)),
            Some(namespace) => namespace
                .metadata
                .deletion_timestamp
                .map(|_| format!("namespace `{}` is being deleted", self.namespace)),
        })
    }

    /// A CronJob as it is now.
    pub async fn cron_job(&self, workload: &WorkloadRef) -> Result<CronJob, StepError> {
        let doing = format!("cannot read {workload} in namespace `{}`", self.namespace);
        let all: Api<CronJobObject> = Api::namespaced(self.client.clone(), &self.namespace);
        let found = all.get(&workload.name).await.map_err(|e| step_error(&doing, e))?;
        Ok(CronJob::read(workload, &found))
    }

    /// The Jobs of a CronJob that are still running.
    pub async fn running_jobs(&self, of: &CronJob) -> Result<Vec<String>, StepError> {
        let doing = format!("cannot list the Jobs of {}", of.workload);
        let all: Api<Job> = Api::namespaced(self.client.clone(), &self.namespace);
        let found = all
            .list(&ListParams::default())
            .await
            .map_err(|e| step_error(&doing, e))?;
        let running = found.items.into_iter().filter(|job| of.is_running(job));
        Ok(running.filter_map(|job| job.metadata.name).collect())
    }

    /// A workload that has pods of its own, as it is now.
    pub async fn workload(&self, workload: &WorkloadRef) -> Result<Workload, StepError> {
        let object = self.workload_object(workload).await?;
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

    /// The pods of a workload in short: those that its selector finds, without those that belong to another one.
    pub async fn pods(&self, workload: &Workload) -> Result<Vec<PodState>, StepError> {
        let found = self.found_by(workload).await?;
        let owners = self.owners(workload).await?;
        Ok(found.iter().filter_map(|pod| owners.state(pod)).collect())
    }

    /// The pods of a workload, whole.
    async fn pod_objects(&self, workload: &Workload) -> Result<Vec<Pod>, StepError> {
        let mut found = self.found_by(workload).await?;
        let owners = self.owners(workload).await?;
        found.retain(|pod| owners.state(pod).is_some());
        Ok(found)
    }

    async fn found_by(&self, workload: &Workload) -> Result<Vec<Pod>, StepError> {
        let doing = format!("cannot list the pods of {}", workload.workload);
        let wanted = ListParams::default().labels(&workload.selector);
        let found = self.pod_api().list(&wanted).await;
        found.map(|found| found.items).map_err(|e| step_error(&doing, e))
    }

    pub(crate) fn pod_api(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// What owns the pods of a workload.
    async fn owners(&self, workload: &Workload) -> Result<Owners, StepError> {
        if workload.workload.kind != Kind::Deployment {
            return Ok(Owners::itself(workload));
        }
        let sets: Api<ReplicaSet> = Api::namespaced(self.client.clone(), &self.namespace);
        let doing = format!("cannot list the ReplicaSets of {}", workload.workload);
        match sets.list(&ListParams::default().labels(&workload.selector)).await {
            Ok(found) => Ok(Owners::sets(workload, &found.items)),
            Err(error) => match step_error(&doing, error) {
                // Who may not see them cannot tell whose pods they are; then all that the selector finds count.
                denied if denied.kind() == StepErrorKind::Denied => Ok(Owners::unknown()),
                error => Err(error),
            },
        }
    }

    /// How many workloads there are outside of the namespaces that Kubernetes keeps for itself, and of those named here:
    /// all that runs something, but for what another one of them makes.
    pub async fn count_workloads(&self, besides: &[String]) -> Result<usize, StepError> {
        Ok(self.count_of::<Deployment>(besides).await?
            + self.count_of::<StatefulSet>(besides).await?
            + self.count_of::<DaemonSet>(besides).await?
            + self.count_of::<CronJobObject>(besides).await?
            + self.count_of::<Job>(besides).await?
            + self.count_of::<ReplicaSet>(besides).await?
            + self.count_of::<ReplicationController>(besides).await?
            + self.count_of::<Pod>(besides).await?)
    }

    async fn count_of<K>(&self, besides: &[String]) -> Result<usize, StepError>
    where
        K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
    {
        let doing = format!("cannot list the cluster's {}", K::plural(&()));
        let found = Api::<K>::all(self.client.clone())
            .list_metadata(&ListParams::default())
            .await;
        let found = match found.map_err(|e| step_error(&doing, e)) {
            Ok(found) => found,
            // An API server that does not serve the kind has none of it.
            Err(error) if error.kind() == StepErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(error),
        };
        let is_own = |name: &str| !name.starts_with("kube-") && !besides.iter().any(|other| other == name);
        let own = found.items.iter().filter(|object| {
            let metadata = &object.metadata;
            metadata.namespace.as_deref().is_some_and(is_own) && !is_counted_by_its_maker(metadata)
        });
        Ok(own.count())
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
                .is_some_and(|of| people::is_about(of, name))
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

/// Whether a workload that is counted itself makes it, or a node, which runs nothing of anybody's.
fn is_counted_by_its_maker(metadata: &ObjectMeta) -> bool {
    controller(metadata).is_some_and(|maker| {
        let group = group_of(&maker.api_version);
        ["", "apps", "batch"].contains(&group)
    })
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
}

fn is_cordoned(node: &Node) -> bool {
    node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true)
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
