//! Step types that wait for people.

use jm_step::Provider;

mod approve;

/// `manual.approve`.
pub fn provider() -> Provider {
    Provider::new("manual").step(approve::Approve)
}
