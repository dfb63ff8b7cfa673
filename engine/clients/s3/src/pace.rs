//! How many requests are under way at once: more as long as the store keeps up, half as many when it asks to slow down.

use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_s3::error::ProvideErrorMetadata;
use jm_step::StepError;
use rand::Rng;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::error::{Doing, asks_to_slow_down, is_damaged, is_skewed};
use crate::transport::Failure;

/// So often is a request sent that the store cannot take now.
const TRIES: u32 = 9;
/// So often are bytes sent that arrive as others.
const UNDAMAGED: u32 = 3;
/// So often is the SDK asked again after all its tries, each with its own pauses.
const LATER: u32 = 4;
/// The longest wait before the second try; each further one may be twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// No wait is longer than this.
const LONGEST_WAIT: Duration = Duration::from_secs(20);
/// Answers to requests that were sent together count as one word of the store.
const ONE_WORD: Duration = Duration::from_millis(200);

/// Additive increase, multiplicative decrease: one more request at a time for each round of good answers, half as many
/// after a `SlowDown`. Shared by all who write to one bucket; cheap to clone.
#[derive(Clone)]
pub struct Pace(Arc<Shared>);

struct Shared {
    room: Arc<Semaphore>,
    state: Mutex<State>,
    most: usize,
}

struct State {
    /// How many may be under way.
    limit: usize,
    /// How many of those that are under way must not be followed by another.
    too_many: usize,
    /// Good answers since the limit grew.
    good: usize,
    slowed: Option<Instant>,
    times_slowed: u64,
}

/// The right to send one request.
struct Turn {
    pace: Pace,
    permit: Option<OwnedSemaphorePermit>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.pace.state();
        if state.too_many > 0
            && let Some(permit) = self.permit.take()
        {
            state.too_many -= 1;
            permit.forget();
        }
    }
}

impl Pace {
    /// Starts with so many requests at once and never has more than `most`.
    pub fn new(start: usize, most: usize) -> Self {
        let limit = start.clamp(1, most.max(1));
        Self(Arc::new(Shared {
            room: Arc::new(Semaphore::new(limit)),
            most: most.max(1),
            state: Mutex::new(State {
                limit,
                too_many: 0,
                good: 0,
                slowed: None,
                times_slowed: 0,
            }),
        }))
    }

    /// One request after the other.
    pub fn alone() -> Self {
        Self::new(1, 1)
    }

    /// How many requests may be under way now.
    pub fn limit(&self) -> usize {
        self.state().limit
    }

    /// How often the store asked to slow down.
    pub fn times_slowed(&self) -> u64 {
        self.state().times_slowed
    }

    /// Sends a request when it is its turn, and again after a pause where the store has trouble or asks for one.
    pub(crate) async fn send<T, E, F>(&self, doing: &Doing, call: impl Fn() -> F) -> Result<T, StepError>
    where
        E: Error + ProvideErrorMetadata + Send + Sync + 'static,
        F: Future<Output = Result<T, Failure<E>>>,
    {
        let mut tries = 0;
        loop {
            let turn = self.turn().await;
            let outcome = call().await;
            drop(turn);
            let error = match outcome {
                Ok(output) => {
                    self.went_well();
                    return Ok(output);
                }
                Err(error) => error,
            };
            if asks_to_slow_down(&error) {
                self.slow_down();
            }
            tries += 1;
            let failed = doing.failed(&error);
            // Signed anew by the store's clock, it goes through; if it does not, it never will.
            let signed_late = tries == 1 && is_skewed(&error);
            if tries >= TRIES || !(failed.kind().is_transient() || signed_late) {
                return Err(failed);
            }
            tokio::time::sleep(pause(tries)).await;
        }
    }

    async fn turn(&self) -> Turn {
        // The semaphore is never closed.
        let permit = self.0.room.clone().acquire_owned().await.ok();
        Turn {
            pace: self.clone(),
            permit,
        }
    }

    fn went_well(&self) {
        let mut state = self.state();
        state.good += 1;
        if state.good < state.limit || state.limit >= self.0.most {
            return;
        }
        state.good = 0;
        state.limit += 1;
        if state.too_many > 0 {
            state.too_many -= 1;
        } else {
            self.0.room.add_permits(1);
        }
    }

    pub(crate) fn slow_down(&self) {
        let mut state = self.state();
        state.times_slowed += 1;
        if state.slowed.is_some_and(|at| at.elapsed() < ONE_WORD) {
            return;
        }
        state.slowed = Some(Instant::now());
        state.good = 0;
        let fewer = state.limit - state.limit.div_ceil(2);
        state.limit -= fewer;
        state.too_many += fewer - self.0.room.forget_permits(fewer);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends a request that the SDK sends three times already, outside of any pace: again where the store says that other bytes
/// came than were sent, and, after a longer pause, where it still asks to slow down.
pub(crate) async fn insist<T, E, F>(call: impl Fn() -> F) -> Result<T, Failure<E>>
where
    E: Error + ProvideErrorMetadata + Send + Sync + 'static,
    F: Future<Output = Result<T, Failure<E>>>,
{
    let (mut damaged, mut slowed) = (0, 0);
    loop {
        match call().await {
            Err(error) if is_damaged(&error) && damaged + 1 < UNDAMAGED => damaged += 1,
            Err(error) if asks_to_slow_down(&error) && slowed < LATER => {
                slowed += 1;
                tokio::time::sleep(pause(slowed + 4)).await;
            }
            outcome => return outcome,
        }
    }
}

/// Anything up to twice the wait before, so that those who were refused together do not come back together.
pub(crate) fn pause(tries: u32) -> Duration {
    let longest = FIRST_WAIT
        .saturating_mul(2_u32.saturating_pow(tries - 1))
        .min(LONGEST_WAIT);
    longest.mul_f64(rand::rng().random_range(0.1..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_grows_by_one_a_round_and_halves_at_a_word() {
        let pace = Pace::new(4, 6);
        for _ in 0..4 {
            pace.went_well();
        }
        assert_eq!((pace.limit(), pace.0.room.available_permits()), (5, 5));
        for _ in 0..100 {
            pace.went_well();
        }
        assert_eq!(pace.limit(), 6, "no more than the most");
        let turns = [
            pace.turn().await,
            pace.turn().await,
            pace.turn().await,
            pace.turn().await,
        ];
        pace.slow_down();
        pace.slow_down();
        assert_eq!(
            (pace.limit(), pace.times_slowed()),
            (3, 2),
            "two refusals at once are one word"
        );
        drop(turns);
        assert_eq!(pace.0.room.available_permits(), 3, "those under way are not followed");
        for _ in 0..3 {
            tokio::time::sleep(ONE_WORD).await;
            pace.slow_down();
        }
        assert_eq!(
            (pace.limit(), pace.0.room.available_permits()),
            (1, 1),
            "never none at all"
        );
    }

    #[test]
    fn pauses_grow_and_end_somewhere() {
        for tries in 1..40 {
            let pause = pause(tries);
            assert!(pause >= FIRST_WAIT / 10 && pause <= LONGEST_WAIT, "{tries}: {pause:?}");
        }
    }
}
