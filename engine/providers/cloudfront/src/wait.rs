//! Waiting for CloudFront: longer each time, with some chance in it, through troubles that pass.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use jm_step::{ReadContext, StepContext, StepError};
use tokio::time::Instant;

/// The first pause, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(15)];
/// A CloudFront that is in trouble for as long as this is down, and the step says so.
const PATIENCE: Duration = Duration::from_mins(5);

/// An answer of CloudFront, unless the step is to stop. One that is not waited for may be lost: what is asked is asked
/// again by whoever takes the step up, and comes to the same.
pub(crate) async fn answer<T>(
    cx: &ReadContext,
    call: impl Future<Output = Result<T, StepError>>,
) -> Result<T, StepError> {
    tokio::select! {
        () = cx.cancelled() => Err(StepError::cancelled("told to stop while asking CloudFront")),
        answer = call => answer,
    }
}

/// What is left of the patience of one wait.
pub(crate) struct Wait {
    pauses: ExponentialBackoff,
    trouble_since: Option<Instant>,
}

impl Wait {
    pub(crate) fn new() -> Self {
        let pauses = ExponentialBuilder::new()
            .with_min_delay(PAUSES[0])
            .with_max_delay(PAUSES[1])
            .with_factor(1.5)
            .with_jitter()
            .without_max_times()
            .build();
        Self {
            pauses,
            trouble_since: None,
        }
    }

    /// The answer; nothing where there was trouble of the kind that passes, unless it has lasted too long.
    pub(crate) async fn forgive<T>(
        &mut self,
        cx: &StepContext,
        answer: Result<T, StepError>,
    ) -> Result<Option<T>, StepError> {
        match answer {
            Ok(answer) => {
                self.trouble_since = None;
                Ok(Some(answer))
            }
            Err(error) if error.kind().is_transient() => {
                let since = *self.trouble_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= PATIENCE {
                    return Err(error);
                }
                cx.log(format!("{error}; asking again")).await;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Pauses, unless the step is to stop.
    pub(crate) async fn pause(&mut self, cx: &ReadContext, for_what: &str) -> Result<(), StepError> {
        let pause = self.pauses.next().unwrap_or(PAUSES[1]);
        tokio::select! {
            () = cx.cancelled() => Err(StepError::cancelled(format!("told to stop while waiting for {for_what}"))),
            () = tokio::time::sleep(pause) => Ok(()),
        }
    }
}
