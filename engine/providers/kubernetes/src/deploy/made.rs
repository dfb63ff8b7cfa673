//! Whether a deployment makes something that was not there: also where an attempt before this one has made it, and was cut
//! off, so that this one finds it as it is to be.

use std::sync::Arc;

use jm_step::{StepContext, StepError};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

/// Set once an object is missing, and kept before it is made.
#[derive(Debug, Clone, Default)]
pub(super) struct Made(Arc<OnceCell<()>>);

/// What is kept of it in the step's output, until that is whole.
#[derive(Default, Serialize, Deserialize)]
struct Saved {
    #[serde(default)]
    made: bool,
}

impl Made {
    /// As the attempts before this one have left it.
    pub(super) fn before(cx: &StepContext) -> Result<Self, StepError> {
        let saved: Saved = cx.saved_output()?.unwrap_or_default();
        Ok(Self(Arc::new(OnceCell::new_with(saved.made.then_some(())))))
    }

    /// An object is missing, and is about to be made.
    pub(super) async fn note(&self, cx: &StepContext) -> Result<(), StepError> {
        let save = || cx.save_output(Saved { made: true });
        self.0.get_or_try_init(save).await.copied()
    }

    pub(super) fn anything(&self) -> bool {
        self.0.initialized()
    }
}
