//! Waiting until objects are as far as the next wave needs them.

use std::time::Duration;

use futures::{StreamExt, stream};
use jm_client_kubernetes::{ObjectKey, Reader, Readiness, ResourceKind, readiness};
use jm_step::{StepContext, StepError, StepErrorKind};
use tokio::time::Instant;

use super::watch::Watch;

/// Between two looks.
pub(super) const PAUSE: Duration = Duration::from_millis(200);
const AT_ONCE: usize = 16;
/// Kinds that are something else when they are there than when they are ready.
const WAITED_FOR: [&str; 11] = [
    "Namespace",
    "ResourceQuota",
    "CustomResourceDefinition",
    "PersistentVolumeClaim",
    "Deployment",
    "StatefulSet",
    "DaemonSet",
    "ReplicaSet",
    "ReplicationController",
    "Pod",
    "APIService",
];

/// Waits until all are ready. One that never will be is an error as soon as that is plain, one that is not in time an
/// error that names it and what it waits for.
pub(super) async fn wait(
    reader: &Reader,
    cx: &StepContext,
    made: &[(ResourceKind, ObjectKey)],
    patience: Duration,
) -> Result<(), StepError> {
    let mut left: Vec<_> = made
        .iter()
        .filter(|(kind, _)| WAITED_FOR.contains(&kind.kind.as_str()))
        .collect();
    let limit = Instant::now() + patience;
    let mut watch = Watch::new(reader, cx, patience);
    let mut told = None;
    while !left.is_empty() {
        let looks = left
            .iter()
            .map(|&one| async move { (one, look(reader, &one.0, &one.1).await) });
        let looks: Vec<_> = looks.collect();
        let looks: Vec<_> = stream::iter(looks).buffered(AT_ONCE).collect().await;
        let (mut waiting, mut failed) = (Vec::new(), Vec::new());
        for (one, found) in looks {
            match found? {
                Readiness::Ready => {}
                Readiness::Waiting(why) => waiting.push((one, why)),
                Readiness::Failed(why) => failed.push((one, why)),
            }
        }
        if let Some((one, why)) = culprit(&watch, &failed) {
            return Err(not_ready(reader, &watch, &one.1, why).await);
        }
        let Some((one, why)) = culprit(&watch, &waiting) else {
            return Ok(());
        };
        if Instant::now() > limit {
            let late = format!("{why}, after {} s", patience.as_secs());
            return Err(not_ready(reader, &watch, &one.1, &late).await);
        }
        let line = format!("{} objects are not ready; {}: {why}", waiting.len(), one.1);
        if told.as_ref() != Some(&line) {
            cx.log(line.clone()).await;
            told = Some(line);
        }
        let keys: Vec<&ObjectKey> = waiting.iter().map(|(one, _)| &one.1).collect();
        watch.look(&keys).await?;
        left = waiting.into_iter().map(|(one, _)| one).collect();
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// An object, and why it is not ready.
type Unready<'m> = (&'m (ResourceKind, ObjectKey), String);

/// The one to name: one that something is wrong with, where there is one, for the others may only wait for it.
fn culprit<'a, 'm>(watch: &Watch<'_>, unready: &'a [Unready<'m>]) -> Option<&'a Unready<'m>> {
    let in_trouble = unready.iter().find(|(one, _)| watch.saw_trouble(&one.1));
    in_trouble.or(unready.first())
}

async fn look(reader: &Reader, kind: &ResourceKind, key: &ObjectKey) -> Result<Readiness, StepError> {
    match reader.object(kind, key).await {
        Ok(Some(object)) => Ok(readiness(&object)),
        Ok(None) => Ok(Readiness::Failed("somebody has deleted it".to_owned())),
        // An API server that is away for a moment says nothing of the object.
        Err(error) if error.kind() == StepErrorKind::Unavailable => Ok(Readiness::Waiting(error.message().to_owned())),
        Err(error) => Err(error),
    }
}

async fn not_ready(reader: &Reader, watch: &Watch<'_>, key: &ObjectKey, why: &str) -> StepError {
    let mut message = format!("{key} is not ready: {why}");
    if let Some(error) = watch.error(key, &message).await {
        return error;
    }
    if let Some(namespace) = &key.namespace {
        // Why it is not is often what its events say.
        let warnings = reader.in_namespace(namespace).warnings(&key.name).await;
        for warning in warnings.unwrap_or_default().iter().take(3) {
            message.push_str("; ");
            message.push_str(warning);
        }
    }
    let place = key
        .namespace
        .as_ref()
        .map_or(String::new(), |namespace| format!(" -n {namespace}"));
    StepError::failed(message).hint(format!(
        "look at it: `kubectl{place} describe {} {}`",
        key.kind.to_ascii_lowercase(),
        key.name
    ))
}

/// Waits until an object that was deleted is gone.
pub(super) async fn gone(
    reader: &Reader,
    kind: &ResourceKind,
    key: &ObjectKey,
    patience: Duration,
) -> Result<(), StepError> {
    let limit = Instant::now() + patience;
    while let Some(left) = reader.object(kind, key).await? {
        if Instant::now() > limit {
            let held = left
                .pointer("/metadata/finalizers")
                .map(ToString::to_string)
                .unwrap_or_default();
            return Err(
                StepError::failed(format!("{key} was deleted and does not go away; it is held by {held}"))
                    .hint("let its finalizers be worked off, or remove them by hand; jm does not"),
            );
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}
