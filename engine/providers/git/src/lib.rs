//! Step types on git repositories, through the system's git.

use jm_step::Provider;

mod bundle;
mod checkout;
mod git;
mod mirror;
mod revision;
mod trouble;
mod verify;
#[cfg(test)]
mod world;

/// `git.bundle`, `git.checkout` and `git.verify`.
pub fn provider() -> Provider {
    Provider::new("git")
        .step(bundle::Bundle)
        .step(checkout::Checkout)
        .step(verify::Verify)
}
