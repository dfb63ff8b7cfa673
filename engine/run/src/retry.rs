//! How long to wait before the next attempt: longer each time, and a little apart from everybody else's.

use std::time::Duration;

use jm_plan::RetryPolicy;
use jm_step::{RunId, StepErrorKind, StepId};
use sha2::{Digest, Sha256};

/// Whether a failure of this kind may be tried again after so many tries.
pub(crate) fn is_worth_retrying(policy: &RetryPolicy, kind: StepErrorKind, tries: u32) -> bool {
    let fits = policy.on.contains(&kind) || kind == StepErrorKind::Ambiguous;
    fits && tries < policy.attempts
}

/// The pause after try number `tries`. The part that is left to chance follows from run, step and try, so that a replay
/// comes to the same.
pub(crate) fn pause(policy: &RetryPolicy, run: &RunId, step: &StepId, tries: u32) -> Duration {
    let exponent = i32::try_from(tries.saturating_sub(1)).unwrap_or(i32::MAX);
    let grown = policy.base.as_secs_f64() * policy.factor.max(1.0).powi(exponent);
    let capped = grown.min(policy.cap.as_secs_f64()).max(0.0);
    let chance = capped * policy.jitter.clamp(0.0, 1.0) * fraction(run, step, tries);
    Duration::try_from_secs_f64(capped - chance).unwrap_or(policy.cap)
}

/// A number from 0 to 1, the same for the same run, step and try.
fn fraction(run: &RunId, step: &StepId, tries: u32) -> f64 {
    let digest = Sha256::digest(format!("{run}/{step}/{tries}"));
    f64::from(u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> RetryPolicy {
        RetryPolicy {
            attempts: 4,
            base: Duration::from_secs(1),
            factor: 2.0,
            cap: Duration::from_secs(5),
            jitter: 0.5,
            on: vec![StepErrorKind::Unavailable],
        }
    }

    #[test]
    fn pauses_grow_to_the_cap_and_do_not_depend_on_when_they_are_asked() {
        let (run, step) = (RunId::generate(), "a".parse().expect("a name"));
        for (tries, most) in [(1, 1.0), (2, 2.0), (3, 4.0), (4, 5.0), (60, 5.0)] {
            let pause = pause(&policy(), &run, &step, tries).as_secs_f64();
            assert!(pause <= most && pause >= most / 2.0, "{tries}: {pause}");
            assert!((super::pause(&policy(), &run, &step, tries).as_secs_f64() - pause).abs() < f64::EPSILON);
        }
    }

    #[test]
    fn only_what_another_attempt_can_help_is_tried_again() {
        assert!(is_worth_retrying(&policy(), StepErrorKind::Unavailable, 3));
        assert!(!is_worth_retrying(&policy(), StepErrorKind::Unavailable, 4));
        assert!(!is_worth_retrying(&policy(), StepErrorKind::Denied, 1));
        assert!(is_worth_retrying(&policy(), StepErrorKind::Ambiguous, 1));
    }
}
