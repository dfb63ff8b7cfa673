//! What jm has stopped and nobody has started again, told by the marks on the objects alone.

use jiff::Timestamp;
use kube::Api;
use kube::api::ListParams;
use kube::core::DynamicObject;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use jm_step::StepError;

use crate::cron_job::SUSPEND_MARK;
use crate::error::step_error;
use crate::managed::noted_at;
use crate::reader::Reader;
use crate::workload::{MARK, SCALED_FROM};
use crate::workload_ref::{Kind, WorkloadRef};

/// A workload that jm has scaled to nothing, or suspended, and that still is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stopped {
    /// Which one.
    pub workload: WorkloadRef,
    /// How many replicas it had. Absent of a CronJob.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// Since when, by the API server's clock. Absent where the server does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub since: Option<Timestamp>,
}

/// What a look at a namespace found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// How many workloads there are that jm could stop.
    pub looked_at: usize,
    /// Those that jm has stopped, by name.
    pub stopped: Vec<Stopped>,
}

impl Stopped {
    fn read(workload: WorkloadRef, object: &DynamicObject) -> Option<Self> {
        let marks = object.metadata.annotations.as_ref()?;
        let marked = |mark: &'static str| marks.get(mark).map(|text| (mark, text.as_str()));
        let (mark, replicas) = if workload.kind == Kind::CronJob {
            let suspended = object.data.pointer("/spec/suspend") == Some(&Value::Bool(true));
            let (mark, _) = marked(SUSPEND_MARK).filter(|(_, before)| suspended && *before == "false")?;
            (mark, None)
        } else {
            let is_at_zero = object.data.pointer("/spec/replicas").and_then(Value::as_u64) == Some(0);
            let (mark, count) = marked(MARK).or(marked(SCALED_FROM)).filter(|_| is_at_zero)?;
            (mark, count.parse().ok())
        };
        Some(Self {
            workload,
            replicas,
            since: noted_at(&object.metadata, mark),
        })
    }
}

impl Reader {
    /// What jm has stopped in the namespace, whichever run it was and on whichever machine.
    pub async fn stopped(&self) -> Result<Found, StepError> {
        let mut found = Found::default();
        for kind in [Kind::CronJob, Kind::Deployment, Kind::StatefulSet] {
            let resource = kind.resource();
            let doing = format!(
                "cannot list the {} of namespace `{}`",
                resource.plural,
                self.namespace()
            );
            let all: Api<DynamicObject> = Api::namespaced_with(self.client().clone(), self.namespace(), &resource);
            let listed = all.list(&ListParams::default()).await;
            let objects = listed.map_err(|error| step_error(&doing, error))?.items;
            found.looked_at += objects.len();
            found.stopped.extend(objects.iter().filter_map(|object| {
                let name = object.metadata.name.clone()?;
                Stopped::read(WorkloadRef { kind, name }, object)
            }));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(kind: Kind, marks: Value, spec: Value) -> Option<Stopped> {
        let name = "web".to_owned();
        let object = json!({ "metadata": { "name": name, "annotations": marks }, "spec": spec });
        let object = serde_json::from_value(object).expect("an object");
        Stopped::read(WorkloadRef { kind, name }, &object)
    }

    #[test]
    fn only_what_is_marked_and_still_stopped_counts() {
        let count = |marks, spec| read(Kind::Deployment, marks, spec).map(|stopped| stopped.replicas);
        assert_eq!(count(json!({ (MARK): "3" }), json!({ "replicas": 0 })), Some(Some(3)));
        assert_eq!(
            count(json!({ (SCALED_FROM): "2" }), json!({ "replicas": 0 })),
            Some(Some(2))
        );
        assert_eq!(
            count(json!({ (MARK): "3" }), json!({ "replicas": 1 })),
            None,
            "it runs again"
        );
        assert_eq!(count(json!({ (MARK): "3" }), json!({})), None, "one by default");
        assert_eq!(
            count(json!({ "mine": "1" }), json!({ "replicas": 0 })),
            None,
            "somebody wants it so"
        );
        let job = |before: &str, suspend| {
            read(
                Kind::CronJob,
                json!({ (SUSPEND_MARK): before }),
                json!({ "suspend": suspend }),
            )
        };
        assert!(job("false", true).is_some());
        assert!(job("false", false).is_none(), "it starts Jobs again");
        assert!(job("true", true).is_none(), "it rested before");
    }
}
