//! Autoscalers: the bounds within which they keep a workload.

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::workload_ref::WorkloadRef;

/// The bounds of the autoscaler of a workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Autoscaler {
    /// Its name.
    pub name: String,
    /// The least replicas that it keeps.
    pub min: u32,
    /// The most.
    pub max: u32,
}

impl Autoscaler {
    /// The autoscaler, if it is the one of this workload.
    pub(crate) fn of(workload: &WorkloadRef, hpa: &HorizontalPodAutoscaler) -> Option<Self> {
        let spec = &hpa.spec;
        let target = &spec.scale_target_ref;
        let same = target.kind.eq_ignore_ascii_case(workload.kind.as_str()) && target.name == workload.name;
        same.then(|| Self {
            name: hpa.metadata.name.clone().unwrap_or_default(),
            min: spec.min_replicas.map_or(1, count),
            max: count(spec.max_replicas),
        })
    }
}

/// A count of the API, which writes them as signed numbers.
fn count(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0)
}
