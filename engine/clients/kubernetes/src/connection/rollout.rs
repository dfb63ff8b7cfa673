//! Writes that begin a rollout.

use kube::api::{DeleteParams, Patch, PostParams, Preconditions};
use serde_json::json;

use jm_step::{StepError, StepErrorKind};

use super::{FIELD_MANAGER, Kubernetes, parameters};
use crate::error::step_error;
use crate::reader::{ContainerImage, PodInTheWay, RESTARTED, Template};
use crate::revision::{CAUSE, Revision};
use crate::workload::Workload;

impl Kubernetes {
    /// Gives a container another image. Where somebody has changed the workload since it was read, nothing is written,
    /// and the error is a conflict.
    pub async fn set_image(&self, seen: &Workload, container: &ContainerImage, image: &str) -> Result<(), StepError> {
        let workload = &seen.workload;
        let field = if container.init { "initContainers" } else { "containers" };
        let patch = json!({
            "metadata": { "resourceVersion": seen.version },
            "spec": { "template": { "spec": { (field): [{ "name": container.name, "image": image }] } } },
        });
        // By its name a container is told from the others: a merge patch would replace them all.
        let patched = self
            .reader
            .objects(workload)
            .patch(&workload.name, &parameters(), &Patch::Strategic(patch))
            .await;
        let doing = format!("cannot set the image of container `{}` of {workload}", container.name);
        patched.map(drop).map_err(|error| step_error(&doing, error))
    }

    /// Makes the template another one by the name of the deed that wants its pods renewed. The same deed again changes
    /// nothing.
    pub async fn restart(&self, seen: &Template, deed: &str) -> Result<(), StepError> {
        let workload = &seen.state.workload;
        let patch = json!({ "spec": { "template": { "metadata": { "annotations": { RESTARTED: deed } } } } });
        self.merge(&format!("cannot restart {workload}"), workload, &patch)
            .await
            .map(drop)
    }

    /// Deletes a pod, unless it is gone already, so that one of the newest template comes in its place.
    pub async fn clear(&self, pod: &PodInTheWay) -> Result<(), StepError> {
        let it = Preconditions {
            uid: Some(pod.uid.clone()),
            resource_version: None,
        };
        let parameters = DeleteParams::default().preconditions(it);
        let deleted = self.reader.pod_api().delete(&pod.name, &parameters).await;
        let doing = format!("cannot delete pod `{}`", pod.name);
        match deleted.map_err(|error| step_error(&doing, error)) {
            Ok(_) => Ok(()),
            Err(error) if matches!(error.kind(), StepErrorKind::NotFound | StepErrorKind::Conflict) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Makes a revision's template the workload's own. Where somebody has changed the workload since it was read, nothing
    /// is written, and the error is a conflict.
    pub async fn roll_back(&self, seen: &Workload, revision: &Revision) -> Result<(), StepError> {
        let workload = &seen.workload;
        let doing = format!("cannot bring {workload} back to revision {}", revision.number);
        let mut object = self.reader.workload_object(workload).await?;
        // The server compares it with what it has then.
        object.metadata.resource_version = Some(seen.version.clone());
        object.data["spec"]["template"] = revision.template.clone();
        let annotations = object.metadata.annotations.get_or_insert_default();
        match &revision.cause {
            Some(cause) => annotations.insert(CAUSE.to_owned(), cause.clone()),
            None => annotations.remove(CAUSE),
        };
        let parameters = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let replaced = self
            .reader
            .objects(workload)
            .replace(&workload.name, &parameters, &object)
            .await;
        replaced.map(drop).map_err(|error| step_error(&doing, error))
    }
}
