//! Reading what rollouts are about: templates, the revisions of them, and the images that really run.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::{ControllerRevision, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use kube::core::{ApiResource, DynamicObject};
use serde_json::Value;

use jm_step::{StepError, clock};

use super::Reader;
use crate::error::step_error;
use crate::owners::controller;
use crate::pod::is_stuck;
use crate::revision::{self, Revision};
use crate::stateful::REVISION_OF;
use crate::workload::Workload;
use crate::workload_ref::{Kind, WorkloadRef};

/// The annotation on a template by which a restart makes it another one.
pub(crate) const RESTARTED: &str = "jm.dev/restarted-by";

/// By an image as it is written: what pods report that they run as that.
pub type Reported = BTreeMap<String, BTreeSet<String>>;

/// A container of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerImage {
    /// Its name.
    pub name: String,
    /// Its image.
    pub image: String,
    /// Whether it only prepares the others.
    pub init: bool,
}

/// The template of a workload.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    /// The workload as it was then.
    pub state: Workload,
    /// Its containers.
    pub containers: Vec<ContainerImage>,
    /// The deed that last restarted it.
    pub restarted_by: Option<String>,
}

/// A pod that has to go before others can come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodInTheWay {
    /// Its name.
    pub name: String,
    /// Its UID: another one under the same name is not in the way.
    pub(crate) uid: String,
}

impl Reader {
    /// The template of a workload.
    pub async fn template(&self, workload: &WorkloadRef) -> Result<Template, StepError> {
        let object = self.workload_object(workload).await?;
        let of = |pointer: &str| object.data.pointer(pointer).and_then(Value::as_array).cloned();
        let named = |list: Option<Vec<Value>>, init: bool| {
            let text = |one: &Value, field: &str| one.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
            list.into_iter().flatten().map(move |one| ContainerImage {
                name: text(&one, "name"),
                image: text(&one, "image"),
                init,
            })
        };
        let marks = object.data.pointer("/spec/template/metadata/annotations");
        let restarted = marks
            .and_then(|marks| marks.get(RESTARTED)?.as_str())
            .map(str::to_owned);
        Ok(Template {
            state: Workload::read(workload, &object),
            containers: named(of("/spec/template/spec/containers"), false)
                .chain(named(of("/spec/template/spec/initContainers"), true))
                .collect(),
            restarted_by: restarted,
        })
    }

    /// The workload, and the revisions of its template, oldest first.
    pub async fn history(&self, workload: &WorkloadRef) -> Result<(Workload, Vec<Revision>), StepError> {
        let object = self.workload_object(workload).await?;
        let state = Workload::read(workload, &object);
        let keeper = match workload.kind {
            Kind::Deployment => ApiResource::erase::<ReplicaSet>(&()),
            _ => ApiResource::erase::<ControllerRevision>(&()),
        };
        let keepers: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &self.namespace, &keeper);
        let doing = format!("cannot list the revisions of {workload}");
        let found = keepers
            .list(&ListParams::default().labels(&state.selector))
            .await
            .map_err(|e| step_error(&doing, e))?;
        let revisions = revision::history(workload.kind, &object, &found.items);
        Ok((state, revisions))
    }

    /// The pods of a StatefulSet that are to give way to those of a revision and will not become ready. In order, as it
    /// replaces them, it would wait for them for ever; all at once, it does not.
    pub async fn in_the_way(&self, workload: &Workload, of: &Revision) -> Result<Vec<PodInTheWay>, StepError> {
        let Some(turns) = workload.turns.as_ref().filter(|turns| turns.waits_for_ready()) else {
            return Ok(Vec::new());
        };
        let pods = self.found_by(workload).await?;
        let owners = self.owners(workload).await?;
        let now = clock::now();
        let is_waited_for = |pod: &Pod| {
            let state = owners.state(pod);
            state.is_some_and(|state| !state.ready && !state.going && !state.ended)
        };
        let stuck = pods
            .iter()
            .filter(|pod| turns.leaves(pod, &of.keeper) && is_waited_for(pod) && is_stuck(pod, now));
        let named = stuck.filter_map(|pod| {
            Some(PodInTheWay {
                name: pod.metadata.name.clone()?,
                uid: pod.metadata.uid.clone()?,
            })
        });
        Ok(named.collect())
    }

    /// What the pods of the newest template report as the image that a container of theirs runs, each once.
    pub async fn running_images(&self, workload: &Workload, container: &str) -> Result<Vec<String>, StepError> {
        let pods = self.found_by(workload).await?;
        let owners = self.owners(workload).await?;
        let newest = pods.iter().filter(|pod| {
            owners
                .state(pod)
                .is_some_and(|state| state.newest && !state.going && !state.ended)
        });
        let statuses = newest.filter_map(|pod| pod.status.as_ref()).flat_map(|status| {
            let all = [&status.init_container_statuses, &status.container_statuses];
            all.into_iter().flatten().flatten()
        });
        let mut images: Vec<String> = statuses
            .filter(|status| status.name == container && !status.image_id.is_empty())
            .map(|status| status.image_id.clone())
            .collect();
        images.sort();
        images.dedup();
        Ok(images)
    }

    /// What the pods of each revision report as the images that they run, by its number.
    pub async fn reported_images(
        &self,
        workload: &Workload,
        revisions: &[Revision],
    ) -> Result<BTreeMap<u64, Reported>, StepError> {
        let mut all: BTreeMap<u64, Reported> = BTreeMap::new();
        for pod in self.found_by(workload).await? {
            let its = revisions.iter().find(|revision| is_of(&pod, workload, revision));
            let Some(revision) = its.filter(|_| pod.metadata.deletion_timestamp.is_none()) else {
                continue;
            };
            let of_it = all.entry(revision.number).or_default();
            for (image, reported) in reported(pod) {
                of_it.entry(image).or_default().insert(reported);
            }
        }
        Ok(all)
    }

    /// The whole object of a workload that has pods of its own.
    pub(crate) async fn workload_object(&self, workload: &WorkloadRef) -> Result<DynamicObject, StepError> {
        if workload.kind == Kind::CronJob {
            return Err(StepError::invalid_input(format!(
                "{workload} has no pods of its own, only Jobs that have"
            )));
        }
        let doing = format!("cannot read {workload} in namespace `{}`", self.namespace);
        self.objects(workload)
            .get(&workload.name)
            .await
            .map_err(|e| step_error(&doing, e))
    }
}

/// Whether a pod was made from this revision of the workload: by its ReplicaSet, or by the workload itself, which names the
/// revision on the pod, a DaemonSet by the end of its name.
fn is_of(pod: &Pod, workload: &Workload, revision: &Revision) -> bool {
    let Some(owner) = controller(&pod.metadata) else {
        return false;
    };
    if owner.uid != workload.uid {
        return owner.name == revision.keeper;
    }
    let hash = pod.metadata.labels.as_ref().and_then(|labels| labels.get(REVISION_OF));
    hash.is_some_and(|hash| *hash == revision.keeper || revision.keeper == format!("{}-{hash}", workload.workload.name))
}

/// Each image of a pod as it is written, and as it is reported.
fn reported(pod: Pod) -> Vec<(String, String)> {
    let (spec, status) = (pod.spec.unwrap_or_default(), pod.status.unwrap_or_default());
    let written: BTreeMap<String, String> = spec
        .init_containers
        .into_iter()
        .flatten()
        .chain(spec.containers)
        .filter_map(|container| Some((container.name, container.image?)))
        .collect();
    let statuses = [status.init_container_statuses, status.container_statuses];
    let statuses = statuses.into_iter().flatten().flatten();
    statuses
        .filter(|status| !status.image_id.is_empty())
        .filter_map(|status| Some((written.get(&status.name)?.clone(), status.image_id)))
        .collect()
}
