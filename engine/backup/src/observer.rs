//! Whoever watches the work on a backup: a step's context, a terminal, nobody.

use futures::future::{BoxFuture, FutureExt, ready};
use jm_step::{StepContext, StepError, Unit};
use serde::{Deserialize, Serialize};

/// Hears how far the work is. What it does not care for it need not hear.
pub trait Observer: Send + Sync {
    /// So many bytes of so many are done.
    fn progress(&self, _done: u64, _total: Option<u64>) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }
    /// A line for the log.
    fn log(&self, _line: String) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }
    /// The work will succeed, but not all is well. Returns once that is on disk.
    fn degraded(&self, _reason: String) -> BoxFuture<'_, Result<(), StepError>> {
        ready(Ok(())).boxed()
    }
    /// A restore in place is about to commit this transaction. Returns once that is on disk.
    fn committing(&self, _transaction: String) -> BoxFuture<'_, Result<(), StepError>> {
        ready(Ok(())).boxed()
    }
}

/// Nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {}

/// Saved before a restore in place is committed.
#[derive(Debug, Serialize, Deserialize)]
pub struct Committing {
    /// The transaction, by which the server knows what became of it.
    pub transaction: String,
}

/// A step's context as the observer.
pub struct Told<'a>(pub &'a StepContext);

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

/// Does the work until the step is told to stop. What the work had begun ends with it.
pub async fn until_cancelled<T>(
    cx: &StepContext,
    work: impl Future<Output = Result<T, StepError>>,
) -> Result<T, StepError> {
    tokio::select! {
        done = work => done,
        () = cx.cancelled() => Err(StepError::cancelled("the step was told to stop")),
    }
}

/// Does the work while telling, a few times a second, how far a meter is.
pub(crate) async fn watched<T>(
    observer: &dyn Observer,
    meter: &crate::archive::Meter,
    total: Option<u64>,
    work: impl Future<Output = T>,
) -> T {
    let mut tick = tokio::time::interval(std::time::Duration::from_millis(200));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tokio::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => {
                observer.progress(meter.get(), total).await;
                return done;
            }
            _ = tick.tick() => observer.progress(meter.get(), total).await,
        }
    }
}
