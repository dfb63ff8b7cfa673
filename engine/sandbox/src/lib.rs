//! Stand-ins for the systems of a plan, on loopback, for drills and tests.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "stand-ins keep what they hold in the directory of their sandbox"
)]

pub mod cloudfront;
mod control;
mod description;
mod error;
mod hosted;
pub mod journeyman;
pub mod kubernetes;
mod listener;
pub mod postgres;
pub mod real_kubernetes;
pub mod s3;
mod serve;
pub mod webhook;

pub use description::{DatabasePlace, Description, KubernetesKind, Options};
pub use error::SandboxError;
pub use serve::serve;
