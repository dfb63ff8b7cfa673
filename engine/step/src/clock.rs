//! The one place that reads the clock. Pure code takes a `Timestamp` instead.

use jiff::Timestamp;

/// The present moment.
pub fn now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "this is the module that owns the clock")]
    Timestamp::now()
}
