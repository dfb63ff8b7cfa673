//! Step types that wait for people.

use jm_step::Provider;

mod approve;
mod task;

/// `manual.approve` and `manual.task`.
pub fn provider() -> Provider {
    Provider::new("manual").step(approve::Approve).step(task::Task)
}
