//! Autoscalers: the bounds within which they keep a workload.

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::workload_ref::WorkloadRef;

/// The annotation that keeps, on a quiesced workload, the bounds that its autoscaler had, as JSON: it tells a person who has
/// no journal, and what brings the workload back where the autoscaler is gone.
pub const BOUNDS_MARK: &str = "jm.dev/autoscaler-before-quiesce";

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
    /// The bounds as the mark keeps them.
    pub(crate) fn marked(mark: &str) -> Option<Self> {
        serde_json::from_str(mark).ok()
    }

    /// The mark that keeps the bounds.
    pub(crate) fn mark(&self) -> String {
        serde_json::json!(self).to_string()
    }

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
