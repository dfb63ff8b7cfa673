//! Trying again what may pass by itself: an API server that is busy, restarts or was cut off for a moment.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use jm_step::{StepError, StepErrorKind};
use tokio::time::Instant;

const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// With doubling pauses: three seconds in all.
const ATTEMPTS: u32 = 5;
/// How long an API server that has too much to do is left alone where it does not say for how long (`Retry-After`).
const LEFT_ALONE: Duration = Duration::from_secs(1);
/// How long one request is turned away before that is an error.
const BUSY_AT_MOST: Duration = Duration::from_mins(1);

/// How long something that may be done twice is tried: until it succeeds, fails for good, or has failed too often.
pub(crate) struct Patience {
    pause: Duration,
    left: u32,
    /// When it was turned away first.
    busy_since: Option<Instant>,
}

impl Patience {
    pub(crate) fn new() -> Self {
        Self {
            pause: FIRST_PAUSE,
            left: ATTEMPTS - 1,
            busy_since: None,
        }
    }

    /// Waits after the server turned the request away (429), for as long as it asked: it is there, has done nothing of it,
    /// and says that it will take it later. `false` where that has gone on for too long, or would.
    pub(crate) async fn turned_away(&mut self, asked: Option<Duration>) -> bool {
        let since = *self.busy_since.get_or_insert_with(Instant::now);
        let pause = asked.unwrap_or(LEFT_ALONE);
        if since.elapsed() + pause > BUSY_AT_MOST {
            return false;
        }
        // Not all at the same moment again: those that were turned away together come back one by one.
        let random = RandomState::new().hash_one(0_u8) % 1000;
        tokio::time::sleep(pause + Duration::from_millis(random)).await;
        true
    }

    /// Waits before the next attempt at what has failed; `false` where there is to be none.
    pub(crate) async fn once_more(&mut self) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        tokio::time::sleep(self.pause).await;
        self.pause *= 2;
        true
    }

    /// The same after an error, which is handed back where it will not pass, or there is to be no other attempt.
    pub(crate) async fn after(&mut self, error: StepError) -> Result<(), StepError> {
        if is_passing(&error) && self.once_more().await {
            Ok(())
        } else {
            Err(error)
        }
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

    #[tokio::test(start_paused = true)]
    async fn what_is_turned_away_is_asked_for_a_minute_at_most() {
        let mut patience = Patience::new();
        let began = Instant::now();
        while patience.turned_away(None).await {}
        let took = began.elapsed();
        let (near, over) = (took + 2 * LEFT_ALONE, BUSY_AT_MOST + 2 * LEFT_ALONE);
        assert!(near >= BUSY_AT_MOST && took < over, "{took:?}");
        assert!(
            patience.after(StepError::unavailable("cut off")).await.is_ok(),
            "that is another thing"
        );
        assert!(
            !Patience::new().turned_away(Some(BUSY_AT_MOST * 2)).await,
            "nobody waits for that"
        );
    }
}
