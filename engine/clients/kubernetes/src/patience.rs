//! Trying again what may pass by itself: an API server that is busy, restarts or was cut off for a moment.

use std::time::Duration;

use jm_step::{StepError, StepErrorKind};

const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// With doubling pauses: three seconds in all.
const ATTEMPTS: u32 = 5;

/// How long something that may be done twice is tried: until it succeeds, fails for good, or has failed too often.
pub(crate) struct Patience {
    pause: Duration,
    left: u32,
}

impl Patience {
    pub(crate) fn new() -> Self {
        Self {
            pause: FIRST_PAUSE,
            left: ATTEMPTS - 1,
        }
    }

    /// Waits before the next attempt; hands the error back where there is to be none.
    pub(crate) async fn after(&mut self, error: StepError) -> Result<(), StepError> {
        if !is_passing(&error) || self.left == 0 {
            return Err(error);
        }
        self.left -= 1;
        tokio::time::sleep(self.pause).await;
        self.pause *= 2;
        Ok(())
    }
}

fn is_passing(error: &StepError) -> bool {
    matches!(error.kind(), StepErrorKind::Unavailable | StepErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_what_may_pass_is_tried_again_and_not_for_ever() {
        let mut patience = Patience::new();
        assert!(patience.after(StepError::denied("no")).await.is_err());
        patience.pause = Duration::ZERO;
        for _ in 1..ATTEMPTS {
            assert!(patience.after(StepError::unavailable("busy")).await.is_ok());
        }
        assert!(patience.after(StepError::unavailable("busy")).await.is_err());
    }
}
