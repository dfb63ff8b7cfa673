//! CronJobs: writers that come and go by a schedule. They are stopped by suspending them.

use k8s_openapi::api::batch::v1::{CronJob as Object, Job};

use crate::keeper::Keeper;
use crate::workload_ref::WorkloadRef;

/// The annotation that keeps on a suspended CronJob that it was not suspended before the quiesce.
pub const SUSPEND_MARK: &str = "jm.dev/suspended-before-quiesce";

/// A CronJob as the API server has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CronJob {
    /// Which one.
    pub workload: WorkloadRef,
    /// Its UID, by which its Jobs name it.
    pub uid: String,
    /// The version of the object that this was read from: a write that holds to it fails where somebody was faster.
    pub version: String,
    /// Whether it starts no Jobs.
    pub suspended: bool,
    /// Whether it was suspended before the quiesce, where there is a mark of one.
    pub mark: Option<bool>,
    /// Who else keeps it as it is.
    pub keeper: Option<Keeper>,
}

impl CronJob {
    pub(crate) fn read(workload: &WorkloadRef, object: &Object) -> Self {
        let marks = object.metadata.annotations.as_ref();
        Self {
            workload: workload.clone(),
            uid: object.metadata.uid.clone().unwrap_or_default(),
            version: object.metadata.resource_version.clone().unwrap_or_default(),
            suspended: object.spec.suspend.unwrap_or(false),
            mark: marks
                .and_then(|marks| marks.get(SUSPEND_MARK))
                .and_then(|mark| mark.parse().ok()),
            keeper: Keeper::of_workload(workload, &object.metadata),
        }
    }

    /// Whether a Job is one of its own that still has pods or is yet to have some.
    pub(crate) fn is_running(&self, job: &Job) -> bool {
        let owners = job.metadata.owner_references.as_deref().unwrap_or_default();
        let ours = owners
            .iter()
            .any(|owner| owner.controller == Some(true) && owner.uid == self.uid);
        let status = job.status.as_ref();
        let conditions = status
            .and_then(|status| status.conditions.as_deref())
            .unwrap_or_default();
        let over = conditions
            .iter()
            .any(|one| matches!(one.type_.as_str(), "Complete" | "Failed") && one.status == "True");
        let active = status.and_then(|status| status.active).unwrap_or(0);
        // A Job that is suspended itself has no pods and never ends.
        let rests = job.spec.as_ref().and_then(|spec| spec.suspend) == Some(true) && active == 0;
        ours && !over && !rests
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn nightly() -> CronJob {
        let object = json!({ "metadata": { "name": "nightly", "uid": "u", "annotations": { (SUSPEND_MARK): "false" } },
            "spec": { "schedule": "@daily", "suspend": true, "jobTemplate": {} } });
        CronJob::read(
            &"cronjob/nightly".parse().expect("a name"),
            &serde_json::from_value(object).expect("a CronJob"),
        )
    }

    fn runs(owner: &str, spec: Value, status: Value) -> bool {
        let owners = json!([{ "apiVersion": "batch/v1", "kind": "CronJob", "name": "nightly", "uid": owner, "controller": true }]);
        let mut spec = spec;
        spec["template"] = json!({});
        let job = json!({ "metadata": { "name": "j", "ownerReferences": owners }, "spec": spec, "status": status });
        nightly().is_running(&serde_json::from_value(job).expect("a Job"))
    }

    #[test]
    fn the_mark_is_read() {
        assert_eq!((nightly().suspended, nightly().mark), (true, Some(false)));
    }

    #[test]
    fn only_its_own_jobs_that_can_still_write_are_waited_for() {
        assert!(runs("u", json!({}), json!({ "active": 1 })));
        assert!(runs("u", json!({}), json!({})), "its pods are yet to come");
        assert!(!runs("other", json!({}), json!({ "active": 1 })));
        let ended = |how: &str| json!({ "conditions": [{ "type": how, "status": "True" }] });
        assert!(!runs("u", json!({}), ended("Complete")));
        assert!(!runs("u", json!({}), ended("Failed")));
        assert!(!runs("u", json!({ "suspend": true }), json!({})));
        assert!(
            runs("u", json!({ "suspend": true }), json!({ "active": 1 })),
            "its pods are still ending"
        );
    }
}
