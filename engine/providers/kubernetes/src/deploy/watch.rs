//! What keeps the workloads of a wave from being ready, looked into while the wave is waited for.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{StreamExt, stream};
use jm_client_kubernetes::{ObjectKey, PodState, Reader, Trouble, Workload, WorkloadRef};
use jm_step::{StepContext, StepError};
use tokio::time::Instant;

use super::motion::Motion;
use crate::trouble::{self, Lasting, Outlook};

/// Between two looks at pods, of which there may be many.
const PAUSE: Duration = Duration::from_secs(1);
const AT_ONCE: usize = 16;
/// How its controller tells that a rollout takes longer than the workload's own `progressDeadlineSeconds`.
const DEADLINE: &str = "ProgressDeadlineExceeded";

/// A workload, its pods, and what is wrong with them.
struct Found {
    state: Workload,
    pods: Vec<PodState>,
    trouble: Option<Trouble>,
    outlook: Outlook,
}

/// Tells trouble that passes from trouble that lasts.
pub(super) struct Watch<'w> {
    reader: &'w Reader,
    cx: &'w StepContext,
    looked: Option<Instant>,
    motion: Motion,
    lasting: BTreeMap<ObjectKey, Lasting>,
}

impl<'w> Watch<'w> {
    /// Of a wave that may take so long.
    pub(super) fn new(reader: &'w Reader, cx: &'w StepContext, patience: Duration) -> Self {
        Self {
            reader,
            cx,
            looked: None,
            motion: Motion::new(patience),
            lasting: BTreeMap::new(),
        }
    }

    /// Looks at what is not ready yet. Trouble that will not pass is an error, with what a person needs to mend it.
    pub(super) async fn look(&mut self, waiting: &[&ObjectKey]) -> Result<(), StepError> {
        if self.looked.is_some_and(|looked| looked.elapsed() < PAUSE) {
            return Ok(());
        }
        let reader = self.reader;
        let looks = waiting.iter().map(|&key| async move { (key, find(reader, key).await) });
        let looks: Vec<_> = looks.collect();
        let found: Vec<_> = stream::iter(looks).buffered(AT_ONCE).collect().await;
        self.looked = Some(Instant::now());
        let on_their_way = found
            .iter()
            .filter(|(_, found)| found.as_ref().is_none_or(|found| found.trouble.is_none()));
        self.motion.look(on_their_way.map(|(key, _)| *key));
        for (key, found) in found {
            let Some(found) = found else { continue };
            let lasting = self.lasting.entry(key.clone()).or_insert_with(Lasting::new);
            if let Some(news) = lasting.news(found.trouble.as_ref()) {
                self.cx.log(format!("{}: {news}", found.state.workload)).await;
            }
            let lasts = lasting.lasts(found.trouble.clone(), found.outlook);
            if let Some(trouble) = lasts.filter(|trouble| trouble::is_its_own(trouble) || self.motion.is_over()) {
                return Err(error(self.cx, reader, key, &found, &trouble).await);
            }
        }
        Ok(())
    }

    /// Whether something was wrong with it at the last look.
    pub(super) fn saw_trouble(&self, key: &ObjectKey) -> bool {
        self.lasting.get(key).is_some_and(Lasting::has_begun)
    }

    /// The error for a workload that is not ready, for whatever reason; `None` of what is no workload.
    pub(super) async fn error(&self, key: &ObjectKey, why: &str) -> Option<StepError> {
        let found = find(self.reader, key).await?;
        let trouble = found.trouble.clone();
        let trouble = trouble.unwrap_or_else(|| trouble::unready(&found.pods, String::new()));
        let error = error(self.cx, self.reader, key, &found, &trouble).await;
        Some(error.context(why))
    }
}

/// `None` of what is no workload, and of one that cannot be looked into: then its own word has to do.
async fn find(reader: &Reader, key: &ObjectKey) -> Option<Found> {
    let workload = workload(key)?;
    let reader = reader.in_namespace(key.namespace.as_deref()?);
    let state = reader.workload(&workload).await.ok()?;
    let pods = reader.pods(&state).await.ok()?;
    let refused = trouble::refused(&reader, &state).await.ok()?;
    // Over a deadline of its own it may come up all the same, once there is a node, or what it waits for.
    let trouble = trouble::first(&state, &pods)
        .or(refused)
        .filter(|it| it.reason != DEADLINE);
    let outlook = trouble::outlook(&reader, &state, &pods, trouble.as_ref()).await.ok()?;
    Some(Found {
        state,
        pods,
        trouble,
        outlook,
    })
}

/// The workload that an object is, where it is one that has pods of its own.
fn workload(key: &ObjectKey) -> Option<WorkloadRef> {
    let has_pods = ["Deployment", "StatefulSet", "DaemonSet"].contains(&key.kind.as_str());
    (key.group() == "apps" && has_pods).then(|| format!("{}/{}", key.kind, key.name).parse().ok())?
}

async fn error(cx: &StepContext, reader: &Reader, key: &ObjectKey, found: &Found, trouble: &Trouble) -> StepError {
    let reader = reader.in_namespace(key.namespace.as_deref().unwrap_or_default());
    trouble::error(cx, &reader, &found.state, &found.pods, trouble).await
}
