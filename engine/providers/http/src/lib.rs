//! Step types that ask over HTTP.

use jm_step::Provider;

mod check;

/// `http.check`.
pub fn provider() -> Provider {
    Provider::new("http").step(check::Check)
}
