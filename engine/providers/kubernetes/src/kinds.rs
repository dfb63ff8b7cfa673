//! Which kinds of workload a step type takes.

use jm_client_kubernetes::{Kind, WorkloadRef};
use jm_step::InputIssue;

/// What is wrong with a workload of which a rollout is asked; nothing for those that have some.
pub(crate) fn without_rollouts(at: &str, workload: &WorkloadRef) -> Option<InputIssue> {
    (workload.kind == Kind::CronJob).then(|| {
        InputIssue::at(
            at,
            format!("{workload} has no rollouts: its next Job takes the newest template"),
        )
        .help("name a Deployment, a StatefulSet or a DaemonSet")
    })
}
