//! Step types that tell people.

use jm_step::Provider;

mod payload;
mod webhook;
pub use webhook::Webhook;
mod send;

/// The connection [`Webhook`] and `notify.webhook`.
pub fn provider() -> Provider {
    Provider::of::<Webhook>().step(send::Send)
}
