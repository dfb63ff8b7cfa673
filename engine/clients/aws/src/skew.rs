//! Clocks too far apart: a service refuses what was signed at another time than its own.
//!
//! The SDK signs anew by the service's clock where a refusal says why. An answer to HEAD has no body to say it in, and
//! looks like any other denial.

use aws_smithy_runtime_api::client::interceptors::context::InterceptorContext;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::retries::classifiers::{ClassifyRetry, RetryAction, RetryClassifierPriority};
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use aws_smithy_types::retry::ErrorKind;
use jiff::{SignedDuration, Timestamp};

use jm_step::{StepErrorKind, clock};

use crate::Told;

/// What S3 takes is signed at most so long before or after.
const ALLOWED: SignedDuration = SignedDuration::from_mins(15);

/// How far the service's clock is ahead of this one, where that explains a refusal with this code.
pub fn skew(code: &str, response: &HttpResponse) -> Option<SignedDuration> {
    let meant = match code {
        "" => response.status().as_u16() == 403,
        // By a clock that is behind, credentials that are over look good.
        code => is_skew(code) || matches!(code, "ExpiredToken" | "ExpiredTokenException"),
    };
    let date = response.headers().get("date").filter(|_| meant)?;
    let date = DateTime::from_str(date, Format::HttpDate).ok()?;
    let ahead = Timestamp::from_second(date.secs()).ok()?.duration_since(clock::now());
    (ahead.abs() > ALLOWED).then_some(ahead)
}

/// Whether a code says that the clocks are too far apart.
pub(crate) fn is_skew(code: &str) -> bool {
    matches!(code, "RequestTimeTooSkewed" | "RequestExpired")
}

/// What it means that the clock of `speaker` is so far ahead of this one.
pub fn skewed(speaker: &str, ahead: Option<SignedDuration>) -> Told {
    let reason = match ahead {
        None => format!("this machine's clock and that of {speaker} are too far apart"),
        Some(ahead) => {
            let side = if ahead.is_negative() { "ahead of" } else { "behind" };
            let minutes = (ahead.abs().as_secs() + 30) / 60;
            format!("this machine's clock is {minutes} minutes {side} that of {speaker}")
        }
    };
    Told::new(StepErrorKind::Denied, reason)
        .hint("set the clock of this machine (for instance with chrony), then try again")
}

/// Lets a refused HEAD be sent once more, by the clock that its answer told.
#[derive(Debug)]
pub struct SignAgain;

impl ClassifyRetry for SignAgain {
    fn classify_retry(&self, cx: &InterceptorContext) -> RetryAction {
        let says_nothing = |response: &&HttpResponse| response.body().bytes().is_some_and(<[u8]>::is_empty);
        match cx
            .response()
            .filter(says_nothing)
            .and_then(|response| skew("", response))
        {
            Some(_) => RetryAction::retryable_error(ErrorKind::ServerError),
            None => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "SignAgain"
    }

    fn priority(&self) -> RetryClassifierPriority {
        RetryClassifierPriority::run_after(RetryClassifierPriority::http_status_code_classifier())
    }
}
