//! Step types that assert.

use jm_step::Provider;

mod assert;

/// `check.assert`.
pub fn provider() -> Provider {
    Provider::new("check").step(assert::Assert)
}
