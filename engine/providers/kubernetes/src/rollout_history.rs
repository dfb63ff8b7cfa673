//! `kubernetes.rollout_history`: the revisions of a workload, as `kubectl rollout history` knows them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jm_client_kubernetes::{Kubernetes, Reader, Reported, Revision, WorkloadRef};
use jm_client_registry::{ImageRef, reported_digest};
use jm_step::{
    Effect, InputIssue, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError, StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::needs;
use crate::{kinds, wait};

/// The step type `kubernetes.rollout_history`.
pub struct RolloutHistory;

/// Whose revisions.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Which Deployment, StatefulSet or DaemonSet.
    workload: WorkloadRef,
    /// The revision that is asked about: what there is to know of it is in the output. Without it: the one before.
    #[serde(default)]
    revision: Option<u64>,
}

/// The revisions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// The number of the one that is the workload's template now.
    current: u64,
    /// The number of the one before it, to which an undo goes back: the newest that runs something else, so not one that only
    /// a restart has made. Absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<u64>,
    /// The revision that was asked about; absent where it is not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    asked: Option<Line>,
    /// All that are kept, oldest first.
    revisions: Vec<Line>,
}

/// A revision in one line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Line {
    /// Its number.
    revision: u64,
    /// Whether it is the workload's template now.
    current: bool,
    /// When it was made, as RFC 3339.
    created: String,
    /// The images of its containers, as they are written.
    images: Vec<String>,
    /// Why it was made: the annotation `kubernetes.io/change-cause`; empty where nobody said so.
    change_cause: String,
    /// The digest of each of them that is known: the image is written by it, or the revision has pods, which report it.
    #[serde(default)]
    digests: BTreeMap<String, String>,
}

impl Line {
    fn of(revision: &Revision, reported: Option<&Reported>) -> Self {
        let digest = |image: &String| {
            let written = ImageRef::parse(image).ok().and_then(|image| image.digest);
            let digest = written.or_else(|| one_digest(reported?.get(image)?));
            digest.map(|digest| (image.clone(), digest.to_owned()))
        };
        Self {
            revision: revision.number,
            current: revision.current,
            created: revision.created.map(|time| time.to_string()).unwrap_or_default(),
            images: revision.images.clone(),
            change_cause: revision.cause.clone().unwrap_or_default(),
            digests: revision.images.iter().filter_map(digest).collect(),
        }
    }
}

/// The one digest that all pods report. Those that run different ones under one name do not tell which is meant.
fn one_digest(reported: &BTreeSet<String>) -> Option<&str> {
    let digests: BTreeSet<&str> = reported.iter().filter_map(|image| reported_digest(image)).collect();
    digests.first().copied().filter(|_| digests.len() == 1)
}

impl StepType for RolloutHistory {
    const NAME: &'static str = "kubernetes.rollout_history";
    const SUMMARY: &'static str = "lists the revisions of a workload";
    const EFFECT: Effect = Effect::ReadOnly;
    const REPEAT: Repeat = Repeat::Safe;
    const TIMEOUT: Duration = Duration::from_mins(1);
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        kinds::without_rollouts("/workload", &input.workload).map_or(Ok(()), |issue| Err(vec![issue]))
    }

    fn roles(&self) -> Vec<Role> {
        vec![crate::CLUSTER]
    }

    fn needs(&self, input: &Known) -> Vec<Need> {
        needs::to_compare(input)
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let output = look(&*cx.read::<Kubernetes>().await?, input).await?;
        let summary = format!(
            "{} is at revision {} of {} that are kept",
            input.workload,
            output.current,
            output.revisions.len()
        );
        Ok(Preview::verified(summary).predict(output))
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let cluster = cx.read::<Kubernetes>().await?;
        wait::answer(cx, || look(&cluster, &input)).await
    }

    async fn probe(&self, _: &ReadContext, _: &Input) -> Result<Probe<Output>, StepError> {
        Ok(Probe::NotStarted)
    }
}

async fn look(cluster: &Reader, input: &Input) -> Result<Output, StepError> {
    let (state, revisions) = cluster.history(&input.workload).await?;
    let Some(current) = revisions.iter().find(|one| one.current) else {
        return Err(StepError::unavailable(format!(
            "{} has no revision yet: its controller has not seen it",
            input.workload
        )));
    };
    let previous = previous(&revisions);
    let asked = match input.revision {
        Some(number) => revisions.iter().find(|one| one.number == number),
        None => previous,
    };
    let reported = cluster.reported_images(&state, &revisions).await?;
    let line = |revision: &Revision| Line::of(revision, reported.get(&revision.number));
    Ok(Output {
        current: current.number,
        previous: previous.map(|one| one.number),
        asked: asked.map(line),
        revisions: revisions.iter().map(line).collect(),
    })
}

/// The newest revision that runs something else than the workload does now. What only a restart has made is passed over: it
/// would bring back what there is.
pub(crate) fn previous(revisions: &[Revision]) -> Option<&Revision> {
    let current = revisions.iter().find(|one| one.current)?;
    revisions.iter().rfind(|one| !one.runs_the_same(current))
}
