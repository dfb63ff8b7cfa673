//! Whoever watches the work on a backup: a step's context, a terminal, nobody.

use futures::future::{BoxFuture, FutureExt, ready};
use jm_step::StepError;

/// Hears how far the work is.
pub trait Observer: Send + Sync {
    /// So many bytes of so many are done.
    fn progress(&self, done: u64, total: Option<u64>) -> BoxFuture<'_, ()>;
    /// A line for the log.
    fn log(&self, line: String) -> BoxFuture<'_, ()>;
    /// The work will succeed, but not all is well. Returns once that is on disk.
    fn degraded(&self, reason: String) -> BoxFuture<'_, Result<(), StepError>>;
    /// A restore in place is about to commit this transaction. Returns once that is on disk.
    fn committing(&self, transaction: String) -> BoxFuture<'_, Result<(), StepError>>;
}

/// Nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {
    fn progress(&self, _: u64, _: Option<u64>) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }
    fn log(&self, _: String) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }
    fn degraded(&self, _: String) -> BoxFuture<'_, Result<(), StepError>> {
        ready(Ok(())).boxed()
    }
    fn committing(&self, _: String) -> BoxFuture<'_, Result<(), StepError>> {
        ready(Ok(())).boxed()
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
