//! Step types on git repositories, through the system's git.

use jm_step::Provider;

mod checkout;
mod git;
mod revision;
mod trouble;
mod verify;
#[cfg(test)]
mod world;

/// `git.checkout` and `git.verify`.
pub fn provider() -> Provider {
    Provider::new("git").step(checkout::Checkout).step(verify::Verify)
}
