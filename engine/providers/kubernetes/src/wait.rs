//! Waiting for a workload: until its pods are gone, or until it is rolled out, or until it is plain that it will not be.

use std::time::Duration;

use jm_client_kubernetes::{Kind, PodState, Reader, Trouble, Workload, WorkloadRef};
use jm_step::{ReadContext, StepContext, StepError, StepErrorKind, Unit};
use tokio::time::Instant;

use crate::trouble::{self, Lasting};
use crate::writer::Writer;

/// Between the first two looks: most of what is waited for is there soon.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Between two looks once it takes longer.
const LONGEST_PAUSE: Duration = Duration::from_millis(400);
/// How long no Job of a CronJob may have been seen before none is thought to come.
const SETTLE: Duration = Duration::from_secs(2);
/// An API server that does not answer for as long as this is down. A rollout outlives shorter gaps.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a step whose time is up may go on looking at what it was waiting for.
const LAST_LOOK: Duration = Duration::from_secs(4);

/// How far a workload is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// Every replica runs the newest template and is ready.
    RolledOut,
    /// It serves again: a rollout that is paused stays where it is.
    Back,
}

impl Until {
    fn is_reached(self, state: &Workload) -> bool {
        match self {
            Self::RolledOut => state.is_rolled_out(),
            Self::Back => state.is_back(),
        }
    }
}

/// Waits until the workload is stopped and no pod or Job of it is left. Never deletes one by force. Where its time is up
/// before, the error tells what was left.
pub(crate) async fn stopped(cx: &StepContext, cluster: &Reader, workload: &WorkloadRef) -> Result<(), StepError> {
    let mut told = None;
    match (watch_stop(cx, cluster, workload, &mut told).await, told) {
        (Err(error), Some(left)) if error.kind() == StepErrorKind::Cancelled && cx.is_late() => {
            let namespace = cluster.namespace();
            Err(StepError::failed(left).hint(format!(
                "see what keeps them (a grace period, a finalizer, a node that is gone): `kubectl describe pods -n {namespace}`; then resume the run"
            )))
        }
        (end, _) => end,
    }
}

async fn watch_stop(
    cx: &StepContext,
    cluster: &Reader,
    workload: &WorkloadRef,
    told: &mut Option<String>,
) -> Result<(), StepError> {
    let what = if workload.kind == Kind::CronJob { "Jobs" } else { "pods" };
    let (mut patience, mut pauses) = (Patience::new(), Pauses::new());
    let mut most = 0;
    let mut quiet = Quiet::new(workload.kind);
    loop {
        let looking = async {
            let writer = Writer::look(cluster, workload).await?;
            let left = writer.left(cluster).await?;
            Ok((writer, left))
        };
        if let Some((writer, left)) = patience.forgive(unless_cancelled(cx, looking).await)? {
            still_stopped(&writer)?;
            let count = left.len() as u64;
            most = most.max(count);
            cx.progress(most - count, Some(most), Unit::Items).await;
            if quiet.lasts(count == 0 && writer.has_settled()) {
                return Ok(());
            }
            let line = format!("{workload}: {count} {what} are left: {}", left.join(", "));
            if count > 0 && told.as_ref() != Some(&line) {
                cx.log(line.as_str()).await;
                *told = Some(line);
            }
        }
        pauses.next(cx).await?;
    }
}

/// Whether nothing has been left for long enough.
struct Quiet {
    enough: Duration,
    since: Option<Instant>,
}

impl Quiet {
    fn new(kind: Kind) -> Self {
        // The controller of CronJobs does not say when it has seen that one is suspended, and may have been just about
        // to start a Job.
        let enough = if kind == Kind::CronJob { SETTLE } else { Duration::ZERO };
        Self { enough, since: None }
    }

    fn lasts(&mut self, quiet: bool) -> bool {
        if !quiet {
            self.since = None;
            return false;
        }
        self.since.get_or_insert_with(Instant::now).elapsed() >= self.enough
    }
}

/// The workload, and its pods that have not ended.
pub(crate) async fn remaining(cluster: &Reader, workload: &WorkloadRef) -> Result<(Workload, Vec<String>), StepError> {
    let state = cluster.workload(workload).await?;
    let pods = cluster.pods(&state).await?;
    let left = pods.into_iter().filter(|pod| !pod.ended).map(|pod| pod.name);
    Ok((state, left.collect()))
}

/// Something that puts it back (a GitOps controller, a person) would win for ever: better to say so.
fn still_stopped(writer: &Writer) -> Result<(), StepError> {
    if writer.is_stopped() {
        return Ok(());
    }
    let did = match writer {
        Writer::Scaled(state) => format!("scaled {} to {}", state.workload, state.replicas),
        Writer::Scheduled(job) => format!("let {} start Jobs again", job.workload),
    };
    Err(
        StepError::conflict(format!("somebody {did} while it was being stopped"))
            .hint("suspend what sets that (a GitOps controller, a scaler, a person), then resume the run"),
    )
}

/// Waits until every replica that is wanted is there and ready. Where its time is up before, the error tells what it was
/// waiting for.
pub(crate) async fn ready(
    cx: &StepContext,
    cluster: &Reader,
    workload: &WorkloadRef,
    until: Until,
) -> Result<Workload, StepError> {
    let mut seen = None;
    match (watch(cx, cluster, workload, until, &mut seen).await, seen) {
        (Err(error), Some(seen)) if error.kind() == StepErrorKind::Cancelled && cx.is_late() => {
            Err(seen.error(cx, cluster).await)
        }
        (end, _) => end,
    }
}

/// A workload that is not ready.
struct Seen {
    state: Workload,
    pods: Vec<PodState>,
    trouble: Option<Trouble>,
}

impl Seen {
    /// The error for one that was not ready in time.
    async fn error(self, cx: &StepContext, cluster: &Reader) -> StepError {
        let Self { state, pods, trouble } = self;
        let trouble = trouble.unwrap_or_else(|| trouble::unready(&pods, state.progress()));
        let error = trouble::error(cx, cluster, &state, &pods, &trouble);
        let gathered = tokio::time::timeout(LAST_LOOK, error).await;
        gathered.unwrap_or_else(|_| trouble::plain(cx, cluster, &state, &pods, &trouble))
    }
}

async fn watch(
    cx: &StepContext,
    cluster: &Reader,
    workload: &WorkloadRef,
    until: Until,
    seen: &mut Option<Seen>,
) -> Result<Workload, StepError> {
    let (mut patience, mut pauses) = (Patience::new(), Pauses::new());
    let mut lasting = Lasting::new();
    loop {
        let looked = async {
            let state = cluster.workload(workload).await?;
            let pods = cluster.pods(&state).await?;
            let refused = trouble::refused(cluster, &state).await?;
            let found = trouble::first(&state, &pods).or(refused);
            let outlook = trouble::outlook(cluster, &state, &pods, found.as_ref()).await?;
            Ok((state, pods, found, outlook))
        };
        if let Some((state, pods, found, outlook)) = patience.forgive(unless_cancelled(cx, looked).await)? {
            let (ready, wanted) = (state.ready.into(), state.replicas.into());
            cx.progress(ready, Some(wanted), Unit::Items).await;
            if until.is_reached(&state) {
                return Ok(state);
            }
            not_paused(&state)?;
            if let Some(news) = lasting.news(found.as_ref()) {
                cx.log(format!("{workload}: {news}")).await;
            }
            if let Some(found) = lasting.lasts(found.clone(), outlook) {
                return Err(trouble::error(cx, cluster, &state, &pods, &found).await);
            }
            let trouble = found;
            *seen = Some(Seen { state, pods, trouble });
        }
        pauses.next(cx).await?;
    }
}

/// A paused rollout gets as far as pods that are ready, and never further.
fn not_paused(state: &Workload) -> Result<(), StepError> {
    if !(state.paused && state.is_ready()) {
        return Ok(());
    }
    let workload = &state.workload;
    Err(StepError::conflict(format!("the rollout of {workload} is paused"))
        .hint(format!("`kubectl rollout resume {workload}`, then resume the run")))
}

/// Looks until there is an answer: a controller that lags behind for a moment is waited for, as a server that is away is.
pub(crate) async fn answer<T, F>(cx: &ReadContext, looking: impl Fn() -> F) -> Result<T, StepError>
where
    F: Future<Output = Result<T, StepError>>,
{
    let (mut patience, mut pauses) = (Patience::new(), Pauses::new());
    loop {
        if let Some(found) = patience.forgive(unless_cancelled(cx, looking()).await)? {
            return Ok(found);
        }
        pauses.next(cx).await?;
    }
}

/// Pauses that grow.
struct Pauses(Duration);

impl Pauses {
    fn new() -> Self {
        Self(FIRST_PAUSE)
    }

    async fn next(&mut self, cx: &ReadContext) -> Result<(), StepError> {
        let pause = self.0;
        self.0 = (pause * 2).min(LONGEST_PAUSE);
        unless_cancelled(cx, async {
            tokio::time::sleep(pause).await;
            Ok(())
        })
        .await
    }
}

/// Does not wait for an answer when the step is to stop. For looking only: a write that is under way is let finish.
pub(crate) async fn unless_cancelled<T>(
    cx: &ReadContext,
    looking: impl Future<Output = Result<T, StepError>>,
) -> Result<T, StepError> {
    tokio::select! {
        biased;
        () = cx.cancelled() => Err(StepError::cancelled("told to stop while looking at the cluster")),
        found = looking => found,
    }
}

/// Forgives failed looks for a while.
struct Patience {
    since: Option<Instant>,
}

impl Patience {
    fn new() -> Self {
        Self { since: None }
    }

    fn forgive<T>(&mut self, looked: Result<T, StepError>) -> Result<Option<T>, StepError> {
        match looked {
            Ok(found) => {
                self.since = None;
                Ok(Some(found))
            }
            Err(error) if error.kind() == StepErrorKind::Unavailable => {
                let since = *self.since.get_or_insert_with(Instant::now);
                if since.elapsed() < PATIENCE {
                    Ok(None)
                } else {
                    Err(error)
                }
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_job_that_is_about_to_start_is_given_the_time() {
        let mut quiet = Quiet::new(Kind::CronJob);
        assert!(!quiet.lasts(true));
        tokio::time::advance(SETTLE).await;
        assert!(!quiet.lasts(false), "there it is");
        assert!(!quiet.lasts(true));
        tokio::time::advance(SETTLE).await;
        assert!(quiet.lasts(true));
        assert!(Quiet::new(Kind::Deployment).lasts(true));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_stays_away_is_down() {
        let mut patience = Patience::new();
        let away = || Err::<(), _>(StepError::unavailable("away"));
        assert_eq!(patience.forgive(away()).expect("forgiven"), None);
        tokio::time::advance(PATIENCE).await;
        assert!(patience.forgive(away()).is_err());
        assert!(Patience::new().forgive(Err::<(), _>(StepError::denied("no"))).is_err());
    }
}
