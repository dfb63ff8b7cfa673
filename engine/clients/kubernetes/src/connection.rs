//! The connection: a reader, and the few writes that recovery needs.

use jm_step::{
    Connection, Environment, Identity, InputIssue, NamedFile, OpenContext, Policy, Right, Rights, StepError,
    StepErrorKind,
};
use kube::api::{Patch, PatchParams};
use kube::core::DynamicObject;
use serde_json::{Value, json};

use crate::autoscaler::{Autoscaler, BOUNDS_MARK};
use crate::config::Config;
use crate::cron_job::{CronJob, SUSPEND_MARK};
use crate::error::step_error;
use crate::patience::Patience;
use crate::reader::Reader;
use crate::rights;
use crate::steady;
use crate::workload::{MARK, SCALED_FROM, Workload};
use crate::workload_ref::WorkloadRef;

mod rollout;

/// The name under which the API server records jm's changes.
pub(crate) const FIELD_MANAGER: &str = "jm";

/// An open cluster.
pub struct Kubernetes {
    reader: Reader,
}

impl Connection for Kubernetes {
    const PROVIDER: &'static str = "kubernetes";
    type Config = Config;
    type Reader = Reader;

    async fn open(config: Config, cx: &OpenContext) -> Result<Self, StepError> {
        let (client, program) = steady::client(&config, cx).await?;
        Ok(Self {
            reader: Reader::new(client, config.namespace, program),
        })
    }

    async fn ping(&self) -> Result<(), StepError> {
        self.reader.cluster_uid().await.map(drop)
    }

    async fn identity(&self) -> Result<Identity, StepError> {
        self.reader.cluster_uid().await.map(Identity::single)
    }

    /// That a namespace is Kubernetes' own is for a guard to say, when the system is opened.
    fn check(config: &Config, _: &Environment) -> Vec<InputIssue> {
        let wrong = config.check_namespace().err();
        let invalid = wrong.iter().filter(|error| error.kind() == StepErrorKind::InvalidInput);
        invalid.map(|error| InputIssue::of("/namespace", error)).collect()
    }

    fn files(config: &Config, environment: &Environment) -> Vec<NamedFile> {
        config.named_files(environment)
    }

    fn address(config: &Config, cx: &OpenContext) -> Option<String> {
        Some(format!("{} at {}", config.namespace, config.server(cx)?))
    }

    fn follows(config: &Config) -> Option<&'static str> {
        config
            .context
            .is_empty()
            .then_some("the current context of the kubeconfig")
    }

    fn starts(config: &Config, cx: &OpenContext) -> Option<String> {
        config.program(cx)
    }

    /// The namespace is what steps act in: what runs beside it in the cluster is another's.
    fn held_as(&self, identity: &Identity) -> String {
        format!("{}, namespace {}", identity, self.reader.namespace())
    }

    fn reader(&self) -> &Reader {
        &self.reader
    }

    fn knows_right(right: &str) -> bool {
        rights::is_known(right)
    }

    async fn rights(reader: &Reader, needed: &Rights) -> Result<Vec<Right>, StepError> {
        reader.rights(needed).await
    }

    async fn policy(reader: &Reader, needed: &Rights, account: &str) -> Result<Option<Policy>, StepError> {
        reader.policy_for(needed, account).await.map(Some)
    }
}

impl std::ops::Deref for Kubernetes {
    type Target = Reader;
    fn deref(&self) -> &Reader {
        &self.reader
    }
}

impl Kubernetes {
    /// Scales a workload to nothing and marks it, in one write, with the count to come back to and the bounds of its
    /// autoscaler. Where somebody has changed the workload since it was read, nothing is written, and the error is a
    /// conflict: the count may not be the right one any more.
    pub async fn quiesce(
        &self,
        seen: &Workload,
        count: Option<u32>,
        autoscaler: Option<&Autoscaler>,
    ) -> Result<Workload, StepError> {
        let workload = &seen.workload;
        let mut marks = json!({ BOUNDS_MARK: autoscaler.map(Autoscaler::mark) });
        if let Some(count) = count {
            marks[MARK] = count.to_string().into();
        }
        let patch = json!({
            "metadata": { "annotations": marks, "resourceVersion": seen.version },
            "spec": { "replicas": 0 },
        });
        self.patch(&format!("cannot scale {workload} to 0"), workload, &patch)
            .await
    }

    /// Scales a workload and takes the marks off, in one write.
    pub async fn resume(&self, workload: &WorkloadRef, replicas: u32) -> Result<Workload, StepError> {
        let unmarked = json!({ MARK: null, BOUNDS_MARK: null, SCALED_FROM: null });
        let patch = json!({ "metadata": { "annotations": unmarked }, "spec": { "replicas": replicas } });
        self.patch(&format!("cannot scale {workload} to {replicas}"), workload, &patch)
            .await
    }

    /// Scales a workload and notes on it, in one write, how many replicas it had where it is to have none; else it takes the
    /// note off, which would be taken for the count before a zero that somebody else sets. Leaves everything else alone.
    pub async fn scale(&self, workload: &WorkloadRef, previous: u32, replicas: u32) -> Result<Workload, StepError> {
        let note = json!({ SCALED_FROM: (replicas == 0).then(|| previous.to_string()) });
        let patch = json!({ "metadata": { "annotations": note }, "spec": { "replicas": replicas } });
        self.patch(&format!("cannot scale {workload} to {replicas}"), workload, &patch)
            .await
    }

    /// Suspends a CronJob and marks, in one write, that it was not suspended before. Where somebody has changed it since
    /// it was read, nothing is written, and the error is a conflict.
    pub async fn suspend(&self, seen: &CronJob) -> Result<(), StepError> {
        let workload = &seen.workload;
        let patch = json!({
            "metadata": { "annotations": { SUSPEND_MARK: "false" }, "resourceVersion": seen.version },
            "spec": { "suspend": true },
        });
        self.merge(&format!("cannot suspend {workload}"), workload, &patch)
            .await
            .map(drop)
    }

    /// Lets a CronJob start Jobs again and takes the mark off, in one write.
    pub async fn unsuspend(&self, workload: &WorkloadRef) -> Result<(), StepError> {
        let patch = json!({ "metadata": { "annotations": { SUSPEND_MARK: null } }, "spec": { "suspend": false } });
        self.merge(&format!("cannot let {workload} start Jobs again"), workload, &patch)
            .await
            .map(drop)
    }

    async fn patch(&self, doing: &str, workload: &WorkloadRef, patch: &Value) -> Result<Workload, StepError> {
        let patched = self.merge(doing, workload, patch).await?;
        Ok(Workload::read(workload, &patched))
    }

    /// A patch that holds to no version says the same however often it is sent, so it is sent again where the server fails,
    /// or others write in the same moment.
    async fn merge(&self, doing: &str, workload: &WorkloadRef, patch: &Value) -> Result<DynamicObject, StepError> {
        let objects = self.reader.objects(workload);
        let holds_to_a_version = patch.pointer("/metadata/resourceVersion").is_some();
        let mut patience = Patience::new();
        loop {
            let patched = objects
                .patch(&workload.name, &parameters(), &Patch::Merge(patch))
                .await
                .map_err(|error| step_error(doing, error));
            match patched {
                Err(error) if !holds_to_a_version && may_pass(&error) && patience.once_more().await => {}
                patched => return patched,
            }
        }
    }
}

fn may_pass(error: &StepError) -> bool {
    matches!(error.kind(), StepErrorKind::Conflict | StepErrorKind::Unavailable)
}

/// How patches are sent.
fn parameters() -> PatchParams {
    PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    }
}
