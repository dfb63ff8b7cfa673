//! A writer: something that writes to the data and can be stopped for a while, by its count of replicas or by its
//! schedule.

use jm_client_kubernetes::{CronJob, Kind, Kubernetes, Reader, Workload, WorkloadRef};
use jm_step::{Change, InputIssue, ReadContext, StepError};
use serde_json::{Value, json};

use crate::quiesce::QuiescedWorkload;
use crate::wait;

/// A writer as it is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Writer {
    /// It has replicas.
    Scaled(Box<Workload>),
    /// It starts Jobs by a schedule.
    Scheduled(CronJob),
}

/// What is wrong with the workloads of an input that are to be stopped.
pub(crate) fn issues(workloads: &[WorkloadRef]) -> Vec<InputIssue> {
    if workloads.is_empty() {
        return vec![
            InputIssue::at("/workloads", "no workload is named")
                .help("name every writer, such as `deployment/backend-deployment`"),
        ];
    }
    let each = workloads.iter().enumerate().filter_map(|(index, workload)| {
        let at = format!("/workloads/{index}");
        if workload.kind == Kind::DaemonSet {
            return Some(daemon_set(&at, workload));
        }
        let twice = workloads[..index].contains(workload);
        twice.then(|| InputIssue::at(at, format!("{workload} is named twice")))
    });
    each.collect()
}

/// Why a DaemonSet is not among what can be stopped.
pub(crate) fn daemon_set(at: &str, workload: &WorkloadRef) -> InputIssue {
    InputIssue::at(
        at,
        format!("{workload} has no count of replicas: it runs a pod on every node that fits"),
    )
    .help("if it writes to the data, stop it by hand (`manual.task`), or let it write through a Deployment")
}

/// Gives a workload the count that earlier steps of a dry run say that they leave it with.
pub(crate) fn count_as_announced(cx: &ReadContext, state: &mut Workload) {
    let after = cx.announced(&state.workload.to_string());
    if let Some(count) = after.and_then(|after| after.get("replicas")?.as_u64()) {
        state.replicas = u32::try_from(count).unwrap_or(u32::MAX);
    }
}

impl Writer {
    pub(crate) async fn look(cluster: &Reader, workload: &WorkloadRef) -> Result<Self, StepError> {
        Ok(match workload.kind {
            Kind::CronJob => Self::Scheduled(cluster.cron_job(workload).await?),
            _ => Self::Scaled(Box::new(cluster.workload(workload).await?)),
        })
    }

    pub(crate) fn workload(&self) -> &WorkloadRef {
        match self {
            Self::Scaled(state) => &state.workload,
            Self::Scheduled(job) => &job.workload,
        }
    }

    /// Whether nothing new of it is wanted. What is there of it may still be ending.
    pub(crate) fn is_stopped(&self) -> bool {
        match self {
            Self::Scaled(state) => state.replicas == 0,
            Self::Scheduled(job) => job.suspended,
        }
    }

    /// The writer as earlier steps of a dry run say that they leave it.
    pub(crate) fn with_announced(mut self, cx: &ReadContext) -> Self {
        match &mut self {
            Self::Scaled(state) => count_as_announced(cx, state),
            Self::Scheduled(job) => {
                let after = cx.announced(&job.workload.to_string());
                let suspended = after.and_then(|after| after.get("suspended")?.as_bool());
                job.suspended = suspended.unwrap_or(job.suspended);
            }
        }
        self
    }

    /// What stopping it changes; `None` where it is stopped already.
    pub(crate) fn stopping(&self) -> Option<Change> {
        if self.is_stopped() {
            return None;
        }
        Some(match self {
            Self::Scaled(state) => self.to(json!({ "replicas": state.replicas }), json!({ "replicas": 0 })),
            Self::Scheduled(_) => self.to(json!({ "suspended": false }), json!({ "suspended": true })),
        })
    }

    /// Who will undo what is changed of it, where somebody would.
    pub(crate) fn warning(&self) -> Option<String> {
        let keeper = match self {
            Self::Scaled(state) => &state.keeper,
            Self::Scheduled(job) => &job.keeper,
        };
        let keeper = keeper.as_ref()?;
        Some(keeper.warning(1, &self.workload().to_string()))
    }

    /// A change of the writer from one state to another.
    pub(crate) fn to(&self, before: Value, after: Value) -> Change {
        Change::update(self.workload().to_string(), before, after)
    }

    /// Stops it, and marks on it what to come back to.
    pub(crate) async fn stop(&self, cluster: &Kubernetes, before: &QuiescedWorkload) -> Result<(), StepError> {
        match self {
            Self::Scaled(state) => {
                let stopped = cluster.quiesce(state, before.replicas, before.autoscaler.as_ref());
                stopped.await.map(drop)
            }
            Self::Scheduled(job) => cluster.suspend(job).await,
        }
    }

    /// What is left of it: names of its pods or Jobs. It is stopped when nothing is.
    pub(crate) async fn left(&self, cluster: &Reader) -> Result<Vec<String>, StepError> {
        match self {
            Self::Scaled(state) => wait::remaining(cluster, &state.workload).await.map(|(_, left)| left),
            Self::Scheduled(job) => cluster.running_jobs(job).await,
        }
    }

    /// Whether it is stopped and its controller has seen to it.
    pub(crate) fn has_settled(&self) -> bool {
        match self {
            Self::Scaled(state) => state.is_stopped(),
            Self::Scheduled(job) => job.suspended,
        }
    }

    /// How it stands, for people.
    pub(crate) fn shown(&self, left: usize) -> String {
        match self {
            Self::Scaled(state) => format!(
                "{} wants {} replicas and has {left} pods",
                state.workload, state.replicas
            ),
            Self::Scheduled(job) => {
                let suspended = if job.suspended { "" } else { "not " };
                format!("{} is {suspended}suspended and has {left} running Jobs", job.workload)
            }
        }
    }
}
