//! What is begun with an object, and not brought to an end yet. A deployment that is told to stop does not stop in between.

use std::collections::BTreeSet;
use std::sync::Arc;

use jm_client_kubernetes::ObjectKey;
use tokio::sync::watch;

/// Objects that something is begun with.
#[derive(Clone)]
pub(super) struct Halfway(Arc<watch::Sender<BTreeSet<ObjectKey>>>);

impl Halfway {
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(BTreeSet::new())))
    }

    /// One more, for as long as this is kept.
    pub(super) fn begin(&self, key: &ObjectKey) -> Begun {
        self.0.send_if_modified(|keys| keys.insert(key.clone()));
        Begun(self.clone(), key.clone())
    }

    /// Completes when there are none.
    pub(super) async fn none(&self) {
        // It cannot be closed: the sender is here.
        drop(self.0.subscribe().wait_for(BTreeSet::is_empty).await);
    }

    /// Those that there are.
    pub(super) fn left(&self) -> BTreeSet<ObjectKey> {
        self.0.borrow().clone()
    }
}

/// An object that something is begun with.
pub(super) struct Begun(Halfway, ObjectKey);

impl Drop for Begun {
    fn drop(&mut self) {
        let Self(halfway, key) = self;
        halfway.0.send_if_modified(|keys| keys.remove(key));
    }
}
