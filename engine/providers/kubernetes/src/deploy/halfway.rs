//! Objects that are deleted and not made anew yet. A deployment that is told to stop does not stop between the two.

use std::sync::Arc;

use tokio::sync::watch;

/// How many there are.
#[derive(Clone)]
pub(super) struct Halfway(Arc<watch::Sender<usize>>);

impl Halfway {
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }

    /// One more, for as long as this is kept.
    pub(super) fn begin(&self) -> Deleted {
        self.0.send_modify(|count| *count += 1);
        Deleted(self.clone())
    }

    /// Completes when there are none.
    pub(super) async fn none(&self) {
        // It cannot be closed: the sender is here.
        drop(self.0.subscribe().wait_for(|count| *count == 0).await);
    }
}

/// An object that is deleted and not made anew yet.
pub(super) struct Deleted(Halfway);

impl Drop for Deleted {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count -= 1);
    }
}
