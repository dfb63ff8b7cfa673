//! What attempts before this one have left, which were cut off: whether they made something that was not there, which this one
//! finds as it is to be; and how often what they deleted ran, which nothing tells any more.

use std::collections::BTreeMap;
use std::sync::Arc;

use jm_client_kubernetes::ObjectKey;
use jm_step::{StepContext, StepError};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

/// Noted, and kept, before the cluster is changed.
#[derive(Debug, Clone, Default)]
pub(super) struct Made(Arc<Mutex<Saved>>);

/// What is kept of it in the step's output, until that is whole.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Saved {
    #[serde(default)]
    made: bool,
    /// Of each object that is deleted and not made anew yet, which are few at a time, where its count is not the one that is
    /// written.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    counts: BTreeMap<String, u64>,
}

impl Made {
    /// As the attempts before this one have left it.
    pub(super) fn before(cx: &StepContext) -> Result<Self, StepError> {
        let saved: Saved = cx.saved_output()?.unwrap_or_default();
        Ok(Self(Arc::new(Mutex::new(saved))))
    }

    /// An object is missing, and is about to be made.
    pub(super) async fn note(&self, cx: &StepContext) -> Result<(), StepError> {
        let mut saved = self.0.lock().await;
        if saved.made {
            return Ok(());
        }
        let noted = Saved {
            made: true,
            ..saved.clone()
        };
        cx.save_output(&noted).await?;
        *saved = noted;
        Ok(())
    }

    /// An object is about to be deleted, and comes back with this count.
    pub(super) async fn note_count(&self, cx: &StepContext, key: &ObjectKey, count: u64) -> Result<(), StepError> {
        let mut saved = self.0.lock().await;
        let mut noted = saved.clone();
        noted.counts.insert(key.to_string(), count);
        cx.save_output(&noted).await?;
        *saved = noted;
        Ok(())
    }

    /// The object is there again, so that its count need not be kept further.
    pub(super) async fn forget_count(&self, key: &ObjectKey) {
        self.0.lock().await.counts.remove(&key.to_string());
    }

    /// How often an object ran that was deleted and not made anew.
    pub(super) async fn count(&self, key: &ObjectKey) -> Option<u64> {
        self.0.lock().await.counts.get(&key.to_string()).copied()
    }

    pub(super) async fn anything(&self) -> bool {
        self.0.lock().await.made
    }
}
