//! A step's context as the observer of work on a backup.

use futures::future::{BoxFuture, FutureExt};
use jm_backup::{Observer, Toolbox};
use jm_step::{ReadContext, StepContext, StepError, Unit};
use serde::{Deserialize, Serialize};

/// Saved before a restore in place is committed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Committing {
    /// The transaction, by which the server knows what became of it.
    pub(crate) transaction: String,
}

pub(crate) struct Told<'a>(pub(crate) &'a StepContext);

impl Observer for Told<'_> {
    fn progress(&self, done: u64, total: Option<u64>) -> BoxFuture<'_, ()> {
        self.0.progress(done, total, Unit::Bytes).boxed()
    }
    fn log(&self, line: String) -> BoxFuture<'_, ()> {
        self.0.log(line).boxed()
    }
    fn degraded(&self, reason: String) -> BoxFuture<'_, Result<(), StepError>> {
        self.0.degraded(reason).boxed()
    }
    fn committing(&self, transaction: String) -> BoxFuture<'_, Result<(), StepError>> {
        self.0.save_checkpoint(Committing { transaction }).boxed()
    }
}

pub(crate) fn toolbox(cx: &ReadContext) -> Toolbox {
    Toolbox {
        supervisor: cx.supervisor().clone(),
        environment: cx.environment().clone(),
    }
}

/// Does the work until the step is told to stop. What the work had begun ends with it.
pub(crate) async fn until_cancelled<T>(
    cx: &StepContext,
    work: impl Future<Output = Result<T, StepError>>,
) -> Result<T, StepError> {
    tokio::select! {
        done = work => done,
        () = cx.cancelled() => Err(StepError::cancelled("the step was told to stop")),
    }
}
